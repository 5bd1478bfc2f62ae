"""Write tables of the files that were attached to records, of the files without a record, and of unreadable files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv, write_jsonl
from mechtag.core.records import Record
from mechtag.core.tables import read_table
from mechtag.pipeline.fulltext.attaching import Attached, Row

_ATTACHED = (
    *("file", "record_id", "title", "status", "by", "likeness"),
    *("format", "pages", "characters", "used_instead", "merged_record", "warnings"),
)
_UNMATCHED = (
    *("file", "record_id", "suggested", "suggested_title", "by", "likeness", "merged_record", "reason", "begins"),
)


class Paths(NamedTuple):
    """Paths of the files that 'mechtag attach' writes."""

    full_texts: Path
    attached: Path
    unmatched: Path
    rejected: Path


def output_paths(output: Path) -> Paths:
    """Return the paths of all files that 'mechtag attach' writes.

    Parameters
    ----------
    output
        Folder for the files, or path of the table of full texts.
    """
    table = output if output.suffix.lower() == ".parquet" else output / "fulltexts.parquet"
    return Paths(table, *(table.with_name(name) for name in ("attached.csv", "unmatched.csv", "rejected.jsonl")))


def refuse_filled(path: Path) -> None:
    """Refuse to overwrite a table of unmatched files in which a person entered records.

    Parameters
    ----------
    path
        Path of the table, ``unmatched.csv``.

    Raises
    ------
    MechtagError
        If any cell in the column ``record_id`` is filled in, or if the table cannot be read.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    table = read_table(path, "a table of unmatched files", needed=())
    if filled := sum(bool(row.cells.get("record_id")) for row in table.rows):
        raise MechtagError(
            f"{path} would be overwritten, but you entered records in {filled} of its rows; rename the file, for "
            "example to map.csv, and pass it as the table that assigns files to records",
            options="--map map.csv",
        )


def write_tables(paths: Paths, result: Attached) -> None:
    """Write ``attached.csv``, ``unmatched.csv`` and ``rejected.jsonl``.

    ``attached.csv`` lists the attached files, and the other files of the same records. ``unmatched.csv`` lists the
    files whose record is unknown or uncertain. ``rejected.jsonl`` lists the unreadable files.
    """
    rows = sorted((*result.attached, *result.duplicates), key=lambda row: (_id(row.match.record), bool(row.used)))
    write_csv(paths.attached, _ATTACHED, map(_attached, rows), bom=True)
    write_csv(paths.unmatched, _UNMATCHED, map(_unmatched, (*result.uncertain, *_unknown(result))), bom=True)
    write_jsonl(paths.rejected, result.rejected)


def _unknown(result: Attached) -> Iterable[Row]:
    return (row for row in result.unmatched if row not in result.uncertain)


def _id(record: Record | None) -> str:
    return record.record_id if record else ""


def _attached(row: Row) -> list[Any]:
    match = row.match
    status = "duplicate" if row.used else "attached"
    return [
        *(row.file, _id(match.record), match.record.title if match.record else "", status, match.by, match.likeness),
        *(row.format, row.pages or None, row.chars, row.used, match.duplicate, " ".join(row.warnings)),
    ]


def _unmatched(row: Row) -> list[Any]:
    match = row.match
    suggested = (match.record,) if match.record else match.candidates
    return [
        *(row.file, "", "; ".join(map(_id, suggested)), "; ".join(record.title for record in suggested)),
        *(match.by, match.likeness, match.duplicate, match.doubt, row.begins),
    ]
