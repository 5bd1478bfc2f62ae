"""Find the records for each list of the *Reconcile* page, such as the list of conflicts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Subquery, exists, func, or_, select

from mechtag.review.plan import BASES, STAGES
from mechtag.review.store import schema
from mechtag.review.store.accounts import withdrawn
from mechtag.review.store.events import family_of
from mechtag.review.store.exercises import hidden_records
from mechtag.review.store.queue import count_shown
from mechtag.review.workspace import read_fact

#: Lists of the *Reconcile* page with records to settle: stage, and state of the records, by name of the list.
LISTS: Mapping[str, tuple[str, str]] = {
    "screening": ("screen", "conflict"),
    "coding": ("code", "conflict"),
    "full-text": ("full-text", "conflict"),
    "referred-screening": ("screen", "referred"),
    "referred-coding": ("code", "referred"),
    "referred-full-text": ("full-text", "referred"),
}
#: Lists of settled records on which people gave the same code, but for different reasons or without a common marked
#: sentence: stage, by name of the list.
DIFFERING: Mapping[str, str] = {"reasons": "screen", "evidence": "code", "evidence-full-text": "full-text"}
#: Name of the list of records with a final code that the model contradicted when the accuracy was last computed.
DOUBTED = "model"
#: Key in table ``fact`` of these codes (``record_id``, ``label`` and ``value``), the most doubtful first.
DOUBTED_CODES = "doubted codes"
#: Number of records on one page of a list.
PAGE = 50


def count_lists(connection: Connection) -> dict[str, int]:
    """Return the number of records in each list of the *Reconcile* page, keyed by the name of the list."""
    states = {stage: count_shown(connection, stage) for stage in STAGES}
    found = {name: states[stage][state] for name, (stage, state) in LISTS.items()}
    return found | {name: count_selected(connection, Selection(name)) for name in (*DIFFERING, DOUBTED, "settled")}


@dataclass(frozen=True)
class Selection:
    """A list that a person chose on the *Reconcile* page, and the filters that the person set for this list.

    Attributes
    ----------
    name
        Name of the list: a key of `LISTS`, a key of `DIFFERING`, `DOUBTED`, or ``settled``.
    label
        Key of a label. If set, only records that are in the list because of this label are selected. It has no effect
        on the list ``settled``.
    coder
        Account number of a person. If set, only records that this person has judged are selected. It has no effect on
        the lists ``settled`` and `DOUBTED`.
    """

    name: str
    label: str | None = None
    coder: int | None = None


def count_selected(connection: Connection, chosen: Selection) -> int:
    """Return how many records of the list ``chosen`` pass its filters."""
    return connection.execute(select(func.count()).select_from(_rows(connection, chosen))).scalar_one()


def select_page(
    connection: Connection, chosen: Selection, *, start: int = 0, limit: int = PAGE
) -> list[tuple[int, str]]:
    """Return some consecutive records of a list on the *Reconcile* page, each as a tuple of record number and stage.

    A stage is ``screen``, ``code`` or ``full-text``. The order depends on the list:

    - ``settled``: the most recently settled records come first.
    - `DOUBTED`: the records with the most doubtful codes come first.
    - all other lists: the records that have waited longest come first.

    Parameters
    ----------
    start
        Number of records to skip.
    limit
        Largest number of records to return.
    """
    rows = _rows(connection, chosen)
    found = connection.execute(
        select(rows.c.record, rows.c.stage).order_by(rows.c.place, rows.c.record).offset(start).limit(limit)
    )
    return [(record, stage) for record, stage in found]


def those_selected(connection: Connection, chosen: Selection, records: Sequence[int]) -> set[int]:
    """Return those of the given records that are in the list ``chosen`` and pass its filters."""
    rows = _rows(connection, chosen)
    return set(connection.execute(select(rows.c.record).where(rows.c.record.in_(records))).scalars())


#: A record and the stage at which it is in a list.
Place = tuple[int, str]


def neighbours(connection: Connection, chosen: Selection, record: int, stage: str) -> tuple[Place | None, Place | None]:
    """Return the previous and the next record in a list of the *Reconcile* page.

    Each of the two is a tuple of record number and stage (such as ``screen``), or ``None`` if there is no such record.
    Both are ``None`` if ``record`` is not in the list, or if the list is ``settled``.
    """
    if chosen.name == "settled":
        return None, None
    rows = _rows(connection, chosen)
    order = (rows.c.place, rows.c.record)
    columns = [
        side(column).over(order_by=order).label(f"{name}_{column.name}")
        for name, side in (("before", func.lag), ("after", func.lead))
        for column in (rows.c.record, rows.c.stage)
    ]
    near = select(rows.c.record, rows.c.stage, *columns).subquery()
    found = connection.execute(select(near).where(near.c.record == record, near.c.stage == stage)).first()
    if found is None:
        return None, None
    before = None if found.before_record is None else (found.before_record, found.before_stage)
    after = None if found.after_record is None else (found.after_record, found.after_stage)
    return before, after


def _rows(connection: Connection, chosen: Selection) -> Subquery:
    """Return a query for the records in a list of the *Reconcile* page.

    The columns of the query are ``record``, ``stage`` (such as ``screen``) and ``place`` (for sorting).
    """
    need, current, joined, final = schema.need, schema.current, schema.joined, schema.final
    if chosen.name == "settled":
        last = (-func.max(final.c.event)).label("place")
        settled = select(final.c.record, final.c.stage, last).where(final.c.how == "adjudicated")
        return settled.group_by(final.c.record, final.c.stage).subquery()
    if chosen.name == DOUBTED:
        doubted = _doubted(connection)
        if chosen.label is not None:
            doubted = doubted.where(final.c.label == chosen.label)
        codes = doubted.subquery()
        first = func.min(codes.c.place).label("place")
        return select(codes.c.record, codes.c.stage, first).group_by(codes.c.record, codes.c.stage).subquery()
    if chosen.name in DIFFERING:
        differing = _differing(DIFFERING[chosen.name])
        if chosen.label is not None:
            differing = differing.where(final.c.label == chosen.label)
        if chosen.coder is not None:
            differing = differing.where(or_(_ONE.c.coder == chosen.coder, _OTHER.c.coder == chosen.coder))
        found = differing.where(final.c.record.not_in(hidden_records(connection, DIFFERING[chosen.name]))).subquery()
        place = func.max(found.c.event).label("place")
        return select(found.c.record, found.c.stage, place).group_by(found.c.record, found.c.stage).subquery()
    stage, state = LISTS[chosen.name]
    query = select(need.c.record, need.c.stage, need.c.event.label("place"))
    query = query.where(need.c.stage == stage, need.c.state == state)
    query = query.where(need.c.record.not_in(hidden_records(connection, stage)))
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


def _doubted(connection: Connection) -> Select[Any]:
    """Return a query for the final codes that the model contradicts and that no adjudicator has settled."""
    final, record = schema.final, schema.record
    known = json.dumps(read_fact(connection, DOUBTED_CODES) or [])
    each = func.json_each(known).table_valued("key", "value", name="doubted")
    code = {name: func.json_extract(each.c.value, f"$.{name}") for name in ("record_id", "label", "value")}
    return (
        select(final.c.record, final.c.stage, final.c.label, each.c.key.label("place"))
        .select_from(each)
        .join(record, record.c.record_id == code["record_id"])
        .join(final, final.c.record == record.c.id)
        .where(final.c.label == code["label"], final.c.value == code["value"], final.c.how != "adjudicated")
        # The model is compared only with codes from the abstract.
        .where(final.c.stage != "full-text")
    )


_ONE, _OTHER = schema.current.alias("one"), schema.current.alias("other")


def _differing(stage: str) -> Select[Any]:
    """Return a query for final codes on which two people agree, although their reasons or sentences differ.

    At screening, two people excluded a record for different reasons. At the other stages, two people answered yes for
    a label, and marked different sentences of the same text, with no sentence in common.
    """
    final = schema.final
    query = select(final.c.record, final.c.stage, final.c.label, final.c.event).where(
        final.c.stage == stage, final.c.how == "agreed", final.c.value == int(stage in BASES)
    )
    for vote in (_ONE, _OTHER):
        query = query.join(
            vote,
            (vote.c.record == final.c.record)
            & (vote.c.stage == stage)
            & (vote.c.label == final.c.label)
            & (vote.c.committed == 1),
        )
    query = query.where(*(vote.c.coder.not_in(withdrawn()) for vote in (_ONE, _OTHER)), _ONE.c.coder < _OTHER.c.coder)
    if stage == "screen":
        return query.where(_ONE.c.reason != _OTHER.c.reason)
    mine = func.json_each(_ONE.c.sentences).table_valued("value", name="mine")
    theirs = func.json_each(_OTHER.c.sentences).table_valued("value", name="theirs")
    common = select(mine.c.value).where(mine.c.value == theirs.c.value).exists()
    same_text = _ONE.c.text == _OTHER.c.text
    return query.where(_ONE.c.sentences != "[]", _OTHER.c.sentences != "[]", same_text, ~common)


def labels_to_settle(connection: Connection, chosen: Selection, record: int, stage: str) -> list[str]:
    """Return the labels of a record that an adjudicator can settle on the *Reconcile* page.

    These are the labels that still have to be settled; see `open_labels`. In the lists `DIFFERING` and `DOUBTED`, the
    labels that put the record in the list can also be settled again.
    """
    found = open_labels(connection, record, stage)
    if chosen.name == DOUBTED:
        query = _doubted(connection).where(schema.final.c.record == family_of(connection, record)[0])
        rows = connection.execute(query.where(schema.final.c.stage == stage))
        found = sorted({*found, *(row.label for row in rows)})
    if DIFFERING.get(chosen.name) == stage:
        head, _ = family_of(connection, record)
        rows = connection.execute(_differing(stage).where(schema.final.c.record == head))
        found = sorted({*found, *(row.label for row in rows)})
    return found


def open_labels(connection: Connection, record: int, stage: str) -> list[str]:
    """Return the labels of a record that an adjudicator still has to settle at a stage, such as ``code``.

    An adjudicator has to settle a label if the coders disagree about it, or if a coder referred it to the adjudicator.
    """
    head, _ = family_of(connection, record)
    table = schema.need
    found = connection.execute(
        select(table.c.labels).where(table.c.record == head, table.c.stage == stage)
    ).scalar_one_or_none()
    return [] if found is None else list(json.loads(found))
