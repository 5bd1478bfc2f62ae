"""Store the answers of web services in a file, so that no request has to be sent twice."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from mechtag.core.errors import MechtagError
from mechtag.pipeline.fetch.requests import Answer

#: Name of the file, which is in the folder of the results.
NAME = "fetch.sqlite"
# Seconds for which the answer "not found" is used, because services add papers later.
_NEGATIVE = 30 * 24 * 3600
_FORMAT = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS answer (
    key TEXT PRIMARY KEY, source TEXT NOT NULL, url TEXT NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL,
    time REAL NOT NULL
)
"""


class Cache:
    """The answers of web services to earlier requests.

    Each answer is saved before the next request is sent. A run that is killed therefore loses at most one answer.

    Parameters
    ----------
    path
        SQLite file. If the file does not exist, the cache is empty.
    read_only
        If true, the file is neither created nor changed.

    Raises
    ------
    MechtagError
        If the file cannot be read, or is not a cache in the format of this version of mechtag.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        where = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        with self._readable():
            if read_only and not path.is_file():
                where = ":memory:"
            # Every statement is a transaction of its own.
            self._database = sqlite3.connect(where, uri=True, timeout=60, isolation_level=None)
            tables = self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            if {name for (name,) in tables} - {"answer"}:
                raise MechtagError(
                    f"{path}: answers of web services cannot be stored in this file, because it is the database of a "
                    "different program; move the file, or choose a different output folder"
                )
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _FORMAT):
                raise sqlite3.DatabaseError(
                    f"the file has format {version}, but this version of mechtag reads format {_FORMAT}"
                )
            if not read_only or where == ":memory:":
                self._database.execute(_TABLE)
                self._database.execute(f"PRAGMA user_version = {_FORMAT}")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise MechtagError(
                f"{self._path}: the stored answers of web services cannot be read: {error}; delete the file to ask the "
                "services again"
            ) from None

    def get(self, key: str, now: float) -> Answer | None:
        """Return the stored answer to a request; ``None`` if there is no valid answer.

        A negative answer, such as "not found", is valid for 30 days, because services add papers later.

        Parameters
        ----------
        key
            Text that identifies the request.
        now
            Current time in seconds since 1970.
        """
        with self._readable():
            found = self._database.execute("SELECT status, url, body, time FROM answer WHERE key = ?", (key,))
            row = found.fetchone()
        if row is None or (row[0] >= 400 and now - row[3] > _NEGATIVE):
            return None
        try:
            return Answer(row[0], row[1], zlib.decompress(row[2]), row[3])
        except zlib.error:
            return None

    def put(self, key: str, source: str, answer: Answer, *, replace: bool = True) -> None:
        """Store the answer to a request.

        Parameters
        ----------
        key
            Text that identifies the request.
        source
            Name of the service.
        replace
            Whether the new answer replaces an answer that is already stored.
        """
        with self._readable():
            self._database.execute(
                f"INSERT OR {'REPLACE' if replace else 'IGNORE'} INTO answer VALUES (?, ?, ?, ?, ?, ?)",
                (key, source, answer.url, answer.status, zlib.compress(answer.body), answer.time),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()
