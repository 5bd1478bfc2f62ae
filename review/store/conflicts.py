"""Find the records that an adjudicator must settle or has settled."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, exists, func, select

from mechtag.review.store import schema
from mechtag.review.store.events import family_of

#: Lists of the page *Reconcile*, with the states of the records in each and the stage.
LISTS: Mapping[str, tuple[str, str]] = {
    "screening": ("screen", "conflict"),
    "coding": ("code", "conflict"),
    "referred-screening": ("screen", "referred"),
    "referred-coding": ("code", "referred"),
}


def count_lists(connection: Connection) -> dict[str, int]:
    """Return the number of records in each list of `LISTS`, and the number that an adjudicator has settled."""
    table, final = schema.need, schema.final
    rows = connection.execute(select(table.c.stage, table.c.state, func.count()).group_by(table.c.stage, table.c.state))
    found = {(stage, state): number for stage, state, number in rows}
    settled = connection.execute(
        select(func.count(func.distinct(final.c.record))).where(final.c.how == "adjudicated")
    ).scalar_one()
    return {name: found.get(spot, 0) for name, spot in LISTS.items()} | {"settled": settled}


def in_list(
    connection: Connection,
    name: str,
    *,
    label: str | None = None,
    coder: int | None = None,
    limit: int = 50,
) -> list[int]:
    """Return the records of a list; records that have waited longest come first.

    Parameters
    ----------
    label
        If set, only records in which an adjudicator has to settle this label are returned.
    coder
        If set, only records that this person has judged, or a copy of which, are returned.
    """
    need, current, joined = schema.need, schema.current, schema.joined
    if name == "settled":
        final = schema.final
        rows = connection.execute(
            select(final.c.record, func.max(final.c.event).label("last"))
            .where(final.c.how == "adjudicated")
            .group_by(final.c.record)
            .order_by(func.max(final.c.event).desc())
            .limit(limit)
        )
        return [row.record for row in rows]
    stage, state = LISTS[name]
    query = select(need.c.record).where(need.c.stage == stage, need.c.state == state)
    if label is not None:
        open_label = func.json_each(need.c.labels).table_valued("value")
        query = query.where(select(open_label.c.value).where(open_label.c.value == label).exists())
    if coder is not None:
        copies = select(joined.c.record).where(joined.c.into == need.c.record)
        query = query.where(
            exists().where(
                (current.c.record == need.c.record) | current.c.record.in_(copies),
                current.c.stage == stage,
                current.c.coder == coder,
                current.c.committed == 1,
            )
        )
    return list(connection.execute(query.order_by(need.c.event).limit(limit)).scalars())


def open_labels(connection: Connection, record: int, stage: str) -> list[str]:
    """Return the labels of a record at a stage that coders judged differently or referred, and that are not settled."""
    head, _ = family_of(connection, record)
    table = schema.need
    found = connection.execute(
        select(table.c.labels).where(table.c.record == head, table.c.stage == stage)
    ).scalar_one_or_none()
    return [] if found is None else list(json.loads(found))
