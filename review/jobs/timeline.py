"""Count how many records each person had judged, and how many records were settled, at the end of each day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, case, func, select

from mechtag.review.plan import STAGES
from mechtag.review.store import schema
from mechtag.review.store.exercises import hidden_records


def read_timeline(connection: Connection) -> dict[str, dict[str, Any]]:
    """Return the progress of each stage (such as ``screen``) by day, in the time zone of this computer.

    Three things do not count: judgements that were undone or sent back, judgements of withdrawn people, and settled
    records in a running calibration exercise.

    Returns
    -------
    dict
        One dict per stage, keyed by stage:

        - ``days``: dates (ISO) on which records were judged or settled
        - ``people``: for each person, the total number of judged records by the end of each day, keyed by name
        - ``settled``: total number of settled records by the end of each day
    """
    return {stage: _timeline(connection, stage) for stage in STAGES}


def read_finished(connection: Connection, stage: str) -> list[Any]:
    """Return the time at which each person first finished each record at a stage, such as ``screen``.

    Judgements that were undone or sent back are left out. Judgements of withdrawn people are left out, too.

    Returns
    -------
    list of rows
        ``record_id``, ``name`` (name of the person) and ``at`` (time in UTC).
    """
    current, account, event, record = schema.current, schema.account, schema.event, schema.record
    judged = (
        select(current.c.record, current.c.coder)
        .where(current.c.stage == stage, current.c.committed == 1)
        .distinct()
        .subquery()
    )
    # Coders finish a record with a ``commit`` event. Screening decisions and imported codes have no such event, so
    # their first ``code`` event counts.
    finished = func.min(case((event.c.kind == "commit", event.c.at)))
    return list(
        connection.execute(
            select(record.c.record_id, account.c.name, func.coalesce(finished, func.min(event.c.at)).label("at"))
            .select_from(judged)
            .join(record, record.c.id == judged.c.record)
            .join(account, account.c.id == judged.c.coder)
            .join(event, (event.c.record == judged.c.record) & (event.c.coder == judged.c.coder))
            .where(event.c.stage == stage, event.c.kind.in_(("code", "commit")), account.c.state != "withdrawn")
            .group_by(judged.c.record, judged.c.coder)
        )
    )


def _timeline(connection: Connection, stage: str) -> dict[str, Any]:
    need, event = schema.need, schema.event
    settled = connection.execute(
        select(event.c.at)
        .join(need, need.c.event == event.c.seq)
        .where(
            need.c.stage == stage,
            need.c.state == "settled",
            need.c.record.not_in(hidden_records(connection, stage)),
        )
    ).scalars()
    by_person: dict[str, list[str]] = {}
    for row in read_finished(connection, stage):
        by_person.setdefault(row.name, []).append(day_of(row.at))
    ended = [day_of(at) for at in settled]
    days = sorted({*ended, *(day for own in by_person.values() for day in own)})
    people = {name: _until(days, own) for name, own in sorted(by_person.items())}
    return {"days": days, "people": people, "settled": _until(days, ended)}


def day_of(moment: str) -> str:
    """Return the date of a time (ISO 8601) in the time zone of this computer; a date has the form ``2026-11-30``."""
    return datetime.fromisoformat(moment).astimezone().date().isoformat()


def _until(days: Sequence[str], found: Iterable[str]) -> list[int]:
    numbers: Mapping[str, int] = Counter(found)
    return list(accumulate(numbers.get(day, 0) for day in days))
