"""Read Web of Science's tagged text ('Plain Text File', .isi, .ciw).

Tables from Web of Science are read by `delimited` and `xlsx`. No library on PyPI reads the tagged text and keeps line
numbers, repeated tags and unknown tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.tagged import Draft, Entry, Format, Outside, by_tag, first, lines_of, numbered, page_range

# Two letters and a space; continuation lines are indented by three spaces.
_TAG = re.compile(r"\ufeff?([A-Z][A-Z0-9])(?: (.*)|$)")
_START = re.compile(r"\A\s*\ufeff?FN .*\n+VR |^PT [A-Z]\s*$", re.M)
_MEDLINE = re.compile(r"^MEDLINE:(\d+)$")


def recognise(source: Source) -> bool:
    """Return whether a file begins like a Web of Science export, or has a line that starts a Web of Science record."""
    return bool(_START.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per record.

    A record begins with the tag PT and ends with the tag ER. If ER is missing, the record is kept and has a note.
    """
    return numbered(_drafts(source), ("TI",))


def _drafts(source: Source) -> Iterator[Draft]:
    draft: Draft | None = None
    outside = Outside()
    for line_number, line in enumerate(map(str.rstrip, source.lines()), start=1):
        found = _TAG.match(line)
        if not found:
            if draft:
                draft.continue_with(line)
            else:
                outside.add(line_number, line)
            continue
        tag = found[1]
        if tag in ("ER", "EF") and found[2]:
            outside.add(line_number, line)
        if tag in ("FN", "VR", "EF") and draft is None:
            continue
        if tag in ("ER", "EF", "PT") and draft:
            if tag != "ER":
                draft.notes.append("the record has no ER line at its end; it may be truncated")
            yield draft
            draft = None
        if tag not in ("ER", "EF"):
            if draft is None:
                draft = Draft(line_number, [] if tag == "PT" else ["the record has no PT line at its start"])
            draft.add(tag, (found[2] or "").strip())
    if draft:
        draft.notes.append("the record has no ER line at its end; it may be truncated")
        yield draft
    source.notes += outside.notes()


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the tags of a Web of Science record to attributes of `records.Record`.

    Full names of authors are preferred to names with initials.
    """
    values = by_tag(fields)
    medline = _MEDLINE.match(first(values, "UT") or "")
    return {
        "title": first(values, "TI"),
        "abstract": first(values, "AB"),
        "authors": lines_of(values.get("AF") or values.get("AU") or ()),
        "year": first(values, "PY", "EY", "EA", "PD"),
        "journal": first(values, "SO", "JI", "J9"),
        "volume": first(values, "VL"),
        "issue": first(values, "IS"),
        "pages": first(values, "PS") or page_range(first(values, "BP", "AR"), first(values, "EP")),
        "doi": first(values, "DI"),
        "pmid": medline[1] if medline else first(values, "PM"),
        # Semicolons separate keywords; one keyword may span two lines.
        "keywords": [word for tag in ("DE", "ID") for text in values.get(tag, ()) for word in text.split(";")],
        "type": (first(values, "DT") or "").strip("-"),
        "language": first(values, "LA"),
    }


FORMAT = Format("Web of Science (tagged)", recognise, read, clean)
