"""Read records from whatever file holds them: search exports, and the Parquet tables that commands write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import read_records
from mechtag.core.records import Record
from mechtag.pipeline.reading.ingest import Ingested, Note, ingest
from mechtag.pipeline.text.cleaning import clean_record

_NAMED = 5


def read_sources(paths: Sequence[Path], on_note: Callable[[str], None]) -> list[Record]:
    """Read records, those of Parquet tables first; these keep their ids.

    Parameters
    ----------
    on_note
        Called where an export holds entries that cannot be read: how many, and which.

    Raises
    ------
    MechtagError
        As `parquet.read_records` and `ingest.ingest`.
    """
    tables = [path for path in paths if path.suffix == ".parquet"]
    exports = [path for path in paths if path.suffix != ".parquet"]
    records = [clean_record(record) for path in tables for record in read_records(path)]
    if exports:
        ingested = ingest(exports)
        if note := lost_entries(ingested):
            on_note(note)
        records += ingested.records
    return records


def read_unique(path: Path, on_note: Callable[[str], None]) -> list[Record]:
    """Read the records of one file, none of which may be the same paper as another; see `read_sources`.

    Raises
    ------
    MechtagError
        As `read_sources`; or there are no records, or two of one paper.
    """
    records = read_sources([path], on_note)
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


def lost_entries(ingested: Ingested) -> str:
    """Count and name the entries and files that could not be read; ``""`` where all were."""
    lost = [Note(one.file, one.reason, one.record, one.line) for one in ingested.rejected] + list(ingested.unread)
    if not lost:
        return ""
    named = "; ".join(map(str, lost[:_NAMED])) + (f"; and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
    return (
        f"note: {len(lost)} entries could not be read and are left out: {named}. "
        "'mechtag ingest' lists them all in rejected.jsonl"
    )
