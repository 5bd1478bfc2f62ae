"""Read RefWorks' tagged text.

Each line has a tag of two letters, a space and a value. A record starts with the tag RT. No library on PyPI reads this
format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.tagged import Draft, Entry, Format, Outside, by_tag, first, lines_of, numbered, page_range

_TAG = re.compile(r"\ufeff?([A-Z][A-Z0-9])(?:[ \t]+(.*)|$)")
# All that RefWorks documents, so that a line of an abstract that begins 'WE asked' stays a part of it.
_TAGS = frozenset(
    "RT SR ID A1 T1 JF JO YR FD VO IS SP OP K1 AB NO A2 T2 ED PB PP A3 A4 A5 T3 SN AV AD AN LA CL SF OT LK DO CN DB DS"
    " IP RD ST U1 U2 U3 U4 U5 U6 U7 U8 U9 UL SL LL CR WT A6 WV WP OL".split()
)
_START = re.compile(r"^\ufeff?RT[ \t]+[A-Z][A-Za-z, /]+$(?=(?:\n.*){0,60}?\n(?:T1|A1|T2)[ \t])", re.M)


def recognise(source: Source) -> bool:
    """Return whether a file has a line with a reference type (tag RT), followed by a title or an author."""
    return bool(_START.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per record; a record starts at the tag RT.

    If there are tags before the first RT, they form a record. A note then reports the missing RT.
    """
    return numbered(_drafts(source), ("T1",))


def _drafts(source: Source) -> Iterator[Draft]:
    draft: Draft | None = None
    outside = Outside()
    for line_number, line in enumerate(map(str.rstrip, source.lines()), start=1):
        found = _TAG.match(line)
        tag = found[1] if found and found[1] in _TAGS else ""
        if not found or not tag:
            if draft:
                draft.continue_with(line)
            else:
                outside.add(line_number, line)
            continue
        if tag == "RT" or draft is None:
            if draft:
                yield draft
            notes = [] if tag == "RT" else ["the record has no RT line at its start"]
            draft = Draft(line_number, notes)
        draft.add(tag, (found[2] or "").strip())
    if draft:
        yield draft
    source.notes += outside.notes()


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the tags of a RefWorks record to attributes of `records.Record`."""
    values = by_tag(fields)
    source = " ".join([*values.get("DB", ()), *values.get("DS", ()), *values.get("SF", ())]).lower()
    links = [value for tag in ("LK", "UL") for value in values.get(tag, ())]
    return {
        "title": first(values, "T1", "OT", "T2"),
        "abstract": "\n\n".join(values.get("AB", ())),
        "authors": lines_of(values.get("A1", ())),
        "year": first(values, "YR", "FD"),
        "journal": first(values, "JF", "JO", "T2"),
        "volume": first(values, "VO"),
        "issue": first(values, "IS"),
        "pages": page_range(first(values, "SP"), first(values, "OP")),
        "doi": first(values, "DO") or next((link for link in links if "doi.org/10." in link), None),
        "pmid": first(values, "AN") if "medline" in source or "pubmed" in source else None,
        "keywords": lines_of(values.get("K1", ())),
        "type": first(values, "RT"),
        "language": first(values, "LA"),
        "url": next(iter(links), None),
    }


FORMAT = Format("RefWorks (tagged)", recognise, read, clean)
