"""From scores to probabilities, and from probabilities to decisions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]
Decision = Literal["yes", "no", "refer"]


def probabilities(scores: Array, slope: Array, intercept: Array) -> Array:
    """Turn scores into the probability that a record is relevant and carries the label.

    Each column goes through its own logistic curve (Platt 1999). The curves of the
    mechanisms were fitted on relevant records, because only those are coded, so their
    values are multiplied by the probability of relevance.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Relevance first, then the labels in codebook order.
    slope, intercept : ndarray, shape (1 + n_labels,)

    Returns
    -------
    ndarray, shape (n_documents, 1 + n_labels)
    """
    result: Array = expit(scores * slope + intercept)
    result[:, 1:] *= result[:, :1]
    return result


def decide(probability: float, low: float, high: float) -> Decision:
    """Say yes from ``high`` up, no below ``low``, and refer what lies between to a person."""
    if probability >= high:
        return "yes"
    return "no" if probability < low else "refer"
