"""Read the text by which people code a record at a stage: the abstract or the full text of the record."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Table, exists, or_, select

from mechtag.core.full_text import FullText
from mechtag.core.records import BETWEEN_QUOTES, Sign
from mechtag.review.store import schema
from mechtag.review.store.events import family_of
from mechtag.review.store.records import Entry


class Line(NamedTuple):
    """The position of a sentence in a text.

    Attributes
    ----------
    start, end
        Offsets in the text; the sentence is ``text[start:end]``.
    section
        Heading of the section that contains the sentence; empty if there is no heading.
    page
        Label of the page on which the sentence begins; empty if the text has no pages.
    """

    start: int
    end: int
    section: str
    page: str


@dataclass(frozen=True)
class Reading:
    """A text from which people code a record: an abstract or a full text.

    Attributes
    ----------
    sentences
        Positions of the sentences, in the order of the text. Codes refer to a sentence by its index in this tuple.
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
        """Return the text of the sentence with the given number, counted from 0."""
        line = self.sentences[number]
        return self.text[line.start : line.end]

    def quote(self, numbers: Iterable[int]) -> str:
        """Return the text of some sentences, joined as in the field ``evidence`` of a coding.

        Numbers to which no sentence belongs are ignored.
        """
        return BETWEEN_QUOTES.join(self.sentence(number) for number in numbers if number < len(self.sentences))


def abstract_of(entry: Entry) -> Reading:
    """Return the abstract of a record with the positions of its sentences."""
    return Reading(entry.abstract, tuple(Line(start, end, section, "") for start, end, section in entry.sentences))


def read_reading(connection: Connection, entry: Entry, stage: str) -> Reading:
    """Return the text from which people code a record at a stage.

    At the stage ``full-text``, the result is the full text, which may be attached to a duplicate of the record. If
    there is no full text, the result has an empty text. At all other stages, the result is the abstract.
    """
    if stage != "full-text":
        return abstract_of(entry)
    return _reading_of(attached_file(connection, entry.id))


def sentences_in(row: Any, text: str) -> tuple[int, ...]:
    """Return the numbers of the sentences that a person marked in the given text.

    If the person marked sentences in a different full text, the result is empty. For example, that full text may belong
    to a duplicate that was later separated from the record. If the code does not name a full text, because it was
    written by an early version of mechtag, its sentences are returned.

    Parameters
    ----------
    row
        Code of a label: a row of table ``current`` or ``final``.
    text
        SHA-256 of the given full text; ``""`` for the abstract.
    """
    return tuple(json.loads(row.sentences)) if row.text in ("", text) or not text else ()


def signs_of(row: Any, sentences: Iterable[int]) -> dict[int, Sign]:
    """Return the signs of the given sentences (``present``, ``absent`` or ``unclear``), keyed by sentence number.

    ``row`` is a row of table ``current`` or ``final``. Sentences without a sign are left out.
    """
    signs = json.loads(row.signs)
    return {number: signs[str(number)] for number in sentences if str(number) in signs}


def roles_of(row: Any, sentences: Iterable[int]) -> dict[int, dict[str, list[int]]]:
    """Return the roles of evidence of the given sentences, as stored in a row of table ``current``.

    Returns
    -------
    dict
        One dict per sentence, keyed by the number of the sentence. Sentences without a role are left out. The keys of
        the inner dict are the roles of the sentence. The values are the numbers of the configurations in which the
        sentence has the role.
    """
    roles = json.loads(row.roles)
    return {number: roles[str(number)] for number in sentences if str(number) in roles}


def read_file(connection: Connection, sha256: str) -> Reading:
    """Return the text and sentences of a full-text file; both are empty if table ``full_text`` has no row for it."""
    table = schema.full_text
    return _reading_of(connection.execute(select(table).where(table.c.sha256 == sha256)).one_or_none())


def _reading_of(row: Any) -> Reading:
    """Convert a row of table ``full_text`` to a `Reading`; for ``None``, return a `Reading` with an empty text."""
    return Reading("", ()) if row is None else Reading(row.text, read_lines(row.sentences), row.name, row.sha256)


def read_lines(sentences: str) -> tuple[Line, ...]:
    """Convert the JSON in the column ``sentences`` of table ``full_text`` to positions of sentences."""
    return tuple(Line(*line) for line in json.loads(sentences))


def full_text_of(row: Any, record_id: str) -> FullText:
    """Convert a row of table ``full_text`` to a `FullText` object for the record with the given id."""
    return FullText.model_validate({**json.loads(row.document), "text": row.text, "record_id": record_id})


def attached_file(connection: Connection, record: int) -> Any:
    """Return the row of table ``full_text`` for the full text of a record.

    The file of the full text may be attached to a different record that was joined with this record. If there is no
    file, or if mechtag has not read the file, the result is ``None``.
    """
    return _attached(connection, record, schema.full_text).one_or_none()


def is_readable(record: ColumnElement[int]) -> ColumnElement[bool]:
    """Return an SQL condition that holds if a record has a full text with at least one sentence.

    ``record`` is a column of record numbers. For a duplicate, it must contain the number of the record into which the
    duplicate was joined. The full text may be attached to the record or to its duplicates.
    """
    table, attachment, joined = schema.full_text, schema.attachment, schema.joined
    return (
        exists()
        .select_from(table.join(attachment, attachment.c.sha256 == table.c.sha256))
        .where(
            or_(
                attachment.c.record == record,
                attachment.c.record.in_(
                    select(joined.c.record).where(joined.c.into == record).correlate_except(joined)
                ),
            ),
            attachment.c.is_read == 1,
            table.c.state == "read",
            table.c.sentences != "[]",
        )
        .correlate_except(table, attachment)
    )


def hash_of_text(connection: Connection, record: int, stage: str) -> str:
    """Return the SHA-256 of the full text from which people code a record at a stage.

    If the stage is not ``full-text``, or if the record has no full text, the result is ``""``.
    """
    if stage != "full-text":
        return ""
    return _attached(connection, record, schema.full_text.c.sha256).scalar_one_or_none() or ""


def _attached(connection: Connection, record: int, what: Table | Column[Any]) -> Any:
    table, attachment = schema.full_text, schema.attachment
    _, members = family_of(connection, record)
    return connection.execute(
        select(what)
        .select_from(table)
        .join(attachment, attachment.c.sha256 == table.c.sha256)
        .where(attachment.c.record.in_(members), attachment.c.is_read == 1, table.c.state == "read")
    )
