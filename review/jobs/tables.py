"""Write the tables of records that the commands of mechtag read.

Their content comes from the database of the review and from the imported files.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, or_, select

from mechtag.core.files import read_json, replacing, write_json
from mechtag.core.records import Record
from mechtag.review.imports import folder_of
from mechtag.review.jobs.progress import Progress
from mechtag.review.store import schema
from mechtag.review.store.families import undecided
from mechtag.review.workspace import Workspace

if TYPE_CHECKING:
    from mechtag.pipeline.dedupe.results import Group, Uncertain

#: Name of the file with the records of one import, as they were read from the search exports.
RECORDS = "records.parquet"
#: Query for the numbers of the records that were joined to a different record as its duplicates.
JOINED = select(schema.joined.c.record)
#: Source of a record: name of the file, and number of the record in this file.
Place = tuple[str, int]
#: Query for the number and the record id of each record.
IDS = select(schema.record.c.id, schema.record.c.record_id)


def files(workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Write the tables of records in ``data/``, which the commands of mechtag read.

    If the review has no records, the tables are deleted.

    Returns
    -------
    dict
        ``unique``: number of records that remain after deduplication. If the review has no records, the dict is empty.
    """
    from mechtag.core.parquet import write_records
    from mechtag.pipeline.dedupe.results import Deduped
    from mechtag.pipeline.dedupe.review_tables import write_groups, write_uncertain

    progress.start(0, "Writing the tables of records")
    batch, data = schema.batch, workspace.project.root / "data"
    with workspace.store.read() as connection:
        rows = connection.execute(
            select(batch.c.id, batch.c.found).where(batch.c.result != "{}").order_by(batch.c.id)
        ).all()
        as_read = as_read_in(workspace, [row.id for row in rows])
        unique = in_review(connection, as_read, schema.record.c.id.not_in(JOINED))
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


def full_records(workspace: Workspace, numbers: Mapping[str, Any]) -> Iterator[Record]:
    """Yield the records whose rows are in ``numbers``, with all fields that ``data/unique.parquet`` contains.

    Titles and abstracts are taken from the rows. Records that are missing from ``data/unique.parquet`` come last, and
    have only the fields of their rows.

    Parameters
    ----------
    numbers
        Rows of table ``record``, keyed by record id.
    """
    from mechtag.core.parquet import iterate_records

    left = dict(numbers)
    unique = workspace.project.root / "data/unique.parquet"
    if unique.exists():
        for record in iterate_records(unique):
            row = left.pop(record.record_id, None)
            if row is not None:
                yield record.model_copy(update={"title": row.title, "abstract": row.abstract})
    for row in left.values():
        lists = {"authors": tuple(json.loads(row.authors)), "keywords": tuple(json.loads(row.keywords))}
        names = ("record_id", "title", "abstract", "year", "journal", "doi", "pmid", "url", "type", "language")
        yield Record(**{name: getattr(row, name) for name in names}, **lists)


def place_of(record: Record) -> Place:
    """Return the name of the source file of a record, and the number of the record in this file."""
    return record.source_file, record.source_index


def as_read_in(workspace: Workspace, batches: Sequence[int]) -> dict[Place, Record]:
    """Return the records of imports as they were read from the search exports, keyed by place (see `place_of`).

    The records that were in the project before the first import are included.
    """
    from mechtag.core.parquet import read_records

    paths = [folder_of(workspace, number) / RECORDS for number in (0, *batches)]
    return {place_of(record): record for path in paths if path.exists() for record in read_records(path)}


def in_review(connection: Connection, as_read: Mapping[Place, Record], *where: Any) -> list[Record]:
    """Return the records of the review in the order of their numbers.

    Fields that table ``record`` does not contain come from ``as_read`` or from duplicates of the record.

    Parameters
    ----------
    as_read
        Result of `as_read_in`.
    *where
        SQL conditions on table ``record``. By default, all records are returned.
    """
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


# Fields of a record that are columns of table ``record``, and fields that only the record as it was read contains.
_PLAIN = ("record_id", "title", "abstract", "year", "journal", "doi", "pmid", "type", "language", "url")
_DETAILS = ("volume", "issue", "pages")
# Condition for rows of table ``copy`` that still count as duplicates.
_TOGETHER = or_(schema.copy.c.record.is_(None), schema.copy.c.record.in_(JOINED))


def _groups(connection: Connection, as_read: Mapping[Place, Record], unique: Mapping[str, Record]) -> list[Group]:
    """Return the groups of duplicates; each group contains all records of one paper."""
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
        own = as_read[rows[record].source_file, rows[record].source_index]
        members[into].append(own.model_copy(update={"record_id": rows[record].record_id}))
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


def _doubts(connection: Connection, as_read: Mapping[Place, Record]) -> list[Uncertain]:
    """Return the pairs of possible duplicates on which nobody has decided yet."""
    from mechtag.pipeline.dedupe.results import Uncertain

    names = {row.id: row.record_id for row in connection.execute(IDS)}
    found = []
    for row in connection.execute(undecided()):
        one, other = (
            as_read[fields["source_file"], fields["source_index"]].model_copy(update={"record_id": names[number]})
            for fields, number in zip(json.loads(row.fields), (row.left, row.right), strict=True)
        )
        found.append(Uncertain(one, other, row.confidence, row.reason))
    return found


def _sum(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Combine the summaries of several imports: add up the counts, and join the lists."""
    numbers = {name: sum(one[name] for one in found) for name in ("read", "kept", "rejected", "abstracts_cut")}
    return numbers | {name: [each for one in found for each in one[name]] for name in ("sources", "unread", "notes")}
