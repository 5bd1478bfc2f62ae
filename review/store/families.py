"""Query records that are, or may be, the same paper.

Records are the same paper if an import recognised them as duplicates, or if people joined them. Records may be the same
paper if an import found that they are possible duplicates.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Select, Table, exists, func, insert, select, update

from mechtag.review.store import schema
from mechtag.review.store.events import family_of


def any_apart(connection: Connection, record: int, other: int) -> bool:
    """Return whether somebody has marked two records as different papers.

    Marks on records that were joined to the two records also count.
    """
    (_, ours), (_, theirs) = family_of(connection, record), family_of(connection, other)
    table = schema.apart
    one_way = table.c.record.in_(ours) & table.c.other.in_(theirs)
    other_way = table.c.record.in_(theirs) & table.c.other.in_(ours)
    return connection.execute(select(table.c.record).where(one_way | other_way)).first() is not None


def record_of_copy(connection: Connection, copy: int) -> int | None:
    """Return the record number of a duplicate; ``None`` if there is no such duplicate.

    A duplicate that an import found has no record number at first. This function then adds the duplicate as a record,
    and joins it to the record of the same paper.

    Parameters
    ----------
    copy
        Number of the duplicate in table ``copy``.
    """
    table, record = schema.copy, schema.record
    row = connection.execute(select(table).where(table.c.id == copy)).one_or_none()
    if row is None or row.record is not None:
        return None if row is None else int(row.record)
    number = int(connection.execute(insert(record).values(json.loads(row.row)).returning(record.c.id)).scalar_one())
    connection.execute(update(table).where(table.c.id == copy).values(record=number))
    head, _ = family_of(connection, row.head)
    connection.execute(insert(schema.joined).values(record=number, into=head, event=0))
    return number


def undecided() -> Select[Any]:
    """Return a query for the pairs of possible duplicates that nobody has decided on yet, the likeliest first."""
    pair, apart = schema.pair, schema.apart
    one, other = schema.joined.alias(), schema.joined.alias()
    left, right = func.coalesce(one.c.into, pair.c.left), func.coalesce(other.c.into, pair.c.right)
    found_apart = exists().where(apart.c.record == pair.c.left, apart.c.other == pair.c.right)
    return (
        select(pair)
        .outerjoin(one, one.c.record == pair.c.left)
        .outerjoin(other, other.c.record == pair.c.right)
        .where(left != right, ~found_apart)
        .order_by(pair.c.confidence.desc(), pair.c.id)
    )


def count_papers(connection: Connection) -> tuple[int, int]:
    """Return the number of papers, and the number of duplicates.

    Of the records that were joined, one counts as the paper, and the rest count as duplicates. Records that an import
    merged into other records also count as duplicates.
    """

    def count(table: Table, *where: Any) -> int:
        return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())

    joined = count(schema.joined)
    return count(schema.record) - joined, count(schema.copy, schema.copy.c.record.is_(None)) + joined
