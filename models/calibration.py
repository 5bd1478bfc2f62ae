"""From scores to probabilities, and from probabilities to decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]
Decision = Literal["yes", "no", "refer"]

# How near to a bound between two decisions a probability must lie for the document to be scored again.
CLOSE = 0.05


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities and decisions; arrays have shape (1 + n_labels,).

    Attributes
    ----------
    slope, intercept
        Of a logistic curve for each column; see `probabilities`.
    threshold
        Where yes and no part if one of the two must be said.
    low, high
        The band about it in which a person decides; see `decide`.
    """

    slope: Array
    intercept: Array
    threshold: Array
    low: Array
    high: Array

    def relevance(self, scores: Array) -> Array:
        """Turn scores of relevance into probabilities, shape (n_documents,)."""
        chances: Array = expit(scores * self.slope[0] + self.intercept[0])
        return chances

    def decide(self, chances: Array) -> tuple[Decision, ...]:
        """Decide relevance and each label of one document; a label that was not scored is a no.

        Where relevance is a no, so is every label: a label means that the document is relevant and carries it.
        """
        relevance, *labels = (
            decide(float(chance), float(low), float(high))
            for chance, low, high in zip(chances, self.low, self.high, strict=True)
        )
        if relevance == "no":
            labels = ["no"] * len(labels)
        return (relevance, *labels)

    def is_close(self, chances: Array) -> bool:
        """Say whether a probability of a document lies within `CLOSE` of where its decision would be another."""
        if chances[0] < self.low[0] - CLOSE:
            return False  # Whatever the labels say, they are a no.
        gaps = np.minimum(np.abs(chances - self.low), np.abs(chances - self.high))
        return bool((gaps <= CLOSE).any())


def probabilities(scores: Array, slope: Array, intercept: Array) -> tuple[Array, Array]:
    """Turn scores into the probability that a record is relevant and carries the label.

    Each column goes through its own logistic curve (Platt 1999). The curves of the labels were fitted on
    relevant records, because only those are coded, so their values hold if the record is relevant; multiplied
    by the probability of relevance they hold in any case.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Relevance first, then the labels in codebook order; NaN where nothing was scored.
    slope, intercept : ndarray, shape (1 + n_labels,)

    Returns
    -------
    chances : ndarray, shape (n_documents, 1 + n_labels)
        Of relevance, and of each label in any case.
    given_relevant : ndarray, shape (n_documents, n_labels)
        Of each label if the record is relevant.
    """
    curves: Array = expit(scores * slope + intercept)
    given_relevant = curves[:, 1:]
    return np.hstack([curves[:, :1], curves[:, :1] * given_relevant]), given_relevant


def decide(probability: float, low: float, high: float) -> Decision:
    """Say yes from ``high`` up, no below ``low``, and refer what lies between to a person."""
    if probability >= high:
        return "yes"
    return "refer" if probability >= low else "no"
