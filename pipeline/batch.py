"""A whole batch: from search exports to tagged tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.artifact import Model
from models.codebook import Codebook
from pipeline.decisions import write_groups, write_uncertain
from pipeline.dedupe import Deduped, dedupe
from pipeline.errors import MechtagError
from pipeline.exporters import EXPORTERS, export
from pipeline.ingest import Ingested, ingest
from pipeline.records import Prediction, Record, Sentence
from pipeline.sentences import split
from pipeline.settings import Settings, TagSettings
from pipeline.store import (
    read_records,
    read_sentences,
    write_json,
    write_jsonl,
    write_predictions,
    write_records,
)
from pipeline.tag import predict

_PARQUET = ".parquet"


@dataclass(frozen=True)
class Batch:
    """Unique records with their sentences, and what became of the other records."""

    ingested: Ingested
    deduped: Deduped
    sentences: Sequence[Sentence]

    @property
    def records(self) -> Sequence[Record]:
        """One record a paper."""
        return self.deduped.unique


def gather(sources: Sequence[Path], settings: Settings, sentences: Path | None = None) -> Batch:
    """Read search exports, remove duplicates and cut abstracts into sentences.

    Parameters
    ----------
    sources
        Exports or folders of them; or one parquet table of records, which is taken as it is.
    sentences
        Table of sentences that were cut before.

    Raises
    ------
    MechtagError
        As `pipeline.ingest.ingest` and the readers of parquet tables; or sentences were
        given with anything but one parquet table, or belong to other records.
    """
    tables = [source for source in sources if source.suffix == _PARQUET]
    if tables and len(sources) > 1:
        raise MechtagError(
            f"{tables[0]}: a parquet table must be the only source; give the exports themselves together"
        )
    if sentences and not tables:
        raise MechtagError(f"{sentences}: sentences go with a parquet table of records, not with exports")
    if not tables:
        ingested = ingest(sources)
        deduped = dedupe(ingested.records, settings.dedupe)
        return Batch(ingested, deduped, list(split(deduped.unique, settings.sentences)))
    records = tuple(read_records(tables[0]))
    twice = [record_id for record_id, count in Counter(record.record_id for record in records).items() if count > 1]
    if twice:
        raise MechtagError(f"{tables[0]}: record {twice[0]} stands more than once; run 'mechtag dedupe' first")
    found = read_sentences(sentences) if sentences else list(split(records, settings.sentences))
    _check_offsets(records, found, sentences or tables[0])
    return Batch(Ingested(records, (), (), ()), Deduped((), records, records, (), len(records)), found)


def _check_offsets(records: Sequence[Record], sentences: Sequence[Sentence], path: Path) -> None:
    abstracts = {record.record_id: record.abstract for record in records}
    for sentence in sentences:
        abstract = abstracts.get(sentence.record_id)
        if abstract is None or abstract[sentence.start : sentence.end] != sentence.text:
            raise MechtagError(
                f"{path}: sentence {sentence.sentence} of record {sentence.record_id} is not in its abstract; "
                "cut the sentences of these records again: mechtag sentences"
            )


@dataclass(frozen=True)
class Tagged:
    """A batch with its predictions."""

    batch: Batch
    predictions: Sequence[Prediction]
    model_id: str
    codebook: Codebook

    def summary(self) -> dict[str, Any]:
        """Count records and decisions, for ``summary.json``."""
        records = self.batch.records
        decisions = Counter((prediction.label, prediction.decision) for prediction in self.predictions)
        return {
            "model_id": self.model_id,
            "codebook": self.codebook.name,
            **self.batch.ingested.summary(),
            "duplicates": self.batch.deduped.duplicates,
            "unique": len(records),
            "without_abstract": sum(not record.abstract for record in records),
            "decisions": {
                label: {decision: decisions[label, decision] for decision in ("yes", "refer", "no")}
                for label in self.codebook.all_keys
            },
        }


def tag_records(
    model: Model, batch: Batch, settings: TagSettings, on_progress: Callable[[int], None] = lambda _: None
) -> Tagged:
    """Tag the unique records of a batch; see `pipeline.tag.predict`."""
    predictions = predict(
        model.tagger,
        model.config.model_id,
        batch.records,
        batch.sentences,
        evidence_sentences=settings.evidence_sentences,
        on_progress=on_progress,
    )
    return Tagged(batch, predictions, model.config.model_id, model.tagger.codebook)


def write_tagged(folder: Path, tagged: Tagged) -> None:
    """Write everything a reviewer or a later stage needs; ``summary.json`` comes last."""
    records, predictions = tagged.batch.records, tagged.predictions
    labels = [(entry.key, entry.name) for entry in tagged.codebook.entries]
    write_records(folder / "records.parquet", records)
    write_predictions(folder / "predictions.parquet", predictions)
    for name in EXPORTERS:
        export(name, folder / f"tagged.{name}", records, predictions, labels)
    write_groups(folder / "groups.csv", tagged.batch.deduped)
    write_uncertain(folder / "uncertain.csv", tagged.batch.deduped)
    write_jsonl(folder / "rejected.jsonl", tagged.batch.ingested.rejected)
    write_json(folder / "summary.json", tagged.summary())
