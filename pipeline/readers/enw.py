"""EndNote's import format (.enw), 'refer' by origin: '%A name' on each line.

No library on PyPI reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.readers.base import Entry, Format, Source
from pipeline.readers.tagged import Draft, by_tag, first, lines_of

_TAG = re.compile(r"\ufeff?%([0-9A-Z@!#$&*()+^<>=\[~?])(?:[ \t]+(.*)|$)")
_START = re.compile(r"\A\s*\ufeff?%[0-9A-Z@][ \t]+\S|^%0[ \t]+[A-Z]\w+", re.M)


def recognise(source: Source) -> bool:
    """Whether the file begins with a tag, or a line tells the type of a record."""
    return bool(_START.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Cut a file into records at %0, the type; one without is kept, with a note."""
    draft: Draft | None = None
    for line_number, line in enumerate(map(str.rstrip, source.lines()), start=1):
        found = _TAG.match(line)
        if not found:
            if draft:
                draft.continue_with(line)
        elif found[1] == "0" or draft is None:
            if draft:
                yield draft.entry()
            notes = [] if found[1] == "0" else ["no %0 line at its start"]
            draft = Draft(draft.number + 1 if draft else 1, line_number, notes)
            draft.add(f"%{found[1]}", (found[2] or "").strip())
        else:
            draft.add(f"%{found[1]}", (found[2] or "").strip())
    if draft:
        yield draft.entry()


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map tags to attributes of a record."""
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
