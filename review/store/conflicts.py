"""Find the records that an adjudicator must settle or has settled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Subquery, exists, func, or_, select

from mechtag.review.store import schema
from mechtag.review.store.events import family_of

#: Lists of the page *Reconcile*, with the states of the records in each and the stage.
LISTS: Mapping[str, tuple[str, str]] = {
    "screening": ("screen", "conflict"),
    "coding": ("code", "conflict"),
    "referred-screening": ("screen", "referred"),
    "referred-coding": ("code", "referred"),
}
#: Lists of records that are settled, because everybody gave the same code, but for a different reason, or with
#: sentences that have none in common; with the stage.
DIFFERING: Mapping[str, str] = {"reasons": "screen", "evidence": "code"}
#: Records on a page of a list.
PAGE = 50


def count_lists(connection: Connection) -> dict[str, int]:
    """Return the number of records in each list of `LISTS`, and in the list ``settled``, by the name of the list."""
    return {name: count_selected(connection, Selection(name)) for name in (*LISTS, *DIFFERING, "settled")}


@dataclass(frozen=True)
class Selection:
    """A list of the page *Reconcile*, and the filters with which a person looks at it.

    Attributes
    ----------
    name
        A key of `LISTS` or `DIFFERING`, or ``settled``.
    label
        If set, only records that are in the list because of this label are selected.
    coder
        If set, only records that this person has judged, or a copy of which, are selected.
    """

    name: str
    label: str | None = None
    coder: int | None = None


def count_selected(connection: Connection, chosen: Selection) -> int:
    """Return the number of records in a list that pass its filters."""
    return connection.execute(select(func.count()).select_from(_rows(chosen))).scalar_one()


def select_page(
    connection: Connection, chosen: Selection, *, start: int = 0, limit: int = PAGE
) -> list[tuple[int, str]]:
    """Return some records of a list, each with its stage.

    Records that have waited longest come first; in the list ``settled``, those that were settled last.
    """
    rows = _rows(chosen)
    found = connection.execute(
        select(rows.c.record, rows.c.stage).order_by(rows.c.place, rows.c.record).offset(start).limit(limit)
    )
    return [(record, stage) for record, stage in found]


def those_selected(connection: Connection, chosen: Selection, records: Sequence[int]) -> set[int]:
    """Return those of some records that are in a list and pass its filters."""
    rows = _rows(chosen)
    return set(connection.execute(select(rows.c.record).where(rows.c.record.in_(records))).scalars())


def neighbours(connection: Connection, chosen: Selection, record: int) -> tuple[int | None, int | None]:
    """Return the records before and after a record in a list; ``None`` if there is none or the record is not in it.

    The list ``settled``, in which a record can be twice, has no order to go through.
    """
    if chosen.name == "settled":
        return None, None
    rows = _rows(chosen)
    order = (rows.c.place, rows.c.record)
    before = func.lag(rows.c.record).over(order_by=order).label("before")
    after = func.lead(rows.c.record).over(order_by=order).label("after")
    near = select(rows.c.record, before, after).subquery()
    found = connection.execute(select(near.c.before, near.c.after).where(near.c.record == record)).first()
    return (None, None) if found is None else (found.before, found.after)


def _rows(chosen: Selection) -> Subquery:
    """Return the rows of a list: the record, the stage, and the place in the order of the list."""
    need, current, joined, final = schema.need, schema.current, schema.joined, schema.final
    if chosen.name == "settled":
        last = (-func.max(final.c.event)).label("place")
        settled = select(final.c.record, final.c.stage, last).where(final.c.how == "adjudicated")
        return settled.group_by(final.c.record, final.c.stage).subquery()
    if chosen.name in DIFFERING:
        differing = _differing(DIFFERING[chosen.name])
        if chosen.label is not None:
            differing = differing.where(final.c.label == chosen.label)
        if chosen.coder is not None:
            differing = differing.where(or_(_ONE.c.coder == chosen.coder, _OTHER.c.coder == chosen.coder))
        found = differing.subquery()
        place = func.max(found.c.event).label("place")
        return select(found.c.record, found.c.stage, place).group_by(found.c.record, found.c.stage).subquery()
    stage, state = LISTS[chosen.name]
    query = select(need.c.record, need.c.stage, need.c.event.label("place"))
    query = query.where(need.c.stage == stage, need.c.state == state)
    if chosen.label is not None:
        open_label = func.json_each(need.c.labels).table_valued("value")
        query = query.where(select(open_label.c.value).where(open_label.c.value == chosen.label).exists())
    if chosen.coder is not None:
        copies = select(joined.c.record).where(joined.c.into == need.c.record)
        query = query.where(
            exists().where(
                (current.c.record == need.c.record) | current.c.record.in_(copies),
                current.c.stage == stage,
                current.c.coder == chosen.coder,
                current.c.committed == 1,
            )
        )
    return query.subquery()


_ONE, _OTHER = schema.current.alias("one"), schema.current.alias("other")


def _differing(stage: str) -> Select[Any]:
    """Return a query for the codes on which two people agree, but not on the reason or the sentences."""
    final = schema.final
    query = select(final.c.record, final.c.stage, final.c.label, final.c.event).where(
        final.c.stage == stage, final.c.how == "agreed", final.c.value == int(stage == "code")
    )
    for vote in (_ONE, _OTHER):
        query = query.join(
            vote,
            (vote.c.record == final.c.record)
            & (vote.c.stage == stage)
            & (vote.c.label == final.c.label)
            & (vote.c.committed == 1),
        )
    query = query.where(_ONE.c.coder < _OTHER.c.coder)
    if stage == "screen":
        return query.where(_ONE.c.reason != _OTHER.c.reason)
    mine = func.json_each(_ONE.c.sentences).table_valued("value", name="mine")
    theirs = func.json_each(_OTHER.c.sentences).table_valued("value", name="theirs")
    common = select(mine.c.value).where(mine.c.value == theirs.c.value).exists()
    return query.where(_ONE.c.sentences != "[]", _OTHER.c.sentences != "[]", ~common)


def labels_to_settle(connection: Connection, chosen: Selection, record: int, stage: str) -> list[str]:
    """Return the open labels of a record and, in a list of `DIFFERING`, the labels for which the record is in it."""
    found = open_labels(connection, record, stage)
    if DIFFERING.get(chosen.name) == stage:
        head, _ = family_of(connection, record)
        rows = connection.execute(_differing(stage).where(schema.final.c.record == head))
        found = sorted({*found, *(row.label for row in rows)})
    return found


def open_labels(connection: Connection, record: int, stage: str) -> list[str]:
    """Return the labels of a record at a stage that coders judged differently or referred, and that are not settled."""
    head, _ = family_of(connection, record)
    table = schema.need
    found = connection.execute(
        select(table.c.labels).where(table.c.record == head, table.c.stage == stage)
    ).scalar_one_or_none()
    return [] if found is None else list(json.loads(found))
