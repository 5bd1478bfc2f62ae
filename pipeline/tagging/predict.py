"""Predict relevance and labels of records from their titles and the sentences of their abstracts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np

from mechtag.core.records import Basis, Evidence, Prediction, Record, Sentence
from mechtag.core.settings import SentenceSettings
from mechtag.models.tagger import Document, Scored, Tagger
from mechtag.pipeline.reading.text.cleaning import clean_record
from mechtag.pipeline.reading.text.sections import role_of
from mechtag.pipeline.reading.text.sentences import split

BATCH = 1000
# Log odds by which evidence from the background or methods must exceed other evidence to be listed first.
CLEARLY_STRONGER = 2.0


def document_of(title: str, sentences: Sequence[Sentence]) -> Document:
    """Return the document to score: the title of a record and the sentences of its abstract."""
    roles = tuple(role_of(sentence.section) for sentence in sentences)
    return Document(title, tuple(sentence.text for sentence in sentences), roles if any(roles) else ())


def documents_of(
    records: Sequence[Record], sentences: Iterable[Sentence]
) -> list[tuple[Document, tuple[Sentence, ...]]]:
    """Return, for each record, the document to score (see `document_of`) and the sentences of the record."""
    by_record = {
        record_id: tuple(group) for record_id, group in groupby(sentences, key=lambda sentence: sentence.record_id)
    }
    return [
        (document_of(record.title, own), own) for record in records for own in [by_record.get(record.record_id, ())]
    ]


def tag_records(
    tagger: Tagger, model_id: str, records: Iterable[Record], sentences: SentenceSettings, *, evidence_sentences: int
) -> tuple[list[Record], list[Prediction]]:
    """Clean records, split their abstracts into sentences, and tag the records, as ``mechtag tag`` does.

    Parameters
    ----------
    records
        Records from any source, with unique ids.
    evidence_sentences
        Maximum number of evidence sentences per label.

    Returns
    -------
    tuple
        The cleaned records, in input order, and the result of `predict`. Offsets of evidence refer to the abstracts of
        the cleaned records, not to the abstracts of the input.
    """
    cleaned = [clean_record(record) for record in records]
    found = split(cleaned, sentences)
    return cleaned, predict(tagger, model_id, cleaned, found, evidence_sentences=evidence_sentences)


def predict(
    tagger: Tagger,
    model_id: str,
    records: Sequence[Record],
    sentences: Iterable[Sentence],
    *,
    evidence_sentences: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[Prediction]:
    """Tag records that were already cleaned and split into sentences.

    For other records, use `tag_records`.

    Parameters
    ----------
    sentences
        Sentences of all records; the sentences of each record are consecutive and in order.
    evidence_sentences
        Maximum number of evidence sentences per label.
    on_progress
        Called with the number of records processed since the last call.

    Returns
    -------
    list of Prediction
        Predictions in the order of the records; for each record, relevance first, then the labels in codebook order.
    """
    predictions: list[Prediction] = []
    pairs = documents_of(records, sentences)
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        scored = tagger.tag([document for document, _ in batch])
        own = [own for _, own in batch]
        predictions += prediction_rows(
            tagger, model_id, records[start : start + BATCH], own, scored, evidence_sentences
        )
        on_progress(len(batch))
    return predictions


def prediction_rows(
    tagger: Tagger,
    model_id: str,
    records: Sequence[Record],
    sentences: Sequence[tuple[Sentence, ...]],
    scored: Sequence[Scored],
    evidence_sentences: int,
) -> Iterator[Prediction]:
    """Yield the predictions for records, made from the scores of their abstracts.

    For each record, relevance comes first, then the labels in codebook order. ``sentences`` and ``scored`` have one
    item per record.
    """
    for record, own, result in zip(records, sentences, scored, strict=True):
        yield from _rows(tagger, model_id, record, own, result, evidence_sentences)


def _deduction(section: str) -> float:
    """Return the log odds by which the score of a sentence in ``section`` is lowered when evidence is chosen."""
    return CLEARLY_STRONGER if role_of(section) in ("background", "methods") else 0.0


def _rows(
    tagger: Tagger, model_id: str, record: Record, sentences: tuple[Sentence, ...], scored: Scored, limit: int
) -> Iterator[Prediction]:
    for column in range(len(tagger.codebook.all_keys)):
        # Skip the first row, the title, which is never evidence because offsets refer to the abstract.
        scores = scored.unit_scores[1:, column]
        # Methods and notes have no score; if the sentences of a record were not scored, none of them has a score.
        content = [row for row, score in enumerate(scores) if np.isfinite(score)]
        shown = {row: scores[row] - _deduction(sentences[row].section) for row in content}
        strongest = sorted(content, key=lambda row: (-shown[row], row))[:limit]
        evidence = [evidence_of(sentences[row], float(scores[row])) for row in strongest]
        yield prediction_of(tagger, model_id, record, scored, column, evidence)


def prediction_of(
    tagger: Tagger,
    model_id: str,
    record: Record,
    scored: Scored,
    column: int,
    evidence: Iterable[Evidence],
    basis: Basis = "abstract",
) -> Prediction:
    """Return the prediction for one label of a record.

    ``column`` is the column of the label in the scores; column 0 is relevance.
    """
    return Prediction(
        record_id=record.record_id,
        label=tagger.codebook.all_keys[column],
        score=float(scored.scores[column]),
        probability=float(scored.probabilities[column]),
        given_relevant=float(scored.given_relevant[column - 1]) if column else None,
        threshold=float(tagger.calibration.threshold[column]),
        decision=scored.decisions[column],
        evidence=tuple(evidence),
        model_id=model_id,
        basis=basis,
    )


def evidence_of(sentence: Sentence, score: float) -> Evidence:
    """Return a sentence as evidence for a label; ``score`` is the score of the sentence for this label."""
    return Evidence(sentence=sentence.sentence, start=sentence.start, end=sentence.end, text=sentence.text, score=score)
