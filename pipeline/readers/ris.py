"""RIS, in the dialects of databases and reference managers.

rispy is not used to read: it drops what stands before TY, joins records where ER is
missing, and tells neither line numbers nor the order of tags. Tests compare with it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.readers.base import LONGEST_ENTRY, Entry, Format, Source, overlong

# Two letters, two spaces, a hyphen; some programs use tabs or more spaces. A byte order mark may
# stand in the middle of a file that was put together from several.
_TAG = re.compile(r"[ \t\ufeff]*([A-Z][A-Z0-9])(?:[ \t]{2,}|\t)-(.*)")
# Only where the whole file is written so: 'AB - ' may begin any line of an abstract.
_NARROW_TAG = re.compile(r"[ \t\ufeff]*([A-Z][A-Z0-9]) ?-(.*)")
_START = re.compile(r"^[ \t\ufeff]*TY(?:[ \t]{2,}|\t)-", re.M)
_NARROW_START = re.compile(r"^[ \t\ufeff]*TY ?-[ \t]*[A-Z]{3,}[ \t]*$", re.M)
_HEADLESS = re.compile(r"[\s\ufeff]*[A-Z][A-Z0-9](?:[ \t]{2,}|\t)-.*^ER(?:[ \t]{2,}|\t)-", re.M | re.S)

_DOI_LINK = re.compile(r"doi\.org/10\.", re.I)
_MARKED_PMID = re.compile(
    r"(?:\b(?:PubMed|PMID)\s*:?\s*|ncbi\.nlm\.nih\.gov/(?:m/)?pubmed/|pubmed\.ncbi\.nlm\.nih\.gov/)(\d{4,9})\b"
    r"|\b(\d{4,9})\s*\[pmid\]",
    re.I,
)
# Ovid cuts 'No Pagination Specified' in two.
_NO_PAGES = ("No", "Specified", "No Pagination Specified")
_DIGITS = re.compile(r"\d{4,8}")
_NO_START = "no TY line at its start"
_FEW = 20


def recognise(source: Source) -> bool:
    """Whether a line starts a RIS record, or the file is a record without its first line."""
    head = source.head
    return bool(_START.search(head) or _NARROW_START.search(head) or _HEADLESS.match(head))


class _Draft:
    """A record being read; the lines that continue its last field are kept apart until that is done."""

    __slots__ = ("continued", "ended", "fields", "length", "line", "notes", "number")

    def __init__(self, number: int, line: int, notes: tuple[str, ...] = ()) -> None:
        self.number, self.line, self.notes, self.ended, self.length = number, line, notes, False, 0
        self.fields: list[tuple[str, str]] = []
        self.continued: list[str] = []

    def add(self, tag: str, value: str) -> None:
        if self.continued:
            self._join()
        self.length += len(value)
        if self.length <= LONGEST_ENTRY:
            self.fields.append((tag, value))

    def go_on(self, line: str) -> None:
        self.length += len(line) + 1
        if self.length <= LONGEST_ENTRY:
            self.continued.append(line)

    def _join(self) -> None:
        tag, value = self.fields[-1]
        self.fields[-1] = (tag, "\n".join((value, *self.continued)).rstrip())
        self.continued.clear()

    def entry(self, stray: _Draft | None = None) -> Entry:
        if self.continued:
            self._join()
        if self.length > LONGEST_ENTRY:
            return overlong(self.number, self.line, "\n".join(map(" - ".join, self.fields[:_FEW])))
        notes = self.notes if self.ended else (*self.notes, "no ER line at its end; it may be cut short")
        return Entry(self.number, self.line, self.fields + (stray.fields if stray else []), notes=notes)


def read(source: Source) -> Iterator[Entry]:
    """Cut a file into records; those without TY or ER are kept, with a note."""
    head = source.head
    match = (_TAG if _START.search(head) or not _NARROW_START.search(head) else _NARROW_TAG).match
    known: dict[str, str] = {}
    draft: _Draft | None = None
    # Tags between ER and the next TY: of the record before, or, if they have an ER of their own, a record.
    stray: _Draft | None = None
    number = 0
    for line_number, line in enumerate(source.lines(), start=1):
        # Nearly all lines are like this; the pattern takes three times as long.
        tag = known.get(line[:2]) if line[2:5] == "  -" else None
        if tag:
            value = line[5:].strip()
        elif found := match(line):
            tag, value = known.setdefault(found[1], found[1]), found[2].strip()
        else:
            # Between records stand numbers and headings of the database.
            if draft and not draft.ended:
                draft.go_on(line.strip())
            continue
        if tag == "ER":
            if draft and stray:
                yield draft.entry()
                draft, stray, number = stray, None, number + 1
            if draft:
                draft.ended = True
        elif tag == "TY" or draft is None:
            if draft:
                yield draft.entry(stray)
            number, stray = number + 1, None
            draft = _Draft(number, line_number, () if tag == "TY" else (_NO_START,))
            draft.add(tag, value)
        elif draft.ended:
            stray = stray or _Draft(number + 1, line_number, (_NO_START,))
            stray.add(tag, value)
        else:
            draft.add(tag, value)
    if draft:
        yield draft.entry(stray)


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map tags to attributes of a record; where tags compete, the more specific one wins."""
    values: dict[str, list[str]] = defaultdict(list)
    for tag, value in fields:
        if value and not (tag in ("SP", "EP") and value in _NO_PAGES):
            values[tag].append(value)

    def first(*tags: str) -> str | None:
        for tag in tags:
            if tag in values:
                return values[tag][0]
        return None

    start, end = first("SP", "PG"), first("EP")
    return {
        "title": first("TI", "T1", "CT", "BT"),
        # Some systems give each section a tag of its own.
        "abstract": "\n\n".join(values.get("AB") or values.get("N2") or ()),
        "authors": _split([value for tag, value in fields if tag in ("AU", "A1")]),
        "year": next((value for tag in ("PY", "Y1", "DA") for value in values.get(tag, ()) if _has_year(value)), None),
        "journal": first("JF", "T2", "JO", "JA", "J1", "J2"),
        "volume": first("VL"),
        "issue": first("IS", "CP"),
        "pages": f"{start}-{end}" if start and end and start != end else start or end,
        "doi": _doi(values),
        "pmid": _pmid(values),
        "keywords": _split(values.get("KW", [])),
        "type": first("TY"),
        "language": first("LA"),
        "url": (first("UR") or "").split(" ")[0],
    }


def _has_year(value: str) -> bool:
    return re.search(r"\d{4}", value) is not None


def _split(values: Sequence[str]) -> list[str]:
    """Cut lists that stand in one field, by semicolons or one a line."""
    joined = "\n".join(values)
    return (joined.replace(";", "\n") if ";" in joined else joined).split("\n")


def _doi(values: Mapping[str, list[str]]) -> str | None:
    """EBSCO writes the DOI to L3, others to M3 or only as a link."""
    for tag in ("DO", "DI", "L3", "M3"):
        for value in values.get(tag, ()):
            if "10." in value:
                return value
    links = (value for tag in ("UR", "L2", "LK") for value in values.get(tag, ()))
    return next((link for link in links if _DOI_LINK.search(link)), None)


def _pmid(values: Mapping[str, list[str]]) -> str | None:
    """Find a number that is marked as a PubMed id, or stands where the named database puts it."""
    for tag in ("AN", "C3", "C5", "U1", "U2", "UR", "L2"):
        for value in values.get(tag, ()):
            if marked := _MARKED_PMID.search(value):
                return marked[1] or marked[2]
    database = " ".join(values.get("DB", ())).lower()
    tag = "C5" if "embase" in database else "AN" if "medline" in database or "pubmed" in database else ""
    return next((value for value in values.get(tag, ()) if _DIGITS.fullmatch(value)), None)


FORMAT = Format("RIS", recognise, read, clean)
