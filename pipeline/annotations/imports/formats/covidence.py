"""Read exports of Covidence: lists of studies with tags, and tables of extracted data.

Decisions on relevance are not read, because no column states whether the studies were included or excluded.
"""

from __future__ import annotations

from collections.abc import Iterator

from mechtag.pipeline.annotations.cited_papers import fold
from mechtag.pipeline.annotations.imports.formats import matrix
from mechtag.pipeline.annotations.imports.formats.base import (
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    cells_of,
    faulty,
    paper_of_entry,
)


def recognise(content: Content) -> bool:
    """Return whether a file is a table with Covidence's column of study numbers."""
    return content.kind == "table" and "covidence" in map(fold, content.names)


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one item per row; a row contains the tags of a study, or the answers in an extraction form.

    Raises the same errors as `matrix.read`.
    """
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
