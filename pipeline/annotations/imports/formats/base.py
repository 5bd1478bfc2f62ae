"""Data types and functions that the readers of codings share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from mechtag.core import delimited, workbook
from mechtag.core.errors import MechtagError
from mechtag.core.files import restore
from mechtag.core.source import Source
from mechtag.core.tables import Value
from mechtag.core.words import counted
from mechtag.pipeline.annotations.cited_papers import NAMES, CitedPaper, fold, paper_of, text_of
from mechtag.pipeline.annotations.coded_records import Basis
from mechtag.pipeline.annotations.imports import qda_project
from mechtag.pipeline.annotations.imports.label_names import LabelMap
from mechtag.pipeline.export.references import QUOTE
from mechtag.pipeline.reading import columns
from mechtag.pipeline.reading.formats import FORMATS as RECORD_FORMATS
from mechtag.pipeline.reading.formats import csl_json, jsonl
from mechtag.pipeline.reading.tagged import Entry

Clean = Callable[[Sequence[tuple[str, Any]]], Mapping[str, Any]]
#: Line number, cells and fault of a row; the fault is "" if the row is valid.
Row = tuple[int, list[str], str]

_PREAMBLE = 30
# EPPI-Reviewer writes a whole review as one object, often on one line.
_DOCUMENT = re.compile(r'\s*\{\s*"(?:CodeSets|References)"\s*:')
_TABLES = {"XLSX", "Parquet", "JSONL", "CSL-JSON", "CSV or TSV"}


@dataclass(frozen=True)
class Content:
    """The entries in a file, or in one sheet of a workbook.

    Attributes
    ----------
    path
        Path of the file, for error messages.
    stem
        File name without folder and extension. Some programs name the file after the coder.
    kind
        ``table`` for a table with a header, ``objects`` for JSON, ``records`` for a search export.
    names
        Columns of the table, or keys of the first object or record.
    clean
        Function that converts the fields of an entry to attributes of a record.
    notes
        Irregularities in the file, and parts of the file that were not read.
    sheet
        Name of the sheet; ``""`` if the file is not a workbook.
    """

    path: str
    stem: str
    kind: Literal["table", "objects", "records"]
    names: tuple[str, ...]
    entries: tuple[Entry, ...]
    clean: Clean = columns.clean
    notes: list[str] = field(default_factory=list)
    sheet: str = ""

    def note_unread(self, read: Collection[str]) -> None:
        """Add a note that lists the ignored columns.

        ``read`` contains the columns that were read. Columns named after a field of a record, such as the title, are
        not listed.
        """
        known = columns.attributes(self.names)
        unread = [name for name in self.names if name and name not in read and name not in known]
        if unread:
            self.notes.append(f"these columns were ignored: {', '.join(unread)[:1000]}")


def load(source: Source) -> list[Content]:
    """Return the content of a file of codings.

    The list has one `Content` per visible sheet of a workbook, and a single `Content` for any other file.

    Raises
    ------
    MechtagError
        If the file is empty, binary, damaged, too large, or a web page.
    """
    if workbook.recognise(source):
        return [_table(source, *sheet) for sheet in _sheets(source)]
    if qda_project.recognise(source):
        return [_keyed(source, "objects", list(qda_project.read(source)))]
    if _DOCUMENT.match(source.head):
        return [_keyed(source, "objects", [_document(source)])]
    if csl_json.recognise(source):
        return [_keyed(source, "objects", list(csl_json.read_items(source)))]
    if jsonl.recognise(source):
        return [_keyed(source, "objects", list(jsonl.read(source)))]
    # Tables first, because a cell of a table may look like a record of another format.
    for form in () if _begins_table(source) else RECORD_FORMATS:
        if form.name not in _TABLES and form.recognise(source):
            return [_keyed(source, "records", list(form.read(source)), form.clean)]
    _, end, names, delimiter = delimited.header(source, _find_header, columns.attributes, columns.is_header)
    return [_table(source, names, list(delimited.rows(source.lines(), end + 1, delimiter)))]


def _begins_table(source: Source) -> bool:
    """Return whether the first line of a file is the header of a table about papers."""
    return _is_header(re.split(r"[,;\t|]", source.head.lstrip().split("\n", 1)[0]))


def _is_header(cells: Sequence[str]) -> bool:
    """Return whether a row has several cells, and one of them is the name of a column that describes papers."""
    known = columns.attributes(cells) or any(fold(cell) in NAMES for cell in cells)
    return sum(map(bool, cells)) > 1 and bool(known)


def _find_header(rows: Sequence[Sequence[str]]) -> int:
    """Return the index of the header row of a table.

    The rows above it may contain a title, or names of groups of columns in merged cells.
    """
    start = columns.find_header(rows)
    if not rows or _is_header(rows[start]):
        return start
    return next((place for place in range(start + 1, len(rows)) if _is_header(rows[place])), start)


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
        reason = error or "it is nested too deeply"
        raise MechtagError(f"{source.path}: the file is not readable as JSON: {reason}; export it again") from None
    return Entry(1, 1, list(data.items()))


def _sheets(source: Source) -> Iterator[tuple[list[str], list[Row], str]]:
    for title, sheet in workbook.open_sheets(source, computed=True).items():
        head = list(islice(workbook.rows(source, sheet), _PREAMBLE))
        start = _find_header(head)
        names = head[start] if head else []
        rows = ((line, row) for line, row in enumerate(workbook.rows(source, sheet), start=1) if line > start + 1)
        # Cells at the end of a row that were never filled in are missing from the file.
        yield names, [(line, row + [""] * (len(names) - len(row)), "") for line, row in rows if any(row)], title


def _table(source: Source, names: Sequence[str], rows: Sequence[Row], sheet: str = "") -> Content:
    names = [name.strip() for name in names]
    entries = []
    for number, (line, row, fault) in enumerate(rows, start=1):
        if not fault and len(row) != len(names):
            fault = f"the row has {counted(len(row), 'cell')}, but the header has {len(names)}"
        fields = [(name, restore(cell.strip())) for name, cell in zip(names, row, strict=False)]
        entries.append(Entry(number, line, fields, fault))
    path = f"{source.path}, sheet {sheet!r}" if sheet else str(source.path)
    return Content(path, source.path.stem, "table", tuple(names), tuple(entries), sheet=sheet)


#: Meaning of a label that was not ticked.
Unticked = Literal["no", "not-judged"]


class Code(NamedTuple):
    """The code for one label of one paper, as written in the source.

    Attributes
    ----------
    label
        Label as written in the source; ``None`` for the decision on relevance.
    value
        ``1`` if the label is ticked, ``0`` if it is explicitly unticked, ``None`` if it is not judged.
    coder
        Name of the coder; ``""`` if the source does not record it.
    basis
        Text that the coder read; ``None`` if the source does not record it.
    details
        Other fields of `mechtag.core.records.Coding`, such as the marked sentences. Only files that mechtag wrote have
        them.
    role
        Key of the role of evidence if ``label`` names a role, as in ``Trust: Context``; otherwise, ``None``. Only the
        importer sets it.
    """

    label: str | None
    value: Value
    coder: str = ""
    evidence: str = ""
    date: str = ""
    basis: Basis | None = None
    codebook_version: str = ""
    details: Mapping[str, Any] = MappingProxyType({})
    role: str | None = None


class Item(NamedTuple):
    """One entry of a file of codings: for example a table row, an answered task, or a reference and its codes.

    Attributes
    ----------
    number, line
        Number of the entry, and its line in the file; both start at 1.
    finished
        Names of the coders who went through all labels, so that a label they did not tick means no.
    offered
        Labels that the coders could choose from; ``None`` if the source does not record them.
    fault
        Reason why the entry cannot be used; ``""`` if it can be used.
    notes
        The coder's notes on the paper.
    """

    number: int
    line: int
    paper: CitedPaper = CitedPaper()
    codes: tuple[Code, ...] = ()
    finished: tuple[str, ...] = ()
    offered: tuple[str, ...] | None = None
    fault: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Asked:
    """Information from the user that files of codings may lack, such as the name of the coder."""

    labels: LabelMap
    coder: str = ""
    basis: Basis | None = None
    unticked: Unticked | None = None


@dataclass(frozen=True)
class CodingFormat:
    """A file format of codings: its name, a function that recognises it, and a function that reads it.

    `recognise` returns whether the content of a file has this format. `read` yields an `Item` for each entry, in file
    order.
    """

    name: str
    recognise: Callable[[Content], bool]
    read: Callable[[Content, Asked], Iterator[Item]]


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the JSON objects in a list; empty if the value is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def date_of(value: Any) -> str:
    """Return the ISO 8601 date with which a text starts; ``""`` if the text does not start with a date."""
    match = re.match(r"\d{4}-\d\d-\d\d", text_of(value))
    return match[0] if match else ""


def faulty(entry: Entry) -> Item:
    """Convert an unreadable entry to an item without codes, whose ``fault`` states why it could not be read."""
    return Item(entry.number, entry.line, fault=entry.fault)


def name_in_tree(path: Sequence[str], asked: Asked, otherwise: str = "") -> str:
    """Return the name by which to look up the label of a code in a tree of codes.

    All codes above a code in the tree are its parents. The result is the first of these names that is in
    ``asked.labels``:

    1. the path of the code, such as ``Mechanisms / Trust``;
    2. the name of the code, such as ``Trust``; if a parent is named after a role of evidence, ``Trust: Context``;
    3. ``Trust: Context``, if the code is named after the role, and a parent is named after the label;
    4. the path of a parent that the user chose to ignore; the code is then ignored, too.

    Parameters
    ----------
    path
        Names of the codes from the root of the tree to the code.
    otherwise
        Name to return if none of these names is in ``asked.labels``; by default, the path of the code.
    """
    paths = [" / ".join(path[:end]) for end in range(len(path), 0, -1)]
    if not asked.labels.find(paths[0]):
        leaf, above = path[-1], path[-2::-1]
        if meaning := asked.labels.find(leaf):
            role = next((name for name in above if asked.labels.find_role(name)), "")
            return f"{leaf}: {role}" if role and not meaning.role and asked.labels.find(f"{leaf}: {role}") else leaf
        if asked.labels.find_role(leaf):
            label = next((name for name in above if (known := asked.labels.find(name)) and known.key), "")
            if label and asked.labels.find(f"{label}: {leaf}"):
                return f"{label}: {leaf}"
    passed_over = (name for name in paths[1:] if (meaning := asked.labels.find(name)) and meaning.key is None)
    return paths[0] if asked.labels.find(paths[0]) else next(passed_over, otherwise or paths[0])


_QUOTED = re.compile(rf"{QUOTE}([a-z][a-z0-9_]*): ")


def quotes_in(note: str) -> dict[str, str]:
    """Return the passages of evidence, keyed by label key, in a note that mechtag added to an exported record."""
    _, *parts = _QUOTED.split(note)
    return {label: text.strip().removesuffix(" |") for label, text in zip(parts[::2], parts[1::2], strict=True)}


def with_quote(code: Code, quotes: Mapping[str, str], asked: Asked) -> Code:
    """Return a copy of a code, in which the quote for the label is the evidence.

    ``quotes`` is keyed by label key. If there is no quote for the label, the evidence is ``""``.
    """
    meaning = asked.labels.find(code.label)
    return code._replace(evidence=quotes.get((meaning and meaning.key) or "", ""))


# Fields that contain notes: columns of tables, tags of RIS and EndNote, fields of BibTeX.
_NOTES = ("notes", "note", "n1", "annote")


def paper_of_entry(entry: Entry, content: Content) -> CitedPaper:
    """Extract the details that identify a paper (such as DOI and title) from a record or table row."""
    fields = [pair for pair in entry.fields if pair[1]]
    return paper_of(fields, content.clean(fields))


def cells_of(entry: Entry) -> Mapping[str, str]:
    """Return the cells of a row, keyed by normalised column name."""
    return {fold(name): value for name, value in entry.fields if isinstance(value, str)}


def notes_of(entry: Entry) -> list[str]:
    """Return the notes in a record or table row."""
    return [value for name, value in entry.fields if fold(name) in _NOTES and isinstance(value, str)]
