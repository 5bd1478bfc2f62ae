"""Read Parquet tables of records, written by mechtag or by other programs that use common column names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.parquet import read_table
from mechtag.core.source import Source
from mechtag.pipeline.reading import columns
from mechtag.pipeline.reading.tagged import Entry, Format

# Columns that only tables written by mechtag have.
_OWN = frozenset(("record_id", "source_index", "raw"))


def recognise(source: Source) -> bool:
    """Return whether a file starts with the signature of a Parquet file."""
    return source.start.startswith(b"PAR1")


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per row of a Parquet table, without empty cells.

    Raises
    ------
    MechtagError
        If the file is damaged, or no column contains titles.
    """
    names, rows = read_table(source.path, source.data)
    columns.require_titles(source, names)
    if note := columns.unread(names):
        source.notes.append(note)
    for number, row in enumerate(rows, start=1):
        fields = [(name, value) for name, value in row.items() if value not in (None, "", [])]
        yield Entry(number, number, fields)


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    r"""Map the columns of a Parquet table to attributes of a record; lists remain lists.

    In an abstract of a table that mechtag wrote, each line end separates two paragraphs. In other tables, a line end
    may merely wrap the text.
    """
    if _OWN <= {name for name, _ in fields}:
        fields = [(name, _apart(value) if name == "abstract" else value) for name, value in fields]
    lists = {name: value for name, value in fields if isinstance(value, list)}
    cleaned = columns.clean([(name, str(value)) for name, value in fields if not isinstance(value, list | dict)])
    known = columns.attributes(lists)
    return {**cleaned, **{attribute: lists[name] for name, (attribute, _) in known.items()}}


def _apart(value: Any) -> Any:
    return value.replace("\n", "\n\n") if isinstance(value, str) else value


FORMAT = Format("Parquet", recognise, read, clean)
