"""The records of a search with what ranking needs of them: texts, and vectors that are computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artifact import load_model
from models.codebook import Codebook
from models.encoder import TransformerEncoder, Vectors, locate_encoder
from models.ranker import Ranker
from pipeline.cleaning import clean_record
from pipeline.errors import MechtagError
from pipeline.ingest import Note, ingest
from pipeline.records import Record
from pipeline.sentences import split
from pipeline.settings import EncoderSettings, Settings
from pipeline.store import read_records
from pipeline.tag import predict
from pipeline.vectors import encode_cached

Array = NDArray[np.float64]


def read_sources(path: Path, on_note: Callable[[str], None]) -> list[Record]:
    """Read records from a parquet table, or from a search export.

    Parameters
    ----------
    on_note
        Called where an export holds what could not be read, which is then among no records.

    Raises
    ------
    MechtagError
        Nothing can be read, or a paper stands twice.
    """
    records = list(map(clean_record, read_records(path))) if path.suffix == ".parquet" else _ingest(path, on_note)
    first: dict[str, Record] = {}
    for record in records:
        other = first.setdefault(record.record_id, record)
        if other is not record:
            raise MechtagError(
                f"{path}: record {record.source_index} is the same paper as record {other.source_index} "
                f"({record.record_id}); run 'mechtag ingest' and 'mechtag dedupe' first, and give what they write"
            )
    if not records:
        raise MechtagError(f"{path}: no records in it")
    return records


def _ingest(path: Path, on_note: Callable[[str], None]) -> list[Record]:
    ingested = ingest([path])
    lost = [Note(one.file, one.reason, one.record, one.line) for one in ingested.rejected] + list(ingested.unread)
    if lost:
        on_note(
            f"note: {path}: {len(lost)} entries could not be read and are left out, the first is {lost[0]}; "
            "'mechtag ingest' lists them all in rejected.jsonl"
        )
    return list(ingested.records)


@dataclass(frozen=True)
class Search:
    """Records to rank.

    Attributes
    ----------
    texts
        Title and abstract of each.
    vectors
        Shape (n_records, size).
    definition
        Vector of the codebook's definition of relevance, shape (size,).
    """

    records: Sequence[Record]
    texts: Sequence[str]
    vectors: Vectors
    definition: Vectors

    @cached_property
    def ranker(self) -> Ranker:
        """What learns from decisions."""
        return Ranker(self.texts, self.vectors)

    def scores(self, labels: Array, cold: Callable[[], Array] | None = None) -> Array:
        """Score records by what is known: decisions of both kinds, relevant records alone, or nothing.

        Parameters
        ----------
        labels
            1, 0, or NaN for not judged, shape (n_records,).
        cold
            Gives scores where no record is known to be relevant; by default, the likeness to the
            definition of relevance.
        """
        relevant = labels == 1
        if relevant.any() and (labels == 0).any():
            return self.ranker.scores(labels)
        if cold is not None and not relevant.any():
            return cold()
        example = self.vectors[relevant].mean(axis=0) if relevant.any() else self.definition
        likeness: Array = (self.vectors @ example).astype(np.float64)
        return likeness


def load_search(
    records: Sequence[Record],
    definition: str,
    settings: EncoderSettings,
    cache: Path,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Search:
    """Encode records, or take their vectors from the file ``cache``; see `pipeline.vectors.encode_cached`.

    Raises
    ------
    MechtagError
        As `models.encoder.locate_encoder`.
    """
    source = locate_encoder(settings.name, revision=settings.revision, sha256=settings.sha256)

    def load() -> TransformerEncoder:
        return TransformerEncoder(source, max_tokens=settings.max_tokens, batch_tokens=settings.batch_tokens)

    texts = [f"{record.title}\n{record.abstract}".strip() for record in records]
    name = f"{source.sha256}/{settings.max_tokens}"
    vectors = encode_cached(load, name, [*texts, definition], cache, on_progress)
    return Search(records, texts, vectors[:-1], vectors[-1])


def cold_scores(folder: Path, search: Search, settings: Settings, codebook: Codebook) -> Callable[[], Array]:
    """Give what scores records by the relevance that a trained model sees in them, for `Search.scores`.

    The model is loaded when it is called, which raises as `models.artifact.load_model`.
    """

    def scores() -> Array:
        model = load_model(folder, codebook, runtime=settings.tag.runtime, threads=settings.tag.threads)
        sentences = split(search.records, settings.sentences)
        predictions = predict(model.tagger, model.config.model_id, search.records, sentences, evidence_sentences=1)
        return np.array([row.score for row in predictions if row.label == codebook.relevance.key])

    return scores
