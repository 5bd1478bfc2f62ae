"""Read Ovid's labelled text (.cgi, .txt).

A record starts with a number such as '<1>'. Field names are not abbreviated, and values are indented. No library reads
this format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.tagged import Draft, Entry, Format, Outside, by_tag, first, numbered

# The end of the line may be damaged.
_NUMBER = re.compile(r"\ufeff?<\d+>\W*$")
_START = re.compile(r"^\ufeff?<\d+>\.?[ \t]*\n(?:[ \t]*\n)*[A-Z][A-Za-z ,/&()-]{1,60}\n[ \t]+\S", re.M)
# '... fractures.[Article]', '... care. [Review] [33 refs]'; a title entirely in brackets is a translation.
_KINDS = re.compile(r"(?<=[.?!\]])\s{0,9}(?:\[[^\[\]]{1,40}\](?:\s{0,9}\.)?\s{0,9}){1,9}$")
# Affiliation marks and academic degrees after a name.
_DEGREE = (
    r"(?:MD|M\.D\.|PhD|Ph\.D\.|RN|FAAN|MSc|MSN|MPH|MBBS|MBA|MHS|MHA|MEd|MA|MS|BA|BS|BSc|BSN|DPhil|ScD|DrPH|EdD|DNP|PharmD"
    r"|PsyD|DO|DDS|DMD|DVM|JD|FRCP|FRCS|FACS|FACP|FRCPC|FRCSC|MRCP|PT|DPT|OTR|CNM|CRNA|NP|PA-C)"
)
_BEHIND_NAME = re.compile(
    rf"(?:[\s,]{{1,9}}{_DEGREE}(?![A-Za-z])|[\s,]{{0,9}}[\d*+\u2020\u2021\u00a7]|\s{{0,9}}\[[^\[\]]{{0,300}}\]){{1,50}}\s{{0,9}}$"
)
_LONGEST_NAME, _LONGEST_KINDS = 300, 500
_ONLY_DEGREE = re.compile(rf"\s*{_DEGREE}[\s\d*+]*")
# 'Ecology.   8(6):1048-1064, September 2015.', 'J Care. 12(3):45-58, 2017 Sep.', 'J Care. Vol 28(2) May 2015, 103-106.'
SOURCE = re.compile(
    r"(?P<journal>\S.*?)\.(?:\s+(?:Vol\.?\s*)?(?P<volume>\w{1,50})(?:\((?P<issue>[^()]{1,100})\))?"
    r"(?:\s*:\s*(?P<pages>[^,;.\s]{1,100})|\s[^,]{0,100}\d{4}, (?P<late>[\w-]{1,100}))?[,;.\s]|\s*$)"
)

_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
# Field names that start a record whose number is damaged.
_OPENING = frozenset(("Accession Number", "Unique Identifier", "Title", "Article Title", "Author", "Authors"))
_KEYWORDS = (
    *("author keywords", "keywords", "keyword heading", "key concepts"),
    *("mesh subject headings", "subject headings", "subject heading"),
)


def recognise(source: Source) -> bool:
    """Return whether a file contains the layout of Ovid: a record number, then a field name, then an indented value."""
    return bool(_START.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per record; a record starts at a record number."""
    return numbered(_drafts(source), ("Title", "Article Title"))


def _drafts(source: Source) -> Iterator[Draft]:
    draft: Draft | None = None
    outside = Outside()
    for line_number, line in enumerate(map(str.rstrip, source.lines()), start=1):
        if _NUMBER.match(line):
            if draft:
                yield draft
            draft = Draft(line_number)
            draft.continue_with(line)
        elif draft and (not line or line[:1].isspace()):
            draft.continue_with(line)
        elif draft or line.strip() in _OPENING:
            draft = draft or Draft(line_number, ["the record has no record number at its start"])
            draft.add(line.strip(), "")
        else:
            outside.add(line_number, line)
    if draft:
        yield draft
    source.notes += outside.notes()


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the fields of an Ovid record to attributes of `records.Record`."""
    values = by_tag([(name.casefold(), value.strip()) for name, value in fields])
    title = " ".join((first(values, "title", "chapter title", "book title") or "").split())
    source = first(values, "source") or ""
    place = SOURCE.match(" ".join(source.split()))
    names = first(values, "authors full name", "author full name", "full name", "author", "authors") or ""
    found = place.groupdict() if place else {}
    keywords = [word for name in _KEYWORDS for text in values.get(name, ()) for word in re.split(r"[;\n]", text)]
    return {
        "title": without_kind(title),
        "abstract": first(values, "abstract"),
        "authors": split_names(names),
        "year": first(values, "year of publication", "publication year", "year") or _last_year(source, values),
        "journal": first(values, "journal name", "journal", "journal title") or found.get("journal"),
        "volume": first(values, "volume", "journal volume") or found.get("volume"),
        "issue": first(values, "issue", "issue part", "journal issue") or found.get("issue"),
        "pages": first(values, "page", "pages", "pagination") or found.get("pages") or found.get("late"),
        "doi": first(values, "doi number", "doi", "digital object identifier"),
        "pmid": first(values, "pmid", "unique identifier"),
        "keywords": [word.strip().rstrip(".") for word in keywords],
        "type": (first(values, "publication type", "document type") or "").strip(".-"),
        "language": (first(values, "language") or "").rstrip("."),
    }


def _last_year(source: str, values: Mapping[str, list[str]]) -> str | None:
    """Return the last year in the source field or, if it contains no year, in the status or date of publication."""
    # Ovid writes the year of an article that has not been printed yet into its status or date of publication.
    return last_year(source) or last_year(first(values, "status", "date of publication") or "")


def last_year(text: str) -> str | None:
    """Return the last year in a text, or ``None`` if the text contains no year."""
    return next(reversed(_YEAR.findall(text)), None)


def without_kind(title: str) -> str:
    """Remove the kind of article, such as '[Article]' or '[Review] [33 refs]', from the end of a title."""
    return title[:-_LONGEST_KINDS] + _KINDS.sub("", title[-_LONGEST_KINDS:])


def split_names(text: str) -> list[str]:
    """Split an Ovid list of authors into names, without affiliation marks and degrees."""
    parts = re.split(r";\s\s+|\n", text) if re.search(r";\s\s", text) else re.split(r"[;\n]", text)
    parts = [part[:_LONGEST_NAME] for part in parts if not _ONLY_DEGREE.fullmatch(part)]
    return [_BEHIND_NAME.sub("", part).strip() for part in parts]


FORMAT = Format("Ovid (labelled)", recognise, read, clean)
