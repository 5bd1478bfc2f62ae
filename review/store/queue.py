"""Count the records in each state at a stage, and the records that each person has judged or can still judge.

The stages are screening, coding and full-text coding.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Select, Text, bindparam, func, select

from mechtag.review.store import schema
from mechtag.review.store.events import is_undone
from mechtag.review.store.exercises import hidden_records

#: States of a record at a stage; see `mechtag.review.store.state.Need`.
STATES = ("open", "waiting", "conflict", "referred", "settled")


def count_states(connection: Connection, stage: str) -> dict[str, int]:
    """Return the number of records in each state at a stage (such as ``screen``), keyed by state (one of `STATES`)."""
    table = schema.tally
    rows = connection.execute(select(table.c.state, table.c.number).where(table.c.stage == stage)).all()
    return dict.fromkeys(STATES, 0) | {state: number for state, number in rows}


def has_full_texts(connection: Connection) -> bool:
    """Return whether a full text is attached to at least one record that is to be coded."""
    return any(count_states(connection, "full-text").values())


def count_shown(connection: Connection, stage: str) -> dict[str, int]:
    """Return the number of records in each state at a stage (such as ``screen``), as shown on the pages.

    In a calibration exercise, several coders judge the same records. While the exercise runs, its judged records are
    counted as ``waiting``, so that the numbers do not reveal the judgements. Records of a running screening exercise
    are not counted as ``open`` at later stages. `count_states` returns the true numbers.
    """
    found = count_states(connection, stage)
    table, hidden = schema.need, hidden_records(connection, stage)
    if hidden:
        rows = connection.execute(
            select(table.c.state, func.count())
            .where(table.c.stage == stage, table.c.record.in_(hidden), table.c.state.not_in(("open", "waiting")))
            .group_by(table.c.state)
        )
        for state, number in rows:
            found[state] -= number
            found["waiting"] += number
    found["open"] -= _held_back(connection, stage)
    return found


def _held_back(connection: Connection, stage: str) -> int:
    """Return how many records must wait at a stage, because a calibration exercise of screening has not ended."""
    hidden = () if stage == "screen" else hidden_records(connection, "screen")
    if not hidden:
        return 0
    table = schema.need
    query = select(func.count()).where(table.c.stage == stage, table.c.record.in_(hidden))
    return connection.execute(query).scalar_one()


def count_judged(connection: Connection, coder: int, stage: str) -> int:
    """Return the number of records that a person has finished at a stage, such as ``screen``."""
    table = schema.current
    return connection.execute(
        select(func.count(func.distinct(table.c.record))).where(
            table.c.coder == coder, table.c.stage == stage, table.c.committed == 1
        )
    ).scalar_one()


def _judged_but_open() -> Select[int]:
    need, current = schema.need, schema.current
    stage = bindparam("stage", type_=Text)
    # The query starts from the person's own records, because reading all records would take long.
    judged = (
        select(current.c.record)
        .distinct()
        .where(current.c.coder == bindparam("coder"), current.c.stage == stage, current.c.committed == 1)
    )
    mine = judged.subquery()
    state = select(need.c.state).where(need.c.record == mine.c.record, need.c.stage == stage).scalar_subquery()
    return select(func.count()).select_from(mine).where(state.in_(("open", "waiting")))


# Built once, because building the query takes as long as running it.
_JUDGED_BUT_OPEN = _judged_but_open()


def count_waiting(connection: Connection, coder: int, stage: str) -> int:
    """Return the number of records that need judgements at a stage and that a person can still judge.

    The stage is ``screen``, ``code`` or ``full-text``.
    """
    done = connection.execute(_JUDGED_BUT_OPEN, {"coder": coder, "stage": stage}).scalar_one()
    states = count_states(connection, stage)
    return states["open"] + states["waiting"] - done - _held_back(connection, stage)


@dataclass(frozen=True)
class Work:
    """The number of records that a person has judged at a stage, such as ``screen``.

    Attributes
    ----------
    name
        Name of the person.
    records
        Number of records in total.
    today
        Number of records judged today.
    """

    name: str
    stage: str
    records: int
    today: int


def count_work(connection: Connection, midnight: str) -> list[Work]:
    """Return the number of records that each person has judged at each stage, in total and today.

    The stages are ``screen``, ``code`` and ``full-text``. The result is sorted by the name of the person. Withdrawn
    people are left out.

    Parameters
    ----------
    midnight
        Beginning of the current day as a time in UTC (ISO 8601).
    """
    current, account, event = schema.current, schema.account, schema.event
    rows = connection.execute(
        select(
            account.c.name, account.c.id, current.c.stage, func.count(func.distinct(current.c.record)).label("number")
        )
        .join(account, account.c.id == current.c.coder)
        .where(current.c.committed == 1, account.c.state != "withdrawn")
        .group_by(account.c.id, current.c.stage)
        .order_by(account.c.name, current.c.stage.desc())
    ).all()
    # Events are in order of time, so only those of today are read.
    before = select(event.c.seq).where(event.c.at < midnight).order_by(event.c.seq.desc()).limit(1)
    last = connection.execute(before).scalar() or 0
    finishing = ((event.c.stage == "screen") & (event.c.kind == "code")) | (event.c.kind == "commit")
    done = connection.execute(
        select(event.c.coder, event.c.stage, func.count(func.distinct(event.c.record)))
        .where(event.c.seq > last, finishing, ~is_undone(event.c.act))
        .group_by(event.c.coder, event.c.stage)
    )
    today = {(coder, stage): number for coder, stage, number in done}
    return [Work(row.name, row.stage, row.number, today.get((row.id, row.stage), 0)) for row in rows]
