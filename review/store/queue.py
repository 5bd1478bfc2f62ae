"""Count records by their state at a stage."""

from __future__ import annotations

from sqlalchemy import Connection, exists, func, select

from mechtag.review.store import schema

#: States of a record at a stage; see `mechtag.review.store.state.Need`.
STATES = ("open", "waiting", "conflict", "referred", "settled")


def count_states(connection: Connection, stage: str) -> dict[str, int]:
    """Return the number of records in each state at a stage."""
    table = schema.need
    rows = connection.execute(
        select(table.c.state, func.count()).where(table.c.stage == stage).group_by(table.c.state)
    ).all()
    return dict.fromkeys(STATES, 0) | {state: number for state, number in rows}


def count_judged(connection: Connection, coder: int, stage: str) -> int:
    """Return the number of records that a person has judged at a stage."""
    table = schema.current
    return connection.execute(
        select(func.count(func.distinct(table.c.record))).where(
            table.c.coder == coder, table.c.stage == stage, table.c.committed == 1
        )
    ).scalar_one()


def count_waiting(connection: Connection, coder: int, stage: str) -> int:
    """Return the number of records that a person can still judge at a stage."""
    need, current = schema.need, schema.current
    judged = exists().where(
        current.c.record == need.c.record,
        current.c.stage == stage,
        current.c.coder == coder,
        current.c.committed == 1,
    )
    return connection.execute(
        select(func.count()).where(need.c.stage == stage, need.c.state.in_(("open", "waiting")), ~judged)
    ).scalar_one()
