"""Compute scores from vectors, probabilities from scores, and decisions from probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import expit

from mechtag.core.arrays import Array
from mechtag.models.encoder import Vectors

# exp(-GAMMA * squared distance) of unit vectors: unrelated texts have a squared distance of about 1.6, so their
# score is nearly the intercept, which lies below the threshold.
GAMMA = 2.0


@dataclass(frozen=True)
class RelevanceHead:
    """Scores the relevance of whole texts by the codebook's definitions, by similar coded texts, and by words.

    The score of a text is the sum of three scores:

    - the log odds computed from the definitions; their weight falls as more records are coded;
    - the score of a support vector machine with a Gaussian kernel;
    - the score of a logistic regression on words.

    Attributes
    ----------
    direction : ndarray, shape (size,)
        Weights for the vector of a text, computed from the definitions; see `features.Definitions`.
    vectors : ndarray of float16, shape (n_support_vectors, size)
        Support vectors. Half precision changes a score by less than 0.001.
    weights : ndarray, shape (n_support_vectors,)
        Weights of the support vectors: positive for relevant texts, negative for irrelevant texts. Empty if the head
        was not trained on coded records.
    word_weights : ndarray, shape (n_terms,)
        Weights of the words of a text.
    intercept : float
        Constant that is added to the sum.
    familiar : float
        Similarity that 95% of the training texts exceed. The similarity of a training text is the cosine to the nearest
        support vector other than the text itself.
    """

    direction: Array
    vectors: NDArray[np.float16]
    weights: Array
    word_weights: Array
    intercept: float
    familiar: float = -1.0

    def score(self, vectors: Vectors, words: csr_matrix) -> Array:
        """Return the relevance score of each text, shape (n_texts,).

        Parameters
        ----------
        vectors : ndarray, shape (n_texts, size)
            Vectors of the texts.
        words : csr_matrix, shape (n_texts, n_terms)
            Result of `Words.features` for the texts.
        """
        # Vectors have unit length, so the squared distance is 2 - 2 * cosine.
        similar = np.exp(-2 * GAMMA * (1 - self._cosines(vectors))) @ self.weights
        scores: Array = vectors.astype(np.float64) @ self.direction + similar + words @ self.word_weights
        return scores + self.intercept

    def is_unlike(self, vectors: Vectors) -> NDArray[np.bool_]:
        """Return for each text whether it is unlike the training texts, shape (n_texts,).

        A text is unlike the training texts if its cosine similarity to the nearest support vector is below the
        attribute ``familiar``. If there are no support vectors, the result is ``False`` for all texts.
        """
        if not len(self.weights):
            return np.zeros(len(vectors), dtype=bool)
        unlike: NDArray[np.bool_] = self._cosines(vectors).max(axis=1) < self.familiar
        return unlike

    def _cosines(self, vectors: Vectors) -> Array:
        cosines: Array = vectors.astype(np.float64) @ self.vectors.astype(np.float64).T
        return cosines


# With sharpness 1, odds would add up, and sixty weak sentences would outweigh a clear one; with infinite
# sharpness, only the highest score would count. Chosen on the coded records (`python -m benchmarks.coded_records`).
SHARPNESS = 1.5
# Stands in for minus infinity, because the difference of two infinities is undefined.
_HUGE = 1e300


def pool_scores(scores: Array, lengths: Sequence[int] | NDArray[np.int64], sharpness: float = SHARPNESS) -> Array:
    """Pool the scores of each document's units into one score per label, by log-sum-exp.

    The pooled score is ``log(sum(exp(r * s))) / r`` (Boyd and Vandenberghe, Convex Optimization, 2004, section 3.1.5).
    It is never below the highest score, and a unit with a low score adds almost nothing. Therefore, neutral sentences
    cannot outweigh a sentence that has the label.

    Parts (pieces of sentences between semicolons) can be pooled into sentences first, and the sentences into documents.
    The result is the same as if the parts are pooled directly into documents.

    Parameters
    ----------
    scores : ndarray, shape (n_units, n_labels)
        Scores of the units of the first document, then of the second, and so on. Units whose score is minus infinity
        are excluded.
    lengths : sequence of int, length n_documents
        Number of units of each document, at least one.
    sharpness
        The factor ``r``, which must be above 0.

    Returns
    -------
    ndarray, shape (n_documents, n_labels)
        Pooled scores; minus infinity if all units of a document are excluded.
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
    """Return the mean of the values of each document's units, shape (n_documents, n_columns).

    The units of a document are its title and its sentences.

    Parameters
    ----------
    values : ndarray, shape (n_units, n_columns)
        Values of the units of the first document, then of the second, and so on.
    lengths : sequence of int, length n_documents
        Number of units of each document, at least one.
    """
    if len(lengths) == 0:
        return np.zeros((0, values.shape[1]))
    counts = np.asarray(lengths)
    averages: Array = np.add.reduceat(values, np.cumsum(counts) - counts) / counts[:, None]
    return averages


Decision = Literal["yes", "no", "refer"]

# A document is scored again if a probability is within this distance of a bound between two decisions.
CLOSE = 0.05


@dataclass(frozen=True)
class Calibration:
    """Parameters that turn scores into probabilities and decisions.

    Arrays have shape (1 + n_labels,): relevance comes first, then the labels in codebook order.

    Attributes
    ----------
    slope, intercept
        Parameters of the logistic curves that convert scores to probabilities; see `probabilities`.
    threshold
        Probability that separates yes from no if every decision must be yes or no.
    low, high
        Bounds below and above the threshold. If a probability is between the bounds, the decision needs review; see
        `decide`.
    """

    slope: Array
    intercept: Array
    threshold: Array
    low: Array
    high: Array

    def relevance(self, scores: Array) -> Array:
        """Return the probability of relevance for each relevance score, shape (n_documents,)."""
        chances: Array = expit(scores * self.slope[0] + self.intercept[0])
        return chances

    def decide(self, chances: Array) -> tuple[Decision, ...]:
        """Return the decisions on relevance and on each label of one document, given their probabilities.

        Both ``chances`` and the result begin with relevance. A label whose probability is NaN is decided ``no``. If
        relevance is decided ``no``, every label is decided ``no``, because a label implies that the document is
        relevant.
        """
        relevance, *labels = (
            decide(float(chance), float(low), float(high))
            for chance, low, high in zip(chances, self.low, self.high, strict=True)
        )
        if relevance == "no":
            labels = ["no"] * len(labels)
        return (relevance, *labels)

    def is_close(self, chances: Array) -> bool:
        """Return whether any probability of a document is within `CLOSE` of a bound between two decisions.

        If the document is clearly irrelevant, the result is ``False``, because the decision is then ``no`` for all
        labels.
        """
        if chances[0] < self.low[0] - CLOSE:
            return False  # All labels are a no, whatever their probabilities.
        gaps = np.minimum(np.abs(chances - self.low), np.abs(chances - self.high))
        return bool((gaps <= CLOSE).any())


def probabilities(scores: Array, slope: Array, intercept: Array) -> tuple[Array, Array]:
    """Convert scores to the probability of relevance and the probability of each label.

    Relevance and each label have their own logistic curve (Platt 1999). The curve of a label was fitted on relevant
    records, because only relevant records are coded. It therefore yields the probability that a relevant document has
    the label. Multiplied by the probability of relevance, this probability becomes unconditional.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Scores of relevance, then of the labels in codebook order; NaN for unscored labels.
    slope, intercept : ndarray, shape (1 + n_labels,)
        Parameters of the logistic curves.

    Returns
    -------
    chances : ndarray, shape (n_documents, 1 + n_labels)
        Probability of relevance, followed by the unconditional probability of each label.
    given_relevant : ndarray, shape (n_documents, n_labels)
        Probability of each label, given that the document is relevant.
    """
    curves: Array = expit(scores * slope + intercept)
    given_relevant = curves[:, 1:]
    return np.hstack([curves[:, :1], curves[:, :1] * given_relevant]), given_relevant


def decide(probability: float, low: float, high: float) -> Decision:
    """Return the decision for a probability.

    The decision is ``yes`` if the probability is at least ``high``, ``no`` if it is below ``low``, and ``refer``
    otherwise. ``refer`` means that a person must review the label.
    """
    if probability >= high:
        return "yes"
    return "refer" if probability >= low else "no"
