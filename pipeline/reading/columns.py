"""Recognise the column names that databases and screening tools use in tables of any file format."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from mechtag.core.delimited import DELIMITERS, Table, cells_of
from mechtag.core.errors import MechtagError
from mechtag.core.source import Source
from mechtag.core.words import counted
from mechtag.pipeline.reading.author_lists import as_list, family_first, split_authors
from mechtag.pipeline.reading.tagged import Outside, page_range

# Attributes and the columns they are read from, the most specific first; case and punctuation do
# not matter. Names of Scopus, Web of Science, PubMed, Embase, Cochrane, Ovid, EBSCO, ProQuest, IEEE Xplore,
# Lens, Dimensions, OpenAlex, Google Scholar, Publish or Perish, Elicit, RefWorks, Zotero, EPPI-Reviewer,
# Rayyan, Covidence, Abstrackr, ASReview, rispy, SpringerLink, ClinicalTrials.gov, ICTRP, Europe PMC and
# Semantic Scholar.
COLUMNS: dict[str, tuple[str, ...]] = {
    attribute: tuple(names.split(", "))
    for attribute, names in {
        "title": "title, article title, document title, primary title, title primary, paper title, display name, "
        "item title, study title, brief title, public title, official title, scientific title, name of paper",
        "abstract": "abstract, abstract note, notes abstract, original abstract, abstract text, abstracttext, "
        "abstract en, brief summary, summary, study description, detailed description",
        "inverted abstract": "abstract inverted index",
        "authors": "authors, author, author s, author names, author full names, first authors, authors primary, "
        "contributors, authorships author display name, authorships raw author name, authorstring, author string, "
        "author list, authors list, author full name, author name, creator, creators",
        "year": "year, publication year, published year, year published, pub year, pubyear, date, publication date, "
        "date published, date of publication, pubdate, year of publication, publicationdate, early access date, "
        "earlyaccessdate, early access year, online date, publication date online, online publication date, "
        "first publication date, firstpublicationdate, issue date, first posted, study first posted, "
        "date registration, date registration3, registration date, date of registration, start date",
        "journal": "source title, journal, journal title, publication title, publication name, journal book, "
        "periodical full, primary location source display name, secondary title, journal name, pubtitle, "
        "source title anthology title, alternate title3, publication, venue, source, booktitle, journaltitle, "
        "journalname, journal full title, journal info journal title, full journal name, publicationtitle, "
        "conference title, proceedings title, book title, container title",
        "volume": "volume, biblio volume, journal volume, journalvolume, journal info volume, vol",
        "issue": "issue, issue number, biblio issue, number, journal issue, journal info issue",
        "pages": "pages, page, pagination, pageinfo, page info, page range, page numbers, journal pages",
        "start": "start page, page start, pagestart, first page, beginning page, biblio first page, startpage, art no, "
        "article number",
        "end": "end page, page end, pageend, last page, ending page, biblio last page, endpage, other pages",
        "citation": "citation",
        "doi": "doi, ids doi, digitalobjectidentifier, digital object identifier, doi number, doi link, item doi, "
        "externalids doi, external ids doi, article doi, doi url",
        "pmid": "pmid, pubmed id, medline pmid, ids pmid, externalids pubmed, external ids pubmed, pubmedid",
        "keywords": "author keywords, keywords, index keywords, keywords plus, manual tags, automatic tags, "
        "mesh terms, subjects, ieee terms, keywords display name, emtree medical index terms, "
        "emtree drug index terms, keyword, author keyword, fields of study, conditions, descriptors",
        "type": "document type, publication type, item type, reference type, type of reference, doctype, "
        "documenttype, doctypes, type, entrytype, content type, study type, pubtype, pub type, publicationtypes",
        "language": "language, language of original document, article language, language of article",
        "url": "url, link, urls, plink, external url, pdf link, articleurl, documenturl, dimensions url, "
        "primary location landing page url, full text link, embase link, study url, web address, article url",
    }.items()
}
# The same in German, French, Spanish, Italian, Portuguese and Dutch, without accents; 'ss' is a German sharp s.
FOREIGN: dict[str, str] = {
    "title": "titel, titel des artikels, artikeltitel, titel der publikation, titel van het artikel, titre, titre "
    "de l article, titre article, titulo, titulo del articulo, titulo do artigo, titulo articulo, titulo "
    "artigo, titolo, titolo dell articolo, titolo articolo, titel der arbeit, dokumenttitel",
    "abstract": "zusammenfassung, kurzfassung, inhaltsangabe, abstrakt, kurzreferat, resume, resume de l article, "
    "resumen, resumo, riassunto, sommario, sunto, samenvatting, uittreksel, sommaire",
    "authors": "autor, autoren, verfasser, autor innen, autorinnen, autorinnen und autoren, verfasserinnen, autor "
    "en, autor in, verfasser in, auteur, auteurs, auteur s, auteur e s, autrices et auteurs, autores, "
    "autor es, autora, autori, autore, autore i, auteur en, urheber",
    "year": "jahr, erscheinungsjahr, publikationsjahr, veroffentlichungsjahr, jahrgang der publikation, "
    "erschienen, annee, annee de publication, annee de parution, date de publication, date de parution, "
    "ano, ano de publicacion, ano de publicacao, fecha, fecha de publicacion, data de publicacao, anno, "
    "anno di pubblicazione, data di pubblicazione, jaar, jaar van publicatie, publicatiejaar, jaar van "
    "uitgave, publicatiedatum, datum, veroffentlichungsdatum, publikationsdatum, erscheinungsdatum, "
    "veroeffentlichungsjahr",
    "journal": "zeitschrift, zeitschriftentitel, quelle, titel der zeitschrift, publikation, revue, titre de la "
    "revue, journal revue, titre du periodique, periodique, revista, titulo de la revista, titulo da "
    "revista, nombre de la revista, nome da revista, publicacion, publicacao, fuente, fonte, rivista, "
    "titolo della rivista, periodico, periodieke, tijdschrift, titel van het tijdschrift, naam "
    "tijdschrift, tijdschriftnaam, bron, source titre, publikationsorgan, publicatie",
    "volume": "band, jahrgang, tome, volumen, volumennummer, tomo, jaargang, annata",
    "issue": "heft, heftnummer, ausgabe, nummer, heft nr, numero, numero de la revue, fascicule, numero de la "
    "revista, ejemplar, fascicolo, fasciculo, aflevering, aflevering nummer, edicao, edicion",
    "pages": "seiten, seite, seitenzahlen, seitenangabe, pagine, pagina, paginas, pagina s, pagina nummers, "
    "paginanummers, page s, numero de pages, plage de pages",
    "start": "startseite, erste seite, von seite, page de debut, premiere page, pagina inicial, pagina iniziale, "
    "beginpagina, prima pagina, primera pagina, primeira pagina, eerste pagina",
    "end": "endseite, letzte seite, bis seite, page de fin, derniere page, pagina final, pagina finale, "
    "eindpagina, ultima pagina, laatste pagina",
    "doi": "doi nummer, numero doi, doi link, identifiant doi, identificador doi",
    "pmid": "pubmed nummer, pmid nummer",
    "keywords": "schlagworter, schlagworte, schlusselworter, stichworter, stichworte, schlagwort, schlagwoerter, "
    "schluesselwoerter, mots cles, mots clefs, mot cle, mots cles des auteurs, descripteurs, palabras "
    "clave, palabra clave, descriptores, palavras chave, palavra chave, descritores, parole chiave, "
    "parola chiave, trefwoorden, trefwoord, sleutelwoorden, steekwoorden",
    "type": "dokumenttyp, publikationstyp, publikationsart, dokumentart, typ, type de document, type de "
    "publication, tipo de documento, tipo de publicacion, tipo de publicacao, tipo di documento, tipo di "
    "pubblicazione, tipo, documenttype, publicatietype, soort, soort document",
    "language": "sprache, langue, idioma, lingua, taal, lengua, linguagem",
    "url": "adresse, lien, enlace, collegamento, ligacao, webadresse, internetadresse, lien url, adresse url, "
    "adresse web",
}
# Column names of Web of Science's own tables; elsewhere, 'ID' does not contain keywords.
TAGS = {
    **{"TI": "title", "AB": "abstract", "AF": "authors", "AU": "authors", "PY": "year", "EA": "year", "EY": "year"},
    **{"SO": "journal", "VL": "volume", "IS": "issue", "BP": "start", "AR": "start", "EP": "end", "DI": "doi"},
    "PM": "pmid",
    **{"DE": "keywords", "ID": "keywords", "DT": "type", "LA": "language"},
}
# Tags that databases print in front of or behind a name: 'TI - TITLE', 'Abstract (AB)'.
_OTHER_TAGS = {
    **{"T1": "title", "FA": "authors", "A1": "authors", "N2": "abstract", "YR": "year", "Y1": "year", "DP": "year"},
    **{"JN": "journal", "JF": "journal", "T2": "journal", "VO": "volume", "IP": "issue", "PG": "pages", "SP": "start"},
    **{"DO": "doi", "KW": "keywords", "SU": "keywords", "PT": "type", "LG": "language", "UR": "url"},
}
_TAG_FIRST = re.compile(r"\s*([A-Z][A-Z0-9])\s*[-–—:=.|/]+\s*(\S.*)", re.S)
_TAG_LAST = re.compile(r"(.*\S)\s*(?:[(\[]([A-Z][A-Z0-9])[)\]]|\s[-–—:=|/]\s*([A-Z][A-Z0-9]))\s*", re.S)
_ATTRIBUTES = {
    name: (attribute, rank)
    for attribute, names in COLUMNS.items()
    for rank, name in reversed(list(enumerate([*names, *FOREIGN.get(attribute, "").split(", ")])))
}
# A name in another language that is also an English column name of another attribute keeps the English meaning.
_ATTRIBUTES |= {name: (attribute, rank) for attribute, names in COLUMNS.items() for rank, name in enumerate(names)}
_ATTRIBUTES.pop("", None)
_TITLE_NAMES = ("ti", *(name for name, (attribute, _) in _ATTRIBUTES.items() if attribute == "title"))
# Some programs write a value as a formula, so that Excel does not change it: ="1234-5678".
_GUARDED = re.compile(r'="(.*)"', re.S)
_PUBMED = re.compile(r"^PUBMED\s+", re.I)
# Embase writes all of this in one cell: 'Journal of Care (2014) 3:3 (152-160). Date of Publication: 2014'.
_EMBASE_SOURCE = re.compile(
    r"(?P<journal>.+?) \((?P<year>\d{4})\) (?P<volume>\w+)(?::(?P<issue>[^ ()]+))?(?: \((?P<pages>[^()]+)\))?"
)
# PubMed: 'J Care. 2017 Sep;12(3):45-58. doi: 10.1000/1. Epub 2017 Aug 1.'
_PUBMED_CITATION = re.compile(
    r"\d{4}[^;.]{0,50};(?P<volume>[^(:;.]{1,50})(?:\((?P<issue>[^()]{1,50})\))?(?::(?P<pages>[^.;]{1,100}))?\."
)
_LONGEST_CITATION = 1000
# Columns of Lens and OpenAlex, which put given names first.
_GIVEN_FIRST = frozenset(("author s", "authorships author display name", "authorships raw author name"))
# What a reviewer misses most if a column's name is not known, and how many unknown columns a note lists.
_WANTED, _MOST_LISTED = ("abstract", "authors", "year"), 20
# Filled cells of a row above the header: the fewest, and as many as only a row of a table has.
_FEWEST_CELLS, _MANY_CELLS = 3, 5
# How a database begins the search that it prints above a header, and how further lines of the search begin.
_SEARCH = re.compile(
    r"\W{0,5}(?:search(?: (?:query|history|strategy|terms?|string|date))?[\"']?\s?[:;,\t]|title-abs-key\b"
    r"|about the data\b|https?://\S+\s*\Z)",
    re.I,
)
_TITLE_CELL = re.compile(r"\"title\"", re.I)
_OPERATOR = re.compile(r"\W{0,5}(?:AND|OR|NOT)\b")
# The rank of a column that only its tag identifies, and the longest name in which a tag is looked for.
_LAST, _LONGEST_TAGGED = 1000, 100
# Fewest columns of a table of which some names may be unknown, and what such a name looks like.
_FEWEST_COLUMNS, _MAY_BE_NAME = 4, re.compile(r"\W{0,5}[^\W\d][^.,:;?!\"]{0,59}")
# What every name of a column of titles contains, for a quick check of lines that are not too long for a header.
_MENTIONS_TITLE = re.compile(r"[Tt][Ii\u00cd\u00ed][Tt]|[Nn][Aa][Mm][Ee]|TI")
_LONGEST_HEADER, _LONGEST_NAME, _LONGEST_ABBREVIATED = 2000, 60, 20
_ANY_DELIMITER = re.compile("[" + re.escape(DELIMITERS) + "]")
#: Note on a header below the first table; its field is the place.
FURTHER_TABLE = (
    "{} is the header of a second table, and the rows below it were read as rows of that table; if the file was joined "
    "from several exports, check that the records of all exports were read"
)
# Spreadsheets write dates as numbers of days; these are the years 1954 to 2064.
_SERIAL, _FIRST_DAY = re.compile(r"[2-5]\d{4}(?:[.,]\d+)?"), date(1899, 12, 30)
_DOI_LINK = re.compile(r"doi\.org/10\.", re.I)
_HAS_YEAR = re.compile(r"\d{4}")
# SpringerLink writes 'Ann B. LeeBo McDonald': names without anything between them.
_GLUED = re.compile(
    r"(?<=[^\W\d_A-Z])(?<!\bMc)(?<!\bMac)(?<!\bD[aeiu])(?<!\bL[aeo])(?<!\bVan)(?<!\bFitz)(?=[A-ZÀ-ÖØ-ÞŁŚŽŠČĆĐİ])"
)


@lru_cache(maxsize=4096)
def _attribute(column: str, tagged: bool) -> tuple[str, int] | None:
    """Return the record attribute that a column contains, and the column's rank; see `attributes`.

    The result is ``None`` if the column is unknown. If ``tagged`` is true, columns are named by tags, such as ``TI``.
    """
    if tagged:
        return (TAGS[column], list(TAGS).index(column)) if column in TAGS else None
    if known := _ATTRIBUTES.get(_folded(column)):
        return known
    # 'TI - TITLE' and 'TITLE (TI)': recognised by the name or, if it is not known, by the tag.
    if len(column) > _LONGEST_TAGGED:
        return None
    if found := _TAG_FIRST.fullmatch(column):
        tag, name = found[1], found[2]
    elif found := _TAG_LAST.fullmatch(column):
        tag, name = found[2] or found[3], found[1]
    else:
        return None
    if known := _ATTRIBUTES.get(_folded(name)):
        return known
    attribute = {**_OTHER_TAGS, **TAGS}.get(tag)
    return (attribute, _LAST) if attribute else None


class _Plan(NamedTuple):
    """How the columns of a table map to the attributes of a record."""

    # Pairs (index of a column, attribute), except for keywords; the preferred column of an attribute is last.
    places: list[tuple[int, str]]
    # Indices of columns, the preferred column first.
    keyword_places: list[int]
    # Whether author names begin with the given name.
    given_first: bool
    # Indices of columns, the preferred column first.
    year_places: list[int]
    # Whether the table is from SpringerLink, which joins names without spaces.
    glued: bool


@lru_cache(maxsize=4096)
def _plan(columns: tuple[str, ...]) -> _Plan:
    # Only the columns that are not empty in a row are passed.
    known = attributes(columns)
    ranked = sorted((known[column][1], index) for index, column in enumerate(columns) if column in known)
    given_first = any(_folded(column) in _GIVEN_FIRST for column in columns if column in known)
    places = [(index, known[columns[index]][0]) for _, index in ranked]
    # If several columns contain an attribute, the one processed last wins.
    single = [place for place in reversed(places) if place[1] != "keywords"]
    keywords, years = ([index for index, held in places if held == attribute] for attribute in ("keywords", "year"))
    # Only tables from SpringerLink have a column "Item Title".
    glued = "item title" in map(_folded, columns)
    return _Plan(single, keywords, given_first or glued, years, glued)


def _folded(column: str) -> str:
    if not column.isascii():
        column = unicodedata.normalize("NFKD", column.casefold())
        column = "".join(sign for sign in column if not unicodedata.combining(sign))
    return " ".join(re.findall(r"[a-z0-9]+", column.lower()))


def attributes(columns: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return the record attribute that each known column contains, such as ``title``, and the rank of the column.

    The result is keyed by column name. If several columns contain one attribute, the one with the lowest rank is used.
    """
    columns = list(columns)
    tagged = "TI" in columns
    return {column: known for column in columns if (known := _attribute(column, tagged))}


def is_header(row: Sequence[str]) -> bool:
    """Return whether a row is certainly the header of a table.

    Empty cells are ignored. A header must name a column of titles. In addition, one of these must be true:

    - All cells are known column names.
    - The row has at least four cells, and at least half of them are known column names.
    - The row has at least four cells, at least two are known column names, and all others could be column names.
    """
    cells = [cell for cell in row if cell.strip()]
    known = attributes(cells)
    if all(attribute != "title" for attribute, _ in known.values()):
        return False
    if len(cells) == 1:
        # 'TI - Leadership' is the title of a record.
        return cells[0].replace(" ", "").isalpha()
    if len(cells) < _FEWEST_COLUMNS:
        return len(known) == len(cells)
    return len(known) >= len(cells) / 2 or (len(known) > 1 and all(map(_MAY_BE_NAME.fullmatch, cells)))


def may_be_header(line: str) -> bool:
    """Check quickly, without recognising all column names, whether a line may contain the header of a table."""
    if len(line) > _LONGEST_HEADER or not _mentions_title(line):
        return False
    for cell in reversed(_ANY_DELIMITER.split(line)):
        # The first name may follow the last row of the previous table.
        end = cell[-_LONGEST_NAME:]
        if _mentions_title(end) and _folded(end).endswith(_TITLE_NAMES):
            return True
        if len(cell) > _LONGEST_NAME or (". " in cell and len(cell) > _LONGEST_ABBREVIATED):
            return False
    return False


def _mentions_title(text: str) -> bool:
    return _MENTIONS_TITLE.search(text) is not None


def header_of(line: str, delimiters: str = DELIMITERS) -> Table | None:
    """Return the column names and the delimiter of a header line, or ``None`` if the line is not a header.

    A line with a single column name does not count as a header.
    """
    if not may_be_header(line):
        return None
    headers = (Table(cells_of(line.strip("\ufeff\n"), delimiter), delimiter) for delimiter in delimiters)
    tables = [table for table in headers if len(table.names) > 1 and is_header(table.names)]
    return max(tables, key=lambda table: len(table.names), default=None)


def require_titles(source: Source, names: Sequence[str]) -> None:
    """Check that a table has a column of titles.

    Raises
    ------
    MechtagError
        If the table has no known column of titles. The message lists the columns that were found.
    """
    if not any(attribute == "title" for attribute, _ in attributes(names).values()):
        raise MechtagError(
            f"{source.path}: no column contains titles; found the columns {', '.join(filter(str.strip, names))}. "
            f"Rename the column of titles to one of: {', '.join(COLUMNS['title'])}"
        )


def from_inverted(index: Any) -> str | None:
    """Convert an abstract from an inverted index to text, or return ``None`` if the index is not valid.

    An inverted index maps each word to its positions. OpenAlex provides abstracts only in this form.
    """
    if isinstance(index, str):
        try:
            index = json.loads(index)
        except (ValueError, RecursionError):
            return None
    if not isinstance(index, dict):
        return None
    places = [
        (place, word)
        for word, found in index.items()
        if isinstance(found, list)
        for place in found
        if type(place) is int
    ]
    return " ".join(word for _, word in sorted(places)) or None


def unread(names: Sequence[str]) -> str:
    """Return a note if abstracts, authors or years are missing from a table, because their columns may be unknown.

    The note lists the unknown columns. The result is ``""`` if nothing is missing, or if there are no unknown columns.
    """
    known = attributes(names)
    found = {attribute.removeprefix("inverted ") for attribute, _ in known.values()}
    # Embase packs the year into the source.
    found |= {"year"} if "source" in map(_folded, known) else set()
    missing = [
        attribute if attribute == "authors" else f"{attribute}s" for attribute in _WANTED if attribute not in found
    ]
    rest = [name for name in names if name.strip() and name not in known]
    if not missing or not rest:
        return ""
    wanted = " or ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
    more = f" and {len(rest) - _MOST_LISTED} more" if len(rest) > _MOST_LISTED else ""
    return f"no column with {wanted} was found; columns that were not read: {', '.join(rest[:_MOST_LISTED])}{more}"


def is_search(line: str, continued: bool) -> bool:
    """Return whether a line is part of a search query, which databases print above the header or the first record.

    Parameters
    ----------
    continued
        Whether the previous line is part of the query. If so, this line may begin with an operator, such as AND.
    """
    found = _SEARCH.match(line) or (continued and _OPERATOR.match(line))
    return bool(found) and _TITLE_CELL.search(line) is None


def above(rows: Iterable[tuple[int, str, Sequence[str]]], names: Sequence[str]) -> Iterator[str]:
    """Yield notes for the user on the unread rows above the header of a table.

    One note counts the rows with many filled cells, which are probably records. Another note counts all other rows and
    quotes the first of them; search queries and other routine rows are not counted.

    Parameters
    ----------
    rows
        Number, text and cells of each row above the header.
    names
        Column names in the header.
    """
    wide = max(_FEWEST_CELLS, sum(map(bool, names)) / 2)
    count, search = 0, False
    outside = Outside()
    for number, text, cells in rows:
        if sum(map(bool, cells)) >= wide or sum(cell[:1] not in ("", " ") for cell in cells) >= _MANY_CELLS:
            count, search = count + 1, False
            continue
        search = is_search(text, search)
        if not search:
            outside.add(number, text)
    if count:
        verb = "was" if count == 1 else "were"
        yield f"{counted(count, 'row')} above the header {verb} not read; move the header to the top"
    yield from outside.notes()


def find_header(rows: Sequence[Sequence[str]]) -> int:
    """Return the index of the header row of a table.

    The first non-empty row is the header if it is certainly a header (see `is_header`). Otherwise, it may be a title or
    a search history, so the rows below are tried: a row is preferred if it names a column of titles and contains more
    known column names.
    """
    index = next((index for index, row in enumerate(rows) if any(cell.strip() for cell in row)), 0)
    for below in range(index + 1, len(rows)):
        if is_header(rows[index]):
            break
        known = attributes(rows[below])
        if len(known) > max(1, len(attributes(rows[index]))) and any(name == "title" for name, _ in known.values()):
            index = below
    return index


def _cell(text: str) -> str:
    text = text.strip()
    return guarded[1] if text[:1] == "=" and (guarded := _GUARDED.fullmatch(text)) else text


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the columns of a table row to attributes of a record.

    If several columns contain one attribute, the column that comes first in `COLUMNS` is used. Only keywords are taken
    from all their columns.
    """
    places, keyword_places, given_first, year_places, glued = _plan(tuple([name for name, _ in fields]))
    values = {attribute: _cell(fields[index][1]) for index, attribute in places}
    keywords = [word for index in keyword_places for word in _split_keywords(_cell(fields[index][1]))]
    start, end = values.pop("start", None), values.pop("end", None)
    if "(" in (journal := values.get("journal", "")) and (place := _EMBASE_SOURCE.match(journal)):
        values = {**place.groupdict(), **values, "journal": place["journal"]}
    if (citation := values.pop("citation", "")) and (place := _PUBMED_CITATION.search(citation[:_LONGEST_CITATION])):
        values = {**place.groupdict(), **values}
    if len(year_places) > 1 and not _HAS_YEAR.search(values["year"]):
        # 'JUN 15' or 'in press' in one column, a date in another
        dates = (_cell(fields[index][1]) for index in year_places)
        values["year"] = next(filter(_HAS_YEAR.search, dates), values["year"])
    if _SERIAL.fullmatch(values.get("year", "")):
        values["year"] = str((_FIRST_DAY + timedelta(days=int(values["year"][:5]))).year)
    if "doi" not in values and _DOI_LINK.search(link := values.get("url", "")):
        values["doi"] = link
    if inverted := values.pop("inverted abstract", ""):
        values.setdefault("abstract", from_inverted(inverted) or "")
    cell = values.get("authors", "")
    authors = _GLUED.split(cell) if glued else split_authors(cell)
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
