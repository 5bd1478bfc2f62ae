"""Save the full texts that people upload, and list the uploaded files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from mechtag.review.acts import Refused, Stamp, utc_now
from mechtag.review.imports import File, clean_name, not_saved, save_file, saving
from mechtag.review.store import schema
from mechtag.review.workspace import ACTIVE, Workspace, add_job

READ = "read_full_texts"
#: Maximum size of a file in bytes, the same as that of `mechtag.pipeline.fulltext.reading`.
LARGEST = 200_000_000
#: Value of ``found_by`` if a person chose the record of a file.
PERSON = "person"


@dataclass(frozen=True)
class Attached:
    """An uploaded file, with the record to which the file is attached or probably belongs.

    Attributes
    ----------
    state
        ``reading``, ``read``, or ``rejected`` if the file could not be read.
    record, title
        Number and title of the record. If no record was found, they are ``None`` and ``""``.
    attached
        Whether the file is attached to the record.
    found_by
        How the record was identified, such as ``DOI``; ``person`` if a person chose the record.
    reason
        Why the file could not be read, or why it was not attached; otherwise ``""``.
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
    """Return the folder of an uploaded file; ``file`` is the number of its row in table ``full_text``."""
    return workspace.folder / "full-texts" / str(file)


def take_files(workspace: Workspace, coder: int, files: Sequence[File]) -> list[str]:
    """Save uploaded files, and add a job in which the worker process reads the files.

    If a file was uploaded before, it is read again, unless it is attached to a record or is being read. It may now
    belong to a new record, or this version of mechtag may be able to read its format.

    Returns
    -------
    list of str
        A sentence about each file that is not read.

    Raises
    ------
    Refused
        If there is no file, or if a file cannot be saved. Files that were saved before the error are still read.
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
    """Save an uploaded file; return its number, and the reason why its text will not be read.

    If the text will be read, the reason is ``""``. ``taken`` contains the numbers of the files that were already saved
    in this request.
    """
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
    """Return whether an uploaded full text is attached to a record or is being read."""
    attachment, job = schema.attachment, schema.job
    if row.state == "reading":
        query = select(job.c.id).where(job.c.kind == READ, job.c.state.in_(ACTIVE))
    else:
        query = select(attachment.c.record).where(attachment.c.sha256 == row.sha256)
    return connection.execute(query).first() is not None


def _new_folder(workspace: Workspace) -> tuple[int, Path]:
    """Create a folder for an uploaded file; return the number of the file, and the path of the folder."""
    with workspace.store.read() as connection:
        number = connection.execute(select(func.max(schema.full_text.c.id))).scalar() or 0
    while True:
        number += 1
        folder = folder_of(workspace, number)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue  # Another upload has this number.
        except OSError as error:
            raise not_saved(error) from None
        return number, folder


def find_file(connection: Connection, number: int) -> Attached:
    """Return the uploaded file with the given number.

    Raises
    ------
    Refused
        If there is no such file.
    """
    for file in list_files(connection):
        if file.id == number:
            return file
    raise Refused("this file does not exist; it may have been deleted. Reload the Full texts page", 404)


def delete_file(workspace: Workspace, stamp: Stamp, number: int) -> None:
    """Delete an uploaded file from this computer, together with the text that was read from the file.

    If mechtag is interrupted, the file stays in the list of uploaded files and can be deleted again.

    Raises
    ------
    Refused
        If there is no such file; if the file is attached to a record or is being read; or if the file cannot be
        deleted.
    """
    table = schema.full_text
    with workspace.store.write() as connection:
        row = connection.execute(select(table).where(table.c.id == number)).one_or_none()
        if row is not None and row.state == "reading" and _is_in_use(connection, row):
            raise Refused("this file is being read; wait until it has been read, or cancel the job", 409)
        workspace.acts.in_transaction(connection).delete_file(stamp, number)
        try:
            shutil.rmtree(folder_of(workspace, number))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Refused(
                f"the file cannot be deleted ({error.strerror}); close it in other programs and try again", 409
            ) from None
        log_of_file(workspace, number).unlink(missing_ok=True)


def log_of_file(workspace: Workspace, number: int) -> Path:
    """Return the path of the log file that contains the text read from an uploaded file."""
    return workspace.folder / "log" / f"full-text-{number}.jsonl"


def list_files(connection: Connection) -> list[Attached]:
    """Return all uploaded files.

    Files that are not attached to a record come first, followed by attached files. Both groups are sorted by the time
    of the first upload of each file, the latest first.
    """
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
