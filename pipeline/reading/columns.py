"""Column names of databases and screening tools, for tables in any file format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.core.source import Source
from mechtag.pipeline.reading.author_lists import as_list, family_first, split_authors
from mechtag.pipeline.reading.tagged import page_range

# Attributes and the columns they are read from, the most specific first; case and punctuation do
# not matter. Names of Scopus, Web of Science, PubMed, Embase, Cochrane, Ovid, EBSCO, ProQuest, IEEE Xplore,
# Lens, Dimensions, OpenAlex, Google Scholar, Publish or Perish, Elicit, RefWorks, Zotero, EPPI-Reviewer,
# Rayyan, Covidence, Abstrackr, ASReview and rispy.
COLUMNS: dict[str, tuple[str, ...]] = {
    attribute: tuple(names.split(", "))
    for attribute, names in {
        "title": "title, article title, document title, primary title, title primary, paper title, display name",
        "abstract": "abstract, abstract note, notes abstract, original abstract",
        "authors": "authors, author, author s, author names, author full names, first authors, authors primary, "
        "contributors, authorships author display name, authorships raw author name",
        "year": "year, publication year, published year, year published, pub year, pubyear, date, publication date, "
        "date published, date of publication, pubdate, year of publication, publicationdate",
        "journal": "source title, journal, journal title, publication title, publication name, journal book, "
        "periodical full, primary location source display name, secondary title, journal name, pubtitle, "
        "source title anthology title, alternate title3, publication, venue, source, booktitle",
        "volume": "volume, biblio volume",
        "issue": "issue, issue number, biblio issue, number",
        "pages": "pages, page, pagination",
        "start": "start page, page start, pagestart, first page, beginning page, biblio first page, startpage, art no, "
        "article number",
        "end": "end page, page end, pageend, last page, ending page, biblio last page, endpage, other pages",
        "citation": "citation",
        "doi": "doi, ids doi, digitalobjectidentifier, digital object identifier, doi number, doi link",
        "pmid": "pmid, pubmed id, medline pmid, ids pmid",
        "keywords": "author keywords, keywords, index keywords, keywords plus, manual tags, automatic tags, "
        "mesh terms, subjects, ieee terms, keywords display name, emtree medical index terms, "
        "emtree drug index terms",
        "type": "document type, publication type, item type, reference type, type of reference, doctype, "
        "documenttype, doctypes, type, entrytype",
        "language": "language, language of original document, article language, language of article",
        "url": "url, link, urls, plink, external url, pdf link, articleurl, documenturl, dimensions url, "
        "primary location landing page url, full text link, embase link",
    }.items()
}
# Column names of Web of Science's own tables; elsewhere, 'ID' does not contain keywords.
TAGS = {
    **{"TI": "title", "AB": "abstract", "AF": "authors", "AU": "authors", "PY": "year", "SO": "journal"},
    **{"VL": "volume", "IS": "issue", "BP": "start", "AR": "start", "EP": "end", "DI": "doi", "PM": "pmid"},
    **{"DE": "keywords", "ID": "keywords", "DT": "type", "LA": "language"},
}
_ATTRIBUTES = {name: (attribute, rank) for attribute, names in COLUMNS.items() for rank, name in enumerate(names)}
# Some programs write a value as a formula, so that Excel does not change it: ="1234-5678".
_GUARDED = re.compile(r'="(.*)"', re.S)
_PUBMED = re.compile(r"^PUBMED\s+", re.I)
# Embase writes all of this in one cell: 'Journal of Care (2014) 3:3 (152-160). Date of Publication: 2014'.
_EMBASE_SOURCE = re.compile(
    r"(?P<journal>.+?) \((?P<year>\d{4})\) (?P<volume>\w+)(?::(?P<issue>[^ ()]+))?(?: \((?P<pages>[^()]+)\))?"
)
# PubMed: 'J Care. 2017 Sep;12(3):45-58. doi: 10.1000/1. Epub 2017 Aug 1.'
_PUBMED_CITATION = re.compile(r"\d{4}[^;.]*;(?P<volume>[^(:;.]+)(?:\((?P<issue>[^()]+)\))?(?::(?P<pages>[^.;]+))?\.")
_LONGEST_CITATION = 1000
# Columns of Lens and OpenAlex, which put given names first.
_GIVEN_FIRST = frozenset(("author s", "authorships author display name", "authorships raw author name"))


@lru_cache(maxsize=4096)
def _attribute(column: str, tagged: bool) -> tuple[str, int] | None:
    """Return the attribute in a column, and the column's rank among those for this attribute."""
    if tagged:
        return (TAGS[column], list(TAGS).index(column)) if column in TAGS else None
    return _ATTRIBUTES.get(_folded(column))


class _Plan(NamedTuple):
    """Columns of each attribute, the preferred one last; of keywords; and whether given names come first."""

    places: list[tuple[int, str]]
    keyword_places: list[int]
    given_first: bool


@lru_cache(maxsize=4096)
def _plan(columns: tuple[str, ...]) -> _Plan:
    """Return the plan for a row's columns; cached, because the same cells are filled in many rows."""
    known = attributes(columns)
    ranked = sorted((known[column][1], index) for index, column in enumerate(columns) if column in known)
    given_first = any(_folded(column) in _GIVEN_FIRST for column in columns if column in known)
    places = [(index, known[columns[index]][0]) for _, index in ranked]
    # If several columns contain an attribute, the one processed last wins.
    single = [place for place in reversed(places) if place[1] != "keywords"]
    return _Plan(single, [index for index, attribute in places if attribute == "keywords"], given_first)


def _folded(column: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", column.lower()))


def attributes(columns: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return the known columns: the attribute in each, and its rank among the columns for this attribute."""
    columns = list(columns)
    tagged = "TI" in columns
    return {column: known for column in columns if (known := _attribute(column, tagged))}


def require_titles(source: Source, names: Sequence[str]) -> None:
    """Refuse a table without a column of titles.

    Raises
    ------
    MechtagError
        If there is none; the message lists the columns that were found.
    """
    if not any(attribute == "title" for attribute, _ in attributes(names).values()):
        raise MechtagError(
            f"{source.path}: no column with titles; found the columns {', '.join(filter(str.strip, names))}. "
            f"Name the column one of: {', '.join(COLUMNS['title'])}"
        )


def find_header(rows: Sequence[Sequence[str]]) -> int:
    """Return the index of the header: the first non-empty row, or one below it with titles and more known names.

    Search histories and headings may precede a header.
    """
    index = next((index for index, row in enumerate(rows) if any(cell.strip() for cell in row)), 0)
    for below in range(index + 1, len(rows)):
        known = attributes(rows[below])
        if len(known) > max(1, len(attributes(rows[index]))) and any(name == "title" for name, _ in known.values()):
            index = below
    return index


def _cell(text: str) -> str:
    text = text.strip()
    return guarded[1] if text[:1] == "=" and (guarded := _GUARDED.fullmatch(text)) else text


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map columns to attributes of a record; of several columns for an attribute, the first in `COLUMNS` wins."""
    places, keyword_places, given_first = _plan(tuple([name for name, _ in fields]))
    values = {attribute: _cell(fields[index][1]) for index, attribute in places}
    keywords = [word for index in keyword_places for word in _split_keywords(_cell(fields[index][1]))]
    start, end = values.pop("start", None), values.pop("end", None)
    if "(" in (journal := values.get("journal", "")) and (place := _EMBASE_SOURCE.match(journal)):
        values = {**place.groupdict(), **values, "journal": place["journal"]}
    if (citation := values.pop("citation", "")) and (place := _PUBMED_CITATION.search(citation[:_LONGEST_CITATION])):
        values = {**place.groupdict(), **values}
    authors = split_authors(values.get("authors", ""))
    return {
        **values,
        "pages": values.get("pages") or page_range(start, end),
        "pmid": _PUBMED.sub("", pmid).removesuffix(".0") if (pmid := values.get("pmid")) else None,
        "authors": list(map(family_first, authors)) if given_first else authors,
        "keywords": keywords,
    }


def _split_keywords(cell: str) -> list[str]:
    if ";" in cell or "\n" in cell:
        return as_list(cell) or cell.replace("\n", ";").split(";")
    return as_list(cell) or cell.replace("|", ",").split(",")
