"""From scores of sentences to scores of documents: a softened maximum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# At 1, odds would add up, and sixty faint sentences would outweigh a clear one; at infinity only the best
# sentence would count. Chosen on the coded records (`python -m benchmarks.coded_records`).
SHARPNESS = 1.5
# In place of minus infinity, which cannot be taken from itself.
_HUGE = 1e300


def pool(scores: Array, lengths: Sequence[int] | NDArray[np.int64], sharpness: float = SHARPNESS) -> Array:
    """Pool each document's units by the log-sum-exp of each label's scores.

    ``log(sum(exp(r * s))) / r`` is never below the highest score, and a unit with a low score adds next to
    nothing: neutral sentences cannot outvote one that carries the label (Boyd and Vandenberghe, Convex
    Optimization, 2004, section 3.1.5).

    Parameters
    ----------
    scores : ndarray, shape (n_units, n_labels)
        Units of the first document, then of the second, and so on; minus infinity for a unit that does not count.
    lengths : sequence of int, length n_documents
        How many units each document has; at least one.
    sharpness
        ``r``, above 0.

    Returns
    -------
    ndarray, shape (n_documents, n_labels)
        Minus infinity where no unit counts. Pooled scores may be pooled again: parts into sentences and these into
        documents gives the same as all parts at once.
    """
    if len(lengths) == 0:
        return np.zeros((0, scores.shape[1]))
    counts = np.asarray(lengths)
    starts = np.cumsum(counts) - counts
    scaled = scores * sharpness
    top = np.maximum.reduceat(scaled, starts)
    top = np.where(np.isneginf(top), -_HUGE, top)
    sums = np.add.reduceat(np.exp(scaled - np.repeat(top, counts, axis=0)), starts)
    with np.errstate(divide="ignore"):
        pooled: Array = (top + np.log(sums)) / sharpness
    return pooled


def mean(values: Array, lengths: Sequence[int] | NDArray[np.int64]) -> Array:
    """Average each document's units, shape (n_documents, n_columns); parameters as in `pool`."""
    if len(lengths) == 0:
        return np.zeros((0, values.shape[1]))
    counts = np.asarray(lengths)
    averages: Array = np.add.reduceat(values, np.cumsum(counts) - counts) / counts[:, None]
    return averages
