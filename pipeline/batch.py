"""A whole batch: from search exports to tagged tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from models.artifact import Model
from models.codebook import Codebook, describe_validation
from pipeline.decisions import write_groups, write_uncertain
from pipeline.dedupe import Deduped, dedupe
from pipeline.errors import MechtagError
from pipeline.exporters import EXPORTERS, export
from pipeline.ingest import Ingested, Note, SourceCounts, ingest
from pipeline.prisma import Identification
from pipeline.records import Prediction, Record, Sentence
from pipeline.sentences import split
from pipeline.settings import Settings, TagSettings
from pipeline.store import (
    read_json,
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
    """Unique records with their sentences, and what became of the other records.

    ``sources`` tells what was read, by file; ``None`` where it is not known.
    """

    ingested: Ingested
    deduped: Deduped
    sentences: Sequence[Sentence]
    sources: Sequence[SourceCounts] | None

    @property
    def records(self) -> Sequence[Record]:
        """One record a paper."""
        return self.deduped.unique

    @property
    def identification(self) -> Identification:
        """Counts up to screening, as PRISMA 2020 wants them reported."""
        screened = len(self.records)
        without_abstract = sum(not record.abstract for record in self.records)
        if self.sources is None:
            return Identification(screened=screened, without_abstract=without_abstract)
        return Identification(
            identified_by_source={source.file: source.read for source in self.sources},
            duplicates_removed=sum(source.kept for source in self.sources) - screened,
            removed_for_other_reasons=sum(source.rejected for source in self.sources),
            screened=screened,
            without_abstract=without_abstract,
        )


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
        return Batch(ingested, deduped, list(split(deduped.unique, settings.sentences)), ingested.sources)
    records = tuple(read_records(tables[0]))
    twice = [record_id for record_id, count in Counter(record.record_id for record in records).items() if count > 1]
    if twice:
        raise MechtagError(f"{tables[0]}: record {twice[0]} stands more than once; run 'mechtag dedupe' first")
    found = read_sentences(sentences) if sentences else list(split(records, settings.sentences))
    _check_offsets(records, found, sentences or tables[0])
    counted, notes = _sources_beside(tables[0], records)
    return Batch(Ingested(records, (), notes, ()), Deduped((), records, records, (), len(records)), found, counted)


def _sources_beside(table: Path, records: Sequence[Record]) -> tuple[tuple[SourceCounts, ...] | None, tuple[Note, ...]]:
    """Tell what was read to make a table of records, from the ``ingest.json`` beside it where there is one."""
    path = table.with_name("ingest.json")
    if not path.is_file():
        return None, ()
    try:
        sources = TypeAdapter(tuple[SourceCounts, ...]).validate_python(read_json(path).get("sources"))
    except ValidationError as error:
        raise MechtagError(
            f"{describe_validation(f'{path}: sources', error)}\nRun 'mechtag ingest' again, or remove the file"
        ) from None
    strange = {record.source_file for record in records} - {source.file for source in sources}
    if strange or sum(source.kept for source in sources) < len(records):
        text = f"tells of other records than {table.name}; how many records were identified is not known"
        return None, (Note(str(path), text),)
    return sources, ()


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
        """Count records and decisions, for ``summary.json``; a count that is not known is ``None``."""
        found, sources = self.batch.identification, self.batch.sources
        decisions = Counter((prediction.label, prediction.decision) for prediction in self.predictions)
        return {
            "model_id": self.model_id,
            "codebook": self.codebook.name,
            "read": found.identified,
            "kept": None if sources is None else sum(source.kept for source in sources),
            "rejected": found.removed_for_other_reasons,
            "duplicates": found.duplicates_removed,
            "unique": found.screened,
            "without_abstract": found.without_abstract,
            "sources": None if sources is None else [asdict(source) | {"read": source.read} for source in sources],
            "notes": [str(note) for note in self.batch.ingested.notes],
            "prisma": found.model_dump(mode="json"),
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
