"""Read uploaded search exports, add their records to the review, and take them out again.

Each job can be interrupted at any point and done again, with the same result. What is in the database decides; the
tables of records in ``data/``, which the commands read, are written from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, replacing, write_json, write_jsonl
from mechtag.core.records import Record, Sentence
from mechtag.review import order
from mechtag.review.acts import Stamp, utc_now
from mechtag.review.imports import FILES, RAW, folder_of, refuse_removal
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.ranking import KIND as RANK
from mechtag.review.plan import STAGES
from mechtag.review.store import schema
from mechtag.review.store.events import apply_copy, count_copies
from mechtag.review.store.families import undecided
from mechtag.review.store.records import add_records, record_row
from mechtag.review.workspace import Workspace, add_job

if TYPE_CHECKING:
    from mechtag.pipeline.dedupe.results import Decision, Filled, Group, Uncertain

# File of the records of one import, as they were read.
_RECORDS = "records.parquet"
# Records that are added in one transaction, so that a decision never waits long.
_AT_ONCE = 200
_MOST_REJECTED = 1000
# Fields that a page shows of a pair.
_COMPARED = (
    *("title", "authors", "year", "journal", "volume", "issue", "pages", "doi", "pmid", "type", "abstract"),
    *("source_file", "source_index"),
)

# Where a record was read.
_Place = tuple[str, int]


def read(workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Read the files of an import, and note what was found; nothing joins the review."""
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

    write_records(folder / _RECORDS, records())
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
    return {"read": summary["read"], "kept": summary["kept"]}


def add(workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Add the records of an import to the review, without duplicates, and put an order of reading in use."""
    number = int(arguments["batch"])
    table = schema.batch
    with workspace.store.read() as connection:
        batch = connection.execute(select(table).where(table.c.id == number)).one()
    result: dict[str, Any] = json.loads(batch.result)
    if not result:
        result = _add(workspace, number, progress)
    _log(workspace, batch.coder, progress.job, {"batch": number, **result})
    files(workspace, {}, progress)
    source, raw = folder_of(workspace, number) / "files", workspace.project.root / RAW
    _move(source, raw, [path.name for path in source.iterdir()] if source.is_dir() else [])
    _set_state(workspace, number, "added")
    return result


def remove(workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Take the records of an import out of the review again, as long as nobody has worked on them."""
    number = int(arguments["batch"])
    progress.start(0, "Taking the records out")
    with workspace.store.write() as connection:
        refuse_removal(connection, number)
        _remove(connection, number)
        coder = connection.execute(select(schema.batch.c.coder).where(schema.batch.c.id == number)).scalar_one()
        names = connection.execute(select(schema.upload.c.name).where(schema.upload.c.batch == number)).scalars().all()
    _log(workspace, coder, progress.job, {"batch": number, "undone": True})
    files(workspace, {}, progress)
    _move(workspace.project.root / RAW, folder_of(workspace, number) / "files", names)
    _set_state(workspace, number, "read")
    return {}


def files(workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Write the tables of records that the commands of mechtag read, from the database."""
    from mechtag.core.parquet import write_records
    from mechtag.pipeline.dedupe.results import Deduped
    from mechtag.pipeline.dedupe.review_tables import write_groups, write_uncertain

    progress.start(0, "Writing the tables of records")
    place, data = schema.batch, workspace.project.root / "data"
    with workspace.store.read() as connection:
        rows = connection.execute(
            select(place.c.id, place.c.found).where(place.c.result != "{}").order_by(place.c.id)
        ).all()
        as_read = _as_read(workspace, [row.id for row in rows])
        unique = _in_review(connection, as_read, schema.record.c.id.not_in(_JOINED))
        groups = _groups(connection, as_read, {record.record_id: record for record in unique})
        doubts = _doubts(connection, as_read)
    outputs = [data / name for name in ("records.parquet", "unique.parquet", "groups.csv", "uncertain.csv")]
    counts, rejected = data / "ingest.json", data / "rejected.jsonl"
    if not as_read:
        for path in (*outputs, counts, rejected):
            path.unlink(missing_ok=True)
        return {}
    deduped = Deduped(groups=tuple(groups), unique=tuple(unique), new=(), uncertain=tuple(doubts), read=len(as_read))
    write_records(outputs[0], as_read.values())
    write_records(outputs[1], unique)
    write_groups(outputs[2], deduped)
    write_uncertain(outputs[3], deduped)
    earlier = folder_of(workspace, 0) / "ingest.json"
    known = [read_json(earlier)] if earlier.exists() else []
    write_json(counts, _sum([*known, *(json.loads(row.found) for row in rows)]))
    with replacing(rejected) as part, part.open("wb") as target:
        for number in (0, *(row.id for row in rows)):
            path = folder_of(workspace, number) / rejected.name
            if path.exists():
                target.write(path.read_bytes())
    return {"unique": len(unique)}


JOBS = {"read": read, "add": add, "remove": remove, FILES: files}


def _add(workspace: Workspace, number: int, progress: Progress) -> dict[str, Any]:
    from mechtag.core.parquet import read_records
    from mechtag.pipeline.dedupe.dedupe import dedupe
    from mechtag.pipeline.text.sentences import split

    settings = workspace.project.settings
    _take_in_earlier(workspace, progress)
    progress.start(0, "Removing duplicates")
    records = read_records(folder_of(workspace, number) / _RECORDS)
    with workspace.store.read() as connection:
        done = connection.execute(select(schema.batch.c.id).where(schema.batch.c.result != "{}")).scalars().all()
        existing = _in_review(connection, _as_read(workspace, done), schema.record.c.wave != number)
        decisions = _decisions(connection, {record.record_id: record for record in existing})
    result = dedupe(records, settings.dedupe, existing=existing, decisions=decisions)
    _add_in_steps(workspace, result.new, number, progress)
    read_now = {_place(record) for record in records}
    copies = {
        _place(copy): copy.model_copy(update={"record_id": _copy_id(copy)})
        for group in result.groups
        for copy in group.members[1:]
        if _place(copy) in read_now
    }
    sentences = defaultdict[str, list[Sentence]](list)
    for sentence in split(copies.values(), settings.sentences):
        sentences[sentence.record_id].append(sentence)
    with workspace.store.write() as connection:
        numbers = {record_id: row for row, record_id in connection.execute(_IDS)}
        rows = [
            _copy_row(group, member, copies[_place(member)], sentences, numbers, number)
            for group in result.groups
            for member in group.members[1:]
            if _place(member) in copies
        ]
        pairs = _pair_rows(connection, result.uncertain, numbers, number)
        if rows:
            connection.execute(insert(schema.copy), rows)
        if pairs:
            connection.execute(insert(schema.pair), pairs)
        for copy in connection.execute(select(schema.copy.c.id).where(schema.copy.c.wave == number)).scalars().all():
            apply_copy(connection, copy, together=True)
        _order_at_once(connection, workspace.seed)
        counts = {"read": len(records), "unique": len(result.new), "duplicates": len(rows), "pairs": len(pairs)}
        connection.execute(update(schema.batch).where(schema.batch.c.id == number).values(result=json.dumps(counts)))
        add_job(connection, RANK, None)
    return counts


_IDS = select(schema.record.c.id, schema.record.c.record_id)


def _add_in_steps(workspace: Workspace, records: Sequence[Record], wave: int, progress: Progress) -> None:
    """Add records in short transactions; those that are in the database already are left as they are."""
    from mechtag.pipeline.text.sentences import split

    progress.start(len(records), "Adding the records")
    for start in range(0, len(records), _AT_ONCE):
        some = records[start : start + _AT_ONCE]
        sentences = list(split(some, workspace.project.settings.sentences))
        with workspace.store.write() as connection:
            add_records(connection, some, sentences, wave, {})
        progress.advance(len(some))


def _take_in_earlier(workspace: Workspace, progress: Progress) -> None:
    """Before the first import, take in the records that the commands of mechtag left in the project."""
    from mechtag.core.outputs import check_outputs
    from mechtag.core.parquet import read_records

    folder, data = folder_of(workspace, 0), workspace.project.root / "data"
    unique = data / "unique.parquet"
    if not (folder / _RECORDS).exists():
        with workspace.store.read() as connection:
            done = connection.execute(select(schema.batch.c.id).where(schema.batch.c.result != "{}")).first()
        if done is not None or not unique.exists():
            return
        # These tables are written anew from now on.
        check_outputs([data / "groups.csv", data / "uncertain.csv"])
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("groups.csv", "uncertain.csv", "ingest.json", "rejected.jsonl"):
            if (data / name).exists():
                shutil.copy2(data / name, folder / name)
        with replacing(folder / _RECORDS) as part:
            shutil.copy2(unique, part)
    _add_in_steps(workspace, read_records(folder / _RECORDS), 0, progress)


def _place(record: Record) -> _Place:
    return record.source_file, record.source_index


def _copy_id(record: Record) -> str:
    """Return the id that a duplicate has if somebody makes it a record of its own."""
    digest = hashlib.sha256(f"{record.source_file}\0{record.source_index}".encode()).hexdigest()[:8]
    return f"{record.record_id}#{digest}"


def _copy_row(
    group: Group,
    member: Record,
    copy: Record,
    sentences: Mapping[str, Sequence[Sentence]],
    numbers: Mapping[str, int],
    wave: int,
) -> dict[str, Any]:
    """Return a row of table ``copy``."""
    row = record_row(copy, sentences.get(copy.record_id, ()), wave)
    gave = {filled.field: row.get(filled.field, getattr(copy, filled.field)) for filled in _given(group, member)}
    if "abstract" in gave:
        gave["sentences"] = row["sentences"]
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
    """Return rows of table ``pair`` for the pairs that it does not have yet."""
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


def _order_at_once(connection: Connection, seed: int) -> None:
    """Put a random order in use if there is none, so that reading can begin before the records are ranked."""
    table, queue = schema.ranking, schema.queue
    in_use = select(queue.c.record).join(table, table.c.id == queue.c.ranking).where(table.c.active == 1)
    if connection.execute(in_use.limit(1)).first() is not None:
        return
    numbers = [row.id for row in connection.execute(_IDS)]
    for stage in STAGES:
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
    """Delete the records of an import, and everything about them; nobody has worked on them."""
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
    connection.execute(delete(record).where(record.c.wave == wave))
    connection.execute(update(schema.batch).where(schema.batch.c.id == wave).values(result="{}"))
    if connection.execute(select(record.c.id)).first() is None:
        for table in (schema.queue, schema.place, schema.ranking):
            connection.execute(delete(table))
    else:
        add_job(connection, RANK, None)


def _as_read(workspace: Workspace, batches: Sequence[int]) -> dict[_Place, Record]:
    """Return all records of some imports, and those that the project had before, as they were read."""
    from mechtag.core.parquet import read_records

    paths = [folder_of(workspace, number) / _RECORDS for number in (0, *batches)]
    return {_place(record): record for path in paths if path.exists() for record in read_records(path)}


def _in_review(connection: Connection, as_read: Mapping[_Place, Record], *where: Any) -> list[Record]:
    """Return records of the database that meet conditions, with all fields that were read."""
    table, copy = schema.record, schema.copy
    gave = defaultdict[int, dict[str, Any]](dict)
    for row in connection.execute(select(copy.c.head, copy.c.gave).where(copy.c.gave != "{}", _TOGETHER)):
        gave[row.head] |= json.loads(row.gave)
    records = []
    for row in connection.execute(select(table).where(*where).order_by(table.c.id)):
        base = as_read.get((row.source_file, row.source_index))
        values = {name: getattr(row, name) for name in _PLAIN}
        values |= {name: tuple(json.loads(getattr(row, name))) for name in ("authors", "keywords")}
        values |= {name: gave[row.id].get(name) for name in _DETAILS if not (base and getattr(base, name))}
        if base is None:
            place = {"source_file": row.source_file, "source_index": row.source_index}
            records.append(Record(**values, **place))
        else:
            records.append(base.model_copy(update=values))
    return records


# Columns of table record that are fields of a record, and fields that only the record as it was read has.
_PLAIN = ("record_id", "title", "abstract", "year", "journal", "doi", "pmid", "type", "language", "url")
_DETAILS = ("volume", "issue", "pages")
_JOINED = select(schema.joined.c.record)
# Copies that still count as duplicates.
_TOGETHER = or_(schema.copy.c.record.is_(None), schema.copy.c.record.in_(_JOINED))


def _decisions(connection: Connection, records: Mapping[str, Record]) -> list[Decision]:
    """Return what people decided about duplicates, as decisions on the given records."""
    from mechtag.pipeline.dedupe.results import Decision, refer

    joined, copy, apart = schema.joined, schema.copy, schema.apart
    pairs = [(row.record, row.into, True) for row in connection.execute(select(joined))]
    split_off = select(copy.c.head, copy.c.record).where(copy.c.record.is_not(None), copy.c.record.not_in(_JOINED))
    pairs += [(row.head, row.record, False) for row in connection.execute(split_off)]
    pairs += [(row.record, row.other, False) for row in connection.execute(select(apart))]
    names = {row: records[record_id] for row, record_id in connection.execute(_IDS) if record_id in records}
    return [
        Decision(refer(names[left]), refer(names[right]), same, "the review page")
        for left, right, same in dict.fromkeys(pairs)
        if left in names and right in names
    ]


def _groups(connection: Connection, as_read: Mapping[_Place, Record], unique: Mapping[str, Record]) -> list[Group]:
    """Return the records that are one paper, as `dedupe` returns them."""
    from mechtag.pipeline.dedupe.results import Filled, Group

    table, copy, joined = schema.record, schema.copy, schema.joined
    heads = {row.record: row.into for row in connection.execute(select(joined.c.record, joined.c.into))}
    rows = {row.id: row for row in connection.execute(select(table.c.id, table.c.record_id, *_SOURCE))}
    members = defaultdict[int, list[Record]](list)
    filled, links = defaultdict[int, list[Filled]](list), defaultdict[int, list[tuple[float, str]]](list)
    for row in connection.execute(select(copy).where(_TOGETHER)):
        head = heads.get(row.head, row.head)
        member = as_read[row.source_file, row.source_index]
        members[head].append(member)
        filled[head] += [Filled(name, member) for name in json.loads(row.gave) if name != "sentences"]
        links[head].append((row.confidence, row.reason))
    for record, into in connection.execute(select(joined.c.record, joined.c.into).where(joined.c.event > 0)):
        members[into].append(as_read[rows[record].source_file, rows[record].source_index])
        links[into].append((1.0, "a person found that these are the same paper"))
    return [
        Group(
            kept=unique[rows[head].record_id],
            members=(as_read[rows[head].source_file, rows[head].source_index], *found),
            filled=tuple(filled[head]),
            confidence=min(confidence for confidence, _ in links[head]),
            reason="; ".join(dict.fromkeys(reason for _, reason in links[head])),
        )
        for head, found in members.items()
    ]


_SOURCE = (schema.record.c.source_file, schema.record.c.source_index)


def _doubts(connection: Connection, as_read: Mapping[_Place, Record]) -> list[Uncertain]:
    """Return the pairs on which nobody has decided."""
    from mechtag.pipeline.dedupe.results import Uncertain

    names = {row.id: row.record_id for row in connection.execute(_IDS)}
    found = []
    for row in connection.execute(undecided()):
        one, other = (
            as_read[fields["source_file"], fields["source_index"]].model_copy(update={"record_id": names[number]})
            for fields, number in zip(json.loads(row.fields), (row.left, row.right), strict=True)
        )
        found.append(Uncertain(one, other, row.confidence, row.reason))
    return found


def _sum(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts of several imports together, as `Ingested.summary` returns those of one."""
    numbers = {name: sum(one[name] for one in found) for name in ("read", "kept", "rejected", "abstracts_cut")}
    return numbers | {name: [each for one in found for each in one[name]] for name in ("sources", "unread", "notes")}


def _move(source: Path, target: Path, names: Iterable[str]) -> None:
    """Move files between two folders; a file that is in the target already stays there."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (source / name).exists() and not (target / name).exists():
            os.replace(source / name, target / name)


def _log(workspace: Workspace, coder: int, job: int, content: dict[str, Any]) -> None:
    workspace.acts.log(Stamp(coder, client_id=f"import-job-{job}"), "import", content)


def _set_state(workspace: Workspace, number: int, state: str) -> None:
    with workspace.store.write() as connection:
        connection.execute(update(schema.batch).where(schema.batch.c.id == number).values(state=state))
