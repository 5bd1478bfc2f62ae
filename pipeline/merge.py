"""One record out of several of one paper: the fullest, with what it lacks taken from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.records import Record

# What is taken from another record where the kept one has nothing.
FIELDS = (
    *("abstract", "authors", "year", "journal", "volume", "issue", "pages"),
    *("doi", "pmid", "keywords", "type", "language", "url"),
)


class Filled(NamedTuple):
    """A field that the kept record lacked, and the record that it was taken from."""

    field: str
    giver: Record


def fullness(record: Record) -> tuple[int, int, int]:
    """Order records by how many fields they fill, then by the length of abstract and list of authors."""
    filled = sum(bool(getattr(record, name)) for name in FIELDS)
    return filled, len(record.abstract), len(record.authors)


def merge(members: Sequence[Record]) -> tuple[Record, tuple[Filled, ...]]:
    """Fill what the first member lacks.

    Parameters
    ----------
    members
        The record to keep first, the others in the order in which they are asked. None of
        its own values changes, and ``raw`` stays as it was read.
    """
    kept, *others = members
    values: dict[str, Any] = {}
    filled = []
    for field in FIELDS:
        giver = None if getattr(kept, field) else next((other for other in others if getattr(other, field)), None)
        if giver:
            values[field] = getattr(giver, field)
            filled.append(Filled(field, giver))
    return (kept.model_copy(update=values) if values else kept), tuple(filled)
