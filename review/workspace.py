"""A project as the review page works on it: its folder, its database and its codebook."""

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
_DATABASE = "review.sqlite3"


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
        """Open the database of a project, and create it if it does not exist.

        Raises
        ------
        MechtagError
            If the database is damaged or was written by a newer version of mechtag.
        """
        return cls(project, Store(project.root / FOLDER / _DATABASE))

    @property
    def folder(self) -> Path:
        """Return the folder of the page's files."""
        return self.project.root / FOLDER

    @property
    def codebook(self) -> Codebook:
        """Return the codebook in use, which people can change while the page is open."""
        path = Path(self.project.settings.codebook)
        stat = path.stat()
        return _load(path, stat.st_mtime_ns, stat.st_size)

    @property
    def acts(self) -> Acts:
        """Return what people can do in the project."""
        return Acts(self.store, self.codebook)

    def again(self) -> Workspace:
        """Return the workspace with the settings and the codebook as they are now."""
        return Workspace(open_project(self.project.root), self.store)

    @property
    def name(self) -> str:
        """Return the name of the review, which is the name of its folder unless somebody has chosen one."""
        with self.store.read() as connection:
            return str(read_fact(connection, "name") or self.project.root.resolve().name)

    @property
    def seed(self) -> int:
        """Return the seed of all random draws of the review."""
        return self.project.settings.seed


@lru_cache(maxsize=4)
def _load(path: Path, changed: int, size: int) -> Codebook:
    return load_codebook(path)


def read_fact(connection: Connection, key: str) -> Any:
    """Return what the worker or the owner noted under a key, such as the model in use; ``None`` if nothing."""
    value = connection.execute(select(schema.fact.c.value).where(schema.fact.c.key == key)).scalar_one_or_none()
    return None if value is None else json.loads(value)


def write_fact(connection: Connection, key: str, value: Any) -> None:
    """Note a value under a key, in place of the earlier value."""
    text = json.dumps(value, ensure_ascii=False)
    connection.execute(
        upsert(schema.fact).values(key=key, value=text).on_conflict_do_update(["key"], set_={"value": text})
    )


def add_job(connection: Connection, kind: str, asked_by: int | None, **arguments: Any) -> int:
    """Ask the worker to do something, and return the number of the job.

    A job of the same kind with the same arguments that has not begun yet is not added again.
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


@dataclass(frozen=True)
class Working:
    """What the worker does now, or does next: a message, and how far it is in percent, if that is known."""

    job: int
    message: str
    percent: int | None


#: What is shown of a job that has not begun, by its kind.
WAITING = {
    "rank": "Waiting to order the records",
    "read": "Waiting to read the files",
    "add": "Waiting to add the records",
    "remove": "Waiting to take the records out",
    "files": "Waiting to write the tables of records",
    "tag": "Waiting to compute suggestions",
    "export": "Waiting to export",
    "learn": "Waiting to train",
    "roll_back": "Waiting to take the earlier model",
    "accuracy": "Waiting to measure the accuracy",
}


def now_working(workspace: Workspace) -> Working | None:
    """Return what the worker does now, or else what it does next; ``None`` if it has nothing to do."""
    table = schema.job
    with workspace.store.read() as connection:
        row = connection.execute(
            select(table)
            .where(table.c.state.in_(("running", "waiting")))
            .order_by(table.c.state == "waiting", table.c.id)
            .limit(1)
        ).first()
    return None if row is None else working(row)


def working(row: Any) -> Working:
    """Return what a row of table ``job`` says of its progress."""
    message = row.message or WAITING.get(row.kind, "Working")
    return Working(row.id, message, 100 * row.done // row.total if row.total else None)
