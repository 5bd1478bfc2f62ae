"""Read uploaded search exports, add their records to the review, or remove the records again.

Each of these tasks is a job. If a job is interrupted, it is repeated from the beginning, with the same result. The
records are kept in the database of the review. The tables in ``data/``, which the commands of mechtag read, are written
from the database.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, insert, select, update

from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing, write_jsonl
from mechtag.core.records import Record
from mechtag.review import order
from mechtag.review.acts import Refused, Stamp, utc_now
from mechtag.review.import_log import write_imports
from mechtag.review.imports import ADD, FILES, RAW, READ, REMOVE, folder_of, refuse_removal
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.ranking import KIND as RANK
from mechtag.review.jobs.splitting import AT_ONCE, split_abstracts
from mechtag.review.jobs.tables import IDS, RECORDS, as_read_in, files, in_review, place_of
from mechtag.review.plan import RANKED
from mechtag.review.store import schema
from mechtag.review.store.events import apply_copy, count_copies
from mechtag.review.store.records import add_records, record_row
from mechtag.review.workspace import Workspace, add_job

if TYPE_CHECKING:
    from mechtag.pipeline.dedupe.results import Filled, Group, Uncertain

_MOST_REJECTED = 1000
# Fields of a pair of records that the page shows.
_COMPARED = (
    *("title", "authors", "year", "journal", "volume", "issue", "pages", "doi", "pmid", "type", "abstract"),
    *("source_file", "source_index"),
)


def read(workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Read the files of an import, and store how many records they contain.

    No records are added to the review yet.

    Returns
    -------
    dict
        - ``read``: number of entries in the files
        - ``kept``: number of records that could be read
    """
    from mechtag.core.parquet import write_records
    from mechtag.pipeline.reading.ingest import Reading

    number = int(arguments["batch"])
    folder = folder_of(workspace, number)
    reading = Reading([folder / "files"])
    progress.start(reading.size, "Reading the files")

    def records() -> Iterator[Record]:
        try:
            yield from reading.records(progress.advance)
        except MechtagError:
            # None of the files could be read; the page lists them with the reasons.
            if not reading.unread:
                raise

    write_records(folder / RECORDS, records())
    write_jsonl(folder / "rejected.jsonl", reading.rejected)
    summary = reading.summary()
    found = {
        **summary,
        "without_abstract": sum(source.without_abstract for source in reading.counts),
        "rejected_entries": [
            {"file": one.file, "record": one.record, "line": one.line, "reason": one.reason}
            for one in reading.rejected[:_MOST_REJECTED]
        ],
    }
    table = schema.batch
    with workspace.store.write() as connection:
        before = json.loads(connection.execute(select(table.c.found).where(table.c.id == number)).scalar_one())
        text = json.dumps({"left_out": before.get("left_out", []), **found}, ensure_ascii=False)
        connection.execute(
            update(table).where(table.c.id == number, table.c.state == "reading").values(state="read", found=text)
        )
    write_imports(workspace)
    return {"read": summary["read"], "kept": summary["kept"]}


def add(workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Add the records of an import to the review, without duplicates, and split their abstracts into sentences.

    Returns
    -------
    dict
        - ``read``: number of records that were read
        - ``unique``: number of new records
        - ``duplicates``: number of duplicates
        - ``pairs``: number of pairs of records that may be duplicates
    """
    number = int(arguments["batch"])
    table = schema.batch
    with workspace.store.read() as connection:
        batch = connection.execute(select(table).where(table.c.id == number)).one()
    result: dict[str, Any] = json.loads(batch.result)
    if not result:
        result = _add(workspace, number, progress)
        # From now on, people can work on the records, and events can refer to them.
        write_imports(workspace)
    split_abstracts(workspace, progress)
    progress.can_be_cancelled = False
    _log(workspace, batch.coder, progress.job, {"batch": number, **result})
    files(workspace, {}, progress)
    source, raw = folder_of(workspace, number) / "files", workspace.project.root / RAW
    _move(source, raw, [path.name for path in source.iterdir()] if source.is_dir() else [])
    _set_state(workspace, number, "added")
    write_imports(workspace)
    return result


def remove(workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Remove the records of an import from the review; the uploaded files are kept.

    Raises
    ------
    Refused
        If the import cannot be undone; see `mechtag.review.imports.refuse_removal`.
    """
    number = int(arguments["batch"])
    progress.start(0, "Removing the records")
    with workspace.store.write() as connection:
        refuse_removal(connection, number)
        _remove(connection, number)
        progress.can_be_cancelled = False
        coder = connection.execute(select(schema.batch.c.coder).where(schema.batch.c.id == number)).scalar_one()
        names = connection.execute(select(schema.upload.c.name).where(schema.upload.c.batch == number)).scalars().all()
    _log(workspace, coder, progress.job, {"batch": number, "undone": True})
    files(workspace, {}, progress)
    _move(workspace.project.root / RAW, folder_of(workspace, number) / "files", names)
    _set_state(workspace, number, "read")
    write_imports(workspace)
    return {}


def take_back_addition(workspace: Workspace, arguments: Mapping[str, Any], job: int) -> None:
    """Remove the records that a cancelled job has added, unless people have already worked on these records."""
    number = int(arguments["batch"])
    try:
        with workspace.store.write() as connection:
            refuse_removal(connection, number)
            _remove(connection, number)
    except Refused:
        return  # The rest of the import can still be added.
    _set_state(workspace, number, "read")
    write_imports(workspace)


def take_back_removal(workspace: Workspace, arguments: Mapping[str, Any], job: int) -> None:
    """Set the state of an import back to ``added`` if its removal was cancelled before any records were removed."""
    number, record = int(arguments["batch"]), schema.record
    with workspace.store.read() as connection:
        present = connection.execute(select(record.c.id).where(record.c.wave == number).limit(1)).first()
    if present is not None:
        _set_state(workspace, number, "added")


JOBS = {READ: read, ADD: add, REMOVE: remove, FILES: files}
TAKE_BACK = {ADD: take_back_addition, REMOVE: take_back_removal}


def _add(workspace: Workspace, number: int, progress: Progress) -> dict[str, Any]:
    from mechtag.core.parquet import read_records
    from mechtag.pipeline.dedupe.dedupe import dedupe

    settings = workspace.project.settings
    _take_in_earlier(workspace, progress)
    progress.start(0, "Removing duplicates")
    records = read_records(folder_of(workspace, number) / RECORDS)
    with workspace.store.read() as connection:
        done = connection.execute(select(schema.batch.c.id).where(schema.batch.c.result != "{}")).scalars().all()
        existing = in_review(connection, as_read_in(workspace, done), schema.record.c.wave != number)
    # Records that are already in the review are never joined here, so decisions of people about duplicates are kept: a
    # duplicate of a record that they joined to another belongs to that paper, and records that they separated stay
    # separate.
    result = dedupe(records, settings.dedupe, existing=existing)
    _add_in_steps(workspace, result.new, number, progress)
    read_now = {place_of(record) for record in records}
    copies = {
        place_of(copy): copy.model_copy(update={"record_id": _copy_id(copy)})
        for group in result.groups
        for copy in group.members[1:]
        if place_of(copy) in read_now
    }
    with workspace.store.write() as connection:
        numbers = {record_id: row for row, record_id in connection.execute(IDS)}
        rows = [
            _copy_row(group, member, copies[place_of(member)], numbers, number)
            for group in result.groups
            for member in group.members[1:]
            if place_of(member) in copies
        ]
        pairs = _pair_rows(connection, result.uncertain, numbers, number)
        _require_all(connection, number, len(result.new), len(rows), len(records))
        if rows:
            connection.execute(insert(schema.copy), rows)
        if pairs:
            connection.execute(insert(schema.pair), pairs)
        for copy in connection.execute(select(schema.copy.c.id).where(schema.copy.c.wave == number)).scalars().all():
            apply_copy(connection, copy, together=True)
        order_at_once(connection, workspace.seed)
        counts = {"read": len(records), "unique": len(result.new), "duplicates": len(rows), "pairs": len(pairs)}
        connection.execute(update(schema.batch).where(schema.batch.c.id == number).values(result=json.dumps(counts)))
        add_job(connection, RANK, None)
    return counts


def _add_in_steps(workspace: Workspace, records: Sequence[Record], wave: int, progress: Progress) -> None:
    """Add records in short transactions, so that nobody waits long to save a decision."""
    progress.start(len(records), "Adding the records")
    for start in range(0, len(records), AT_ONCE):
        some = records[start : start + AT_ONCE]
        with workspace.store.write() as connection:
            add_records(connection, some, (), wave, {})
        progress.advance(len(some))


def _take_in_earlier(workspace: Workspace, progress: Progress) -> None:
    """Add the records that the project contained before the first import on the review page."""
    from mechtag.core.outputs import check_outputs
    from mechtag.core.parquet import read_records

    folder, data = folder_of(workspace, 0), workspace.project.root / "data"
    unique = data / "unique.parquet"
    if not (folder / RECORDS).exists():
        with workspace.store.read() as connection:
            done = connection.execute(select(schema.batch.c.id).where(schema.batch.c.result != "{}")).first()
        if done is not None or not unique.exists():
            return
        # From now on, the review page overwrites these tables.
        check_outputs([data / "groups.csv", data / "uncertain.csv"])
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("groups.csv", "uncertain.csv", "ingest.json", "rejected.jsonl"):
            if (data / name).exists():
                shutil.copy2(data / name, folder / name)
        with replacing(folder / RECORDS) as part:
            shutil.copy2(unique, part)
    _add_in_steps(workspace, read_records(folder / RECORDS), 0, progress)


def _copy_id(record: Record) -> str:
    """Return the id for a duplicate that becomes a separate record again, such as ``x1#0f3a9c21``."""
    digest = hashlib.sha256(f"{record.source_file}\0{record.source_index}".encode()).hexdigest()[:8]
    return f"{record.record_id}#{digest}"


def _copy_row(
    group: Group,
    member: Record,
    copy: Record,
    numbers: Mapping[str, int],
    wave: int,
) -> dict[str, Any]:
    """Return the row of the database table ``copy`` that describes a duplicate.

    Parameters
    ----------
    member
        The duplicate as it was read.
    copy
        The duplicate with the record id that `_copy_id` returned.
    numbers
        Number of each record in the database, keyed by record id.
    wave
        Number of the import.
    """
    row = record_row(copy, (), wave)
    gave = {filled.field: row.get(filled.field, getattr(copy, filled.field)) for filled in _given(group, member)}
    return {
        "head": numbers[group.kept.record_id],
        "source_file": member.source_file,
        "source_index": member.source_index,
        "confidence": group.confidence,
        "reason": group.reason,
        "row": json.dumps(row, ensure_ascii=False),
        "gave": json.dumps(gave, ensure_ascii=False),
        "wave": wave,
    }


def _given(group: Group, member: Record) -> list[Filled]:
    return [filled for filled in group.filled if filled.giver is member]


def _pair_rows(
    connection: Connection, doubts: Iterable[Uncertain], numbers: Mapping[str, int], wave: int
) -> list[dict[str, Any]]:
    """Return a row for table ``pair`` for each pair of possible duplicates that is not in the table yet."""
    known = {(row.left, row.right) for row in connection.execute(select(schema.pair.c.left, schema.pair.c.right))}
    rows = list[dict[str, Any]]()
    for doubt in doubts:
        (left, one), (right, other) = sorted(
            ((numbers[record.record_id], record) for record in (doubt.left, doubt.right)), key=lambda each: each[0]
        )
        if left == right or (left, right) in known:
            continue
        known.add((left, right))
        fields = [{name: getattr(record, name) for name in _COMPARED} for record in (one, other)]
        values = {"left": left, "right": right, "confidence": doubt.confidence, "reason": doubt.reason, "wave": wave}
        rows.append({**values, "fields": json.dumps(fields, ensure_ascii=False)})
    return rows


def _require_all(connection: Connection, wave: int, new: int, copies: int, read: int) -> None:
    """Raise `RuntimeError` if a record that was read was neither added to the review nor found to be a duplicate."""
    added = select(func.count()).where(schema.record.c.wave == wave)
    found = connection.execute(added).scalar_one()
    if found != new or new + copies != read:
        raise RuntimeError(
            f"internal error in import {wave}: of {read} records that were read, {new} were new and {copies} were "
            f"duplicates, but the review contains {found} records of this import; please report this error"
        )


def order_at_once(connection: Connection, seed: int) -> None:
    """Set a random reading order if there is no order yet, so that people can begin before the records are ranked."""
    table, queue = schema.ranking, schema.queue
    in_use = select(queue.c.record).join(table, table.c.id == queue.c.ranking).where(table.c.active == 1)
    if connection.execute(in_use.limit(1)).first() is not None:
        return
    numbers = [row.id for row in connection.execute(IDS)]
    for stage in RANKED:
        order.add_ranking(
            connection,
            stage,
            order.random_order(numbers, seed),
            strategy="random",
            at=utc_now(),
            learned_from=0,
            seed=seed,
        )


def _remove(connection: Connection, wave: int) -> None:
    """Delete the records of an import and all data about them.

    The caller must have checked that nobody has worked on these records.
    """
    record, copy = schema.record, schema.copy
    ours = select(record.c.id).where(record.c.wave == wave)
    copies = connection.execute(
        select(copy.c.id, copy.c.head).where(copy.c.wave == wave, copy.c.head.not_in(ours))
    ).all()
    for row in copies:
        apply_copy(connection, row.id, together=False)
    connection.execute(delete(copy).where(copy.c.wave == wave))
    connection.execute(delete(schema.pair).where(schema.pair.c.wave == wave))
    for row in copies:
        count_copies(connection, row.head)
    for table in reversed(schema.metadata.sorted_tables):
        for column in table.c:
            if table is not record and any(key.column is record.c.id for key in column.foreign_keys):
                connection.execute(delete(table).where(column.in_(ours)))
    # A later record can get the number of a deleted record, so a file must not refer to the deleted record.
    file = schema.full_text
    connection.execute(update(file).where(file.c.record.in_(ours)).values(record=None, found_by=""))
    connection.execute(delete(record).where(record.c.wave == wave))
    connection.execute(update(schema.batch).where(schema.batch.c.id == wave).values(result="{}"))
    if connection.execute(select(record.c.id)).first() is None:
        for table in (schema.queue, schema.place, schema.ranking):
            connection.execute(delete(table))
    else:
        add_job(connection, RANK, None)


def _move(source: Path, target: Path, names: Iterable[str]) -> None:
    """Move the named files to another folder, except those that already exist there."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (source / name).exists() and not (target / name).exists():
            os.replace(source / name, target / name)


def _log(workspace: Workspace, coder: int, job: int, content: dict[str, Any]) -> None:
    workspace.acts.log(Stamp(coder, client_id=f"import-job-{job}"), "import", content)


def _set_state(workspace: Workspace, number: int, state: str) -> None:
    with workspace.store.write() as connection:
        connection.execute(update(schema.batch).where(schema.batch.c.id == number).values(state=state))
