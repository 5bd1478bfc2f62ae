"""What exports of screening programs share: bibliographic fields, and decisions among them."""

from __future__ import annotations

from collections.abc import Mapping

from mechtag.pipeline.annotations.imports.formats.base import Content, Paper, fold, paper_of
from mechtag.pipeline.reading.entries import Entry

# Where notes stand: columns of tables, tags of RIS and EndNote, fields of BibTeX.
_NOTES = ("notes", "note", "n1", "annote")


def paper(entry: Entry, content: Content) -> Paper:
    """Find what names the paper of a record or row."""
    fields = [pair for pair in entry.fields if pair[1]]
    return paper_of(fields, content.clean(fields))


def cells(entry: Entry) -> Mapping[str, str]:
    """Fields of a row by their folded names."""
    return {fold(name): value for name, value in entry.fields if isinstance(value, str)}


def notes(entry: Entry) -> list[str]:
    """All notes of a record or row."""
    return [value for name, value in entry.fields if fold(name) in _NOTES and isinstance(value, str)]
