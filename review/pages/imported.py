"""Provide what the *Import codes* and *Import a project* pages have in common.

Both pages first read the uploaded files. Then somebody assigns each person in the files to a person of the review.
After that, the content of the files is added to the review.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from mechtag.review.acts import Refused
from mechtag.review.store import schema
from mechtag.review.store.accounts import names_of
from mechtag.review.visit import Visit

#: Choice in the form for a person who is outside the review.
NEW = "new"


class Kinds(NamedTuple):
    """The kinds of jobs for an import: reading the files, adding their content, and removing this content again."""

    read: str
    add: str
    remove: str = ""


def list_imports(connection: Connection, kinds: Kinds) -> list[dict[str, Any]]:
    """Return one dict per import, as `find_import` does; the latest import comes first."""
    job = schema.job
    rows = connection.execute(select(job).where(job.c.kind == kinds.read).order_by(job.c.id.desc())).all()
    return [_import(connection, row, kinds) for row in rows]


def find_import(connection: Connection, number: int, kinds: Kinds) -> dict[str, Any] | None:
    """Return what the page of an import shows; ``None`` if the import does not exist.

    Parameters
    ----------
    number
        Number of the job that read the files.

    Returns
    -------
    dict
        - ``id``, ``at``: number and time of the import
        - ``arguments``: answers in the form
        - ``found``: result of the job that read the files
        - ``added``: result of the job that added the content; empty if nothing was added
        - ``last``: row of the latest job of the import
        - ``is_added``: whether the content of the files is in the review
        - ``is_removed``: whether the content was added and then removed
    """
    job = schema.job
    row = connection.execute(select(job).where(job.c.kind == kinds.read, job.c.id == number)).one_or_none()
    return None if row is None else _import(connection, row, kinds)


def _import(connection: Connection, row: Any, kinds: Kinds) -> dict[str, Any]:
    job = schema.job
    of = func.json_extract(job.c.arguments, "$.of") == row.id
    later = connection.execute(select(job).where(job.c.kind.in_(kinds[1:]), of).order_by(job.c.id)).all()
    last = later[-1] if later else row
    added = next((each for each in reversed(later) if each.kind == kinds.add and each.state == "done"), None)
    ended = next((each for each in reversed(later) if each.state == "done"), None)
    # Some imports are added again by the kind of job that removes them.
    is_removed = ended is not None and ended.kind == kinds.remove and not json.loads(ended.arguments).get("again")
    return {
        "id": row.id,
        "at": row.asked,
        "arguments": json.loads(row.arguments),
        "found": json.loads(row.result),
        "added": json.loads(added.result) if added is not None else {},
        "last": last,
        "is_removed": is_removed,
        "is_added": added is not None and not is_removed,
    }


def choices(connection: Connection) -> list[tuple[str, str]]:
    """Return the account number and the name of each person in the review, as options of a form field."""
    return [(str(account), name) for account, name in names_of(connection).items()]


def chosen_people(
    visit: Visit, connection: Connection, fields: Mapping[str, str], *, missing: str, twice: str
) -> dict[str, int | None]:
    """Return the account number that was chosen for each person in the imported files.

    The result has the same keys as ``fields``. If a person is not a member of the review, the account number is
    ``None``.

    Parameters
    ----------
    fields
        Name of the form field for each person, keyed by the person's name or by the person's number in the copy.
    missing
        Message if no account was chosen for a person.
    twice
        Message if one account was chosen for two people.

    Raises
    ------
    Refused
        If no account was chosen for a person, or if one account was chosen for two people.
    """
    known = set(map(str, names_of(connection)))
    chosen = {person: visit.text(field) for person, field in fields.items()}
    if not known.issuperset(set(chosen.values()) - {NEW}):
        raise Refused(missing)
    accounts = [text for text in chosen.values() if text != NEW]
    if len(set(accounts)) < len(accounts):
        raise Refused(twice)
    return {person: None if text == NEW else int(text) for person, text in chosen.items()}
