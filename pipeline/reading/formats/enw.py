"""Read EndNote's import format (.enw), which has lines such as '%A name'.

The program 'refer' was the first to use this format. No library on PyPI reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.tagged import Draft, Entry, Format, Outside, by_tag, first, lines_of, numbered

_TAG = re.compile(r"\ufeff?%([0-9A-Z@!#$&*()+^<>=\[~?])(?:[ \t]+(.*)|$)")
_START = re.compile(r"\A\s*\ufeff?%[0-9A-Z@][ \t]+\S|^%0[ \t]+[A-Z]\w+", re.M)


def recognise(source: Source) -> bool:
    """Return whether a file starts with a tag such as %A, or contains a line with the type of a record (%0)."""
    return bool(_START.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per record; a record starts at the line with its type (%0).

    If this line is missing, the record starts after an empty line, and a note reports that the line is missing.
    """
    return numbered(_drafts(source), ("%T",))


def _drafts(source: Source) -> Iterator[Draft]:
    draft: Draft | None = None
    outside = Outside()
    after_gap = typed = False
    for line_number, line in enumerate(map(str.rstrip, source.lines()), start=1):
        found = _TAG.match(line)
        if not found:
            if draft:
                draft.continue_with(line)
            else:
                outside.add(line_number, line)
            after_gap = after_gap or not line
            continue
        again = found[1] == "0" and draft is not None and "%0" in draft.tags()
        if draft is None or again or (after_gap and not typed):
            if draft:
                yield draft
            typed = found[1] == "0"
            notes = [] if typed else ["the record has no %0 line at its start"]
            draft = Draft(line_number, notes)
        draft.add(f"%{found[1]}", (found[2] or "").strip())
        after_gap = False
    if draft:
        yield draft
    source.notes += outside.notes()


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the tags of a record (such as %A) to attributes of `records.Record`."""
    values = by_tag(fields)
    return {
        "title": first(values, "%T"),
        "abstract": first(values, "%X"),
        "authors": lines_of(values.get("%A", [])),
        "year": first(values, "%D", "%8"),
        "journal": first(values, "%J", "%B"),
        "volume": first(values, "%V"),
        "issue": first(values, "%N"),
        "pages": first(values, "%P"),
        "doi": first(values, "%R"),
        "keywords": lines_of(values.get("%K", [])),
        "type": first(values, "%0"),
        "language": first(values, "%G"),
        "url": first(values, "%U"),
    }


FORMAT = Format("EndNote import (enw)", recognise, read, clean)
