"""Count records by their state at a stage."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

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


def count_waiting(connection: Connection, coder: int, stage: str) -> int:
    """Return the number of records that a person can still judge at a stage."""
    need, current = schema.need, schema.current
    # From the person's own records to their states, never over all records.
    judged = (
        select(current.c.record)
        .distinct()
        .where(current.c.coder == coder, current.c.stage == stage, current.c.committed == 1)
    )
    mine = judged.subquery()
    done = connection.execute(
        select(func.count())
        .select_from(mine)
        .where(
            select(need.c.state)
            .where(need.c.record == mine.c.record, need.c.stage == stage)
            .scalar_subquery()
            .in_(("open", "waiting"))
        )
    ).scalar_one()
    states = count_states(connection, stage)
    return states["open"] + states["waiting"] - done
