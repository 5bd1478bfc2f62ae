"""Covidence: lists of studies with tags, and the table of extracted data, per reviewer and consensus.

Whether a list contains included or excluded studies is not in any of its columns, and is not read.
"""

from __future__ import annotations

from collections.abc import Iterator

from mechtag.pipeline.annotations.imports.formats import matrix
from mechtag.pipeline.annotations.imports.formats.base import (
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    cells_of,
    faulty,
    fold,
    paper_of_entry,
)


def recognise(content: Content) -> bool:
    """Return whether there is a column of Covidence numbers."""
    return content.kind == "table" and "covidence" in map(fold, content.names)


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Read the tags of a list, or else the questions of an extraction form; raises as `matrix.read`."""
    if "tags" not in map(fold, content.names):
        yield from matrix.read(content, asked)
        return
    for entry in content.entries:
        if entry.fault:
            yield faulty(entry)
            continue
        tags = asked.labels.split(cells_of(entry)["tags"])
        codes = tuple(Code(tag, 1) for tag in dict.fromkeys(tags))
        finished = ("",) if codes else ()
        yield Item(entry.number, entry.line, paper_of_entry(entry, content), codes, finished)


FORMAT = CodingFormat("Covidence", recognise, read)
