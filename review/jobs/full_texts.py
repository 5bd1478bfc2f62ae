"""Read uploaded full texts, and attach each to the record to which it belongs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import select, update

from mechtag.core.records import Rejected
from mechtag.review.acts import Stamp
from mechtag.review.full_texts import folder_of
from mechtag.review.import_log import write_imports
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.tables import JOINED, full_records
from mechtag.review.jobs.tagging import KIND as TAG
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace, add_job

if TYPE_CHECKING:
    from mechtag.pipeline.fulltext.attaching import FileFound, Matcher
    from mechtag.pipeline.fulltext.reading import ReadFile


def read(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Read files that were uploaded together, and attach those whose records are certain.

    Parameters
    ----------
    arguments
        ``files``: numbers of the rows of table ``full_text``.
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
                values = _read_values(workspace, row.sha256, found) | _match(matcher, file, found, places)
            with workspace.store.write() as connection:
                connection.execute(update(table).where(table.c.id == row.id).values(values))
            progress.advance(1)
    attached = _attach(workspace, ours)
    write_imports(workspace)
    if attached:
        with workspace.store.write() as connection:
            add_job(connection, TAG, None)
    return {"files": len(ours), "attached": attached}


def _read_values(workspace: Workspace, sha256: str, found: ReadFile) -> dict[str, Any]:
    """Return what was read from a file as columns of table ``full_text``."""
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


def _match(matcher: Matcher, file: FileFound, found: ReadFile, places: Mapping[str, int]) -> dict[str, Any]:
    """Return the record of a file as columns of table ``full_text``."""
    match = matcher.find(file, found)
    record = places.get(match.record.record_id) if match.record else None
    return {"record": record, "found_by": match.by, "likeness": match.likeness, "reason": match.doubt}


def _attach(workspace: Workspace, files: Sequence[int]) -> int:
    """Attach the best file of each record that has no full text yet; return how many were attached."""
    from mechtag.pipeline.fulltext.attaching import preference

    table, attachment = schema.full_text, schema.attachment
    sure = (table.c.state == "read", table.c.record.is_not(None), table.c.reason == "")
    with workspace.store.read() as connection:
        held = {row.record: row for row in connection.execute(select(attachment))}
        rows = connection.execute(select(table).where(table.c.id.in_(files), *sure)).all()
        names = {row.sha256: row.name for row in connection.execute(select(table.c.sha256, table.c.name))}
    best = {}
    for row in sorted(rows, key=lambda row: preference(row.likeness, row.format, len(row.text))):
        best[row.record] = row.sha256
    best |= {record: row.sha256 for record, row in held.items()}
    attached = 0
    for row in rows:
        if best[row.record] != row.sha256:
            _say(workspace, row.id, f"A different file, {names[best[row.record]]}, is attached to this record.")
        elif row.record not in held:
            stamp = Stamp(row.coder, client_id=str(uuid5(NAMESPACE_URL, f"full-text-{row.sha256}")))
            workspace.acts.attach(stamp, row.record, row.id, row.found_by)
            attached += 1
    return attached


def _say(workspace: Workspace, file: int, reason: str) -> None:
    with workspace.store.write() as connection:
        connection.execute(update(schema.full_text).where(schema.full_text.c.id == file).values(reason=reason))
