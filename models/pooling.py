"""From scores of sentences to the score of a document, anywhere between mean and maximum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Array = NDArray[np.float64]


def pool(scores: Array, sharpness: Array) -> Array:
    """Pool by the log-mean-exp of each label's scores.

    ``log(mean(exp(r * s))) / r`` is the mean for ``r = 0`` and nears the maximum as
    ``r`` grows (Boyd and Vandenberghe, Convex Optimization, 2004, section 3.1.5).

    Parameters
    ----------
    scores : ndarray, shape (n_units, n_labels)
        At least one unit.
    sharpness : ndarray, shape (n_labels,)
        ``r`` of each label, 0 or more.

    Returns
    -------
    ndarray, shape (n_labels,)
    """
    soft = sharpness > 0
    divisor = np.where(soft, sharpness, 1.0)
    peaked = logsumexp(scores * sharpness, axis=0, b=1 / len(scores)) / divisor
    pooled: Array = np.where(soft, peaked, scores.mean(axis=0))
    return pooled
