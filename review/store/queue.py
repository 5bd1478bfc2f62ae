"""Count records by their state at a stage."""

from __future__ import annotations

from sqlalchemy import Connection, Select, Text, bindparam, func, select

from mechtag.review.store import schema

#: States of a record at a stage; see `mechtag.review.store.state.Need`.
STATES = ("open", "waiting", "conflict", "referred", "settled")


def count_states(connection: Connection, stage: str) -> dict[str, int]:
    """Return the number of records in each state at a stage."""
    table = schema.tally
    rows = connection.execute(select(table.c.state, table.c.number).where(table.c.stage == stage)).all()
    return dict.fromkeys(STATES, 0) | {state: number for state, number in rows}


def count_judged(connection: Connection, coder: int, stage: str) -> int:
    """Return the number of records that a person has judged at a stage."""
    table = schema.current
    return connection.execute(
        select(func.count(func.distinct(table.c.record))).where(
            table.c.coder == coder, table.c.stage == stage, table.c.committed == 1
        )
    ).scalar_one()


def _judged_but_open() -> Select[int]:
    need, current = schema.need, schema.current
    stage = bindparam("stage", type_=Text)
    # From the person's own records to their states, never over all records.
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
    """Return the number of records that a person can still judge at a stage."""
    done = connection.execute(_JUDGED_BUT_OPEN, {"coder": coder, "stage": stage}).scalar_one()
    states = count_states(connection, stage)
    return states["open"] + states["waiting"] - done
