"""Manage the files of full texts that people upload: save the files, list them, and attach them to records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select

from mechtag.review.acts import Refused, utc_now
from mechtag.review.imports import LARGEST_BATCH, File, clean_name, save_file, saving
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace, add_job

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
    """Save uploaded files, and ask the worker to read them; return a sentence about each file that is not new.

    Raises
    ------
    Refused
        If there is no file, or a file is too large.
    """
    if not files:
        raise Refused("no file was chosen; choose one or more full texts")
    left_out, taken = list[str](), list[int]()
    for file in files:
        name = clean_name(file.name)
        number = _next_number(workspace)
        folder = folder_of(workspace, number)
        with saving(folder):
            folder.mkdir(parents=True, exist_ok=True)
            size, sha256 = save_file(file, folder / name, LARGEST_BATCH)
            if size > LARGEST:
                raise Refused(f"{name} is too large; the limit is {LARGEST // 1_000_000} MB", 413)
            table = schema.full_text
            with workspace.store.write() as connection:
                known = connection.execute(select(table.c.name).where(table.c.sha256 == sha256)).scalar()
                if known is None:
                    values = {"id": number, "sha256": sha256, "name": name, "at": utc_now(), "coder": coder}
                    connection.execute(insert(table).values(**values, state="reading"))
        if known is None:
            taken.append(number)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            left_out.append(f"{name} was uploaded before" + (f", as {known}" if known != name else ""))
    if taken:
        with workspace.store.write() as connection:
            add_job(connection, READ, coder, files=taken)
    return left_out


def _next_number(workspace: Workspace) -> int:
    """Return a number that no uploaded file has yet, not even one that is just being saved."""
    with workspace.store.read() as connection:
        last = connection.execute(select(func.max(schema.full_text.c.id))).scalar() or 0
    folders = (workspace.folder / "full-texts").glob("*")
    return max([last, *(int(path.name) for path in folders if path.name.isdecimal())]) + 1


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
