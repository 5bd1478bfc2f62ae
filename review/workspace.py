"""Open a project for the review page, and store named values and jobs in its database."""

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

#: Folder in a project with the files of the review page.
FOLDER = Path("data/review")
#: File of the database in this folder.
DATABASE = "review.sqlite3"


@dataclass(frozen=True)
class Workspace:
    """A project that is open on the review page; ``store`` is the database in its folder ``data/review``."""

    project: Project
    store: Store

    @classmethod
    def open(cls, project: Project) -> Workspace:
        """Open a project for the review page, and create its database if necessary.

        Raises
        ------
        MechtagError
            If the database cannot be opened; see `Store`.
        """
        return cls(project, Store(project.root / FOLDER / DATABASE))

    @property
    def folder(self) -> Path:
        """Return the folder ``data/review`` of the project."""
        return self.project.root / FOLDER

    @property
    def codebook(self) -> Codebook:
        """Return the codebook in use, including changes that people have made to its file."""
        path = Path(self.project.settings.codebook)
        stat = path.stat()
        return _load(path, stat.st_mtime_ns, stat.st_size)

    @property
    def acts(self) -> Acts:
        """Return an object that writes actions of people to the log of this review."""
        return Acts(self.store, self.codebook)

    def again(self) -> Workspace:
        """Read the settings of the project again, and return a new workspace with the same database."""
        return Workspace(open_project(self.project.root), self.store)

    @property
    def name(self) -> str:
        """Return the name of the review, which is the name of its folder unless a person chose a different name."""
        with self.store.read() as connection:
            return self.name_in(connection)

    def name_in(self, connection: Connection) -> str:
        """Return the name of the review; it is read through ``connection``, in a transaction that is already open."""
        return str(read_fact(connection, "name") or self.project.root.resolve().name)

    @property
    def seed(self) -> int:
        """Return the seed of all random draws of the review."""
        return self.project.settings.seed


@lru_cache(maxsize=4)
def _load(path: Path, changed: int, size: int) -> Codebook:
    return load_codebook(path)


def read_fact(connection: Connection, key: str) -> Any:
    """Return the value under a key of table ``fact``, such as the name of the review.

    If there is no value under the key, the result is ``None``.
    """
    return read_facts(connection, key)[0]


def read_facts(connection: Connection, *keys: str) -> list[Any]:
    """Return the values under several keys of table ``fact``, in the order of the keys; see `read_fact`."""
    table = schema.fact
    rows = connection.execute(select(table.c.key, table.c.value).where(table.c.key.in_(keys)))
    found = {row.key: json.loads(row.value) for row in rows}
    return [found.get(key) for key in keys]


def write_fact(connection: Connection, key: str, value: Any) -> None:
    """Store a value under a key of table ``fact``, replacing any earlier value."""
    text = json.dumps(value, ensure_ascii=False)
    connection.execute(
        upsert(schema.fact).values(key=key, value=text).on_conflict_do_update(["key"], set_={"value": text})
    )


def add_job(connection: Connection, kind: str, asked_by: int | None, **arguments: Any) -> int:
    """Add a job for the worker process, and return the number of the job.

    If a job of the same kind with the same arguments is already waiting, no job is added. In this case, the number of
    the waiting job is returned.

    Parameters
    ----------
    asked_by
        Account number of the person who requests the job, or ``None`` if mechtag itself adds the job.
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
    """Return the latest job of a kind as a row of table ``job``, or ``None`` if there is no such job.

    If ``done`` is true, only jobs that succeeded count.
    """
    table = schema.job
    query = select(table).where(table.c.kind == kind).order_by(table.c.id.desc()).limit(1)
    return connection.execute(query.where(table.c.state == "done") if done else query).one_or_none()


@dataclass(frozen=True)
class Working:
    """The progress of a job.

    Attributes
    ----------
    job
        Number of the job.
    message
        Text about the current step.
    percent
        Progress in percent; ``None`` if not known.
    """

    job: int
    message: str
    percent: int | None


#: State of a job that somebody has cancelled and that the worker has not stopped yet.
STOPPING = "stopping"
#: States of jobs that have not ended, and of jobs that have ended.
ACTIVE = ("waiting", "running", STOPPING)
ENDED = ("done", "failed", "cancelled")
#: Description of each kind of job on the pages.
JOB_NAMES = {
    "rank": "Compute the reading order",
    "read": "Read the files",
    "add": "Add the records",
    "remove": "Remove the records",
    "files": "Write the tables of records",
    "tag": "Compute suggestions",
    "export": "Export",
    "read_full_texts": "Read the full texts",
    "fetch_abstracts": "Fetch abstracts",
    "learn": "Train the model",
    "calibrate": "Compare the codes of the exercise",
    "curve": "Compute the learning curve",
    "roll_back": "Restore the previous model",
    "accuracy": "Measure the accuracy",
    "read_codings": "Read the files with codes",
    "add_codings": "Add the imported codes",
    "remove_codings": "Remove the imported codes",
    "read_project": "Read the project",
    "add_project": "Add what was done in the copy",
    "remove_project": "Undo the import of the copy, or add it again",
}


def now_working(connection: Connection) -> Working | None:
    """Return the progress of the running job.

    If no job is running, the next waiting job counts. If no job is waiting either, the result is ``None``.
    """
    table = schema.job
    row = connection.execute(
        select(table).where(table.c.state.in_(ACTIVE)).order_by(table.c.state == "waiting", table.c.id).limit(1)
    ).first()
    return None if row is None else working(row)


def working(row: Any) -> Working:
    """Return the message and the progress (in percent) of a job; ``row`` is its row of table ``job``."""
    name = JOB_NAMES.get(row.kind, "Work")
    message = row.message or f"Waiting to {name[0].lower()}{name[1:]}"
    return Working(row.id, message, 100 * row.done // row.total if row.total else None)
