"""What all readers of codings share: the content of a file, papers, codes and entries."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple

from mechtag.core import delimited, workbook
from mechtag.core.errors import MechtagError
from mechtag.core.files import restore
from mechtag.core.records import normalise_doi, normalise_pmid
from mechtag.core.source import Source
from mechtag.core.tables import Value
from mechtag.pipeline.annotations.coded_records import Basis
from mechtag.pipeline.annotations.imports.label_names import LabelMap
from mechtag.pipeline.reading import columns
from mechtag.pipeline.reading.build_record import clean_author, clean_year
from mechtag.pipeline.reading.formats import FORMATS as RECORD_FORMATS
from mechtag.pipeline.reading.formats import csl_json, jsonl
from mechtag.pipeline.reading.formats.delimited import header
from mechtag.pipeline.reading.tagged import Entry
from mechtag.pipeline.text.cleaning import clean_text

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
    if workbook.recognise(source):
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
    start, names, delimiter = header(source)
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
    for title, sheet in workbook.open_sheets(source).items():
        head = list(islice(workbook.rows(source, sheet), _PREAMBLE))
        start = columns.find_header(head)
        names = head[start] if head else []
        rows = ((line, row) for line, row in enumerate(workbook.rows(source, sheet), start=1) if line > start + 1)
        # Cells at the end of a row that were never filled are not in the file.
        yield names, [(line, row + [""] * (len(names) - len(row)), "") for line, row in rows if any(row)], title


def _table(source: Source, names: Sequence[str], rows: Sequence[Row], sheet: str = "") -> Content:
    names = [name.strip() for name in names]
    entries = []
    for number, (line, row, fault) in enumerate(rows, start=1):
        if not fault and len(row) != len(names):
            fault = f"the row has {len(row)} cells, the header {len(names)}"
        fields = [(name, restore(cell.strip())) for name, cell in zip(names, row, strict=False)]
        entries.append(Entry(number, line, fields, fault))
    path = f"{source.path}, sheet {sheet!r}" if sheet else str(source.path)
    return Content(path, source.path.stem, "table", tuple(names), tuple(entries))


#: What a label that was not ticked means.
Unticked = Literal["no", "not-judged"]

_CITATION = re.compile(r"\s*(\D{2,60}?)(?:\s+et al\.?)?[\s,_-]*\(?((?:19|20)\d\d)[a-z]?\)?\s*")
_LONGEST = 500


class Paper(NamedTuple):
    """How a source names a paper.

    Attributes
    ----------
    names
        Each may be a record id, or a key of the reviewers' own list.
    doi, pmid, authors, year
        In the form of `records.Record`.
    text
        What the coder saw, where the source holds it.
    """

    names: tuple[str, ...] = ()
    doi: str | None = None
    pmid: str | None = None
    title: str = ""
    authors: tuple[str, ...] = ()
    year: int | None = None
    text: str = ""


class Code(NamedTuple):
    """What a source says of one label of one paper.

    Attributes
    ----------
    label
        As the tool writes it; ``None`` for the decision whether the paper is relevant.
    value
        1 ticked, 0 said to be unticked, ``None`` not judged.
    coder, basis
        Empty where the source does not say.
    """

    label: str | None
    value: Value
    coder: str = ""
    evidence: str = ""
    date: str = ""
    basis: Basis | None = None
    codebook_version: str = ""


class Item(NamedTuple):
    """One entry of a source: a row, an answered task, a coded reference.

    Attributes
    ----------
    number, line
        Of the entry in the file, from 1.
    finished
        Coders who went through the labels and left those unticked that have no code here.
    offered
        Labels that they had to choose from; ``None`` where the source does not say.
    fault
        Why it cannot be used, or ``""``.
    """

    number: int
    line: int
    paper: Paper = Paper()
    codes: tuple[Code, ...] = ()
    finished: tuple[str, ...] = ()
    offered: tuple[str, ...] | None = None
    fault: str = ""


@dataclass(frozen=True)
class Asked:
    """What the user says of files that do not say it themselves."""

    labels: LabelMap
    coder: str = ""
    basis: Basis | None = None
    unticked: Unticked | None = None


@dataclass(frozen=True)
class CodingFormat:
    """How the codings of one program are told from others, and read.

    `recognise` looks at names of columns and at the first entry; `read` gives the items in file order.
    """

    name: str
    recognise: Callable[[Content], bool]
    read: Callable[[Content, Asked], Iterator[Item]]


def text_of(value: Any) -> str:
    """Text on one line; nothing for what is neither text nor number."""
    return " ".join(str(value).split()) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """Members of a JSON list that are objects; nothing for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    """Texts of a JSON list, or the one text; nothing for anything else."""
    values = value if isinstance(value, list) else [value]
    return [text for item in values if (text := text_of(item))]


def date_of(value: Any) -> str:
    """Day, where a text begins with one (ISO 8601)."""
    match = re.match(r"\d{4}-\d\d-\d\d", text_of(value))
    return match[0] if match else ""


def paper_of(fields: Sequence[tuple[str, Any]], cleaned: Mapping[str, Any] | None = None, text: Any = "") -> Paper:
    """Find what names a paper among columns, or keys of an object.

    Parameters
    ----------
    cleaned
        What a reader of records made of the fields; by default they are read as columns of a table.
    text
        What the coder saw.
    """
    plain = [(name, value) for name, field in fields if (value := _plain(field))]
    cleaned = columns.clean(plain) if cleaned is None else cleaned
    named = {fold(name): value for name, value in plain}
    authors = cleaned.get("authors") or []
    title, year = clean_text(cleaned.get("title")), clean_year(cleaned.get("year"))
    names = tuple(dict.fromkeys(clean_text(named[name])[:_LONGEST] for name in NAMES if named.get(name)))
    author_names = tuple(filter(None, map(clean_author, authors)))
    for name in names:
        # 'Aitken (2014)', which helps to suggest papers.
        if not author_names and not title and (cited := _CITATION.fullmatch(name)):
            author_names, year = (cited[1],), year or int(cited[2])
    return Paper(
        names=names,
        doi=normalise_doi(clean_text(cleaned.get("doi"))[:_LONGEST]),
        pmid=normalise_pmid(clean_text(cleaned.get("pmid"))[:_LONGEST]),
        title=title,
        authors=author_names,
        year=year,
        text=text if isinstance(text, str) else "",
    )


def _plain(value: Any) -> str:
    """Text of a field; names in a list are separated by semicolons, as `columns.clean` takes them."""
    return "; ".join(texts(value)) if isinstance(value, list) else text_of(value)


def faulty(entry: Entry) -> Item:
    """Refuse an entry that could not be read."""
    return Item(entry.number, entry.line, fault=entry.fault)


# Where notes stand: columns of tables, tags of RIS and EndNote, fields of BibTeX.
_NOTES = ("notes", "note", "n1", "annote")


def paper_of_entry(entry: Entry, content: Content) -> Paper:
    """Find what names the paper of a record or row."""
    fields = [pair for pair in entry.fields if pair[1]]
    return paper_of(fields, content.clean(fields))


def cells_of(entry: Entry) -> Mapping[str, str]:
    """Fields of a row by their folded names."""
    return {fold(name): value for name, value in entry.fields if isinstance(value, str)}


def notes_of(entry: Entry) -> list[str]:
    """All notes of a record or row."""
    return [value for name, value in entry.fields if fold(name) in _NOTES and isinstance(value, str)]
