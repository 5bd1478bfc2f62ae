"""Write the log of events to text files, one JSON object per line.

The files in ``data/review/log`` can be read without mechtag. A lost database can be restored from them; see
`mechtag.review.restoring`. The files contain no passwords and no sessions.

- ``events-2026-11.jsonl``: all actions that people took in a month
- ``import-1.jsonl``: the records of an import; see `mechtag.review.import_log`
- ``full-text-1.jsonl``: the text of an uploaded file; see `mechtag.review.import_log`
- ``jobs.jsonl``: the jobs that have ended, with their results
- ``facts.json``: single values, such as the name of the review
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_text
from mechtag.review.store import schema
from mechtag.review.workspace import ENDED, Workspace

#: Names of the files with events, ended jobs and single values.
EVENTS, JOBS, FACTS = "events-*.jsonl", "jobs.jsonl", "facts.json"
#: Fields of events whose values are numbers of records, which are written as record ids.
NUMBERS = ("into", "other")
#: Longest line of a log in bytes; the log of a project zip is untrusted.
LONGEST_LINE = 64 << 20
# Time between two writes, in seconds.
_PAUSE = 10.0
# Number of events that are read from the database at a time.
_CHUNK = 1000


def text_of_facts(facts: Mapping[str, Any]) -> str:
    """Return the JSON text of the file `FACTS`; ``facts`` contains the values of table ``fact``, keyed by name."""
    return json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


class Journal:
    """Copies events, ended jobs and single values from the database to the log files.

    Several processes may write to the log files of one review; a lock makes them take turns. If a different process has
    changed the log files, the journal reads them again before it writes.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._store, self._folder = workspace.store, workspace.folder / "log"
        self._sizes: dict[str, int] = {}
        self._last = 0
        self._ended: set[int] = set()

    def flush(self) -> int:
        """Write the events, jobs and values that the files do not contain yet, and return the number of new events."""
        # If the project has been moved or deleted, its folder is not created again.
        self._folder.mkdir(exist_ok=True)
        with FileLock(self._folder / ".lock"):
            if self._sizes != self._measure():
                self._last = _repair(self._folder)
                self._ended = {int(row["id"]) for row in read_lines(self._folder / JOBS)}
            self._write_facts()
            self._write_jobs()
            written = self._write_events()
            self._sizes = self._measure()
        return written

    def _measure(self) -> dict[str, int]:
        files = [*self._folder.glob(EVENTS), *self._folder.glob(JOBS)]
        return {path.name: path.stat().st_size for path in files}

    def _write_events(self) -> int:
        written = 0
        while rows := self._next(self._last):
            for month, part in groupby(rows, key=lambda row: str(row["at"])[:7]):
                _append(self._folder / f"events-{month}.jsonl", map(_line, part))
            self._last = int(rows[-1]["seq"])
            written += len(rows)
        return written

    def _next(self, after: int) -> list[dict[str, Any]]:
        with self._store.read() as connection:
            return list(_exported(connection, after))

    def _write_jobs(self) -> None:
        job = schema.job
        with self._store.read() as connection:
            ended = set(connection.execute(select(job.c.id).where(job.c.state.in_(ENDED))).scalars())
            new = sorted(ended - self._ended)
            rows = [
                dict(row._mapping)
                for start in range(0, len(new), _CHUNK)
                for row in connection.execute(select(job).where(job.c.id.in_(new[start : start + _CHUNK])))
            ]
        if rows:
            _append(self._folder / JOBS, map(_line, rows))
        self._ended |= ended

    def _write_facts(self) -> None:
        with self._store.read() as connection:
            found = {row.key: json.loads(row.value) for row in connection.execute(select(schema.fact))}
        text, path = text_of_facts(found), self._folder / FACTS
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)

    @contextmanager
    def kept(self, say: Callable[[str], None] = print) -> Iterator[None]:
        """Return a context manager that writes new events to the log files while its block runs.

        Events are written at the beginning of the block, every 10 seconds, and at the end. If the log files cannot be
        written, ``say`` is called once with a message. The events remain in the database, and are written as soon as
        this is possible again.
        """
        stopped = threading.Event()
        complained = False

        def write() -> None:
            nonlocal complained
            try:
                self.flush()
                complained = False
            except (OSError, SQLAlchemyError, MechtagError) as error:
                if not complained:
                    say(_not_written(self._folder, error))
                complained = True

        def keep() -> None:
            while not stopped.wait(_PAUSE):
                write()

        write()
        writer = threading.Thread(target=keep, daemon=True)
        writer.start()
        try:
            yield
        finally:
            stopped.set()
            writer.join()
            write()


def _not_written(folder: Path, error: Exception) -> str:
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error).splitlines()[0]
    return (
        f"{folder}: the log could not be written ({reason}); decisions are still saved in the database, and the log is "
        "completed as soon as its files can be written again"
    )


def _exported(connection: Connection, after: int) -> Iterator[dict[str, Any]]:
    """Yield at most 1,000 events that follow event number ``after``, in the format of the log."""
    event = schema.event
    rows = connection.execute(select(event).where(event.c.seq > after).order_by(event.c.seq).limit(_CHUNK)).all()
    sights = {
        row.id: dict(row._mapping)
        for row in connection.execute(select(schema.sight).where(schema.sight.c.id.in_({row.sight for row in rows})))
    }
    numbers = {row.record for row in rows} | {seen["record"] for seen in sights.values()}
    numbers |= {value[name] for row in rows for value in [json.loads(row.value)] for name in NUMBERS if name in value}
    record = schema.record
    # The log contains record ids instead of record numbers, and rows of table ``sight`` instead of their numbers.
    names = dict[int, str]()
    for number, name in connection.execute(select(record.c.id, record.c.record_id).where(record.c.id.in_(numbers))):
        names[number] = name
    for row in rows:
        content = dict(row._mapping)
        value = json.loads(row.value)
        content["value"] = value | {name: names[value[name]] for name in NUMBERS if name in value}
        content["record"], content["number"] = names.get(row.record), row.record
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
    """Remove incomplete last lines from the log files, and return the number of the last event (``0`` if none)."""
    for path in (*folder.glob(EVENTS), *folder.glob(JOBS)):
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with path.open("r+b") as file:
                file.truncate(whole)
    last = _last_event(folder)
    return 0 if last is None else int(last["seq"])


def _last_event(folder: Path) -> dict[str, Any] | None:
    """Return the last event in the log files of a folder; ``None`` if they contain no event."""
    found = list[dict[str, Any]]()
    for path in folder.glob(EVENTS):
        data = path.read_bytes()
        end = data.rfind(b"\n")
        if end >= 0:
            line = data[data.rfind(b"\n", 0, end) + 1 : end]
            found.append(_parse(path, line, data.count(b"\n")))
    # The clock may have been set back, so the last line of the last file need not be the last event.
    return max(found, key=lambda row: int(row["seq"]), default=None)


def _parse(path: Path, line: str | bytes, number: int) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except (TypeError, ValueError):
        raise MechtagError(f"{path}: line {number} is damaged; restore this file from a backup") from None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON object in each line of a file. If the file does not exist, nothing is yielded.

    Raises
    ------
    MechtagError
        If a line is damaged or too long.
    """
    if path.exists():
        for number, line in enumerate(lines_of(path), start=1):
            if line != b"\n":
                yield _parse(path, line, number)


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file one by one, without reading the whole file into memory.

    Only a line feed ends a line.

    Raises
    ------
    MechtagError
        If a line is longer than `LONGEST_LINE`.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise MechtagError(
                    f"{path}: line {number} is longer than any line that mechtag writes; restore this file "
                    "from a backup"
                )
            yield line


def lacks_events(database: Path, folder: Path) -> bool:
    """Return whether a database is missing, damaged, or older than the log in a folder."""
    last = _last_event(folder)
    if last is None:
        return False
    if not database.exists():
        return True
    try:
        with closing(sqlite3.connect(database)) as connection:
            query = "SELECT client_id, part FROM event WHERE seq = ?"
            return bool(connection.execute(query, (last["seq"],)).fetchone() != (last["client_id"], last["part"]))
    except sqlite3.OperationalError as error:
        # Other errors are reported when the database is opened.
        return "no such table" in str(error)
    except sqlite3.DatabaseError:
        return True


def back_up(workspace: Workspace, *, keep: int = 7) -> Path:
    """Copy the database to ``data/review/backups``, and return the path of the copy.

    If the database has already been copied today, it is not copied again. Only the latest ``keep`` copies are kept.
    """
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
