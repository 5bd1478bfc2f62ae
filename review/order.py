"""Choose the record that a person judges next.

A ranking is a list of records, which each person reads from the top. It is shuffled within blocks of ten records, so
that people cannot guess from the rank of a record whether it is relevant. A record on a person's screen is reserved for
this person for some minutes (a lease). During a lease, other people get the record only if the plan requires several
coders.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from mechtag.review.plan import RANKED
from mechtag.review.store import schema
from mechtag.review.store.events import is_stopped, read_plan
from mechtag.review.store.exercises import Exercise, hidden_records, running_exercise

#: Number of records whose order is shuffled together.
BLOCK = 10
#: Time for which a record is reserved for a person, in seconds.
LEASE_SECONDS = 600
# Number of records that are read from a ranking at a time.
_WINDOW = 200


def add_ranking(
    connection: Connection, stage: str, records: Sequence[int], *, strategy: str, at: str, learned_from: int, seed: int
) -> int:
    """Store a ranking of records, which replaces the earlier ranking of a stage, such as ``screen``.

    Parameters
    ----------
    records
        Numbers of all records, in the order of reading.
    strategy
        How the ranking was made: ``relevance``, ``random`` or ``sample``. If it is ``relevance``, the records
        are shuffled within blocks of `BLOCK` records. The other two orders are already random.
    at
        Time in UTC (ISO 8601).
    learned_from
        Number of decisions from which the ranking was learned.
    seed
        Seed for shuffling the records within blocks.

    Returns
    -------
    int
        Number of the ranking.
    """
    table = schema.ranking
    connection.execute(update(table).where(table.c.stage == stage).values(active=0))
    values = {"stage": stage, "at": at, "strategy": strategy, "learned_from": learned_from, "active": 1}
    number = int(connection.execute(insert(table).values(values).returning(table.c.id)).scalar_one())
    order = list(records) if strategy in ("random", "sample") else shuffle_blocks(records, seed)
    if order:
        rows = [{"ranking": number, "position": place, "record": record} for place, record in enumerate(order)]
        connection.execute(insert(schema.queue), rows)
    old = select(table.c.id).where(table.c.stage == stage, table.c.active == 0, table.c.id < number - 1)
    connection.execute(delete(schema.queue).where(schema.queue.c.ranking.in_(old)))
    return number


def shuffle_blocks(records: Sequence[int], seed: int) -> list[int]:
    """Return the records in a new order: the records are shuffled within each block of `BLOCK` records."""
    order = list[int]()
    for start in range(0, len(records), BLOCK):
        block = list(records[start : start + BLOCK])
        random.Random(f"{seed}/{start}").shuffle(block)
        order += block
    return order


def random_order(records: Sequence[int], seed: int) -> list[int]:
    """Return the records in a random order, which depends only on the seed and the records."""
    return sorted(records, key=lambda record: hashlib.sha256(f"{seed}/{record}".encode()).digest())


def next_record(
    connection: Connection,
    coder: int,
    stage: str,
    *,
    clock: Callable[[], float] = time.time,
) -> int | None:
    """Reserve the record that a person should judge next, and return its number.

    In a calibration exercise, several people judge the same records. If the person takes part in a running exercise,
    its records come first. Records that the person put aside come last, in the order in which they were put aside. A
    record is left out if the person has judged it, or if enough other people have judged or reserved it.

    Returns
    -------
    int or None
        Number of the record; ``None`` if no record is available now.
    """
    now = clock()
    # A lease that ends much later than a new lease would end was made before the clock was set back.
    until = schema.lease.c.until
    connection.execute(delete(schema.lease).where(or_(until < now, until > now + 2 * LEASE_SECONDS)))
    if stage == "screen" and is_stopped(connection):
        return None
    exercise = running_exercise(connection, stage)
    if exercise is not None:
        record = next(iter(left_in_exercise(connection, coder, exercise)), None)
        if record is not None:
            renew_lease(connection, record, coder, stage, clock=clock)
            return record
    ranking = _ranking(connection, stage)
    if ranking is None:
        return None
    place = schema.place
    mine = (place.c.coder == coder) & (place.c.stage == stage)
    known = connection.execute(select(place.c.ranking, place.c.position).where(mine)).one_or_none()
    start = known.position if known is not None and known.ranking == ranking else 0
    asked = _parameters(connection, coder, stage, ranking, exercise, now)
    found = _next_available(connection, asked, start)
    if found is None and start:
        # Records before this position may be free again: leases end, actions are undone, records are sent back.
        found = _next_available(connection, asked, 0)
    if found is None:
        record = connection.execute(_PUT_ASIDE, asked).scalar()
        if record is not None:
            renew_lease(connection, record, coder, stage, clock=clock)
        return record
    record, position = found
    values = {"coder": coder, "stage": stage, "ranking": ranking, "position": position}
    connection.execute(
        upsert(place)
        .values(values)
        .on_conflict_do_update(["coder", "stage"], set_={"ranking": ranking, "position": position})
    )
    renew_lease(connection, record, coder, stage, clock=clock)
    return record


def is_available(connection: Connection, record: int, coder: int, stage: str) -> bool:
    """Return whether `next_record` could choose a record for a person at a stage, such as ``screen``.

    In a calibration exercise, several people judge the same records. While an exercise is running at the stage or at
    screening, the result for its records is ``False``. For an exercise at the stage, see `left_in_exercise`.
    """
    ranking = _ranking(connection, stage)
    if ranking is None:
        return False
    asked = _parameters(connection, coder, stage, ranking, running_exercise(connection, stage), time.time())
    return connection.execute(_ONE, {**asked, "record": record}).first() is not None


def _ranking(connection: Connection, stage: str) -> int | None:
    """Return the number of the ranking in use at a stage, such as ``screen``; ``None`` if there is no ranking."""
    table, ranked = schema.ranking, stage if stage in RANKED else "code"
    return connection.execute(select(table.c.id).where(table.c.stage == ranked, table.c.active == 1)).scalar()


def _parameters(
    connection: Connection, coder: int, stage: str, ranking: int, exercise: Exercise | None, now: float
) -> dict[str, object]:
    """Return the parameters of the queries that `_available` builds; ``ranking`` is the number of a ranking."""
    # Only the coders of an exercise judge its records.
    besides = list(() if exercise is None else exercise.records)
    if stage != "screen":
        # A request to code a record would tell people who still screen it that others have included it.
        besides += hidden_records(connection, "screen")
    wanted = read_plan(connection).coders(stage)
    return {"coder": coder, "stage": stage, "ranking": ranking, "wanted": wanted, "now": now, "besides": besides}


def left_in_exercise(connection: Connection, coder: int, exercise: Exercise) -> list[int]:
    """Return the records of a calibration exercise that a person still has to judge, in the order of reading.

    In a calibration exercise, several people judge the same records. Records that the person put aside come last.
    Records that no longer have to be judged, for example because they were excluded during the exercise, are left out.
    """
    if coder not in exercise.coders:
        return []
    need, skip = schema.need, schema.skip
    skipped = exists().where(skip.c.record == need.c.record, skip.c.stage == exercise.stage, skip.c.coder == coder)
    rows = connection.execute(
        select(need.c.record, skipped).where(
            need.c.stage == exercise.stage,
            need.c.record.in_(exercise.records),
            ~_has_judged(literal(coder), literal(exercise.stage), need.c.record),
        )
    )
    put_aside = {number: bool(aside) for number, aside in rows}
    return sorted((number for number in exercise.records if number in put_aside), key=lambda number: put_aside[number])


def renew_lease(
    connection: Connection, record: int, coder: int, stage: str, *, clock: Callable[[], float] = time.time
) -> None:
    """Reserve a record for a person for `LEASE_SECONDS` seconds from now."""
    until = clock() + LEASE_SECONDS
    values = {"record": record, "stage": stage, "coder": coder, "until": until}
    keys = ["record", "stage", "coder"]
    connection.execute(upsert(schema.lease).values(values).on_conflict_do_update(keys, set_={"until": until}))


def release(connection: Connection, record: int, coder: int, stage: str) -> None:
    """End the reservation of a record for a person at a stage, such as ``screen``."""
    table = schema.lease
    connection.execute(delete(table).where(table.c.record == record, table.c.coder == coder, table.c.stage == stage))


def _has_judged(coder: ColumnElement[int], stage: ColumnElement[str], record: Column[int]) -> ColumnElement[bool]:
    """Return an SQL condition that is true if a person has judged a record, or a record joined to it, at a stage."""
    current, copies, joined = schema.current, schema.current.alias(), schema.joined
    itself = exists().where(
        current.c.record == record, current.c.stage == stage, current.c.coder == coder, current.c.committed == 1
    )
    copy = (
        select(copies.c.record)
        .select_from(joined.join(copies, copies.c.record == joined.c.record))
        .where(joined.c.into == record, copies.c.stage == stage, copies.c.coder == coder, copies.c.committed == 1)
        .correlate(record.table)
        .exists()
    )
    return or_(itself, copy)


def _available() -> Select[int, int]:
    """Return an SQL query that finds one record that a person can judge now.

    The query selects the number of the record and the position of the record in a ranking.
    """
    queue, need, lease, account = schema.queue, schema.need, schema.lease, schema.account
    coder, stage = bindparam("coder", type_=Integer), bindparam("stage", type_=Text)
    gone = exists().where(schema.joined.c.record == queue.c.record)
    # Other people for whom the record is reserved: people who have judged it are already counted in ``need.have``, and
    # people who have left will not judge it.
    readers = (
        select(func.count())
        .select_from(lease.join(account, account.c.id == lease.c.coder))
        .where(
            lease.c.record == queue.c.record,
            lease.c.stage == stage,
            lease.c.coder != coder,
            lease.c.until >= bindparam("now"),
            account.c.state == "active",
            ~_has_judged(lease.c.coder, stage, lease.c.record),
        )
        .correlate(queue)
        .scalar_subquery()
    )
    # A record without a row in ``need`` is not judged at this stage, for example because it is not included.
    return (
        select(queue.c.record, queue.c.position)
        .join(need, (need.c.record == queue.c.record) & (need.c.stage == stage))
        .where(
            queue.c.ranking == bindparam("ranking"),
            queue.c.record.not_in(bindparam("besides", expanding=True)),
            need.c.state.in_(("open", "waiting")),
            need.c.have + readers < bindparam("wanted"),
            ~_has_judged(coder, stage, queue.c.record),
            ~gone,
        )
        .limit(1)
    )


# Queries are built once, because building them takes longer than running them.
_SKIP = schema.skip
_IS_PUT_ASIDE = exists().where(
    _SKIP.c.record == schema.queue.c.record,
    _SKIP.c.stage == bindparam("stage"),
    _SKIP.c.coder == bindparam("coder"),
)
_NEXT = (
    _available()
    .where(~_IS_PUT_ASIDE, schema.queue.c.position.between(bindparam("start"), bindparam("end")))
    .order_by(schema.queue.c.position)
)
_ONE = _available().where(schema.queue.c.record == bindparam("record"))
_PUT_ASIDE = (
    _available()
    .join(_SKIP, _SKIP.c.record == schema.queue.c.record)
    .where(_SKIP.c.stage == bindparam("stage"), _SKIP.c.coder == bindparam("coder"))
    .order_by(_SKIP.c.event)
)


def _next_available(connection: Connection, values: Mapping[str, object], start: int) -> tuple[int, int] | None:
    """Return the number and the position of the next record that a person can judge now; ``None`` if there is none.

    The search begins at position ``start`` of the ranking. ``values`` is the result of `_parameters`.
    """
    queue = schema.queue
    last = None
    while last is None or start <= last:
        row = connection.execute(_NEXT, {**values, "start": start, "end": start + _WINDOW - 1}).first()
        if row is not None:
            return int(row.record), int(row.position)
        if last is None:
            positions = select(func.max(queue.c.position)).where(queue.c.ranking == values["ranking"])
            last = connection.execute(positions).scalar() or 0
        start += _WINDOW
    return None
