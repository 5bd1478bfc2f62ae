"""Open a project for the review page, with the database and the codebook of the project."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mechtag.core.codebook import Codebook, load_codebook
from mechtag.project import Project, open_project
from mechtag.review.acts import Acts, utc_now
from mechtag.review.store import schema
from mechtag.review.store.engine import Store

#: Folder of the page's files in a project.
FOLDER = Path("data/review")
#: File of the database in this folder.
DATABASE = "review.sqlite3"


@dataclass(frozen=True)
class Workspace:
    """A project that is open in the review page.

    Attributes
    ----------
    project
    store
        The database in ``data/review``.
    """

    project: Project
    store: Store

    @classmethod
    def open(cls, project: Project) -> Workspace:
        """Open the workspace of a project; create the database if it does not exist.

        Raises
        ------
        MechtagError
            For the same reasons as `Store`.
        """
        return cls(project, Store(project.root / FOLDER / DATABASE))

    @property
    def folder(self) -> Path:
        """Return the folder ``data/review`` of the project."""
        return self.project.root / FOLDER

    @property
    def codebook(self) -> Codebook:
        """Return the codebook in use, as it is now; people can change the codebook while the page is open."""
        path = Path(self.project.settings.codebook)
        stat = path.stat()
        return _load(path, stat.st_mtime_ns, stat.st_size)

    @property
    def acts(self) -> Acts:
        """Return the actions of people in this review."""
        return Acts(self.store, self.codebook)

    def again(self) -> Workspace:
        """Return a new workspace that reads the settings and the codebook again."""
        return Workspace(open_project(self.project.root), self.store)

    @property
    def name(self) -> str:
        """Return the name of the review: the chosen name, or else the name of the folder."""
        with self.store.read() as connection:
            return self.name_in(connection)

    def name_in(self, connection: Connection) -> str:
        """Return `name`, read in a transaction that is already open."""
        return str(read_fact(connection, "name") or self.project.root.resolve().name)

    @property
    def seed(self) -> int:
        """Return the seed of all random draws of the review."""
        return self.project.settings.seed


@lru_cache(maxsize=4)
def _load(path: Path, changed: int, size: int) -> Codebook:
    return load_codebook(path)


def read_fact(connection: Connection, key: str) -> Any:
    """Return the value stored under a key, such as the model in use, or ``None`` if there is no value."""
    value = connection.execute(select(schema.fact.c.value).where(schema.fact.c.key == key)).scalar_one_or_none()
    return None if value is None else json.loads(value)


def write_fact(connection: Connection, key: str, value: Any) -> None:
    """Store a value under a key, and replace any earlier value."""
    text = json.dumps(value, ensure_ascii=False)
    connection.execute(
        upsert(schema.fact).values(key=key, value=text).on_conflict_do_update(["key"], set_={"value": text})
    )


def add_job(connection: Connection, kind: str, asked_by: int | None, **arguments: Any) -> int:
    """Add a job for the worker process, and return the number of the job.

    If a job of the same kind with the same arguments is already waiting, no job is added, and the number of that job is
    returned.
    """
    table = schema.job
    text = json.dumps(arguments, ensure_ascii=False, sort_keys=True)
    waiting = connection.execute(
        select(table.c.id).where(table.c.kind == kind, table.c.arguments == text, table.c.state == "waiting")
    ).scalar()
    if waiting is not None:
        return int(waiting)
    values = {"kind": kind, "arguments": text, "asked_by": asked_by, "asked": utc_now(), "state": "waiting"}
    return int(connection.execute(insert(table).values(values).returning(table.c.id)).scalar_one())


def last_job(connection: Connection, kind: str, *, done: bool = False) -> Any:
    """Return the latest job of a kind or, if ``done``, the latest that succeeded; ``None`` if there is no such job."""
    table = schema.job
    query = select(table).where(table.c.kind == kind).order_by(table.c.id.desc()).limit(1)
    return connection.execute(query.where(table.c.state == "done") if done else query).one_or_none()


@dataclass(frozen=True)
class Working:
    """The current or next job of the worker: a message, and the progress in percent if known."""

    job: int
    message: str
    percent: int | None


#: State of a job that somebody has cancelled and that the worker has not stopped yet.
STOPPING = "stopping"
#: States of jobs that have not ended, and of jobs that have ended.
ACTIVE = ("waiting", "running", STOPPING)
ENDED = ("done", "failed", "cancelled")
#: Message shown while a job has not begun, keyed by the kind of the job.
WAITING = {
    "rank": "Waiting to compute the reading order",
    "read": "Waiting to read the files",
    "add": "Waiting to add the records",
    "remove": "Waiting to remove the records",
    "files": "Waiting to write the tables of records",
    "tag": "Waiting to compute suggestions",
    "export": "Waiting to export",
    "read_full_texts": "Waiting to read the full texts",
    "fetch_abstracts": "Waiting to fetch abstracts",
    "learn": "Waiting to train",
    "read_codings": "Waiting to read the codes",
    "add_codings": "Waiting to add the codes",
    "remove_codings": "Waiting to remove the codes",
    "read_project": "Waiting to read the project",
    "add_project": "Waiting to add what was done in the copy",
    "calibrate": "Waiting to compare the codes of the exercise",
    "curve": "Waiting to compute the learning curve",
    "roll_back": "Waiting to restore the previous model",
    "accuracy": "Waiting to measure the accuracy",
}


def now_working(connection: Connection) -> Working | None:
    """Return the current job of the worker or else the next job, or ``None`` if no job is waiting."""
    table = schema.job
    row = connection.execute(
        select(table).where(table.c.state.in_(ACTIVE)).order_by(table.c.state == "waiting", table.c.id).limit(1)
    ).first()
    return None if row is None else working(row)


def working(row: Any) -> Working:
    """Return the message and the progress of the job in a row of table ``job``."""
    message = row.message or WAITING.get(row.kind, "Working")
    return Working(row.id, message, 100 * row.done // row.total if row.total else None)
