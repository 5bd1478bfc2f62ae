"""Read the text that people code at a stage: the abstract of a record, or its full text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, select

from mechtag.core.full_text import FullText
from mechtag.review.store import schema
from mechtag.review.store.events import family_of
from mechtag.review.store.records import Entry


class Line(NamedTuple):
    """A sentence of a text: its offsets, the section that it belongs to, and the label of the page it starts on.

    ``page`` is empty if the text has no pages.
    """

    start: int
    end: int
    section: str
    page: str


@dataclass(frozen=True)
class Reading:
    """A text that people code.

    Attributes
    ----------
    sentences
        Sentences in the order of the text; codes refer to them by number, counted from 0.
    file
        Name of the file of a full text; empty for an abstract.
    sha256
        SHA-256 of the file; empty for an abstract.
    """

    text: str
    sentences: tuple[Line, ...]
    file: str = ""
    sha256: str = ""

    def sentence(self, number: int) -> str:
        """Return the text of a sentence."""
        line = self.sentences[number]
        return self.text[line.start : line.end]

    def quote(self, numbers: Iterable[int]) -> str:
        """Return several sentences, with a space between them; missing sentences are left out."""
        return " ".join(self.sentence(number) for number in numbers if number < len(self.sentences))


def read_reading(connection: Connection, entry: Entry, stage: str) -> Reading:
    """Return the text of a record at a stage; if the record has no full text, that of the full text is empty.

    The full text may be attached to a duplicate that was joined to the record.
    """
    if stage != "full-text":
        lines = tuple(Line(start, end, section, "") for start, end, section in entry.sentences)
        return Reading(entry.abstract, lines)
    row = attached_file(connection, entry.id)
    if row is None:
        return Reading("", ())
    return Reading(row.text, read_lines(row.sentences), row.name, row.sha256)


def read_lines(sentences: str) -> tuple[Line, ...]:
    """Return the sentences of a full text from the column ``sentences`` of table ``full_text``."""
    return tuple(Line(*line) for line in json.loads(sentences))


def full_text_of(row: Any, record_id: str) -> FullText:
    """Return a row of table ``full_text`` as the full text of a record."""
    return FullText.model_validate({**json.loads(row.document), "text": row.text, "record_id": record_id})


def attached_file(connection: Connection, record: int) -> Any:
    """Return the row of table ``full_text`` of the file that is attached to a record or to one of its duplicates.

    Returns ``None`` if there is no such file, or its text has not been read.
    """
    table, attachment = schema.full_text, schema.attachment
    _, members = family_of(connection, record)
    own = case((attachment.c.record == record, 0), else_=1)
    return connection.execute(
        select(table)
        .join(attachment, attachment.c.sha256 == table.c.sha256)
        .where(attachment.c.record.in_(members), table.c.state == "read")
        .order_by(own, attachment.c.event)
        .limit(1)
    ).one_or_none()
