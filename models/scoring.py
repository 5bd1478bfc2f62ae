"""From vectors to decisions: relevance of whole texts, pooling of sentence scores, calibration, decision bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mechtag.core.arrays import Array
from mechtag.models.encoder import Vectors

# exp(-GAMMA * squared distance) of unit vectors: texts on quite other subjects are some 1.6 apart, so that nothing
# is said of them but the intercept, which is below the cut.
GAMMA = 2.0


@dataclass(frozen=True)
class RelevanceHead:
    """A Gaussian kernel over the texts that the machine rests on.

    Attributes
    ----------
    vectors : ndarray of float16, shape (n_texts, size)
        Half precision moves a score by less than 0.001.
    weights : ndarray, shape (n_texts,)
        Positive for relevant texts, negative for others; empty where nothing could be learnt, and every score is then
        the intercept.
    intercept : float
    familiar : float
        Cosine with the nearest of the texts that nineteen in twenty of the training texts reach, each compared with
        the others.
    """

    vectors: NDArray[np.float16]
    weights: Array
    intercept: float
    familiar: float = -1.0

    def score(self, vectors: Vectors) -> Array:
        """Score texts, shape (n_texts,)."""
        if not len(self.weights):
            return np.full(len(vectors), self.intercept)
        # Vectors have unit length, so that the cosine gives the squared distance.
        scores: Array = np.exp(-2 * GAMMA * (1 - self._cosines(vectors))) @ self.weights + self.intercept
        return scores

    def is_unlike(self, vectors: Vectors) -> NDArray[np.bool_]:
        """Say of each text whether it is further from the training texts than nearly all of these from one another."""
        if not len(self.weights):
            return np.zeros(len(vectors), dtype=bool)
        unlike: NDArray[np.bool_] = self._cosines(vectors).max(axis=1) < self.familiar
        return unlike

    def _cosines(self, vectors: Vectors) -> Array:
        cosines: Array = vectors.astype(np.float64) @ self.vectors.astype(np.float64).T
        return cosines


def no_relevance(size: int) -> RelevanceHead:
    """Make the head of a codebook whose coded records are all relevant: every text has the same score."""
    return RelevanceHead(np.zeros((0, size), dtype=np.float16), np.zeros(0), 0.0)


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
