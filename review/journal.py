"""Write the log of events to text files, one JSON object per line, and rebuild the database from these files.

The files in ``data/review/log`` can be read without mechtag, and are enough to restore every decision. They contain no
passwords and no sessions.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, Sentence
from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.store.events import derive_everything
from mechtag.review.store.records import add_records
from mechtag.review.workspace import Workspace

# Time between two writes, in seconds.
_PAUSE = 10.0
# Events that are read from the database at a time.
_CHUNK = 1000
# Fields whose values are numbers of records, which are written as record ids.
_NUMBERS = ("into", "other")


class Journal:
    """Copies each event from the database to the files of the log, once the event is committed.

    Parameters
    ----------
    workspace
    """

    def __init__(self, workspace: Workspace) -> None:
        self._store, self._folder = workspace.store, workspace.folder / "log"
        self._lock = threading.Lock()
        self._last: int | None = None

    def flush(self) -> int:
        """Write the events that are not in the files yet, and return the number of events written."""
        with self._lock:
            if self._last is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._last = _repair(self._folder)
            written = 0
            while rows := self._next(self._last):
                for month in dict.fromkeys(row["at"][:7] for row in rows):
                    lines = [_line(row) for row in rows if row["at"][:7] == month]
                    _append(self._folder / f"events-{month}.jsonl", lines)
                self._last = int(rows[-1]["seq"])
                written += len(rows)
            return written

    def _next(self, after: int) -> list[dict[str, Any]]:
        with self._store.read() as connection:
            return list(_exported(connection, after))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Return a context manager that calls `flush` every few seconds while the block runs, and once at the end."""
        stopped = threading.Event()

        def keep() -> None:
            while not stopped.wait(_PAUSE):
                self.flush()

        self.flush()
        writer = threading.Thread(target=keep, daemon=True)
        writer.start()
        try:
            yield
        finally:
            stopped.set()
            writer.join()
            self.flush()


def _exported(connection: Connection, after: int) -> Iterator[dict[str, Any]]:
    """Yield the next events, with the ids of their records and with what the person saw."""
    event = schema.event
    rows = connection.execute(select(event).where(event.c.seq > after).order_by(event.c.seq).limit(_CHUNK)).all()
    numbers = {row.record for row in rows} | {
        value[name] for row in rows for value in [json.loads(row.value)] for name in _NUMBERS if name in value
    }
    record = schema.record
    names = dict[int, str]()
    for number, name in connection.execute(select(record.c.id, record.c.record_id).where(record.c.id.in_(numbers))):
        names[number] = name
    sights = {
        row.id: dict(row._mapping)
        for row in connection.execute(select(schema.sight).where(schema.sight.c.id.in_({row.sight for row in rows})))
    }
    for row in rows:
        content = dict(row._mapping)
        value = json.loads(row.value)
        content["value"] = value | {name: names[value[name]] for name in _NUMBERS if name in value}
        content["record"] = names.get(row.record)
        seen = sights.get(row.sight)
        content["sight"] = None if seen is None else seen | {"record": names[seen["record"]]}
        yield content


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True) + "\n"


def _append(path: Path, lines: Iterable[str]) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _repair(folder: Path) -> int:
    """Remove a last line that a crash left incomplete, and return the number of the last event in the files."""
    last = 0
    for path in sorted(folder.glob("events-*.jsonl")):
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with path.open("r+b") as file:
                file.truncate(len(whole))
        # The clock may have been set back, so the last line of the last file need not be the last event.
        final = whole[whole.rfind(b"\n", 0, -1) + 1 :]
        if final:
            last = max(last, int(json.loads(final)["seq"]))
    return last


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the events in the files of a log, in order.

    Raises
    ------
    MechtagError
        If the folder contains no log, a line is damaged, or an event is missing.
    """
    rows = list[dict[str, Any]]()
    for path in sorted(folder.glob("events-*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if line:
                try:
                    rows.append(json.loads(line))
                except ValueError:
                    raise MechtagError(f"{path}: line {number} is damaged; restore this file from a backup") from None
    if not rows:
        raise MechtagError(f"{folder}: there is no log of events, so nothing can be restored")
    rows.sort(key=lambda row: row["seq"])
    for place, row in enumerate(rows, start=1):
        if row["seq"] != place:
            raise MechtagError(f"{folder}: event {place} is missing from the log; restore its files from a backup")
    return rows


def rebuild(path: Path, events: Iterable[dict[str, Any]], records: list[Record], sentences: Iterable[Sentence]) -> None:
    """Create a new database from records and from the events of a log.

    The new accounts have no passwords. `mechtag review --new-owner-link` prints a link with which an owner can sign in,
    and the owner can create links for the others.

    Parameters
    ----------
    path
        File of the new database, which must not exist.
    events
        As returned by `read_log`.

    Raises
    ------
    MechtagError
        If an event is about a record that is not among the records.
    """
    store = Store(path)
    try:
        with store.write() as connection:
            add_records(connection, records, sentences, 1, {})
            rows = connection.execute(select(schema.record.c.record_id, schema.record.c.id))
            numbers = {name: number for name, number in rows}
            for row in events:
                _restore(connection, row, numbers)
            derive_everything(connection)
    finally:
        store.close()


def _restore(connection: Connection, row: dict[str, Any], numbers: dict[str, int]) -> None:
    value = dict(row["value"])
    try:
        record = None if row["record"] is None else numbers[row["record"]]
        value |= {name: numbers[value[name]] for name in _NUMBERS if name in value}
    except KeyError as error:
        raise MechtagError(
            f"event {row['seq']} is about the record {error.args[0]}, which is not among the records of the project; "
            "restore data/review/records.parquet from a backup"
        ) from None
    if row["kind"] == "account":
        person = {"id": value["account"], "name": value["name"], "role": value["role"], "created": row["at"]}
        connection.execute(insert(schema.account).values(person))
    seen = row["sight"]
    if seen is not None:
        known = connection.execute(select(schema.sight.c.id).where(schema.sight.c.id == seen["id"])).first()
        if known is None:
            connection.execute(insert(schema.sight).values({**seen, "record": numbers[seen["record"]]}))
    content = {**row, "record": record, "value": json.dumps(value, ensure_ascii=False, sort_keys=True)}
    connection.execute(insert(schema.event).values({**content, "sight": None if seen is None else seen["id"]}))


def back_up(workspace: Workspace, *, keep: int = 7) -> Path:
    """Copy the database into ``data/review/backups`` at most once a day, and delete all but the latest copies."""
    folder = workspace.folder / "backups"
    folder.mkdir(exist_ok=True)
    target = folder / f"review-{datetime.now(UTC):%Y-%m-%d}.sqlite3"
    if not target.exists():
        part = target.with_suffix(".part")
        part.unlink(missing_ok=True)
        workspace.store.backup(part)
        part.replace(target)
    for old in sorted(folder.glob("review-*.sqlite3"))[:-keep]:
        old.unlink()
    return target
