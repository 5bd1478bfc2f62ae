"""CSV and TSV tables, whatever separates their cells, and whatever stands above their header.

pandas is not used to read: it gives up a whole file for one row with a cell too many, and
turns identifiers into numbers and empty cells into NaN.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice, tee

from pipeline.readers.base import LONGEST_ENTRY, Entry, Format, Source, overlong
from pipeline.readers.columns import attributes, clean, find_header, require_titles

_DELIMITERS = ",\t;|"
# Embase and Dimensions put the search above the header.
_PREAMBLE = 30
_LONGEST_HEADING = 100


def header(source: Source) -> tuple[int, list[str], str]:
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
    """Read one row a record; empty cells are left out.

    Raises
    ------
    MechtagError
        No column holds titles.
    """
    start, names, delimiter = header(source)
    require_titles(source, names)
    width = len(names)
    for number, (line, row, fault) in enumerate(rows(source.lines(), start + 1, delimiter), start=1):
        notes: tuple[str, ...] = ()
        headings: Sequence[str] = names
        if len(row) != width:
            if not fault and any(row[width:]):
                fault = f"the row has {len(row)} cells, the header {width}; a cell with {delimiter!r} needs quotes"
            elif not fault and len(row) < width:
                notes = (f"the row has {len(row)} cells, the header {width}",)
            headings = names + [f"column {index}" for index in range(width + 1, len(row) + 1)]
        fields = [pair for pair in zip(headings, row, strict=False) if pair[1] and not pair[1].isspace()]
        if sum(map(len, row)) > LONGEST_ENTRY:
            yield overlong(number, line, delimiter.join(row))
        else:
            yield Entry(number, line, fields, fault, notes)


def rows(lines: Iterator[str], start: int, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Line number, cells and fault of each row that is not empty, after ``start`` lines.

    A quote that is never closed would swallow the rest of the file; only its own line is
    given up, and reading goes on with the next.
    """
    # Reference lists are longer than the 128 KB that the module allows at first.
    csv.field_size_limit(LONGEST_ENTRY)
    # The second of the two lags behind by the row that is being read.
    feed, again = tee(islice(lines, start, None))
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    first, taken = start + 1, 0
    while True:
        row, fault = None, ""
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = f"quotes do not match: {error}"
            if "unexpected end" in str(error) or "field larger" in str(error):
                yield first, [next(again).rstrip("\n")], "a quote is opened but never closed"
                feed, again = tee(again)
                reader = csv.reader(feed, delimiter=delimiter, strict=True)
                first, taken = first + 1, 0
                continue
        count = reader.line_num - taken
        text = next(again) if count == 1 else "".join(islice(again, count))
        if row is None:
            row = [text.rstrip("\n")]
        if any(map(str.strip, row)):
            yield first, row, fault
        first, taken = first + count, taken + count


FORMAT = Format("CSV or TSV", recognise, read, clean)
