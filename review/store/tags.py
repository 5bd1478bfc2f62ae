"""Read the free-text tags that people add to records."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, exists, func, select

from mechtag.review.store import schema
from mechtag.review.store.events import is_undone

# Number of tags that are proposed when somebody adds a tag.
_PROPOSED = 50


def own_tags(coder: int) -> ColumnElement[bool]:
    """Return an SQL condition on rows of table ``tag``: the person ``coder`` added the tag."""
    tags, event = schema.tag, schema.event.alias()
    added = (func.json_extract(event.c.value, "$.tag") == tags.c.tag) & func.json_extract(event.c.value, "$.on")
    own = (event.c.record == tags.c.record) & (event.c.kind == "tag") & (event.c.coder == coder)
    return exists().where(own, added, ~is_undone(event.c.act)).correlate(tags)


def count_tags(connection: Connection, shown: ColumnElement[bool]) -> list[tuple[str, int]]:
    """Return the tags of the review in alphabetical order, each with the number of records that have the tag.

    Only tags for which ``shown`` holds are counted; see `mechtag.review.sight.visible_tags`.
    """
    tags = schema.tag
    rows = connection.execute(select(tags.c.tag, func.count()).where(shown).group_by(tags.c.tag).order_by(tags.c.tag))
    return [(name, number) for name, number in rows]


def frequent_tags(connection: Connection) -> list[str]:
    """Return the 50 most frequent tags of the review in alphabetical order."""
    tags = schema.tag
    query = select(tags.c.tag).group_by(tags.c.tag).order_by(func.count().desc(), tags.c.tag).limit(_PROPOSED)
    return sorted(connection.execute(query).scalars())


def tags_of(connection: Connection, record: int, shown: ColumnElement[bool]) -> list[str]:
    """Return the tags of a record in alphabetical order.

    Parameters
    ----------
    shown
        SQL condition on rows of table ``tag``: `own_tags` or `mechtag.review.sight.visible_tags`. A person who can
        still judge the record must not see the tags of others, because these tags may reveal what others think about
        the record.
    """
    tags = schema.tag
    query = select(tags.c.tag).where(tags.c.record == record, shown).order_by(tags.c.tag)
    return list(connection.execute(query).scalars())


def tags_of_several(connection: Connection, records: Sequence[int], shown: ColumnElement[bool]) -> dict[int, list[str]]:
    """Return the tags of some records, keyed by the number of the record.

    The tags of each record are in alphabetical order. Tags for which ``shown`` does not hold, and records without tags,
    are left out; see `tags_of`.
    """
    tags = schema.tag
    query = select(tags.c.record, tags.c.tag).where(tags.c.record.in_(records), shown).order_by(tags.c.tag)
    found: dict[int, list[str]] = {}
    for record, tag in connection.execute(query):
        found.setdefault(record, []).append(tag)
    return found
