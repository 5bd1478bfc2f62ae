"""CSV and TSV tables with the column names of databases and screening tools."""

from __future__ import annotations

import ast
import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from pipeline.errors import MechtagError
from pipeline.readers.base import Entry, Format, Source

# Attributes and the columns they are read from, the most specific first; case and punctuation do
# not matter. Names of Scopus, Web of Science, PubMed, Embase, Cochrane, EBSCO, Lens, OpenAlex,
# Google Scholar, RefWorks, Zotero, Rayyan, Covidence, ASReview and rispy.
COLUMNS: dict[str, tuple[str, ...]] = {
    attribute: tuple(names.split(", "))
    for attribute, names in {
        "title": "title, article title, document title, primary title, title primary, display name",
        "abstract": "abstract, abstract note, notes abstract",
        "authors": "authors, author, author s, author names, author full names, first authors, authors primary",
        "year": "year, publication year, published year, year published, pub year, date, publication date, "
        "date published",
        "journal": "source title, journal, journal title, publication title, publication name, journal book, "
        "periodical full, primary location source display name, secondary title, journal name, alternate title3, "
        "publication, source, booktitle",
        "volume": "volume, biblio volume",
        "issue": "issue, issue number, biblio issue, number",
        "pages": "pages, page",
        "start": "start page, page start, first page, beginning page, biblio first page, art no, article number",
        "end": "end page, page end, last page, ending page, biblio last page, other pages",
        "citation": "citation",
        "doi": "doi, ids doi",
        "pmid": "pmid, pubmed id, ids pmid",
        "keywords": "author keywords, keywords, index keywords, keywords plus, manual tags, automatic tags, "
        "mesh terms, subjects, emtree medical index terms",
        "type": "document type, publication type, item type, reference type, type of reference, doctype, type, "
        "entrytype",
        "language": "language, language of original document",
        "url": "url, link, urls, plink, external url",
    }.items()
}
# Column names of Web of Science's own tables; elsewhere, 'ID' is no keyword.
TAGS = {
    **{"TI": "title", "AB": "abstract", "AU": "authors", "PY": "year", "SO": "journal", "VL": "volume", "IS": "issue"},
    **{"BP": "start", "AR": "start", "EP": "end", "DI": "doi", "PM": "pmid", "DE": "keywords", "ID": "keywords"},
    **{"DT": "type", "LA": "language"},
}
_ATTRIBUTES = {name: (attribute, rank) for attribute, names in COLUMNS.items() for rank, name in enumerate(names)}
_DELIMITERS = ",\t;|"
# Excel is kept from changing a value by writing it as a formula: ="1234-5678".
_GUARDED = re.compile(r'="(.*)"', re.S)
_INITIALS = re.compile(r"(?:[A-Z]\.?[ -]?){1,5}")
_NAME_AND_INITIALS = re.compile(r"\S.*\s(?:[A-Z]\.?-?){1,5}\.?")
# Embase packs all of it in one cell: 'Journal of Care (2014) 3:3 (152-160). Date of Publication: 2014'.
_EMBASE_SOURCE = re.compile(
    r"(?P<journal>.+?) \((?P<year>\d{4})\) (?P<volume>\w+)(?::(?P<issue>[^ ()]+))?(?: \((?P<pages>[^()]+)\))?"
)
# PubMed: 'J Care. 2017 Sep;12(3):45-58. doi: 10.1000/1. Epub 2017 Aug 1.'
_PUBMED_CITATION = re.compile(r"\d{4}[^;.]*;(?P<volume>[^(:;.]+)(?:\((?P<issue>[^()]+)\))?(?::(?P<pages>[^.;]+))?\.")
_LONGEST_HEADING = 100
_LONGEST_LIST = 100_000


@lru_cache(maxsize=4096)
def _attribute(column: str, tagged: bool) -> tuple[str, int] | None:
    """Attribute that a column holds, and its rank among the columns for it."""
    if tagged:
        return (TAGS[column], list(TAGS).index(column)) if column in TAGS else None
    return _ATTRIBUTES.get(" ".join(re.findall(r"[a-z0-9]+", column.lower())))


def _attributes(columns: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Find the columns we know."""
    columns = list(columns)
    tagged = "TI" in columns
    return {column: known for column in columns if (known := _attribute(column, tagged))}


def _header(source: Source) -> tuple[list[str], str]:
    """Column names and delimiter: the one that yields most names we know, then most columns."""
    first_line = source.head.lstrip("\n").split("\n", 1)[0]
    rows = [(next(csv.reader([first_line], delimiter=delimiter), []), delimiter) for delimiter in _DELIMITERS]
    return max(rows, key=lambda row: (len(_attributes(row[0])), len(row[0])))


def recognise(source: Source) -> bool:
    """Whether the first line names a column we know, or heads a table of short names."""
    names, delimiter = _header(source)
    if _attributes(names):
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
    names, delimiter = _header(source)
    if not any(attribute == "title" for attribute, _ in _attributes(names).values()):
        raise MechtagError(
            f"{source.path}: no column with titles; found the columns {', '.join(filter(str.strip, names))}. "
            f"Name the column one of: {', '.join(COLUMNS['title'])}"
        )
    lines = source.text.split("\n")
    # The header is the first line that is not empty.
    start = next(index for index, line in enumerate(lines) if line) + 1
    for number, (line, row, fault) in enumerate(_rows(lines, start, delimiter), start=1):
        notes: tuple[str, ...] = ()
        if not fault and any(row[len(names) :]):
            fault = f"the row has {len(row)} cells, the header {len(names)}; a cell with {delimiter!r} needs quotes"
        elif not fault and len(row) < len(names):
            notes = (f"the row has {len(row)} cells, the header {len(names)}",)
        headings = names + [f"column {index}" for index in range(len(names) + 1, len(row) + 1)]
        fields = [(name, cell) for name, cell in zip(headings, row, strict=False) if cell.strip()]
        yield Entry(number, line, fields, fault=fault, notes=notes)


def _rows(lines: Sequence[str], start: int, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
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


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map columns to attributes of a record; where columns compete, the first of `COLUMNS` wins."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    known = _attributes(name for name, _ in fields)
    for name, cell in fields:
        if name in known:
            attribute, rank = known[name]
            guarded = _GUARDED.fullmatch(cell.strip())
            found[attribute].append((rank, guarded[1] if guarded else cell.strip()))
    values = {attribute: min(cells)[1] for attribute, cells in found.items()}
    start, end = values.pop("start", None), values.pop("end", None)
    pages = f"{start}-{end}" if start and end and start != end else start or end
    if place := _EMBASE_SOURCE.match(values.get("journal", "")):
        values = {**place.groupdict(), **values, "journal": place["journal"]}
    if place := _PUBMED_CITATION.search(values.pop("citation", "")):
        values = {**place.groupdict(), **values}
    return {
        **values,
        "pages": values.get("pages") or pages,
        "pmid": re.sub(r"^PUBMED\s+", "", values.get("pmid", ""), flags=re.I),
        "authors": split_authors(values.get("authors", "")),
        "keywords": [word for _, cell in found["keywords"] for word in _split_keywords(cell)],
    }


def _listed(cell: str) -> list[str] | None:
    """Items of a Python list, as pandas writes one to CSV."""
    if not (cell.startswith("[") and cell.endswith("]") and len(cell) < _LONGEST_LIST):
        return None
    try:
        items = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return [str(item) for item in items] if isinstance(items, list) else None


def _split_keywords(cell: str) -> list[str]:
    return _listed(cell) or re.split(r"[;\n]" if re.search(r"[;\n]", cell) else r"[|,]", cell)


def split_authors(cell: str) -> list[str]:
    """Names in a cell, however they are separated.

    ``Smith J, Doe AB`` and ``Smith, J., Doe, A.B.`` are two names, ``Smith, Jane`` is one.
    """
    if (items := _listed(cell)) is not None:
        return items
    for separator in (r";", r"\s+and\s+", r"\||\n"):
        if re.search(separator, cell):
            return re.split(separator, cell)
    # PubMed ends the list with a full stop, and writes initials without.
    cell = cell.removesuffix(".") if cell.count(".") == 1 else cell
    parts = [part.strip() for part in cell.strip(" ,").split(",")]
    if all(_NAME_AND_INITIALS.fullmatch(part) for part in parts):
        return parts
    if len(parts) % 2 == 0 and all(_INITIALS.fullmatch(part) for part in parts[1::2]):
        return [", ".join(pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
    return [cell] if len(parts) == 2 else parts


FORMAT = Format("CSV or TSV", recognise, read, clean)
