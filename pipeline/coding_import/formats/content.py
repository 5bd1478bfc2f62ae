"""What a file of codings holds, before anyone asks which program wrote it: a table, objects, or records."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from pipeline.errors import MechtagError
from pipeline.readers import FORMATS as RECORD_FORMATS
from pipeline.readers import columns, csl_json, delimited, jsonl, xlsx
from pipeline.readers.base import Entry, Source

Clean = Callable[[Sequence[tuple[str, Any]]], Mapping[str, Any]]
#: Line, cells and fault of a row.
Row = tuple[int, list[str], str]

#: Columns and keys that name a paper in the reviewers' own list.
NAMES = ("record_id", "key", "id", "paper_id", "paper", "study", "study_id", "ref", "covidence")
_PREAMBLE = 30
# EPPI-Reviewer puts a whole review into one object, often on one line.
_DOCUMENT = re.compile(r'\s*\{\s*"(?:CodeSets|References)"\s*:')
_TABLES = {"XLSX", "Parquet", "JSONL", "CSL-JSON", "CSV or TSV"}


def fold(name: str) -> str:
    """Name of a column or key without case, spaces and punctuation: 'Reviewer Name' is ``reviewer_name``."""
    return "_".join(re.findall(r"[a-z0-9]+", name.lower()))


@dataclass(frozen=True)
class Content:
    """Entries of a file, or of a sheet of a workbook.

    Attributes
    ----------
    path
        Of the file, for messages.
    stem
        Name of the file without folder and ending; some programs put the coder there.
    kind
        A table with a header, JSON objects, or records of a search export.
    names
        Columns of a table; keys of the first object or record.
    clean
        Maps fields to attributes of a record.
    notes
        What was odd about the file, or not read of it.
    """

    path: str
    stem: str
    kind: Literal["table", "objects", "records"]
    names: tuple[str, ...]
    entries: tuple[Entry, ...]
    clean: Clean = columns.clean
    notes: list[str] = field(default_factory=list)

    def tell_unread(self, read: Collection[str]) -> None:
        """Note the columns of a table that are neither among those read nor known to describe papers."""
        known = columns.attributes(self.names)
        unread = [name for name in self.names if name and name not in read and name not in known]
        if unread:
            self.notes.append(f"columns passed over: {', '.join(unread)[:1000]}")


def load(source: Source) -> list[Content]:
    """Read a file, or one in an archive: one content, or one for each visible sheet of a workbook.

    Raises
    ------
    MechtagError
        The file is empty, binary, a web page, too large, or damaged.
    """
    if xlsx.recognise(source):
        return [_table(source, *sheet) for sheet in _sheets(source)]
    if _DOCUMENT.match(source.head):
        return [_keyed(source, "objects", [_document(source)])]
    if csl_json.recognise(source):
        return [_keyed(source, "objects", list(csl_json.read(source)))]
    if jsonl.recognise(source):
        return [_keyed(source, "objects", list(jsonl.read(source)))]
    for form in () if _begins_table(source) else RECORD_FORMATS:
        if form.name not in _TABLES and form.recognise(source):
            return [_keyed(source, "records", list(form.read(source)), form.clean)]
    start, names, delimiter = delimited.header(source)
    return [_table(source, names, list(delimited.rows(source.lines(), start + 1, delimiter)))]


def _begins_table(source: Source) -> bool:
    """Whether the first line names columns: cells below it may look like any format of records."""
    cells = re.split(r"[,;\t|]", source.head.lstrip().split("\n", 1)[0])
    known = columns.attributes(cells) or any(fold(cell) in NAMES for cell in cells)
    return len(cells) > 1 and bool(known)


def _keyed(
    source: Source, kind: Literal["objects", "records"], entries: list[Entry], clean: Clean = columns.clean
) -> Content:
    first = next((entry for entry in entries if not entry.fault), None)
    names = tuple(name for name, _ in first.fields) if first else ()
    return Content(str(source.path), source.path.stem, kind, names, tuple(entries), clean)


def _document(source: Source) -> Entry:
    try:
        data = json.loads(source.text, parse_constant=lambda name: None)
    except (ValueError, RecursionError) as error:
        raise MechtagError(f"{source.path}: not readable as JSON: {error or 'nested too deeply'}") from None
    return Entry(1, 1, list(data.items()))


def _sheets(source: Source) -> Iterator[tuple[list[str], list[Row], str]]:
    for title, sheet in xlsx.open_sheets(source).items():
        head = list(islice(xlsx.rows(source, sheet), _PREAMBLE))
        start = columns.find_header(head)
        names = head[start] if head else []
        rows = ((line, row) for line, row in enumerate(xlsx.rows(source, sheet), start=1) if line > start + 1)
        # Cells at the end of a row that were never filled are not in the file.
        yield names, [(line, row + [""] * (len(names) - len(row)), "") for line, row in rows if any(row)], title


def _table(source: Source, names: Sequence[str], rows: Sequence[Row], sheet: str = "") -> Content:
    names = [name.strip() for name in names]
    entries = []
    for number, (line, row, fault) in enumerate(rows, start=1):
        if not fault and len(row) != len(names):
            fault = f"the row has {len(row)} cells, the header {len(names)}"
        fields = [(name, cell.strip()) for name, cell in zip(names, row, strict=False)]
        entries.append(Entry(number, line, fields, fault))
    path = f"{source.path}, sheet {sheet!r}" if sheet else str(source.path)
    return Content(path, source.path.stem, "table", tuple(names), tuple(entries))
