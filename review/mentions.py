"""Find the comments and notes in which somebody wrote a person's name after an ``@``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select

from mechtag.review.acts import MENTION_READ
from mechtag.review.plan import STAGES
from mechtag.review.sight import is_hidden
from mechtag.review.store import schema
from mechtag.review.store.events import is_undone

# Largest number of mentions in the list of a person.
_MOST = 20


@dataclass(frozen=True)
class Mention:
    """A comment or note that mentions a person.

    Attributes
    ----------
    event
        Number of the event (entry of the log) that contains the comment or note.
    record, title
        Number and title of the record.
    by
        Name of the writer.
    at
        Time in UTC (ISO 8601).
    text
        Text of the comment or note.
    """

    event: int
    record: int
    title: str
    by: str
    at: str
    text: str


def mentions_of(connection: Connection, coder: int, name: str) -> list[Mention]:
    """Return the latest notes and comments that mention a person, the newest first.

    Mentions that the person removed from the list are left out. If the person can still judge a record, mentions on
    this record are left out, because they may reveal other people's judgements. Only the current text of a note is
    searched.

    Parameters
    ----------
    coder, name
        Account number and name of the person.
    """
    event, account, record, done = schema.event, schema.account, schema.record, schema.event.alias()
    text = func.json_extract(event.c.value, "$.text")
    audience = func.coalesce(func.json_extract(event.c.value, "$.for"), "team")
    note = schema.note
    is_now = exists().where(note.c.event == event.c.seq)
    read = exists().where(
        done.c.kind == MENTION_READ, done.c.coder == coder, func.json_extract(done.c.value, "$.mention") == event.c.seq
    )
    rows = connection.execute(
        select(event.c.seq, event.c.record, event.c.at, event.c.value, account.c.name, record.c.title)
        .join(account, account.c.id == event.c.coder)
        .join(record, record.c.id == event.c.record)
        .where(
            event.c.kind.in_(("comment", "note")),
            event.c.coder != coder,
            audience != "me",
            func.instr(text, "@") > 0,
            (event.c.kind == "comment") | is_now,
            ~is_undone(event.c.act),
            ~read,
        )
        .order_by(event.c.seq.desc())
    )
    found = list[Mention]()
    for row in rows:
        written = str(json.loads(row.value)["text"])
        if not names(written, name) or any(is_hidden(connection, row.record, stage, coder) for stage in STAGES):
            continue
        found.append(Mention(row.seq, row.record, row.title, row.name, row.at, written))
        if len(found) == _MOST:
            break
    return found


def names(text: str, name: str) -> bool:
    """Return whether a text contains ``@`` followed by a person's name, ignoring case."""
    return re.search(rf"@{re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
