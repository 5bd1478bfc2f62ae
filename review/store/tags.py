"""Read the free-text tags that people add to records."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, exists, func, select

from mechtag.review.store import schema
from mechtag.review.store.events import is_undone

# Number of tags that are proposed when somebody adds a tag.
_PROPOSED = 50


def count_tags(connection: Connection) -> list[tuple[str, int]]:
    """Return all tags of the review in alphabetical order, each with the number of records that have the tag."""
    tags = schema.tag
    rows = connection.execute(select(tags.c.tag, func.count()).group_by(tags.c.tag).order_by(tags.c.tag))
    return [(name, number) for name, number in rows]


def frequent_tags(connection: Connection) -> list[str]:
    """Return the 50 most frequent tags of the review in alphabetical order."""
    tags = schema.tag
    query = select(tags.c.tag).group_by(tags.c.tag).order_by(func.count().desc(), tags.c.tag).limit(_PROPOSED)
    return sorted(connection.execute(query).scalars())


def tags_of(connection: Connection, record: int, *, coder: int | None = None) -> list[str]:
    """Return the tags of a record in alphabetical order.

    Parameters
    ----------
    coder
        Account number of a person. If given, only tags that this person added are returned. A person who can still
        judge the record must not see the tags of others, because these tags may reveal what others think about the
        record.
    """
    tags, event = schema.tag, schema.event
    query = select(tags.c.tag).where(tags.c.record == record).order_by(tags.c.tag)
    if coder is not None:
        value = event.c.value
        added = (func.json_extract(value, "$.tag") == tags.c.tag) & func.json_extract(value, "$.on")
        own = (event.c.record == tags.c.record) & (event.c.kind == "tag") & (event.c.coder == coder)
        query = query.where(exists().where(own, added, ~is_undone(event.c.act)))
    return list(connection.execute(query).scalars())


def tags_of_several(connection: Connection, records: Sequence[int]) -> dict[int, list[str]]:
    """Return the tags of some records, keyed by the number of the record.

    The tags of each record are in alphabetical order. Records without tags are left out.
    """
    tags = schema.tag
    rows = connection.execute(select(tags.c.record, tags.c.tag).where(tags.c.record.in_(records)).order_by(tags.c.tag))
    found: dict[int, list[str]] = {}
    for record, tag in rows:
        found.setdefault(record, []).append(tag)
    return found
