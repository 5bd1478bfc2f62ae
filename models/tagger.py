"""The tagger: relevance from the whole text, labels from the sentences that carry them; calibrates, decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models.calibration import Calibration, Decision, probabilities
from models.codebook import Codebook
from models.encoder import Encoder, Vectors
from models.features import Definitions, cues
from models.pooling import pool
from models.relevance import RelevanceHead
from models.role_model import read_roles
from models.roles import Role
from models.words import Words

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Document:
    """A paper as the tagger sees it.

    Attributes
    ----------
    title
    sentences
        Of the abstract.
    roles
        What the heading above each sentence says it is, see `models.roles.Role`; empty where no sentence has one.
    """

    title: str
    sentences: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()

    @property
    def units(self) -> tuple[str, ...]:
        """The title, then the sentences: what is scored and pooled."""
        return (self.title, *self.sentences)


@dataclass(frozen=True)
class Units:
    """Titles and sentences of documents, one document after another, and how they are read.

    Attributes
    ----------
    texts : list of str, length n_units
    lengths : ndarray, shape (n_documents,)
        Units of each document; the first is its title.
    counts : ndarray of bool, shape (n_units,)
        Whether a unit is content: a title, or a sentence that is neither methods nor a note.
    reports : ndarray, shape (n_units,)
        See `models.role_model.Reading`; 0 for titles.
    """

    texts: list[str]
    lengths: NDArray[np.int64]
    counts: Mask
    reports: Array

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each document's units begin."""
        starts: NDArray[np.int64] = np.cumsum(self.lengths) - self.lengths
        return starts

    def whole_texts(self) -> list[str]:
        """Join title and content of each document; all sentences where none is content."""
        wholes = []
        for start, length in zip(self.starts, self.lengths, strict=True):
            rows = range(start + 1, start + length)
            kept = [self.texts[row] for row in rows if self.counts[row]] or [self.texts[row] for row in rows]
            wholes.append(" ".join([f"{self.texts[start]}.", *kept] if self.texts[start] else kept))
        return wholes


def units_of(documents: Sequence[Document]) -> Units:
    """Lay out the units of documents and read the roles of their sentences."""
    texts = [unit for document in documents for unit in document.units]
    lengths = np.array([len(document.units) for document in documents], dtype=np.int64)
    is_title = np.zeros(len(texts), dtype=bool)
    is_title[np.cumsum(lengths) - lengths] = True
    printed: list[Role] = []
    for document in documents:
        printed.extend(document.roles or [""] * len(document.sentences))
    reading = read_roles([text for text, title in zip(texts, is_title, strict=True) if not title], printed)
    counts, reports = np.ones(len(texts), dtype=bool), np.zeros(len(texts))
    counts[~is_title], reports[~is_title] = reading.counts, reading.reports
    return Units(texts, lengths, counts, reports)


@dataclass(frozen=True)
class Heads:
    """Relevance of whole texts, and linear heads that score units for each label.

    A unit's score for a label is the sum of what its vector says and what its words say.

    Attributes
    ----------
    relevance : RelevanceHead
    weights : ndarray, shape (n_labels, size)
        On the vector of a unit; labels in codebook order.
    cue_weights : ndarray, shape (n_labels, 3)
        On the label's own cues, see `models.features.cues`.
    words, word_weights : Words, and ndarray of shape (n_labels, n_terms)
    intercept : ndarray, shape (n_labels,)
    """

    relevance: RelevanceHead
    weights: Array
    cue_weights: Array
    words: Words
    word_weights: Array
    intercept: Array

    def score_units(self, vectors: Vectors, own_cues: Array, words: csr_matrix) -> Array:
        """Score units from their vectors, `models.features.cues` and `Words.features`.

        Returns
        -------
        ndarray, shape (n_units, 1 + n_labels)
            Column 0 is what the relevance head says of the unit alone.
        """
        scores: Array = vectors.astype(np.float64) @ self.weights.T + words @ self.word_weights.T + self.intercept
        scores += np.einsum("nlk,lk->nl", own_cues, self.cue_weights)
        return np.hstack([self.relevance.score(vectors)[:, None], scores])


def score_documents(relevance: Array, unit_scores: Array, lengths: NDArray[np.int64], counts: Mask) -> Array:
    """Put the relevance of documents and the pooled scores of their content together.

    Parameters
    ----------
    relevance : ndarray, shape (n_documents,)
    unit_scores : ndarray, shape (n_units, 1 + n_labels)
    lengths, counts
        As in `Units`.

    Returns
    -------
    ndarray, shape (n_documents, 1 + n_labels)
    """
    content = np.where(counts[:, None], unit_scores[:, 1:], -np.inf)
    return np.hstack([relevance[:, None], pool(content, lengths)])


@dataclass(frozen=True)
class Scored:
    """What the tagger says of one document; label axis: relevance, then codebook order.

    Attributes
    ----------
    scores, probabilities : ndarray, shape (1 + n_labels,)
        NaN for the labels of a document whose sentences were not scored.
    given_relevant : ndarray, shape (n_labels,)
        Probability of each label if the document is relevant.
    decisions : tuple of str
    unit_scores : ndarray, shape (1 + n_sentences, 1 + n_labels)
        Row 0 is the title; minus infinity for sentences that are no content. Without rows where sentences were
        not scored.
    unlike
        Whether the text is unlike those that the model learned from; see `RelevanceHead.is_unlike`.
    """

    scores: Array
    probabilities: Array
    given_relevant: Array
    decisions: tuple[Decision, ...]
    unit_scores: Array
    unlike: bool


@dataclass(frozen=True)
class Tagger:
    """Everything that is needed to tag a document.

    Attributes
    ----------
    finer
        Gives the encoder that scores close documents again (`Calibration.is_close`), where
        ``encoder`` is quick but rough; called when one is met.
    score_all
        Whether sentences are scored even where relevance is a clear no.
    """

    codebook: Codebook
    encoder: Encoder
    definitions: Definitions
    heads: Heads
    calibration: Calibration
    finer: Callable[[], Encoder] | None = None
    score_all: bool = True

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
        if not documents:
            return []
        units = units_of(documents)
        wholes = self.encoder.encode(units.whole_texts())
        relevance, unlike = self.heads.relevance.score(wholes), self.heads.relevance.is_unlike(wholes)
        likely = self.score_all | (self.calibration.relevance(relevance) >= self.calibration.low[0])
        chosen = np.repeat(likely, units.lengths)
        found = np.full((len(documents), 1 + len(self.codebook.keys)), np.nan)
        found[:, 0] = relevance
        unit_scores = np.zeros((0, found.shape[1]))
        if likely.any():
            unit_scores = self._unit_scores(units, chosen)
            counts = units.counts[chosen]
            found[likely] = score_documents(relevance[likely], unit_scores, units.lengths[likely], counts)
            unit_scores = np.where(counts[:, None], unit_scores, -np.inf)
        chances, given = probabilities(found, self.calibration.slope, self.calibration.intercept)
        parts = np.split(unit_scores, np.cumsum(np.where(likely, units.lengths, 0))[:-1])
        return [
            Scored(found[row], chances[row], given[row], self.calibration.decide(chances[row]), part, bool(unlike[row]))
            for row, part in enumerate(parts)
        ]

    def _unit_scores(self, units: Units, chosen: Mask) -> Array:
        """Score chosen units; what comes again, and what is no content, costs nothing."""
        rows = np.flatnonzero(chosen)
        places: dict[tuple[str, float], int] = {}
        owner = [
            places.setdefault((units.texts[row], units.reports[row]), len(places)) if units.counts[row] else -1
            for row in rows
        ]
        texts, reports = [text for text, _ in places], np.array([each for _, each in places])
        vectors = self.encoder.encode(texts)
        own_cues = cues(self.definitions.likenesses(vectors), reports)
        scored = self.heads.score_units(vectors, own_cues, self.heads.words.features(texts))
        blank = np.full((1, scored.shape[1]), -np.inf)
        return np.vstack([scored, blank])[owner]
