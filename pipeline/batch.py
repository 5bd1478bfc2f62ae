"""A whole batch: from search exports to tagged tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.artifact import Model
from models.codebook import Codebook
from pipeline.dedupe import Deduped, dedupe, write_groups
from pipeline.errors import MechtagError
from pipeline.exporters import EXPORTERS
from pipeline.ingest import Ingested, ingest
from pipeline.records import Prediction, Record, Sentence
from pipeline.sentences import split
from pipeline.settings import Settings, TagSettings
from pipeline.store import read_records, read_sentences, write_json, write_jsonl, write_predictions
from pipeline.tag import predict


@dataclass(frozen=True)
class Batch:
    """Unique records with their sentences, and what became of the others."""

    ingested: Ingested
    deduped: Deduped
    sentences: tuple[Sentence, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        """One record a paper."""
        return self.deduped.unique

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know about the sources."""
        return self.ingested.notes


@dataclass(frozen=True)
class Tagged:
    """A batch with its predictions."""

    batch: Batch
    predictions: list[Prediction]
    model_id: str
    codebook_sha256: str
