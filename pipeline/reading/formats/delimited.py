"""Read CSV and TSV tables of records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mechtag.core.delimited import DELIMITERS, LONGEST_ENTRY, SEPARATOR, Header, Table, cells_of, rows
from mechtag.core.delimited import header as find_dialect
from mechtag.core.source import Source
from mechtag.core.words import counted
from mechtag.pipeline.reading.columns import (
    FURTHER_TABLE,
    above,
    attributes,
    clean,
    find_header,
    header_of,
    is_header,
    may_be_header,
    require_titles,
    unread,
)
from mechtag.pipeline.reading.joined_files import TABLE, started_format
from mechtag.pipeline.reading.tagged import Entry, Format, overlong

# A longer name is not a column name of an export, and a header with still longer names is not a header.
_LONGEST_NAME, _LONGEST_HEADING = 60, 100
# A name that is a number or a date, contains a brace, semicolon, link, DOI or doubled quotes, or in which a quoted cell
# begins or ends, is a cell of the first row.
_VALUE = re.compile(r"\A\s*\d[\d ./:-]{1,20}\Z|\S\"\w|[{};]|://|10\.\d{4}|\"\"|\A[^\"]*\"\Z")
# A name followed by the first cell of the first row, which has several words: 'KeywordsTrust in teams'.
_GLUED = re.compile(r"(?<=[^\W_])(?=[\"'\u0100-\uffff]{0,2}[A-ZÀ-Þ0-9]\S{0,40} {1,3}\S{1,40} {1,3}\S)")
_JOINED = (
    "the header seems to contain cells of the first row; if the line end between the header and that row is missing, "
    "the row was not read"
)


def header(source: Source) -> Header:
    """Return the header of a table.

    The header is split at the delimiter that yields the most known column names. If several delimiters are equally
    good, the one that yields the most columns is used.
    """
    return find_dialect(source, find_header, attributes, is_header)


def has_titles(source: Source) -> bool:
    """Return whether a table has a column of titles.

    If the table has several columns, a second column must also have a known name.
    """
    names = header(source).names
    known = attributes(names)
    if len(names) == 1:
        return is_header(names)
    return len(known) > 1 and any(attribute == "title" for attribute, _ in known.values())


def recognise(source: Source) -> bool:
    """Return whether a file seems to be a CSV or TSV table.

    A file seems to be a table in two cases:

    - A line contains a known column name.
    - The first two lines look like a header and a row. The cells of the header are short, and the row has at least as
      many cells as the header.
    """
    _, _, names, delimiter = header(source)
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
    """Yield one entry per row, without empty cells.

    The file may contain several tables with different headers.

    Raises
    ------
    MechtagError
        If the first table has no column of titles.
    """
    start, end, names, delimiter = header(source)
    require_titles(source, names)
    before = source.head.split("\n")[:start]
    if before and SEPARATOR.fullmatch(before[0]):
        before[0] = ""
    rows_above = [(number, line, _row_above(line, delimiter)) for number, line in enumerate(before, start=1)]
    source.notes += filter(None, (unread(names), *above(rows_above, names), _joined(names)))
    width = len(names)
    number = 0
    other = ""

    def switch(line: int, text: str, separator: str, cells: int) -> Table | None:
        nonlocal names, delimiter, width, other
        other = other or started_format(text)
        table = _next_table(text, separator, cells)
        if table is None or table.before:
            return table
        other = ""
        if table.names == names:
            return None
        names, delimiter, width = table.names, table.delimiter, len(table.names)
        source.notes += filter(None, (FURTHER_TABLE.format(f"line {line}"), unread(names), _joined(names)))
        return table

    for line, row, fault in rows(source.lines(), end + 1, delimiter, width, switch):
        # Concatenated files repeat the header, often with a byte order mark.
        if row[1:] == names[1:] and row[0].lstrip("\ufeff") == names[0]:
            continue
        number += 1
        notes: tuple[str, ...] = ()
        headings: Sequence[str] = names
        if width > 1 and len(row) == 1 and is_header(row):
            fault = "the line is the header of a further table with one column; read each export separately"
        fault = fault or (other and f"the line follows the start of a record in a different format, {other}")
        if len(row) != width:
            if not fault and any(row[width:]):
                fault = (
                    f"the row has {counted(len(row), 'cell')}, but the header has {width}; enclose cells that contain "
                    f"{delimiter!r} in quotation marks"
                )
            elif not fault and len(row) < width:
                notes = (f"the row has {counted(len(row), 'cell')}, but the header has {width}",)
            headings = names + [f"column {index}" for index in range(width + 1, len(row) + 1)]
        fields = [pair for pair in zip(headings, row, strict=False) if pair[1] and not pair[1].isspace()]
        if sum(map(len, row)) > LONGEST_ENTRY:
            yield overlong(number, line, delimiter.join(row))
        else:
            yield Entry(number, line, fields, fault, notes)
    if not number and not is_header(names) and _JOINED not in source.notes:
        source.notes.append(_JOINED)


def _row_above(line: str, delimiter: str) -> list[str]:
    """Split a line above the header of a table into cells, at the delimiter that results in the most filled cells."""
    # The line may belong to a different table, so all delimiters are tried; that of the table wins a tie.
    # A delimiter before a space is more often a part of the text.
    others = ([cell for cell in cells_of(line, each) if cell[:1] != " "] for each in DELIMITERS if each != delimiter)
    return max(cells_of(line, delimiter), *others, key=lambda cells: sum(map(bool, cells)))


def _joined(names: Sequence[str]) -> str:
    """Return a note if the header seems to contain cells of the first row, otherwise ``""``."""
    joined = any(len(name) > _LONGEST_NAME or _VALUE.search(name) or _ends_in_cell(name) for name in names)
    return _JOINED if joined else ""


def _ends_in_cell(name: str) -> bool:
    """Return whether a known column name is followed by text without a delimiter, as in 'KeywordsTrust in teams'."""
    if attributes([name]):
        return False
    return any(attributes([name[: place.start()]]) for place in _GLUED.finditer(name))


def _next_table(line: str, delimiter: str, width: int) -> Table | None:
    """Return the table whose header is in ``line``, or ``None`` if the line contains no header."""
    if not may_be_header(line):
        return None
    text = line.rstrip("\n")
    # The cells of a row may contain lists of names.
    table = header_of(text, delimiter if len(cells_of(text, delimiter)) == width > 1 else DELIMITERS)
    if table and len(attributes(table.names)) == len(table.names):
        return table
    # The line may begin with the last row of the previous table.
    for each in DELIMITERS:
        *cells, last = text.split(each)
        while cells and _is_name(last):
            last = cells.pop()
        name = next((place for place in range(1, len(last[:_LONGEST_HEADING])) if _is_name(last, place)), 0)
        place = len(each.join((*cells, last[:name])))
        if name and is_header(cells_of(text[place:], each)) and len(cells_of(text[:place], delimiter)) == width:
            return Table([], each, text[:place])
    return table


def _is_name(cell: str, start: int = 0) -> bool:
    """Return whether the text of a cell from position ``start`` is a known column name."""
    name = cell[start:].removeprefix("\ufeff")
    name = name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name
    within = start == 0 or not cell[start - 1].isspace()
    return within and name[:1].isalpha() and '"' not in name and bool(attributes([name]))


FORMAT = Format(TABLE, recognise, read, clean)
