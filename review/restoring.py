"""Restore the database of a review from the text files of its log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from mechtag.core.errors import MechtagError
from mechtag.review.acts import utc_now
from mechtag.review.full_texts import READ as READ_FULL_TEXTS
from mechtag.review.import_log import read_import_log
from mechtag.review.imports import ADD, FILES, READ, REMOVE
from mechtag.review.jobs import ranking, tagging
from mechtag.review.jobs.importing import order_at_once
from mechtag.review.journal import EVENTS, FACTS, JOBS, NUMBERS, read_lines
from mechtag.review.store import schema
from mechtag.review.store.accounts import LOST
from mechtag.review.store.engine import Store
from mechtag.review.store.events import apply_copy, derive_everything
from mechtag.review.workspace import write_fact

# Number of rows that are inserted at a time.
_CHUNK = 500
# Number of a job in the ids of the events that the job wrote.
_JOB = re.compile(r"-job-(\d{1,12})")
# Job that an unfinished import needs, by its state.
_UNFINISHED = {"reading": READ, "adding": ADD, "removing": REMOVE}


@dataclass
class Restored:
    """The result of `restore`.

    Attributes
    ----------
    events, records
        Number of restored events, and number of restored records.
    owner
        Name of the owner who can sign in without a password, or ``""`` if the review has no active owner.
    others
        Names of the other active people, who need new passwords.
    """

    events: int = 0
    records: int = 0
    owner: str = ""
    others: list[str] = field(default_factory=list)


def read_log(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield all events of a log in the order of their numbers.

    The log has one file per month. The numbers increase within each file, but not always from file to file: an event
    that was imported from a colleague is in the file of the month in which it happened.

    Raises
    ------
    MechtagError
        If the folder contains no log, a line is damaged, or an event is missing.
    """
    # Logs can be long, so only one event of each file is in memory at a time.
    files = [read_lines(path) for path in sorted(folder.glob(EVENTS))]
    place = 0
    for place, row in enumerate(merge(*files, key=lambda row: row["seq"]), start=1):
        if row["seq"] != place:
            raise MechtagError(
                f"{folder}: event {place} is missing from the log; restore the files of the log from a backup"
            )
        yield row
    if not place:
        raise MechtagError(
            f"{folder}: this folder contains no log of events, so the database cannot be restored from it; copy the "
            "folder from a backup"
        )


def restore(database: Path, folder: Path, seed: int) -> Restored:
    """Create a database from the log in a folder.

    The accounts of all people are restored with their names and roles. The log contains no passwords, so everybody
    needs a new password, except the first active owner. This owner can sign in without a password on this computer.

    Parameters
    ----------
    database
        File of the new database, which must not exist.
    folder
        The folder ``data/review/log``.
    seed
        Seed of the random order in which people read the records until a ranking is available.

    Raises
    ------
    MechtagError
        If the log is damaged or incomplete.
    """
    # The log is read twice, because accounts come first, and before a database is made, so that none is left behind.
    people = [row for row in read_log(folder) if row["kind"] == "account"]
    found, written = Restored(), set[int]()
    store = Store(database)
    try:
        with store.write() as connection:
            _restore_people(connection, people)
            found.records = _restore_imports(connection, folder)
            log = read_log(folder)
            while rows := list(islice(log, _CHUNK)):
                _restore_events(connection, rows)
                found.events += len(rows)
                written |= {int(match[1]) for row in rows if (match := _JOB.search(row["client_id"]))}
            for key, value in _read_facts(folder).items():
                write_fact(connection, key, value)
            last = _restore_jobs(connection, folder, written)
            derive_everything(connection)
            _name_people(connection, found)
            _discard_missing(connection, folder.parent / "uploads")
            order_at_once(connection, seed)
            _add_jobs(connection, last)
    finally:
        store.close()
    return found


def _restore_people(connection: Connection, people: Iterable[Mapping[str, Any]]) -> None:
    """Insert each account with the role that it had when it was created."""
    for row in people:
        value = row["value"]
        # The current role and state are derived from later events.
        person = {"id": value["account"], "name": value["name"], "role": value["role"], "created": row["at"]}
        connection.execute(insert(schema.account).values({**person, "password": LOST}))


def _name_people(connection: Connection, found: Restored) -> None:
    """Let the first active owner sign in without a password, and store the names of active people in ``found``."""
    table = schema.account
    for row in connection.execute(select(table).order_by(table.c.id)).all():
        if not found.owner and row.role == "owner" and row.state == "active":
            connection.execute(update(table).where(table.c.id == row.id).values(password=None))
            found.owner = row.name
        elif row.state == "active":
            found.others.append(row.name)


def _restore_imports(connection: Connection, folder: Path) -> int:
    """Insert imports, records and full texts from the log, and return how many records were inserted."""
    chosen = (schema.batch, schema.upload, schema.record, schema.copy, schema.pair, schema.full_text)
    tables = {table.name: table for table in chosen}
    records, waiting, last = 0, list[dict[str, Any]](), ""
    for name, row in read_import_log(folder):
        if waiting and (name != last or len(waiting) == _CHUNK):
            connection.execute(insert(tables[last]), waiting)
            waiting = []
        last = name
        waiting.append(row)
        records += name == schema.record.name
    if waiting:
        connection.execute(insert(tables[last]), waiting)
    for copy in connection.execute(select(schema.copy.c.id).order_by(schema.copy.c.id)).scalars().all():
        apply_copy(connection, copy, together=True)
    return records


def _restore_events(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    names = {row["record"] for row in rows} | {seen["record"] for row in rows if (seen := row["sight"]) is not None}
    names |= {row["value"][name] for row in rows for name in NUMBERS if name in row["value"]}
    record, sight = schema.record, schema.sight
    found = connection.execute(select(record.c.record_id, record.c.id).where(record.c.record_id.in_(names)))
    numbers = {name: number for name, number in found}
    sights = {row["sight"]["id"]: row["sight"] for row in rows if row["sight"] is not None}
    known = set(connection.execute(select(sight.c.id).where(sight.c.id.in_(sights))).scalars())
    events = []
    for row in rows:
        name, value = row["record"], dict(row["value"])
        if name is not None and name not in numbers:
            numbers[name] = _take_out(connection, row)
        value |= {key: numbers[value[key]] for key in NUMBERS if key in value}
        seen = row["sight"]
        content = {key: row[key] for key in schema.event.c.keys() if key in row}
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
        place = {"record": None if name is None else numbers[name], "sight": None if seen is None else seen["id"]}
        events.append({**content, **place, "value": text})
    new = [{**seen, "record": numbers[seen["record"]]} for number, seen in sights.items() if number not in known]
    if new:
        connection.execute(insert(sight), new)
    connection.execute(insert(schema.event), events)


def _take_out(connection: Connection, row: Mapping[str, Any]) -> int:
    """Make a duplicate a separate record, and return the number of this record.

    ``row`` is the first event about the duplicate.
    """
    copy, record = schema.copy, schema.record
    found = connection.execute(
        select(copy).where(func.json_extract(copy.c.row, "$.record_id") == row["record"])
    ).one_or_none()
    if found is None:
        raise MechtagError(
            f"event {row['seq']} is about record {row['record']}, which is missing from the imported records; restore "
            "the files import-*.jsonl of the log from a backup"
        )
    values = {"id": row.get("number"), **json.loads(found.row)}
    number = int(connection.execute(insert(record).values(values).returning(record.c.id)).scalar_one())
    connection.execute(update(copy).where(copy.c.id == found.id).values(record=number))
    return number


def _discard_missing(connection: Connection, uploads: Path) -> None:
    """Mark unfinished imports as discarded if their uploaded files no longer exist."""
    batch = schema.batch
    for number in connection.execute(select(batch.c.id).where(batch.c.state.in_(("reading", "read")))).scalars().all():
        if not (uploads / str(number)).is_dir():
            connection.execute(update(batch).where(batch.c.id == number).values(state="discarded"))


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except (TypeError, ValueError):
        raise MechtagError(f"{path}: this file is damaged; restore it from a backup") from None


def _restore_jobs(connection: Connection, folder: Path, written: Iterable[int]) -> int:
    """Insert the jobs that the log contains, and return the number for the next new job.

    The number is higher than those of all earlier jobs. ``written`` contains the numbers of all jobs that wrote events;
    some of these jobs may be missing from the log.
    """
    rows = {row["id"]: row for row in read_lines(folder / JOBS)}
    if rows:
        connection.execute(insert(schema.job), list(rows.values()))
    # The log contains only jobs that had ended. A job that had not ended may have written events whose ids contain its
    # number, so this number is not used again.
    return 1 + max((*rows, *written), default=0)


def _add_jobs(connection: Connection, number: int) -> None:
    """Insert jobs that finish interrupted imports, and jobs that compute the data that the log lacks.

    The first inserted job gets the number ``number``.
    """
    batch = schema.batch
    jobs: list[tuple[str, dict[str, Any]]] = [
        (_UNFINISHED[row.state], {"batch": row.id})
        for row in connection.execute(select(batch).where(batch.c.state.in_(_UNFINISHED)).order_by(batch.c.id))
    ]
    file = schema.full_text
    unread = list(connection.execute(select(file.c.id).where(file.c.state == "reading").order_by(file.c.id)).scalars())
    jobs += [(READ_FULL_TEXTS, {"files": unread})] if unread else []
    jobs += [(ranking.KIND, {}), (tagging.KIND, {}), (FILES, {})]
    for place, (kind, arguments) in enumerate(jobs):
        text = json.dumps(arguments, ensure_ascii=False, sort_keys=True)
        values = {"id": number + place, "kind": kind, "arguments": text, "asked": utc_now(), "state": "waiting"}
        connection.execute(insert(schema.job).values(values))
