"""From records and their sentences to predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np

from mechtag.core.records import Evidence, Prediction, Record, Sentence
from mechtag.core.settings import SentenceSettings
from mechtag.models.tagger import Document, Scored, Tagger
from mechtag.pipeline.text.cleaning import clean_record
from mechtag.pipeline.text.sections import role_of
from mechtag.pipeline.text.sentences import split

BATCH = 1000
# In log odds.
CLEARLY_STRONGER = 2.0


def document_of(title: str, sentences: Sequence[Sentence]) -> Document:
    """Put a title and the sentences of its abstract together."""
    roles = tuple(role_of(sentence.section) for sentence in sentences)
    return Document(title, tuple(sentence.text for sentence in sentences), roles if any(roles) else ())


def documents_of(
    records: Sequence[Record], sentences: Iterable[Sentence]
) -> list[tuple[Document, tuple[Sentence, ...]]]:
    """Put each record's title and sentences together, in the order of ``records``; see `document_of`."""
    by_record = {
        record_id: tuple(group) for record_id, group in groupby(sentences, key=lambda sentence: sentence.record_id)
    }
    return [
        (document_of(record.title, own), own) for record in records for own in [by_record.get(record.record_id, ())]
    ]


def tag_records(
    tagger: Tagger, model_id: str, records: Iterable[Record], sentences: SentenceSettings, *, evidence_sentences: int
) -> tuple[list[Record], list[Prediction]]:
    """Clean records, cut them into sentences and tag them, as ``mechtag tag`` does.

    Parameters
    ----------
    records
        However they were made, each under an id of its own.
    evidence_sentences
        As for `predict`.

    Returns
    -------
    tuple
        The records as they were tagged, in their order, and what `predict` returns. Offsets of evidence are
        into the abstracts of these records, not of those given.
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
    """Tag records as they are; `tag_records` cleans them first.

    Parameters
    ----------
    sentences
        Those of a record stand together, in order.
    evidence_sentences
        How many sentences to give for each label.
    on_progress
        Called with the number of records done since the last call.

    Returns
    -------
    list of Prediction
        Record by record; relevance first, then the labels in codebook order.
    """
    predictions: list[Prediction] = []
    pairs = documents_of(records, sentences)
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        scored = tagger.tag([document for document, _ in batch])
        own = [own for _, own in batch]
        predictions += rows(tagger, model_id, records[start : start + BATCH], own, scored, evidence_sentences)
        on_progress(len(batch))
    return predictions


def rows(
    tagger: Tagger,
    model_id: str,
    records: Sequence[Record],
    sentences: Sequence[tuple[Sentence, ...]],
    scored: Sequence[Scored],
    evidence_sentences: int,
) -> Iterator[Prediction]:
    """Put what the tagger says of records into rows; ``sentences`` and ``scored`` have one item a record."""
    for record, own, result in zip(records, sentences, scored, strict=True):
        yield from _rows(tagger, model_id, record, own, result, evidence_sentences)


def _printed_elsewhere(section: str) -> float:
    """How much stronger evidence must be that the abstract itself does not print as a result."""
    return CLEARLY_STRONGER if role_of(section) in ("background", "methods") else 0.0


def _rows(
    tagger: Tagger, model_id: str, record: Record, sentences: tuple[Sentence, ...], scored: Scored, limit: int
) -> Iterator[Prediction]:
    for column, label in enumerate(tagger.codebook.all_keys):
        # The title is the first row. It is no evidence: offsets are into the abstract.
        scores = scored.unit_scores[1:, column]
        # Methods and notes have no score, and neither has anything where the sentences were not scored.
        content = [row for row, score in enumerate(scores) if np.isfinite(score)]
        shown = {row: scores[row] - _printed_elsewhere(sentences[row].section) for row in content}
        strongest = sorted(content, key=lambda row: (-shown[row], row))[:limit]
        yield Prediction(
            record_id=record.record_id,
            label=label,
            score=float(scored.scores[column]),
            probability=float(scored.probabilities[column]),
            given_relevant=float(scored.given_relevant[column - 1]) if column else None,
            threshold=float(tagger.calibration.threshold[column]),
            decision=scored.decisions[column],
            evidence=tuple(
                Evidence(
                    sentence=sentences[row].sentence,
                    start=sentences[row].start,
                    end=sentences[row].end,
                    text=sentences[row].text,
                    score=float(scores[row]),
                )
                for row in strongest
            ),
            model_id=model_id,
        )
