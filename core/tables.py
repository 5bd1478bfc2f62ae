"""Read tables that people edit: CSV and XLSX files as saved by spreadsheets, including yes/no and numeric cells.

Excel saves CSV files with commas or semicolons, in UTF-8 or Windows-1252. It saves "Unicode text" with tabs, in UTF-16.
All these files are read in the same way. Every message names the file, the row and the column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mechtag.core import delimited, workbook
from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath, restore
from mechtag.core.source import Source
from mechtag.core.words import counted

Value = Literal[0, 1] | None

#: File name extensions of tables.
SUFFIXES = frozenset((".csv", ".tsv", ".txt", ".xlsx"))
# Case does not matter. Spreadsheets and pandas turn 1 into 1.0 or 1,0; WAHR and VRAI are TRUE in German and
# French Excel.
YES = frozenset(
    (
        *("1", "1.0", "1,0", "x", "✓", "✔", "✔️", "☑", "✅", "●", "•", "+"),
        *("yes", "y", "ja", "j", "oui", "sí", "si", "sì", "sim"),
        *("true", "wahr", "vrai", "verdadero", "verdadeiro", "vero", "waar", "sant", "sann", "sand"),
    )
)
NO = frozenset(
    (
        *("0", "0.0", "0,0", "✗", "✘", "☐", "❌"),
        *("no", "n", "nein", "non", "não", "nee", "nej", "nei"),
        *("false", "falsch", "faux", "falso", "onwaar", "falskt", "falsk", "usann"),
    )
)
NOT_JUDGED = frozenset(("?", "unclear", "unsure", "maybe", "undecided", "na", "n/a", "not judged"))
#: Tick in a matrix, and what follows it if all or some of the evidence for the label says that something is absent.
TICK, ABSENT, PARTLY_ABSENT = "✓", "−", "±"
#: Content of a cell without a tick: nothing, or the dash that is printed for an empty cell.
UNTICKED = frozenset(("", "-", "–", "—"))
WORDS = YES | NO | NOT_JUDGED | UNTICKED
#: Columns that people fill in; names of columns for the code of one label end in `OWN_CODE`.
DECISION, NOTES, OWN_CODE = "decision", "notes", ": your code"
#: Name of the column and the row that contain the totals of a matrix; they are not codes.
TOTAL = "total"
#: Column in which people confirm codings by a language model with their name.
CONFIRMED = "confirmed_by"
_ALLOWED = "yes (also 1, true or x) or no (also 0 or false), or leave the cell empty (not judged)"
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_SHOWN = 100


def read_tick(cell: str, words: Mapping[str, Literal[0, 1]] | None = None) -> Literal[0, 1, "unticked"] | None:
    """Convert a yes/no cell to a value.

    Parameters
    ----------
    words
        Additional words in lower case that a cell may contain, with their values.

    Returns
    -------
    int, str or None
        ``1`` for yes, ``0`` for no, and ``None`` if the cell says that the label was not judged. If the cell is empty
        or contains a dash, the result is ``"unticked"``.

    Raises
    ------
    ValueError
        If the cell contains anything else.
    """
    word = cell.strip().casefold()
    if word[:1] == TICK:
        word = word.removesuffix(ABSENT).removesuffix(PARTLY_ABSENT)
    if words and word in words:
        return words[word]
    if word not in WORDS:
        raise ValueError(f"{cell[:_SHOWN]!r} is not allowed here; write {_ALLOWED}")
    if word in UNTICKED:
        return "unticked"
    return 1 if word in YES else 0 if word in NO else None


def read_number(cell: str) -> float:
    """Return the number in a cell, which may have a decimal point or a decimal comma.

    Raises
    ------
    ValueError
        If the cell does not contain a number, or contains a number with a thousands separator, such as 1,234.5.
    """
    text = cell.strip()
    value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{cell[:_SHOWN]!r} is not a number; write numbers like 1234.5 or 1234,5")
    return value


@dataclass(frozen=True)
class TableRow:
    """A non-empty row of a table.

    Attributes
    ----------
    number
        Number of the row, from 1. In a text file, this is the number of the row's first line.
    place
        Name of the file and number of the row, for messages.
    cells
        Text of each cell without surrounding spaces, keyed by column name. The text of an empty cell is ``""``.
    """

    number: int
    place: str
    cells: Mapping[str, str]

    def tick(self, column: str, words: Mapping[str, Literal[0, 1]] | None = None) -> Value:
        """Return the value of the yes/no cell in a column; see `read_tick`.

        The value is ``1`` for yes and ``0`` for no. It is ``None`` if the cell is empty, or states that the label was
        not judged.

        Raises
        ------
        MechtagError
            If the cell contains anything else.
        """
        try:
            found = read_tick(self.cells[column], words)
        except ValueError as error:
            raise MechtagError(f"{self.place}, column {column}: {error}") from None
        return None if found == "unticked" else found

    def number_in(self, column: str) -> float | None:
        """Return the number in a column of the row; return ``None`` if the cell is empty or the column is missing.

        Raises
        ------
        MechtagError
            If the cell contains anything else.
        """
        cell = self.cells.get(column, "")
        try:
            return read_number(cell) if cell else None
        except ValueError as error:
            raise MechtagError(f"{self.place}, column {column}: {error}") from None


@dataclass(frozen=True)
class Table:
    """A table that was read from a file, with its column names and rows.

    Attributes
    ----------
    path
        Path of the file, for messages.
    names
        Column names in file order. ``""`` stands for a column that has filled cells but no name; its cells are not in
        ``rows``.
    """

    path: str
    names: tuple[str, ...]
    rows: tuple[TableRow, ...]


def is_table(path: StrPath) -> bool:
    """Return whether a file name has the extension of a table; see `SUFFIXES`."""
    return Path(path).suffix.lower() in SUFFIXES


def read_table(path: StrPath | Source, expected: str, needed: Collection[str] | None = None) -> Table:
    """Read a table from CSV (comma, semicolon or tab) or XLSX, in any encoding that spreadsheets write.

    The header is the first row that is not empty. Empty rows are skipped.

    Parameters
    ----------
    expected
        Description of the expected file, for messages.
    needed
        Columns that every row of a text file must include; by default, all columns. Other columns may be missing at the
        end of a row.

    Raises
    ------
    MechtagError
        If the file is missing, empty or damaged; if the header is missing; if two columns have the same name; if a row
        has too many or too few cells; if quotation marks do not match; or if a workbook does not have exactly
        one visible sheet with a table.
    """
    source = path if isinstance(path, Source) else Source(Path(path))
    if source.opener is None and not source.path.exists():
        raise MechtagError(f"{source.path}: no such file (expected {expected}); check the path")
    names, rows, unit = _read_sheet(source, expected) if workbook.recognise(source) else _read_text(source, needed)
    filled = [
        index for index, name in enumerate(names) if name or any(row[index : index + 1] != [""] for _, row in rows)
    ]
    kept = [names[index] for index in filled]
    if doubled := next((name for name in kept if name and kept.count(name) > 1), None):
        raise MechtagError(f"{source.path}: two columns are named {doubled!r}; rename one of them")
    return Table(
        str(source.path),
        tuple(kept),
        tuple(
            TableRow(number, f"{source.path}: {unit} {number}", {names[i]: row[i] for i in filled if names[i]})
            for number, row in rows
        ),
    )


_Rows = list[tuple[int, list[str]]]


def _read_text(source: Source, needed: Collection[str] | None) -> tuple[list[str], _Rows, str]:
    _, end, header, delimiter = delimited.header(source)
    names = _cells(header)
    reached = [index for index, name in enumerate(names, start=1) if name and (needed is None or name in needed)]
    rows = []
    for line, row, fault in delimited.rows(source.lines(), end + 1, delimiter, len(names)):
        cells = _cells(row)
        if not fault and any(cells[len(names) :]):
            fault = (
                f"the row has {counted(len(row), 'cell')}, but the header has {len(names)}; enclose cells that contain "
                f"{delimiter!r} in quotation marks"
            )
        if not fault and len(row) < max(reached, default=0):
            fault = f"the row has {counted(len(row), 'cell')}, but the header has {len(names)}; add the missing cells"
        if fault:
            raise MechtagError(f"{source.path}: line {line}: {fault}")
        rows.append((line, _padded(cells, len(names))))
    return names, rows, "line"


def _read_sheet(source: Source, expected: str) -> tuple[list[str], _Rows, str]:
    sheets = {title: _filled(source, sheet) for title, sheet in workbook.open_sheets(source, computed=True).items()}
    filled = [title for title, rows in sheets.items() if rows]
    if len(filled) != 1:
        if not filled:
            raise MechtagError(
                f"{source.path}: no visible sheet of the workbook contains a table (expected {expected}); unhide "
                "the sheet, or pass a different file"
            )
        raise MechtagError(
            f"{source.path}: {len(filled)} sheets of the workbook contain a table ({', '.join(filled)}), but mechtag "
            f"expects only one such sheet ({expected}); delete or hide the other sheets"
        )
    (_, names), *rows = sheets[filled[0]]
    for number, row in rows:
        if len(row) > len(names):
            raise MechtagError(
                f"{source.path}: row {number}: the row has {counted(len(row), 'cell')}, but the header has "
                f"{len(names)}; enter a column name above each cell, or clear the extra cells"
            )
    return names, [(number, _padded(row, len(names))) for number, row in rows], "row"


def _filled(source: Source, sheet: object) -> _Rows:
    numbered: Iterator[tuple[int, list[str]]] = enumerate(workbook.rows(source, sheet), start=1)
    return [(number, _cells(row)) for number, row in numbered if row]


def _cells(row: Sequence[str]) -> list[str]:
    return [restore(cell.strip()) for cell in row]


def _padded(row: list[str], width: int) -> list[str]:
    return (row + [""] * (width - len(row)))[:width]
