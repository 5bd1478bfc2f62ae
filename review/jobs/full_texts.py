"""Read uploaded full texts, find the record of each file, and attach the file to this record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from mechtag.core.records import Rejected
from mechtag.review.acts import Refused, Stamp
from mechtag.review.full_texts import READ, folder_of
from mechtag.review.import_log import write_imports
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.tables import JOINED, full_records
from mechtag.review.jobs.tagging import KIND as TAG
from mechtag.review.render import as_sentence
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace, add_job

if TYPE_CHECKING:
    from mechtag.pipeline.fulltext.attaching import FileFound, Matcher
    from mechtag.pipeline.fulltext.reading import ReadFile


def read(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Read files that were uploaded together, and attach each file whose record is certain.

    Parameters
    ----------
    arguments
        ``files``: numbers of the rows of table ``full_text``.

    Returns
    -------
    dict
        ``files``: number of uploaded files; ``attached``: number of attached files.
    """
    from mechtag.pipeline.fulltext.attaching import FileFound, Matcher
    from mechtag.pipeline.fulltext.isolated import IsolatedReader

    table = schema.full_text
    ours = list(arguments["files"])
    with workspace.store.read() as connection:
        waiting = connection.execute(select(table).where(table.c.id.in_(ours), table.c.state == "reading")).all()
        numbers = {
            row.record_id: row
            for row in connection.execute(select(schema.record).where(schema.record.c.id.not_in(JOINED)))
        }
    files = [FileFound(folder_of(workspace, row.id) / row.name, row.name) for row in waiting]
    matcher = Matcher(list(full_records(workspace, numbers)), files, {})
    places = {record_id: row.id for record_id, row in numbers.items()}
    progress.start(len(files), "Reading the full texts")
    with IsolatedReader() as reader:
        for row, file in zip(waiting, files, strict=True):
            found = reader.read(file.path, file.name)
            if isinstance(found, Rejected):
                values: dict[str, Any] = {"state": "rejected", "reason": found.reason}
            else:
                values = _read_values(workspace, row.sha256, found) | _match_values(matcher, file, found, places)
            with workspace.store.write() as connection:
                connection.execute(update(table).where(table.c.id == row.id).values(values))
            progress.advance(1)
    progress.can_be_cancelled = False
    return {"files": len(ours), "attached": _attach_all(workspace, ours, progress.job)}


def keep_what_is_read(workspace: Workspace, arguments: Mapping[str, Any], job: int) -> None:
    """Attach the files that a cancelled job has already read."""
    _attach_all(workspace, list(arguments["files"]), job)


TAKE_BACK = {READ: keep_what_is_read}


def _attach_all(workspace: Workspace, files: Sequence[int], job: int) -> int:
    """Attach files to their records, and return how many files are attached.

    If any file is attached, a job that computes suggestions is added.
    """
    # From now on, events can refer to these files.
    write_imports(workspace)
    attached = _attach(workspace, files, job)
    write_imports(workspace)
    if attached:
        with workspace.store.write() as connection:
            add_job(connection, TAG, None)
    return attached


def _read_values(workspace: Workspace, sha256: str, found: ReadFile) -> dict[str, Any]:
    """Return the values to store in table ``full_text`` after a file was read, keyed by column."""
    from mechtag.pipeline.tagging.full_texts import sentences_to_code

    full_text = found.full_text.model_copy(update={"sha256": sha256})
    lines = [
        [line.start, line.end, line.section or "", line.page or ""]
        for line in sentences_to_code(full_text, workspace.project.settings.sentences)
    ]
    return {
        "state": "read",
        "reason": "",
        "format": full_text.format,
        "text": full_text.text,
        "document": full_text.model_dump_json(exclude={"text", "record_id"}),
        "sentences": json.dumps(lines, ensure_ascii=False),
    }


def _match_values(matcher: Matcher, file: FileFound, found: ReadFile, places: Mapping[str, int]) -> dict[str, Any]:
    """Find the record of a file, and return the match as values for table ``full_text``, keyed by column."""
    match = matcher.find(file, found)
    record = places.get(match.record.record_id) if match.record else None
    return {"record": record, "found_by": match.by, "likeness": match.likeness, "reason": match.doubt}


def _attach(workspace: Workspace, files: Sequence[int], job: int) -> int:
    """Attach files to records that have no full text, and return how many files the job has attached.

    If several files match a record, the best file is attached; see `preference`.
    """
    from mechtag.pipeline.fulltext.identity import TITLED
    from mechtag.pipeline.fulltext.preference import preference

    table, attachment, joined, event = schema.full_text, schema.attachment, schema.joined, schema.event
    # A file is attached only if its record is certain.
    sure = (table.c.state == "read", table.c.record.is_not(None), table.c.reason == "")
    with workspace.store.read() as connection:
        # The file of a duplicate that was joined to a record is the full text of this record.
        held = {
            row.record: row.sha256
            for row in connection.execute(
                select(func.coalesce(joined.c.into, attachment.c.record).label("record"), attachment.c.sha256)
                .outerjoin(joined, joined.c.record == attachment.c.record)
                .order_by(attachment.c.is_read, attachment.c.event.desc())
            )
        }
        rows = connection.execute(select(table).where(table.c.id.in_(files), *sure)).all()
        names = {row.sha256: row.name for row in connection.execute(select(table.c.sha256, table.c.name))}
        # An interrupted job may have attached some of the files.
        ids = {_action_id(job, row.id): row.id for row in rows}
        done = {
            ids[name]
            for name in connection.execute(select(event.c.client_id).where(event.c.client_id.in_(ids))).scalars()
        }
    best = {}
    for row in sorted(rows, key=lambda row: preference((row.likeness or 0) >= TITLED, row.format, len(row.text))):
        best[row.record] = row.sha256
    best |= held
    attached = 0
    for row in rows:
        if row.id in done:
            attached += 1
        elif best[row.record] != row.sha256:
            _say(workspace, row.id, f"A different file, {names[best[row.record]]}, is attached to this record.")
        elif row.record not in held:
            try:
                workspace.acts.attach(
                    Stamp(row.coder, client_id=_action_id(job, row.id)), row.record, row.id, row.found_by
                )
            except Refused as error:  # Somebody was faster.
                _say(workspace, row.id, as_sentence(error))
            else:
                attached += 1
    return attached


def _action_id(job: int, file: int) -> str:
    return f"full-texts-job-{job}/{file}"


def _say(workspace: Workspace, file: int, reason: str) -> None:
    with workspace.store.write() as connection:
        connection.execute(update(schema.full_text).where(schema.full_text.c.id == file).values(reason=reason))
