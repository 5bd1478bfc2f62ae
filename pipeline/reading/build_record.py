"""Build a record from the fields of an entry, or reject the entry and state the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from mechtag.core.delimited import LONGEST_ENTRY
from mechtag.core.records import Record, Rejected, make_record_id, normalise_doi, normalise_pmid, registration_number
from mechtag.pipeline.reading.author_lists import split_list
from mechtag.pipeline.reading.tagged import Entry, Format
from mechtag.pipeline.reading.text.cleaning import clean_abstract, clean_text, clean_value, is_missing, join_keywords

_T = TypeVar("_T", covariant=True)

# The first journal appeared in 1665; a number above 2100 is not a year.
_FIRST_YEAR, _LAST_YEAR = 1600, 2100
_LONGEST_NAME, _LONGEST_IDENTIFIER = 100, 500
_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)")
_MONTH, _DAY = r"(?:0\d|1[0-2])", r"(?:[0-2]\d|3[01])"
# '20170812', '201708', '20170812103000', '12082017'
_COMPACT = re.compile(
    rf"(?<!\d)(?:(?P<first>[12]\d{{3}}){_MONTH}(?:{_DAY}(?:\d{{4}}|\d{{6}})?)?"
    rf"|(?:{_DAY}{_MONTH}|{_MONTH}{_DAY})(?P<last>[12]\d{{3}}))(?!\d)"
)
_NAME = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*\.?"
# Two digits are a year only if they cannot be a day: after an apostrophe, after a day and a month, in front of a month
# and a day as in RIS ('98/05/01/'), or because no day is as high.
_SHORT = re.compile(
    rf"(?:\D*['\u2019](?P<marked>\d\d)|\d{{1,2}}[ ./-]{_NAME}[ ,./-]*(?P<after>\d\d)"
    rf"|(?P<ris>\d\d)/\d{{0,2}}/\d{{0,2}}/.*"
    rf"|(?:\d{{1,2}}[./-]){{0,2}}(?P<high>3[2-9]|[4-9]\d)|(?P<front>3[2-9]|[4-9]\d)(?:[./-]\d{{1,2}}){{1,2}}"
    rf"|(?:{_NAME}|spring|summer|autumn|fall|winter)[ ,./-]*(?P<month>3[2-9]|[4-9]\d))",
    re.I,
)
_CENTURY = 30
# 'Wilson L.N.' and 'Wilson LN', but not 'Lauren Wilson'.
_INITIALS = re.compile(r"(.*?\S)\s+((?:[A-Z]\.?-?){1,4}(?:\s(?:[A-Z]\.?-?){1,3}){0,9})")
_LONGEST_CACHED, _MOST_CACHED = 200, 1 << 15
_OTHERS = ("journal", "volume", "issue", "type", "language", "url")


class _Cleaner(Protocol[_T]):
    def __call__(self, value: Any, notes: list[str] | None = None) -> _T: ...


class _Once(Generic[_T]):
    """A cache of cleaned values, such as journals, years and names, which recur in many records."""

    def __init__(self, clean: _Cleaner[_T]) -> None:
        self._clean = clean
        self._known: dict[str | None, _T] = {}

    def each(self, values: Sequence[Any], notes: list[str] | None = None) -> list[_T]:
        """Return the cleaned form of each value, from the cache if the value was cleaned before."""
        known = self._known
        try:
            return [known[value] for value in values]
        except (KeyError, TypeError):  # a value that is new or not cacheable
            return [self._one(value, notes) for value in values]

    def _one(self, value: Any, notes: list[str] | None) -> _T:
        # Do not cache numbers, because 1 and True are the same dictionary key, nor text that may need mending,
        # because its note would be added only the first time.
        if not (value is None or (type(value) is str and len(value) <= _LONGEST_CACHED and value.isascii())):
            return self._clean(value, notes)
        if value not in self._known:
            if len(self._known) >= _MOST_CACHED:
                self._known.clear()
            self._known[value] = self._clean(value)
        return self._known[value]


def clean_year(value: Any, notes: list[str] | None = None) -> int | None:
    """Return the first plausible year of publication in a value, or ``None`` if there is no such year.

    The year may be part of a date without separators. A year of two digits is accepted only if it cannot be a day or a
    month.
    """
    text = clean_text(value)[:_LONGEST_IDENTIFIER]
    years = [int(digits) for digits in _YEAR.findall(text)]
    years += [int(found["first"] or found["last"]) for found in _COMPACT.finditer(text)]
    if not years and (short := _SHORT.fullmatch(text)):
        two = int(next(filter(None, short.groups())))
        years = [two + (2000 if two <= _CENTURY else 1900)]
    return next((year for year in years if _FIRST_YEAR <= year <= _LAST_YEAR), None)


def clean_author(value: Any, notes: list[str] | None = None) -> str:
    """Clean the name of an author, and return ``Family, Given`` if the family name can be recognised.

    The family name is recognised if a comma or initials follow it.
    """
    name = clean_value(value, notes).strip(" ,;")[:_LONGEST_IDENTIFIER]
    family, comma, given = name.partition(",")
    if not comma and len(name) < _LONGEST_NAME and (initials := _INITIALS.fullmatch(name)):
        family, comma, given = initials[1], ",", initials[2]
    family, given = family.rstrip(), given.strip()
    # A program that joins two missing parts writes 'NA, NA', but 'Kraan, NA' has initials.
    if comma and is_missing(family) and is_missing(given):
        return ""
    return f"{family}, {given}" if comma else name


def clean_authors(value: Any, notes: list[str] | None = None) -> tuple[str, ...]:
    """Split a value into the names of authors, and return the cleaned names."""
    text = clean_value(value, notes)
    return tuple(filter(None, map(clean_author, split_list(text)))) if text else ()


def clean_pages(value: Any, notes: list[str] | None = None) -> str | None:
    """Clean a page range, and remove placeholders for missing pages: '12-NA' becomes '12'.

    The result is ``None`` if both pages are missing.
    """
    text = clean_value(value, notes)
    if "-" not in text:
        return text or None
    ends = [end.strip() for end in text.split("-")]
    return text if all(end and not is_missing(end) for end in ends) else "-".join(_present(ends)) or None


def _present(values: Sequence[str]) -> list[str]:
    return [value for value in values if value and not is_missing(value)]


def _text_or_none(value: Any, notes: list[str] | None = None) -> str | None:
    return clean_value(value, notes) or None


_texts, _years, _authors = _Once(_text_or_none), _Once(clean_year), _Once(clean_authors)


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()  # half the time of a check against a union type


def build(form: Format, entry: Entry, file: str, notes: list[str] | None = None) -> Record | Rejected:
    """Build the record of an entry in a given format, or return a `Rejected` with the reason.

    An entry whose fields cannot be interpreted is rejected, so that it does not stop the reading of other entries.
    """
    try:
        fields = [(name, value) for name, value in entry.fields if not (type(value) is str and is_missing(value))]
        return construct(entry, form.clean(fields), file, notes)
    except MemoryError:
        raise
    except Exception as error:  # whatever a converter or one of its libraries raises
        fault = (
            f"the entry could not be converted to a record ({type(error).__name__}: {error}); "
            "please report this to the developers of mechtag"
        )
        return construct(entry._replace(fault=fault), {}, file, notes)


def construct(entry: Entry, cleaned: Mapping[str, Any], file: str, notes: list[str] | None = None) -> Record | Rejected:
    """Build the record of an entry from its cleaned fields, or return a `Rejected` with the reason.

    Parameters
    ----------
    entry
        Entry as read. Its fields become the attribute ``raw`` of the record.
    cleaned
        Result of `Format.clean` for the fields of the entry.
    file
        Name of the file in the record and in messages.
    notes
        List to which a note is added for each corrected defect in the texts of the entry.
    """
    raw = tuple(entry.fields)
    get = cleaned.get
    title = clean_value(get("title"), notes)
    abstract, listed = clean_abstract(get("abstract"), notes)
    reason = entry.fault
    if not reason and not title:
        reason = "no title"
    elif len(title) + len(abstract) > LONGEST_ENTRY:
        reason = (
            f"title and abstract have {len(title) + len(abstract):,} characters, but a record may have at most "
            f"{LONGEST_ENTRY:,}; check whether line ends are missing in the file"
        )
        raw = (("title", title[:_LONGEST_IDENTIFIER]),)
    if reason:
        return Rejected(file=file, record=entry.number, line=entry.line, reason=reason, raw=raw)
    [year] = _years.each([get("year")])
    doi = normalise_doi(clean_text(doi)[:_LONGEST_IDENTIFIER]) if (doi := get("doi")) else None
    pmid = normalise_pmid(clean_text(pmid)[:_LONGEST_IDENTIFIER]) if (pmid := get("pmid")) else None
    # Co-authors may share a name, so only keywords are deduplicated.
    authors = tuple(chain.from_iterable(_authors.each(_list(get("authors")), notes)))
    words = _list(get("keywords"))
    keywords = join_keywords(filter(None, _texts.each(words, notes)), listed) if words or listed else ()
    journal, volume, issue, kind, language, url = _texts.each([get(name) for name in _OTHERS], notes)
    pages = clean_pages(get("pages"), notes)
    registration = None if doi or pmid else registration_number(f"{journal or url} {kind}", title, *authors[:3])
    record_id = make_record_id(doi=doi, pmid=pmid, title=title, year=year, authors=authors, registration=registration)
    # Deduplication adds a suffix to the ids of different papers that would share one, such as two editorials. Tables
    # that mechtag wrote contain the whole id.
    written = next((value for name, value in raw if name == "record_id"), None)
    if isinstance(written, str) and written.rpartition("#")[0] == record_id:
        record_id = written
    return Record.unchecked(
        {
            "record_id": record_id,
            "title": title,
            "abstract": abstract,
            "authors": authors,
            "year": year,
            "journal": journal,
            "volume": volume,
            "issue": issue,
            "pages": pages,
            "doi": doi,
            "pmid": pmid,
            "keywords": keywords,
            "type": kind,
            "language": language,
            "url": url,
            "source_file": file,
            "source_index": entry.number,
            "raw": raw,
        }
    )
