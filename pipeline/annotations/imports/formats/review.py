"""Read the tables that reviewers filled in: ``review.xlsx``, ``tagged.csv`` and ``ranking.csv``."""

from __future__ import annotations

from collections.abc import Iterator

from mechtag.core.tables import DECISION, NOTES, OWN_CODE, read_tick
from mechtag.pipeline.annotations.cited_papers import paper_of
from mechtag.pipeline.annotations.imports.formats.base import Asked, Code, CodingFormat, Content, Item, faulty
from mechtag.pipeline.export.review_rows import column_names
from mechtag.pipeline.reading.tagged import Entry

_PAPER = ("record_id", "title", "doi", "pmid")


def recognise(content: Content) -> bool:
    """Return whether a file has the columns of a ranked table that mechtag wrote."""
    return content.kind == "table" and {"rank", "record_id", DECISION, "title"} <= set(content.names)


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one item per row, with the reviewer's decision and codes; an empty cell means not judged.

    mechtag's suggestions are not read.
    """
    keys = {f"{name}{OWN_CODE}": key for key, name in column_names(asked.labels.codebook.names).items()}
    own = {name: keys.get(name, name.removesuffix(OWN_CODE)) for name in content.names if name.endswith(OWN_CODE)}
    for entry in content.entries:
        yield faulty(entry) if entry.fault else _item(entry, {DECISION: None, **own})


def _item(entry: Entry, columns: dict[str, str | None]) -> Item:
    cells = dict(entry.fields)
    codes, faults = [], []
    for name, label in columns.items():
        try:
            found = read_tick(cells[name])
        except ValueError as error:
            faults.append(f"column {name}: {error}")
            continue
        if found != "unticked":
            codes.append(Code(label, found))
    paper = paper_of([(name, cells[name]) for name in _PAPER if cells.get(name)])
    return Item(entry.number, entry.line, paper, tuple(codes), fault="; ".join(faults), notes=cells.get(NOTES, ""))


FORMAT = CodingFormat("mechtag's table for reviewers", recognise, read)
