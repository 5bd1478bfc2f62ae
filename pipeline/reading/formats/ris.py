"""Read RIS files in the dialects of databases and reference managers.

rispy is not used. It drops everything before TY, joins records if ER is missing, and reports neither line numbers nor
the order of tags. The tests compare the results of this module with those of rispy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.tagged import Draft, Entry, Format, Outside, by_tag, first, lines_of, numbered, page_range

# Tags of more than two letters that some programs write, and the RIS tags for them.
LONG_TAGS = {
    **{"TITLE": "TI", "AUTHOR": "AU", "AUTHORS": "AU", "AUTH": "AU", "YEAR": "PY", "DATE": "DA", "JOUR": "JO"},
    **{"JOURNAL": "JO", "SOURCE": "SO", "VOL": "VL", "VOLUME": "VL", "ISSUE": "IS", "PAGES": "SP", "DOI": "DO"},
    **{"ABST": "AB", "ABS": "AB", "ABSTRACT": "AB", "KEYW": "KW", "KEYWORD": "KW", "KEYWORDS": "KW", "LANG": "LA"},
    **{"LANGUAGE": "LA", "URL": "UR", "LINK": "UR", "ISSN": "SN", "EISSN": "SN", "ISBN": "SN", "TYPE": "M3"},
    **{"PMID": "PMID", "PMCID": "C2"},
}
_IDENTIFIER = "(?:DOI|PMID|PMCID|E?ISSN|ISBN|URL)"
# Headings, which may start a line of an abstract.
_HEADING = "(?:AIMS?|BACKGROUND|CONCLUSIONS?|DESIGN|FINDINGS|METHODS?|OBJECTIVES?|PURPOSE|RESULTS?|SETTING)"
# Two letters, two spaces, a hyphen; some programs use tabs or more spaces, or longer tags, and word processors change
# spaces and hyphens. A byte order mark may
# occur in the middle of a file that was concatenated from several.
_TAG = re.compile(
    rf"[ \t\ufeff]*(?:(?!{_HEADING}\b)([A-Z][A-Z0-9]{{1,9}})(?:[ \t\xa0]{{2,}}|\t)[-–]|({_IDENTIFIER}) ?- )(.*)"
)
# Used only if the whole file is written like this, because 'AB - ' may start a line of an abstract.
_NARROW_TAG = re.compile(rf"[ \t\ufeff]*(?:([A-Z][A-Z0-9]) ?-|({_IDENTIFIER}) ?- )(.*)")
_START = re.compile(r"^[ \t\ufeff]*TY(?:[ \t\xa0]{2,}|\t)[-–]", re.M)
_NARROW_START = re.compile(r"^[ \t\ufeff]*TY ?-[ \t]*[A-Z]{3,}[ \t]*$", re.M)
_HEADLESS = re.compile(r"[\s\ufeff]*[A-Z][A-Z0-9]{1,9}(?:[ \t]{2,}|\t)-.*^ER(?:[ \t]{2,}|\t)-", re.M | re.S)

# Older versions of EndNote write the DOI to the notes.
_MARKED_DOI = re.compile(r"\s*doi:?\s*10\.\d{4,9}/\S+\s*", re.I)
_DOI_LINK = re.compile(r"doi\.org/10\.", re.I)
_MARKED_PMID = re.compile(
    r"(?:\b(?:PubMed|PMID)\s*(?::\s*)?|ncbi\.nlm\.nih\.gov/(?:m/)?pubmed/|pubmed\.ncbi\.nlm\.nih\.gov/)(\d{4,9})\b"
    r"|\b(\d{4,9})\s*\[pmid\]",
    re.I,
)
# Ovid splits 'No Pagination Specified' in two.
_NO_PAGES = ("No", "Specified", "No Pagination Specified")
_DIGITS = re.compile(r"\d{4,8}")
_FOUR_DIGITS = re.compile(r"\d{4}")
# What some programs write after ER.
_END_WORDS = re.compile(r"end of (?:reference|record)\W?", re.I)
_NO_START = "the record has no TY line at its start"
_NO_END = "the record has no ER line at its end; it may be truncated"
_TITLES = frozenset(("TI", "T1", "TITLE"))
# Types of which C3 holds the title of the proceedings; in other types, databases put anything there.
_CONFERENCES = ("CONF", "CPAPER")


def recognise(source: Source) -> bool:
    """Return whether a file contains RIS records.

    In a RIS file, a TY line begins a record, and an ER line ends it. A file without TY lines is recognised if it begins
    with another tag and contains an ER line.
    """
    head = source.head
    return bool(_START.search(head) or _NARROW_START.search(head) or _HEADLESS.match(head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per record.

    A record without the first tag (TY) or the last tag (ER) is kept, and a note reports that the tag is missing.
    """
    return numbered(_drafts(source), _TITLES)


def _drafts(source: Source) -> Iterator[Draft]:
    for draft in _records(_parts(source)):
        draft.notes += [_NO_START] * ("TY" not in draft.tags()) + [_NO_END] * (not draft.ended)
        yield draft


def _parts(source: Source) -> Iterator[Draft]:
    """Split a RIS file before each TY line and after each ER line, and yield the parts."""
    head = source.head
    match = (_TAG if _START.search(head) or not _NARROW_START.search(head) else _NARROW_TAG).match
    known: dict[str, str] = {}
    draft: Draft | None = None
    outside = Outside()
    for line_number, line in enumerate(source.lines(), start=1):
        # Fast path for nearly all lines; the pattern takes three times as long.
        tag = known.get(line[:2]) if line[2:5] == "  -" else None
        if tag:
            value = line[5:].strip()
        elif found := match(line):
            tag, value = found[1] or found[2], found[3].strip()
            if len(tag) == 2:
                tag = known.setdefault(tag, tag)
        else:
            # Databases print numbers and headings between records.
            if draft:
                draft.continue_with(line)
            else:
                outside.add(line_number, line)
            continue
        if tag == "ER":
            if value and not _END_WORDS.fullmatch(value):
                outside.add(line_number, line)
            if draft:
                draft.ended = True
                yield draft
            draft = None
            continue
        if tag == "TY" and draft:
            yield draft
            draft = None
        draft = draft or Draft(line_number)
        draft.add(tag, value)
    if draft:
        yield draft
    source.notes += outside.notes()


def _records(parts: Iterator[Draft]) -> Iterator[Draft]:
    """Join the parts of a RIS file that belong to the same record, and yield the records."""
    # Some programs write tags before TY or after ER.
    record: Draft | None = None
    head: Draft | None = None  # tags that neither TY starts nor ER ends
    early = False
    for part in parts:
        if head:
            if _titled(head) and _titled(part):
                if record:
                    yield record
                record = head
            elif record is None or early or _titled(head):
                early = True
                head.absorb(part)
                part = head
            else:
                record.absorb(head)
            head = None
        if "TY" not in part.tags() and not part.ended:
            head = part
            continue
        if record:
            yield record
        record = part
    if head and record and not _titled(head):
        record.absorb(head)
        head = None
    yield from filter(None, (record, head))


def _titled(draft: Draft) -> bool:
    return not _TITLES.isdisjoint(draft.tags())


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the tags of a RIS record to attributes of `records.Record`.

    If several tags contain a value for the same attribute, the most specific tag is used.
    """
    fields = [(LONG_TAGS.get(tag, tag), value) for tag, value in fields]
    values = by_tag(fields)
    title = first(values, "TI", "T1", "CT")
    start, end = first(values, "SP", "PG", "C7", "AR"), first(values, "EP")
    # Web of Science dates articles that have no issue yet in EA.
    years = [value for tag in ("PY", "Y1", "DA", "EA") for value in values.get(tag, ())]
    return {
        "title": title or first(values, "BT"),
        # Some systems repeat the tag for each section.
        "abstract": "\n\n".join(values.get("AB") or values.get("N2") or ()),
        "authors": lines_of(_authors(fields, values)),
        "year": next(filter(_FOUR_DIGITS.search, years), next(iter(years), None)),
        "journal": _journal(values, "BT" if title else ""),
        "volume": first(values, "VL"),
        "issue": first(values, "IS", "CP"),
        # Scopus and Web of Science number articles instead of pages.
        "pages": page_range(None if start in _NO_PAGES else start, None if end in _NO_PAGES else end),
        "doi": _doi(values),
        "pmid": _pmid(values),
        "keywords": lines_of(values.get("KW", [])),
        "type": first(values, "TY"),
        "language": first(values, "LA"),
        "url": (first(values, "UR") or "").split(" ")[0],
    }


def _journal(values: Mapping[str, list[str]], book: str) -> str | None:
    """Return the title of the journal, book, proceedings or series, or ``None`` if there is no such title."""
    proceedings = "C3" if first(values, "TY") in _CONFERENCES else ""
    return first(values, "JF", "T2", "JO", "JA", "J1", "J2", book, proceedings, "SO", "T3")


def _authors(fields: Sequence[tuple[str, Any]], values: Mapping[str, list[str]]) -> list[str]:
    """Return the authors in tags AU and A1.

    If AU contains all authors in A1, only AU is read. If A1 contains all authors in AU, only A1 is read.
    """
    authors, primary = values.get("AU", []), values.get("A1", [])
    if set(primary) <= set(authors):
        return authors
    if set(authors) <= set(primary):
        return primary
    return [value for tag, value in fields if tag in ("AU", "A1")]


def _doi(values: Mapping[str, list[str]]) -> str | None:
    """Return the field value that contains the DOI of a record, or ``None`` if no value contains a DOI."""
    # Some programs do not use DO: EBSCO uses L3; others use M3, or write the DOI only as part of a link.
    for tag in ("DO", "DI", "L3", "M3"):
        for value in values.get(tag, ()):
            if "10." in value:
                return value
    for value in values.get("N1", ()):
        if _MARKED_DOI.fullmatch(value):
            return value
    links = (value for tag in ("UR", "L2", "LK") for value in values.get(tag, ()))
    return next((link for link in links if _DOI_LINK.search(link)), None)


def _pmid(values: Mapping[str, list[str]]) -> str | None:
    """Return the PubMed id of a record, or ``None`` if the record has no PubMed id."""
    if "PMID" in values:
        return values["PMID"][0]
    for tag in ("AN", "C3", "C5", "U1", "U2", "UR", "L2"):
        for value in values.get(tag, ()):
            if marked := _MARKED_PMID.search(value):
                return marked[1] or marked[2]
    # No number is marked as a PubMed id, so use the tag in which the database of the record writes these ids.
    database = " ".join([*values.get("DB", ()), *values.get("DP", ())]).lower()
    if not database:
        return None
    embase, medline = "embase" in database, any(name in database for name in ("medline", "pubmed", "nlm"))
    tags = ("C5",) * (embase or medline) + ("AN",) * (medline and not embase)
    return next((value for tag in tags for value in values.get(tag, ()) if _DIGITS.fullmatch(value)), None)


FORMAT = Format("RIS", recognise, read, clean)
