"""Tag documents: score the relevance of whole texts and the labels of sentences, calibrate the scores, and decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from mechtag.core.arrays import Array, Index, Mask
from mechtag.core.codebook import Codebook
from mechtag.core.records import Role
from mechtag.models.encoder import Encoder, Vectors
from mechtag.models.features import Definitions, Words
from mechtag.models.scoring import Calibration, Decision, RelevanceHead, pool_scores, probabilities
from mechtag.models.sentence_roles import read_roles
from mechtag.models.text import beginning, clauses, normalise
from mechtag.models.windows import WindowCalibration

# If the labels of irrelevant records are not scored, the first words of most texts suffice: the rest of a text is not
# encoded if its first words have a probability of relevance below this fraction of the lower bound of relevance. With
# these values at most one relevant record in 221 is lost by it, out of fold, in each of three divisions into folds;
# with 70 words and 0.2, up to six.
GLANCE_WORDS = 90
GLANCE_SHARE = 0.1


@dataclass(frozen=True)
class Document:
    """A paper as input to the tagger.

    Attributes
    ----------
    title
        Title of the paper.
    sentences
        Sentences of the abstract.
    roles
        Role of each sentence according to its heading (see `core.records.Role`); empty if no sentence has a role.
    """

    title: str
    sentences: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()

    @property
    def units(self) -> tuple[str, ...]:
        """Return the title, followed by the sentences."""
        return (self.title, *self.sentences)


@dataclass(frozen=True)
class Units:
    """Titles and sentences (units) of documents, in document order, split into parts.

    Attributes
    ----------
    parts : list of str, length n_parts
        Text of each part. A title is one part. Sentences are split at semicolons by `text.clauses`.
    n_parts : ndarray, shape (n_units,)
        Number of parts of each unit.
    lengths : ndarray, shape (n_documents,)
        Number of units of each document. The first unit is the title.
    counts : ndarray of bool, shape (n_parts,)
        Whether a part is content. Only content is scored, and a repeated part is content only once. The content of a
        document is the first of these groups that is not empty:

        - the title, and the parts that are neither in a note nor about methods
        - all parts outside notes
        - all parts
    notes : ndarray of bool, shape (n_parts,)
        Whether a part is empty or belongs to a note, such as a copyright notice.
    reports : ndarray, shape (n_parts,)
        Log odds that a part reports results (see `sentence_roles.PartRoles`); 0 for titles.
    """

    parts: list[str]
    n_parts: Index
    lengths: Index
    counts: Mask
    notes: Mask
    reports: Array

    @property
    def parts_of_documents(self) -> Index:
        """Return the number of parts (title, and pieces of sentences) of each document, shape (n_documents,)."""
        ends = np.append(0, np.cumsum(self.n_parts))[np.cumsum(self.lengths)]
        return np.diff(ends, prepend=0)

    def whole_texts(self) -> list[str]:
        """Return one text per document: its title, followed by the parts of its sentences that are content.

        Sentences are split into parts at semicolons. For content, see ``counts`` in `Units`. If only the title of a
        document is content, all its parts outside notes are used.
        """
        wholes = []
        end = 0
        for length in self.parts_of_documents:
            rows = range(end, end + length)
            kept = [row for row in rows if self.counts[row]]
            if kept in ([], [end]):
                kept = [row for row in rows if not self.notes[row]] or kept
            wholes.append(". ".join(self.parts[row] for row in kept))
            end += length
        return wholes


def units_of(documents: Sequence[Document]) -> Units:
    """Split documents into parts (titles, and sentences split at semicolons), and classify the role of each part."""
    parts: list[str] = []
    n_parts: list[int] = []
    left_out: list[bool] = []
    is_title: list[bool] = []
    for document in documents:
        roles = document.roles or ("",) * len(document.sentences)
        for number, (text, role) in enumerate(zip(document.units, ("", *roles), strict=True)):
            own = clauses(text) if number else (normalise(text),)
            parts += own
            n_parts.append(len(own))
            left_out += [role == "note"] * len(own)
            is_title += [number == 0] * len(own)
    reading, title = read_roles(parts), np.array(is_title, dtype=bool)
    notes = np.array([note or not part for note, part in zip(left_out, parts, strict=True)], dtype=bool)
    units = Units(
        parts=parts,
        n_parts=np.array(n_parts, dtype=np.int64),
        lengths=np.array([len(document.units) for document in documents], dtype=np.int64),
        counts=~notes & (title | ~reading.methods),
        notes=notes,
        reports=np.where(title, 0.0, reading.reports),
    )
    ends = np.cumsum(units.parts_of_documents)
    for start, end in zip(ends - units.parts_of_documents, ends, strict=True):
        rows = slice(start, end)
        if not units.counts[rows].any():
            units.counts[rows] = ~notes[rows]
        if not units.counts[rows].any():
            units.counts[rows] = True
        _, first = np.unique(parts[start:end], return_index=True)
        units.counts[rows] &= np.isin(np.arange(end - start), first)
    return units


@dataclass(frozen=True)
class Heads:
    """One head that scores the relevance of whole texts, and linear heads that score sentence parts for each label.

    A part is a sentence, or a piece of a sentence between semicolons. The label score of a part is the sum of three
    numbers: a score computed from the features of the part, a score computed from its words, and the intercept of the
    label. Without coded records, the weights for features are computed from the definitions
    (`features.Definitions.label_weights`), and the vocabulary is empty.

    Attributes
    ----------
    relevance : RelevanceHead
        Head for relevance.
    weights : ndarray, shape (n_labels, size + 1)
        Weights for the features of a part (`features.Definitions.features`); labels in codebook order.
    words : Words
        Vocabulary to which ``word_weights`` refers.
    word_weights : ndarray, shape (n_labels, n_terms)
        Weights for the words of a part.
    intercept : ndarray, shape (n_labels,)
        Intercept of each label.
    """

    relevance: RelevanceHead
    weights: Array
    words: Words
    word_weights: Array
    intercept: Array

    def score_wholes(self, vectors: Vectors, texts: Sequence[str]) -> Array:
        """Return the relevance score of each whole text, shape (n_texts,).

        Parameters
        ----------
        vectors : ndarray, shape (n_texts, size)
            Vectors of the texts.
        """
        return self.relevance.score(vectors, self.words.features(texts))

    def score_parts(self, vectors: Vectors, features: Array, words: csr_matrix) -> Array:
        """Score parts of sentences (pieces between semicolons) for relevance and for each label.

        Parameters
        ----------
        vectors : ndarray, shape (n_parts, size)
            Vectors of the parts.
        features : ndarray, shape (n_parts, size + 1)
            See `features.Definitions.features`.
        words : csr_matrix, shape (n_parts, n_terms)
            See `features.Words.features`.

        Returns
        -------
        ndarray, shape (n_parts, 1 + n_labels)
            The first column is the relevance score of the part, computed as if the part were a whole text. The other
            columns are the label scores in codebook order.
        """
        scores = features @ self.weights.T + words @ self.word_weights.T + self.intercept
        return np.hstack([self.relevance.score(vectors, words)[:, None], scores])


def score_documents(relevance: Array, unit_scores: Array, lengths: Index) -> Array:
    """Return the scores of each document: its relevance score, followed by its label scores.

    The label scores of a document are pooled over its units, which are its title and its sentences.

    Parameters
    ----------
    relevance : ndarray, shape (n_documents,)
        Relevance scores.
    unit_scores : ndarray, shape (n_units, 1 + n_labels)
        Scores of the units of all documents, in document order. The first column (relevance) is ignored.
    lengths : ndarray, shape (n_documents,)
        Number of units of each document.

    Returns
    -------
    ndarray, shape (n_documents, 1 + n_labels)
        The first column is relevance.
    """
    return np.hstack([relevance[:, None], pool_scores(unit_scores[:, 1:], lengths)])


@dataclass(frozen=True)
class Scored:
    """The tagger's output for one document.

    In all arrays, relevance comes first if it is included, then the labels in codebook order.

    Attributes
    ----------
    scores, probabilities : ndarray, shape (1 + n_labels,)
        Scores and calibrated probabilities. The values of the labels are NaN if the document's sentences were not
        scored.
    given_relevant : ndarray, shape (n_labels,)
        Probability of each label, given that the document is relevant.
    decisions : tuple of str
        Decisions on relevance and on the labels.
    unit_scores : ndarray, shape (1 + n_sentences, 1 + n_labels)
        Scores of the title (first row) and of each sentence. Sentences that are not content (see `Units`) have the
        score minus infinity. If the sentences were not scored, there are no rows.
    unlike
        Whether the text is unlike the training texts; see `RelevanceHead.is_unlike`.
    """

    scores: Array
    probabilities: Array
    given_relevant: Array
    decisions: tuple[Decision, ...]
    unit_scores: Array
    unlike: bool


@dataclass(frozen=True)
class LongDocument:
    """A paper whose full text is input to the tagger.

    The full text is divided into windows: groups of consecutive sentences; see `windows.windows`.

    Attributes
    ----------
    abstract
        Title and abstract, which are the first window. Only this window determines relevance.
    windows
        All other windows. Each consists of the title and some sentences of the full text.
    """

    abstract: Document
    windows: tuple[Document, ...]


@dataclass(frozen=True)
class ScoredLong:
    """The tagger's output for the full text of a paper, which is divided into windows (see `LongDocument`).

    Attributes
    ----------
    abstract
        Output for the title and abstract.
    whole
        Output for the full text. Its ``unit_scores`` are those of ``abstract``.
    windows : tuple of ndarray
        One array of `Scored.unit_scores` for each window after the abstract. Empty if the sentences were not scored.
    window_scores : ndarray, shape (1 + n_windows, n_labels)
        Pooled label scores: one row for the abstract, followed by one row per item of ``windows``.
    """

    abstract: Scored
    whole: Scored
    windows: tuple[Array, ...]
    window_scores: Array


@dataclass(frozen=True)
class Tagger:
    """A complete model that tags documents.

    Attributes
    ----------
    long
        Adjustment of the calibration to the number of windows into which a full text is divided; ``None`` if the model
        cannot tag full texts.
    finer
        Function that returns a more precise encoder; ``None`` if ``encoder`` is precise enough. The more precise
        encoder scores a document again if a probability is near a bound between two decisions
        (`Calibration.is_close`).
    score_all
        Whether to score the sentences of clearly irrelevant documents. If ``False``, a document is not even read to its
        end if its first words are clearly irrelevant.
    """

    codebook: Codebook
    encoder: Encoder
    definitions: Definitions
    heads: Heads
    calibration: Calibration
    finer: Callable[[], Encoder] | None = None
    score_all: bool = True
    long: WindowCalibration | None = None

    def tag(self, documents: Sequence[Document]) -> list[Scored]:
        """Tag documents: score their sentences, pool and calibrate the scores, and decide.

        Sentences that occur several times are scored once. Pass one or two thousand documents per call, so that the
        batches of the encoder are full.

        Returns
        -------
        list of Scored
            Results in the order of ``documents``.
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

    def tag_long(self, papers: Sequence[LongDocument], abstracts: Sequence[Scored | None] = ()) -> list[ScoredLong]:
        """Tag full texts, which are divided into windows (see `LongDocument`).

        Relevance is judged by title and abstract. The score of a label is its highest score in any window. Sentences
        that several windows share are scored once. Pass a few dozen papers per call.

        Parameters
        ----------
        abstracts
            Output of `tag` for the title and abstract of each paper. Missing outputs (``None``) are computed. By
            default, all outputs are computed.

        Returns
        -------
        list of ScoredLong
            Results in the order of ``papers``.
        """
        known = dict(enumerate(abstracts or [None] * len(papers)))
        unknown = [row for row, abstract in known.items() if abstract is None]
        known |= zip(unknown, self.tag([papers[row].abstract for row in unknown]), strict=True)
        found = self._tag_long(papers, [abstract for abstract in known.values() if abstract])
        if self.finer is None:
            return found
        close = [row for row, one in enumerate(found) if self._of(one).is_close(one.whole.probabilities)]
        if close:
            again = replace(self, encoder=self.finer(), finer=None)
            for row, one in zip(close, again.tag_long([papers[row] for row in close]), strict=True):
                found[row] = one
        return found

    def _of(self, scored: ScoredLong) -> Calibration:
        assert self.long is not None, "the caller checks whether the model can tag full texts"
        return self.long.of(self.calibration, len(scored.window_scores))

    def _tag_long(self, papers: Sequence[LongDocument], abstracts: Sequence[Scored]) -> list[ScoredLong]:
        read = [len(abstract.unit_scores) > 0 for abstract in abstracts]
        documents = [window for paper, reads in zip(papers, read, strict=True) if reads for window in paper.windows]
        by_window = iter(self._scored_windows(documents))
        found = []
        for paper, abstract, reads in zip(papers, abstracts, read, strict=True):
            own = [next(by_window) for _ in paper.windows] if reads else []
            one = ScoredLong(
                abstract=abstract,
                whole=abstract,
                windows=tuple(unit_scores for unit_scores, _ in own),
                window_scores=np.vstack([abstract.scores[1:], *(of_window for _, of_window in own)]),
            )
            found.append(replace(one, whole=self._whole(one)))
        return found

    def _scored_windows(self, documents: Sequence[Document]) -> Iterator[tuple[Array, Array]]:
        """Yield two arrays for each window of a full text.

        The first contains the scores of the window's title and sentences. The second contains the pooled label scores.
        """
        if documents:
            units = units_of(documents)
            scores = self._unit_scores(units, np.ones(len(documents), dtype=bool))
            pooled = pool_scores(scores[:, 1:], units.lengths)
            yield from zip(np.split(scores, np.cumsum(units.lengths)[:-1]), pooled, strict=True)

    def _whole(self, scored: ScoredLong) -> Scored:
        calibration = self._of(scored)
        scores = np.append(scored.abstract.scores[0], scored.window_scores.max(axis=0))
        chances, given = probabilities(scores[None], calibration.slope, calibration.intercept)
        return replace(
            scored.abstract,
            scores=scores,
            probabilities=chances[0],
            given_relevant=given[0],
            decisions=calibration.decide(chances[0]),
        )

    def _tag(self, documents: Sequence[Document]) -> list[Scored]:
        if not documents:
            return []
        units = units_of(documents)
        relevance, unlike = self._score_wholes(units.whole_texts())
        likely = self.score_all | (self.calibration.relevance(relevance) >= self.calibration.low[0])
        found = np.full((len(documents), 1 + len(self.codebook.keys)), np.nan)
        found[:, 0] = relevance
        unit_scores = np.zeros((0, found.shape[1]))
        if likely.any():
            unit_scores = self._unit_scores(units, likely)
            found[likely] = score_documents(relevance[likely], unit_scores, units.lengths[likely])
        chances, given = probabilities(found, self.calibration.slope, self.calibration.intercept)
        parts = np.split(unit_scores, np.cumsum(np.where(likely, units.lengths, 0))[:-1])
        return [
            Scored(found[row], chances[row], given[row], self.calibration.decide(chances[row]), part, bool(unlike[row]))
            for row, part in enumerate(parts)
        ]

    def _score_wholes(self, texts: Sequence[str]) -> tuple[Array, Mask]:
        """Return the relevance score of each text, and whether the text is unlike the training texts."""
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        own = [places[text] for text in texts]
        distinct, low = list(places), float(self.calibration.low[0])
        short = distinct if self.score_all or low <= 0 else [beginning(text, GLANCE_WORDS) for text in distinct]
        vectors = self.encoder.encode(short)
        scores = self.heads.score_wholes(vectors, short)
        chances = self.calibration.relevance(scores)
        longer = np.array([text != begun for text, begun in zip(distinct, short, strict=True)])
        unsettled = np.flatnonzero(longer & (chances >= GLANCE_SHARE * low))
        if len(unsettled):
            unread = [distinct[row] for row in unsettled]
            vectors[unsettled] = self.encoder.encode(unread)
            scores[unsettled] = self.heads.score_wholes(vectors[unsettled], unread)
        return scores[own], self.heads.relevance.is_unlike(vectors)[own]

    def _unit_scores(self, units: Units, likely: Mask) -> Array:
        """Return the scores of all titles and sentences of the documents for which ``likely`` is true.

        The result has one row per title or sentence, and 1 + n_labels columns. The first column is relevance.
        """
        places: dict[tuple[str, float], int] = {}
        chosen = np.flatnonzero(np.repeat(likely, units.parts_of_documents))
        owner = [
            places.setdefault((units.parts[row], units.reports[row]), len(places)) if units.counts[row] else -1
            for row in chosen
        ]
        texts, reports = [text for text, _ in places], np.array([each for _, each in places])
        vectors = self.encoder.encode(texts)
        features, words = self.definitions.features(vectors, reports), self.heads.words.features(texts)
        scored = self.heads.score_parts(vectors, features, words)
        blank = np.full((1, scored.shape[1]), -np.inf)
        return pool_scores(np.vstack([scored, blank])[owner], units.n_parts[np.repeat(likely, units.lengths)])
