"""Read CSV and TSV tables of records."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

from mechtag.core.delimited import LONGEST_ENTRY, rows
from mechtag.core.delimited import header as find_dialect
from mechtag.core.source import Source
from mechtag.pipeline.reading.columns import above, attributes, clean, find_header, require_titles, unread
from mechtag.pipeline.reading.tagged import Entry, Format, overlong

_LONGEST_HEADING = 100
# A name that is a number, or in which a quoted cell begins, is a cell of the first row.
_VALUE = re.compile(r"\A\s*\d{2,20}\s*\Z|\w\"\w")
_JOINED = (
    "the header contains what looks like cells of a row; if the line end between the header and the first row is "
    "missing, that row was not read"
)


def header(source: Source) -> tuple[int, list[str], str]:
    """Return the last line, the column names and the delimiter of a table's header.

    The delimiter is the one that yields the most known column names or, if tied, the most columns.
    """
    return find_dialect(source, find_header, attributes)


def has_titles(source: Source) -> bool:
    """Return whether the header of a table has a column of titles and at least one other known column."""
    known = attributes(header(source)[1])
    return len(known) > 1 and any(attribute == "title" for attribute, _ in known.values())


def recognise(source: Source) -> bool:
    """Return whether a file has a line with a known column name, or starts with a header of short names."""
    _, names, delimiter = header(source)
    if attributes(names):
        return True
    lines = source.head.strip("\n").split("\n")[:2]
    filled = [name for name in names if name.strip()]
    return (
        len(lines) == 2
        and len(filled) > 1
        and all(len(name) <= _LONGEST_HEADING and not re.search(r"[{}<>=]", name) for name in names)
        and lines[1].count(delimiter) >= len(names) - 1
    )


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per row of a table, without empty cells.

    Raises
    ------
    MechtagError
        If the table has no column of titles.
    """
    start, names, delimiter = header(source)
    require_titles(source, names)
    lines = source.head.split("\n")[: start - sum(name.count("\n") for name in names)]
    joined = any(len(name) > _LONGEST_HEADING or _VALUE.search(name) for name in names)
    source.notes += filter(
        None, (unread(names), above(csv.reader(lines, delimiter=delimiter), names), _JOINED * joined)
    )
    width = len(names)
    number = 0
    for line, row, fault in rows(source.lines(), start + 1, delimiter, width):
        # Concatenated files repeat the header, often with a byte order mark.
        if row[1:] == names[1:] and row[0].lstrip("\ufeff") == names[0]:
            continue
        number += 1
        notes: tuple[str, ...] = ()
        headings: Sequence[str] = names
        if len(row) != width:
            if not fault and any(row[width:]):
                fault = (
                    f"the row has {len(row)} cells, but the header has {width}; enclose cells that contain "
                    f"{delimiter!r} in quotation marks"
                )
            elif not fault and len(row) < width:
                notes = (f"the row has {len(row)} cells, but the header has {width}",)
            headings = names + [f"column {index}" for index in range(width + 1, len(row) + 1)]
        fields = [pair for pair in zip(headings, row, strict=False) if pair[1] and not pair[1].isspace()]
        if sum(map(len, row)) > LONGEST_ENTRY:
            yield overlong(number, line, delimiter.join(row))
        else:
            yield Entry(number, line, fields, fault, notes)


FORMAT = Format("CSV or TSV", recognise, read, clean)
