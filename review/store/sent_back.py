"""Find the records that an adjudicator or owner sent back to a coder, and the messages to this coder."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, or_, select

from mechtag.review.store import schema
from mechtag.review.store.events import is_undone


@dataclass(frozen=True)
class SentBack:
    """A record that was sent back to a coder, and that this coder has not finished since.

    Attributes
    ----------
    by
        Name of the person who sent the record back.
    """

    record: int
    title: str
    stage: str
    by: str
    message: str
    at: str


def sent_back(
    connection: Connection, coder: int, *, stage: str | None = None, record: int | None = None
) -> list[SentBack]:
    """Return the records that were sent back to a person and that this person has not yet finished again.

    The record that was sent back earliest comes first.

    Parameters
    ----------
    stage
        If given, only records that were sent back at this stage (such as ``screen``) are returned.
    record
        If given, only this record is considered.
    """
    event, account, paper = schema.event, schema.account, schema.record
    draft, done, joined = schema.current, schema.current.alias(), schema.joined
    copies = select(joined.c.record).where(joined.c.into == event.c.record)
    finished = exists().where(
        done.c.record == draft.c.record,
        done.c.stage == draft.c.stage,
        done.c.coder == coder,
        done.c.committed == 1,
    )
    query = (
        select(event.c.value, event.c.at, event.c.stage, account.c.name, paper.c.id, paper.c.title)
        .join(account, account.c.id == event.c.coder)
        .join(
            draft,
            or_(draft.c.record == event.c.record, draft.c.record.in_(copies))
            & (draft.c.stage == event.c.stage)
            & (draft.c.coder == coder),
        )
        .join(paper, paper.c.id == draft.c.record)
        .where(
            event.c.kind == "reopen",
            func.json_extract(event.c.value, "$.coder") == coder,
            # Records whose codes were set aside at the end of an exercise were not sent back by anybody.
            func.json_extract(event.c.value, "$.exercise").is_(None),
            ~is_undone(event.c.act),
            ~finished,
        )
        .order_by(event.c.seq)
    )
    if stage is not None:
        query = query.where(event.c.stage == stage)
    if record is not None:
        query = query.where(draft.c.record == record)
    # Of several messages about a record, the last counts; a record has a row for each label.
    found = {
        (row.id, row.stage): SentBack(
            row.id, row.title, row.stage, row.name, json.loads(row.value).get("message", ""), row.at
        )
        for row in connection.execute(query)
    }
    return list(found.values())
