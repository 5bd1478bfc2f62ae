"""Split the abstracts of the records into sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select, update

from mechtag.core.records import Record
from mechtag.review.jobs.progress import Progress
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace

#: Number of records that are changed in one transaction; it is small, so that nobody waits long to save a decision.
AT_ONCE = 200
# Content of the column ``sentences`` while an abstract has not been split.
_NONE = "[]"


def split_abstracts(workspace: Workspace, progress: Progress) -> None:
    """Split the abstracts of records and duplicates into sentences, unless they have already been split.

    Screening does not need sentences, so people can begin to screen before the abstracts are split. Suggestions of the
    model refer to sentences. Therefore, when an abstract is split, the earlier suggestions for its record are deleted.
    """
    record, copy = schema.record, schema.copy
    whole = (record.c.abstract != "", record.c.sentences == _NONE)
    with workspace.store.read() as connection:
        copies = [row for row in connection.execute(select(copy)) if _is_whole(json.loads(row.row))]
        total = connection.execute(select(func.count()).select_from(record).where(*whole)).scalar_one() + len(copies)
    progress.start(total, "Splitting the abstracts into sentences")
    for start in range(0, len(copies), AT_ONCE):
        some = copies[start : start + AT_ONCE]
        found = _sentences(workspace, {row.id: json.loads(row.row)["abstract"] for row in some})
        with workspace.store.write() as connection:
            for row in some:
                content, gave = json.loads(row.row) | {"sentences": found[row.id]}, json.loads(row.gave)
                if "abstract" in gave:
                    gave["sentences"] = found[row.id]
                values = {"row": json.dumps(content, ensure_ascii=False), "gave": json.dumps(gave, ensure_ascii=False)}
                connection.execute(update(copy).where(copy.c.id == row.id).values(values))
        progress.advance(len(some))
    last = 0
    while True:
        rows = select(record.c.id, record.c.abstract).where(record.c.id > last, *whole)
        with workspace.store.read() as connection:
            chunk = connection.execute(rows.order_by(record.c.id).limit(AT_ONCE)).all()
        if not chunk:
            return
        found = _sentences(workspace, {row.id: row.abstract for row in chunk})
        with workspace.store.write() as connection:
            for row in chunk:
                unchanged = (record.c.id == row.id, record.c.abstract == row.abstract)
                connection.execute(update(record).where(*unchanged).values(sentences=found[row.id]))
            old = schema.suggestion.c.record.in_([row.id for row in chunk])
            connection.execute(delete(schema.suggestion).where(old))
        last = chunk[-1].id
        progress.advance(len(chunk))


def _is_whole(row: Mapping[str, Any]) -> bool:
    return bool(row["abstract"]) and row["sentences"] == _NONE


def _sentences(workspace: Workspace, abstracts: Mapping[int, str]) -> dict[int, str]:
    """Return the sentences of each abstract as JSON, keyed like ``abstracts``."""
    from mechtag.pipeline.reading.text.sentences import split

    records = [Record(record_id=str(key), title="", abstract=text) for key, text in abstracts.items()]
    found = {key: list[list[Any]]() for key in abstracts}
    for row in split(records, workspace.project.settings.sentences):
        found[int(row.record_id)].append([row.start, row.end, row.section])
    return {key: json.dumps(rows) for key, rows in found.items()}
