"""Find the records that people must code for new labels.

A label is new for a person if it was added to the codebook after the person finished the record.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from mechtag.review.store import schema


def owed_labels(connection: Connection, coder: int, record: int, stage: str) -> set[str]:
    """Return the keys of the new labels for which a person must still code a record at a stage, such as ``full-text``.

    New labels were added to the codebook after the person finished the record.
    """
    table = schema.owed
    mine = (table.c.coder == coder, table.c.record == record, table.c.stage == stage)
    return set(connection.execute(select(table.c.label).where(*mine)).scalars())


def count_owed(connection: Connection, coder: int, stage: str) -> int:
    """Return the number of records that a person must still code for new labels at a stage, such as ``full-text``."""
    table = schema.owed
    mine = (table.c.coder == coder, table.c.stage == stage)
    return connection.execute(select(func.count(func.distinct(table.c.record))).where(*mine)).scalar_one()


def count_owed_by_label(connection: Connection) -> dict[str, int]:
    """Return, for each new label, the number of records that people must still code; the dict is keyed by label."""
    table = schema.owed
    rows = connection.execute(select(table.c.label, func.count(func.distinct(table.c.record))).group_by(table.c.label))
    return {label: number for label, number in rows}


def next_owed(connection: Connection, coder: int, stage: str) -> int | None:
    """Return the next record that a person must code for newly added labels at a stage; ``None`` if there is none.

    The stage is ``code`` or ``full-text``. Records that the person put aside come last.
    """
    table, skip = schema.owed, schema.skip
    put_aside = (skip.c.record == table.c.record) & (skip.c.coder == coder) & (skip.c.stage == stage)
    return connection.execute(
        select(table.c.record)
        .outerjoin(skip, put_aside)
        .where(table.c.coder == coder, table.c.stage == stage)
        .order_by(func.coalesce(skip.c.event, 0), table.c.record)
        .limit(1)
    ).scalar()
