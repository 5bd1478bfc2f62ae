"""The tagger: scores sentences with a linear head a label, pools them, calibrates, decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models.calibration import Decision, decide, probabilities
from models.codebook import Codebook
from models.encoder import Encoder, Vectors
from models.features import Definitions
from models.pooling import pool
from models.words import Words

Array = NDArray[np.float64]

# How near to a bound between two decisions a probability must lie for the document to be scored again.
CLOSE = 0.05


@dataclass(frozen=True)
class Document:
    """A paper as the tagger sees it: its title and the sentences of its abstract."""

    title: str
    sentences: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[str, ...]:
        """The title, then the sentences: what is scored and pooled."""
        return (self.title, *self.sentences)


@dataclass(frozen=True)
class Heads:
    """Linear heads for relevance and for each label, and how each pools.

    A unit's score is the sum of what its vector says and what its words say.

    Attributes
    ----------
    weights : ndarray, shape (1 + n_labels, size)
        On the vector of a unit; relevance first, then the labels in codebook order.
    likeness_weights : ndarray, shape (1 + n_labels, 2)
        On the label's own likenesses, see `Definitions.likenesses`; zero for relevance.
    words, word_weights : Words, and ndarray of shape (1 + n_labels, n_terms)
    intercept, sharpness : ndarray, shape (1 + n_labels,)
        ``sharpness`` is that of `models.pooling.pool`.
    """

    weights: Array
    likeness_weights: Array
    words: Words
    word_weights: Array
    intercept: Array
    sharpness: Array

    def score(self, vectors: Vectors, likenesses: Array, words: csr_matrix) -> Array:
        """Score units from their vectors, `Definitions.likenesses` and `Words.features`.

        Returns
        -------
        ndarray, shape (n_units, 1 + n_labels)
        """
        scores: Array = vectors.astype(np.float64) @ self.weights.T + words @ self.word_weights.T + self.intercept
        scores[:, 1:] += np.einsum("nlk,lk->nl", likenesses, self.likeness_weights[1:])
        return scores


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities and decisions; arrays have shape (1 + n_labels,).

    Attributes
    ----------
    threshold
        Where yes and no part if one of the two must be said.
    low, high
        The band about it in which a person decides; see `models.calibration.decide`.
    """

    slope: Array
    intercept: Array
    threshold: Array
    low: Array
    high: Array

    def decide(self, chances: Array) -> tuple[Decision, ...]:
        """Decide each label of one document; see `models.calibration.decide`."""
        return tuple(
            decide(float(chance), float(low), float(high))
            for chance, low, high in zip(chances, self.low, self.high, strict=True)
        )

    def is_close(self, chances: Array) -> bool:
        """Say whether a probability of a document lies within `CLOSE` of where its decision would be another."""
        gaps = np.minimum(np.abs(chances - self.low), np.abs(chances - self.high))
        return bool((gaps <= CLOSE).any())


@dataclass(frozen=True)
class Scored:
    """What the tagger says of one document; label axis: relevance, then codebook order.

    Attributes
    ----------
    scores, probabilities : ndarray, shape (1 + n_labels,)
    decisions : tuple of str
    unit_scores : ndarray, shape (1 + n_sentences, 1 + n_labels)
        Row 0 is the title.
    """

    scores: Array
    probabilities: Array
    decisions: tuple[Decision, ...]
    unit_scores: Array


@dataclass(frozen=True)
class Tagger:
    """Everything that is needed to tag a document.

    Attributes
    ----------
    finer
        Gives the encoder that scores close documents again (`Calibration.is_close`), where
        ``encoder`` is quick but rough; called when one is met.
    """

    codebook: Codebook
    encoder: Encoder
    definitions: Definitions
    heads: Heads
    calibration: Calibration
    finer: Callable[[], Encoder] | None = None

    def tag(self, documents: Sequence[Document]) -> list[Scored]:
        """Score, pool, calibrate and decide; a sentence that comes again is scored once.

        The more documents at once, the fuller the encoder's batches: a thousand or two are enough.

        Returns
        -------
        list of Scored
            In the order of ``documents``.
        """
        scored = self._tag(documents)
        if self.finer is None:
            return scored
        close = [row for row, one in enumerate(scored) if self.calibration.is_close(one.probabilities)]
        if close:
            again = replace(self, encoder=self.finer(), finer=None)
            for row, one in zip(close, again.tag([documents[row] for row in close]), strict=True):
                scored[row] = one
        return scored

    def _tag(self, documents: Sequence[Document]) -> list[Scored]:
        places: dict[str, int] = {}
        rows = [places.setdefault(unit, len(places)) for document in documents for unit in document.units]
        units = list(places)
        vectors = self.encoder.encode(units)
        scored = self.heads.score(vectors, self.definitions.likenesses(vectors), self.heads.words.features(units))
        unit_scores = scored[np.array(rows, dtype=np.int64)]
        lengths = [len(document.units) for document in documents]
        scores = pool(unit_scores, lengths, self.heads.sharpness)
        chances = probabilities(scores, self.calibration.slope, self.calibration.intercept)
        parts = np.split(unit_scores, np.cumsum(lengths)[:-1]) if lengths else []
        return [
            Scored(scores[row], chances[row], self.calibration.decide(chances[row]), part)
            for row, part in enumerate(parts)
        ]
