"""From scores of sentences to the scores of documents, anywhere between mean and maximum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def pool(scores: Array, lengths: Sequence[int] | NDArray[np.int64], sharpness: ArrayLike) -> Array:
    """Pool each document's units by the log-mean-exp of each label's scores.

    ``log(mean(exp(r * s))) / r`` is the mean for ``r = 0`` and nears the maximum as
    ``r`` grows (Boyd and Vandenberghe, Convex Optimization, 2004, section 3.1.5).

    Parameters
    ----------
    scores : ndarray, shape (n_units, n_labels)
        Units of the first document, then of the second, and so on.
    lengths : sequence of int, length n_documents
        How many units each document has; at least one.
    sharpness : ndarray, shape (n_labels,)
        ``r`` of each label, 0 or more.

    Returns
    -------
    ndarray, shape (n_documents, n_labels)
    """
    if len(lengths) == 0:
        return np.zeros((0, scores.shape[1]))
    counts = np.asarray(lengths)
    starts = np.cumsum(counts) - counts
    rates = np.asarray(sharpness, dtype=np.float64)
    soft = rates > 0
    mean = np.add.reduceat(scores, starts) / counts[:, None]
    scaled = scores * rates
    top = np.maximum.reduceat(scaled, starts)
    sums = np.add.reduceat(np.exp(scaled - np.repeat(top, counts, axis=0)), starts)
    peaked = (top + np.log(sums / counts[:, None])) / np.where(soft, rates, 1.0)
    pooled: Array = np.where(soft, peaked, mean)
    return pooled
