"""Convert coded records and example sentences (exemplars) to the tables and arrays that training uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mechtag.models.encoder import Encoder, Vectors
from mechtag.models.features import Definitions
from mechtag.models.scoring import pool_scores
from mechtag.models.sentence_roles import read_roles
from mechtag.models.tagger import Document, score_documents, units_of
from mechtag.models.text import clauses
from mechtag.pipeline.annotations.coded_records import CodedRecord, Exemplar
from mechtag.pipeline.tagging.predict import document_of

if TYPE_CHECKING:
    from datasets import Dataset
from mechtag.core.arrays import Array, Index, Mask

NO_DOCUMENT = -1


@dataclass(frozen=True)
class CodedDocument:
    """A document, which is the text of one paper, with its human codes.

    Attributes
    ----------
    codes
        Code of the whole document for each label: 1, 0, or ``None`` if not judged. All labels of an irrelevant document
        count as not judged.
    sentence_labels
        Labels of each sentence, or ``None`` if only the whole document was coded.
    sentences_not_judged
        Labels for which ``sentence_labels`` must not be used, because nobody read all sentences for the label, or
        because a later coding changed the document's code for it.
    added
        Whether the document was added by 'mechtag retrain'.
    hard
        Whether the document is irrelevant but easily mistaken for a relevant document; ``None`` if this was not
        recorded.
    source
        Name of the set that the document belongs to, such as the file it came from.
    """

    record_id: str
    document: Document
    relevant: bool
    codes: Mapping[str, int | None]
    sentence_labels: tuple[tuple[str, ...], ...] | None = None
    sentences_not_judged: tuple[str, ...] = ()
    added: bool = False
    hard: bool | None = None
    source: str = ""


@dataclass(frozen=True)
class Corpus:
    """Training texts as arrays: the title and sentences of each document, then the exemplars, all split into parts.

    A unit is a title, a sentence or an exemplar. A text is a part of a unit, between semicolons (see `text.clauses`).
    In arrays of codes, the first column is relevance, and the other columns are the labels in codebook order. NaN means
    not judged, and never counts as negative.

    Attributes
    ----------
    texts : tuple of str, length n_texts
        Parts of the units.
    vectors : ndarray, shape (n_texts, size)
        Vectors of the texts.
    definitions : Definitions
        Definitions of the codebook, encoded by the same encoder as ``vectors``.
    counts : ndarray of bool, shape (n_texts,)
        Whether each text is content (see `tagger.Units`). All exemplars are content.
    reports : ndarray, shape (n_texts,)
        Log odds that each text reports results; see `tagger.Units`.
    n_parts : ndarray, shape (n_units,)
        Number of texts of each unit.
    whole_texts : tuple of str, length n_documents
        Title and other content of each document as one text; see `tagger.Units.whole_texts`.
    wholes : ndarray, shape (n_documents, size)
        Vectors of ``whole_texts``.
    unit_targets : ndarray, shape (n_texts, 1 + n_labels)
        Codes of each text: the codes of its unit, except that codes are NaN in three cases:

        - relevance, because it applies to whole documents;
        - all titles, and sentences that were not coded;
        - a label that a unit with several parts has, because it is unknown which part has it.
    document : ndarray, shape (n_texts,)
        Number of the document that each text belongs to, from 0; ``NO_DOCUMENT`` for exemplars.
    taken_from : ndarray, shape (n_texts,)
        Number of the document that each exemplar was taken from; ``NO_DOCUMENT`` for invented exemplars and for the
        texts of documents. If a document is left out of the training, so are the exemplars taken from it. Without
        this rule, a model could be trained on sentences of a document that it scores out of fold.
    document_targets : ndarray, shape (n_documents, 1 + n_labels)
        Codes of the documents as a whole.
    source : ndarray of int, shape (n_documents,)
        Number of the set that each document belongs to; see `CodedDocument`.
    hard : ndarray of bool, shape (n_documents,)
        Whether each document is irrelevant but easily mistaken for a relevant document.
    """

    texts: tuple[str, ...]
    vectors: Vectors
    definitions: Definitions
    counts: Mask
    reports: Array
    n_parts: Index
    whole_texts: tuple[str, ...]
    wholes: Vectors
    unit_targets: Array
    document: Index
    taken_from: Index
    document_targets: Array
    source: Index
    hard: NDArray[np.bool_]

    @property
    def n_documents(self) -> int:
        """Return the number of documents."""
        return len(self.document_targets)

    @property
    def features(self) -> Array:
        """Return the features by which texts are scored, shape (n_texts, size + 1); see `Definitions.features`.

        The features of a text are its centred vector, followed by the log odds that the text reports results.
        """
        return self.definitions.features(self.vectors, self.reports)

    @property
    def lengths(self) -> Index:
        """Return the number of texts of each document, shape (n_documents,)."""
        return np.bincount(self.document[self.document != NO_DOCUMENT], minlength=self.n_documents)

    @property
    def first_parts(self) -> Index:
        """Return the row of the first text of each unit (title, sentence or exemplar), shape (n_units,).

        All texts of a unit have the same document and the same codes, which can therefore be read from this row.
        """
        first: Index = np.cumsum(self.n_parts) - self.n_parts
        return first

    def rows_by_document(self) -> list[Index]:
        """Return, for each document, the numbers of its texts (title and parts of sentences) among all texts."""
        ends = np.cumsum(self.lengths)
        return [np.arange(end - length, end) for end, length in zip(ends, self.lengths, strict=True)]

    def texts_of(self, documents: Mask, *, exemplars: bool) -> Mask:
        """Return a mask of the texts of the selected documents and, if ``exemplars`` is true, of the exemplars.

        An exemplar that was taken from a document is included only if this document is selected.

        Parameters
        ----------
        documents : ndarray of bool, shape (n_documents,)
            Mask of the selected documents.
        exemplars
            Whether to include exemplars.

        Returns
        -------
        ndarray of bool, shape (n_texts,)
        """
        # ``NO_DOCUMENT`` is the index of the last element.
        selected: Mask = np.append(documents, exemplars)[self.document] & np.append(documents, True)[self.taken_from]
        return selected

    def without(self, document: int) -> Corpus:
        """Return the corpus without one document."""
        return self.keep(np.arange(self.n_documents) != document)

    def keep(self, documents: NDArray[np.bool_], *, exemplars: bool = True) -> Corpus:
        """Return a smaller corpus that contains the selected documents and, by default, the exemplars.

        An exemplar that was taken from a document is kept only if this document is selected.

        Parameters
        ----------
        documents : ndarray of bool, shape (n_documents,)
            ``True`` for each selected document.
        exemplars
            Whether to keep exemplars.
        """
        kept = self.texts_of(documents, exemplars=exemplars)
        row = np.append(np.cumsum(documents) - 1, NO_DOCUMENT)
        return Corpus(
            texts=tuple(text for text, keep in zip(self.texts, kept, strict=True) if keep),
            vectors=self.vectors[kept],
            definitions=self.definitions,
            counts=self.counts[kept],
            reports=self.reports[kept],
            n_parts=self.n_parts[kept[np.cumsum(self.n_parts) - 1]],
            whole_texts=tuple(text for text, keep in zip(self.whole_texts, documents, strict=True) if keep),
            wholes=self.wholes[documents],
            unit_targets=self.unit_targets[kept],
            document=row[self.document][kept],
            taken_from=row[self.taken_from][kept],
            document_targets=self.document_targets[documents],
            source=self.source[documents],
            hard=self.hard[documents],
        )

    def whole_targets(self) -> Array:
        """Return the codes that fine-tuning uses for whole documents, shape (n_documents, 1 + n_labels).

        The first column is relevance. The other columns are the labels in codebook order.

        If sentences of a document were coded for a label, fine-tuning uses their codes, and the code of the document is
        NaN. There is one exception: if the document has the label, but none of its texts has the code 1, the code of
        the document is used. In this case, the label is in a sentence with several parts, and it is unknown which part
        has it.
        """
        own = self.document != NO_DOCUMENT
        judged, carried = np.zeros(self.document_targets.shape, bool), np.zeros(self.document_targets.shape, bool)
        for seen, texts in ((judged, ~np.isnan(self.unit_targets)), (carried, self.unit_targets == 1)):
            rows, columns = np.nonzero(texts & own[:, None])
            seen[self.document[rows], columns] = True
        left = (self.document_targets == 1) & ~carried
        return np.where(judged & ~left, np.nan, self.document_targets)

    def score_units(self, scores: Array) -> Array:
        """Return the score of each unit (title, sentence or exemplar), pooled over its parts.

        Sentences are split into parts at semicolons. Parts that are not content are ignored. The score of a unit
        without content is minus infinity.

        Parameters
        ----------
        scores : ndarray, shape (n_texts, 1 + n_labels)
            Scores of the parts of all units. The first column is relevance.

        Returns
        -------
        ndarray, shape (n_units, 1 + n_labels)
        """
        return pool_scores(np.where(self.counts[:, None], scores, -np.inf), self.n_parts)

    def score_documents(self, relevance: Array, scores: Array) -> Array:
        """Return the relevance score and the pooled label scores of each document.

        Parameters
        ----------
        relevance : ndarray, shape (n_documents,)
            Relevance scores of the documents.
        scores : ndarray, shape (n_texts, 1 + n_labels)
            Scores of all texts of the corpus. The first column is relevance.

        Returns
        -------
        ndarray, shape (n_documents, 1 + n_labels)
            The first column is relevance. The other columns are the labels in codebook order.
        """
        own = self.document != NO_DOCUMENT
        content = np.where(self.counts[:, None], scores, -np.inf)[own]
        return score_documents(relevance, content, self.lengths)


def coded_documents(records: Sequence[CodedRecord], label_keys: Sequence[str]) -> list[CodedDocument]:
    """Convert coded records to the documents used in training."""
    return [
        CodedDocument(
            record_id=record.record.record_id,
            document=document_of(record.record.title, record.sentences),
            relevant=record.relevant,
            codes={key: record.code(key) for key in label_keys},
            sentence_labels=record.sentence_labels,
            sentences_not_judged=record.sentences_not_judged,
            added=record.added,
            hard=record.hard,
            source=record.set_name,
        )
        for record in records
    ]


def unit_table(documents: Sequence[CodedDocument], exemplars: Sequence[Exemplar], label_keys: Sequence[str]) -> Dataset:
    """Return a table with one row per unit (title, sentence or exemplar).

    Returns
    -------
    datasets.Dataset
        Table with three columns:

        - ``text``: text of the unit.
        - ``targets``: list of 1 + n_labels codes (1, 0, or NaN for not judged). The first code is relevance; the codes
          of the labels follow in codebook order.
        - ``document``: index in ``documents`` of the document to which the unit belongs; ``NO_DOCUMENT`` for exemplars.
    """
    from datasets import Dataset, Features, List, Value

    unknown = [np.nan] * (1 + len(label_keys))
    texts: list[str] = []
    targets: list[list[float]] = []
    owners: list[int] = []
    for row, coded in enumerate(documents):
        texts.extend(coded.document.units)
        targets.append(unknown)
        if coded.sentence_labels is None:
            targets.extend([unknown] * len(coded.document.sentences))
        else:
            unjudged = coded.sentences_not_judged
            targets.extend([np.nan, *_multi_hot(labels, label_keys, unjudged)] for labels in coded.sentence_labels)
        owners.extend([row] * len(coded.document.units))
    for exemplar in exemplars:
        texts.append(exemplar.text)
        unknown_labels = () if exemplar.record_id is None else sorted(set(label_keys) - set(exemplar.labels))
        targets.append([np.nan, *_multi_hot(exemplar.labels, label_keys, unknown_labels)])
        owners.append(NO_DOCUMENT)
    features = Features(
        {"text": Value("string"), "targets": List(Value("float64"), length=len(unknown)), "document": Value("int64")}
    )
    return Dataset.from_dict({"text": texts, "targets": targets, "document": owners}, features=features)


def build_corpus(
    documents: Sequence[CodedDocument],
    exemplars: Sequence[Exemplar],
    label_keys: Sequence[str],
    encoder: Encoder,
    definitions: Definitions,
) -> Corpus:
    """Encode the titles and sentences of documents, and the exemplars, and collect their codes.

    Parameters
    ----------
    documents
        Coded documents; there may be none.
    exemplars
        Exemplars. An exemplar that was taken from a paper is left out if this paper is not among the documents.
    """
    rows = {coded.record_id: row for row, coded in enumerate(documents)}
    # Otherwise, a model would be trained on a sentence of a paper that is not listed as one of its training papers.
    exemplars = [one for one in exemplars if one.record_id is None or one.record_id in rows]
    table = unit_table(documents, exemplars, label_keys).with_format("numpy")
    units = units_of([coded.document for coded in documents])
    made_up = [clauses(exemplar.text) for exemplar in exemplars]
    exemplary = [part for parts in made_up for part in parts]
    texts, whole_texts = (*units.parts, *exemplary), tuple(units.whole_texts())
    n_parts = np.append(units.n_parts, [len(parts) for parts in made_up]).astype(np.int64)
    taken_from = np.full(len(n_parts), NO_DOCUMENT, dtype=np.int64)
    taken_from[len(units.n_parts) :] = [rows.get(one.record_id or "", NO_DOCUMENT) for one in exemplars]
    targets = np.asarray(table["targets"], dtype=np.float64).reshape(-1, 1 + len(label_keys))
    targets[(n_parts > 1)[:, None] & (targets == 1)] = np.nan
    vectors, wholes = encoder.encode(texts), encoder.encode(whole_texts)
    document_targets = np.full((len(documents), 1 + len(label_keys)), np.nan)
    for row, coded in enumerate(documents):
        document_targets[row, 0] = coded.relevant
        if coded.relevant:
            codes = [coded.codes.get(key) for key in label_keys]
            document_targets[row, 1:] = [np.nan if code is None else float(code) for code in codes]
    return Corpus(
        texts=texts,
        vectors=vectors,
        definitions=definitions,
        counts=np.append(units.counts, np.ones(len(exemplary), dtype=bool)),
        reports=np.append(units.reports, read_roles(exemplary).reports),
        n_parts=n_parts,
        whole_texts=whole_texts,
        wholes=wholes,
        unit_targets=np.repeat(targets, n_parts, axis=0),
        document=np.repeat(np.asarray(table["document"], dtype=np.int64), n_parts),
        taken_from=np.repeat(taken_from, n_parts),
        document_targets=document_targets,
        source=np.unique([coded.source for coded in documents], return_inverse=True)[1],
        hard=np.array([not coded.relevant and coded.hard is True for coded in documents], dtype=bool),
    )


def encode_corpus(corpus: Corpus, encoder: Encoder, definitions: Definitions) -> Corpus:
    """Return a copy of a corpus with vectors from a different encoder.

    Parameters
    ----------
    definitions
        Definitions of the codebook, encoded by ``encoder``.
    """
    vectors, wholes = encoder.encode(corpus.texts), encoder.encode(corpus.whole_texts)
    return replace(corpus, vectors=vectors, definitions=definitions, wholes=wholes)


def _multi_hot(labels: Sequence[str], label_keys: Sequence[str], unknown: Sequence[str] = ()) -> list[float]:
    return [np.nan if key in unknown else float(key in labels) for key in label_keys]
