"""Add records to the database, and read records from the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, func, insert, select

from mechtag.core.records import Record, Sentence
from mechtag.review.store import schema
from mechtag.review.store.events import derive_new

# Number of values in one SQL condition, which SQLite limits to 32,766 in most builds.
_AT_ONCE = 500


@dataclass(frozen=True)
class Entry:
    """A record as the pages show it.

    Attributes
    ----------
    id
        Number of the record in the database.
    record_id
        Id of the record in files and predictions.
    wave
        Number of the import that added the record.
    sentences
        Start, end and section of each sentence of the abstract.
    copies
        Number of times that the paper was found: once as this record, and once for each duplicate.
    source_file, source_index
        Name of the search export, and number of the record in this file.
    """

    id: int
    record_id: str
    title: str
    abstract: str
    authors: tuple[str, ...]
    year: int | None
    journal: str | None
    doi: str | None
    pmid: str | None
    url: str | None
    keywords: tuple[str, ...]
    type: str | None
    language: str | None
    wave: int
    sentences: tuple[tuple[int, int, str], ...]
    copies: int
    source_file: str = ""
    source_index: int = 0


def record_row(record: Record, sentences: Iterable[Sentence], wave: int, copies: int = 1) -> dict[str, Any]:
    """Convert a record to a row of table ``record``.

    Parameters
    ----------
    sentences
        Sentences of the abstract.
    wave
        Number of the import.
    copies
        Number of times that the paper was found: once as this record, and once for each duplicate.
    """
    return {
        "record_id": record.record_id,
        "title": record.title,
        "abstract": record.abstract,
        "authors": json.dumps(record.authors, ensure_ascii=False),
        "year": record.year,
        "journal": record.journal,
        "doi": record.doi,
        "pmid": record.pmid,
        "url": record.url,
        "keywords": json.dumps(record.keywords, ensure_ascii=False),
        "type": record.type,
        "language": record.language,
        "wave": wave,
        "sentences": json.dumps([[row.start, row.end, row.section] for row in sentences]),
        "copies": copies,
        "source_file": record.source_file,
        "source_index": record.source_index,
    }


def add_records(
    connection: Connection, records: Sequence[Record], sentences: Iterable[Sentence], wave: int, copies: dict[str, int]
) -> int:
    """Add the records that are not in the database yet, and return the number of added records.

    Parameters
    ----------
    sentences
        Sentences of the abstracts, in the order of the records.
    wave
        Number of the import.
    copies
        Number of times that each paper was found, keyed by record id. If a record is missing from this dict, its number
        is 1.
    """
    table = schema.record
    names = [record.record_id for record in records]
    known = set[str]()
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        known.update(connection.execute(select(table.c.record_id).where(table.c.record_id.in_(some))).scalars())
    cut = {name: list(rows) for name, rows in groupby(sentences, key=lambda row: row.record_id)}
    rows = [
        record_row(record, cut.get(record.record_id, ()), wave, copies.get(record.record_id, 1))
        for record in records
        if record.record_id not in known
    ]
    if rows:
        last = connection.execute(select(func.max(table.c.id))).scalar()
        connection.execute(insert(table), rows)
        derive_new(connection, connection.execute(select(table.c.id).where(table.c.id > (last or 0))).scalars().all())
    return len(rows)


def read_entry(connection: Connection, number: int) -> Entry | None:
    """Return the record with the given number, or ``None`` if there is no such record."""
    row = connection.execute(select(schema.record).where(schema.record.c.id == number)).one_or_none()
    return None if row is None else _entry(row)


def read_entries(connection: Connection, numbers: Sequence[int]) -> list[Entry]:
    """Return the records with the given numbers, in the given order.

    Numbers that no record has are left out.
    """
    found = dict[int, Entry]()
    for start in range(0, len(numbers), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE]
        rows = connection.execute(select(schema.record).where(schema.record.c.id.in_(some)))
        found |= {row.id: _entry(row) for row in rows}
    return [found[number] for number in numbers if number in found]


def _entry(row: Any) -> Entry:
    sentences = tuple((int(start), int(end), str(section)) for start, end, section in json.loads(row.sentences))
    lists = {"authors": tuple(json.loads(row.authors)), "keywords": tuple(json.loads(row.keywords))}
    return Entry(**{**row._mapping, **lists, "sentences": sentences})
