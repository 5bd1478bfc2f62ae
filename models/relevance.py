"""Relevance from the text as a whole: a support vector machine on its vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encoder import Vectors

Array = NDArray[np.float64]

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
