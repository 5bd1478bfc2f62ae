"""Read the rows of CSV and TSV files with any delimiter, and skip lines above the header.

pandas is not used, because one row with too many cells makes it reject the whole file. It also turns identifiers into
numbers, and empty cells into NaN.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from itertools import islice
from typing import NamedTuple

from mechtag.core.source import Source

#: Maximum number of characters of a record or row; only damaged files have more.
LONGEST_ENTRY = 10_000_000
#: Delimiters that separate cells.
DELIMITERS = ",\t;|"
# Embase and Dimensions write the search query above the header.
_PREAMBLE = 30
# Rows below a possible header whose length is compared with its length.
_COMPARED = 5
#: A first line such as ``sep=;``, which tells Excel the delimiter.
SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.I)
# Where quotes do not match, a row is looked for in so many further lines, and in so many characters.
_MOST_LINES, _LONGEST_REPAIRED = 10, 1_000_000
_UNCLOSED = "a quotation mark is opened but never closed; close it, or write it twice if it is part of the text"


class Header(NamedTuple):
    """The header of a table.

    Attributes
    ----------
    start, end
        Indexes of the first and the last line of the header. They differ if a column name contains
        a line end.
    names
        Column names.
    delimiter
        Delimiter of the table.
    """

    start: int
    end: int
    names: list[str]
    delimiter: str


class Table(NamedTuple):
    """A table below another table in the same file.

    Attributes
    ----------
    names
        Column names.
    delimiter
        Delimiter of the table.
    before
        Text before the header on the same line, usually ``""``. If a line end is missing, this text is the last row of
        the previous table.
    """

    names: list[str]
    delimiter: str
    before: str = ""


def first_filled(rows: Sequence[Sequence[str]]) -> int:
    """Return the index of the first row that is not empty; 0 if all rows are empty."""
    return next((index for index, row in enumerate(rows) if any(map(str.strip, row))), 0)


def header(
    source: Source,
    find: Callable[[Sequence[Sequence[str]]], int] = first_filled,
    known: Callable[[Sequence[str]], Sized] = lambda _: (),
    certain: Callable[[Sequence[str]], bool] = lambda _: False,
) -> Header:
    """Find the header of a table whose delimiter is unknown.

    If the first line states the delimiter, such as ``sep=;``, this delimiter is used. Otherwise, each delimiter is
    tried, and the one with the most known column names is used. If there is a tie, the one with the most columns is
    used.

    Some characters occur only within cells, for example between the names in a list. A delimiter is therefore doubtful
    if its header is below the first filled row, and most of the next rows have a different number of cells than the
    header. Doubtful delimiters are used only if all delimiters are doubtful.

    Parameters
    ----------
    find
        Function that returns the index of the header among the first rows.
    known
        Function that returns those cells of a row that are known column names.
    certain
        Function that returns whether a row is certainly a header. If different delimiters lead to different rows that
        are certainly headers, the first of these rows in the file is the header.
    """
    lines = [f"{line}\n" for line in source.head.split("\n")[:_PREAMBLE]]
    delimiters = DELIMITERS
    if declared := SEPARATOR.fullmatch(lines[0]):
        lines[0], delimiters = "\n", declared[1]
    found = []
    for delimiter in delimiters:
        # A name may contain a line end.
        readers = [csv.reader(islice(lines, index, None), delimiter=delimiter) for index in range(len(lines))]
        rows = [next(reader, []) for reader in readers]
        index = find(rows)
        end = index + max(readers[index].line_num, 1) - 1
        below = [row for row in islice(readers[index], _COMPARED) if any(map(str.strip, row))]
        alike = 2 * sum(len(row) == len(rows[index]) for row in below) >= len(below)
        found.append((alike or index == first_filled(rows), Header(index, end, rows[index], delimiter)))
    fitting = [header for alike, header in found if alike] or [header for _, header in found]
    if headers := [header for header in fitting if certain(header.names)]:
        first = min(header.end for header in headers)
        fitting = [header for header in headers if header.end == first]
    return max(fitting, key=lambda header: (len(known(header.names)), len(header.names)))


def rows(
    lines: Iterator[str],
    start: int,
    delimiter: str,
    width: int = 0,
    next_table: Callable[[int, str, str, int], Table | None] | None = None,
) -> Iterator[tuple[int, list[str], str]]:
    """Skip ``start`` lines, then yield a tuple for each row that is not empty.

    The tuple consists of the line number of the row, its cells, and its fault. The fault is a message about what is
    wrong with the row, or ``""`` if nothing is wrong.

    A quotation mark that is never closed would turn all rows below into one cell. Therefore, only the line with this
    mark is reported as faulty, and reading continues with the next line.

    If a row has several lines and the wrong number of cells, its second line is examined. If this line alone has as
    many cells as the header, the quotation mark in the first line counts as never closed.

    Parameters
    ----------
    width
        Number of cells in the header; 0 if it is unknown.
    next_table
        Function that recognises the header of a further table in the same file. It is called at the start of each row,
        with the number of the line, the line, the delimiter and the width. It returns the further table if the line is
        the header of one, and ``None`` otherwise. The rows below are then read with the delimiter and the width of the
        further table.
    """
    # Reference lists exceed the module's default limit of 128 KB.
    csv.field_size_limit(LONGEST_ENTRY)
    unread: deque[str] = deque()
    taken: list[str] = []
    rest = islice(lines, start, None)

    def feed() -> Iterator[str]:
        while (line := unread.popleft() if unread else next(rest, None)) is not None:
            taken.append(line)
            yield line

    first, reader = start + 1, csv.reader(feed(), delimiter=delimiter, strict=True)
    while True:
        row, fault = None, ""
        taken.clear()
        glued = False
        if next_table and (line := unread.popleft() if unread else next(rest, None)) is not None:
            if not (table := next_table(first, line, delimiter, width)):
                unread.appendleft(line)
            elif table.before:
                # The last row and the header become two lines with one line number.
                unread.extendleft((line.removeprefix(table.before), f"{table.before}\n"))
                glued = True
            else:
                delimiter, width = table.delimiter, len(table.names)
                reader = csv.reader(feed(), delimiter=delimiter, strict=True)
                first += 1
                continue
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = f"the quotation marks do not match: {error}; correct them"
            if "unexpected end" in str(error) or "field larger" in str(error):
                fault = _UNCLOSED
        if len(taken) > 1 and (fault or len(row or ()) != width) and _begins_row(taken[1], delimiter, width):
            fault = _UNCLOSED
        if fault == _UNCLOSED:
            unread.extendleft(reversed(taken[1:]))
            del taken[1:]
            reader = csv.reader(feed(), delimiter=delimiter, strict=True)
        if fault:
            row = ["".join(taken).rstrip("\n")]
            # Some programs do not quote tab-separated cells, so a cell may begin with a quotation mark of its own.
            if delimiter == "\t" and len(row[0].rstrip("\t").split("\t")) <= width <= row[0].count("\t") + 1:
                row, fault = row[0].split("\t"), ""
        if fault and width > 1 and (repaired := _undoubled(taken, unread, feed(), delimiter, width)):
            row, fault = repaired, ""
        if row and any(map(str.strip, row)):
            yield first, row, fault
        first += len(taken) - glued


def _undoubled(taken: list[str], unread: deque[str], lines: Iterator[str], delimiter: str, width: int) -> list[str]:
    """Split a row whose cells contain quotation marks that are not doubled; return an empty list if this fails."""
    # A line that is read from ``lines`` is also added to ``taken``, which contains the lines of the row so far.
    own = len(taken)
    while sum(map(len, taken)) <= _LONGEST_REPAIRED:
        text = "".join(taken).rstrip("\n")
        # A delimiter before a space is more often a part of the text.
        for closing in (rf'"(?={re.escape(delimiter)}(?! )|\Z)', rf'"(?={re.escape(delimiter)}|\Z)'):
            if len(cells := _cells(text, delimiter, re.compile(closing))) == width:
                return cells
        line = next(lines, None) if len(taken) < own + _MOST_LINES else None
        if line is None or _begins_row(line, delimiter, width):
            break
    # These lines do not belong to the row, and are read again.
    unread.extendleft(reversed(taken[own:]))
    del taken[own:]
    return []


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line, even if its quotation marks do not match."""
    return next(csv.reader([line[:LONGEST_ENTRY]], delimiter=delimiter), [])


def _cells(text: str, delimiter: str, closing: re.Pattern[str]) -> list[str]:
    """Return the cells of a row, or an empty list if a cell in quotation marks does not end."""
    cells: list[str] = []
    place = 0
    while True:
        if text.startswith('"', place):
            if not (end := closing.search(text, place + 1)):
                return []
            cells.append(text[place + 1 : end.start()].replace('""', '"'))
            place = end.end()
        else:
            end_at = text.find(delimiter, place)
            cells.append(text[place : end_at if end_at >= 0 else len(text)])
            place = end_at if end_at >= 0 else len(text)
        if place >= len(text):
            return cells
        place += len(delimiter)


def _begins_row(line: str, delimiter: str, width: int) -> bool:
    """Return whether a line must be the start of a row, because it has as many cells as the header."""
    return width > 1 and len(cells_of(line, delimiter)) == width
