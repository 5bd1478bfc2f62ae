"""Manage the files of full texts that people upload: save the files, list them, and attach them to records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from mechtag.review.acts import Refused, utc_now
from mechtag.review.imports import File, clean_name, not_saved, save_file, saving
from mechtag.review.store import schema
from mechtag.review.workspace import ACTIVE, Workspace, add_job

READ = "read_full_texts"
#: Maximum size of a file in bytes, the same as that of `mechtag.pipeline.fulltext.reading`.
LARGEST = 200_000_000
#: What a file was found by if a person chose its record.
PERSON = "person"


@dataclass(frozen=True)
class Attached:
    """A file, and the record to which it is attached or to which it may belong.

    Attributes
    ----------
    record, title
        Number and title of the record; ``None`` and ``""`` if no record was found.
    attached
        Whether the file is attached to the record.
    found_by
        What the record was found by, such as ``DOI``; ``person`` if a person chose it.
    reason
        Why the file could not be read, or was not attached.
    pages
        Number of pages; 0 if the format has no pages.
    """

    id: int
    name: str
    state: str
    record: int | None
    title: str
    attached: bool
    found_by: str
    reason: str
    pages: int
    warnings: tuple[str, ...]


def folder_of(workspace: Workspace, file: int) -> Path:
    """Return the folder that contains an uploaded file."""
    return workspace.folder / "full-texts" / str(file)


def take_files(workspace: Workspace, coder: int, files: Sequence[File]) -> list[str]:
    """Save uploaded files, and ask the worker to read them; return a sentence about each file that is not read.

    A file that was uploaded before is read again unless it is attached to a record or is being read. The records, or
    what can be read, may have changed since.

    Raises
    ------
    Refused
        If there is no file, or the files cannot be saved. Files that were saved before are read.
    """
    if not files:
        raise Refused("no file was chosen; choose one or more full texts")
    left_out, taken = list[str](), list[int]()
    try:
        for file in files:
            number, reason = _take(workspace, coder, file, taken)
            if reason:
                left_out.append(reason)
            else:
                taken.append(number)
    finally:
        if taken:
            with workspace.store.write() as connection:
                add_job(connection, READ, coder, files=taken)
    return left_out


def _take(workspace: Workspace, coder: int, file: File, taken: Sequence[int]) -> tuple[int, str]:
    """Save an uploaded file, and return its number and, if the file is not to be read, the reason."""
    name, table = clean_name(file.name), schema.full_text
    number, folder = _new_folder(workspace)
    with saving(folder):
        try:
            _, sha256 = save_file(file, folder / name, LARGEST, "lower the resolution of its pictures")
        except Refused as error:
            shutil.rmtree(folder)
            return number, str(error)
        with workspace.store.write() as connection:
            known = connection.execute(select(table).where(table.c.sha256 == sha256)).one_or_none()
            values = {"at": utc_now(), "coder": coder, "state": "reading", "reason": ""}
            if known is None:
                connection.execute(insert(table).values(**values, id=number, sha256=sha256, name=name))
                return number, ""
            again = known.id not in taken and not _is_in_use(connection, known)
            if again:
                connection.execute(update(table).where(table.c.id == known.id).values(values))
        place = folder_of(workspace, known.id) / known.name
        if not place.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(place)
    shutil.rmtree(folder)
    same = f", as {known.name}" if known.name != name else ""
    return int(known.id), "" if again else f"{name} was uploaded before{same}"


def _is_in_use(connection: Connection, row: Any) -> bool:
    """Return whether a file, given its row of table ``full_text``, is attached to a record or is being read."""
    attachment, job = schema.attachment, schema.job
    if row.state == "reading":
        query = select(job.c.id).where(job.c.kind == READ, job.c.state.in_(ACTIVE))
    else:
        query = select(attachment.c.record).where(attachment.c.sha256 == row.sha256)
    return connection.execute(query).first() is not None


def _new_folder(workspace: Workspace) -> tuple[int, Path]:
    """Make the folder of the next file; return the number of the file, which no other upload can have, and the folder.

    Raises
    ------
    Refused
        If the folder cannot be made.
    """
    with workspace.store.read() as connection:
        number = connection.execute(select(func.max(schema.full_text.c.id))).scalar() or 0
    while True:
        number += 1
        folder = folder_of(workspace, number)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise not_saved(error) from None
        return number, folder


def list_files(connection: Connection) -> list[Attached]:
    """Return all files: those that a person has to look at first, then the others, the latest first."""
    table, attachment, record = schema.full_text, schema.attachment, schema.record
    belongs = func.coalesce(attachment.c.record, table.c.record)
    rows = connection.execute(
        select(
            *(table.c.id, table.c.name, table.c.state, table.c.reason, table.c.document),
            func.coalesce(attachment.c.found_by, table.c.found_by).label("found_by"),
            attachment.c.record.label("holder"),
            record.c.id.label("record"),
            record.c.title,
        )
        .outerjoin(attachment, attachment.c.sha256 == table.c.sha256)
        .outerjoin(record, record.c.id == belongs)
        .order_by(attachment.c.record.is_not(None), table.c.id.desc())
    )
    return [_attached(row) for row in rows]


def _attached(row: Any) -> Attached:
    document = json.loads(row.document)
    return Attached(
        id=row.id,
        name=row.name,
        state=row.state,
        record=row.record,
        title=row.title or "",
        attached=row.holder is not None,
        found_by=row.found_by,
        reason=row.reason,
        pages=len(document.get("pages", ())),
        warnings=tuple(document.get("warnings", ())),
    )
