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
    """

    vectors: NDArray[np.float16]
    weights: Array
    intercept: float

    def score(self, vectors: Vectors) -> Array:
        """Score texts, shape (n_texts,)."""
        if not len(self.weights):
            return np.full(len(vectors), self.intercept)
        own, given = self.vectors.astype(np.float64), vectors.astype(np.float64)
        squared = np.square(given).sum(1)[:, None] + np.square(own).sum(1) - 2 * given @ own.T
        scores: Array = np.exp(-GAMMA * np.maximum(squared, 0.0)) @ self.weights + self.intercept
        return scores


def no_relevance(size: int) -> RelevanceHead:
    """Make the head of a codebook whose coded records are all relevant: every text has the same score."""
    return RelevanceHead(np.zeros((0, size), dtype=np.float16), np.zeros(0), 0.0)
