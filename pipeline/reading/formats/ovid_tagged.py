"""Read Ovid's tagged text ('Reprint/Medlars').

A record starts with a number such as '<1. >', and each field starts with a tag of two letters. No library on PyPI reads
this format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.formats import ovid
from mechtag.pipeline.reading.tagged import Draft, Entry, Format, Outside, by_tag, first, numbered

# The end of the line may be damaged or missing.
_NUMBER = re.compile(r"\ufeff?\s*<\d+\. ?>(?:\W*$|(?=[A-Z][A-Z0-9]{1,2} {1,3}- ))")
# Programs indent continuation lines by more than three spaces, so a tag has at most three in front of it.
_TAG = re.compile(r"\ufeff?[ \t]{0,3}([A-Z][A-Z0-9]{1,2}) {1,3}-(?: (.*)|$)")
_START = re.compile(
    r"^\ufeff?[ \t]*<\d+\. ?>[ \t]*\n\s*(?!TY)[A-Z][A-Z0-9]{1,2} {1,3}- |^\ufeff?VN {1,2}- Ovid Technologies", re.M
)
_PAGES = re.compile(r"\bpp?\. ?([\w-]+)")
_KEYWORDS = ("KW", "KP", "ID", "MH", "SH", "HW")


def recognise(source: Source) -> bool:
    """Return whether a file has a record number followed by a tag, or a line that names Ovid as the vendor."""
    return bool(_START.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per record.

    A record starts at a record number. It also starts at the tag VN, unless VN is the first tag after a record number.
    """
    return numbered(_drafts(source), ("TI",))


def _drafts(source: Source) -> Iterator[Draft]:
    draft: Draft | None = None
    outside = Outside()
    for line_number, line in enumerate(map(str.rstrip, source.lines()), start=1):
        numbered = _NUMBER.match(line)
        found = _TAG.match(line, numbered.end() if numbered else 0)
        if numbered or (found and found[1] == "VN" and draft and draft.tags()) or (found and draft is None):
            if draft:
                yield draft
            draft = Draft(line_number)
        if found and draft:
            draft.add(found[1], (found[2] or "").strip())
        elif draft:
            draft.continue_with(line)
        else:
            outside.add(line_number, line)
    if draft:
        yield draft
    source.notes += outside.notes()


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the tags of an Ovid record to attributes of `records.Record`.

    Full names of authors are preferred to names with initials.
    """
    values = by_tag(fields)
    source = " ".join((first(values, "SO", "BT") or "").split())
    place = ovid.SOURCE.match(source)
    found = place.groupdict() if place else {}
    pages = _PAGES.search(source)
    medline = any(name in " ".join(values.get("DB", ())).lower() for name in ("medline", "pubmed"))
    return {
        "title": ovid.without_kind(first(values, "TI", "BT") or ""),
        "abstract": "\n\n".join(values.get("AB", ())),
        "authors": ovid.split_names("\n".join(values.get("FA") or values.get("AU") or ())),
        "year": first(values, "YR") or ovid.last_year(source) or first(values, "DP", "DG", "PD", "EP"),
        "journal": first(values, "JN", "JT", "JA", "TA") or found.get("journal"),
        "volume": first(values, "VI", "VO") or found.get("volume"),
        "issue": first(values, "IP") or found.get("issue"),
        "pages": first(values, "PG") or (pages and pages[1]) or found.get("pages") or found.get("late"),
        "doi": next((value for tag in ("DO", "DI") for value in values.get(tag, ()) if "10." in value), None),
        "pmid": first(values, "PM", "UI", "AN") if medline else first(values, "PM"),
        "keywords": [word for tag in _KEYWORDS for text in values.get(tag, ()) for word in re.split(r"[;\n]", text)],
        "type": "; ".join(values.get("PT", ())),
        "language": first(values, "LG", "LA"),
        "url": first(values, "JL", "LK"),
    }


FORMAT = Format("Ovid (tagged)", recognise, read, clean)
