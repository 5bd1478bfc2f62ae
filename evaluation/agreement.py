"""Agreement between coders beyond what chance would give: Cohen's kappa, Krippendorff's alpha."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Array:
    """Divide; NaN, and no warning, where the denominator is zero or NaN."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=(denominator != 0) & ~np.isnan(denominator))
    return result


def cohen_kappa(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    """Cohen's (1960) kappa of two coders who say yes or no, from the four counts.

    Parameters
    ----------
    tp, fp, fn, tn
        Items that both tick, only the second ticks, only the first ticks, none ticks; any one shape.

    Returns
    -------
    numpy.ndarray
        Same shape; NaN where both coders say the same of every item, which leaves nothing to chance.
    """
    total = tp + fp + fn + tn
    observed = ratio(tp + tn, total)
    expected = ratio((tp + fp) * (tp + fn) + (tn + fp) * (tn + fn), total**2)
    return ratio(observed - expected, 1 - expected)


def alpha_from_coincidences(coincidences: Array) -> Array:
    """Krippendorff's alpha for nominal codes, from coincidence matrices.

    Parameters
    ----------
    coincidences
        Shape (..., k, k): how often code i and code j meet in a unit; Krippendorff,
        *Content Analysis* (2004), section 11.3.

    Returns
    -------
    numpy.ndarray
        Shape (...); NaN where only one code was ever used.
    """
    marginals = coincidences.sum(axis=-1)
    total = marginals.sum(axis=-1)
    agreed = np.trace(coincidences, axis1=-2, axis2=-1)
    expected = total**2 - (marginals**2).sum(axis=-1)
    return 1 - ratio((total - 1) * (total - agreed), expected)


def krippendorff_alpha(codes: ArrayLike) -> float:
    """Krippendorff's alpha for nominal codes by any number of coders; units may be missing.

    Parameters
    ----------
    codes
        Shape (coders, units); NaN where a coder did not judge a unit. Units judged by fewer
        than two coders do not count.

    Returns
    -------
    float
        1 is full agreement, 0 is chance; NaN where only one code was ever used or no unit
        has two codes.
    """
    codes = np.asarray(codes, float)
    values = np.unique(codes[~np.isnan(codes)])
    # How many coders gave each unit each value: (units, k).
    counts = (codes.T[:, :, None] == values).sum(axis=1).astype(float)
    judged = counts.sum(axis=1)
    counts, judged = counts[judged >= 2], judged[judged >= 2]
    weighted = counts / (judged - 1)[:, None]
    return float(alpha_from_coincidences(counts.T @ weighted - np.diag(weighted.sum(axis=0))))
