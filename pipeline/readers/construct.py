"""From the cleaned fields of an entry to a record, or to the reason why it is none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.readers.base import Entry
from pipeline.records import Record, Rejected, make_record_id, normalise_doi, normalise_pmid

# Journals begin in 1665; whatever claims to be later than 2100 is no year.
_FIRST_YEAR, _LAST_YEAR = 1600, 2100
_LONGEST_NAME, _LONGEST_IDENTIFIER = 100, 500
_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
# 'Wilson L.N.' and 'Wilson LN', but not 'Lauren Wilson'.
_INITIALS = re.compile(r"(.*?\S)\s+((?:[A-Z]\.?-?){1,4}(?:\s(?:[A-Z]\.?-?){1,3})*)")


def clean_text(value: Any) -> str:
    """One line of composed Unicode without control characters; ``""`` for what is no text."""
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        value = str(int(value) if value == value // 1 else value)
    text = " ".join(value.split())
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", _UNPRINTABLE.sub("", text))


def clean_year(value: Any) -> int | None:
    """Return the first number that can be a year of publication."""
    years = (int(digits) for digits in _YEAR.findall(clean_text(value)))
    return next((year for year in years if _FIRST_YEAR <= year <= _LAST_YEAR), None)


def clean_author(value: Any) -> str:
    """``Family, Given``, where a comma or initials at the end tell the two apart."""
    name = clean_text(value).strip(" ,;")
    family, comma, given = name.partition(",")
    if comma:
        return f"{family.rstrip()}, {given.strip()}"
    initials = _INITIALS.fullmatch(name) if len(name) < _LONGEST_NAME else None
    return f"{initials[1]}, {initials[2]}" if initials else name


def _each(values: Any, clean: Any) -> tuple[str, ...]:
    """Clean values, and keep each once, in their order."""
    items: Iterable[Any] = values if isinstance(values, list | tuple) else ()
    return tuple(dict.fromkeys(filter(None, map(clean, items))))


def construct(entry: Entry, cleaned: Mapping[str, Any], file: str) -> Record | Rejected:
    """Build the record, or say why there is none.

    Parameters
    ----------
    entry
        Its fields become ``raw``.
    cleaned
        What `Format.clean` made of them.
    file
        Name under which the file is known.
    """
    raw = tuple(entry.fields)
    title = clean_text(cleaned.get("title"))
    reason = entry.fault or ("" if title else "no title")
    if reason:
        return Rejected(file=file, record=entry.number, line=entry.line, reason=reason, raw=raw)
    year = clean_year(cleaned.get("year"))
    doi = normalise_doi(clean_text(cleaned.get("doi"))[:_LONGEST_IDENTIFIER])
    pmid = normalise_pmid(clean_text(cleaned.get("pmid")))
    authors = _each(cleaned.get("authors"), clean_author)
    others = ("journal", "volume", "issue", "pages", "type", "language", "url")
    return Record(
        record_id=make_record_id(doi=doi, pmid=pmid, title=title, year=year, authors=authors),
        title=title,
        abstract=clean_text(cleaned.get("abstract")),
        authors=authors,
        year=year,
        doi=doi,
        pmid=pmid,
        keywords=_each(cleaned.get("keywords"), clean_text),
        source_file=file,
        source_index=entry.number,
        raw=raw,
        **{name: clean_text(cleaned.get(name)) or None for name in others},
    )
