"""Create or open the database of a review, and read and write it in transactions."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError, OperationalError

from mechtag.core.errors import MechtagError
from mechtag.review.store import schema
from mechtag.review.store.events import derive_everything, derive_stale

#: Longest time to wait for another process that writes, in milliseconds.
PATIENCE_MS = 5000
# Version of the schema in which the allowed states of jobs were last changed.
_JOBS_SINCE = 7
# Pause between two parts of a long change, in seconds, in which others can write.
_PAUSE = 0.005


class Damaged(MechtagError):
    """Raised if a database cannot be opened because its file is damaged."""


class Store:
    """The database of a review, in one SQLite file.

    A committed transaction survives a crash or a loss of power. Readers never wait for writers.

    Parameters
    ----------
    path
        File of the database, which is created if it does not exist.

    Raises
    ------
    Damaged
        If the file is damaged.
    MechtagError
        If the file cannot be opened, or was written by a newer version of mechtag or a different program.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(path)
        self._turn = threading.RLock()
        try:
            with self.write() as connection:
                _create(connection, path)
                found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
            if found != "ok":
                raise _damaged(path, found)
            self.catch_up()
        except OperationalError as error:
            raise MechtagError(
                f"{path}: the database cannot be opened ({error.orig}); check that mechtag may write to the folder and "
                "that the disk is not full"
            ) from None
        except DatabaseError as error:
            raise _damaged(path, error.orig) from None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Return a context manager for a transaction that reads one consistent state of the database."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Return a context manager for a transaction that writes.

        The transaction is committed at the end of the block, or rolled back after an error. Only one transaction that
        writes is open at a time, so the data that the block reads do not change until the block ends.
        """
        # Threads take turns here, because SQLite lets a waiting writer try again only after longer and longer pauses.
        with self._turn, self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def catch_up(self) -> None:
        """Update the tables computed from the log of events, for all records whose update was postponed.

        The work is divided into short transactions. Between these, others can write to the database.
        """
        more = True
        while more:
            with self.write() as connection:
                more = derive_stale(connection)
            time.sleep(_PAUSE if more else 0)

    def rebuild(self) -> list[str]:
        """Recompute all tables that are computed from the log of events; return the names of the wrong tables."""
        wrong = []
        with self.write() as connection:
            for table in (*schema.DERIVED, schema.tally):
                connection.exec_driver_sql(f'CREATE TEMP TABLE "before_{table.name}" AS SELECT * FROM "{table.name}"')
            derive_everything(connection)
            for table in (*schema.DERIVED, schema.tally):
                one, other = f'SELECT * FROM "before_{table.name}"', f'SELECT * FROM "{table.name}"'
                if table is schema.tally:  # states without records may be missing
                    one, other = f"{one} WHERE number", f"{other} WHERE number"
                query = f"SELECT 1 WHERE EXISTS ({one} EXCEPT {other}) OR EXISTS ({other} EXCEPT {one})"
                if connection.exec_driver_sql(query).first() is not None:
                    wrong.append(table.name)
                connection.exec_driver_sql(f'DROP TABLE "before_{table.name}"')
        return wrong

    def backup(self, target: Path) -> None:
        """Copy the database to a new file, even while the database is in use."""
        source = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        copy = sqlite3.connect(target)
        try:
            source.backup(copy)
        finally:
            copy.close()
            source.close()

    def close(self) -> None:
        """Close all connections to the database."""
        self._engine.dispose()


def _damaged(path: Path, reason: object) -> Damaged:
    return Damaged(
        f"{path}: the database is damaged ({str(reason).splitlines()[0]}); close the review page, and run 'mechtag "
        "review FOLDER --rebuild', which creates a new database from the log of events and keeps the damaged file"
    )


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": PATIENCE_MS / 1000})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: Any) -> None:
        # The transactions below are begun by SQLAlchemy's event, not by the driver, which would begin them late.
        connection.isolation_level = None
        # With FULL, a transaction is on the disk before it is confirmed.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _create(connection: Connection, path: Path) -> None:
    """Create the tables of a new database, or convert the tables of a database in an earlier format."""
    found = connection.execute(text("PRAGMA user_version")).scalar_one()
    if found == schema.VERSION:
        return
    if found > schema.VERSION:
        raise MechtagError(
            f"{path}: this project was opened with a newer version of mechtag (database format {found}; this version "
            f"reads format {schema.VERSION} and earlier); update mechtag"
        )
    if not found and connection.execute(text("SELECT 1 FROM sqlite_schema")).first() is not None:
        raise MechtagError(
            f"{path}: this database was not made by mechtag; move the file, or choose a different folder"
        )
    known = inspect(connection).get_table_names() if found else ()
    for table in reversed((*schema.DERIVED, *schema.COMPUTED)):
        if table.name not in known:
            continue  # The earlier format had no such table.
        # Rows are deleted first, so that the triggers on the table subtract them from the counts.
        connection.execute(table.delete())
        table.drop(connection)
    # SQLite cannot change a condition on a column, so the table of jobs is created again.
    older_jobs = schema.job.name in known and found < _JOBS_SINCE
    if older_jobs:
        connection.execute(text("DROP INDEX IF EXISTS job_by_state"))
        connection.execute(text("ALTER TABLE job RENAME TO older_job"))
    schema.metadata.create_all(connection)
    if older_jobs:
        connection.execute(text("INSERT INTO job SELECT * FROM older_job"))
        connection.execute(text("DROP TABLE older_job"))
    for statement in schema.STATEMENTS:
        connection.execute(text(statement))
    if found:
        derive_everything(connection)
    connection.execute(text(f"PRAGMA user_version = {schema.VERSION}"))
