"""Manage imports of search exports: save the uploaded files, list the imports, and add jobs for the worker process."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, func, insert, select, update

from mechtag.review.acts import Refused, utc_now
from mechtag.review.render import when
from mechtag.review.store import schema
from mechtag.review.workspace import ACTIVE, Workspace, add_job

#: Largest size of a file, and of all files of one import together, in bytes.
LARGEST_FILE = 500_000_000
LARGEST_BATCH = 2_000_000_000
#: Message about files that are too large together.
TOO_LARGE_TOGETHER = (
    f"the files are larger than {LARGEST_BATCH // 1_000_000_000} GB in total; import fewer files at a time"
)
#: Folder in a project from which the commands read search exports.
RAW = Path("data/raw")
READ, ADD, REMOVE, FILES = "read", "add", "remove", "files"

_LONGEST_NAME = 100
_UNSAFE = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """An uploaded file: its name, as sent by the browser, and its content."""

    name: str
    content: BinaryIO


@dataclass(frozen=True)
class Batch:
    """One import of search exports.

    Attributes
    ----------
    state
        ``reading``, ``read``, ``adding``, ``added``, ``removing`` or ``discarded``.
    found
        Counts and notes from reading the files, keyed as in `mechtag.pipeline.reading.ingest.Reading.summary`, with
        three further keys:

        - ``without_abstract``: number of records without an abstract;
        - ``rejected_entries``: list of the first rejected entries, with reasons;
        - ``left_out``: list of sentences about uploaded files that were not imported.
    result
        Counts of the records that were added: ``read``, ``unique``, ``duplicates`` and ``pairs`` (pairs of possible
        duplicates). Empty if no records were added.
    files
        Names of the uploaded files.
    fault
        Message of the last job of this import if this job failed or was cancelled; otherwise ``""``.
    job
        Number of the job of this import that is waiting or running; ``None`` if there is no such job.
    """

    id: int
    at: str
    state: str
    found: dict[str, Any]
    result: dict[str, Any]
    files: tuple[str, ...]
    fault: str
    job: int | None


def folder_of(workspace: Workspace, batch: int) -> Path:
    """Return the folder of an import; ``batch`` is the number of the import.

    Import 0 consists of the records that the project had before its first import.
    """
    return workspace.folder / "uploads" / str(batch)


def clean_name(name: str) -> str:
    """Return a safe file name of limited length.

    Folders are removed from the name. Special characters are replaced, and reserved names are changed.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(char if char.isprintable() else " " for char in last)
    shown = " ".join(_UNSAFE.sub("_", shown).split()).strip(". ")
    if not shown:
        return "export"
    stem, dot, ending = shown.rpartition(".")
    if dot and len(ending) <= 8:
        shown = f"{stem[: _LONGEST_NAME - len(ending) - 1].rstrip('. ')}.{ending}"
    shown = shown[:_LONGEST_NAME].rstrip(". ")
    while len(shown.encode()) > 2 * _LONGEST_NAME:
        shown = shown[:-1] if "." not in shown[-9:] else shown[: shown.rindex(".") - 1] + shown[shown.rindex(".") :]
    return f"_{shown}" if _RESERVED.match(shown) else shown


def take_files(workspace: Workspace, coder: int, files: Sequence[File]) -> int:
    """Save uploaded files as a new import, and add a job that reads the files.

    Files that were uploaded before are left out. A file that is sent twice is saved once.

    Returns
    -------
    int
        Number of the import.

    Raises
    ------
    Refused
        If there is no file; if the files are too large or cannot be saved; or if all files were uploaded before.
    """
    if not files:
        raise Refused("no file was chosen; choose one or more search exports")
    with workspace.store.write() as connection:
        values = {"at": utc_now(), "coder": coder, "state": "discarded"}
        batch = int(connection.execute(insert(schema.batch).values(values).returning(schema.batch.c.id)).scalar_one())
    folder = folder_of(workspace, batch)
    with saving(folder):
        taken, left_out = _save(workspace, files, folder / "files")
        if not taken:
            raise Refused(f"none of the chosen files is new ({'; '.join(left_out)}); choose other files", 409)
        with workspace.store.write() as connection:
            connection.execute(insert(schema.upload), [{**row, "batch": batch} for row in taken])
            found = json.dumps({"left_out": left_out}, ensure_ascii=False)
            change = {"state": "reading", "found": found}
            connection.execute(update(schema.batch).where(schema.batch.c.id == batch).values(change))
            add_job(connection, READ, coder, batch=batch)
    return batch


def _save(workspace: Workspace, files: Iterable[File], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Save the files that were not uploaded before.

    Return rows of table ``upload`` for the saved files, and a sentence about each file that was left out.
    """
    folder.mkdir(parents=True)
    with workspace.store.read() as connection:
        known = _known_files(connection)
        names = {name.casefold() for name in connection.execute(select(schema.upload.c.name)).scalars()}
    raw = workspace.project.root / RAW
    names |= {path.name.casefold() for path in raw.iterdir()} if raw.is_dir() else set()
    taken, left_out, total = list[dict[str, Any]](), list[str](), 0
    for file in files:
        name = clean_name(file.name)
        place = folder / free_name(name, names)
        size, sha256 = save_file(file, place, LARGEST_FILE, "split the export, and import the parts one by one")
        total += size
        if total > LARGEST_BATCH:
            raise Refused(TOO_LARGE_TOGETHER, 413)
        if (before := known.get(sha256)) is not None:
            place.unlink()
            left_out.append(f"{name} was {before}")
            continue
        known[sha256] = "sent twice"
        names.add(place.name.casefold())
        taken.append({"name": place.name, "size": size, "sha256": sha256})
    return taken, left_out


def save_file(file: File, place: Path, largest: int, advice: str) -> tuple[int, str]:
    """Save an uploaded file, and return its size in bytes and its SHA-256 hash.

    Raises
    ------
    Refused
        If the file has more than ``largest`` bytes; the message ends with ``advice``.
    """
    digest, size = hashlib.sha256(), 0
    with place.open("wb") as target:
        while chunk := file.content.read(_CHUNK):
            size += len(chunk)
            if size > largest:
                limit = f"the limit is {largest // 1_000_000} MB per file"
                raise Refused(f"{clean_name(file.name)} is too large; {limit}; {advice}", 413)
            digest.update(chunk)
            target.write(chunk)
    return size, digest.hexdigest()


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Delete the folder of uploaded files if an error occurs in the ``with`` block that saves the files.

    An error of the file system, such as a full disk, is raised as `Refused`.
    """
    try:
        yield
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise not_saved(error) from None
        raise


def not_saved(error: OSError) -> Refused:
    """Convert an error of the file system to an error that explains why uploaded files could not be saved."""
    return Refused(
        f"the files could not be saved ({error.strerror}); make sure that the disk has free space and that mechtag may "
        "write to the folder of the review, then try again",
        507,
    )


def _known_files(connection: Connection) -> dict[str, str]:
    """Return a phrase such as "uploaded on …" for each file, keyed by the SHA-256 of the file.

    Files of discarded imports are left out.
    """
    batch, upload = schema.batch, schema.upload
    rows = connection.execute(
        select(upload.c.sha256, batch.c.at, batch.c.state)
        .join(batch, batch.c.id == upload.c.batch)
        .where(batch.c.state != "discarded")
    )
    return {
        row.sha256: f"already imported on {when(row.at)}" if row.state == "added" else f"uploaded on {when(row.at)}"
        for row in rows
    }


def free_name(name: str, taken: set[str]) -> str:
    """Return a file name that is not in ``taken``; if necessary, a number is added to ``name``, as in ``search-2.ris``.

    Parameters
    ----------
    taken
        Names that are already in use, case-folded.
    """
    stem, dot, ending = name.rpartition(".")
    stem, ending = (stem, dot + ending) if stem else (name, "")
    candidate, number = name, 1
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{stem}-{number}{ending}"
    return candidate


def read_batch(connection: Connection, number: int) -> Batch | None:
    """Return the import that has the given number, or ``None`` if there is no such import."""
    row = connection.execute(select(schema.batch).where(schema.batch.c.id == number)).one_or_none()
    return None if row is None else _batch(connection, row)


def read_batches(connection: Connection) -> list[Batch]:
    """Return all imports that were not discarded, the latest import first."""
    table = schema.batch
    rows = connection.execute(select(table).where(table.c.state != "discarded").order_by(table.c.id.desc())).all()
    return [_batch(connection, row) for row in rows]


def _batch(connection: Connection, row: Any) -> Batch:
    upload, job = schema.upload, schema.job
    names = connection.execute(select(upload.c.name).where(upload.c.batch == row.id).order_by(upload.c.name)).scalars()
    arguments = json.dumps({"batch": row.id})
    last = connection.execute(
        select(job.c.id, job.c.state, job.c.message)
        .where(job.c.kind.in_((READ, ADD, REMOVE)), job.c.arguments == arguments)
        .order_by(job.c.id.desc())
        .limit(1)
    ).one_or_none()
    stopped = last is not None and last.state in ("failed", "cancelled")
    return Batch(
        id=row.id,
        at=row.at,
        state=row.state,
        found=json.loads(row.found),
        result=json.loads(row.result),
        files=tuple(names),
        fault=last.message if last is not None and stopped else "",
        job=last.id if last is not None and last.state in ACTIVE else None,
    )


def ask(workspace: Workspace, coder: int, number: int, kind: str) -> None:
    """Add a job that reads the files of an import, adds its records or removes its records.

    If a job for this import is already waiting or running, nothing happens.

    Parameters
    ----------
    coder
        Account number of the person who requests the job.
    number
        Number of the import.
    kind
        `READ` (read the files), `ADD` (add the records) or `REMOVE` (remove the records).

    Raises
    ------
    Refused
        If the import does not exist, or if its state does not allow the job.
    """
    allowed = {READ: ("reading",), ADD: ("read", "adding"), REMOVE: ("added", "adding", "removing")}
    states = {READ: "reading", ADD: "adding", REMOVE: "removing"}
    with workspace.store.write() as connection:
        batch = read_batch(connection, number)
        if batch is None:
            raise Refused("this import does not exist; choose one of the imports on the Import page", 404)
        if batch.job is not None:
            return  # A job for this import is already waiting or running.
        if batch.state not in allowed[kind]:
            raise Refused("this import has changed since the page was loaded; reload the page", 409)
        if kind == REMOVE:
            refuse_removal(connection, number)
        connection.execute(update(schema.batch).where(schema.batch.c.id == number).values(state=states[kind]))
        add_job(connection, kind, coder, batch=number)


def discard(workspace: Workspace, number: int) -> None:
    """Discard an import whose records were not added to the review, and delete the files of the import.

    Raises
    ------
    Refused
        If the import does not exist or was discarded before; if its records were added; or if a job for the import is
        waiting or running.
    """
    with workspace.store.write() as connection:
        batch = read_batch(connection, number)
        if batch is None:
            raise Refused("this import does not exist; choose one of the imports on the Import page", 404)
        if batch.job is not None or batch.state not in ("reading", "read"):
            raise Refused(
                "this import cannot be discarded, because its records have been added or a job for it is running; "
                "reload the page",
                409,
            )
        connection.execute(update(schema.batch).where(schema.batch.c.id == number).values(state="discarded"))
    shutil.rmtree(folder_of(workspace, number), ignore_errors=True)


def refuse_removal(connection: Connection, number: int) -> None:
    """Check that an import can be undone.

    Raises
    ------
    Refused
        If somebody has worked on the records of the import; if a full text is attached to one of these records; or if a
        later import has not been undone. The error has status 409.
    """
    batch, record, event = schema.batch, schema.record, schema.event
    later = connection.execute(
        select(batch.c.id).where(batch.c.id > number, batch.c.state.in_(("adding", "added", "removing")))
    ).first()
    if later is not None:
        raise Refused(
            "this import cannot be undone yet, because later imports exist; undo the latest import first", 409
        )
    ours = set(connection.execute(select(record.c.id).where(record.c.wave == number)).scalars())
    judged = select(func.count(func.distinct(event.c.record))).join(record, record.c.id == event.c.record)
    worked = int(connection.execute(judged.where(record.c.wave == number)).scalar_one())
    about = connection.execute(
        select(event.c.value).where(event.c.kind.in_(("join", "differ")), event.c.record.is_not(None))
    ).scalars()
    worked += sum(bool({value.get("into"), value.get("other")} & ours) for value in map(json.loads, about))
    if worked:
        raise Refused(
            "this import can no longer be undone, because people have worked on its records or have attached full "
            "texts to them; to drop records that do not belong to the review, exclude them when you screen",
            409,
        )
