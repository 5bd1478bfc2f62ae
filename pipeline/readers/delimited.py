"""CSV and TSV tables, whatever separates their cells, and whatever stands above their header.

pandas is not used to read: it gives up a whole file for one row with a cell too many, and
turns identifiers into numbers and empty cells into NaN.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice

from pipeline.readers.base import Entry, Format, Source
from pipeline.readers.columns import attributes, clean, find_header, require_titles

_DELIMITERS = ",\t;|"
# Embase and Dimensions put the search above the header.
_PREAMBLE = 30
_LONGEST_HEADING = 100


def _header(source: Source) -> tuple[int, list[str], str]:
    """Line, column names and delimiter of the header: that with most names we know, then most columns."""
    lines = source.head.split("\n")[:_PREAMBLE]
    found = []
    for delimiter in _DELIMITERS:
        rows = [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
        index = find_header(rows)
        found.append((index, rows[index], delimiter))
    return max(found, key=lambda header: (len(attributes(header[1])), len(header[1])))


def recognise(source: Source) -> bool:
    """Whether a line names a column we know, or the first heads a table of short names."""
    _, names, delimiter = _header(source)
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
    """Read one row a record; empty cells are left out.

    Raises
    ------
    MechtagError
        No column holds titles.
    """
    header, names, delimiter = _header(source)
    require_titles(source, names)
    for number, (line, row, fault) in enumerate(rows(source.text.split("\n"), header + 1, delimiter), start=1):
        notes: tuple[str, ...] = ()
        if not fault and any(row[len(names) :]):
            fault = f"the row has {len(row)} cells, the header {len(names)}; a cell with {delimiter!r} needs quotes"
        elif not fault and len(row) < len(names):
            notes = (f"the row has {len(row)} cells, the header {len(names)}",)
        headings = names + [f"column {index}" for index in range(len(names) + 1, len(row) + 1)]
        fields = [(name, cell) for name, cell in zip(headings, row, strict=False) if cell.strip()]
        yield Entry(number, line, fields, fault=fault, notes=notes)


def rows(lines: Sequence[str], start: int, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Line number, cells and fault of each row that is not empty.

    A quote that is never closed would swallow the rest of the file; only its own line is
    given up, and reading goes on with the next.
    """
    # Reference lists are longer than the 128 KB that the module allows at first.
    csv.field_size_limit(2**31 - 1)
    while start < len(lines):
        rows = csv.reader((f"{line}\n" for line in islice(lines, start, None)), delimiter=delimiter, strict=True)
        begun = start
        while begun < len(lines):
            fault = ""
            try:
                row = next(rows)
            except csv.Error as error:
                if "unexpected end" in str(error):
                    break
                row = ["\n".join(lines[begun : start + rows.line_num])]
                fault = f"quotes do not match: {error}"
            if any(cell.strip() for cell in row):
                yield begun + 1, row, fault
            begun = start + rows.line_num
        else:
            return
        yield begun + 1, [lines[begun]], "a quote is opened but never closed"
        start = begun + 1


FORMAT = Format("CSV or TSV", recognise, read, clean)
