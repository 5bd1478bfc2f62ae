"""Read Excel workbooks of records."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from mechtag.core.source import Source
from mechtag.core.workbook import open_sheets, recognise, rows
from mechtag.pipeline.reading.columns import (
    FURTHER_TABLE,
    above,
    attributes,
    clean,
    find_header,
    is_header,
    require_titles,
    unread,
)
from mechtag.pipeline.reading.tagged import Entry, Format

_PREAMBLE = 30
_ERRORS = frozenset(("#REF!", "#N/A", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!"))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per row, without empty cells.

    All visible sheets that have a column of titles are read.

    Raises
    ------
    MechtagError
        If the workbook is damaged; if it would be too large when unpacked; or if no sheet has a column of titles.
    """
    sheets = open_sheets(source)
    number = 0
    found: list[str] = []
    without = []
    for title, sheet in sheets.items():
        head = list(islice(rows(source, sheet), _PREAMBLE))
        header = find_header(head)
        names = head[header] if head else []
        if not any(attribute == "title" for attribute, _ in attributes(names).values()):
            found = found or names
            without.append(title)
            continue
        rows_above = ((number, "\t".join(cells), cells) for number, cells in enumerate(head[:header], start=1))
        for note in filter(None, (unread(names), *above(rows_above, names))):
            source.notes.append(f"sheet {title!r}: {note}" if len(sheets) > 1 else note)
        for line, cells in enumerate(rows(source, sheet), start=1):
            if line > header + 1 and cells != names and len(cells) > 1 and is_header(cells):
                names = cells
                source.notes.append(FURTHER_TABLE.format(f"row {line}"))
            if line > header + 1 and any(cells) and cells != names:
                number += 1
                yield _entry(number, line, names, cells)
    if len(without) == len(sheets):
        require_titles(source, found)
    source.notes += (f"the sheet {title!r} has no column with titles and was not read" for title in without)


def _entry(number: int, line: int, names: list[str], cells: list[str]) -> Entry:
    names = names + [""] * (len(cells) - len(names))
    pairs = [(name or f"column {index}", cell) for index, (name, cell) in enumerate(zip(names, cells, strict=False), 1)]
    broken = [name for name, cell in pairs if cell in _ERRORS]
    notes = (
        (f"cells whose formula has an error were ignored; their columns are: {', '.join(broken)}",) if broken else ()
    )
    return Entry(number, line, [(name, cell) for name, cell in pairs if cell and cell not in _ERRORS], notes=notes)


FORMAT = Format("XLSX", recognise, read, clean)
