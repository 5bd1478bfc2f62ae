"""Put records into the database, and look them up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, insert, select

from mechtag.core.records import Record, Sentence
from mechtag.review.store import schema
from mechtag.review.store.events import derive_records


@dataclass(frozen=True)
class Entry:
    """A record as the pages show it.

    Attributes
    ----------
    id
        Number in the database; ``record_id`` is the identifier that files and models use.
    sentences
        Start, end and section of each sentence of the abstract.
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

    def sentence(self, number: int) -> str:
        """Return the text of a sentence of the abstract, counted from 0."""
        start, end, _ = self.sentences[number]
        return self.abstract[start:end]


def add_records(
    connection: Connection, records: Sequence[Record], sentences: Iterable[Sentence], wave: int, copies: dict[str, int]
) -> int:
    """Add the records that the database does not have yet, and return their number.

    Parameters
    ----------
    sentences
        Sentences of the records, in the order of the records.
    wave
        Number of the import.
    copies
        Number of records that each record represents, keyed by record id; 1 if it is missing.
    """
    known = set(connection.execute(select(schema.record.c.record_id)).scalars())
    cut = {name: list(rows) for name, rows in groupby(sentences, key=lambda row: row.record_id)}
    rows = [
        {
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
            "sentences": json.dumps([[row.start, row.end, row.section] for row in cut.get(record.record_id, ())]),
            "copies": copies.get(record.record_id, 1),
        }
        for record in records
        if record.record_id not in known
    ]
    if rows:
        last = connection.execute(select(schema.record.c.id).order_by(schema.record.c.id.desc()).limit(1)).scalar()
        connection.execute(insert(schema.record), rows)
        new = connection.execute(select(schema.record.c.id).where(schema.record.c.id > (last or 0))).scalars()
        derive_records(connection, list(new))
    return len(rows)


def read_entry(connection: Connection, number: int) -> Entry | None:
    """Return a record by its number in the database."""
    row = connection.execute(select(schema.record).where(schema.record.c.id == number)).one_or_none()
    return None if row is None else _entry(row)


def read_entries(connection: Connection, numbers: Sequence[int]) -> list[Entry]:
    """Return records in the given order; numbers without a record are left out."""
    rows = connection.execute(select(schema.record).where(schema.record.c.id.in_(numbers)))
    found = {row.id: _entry(row) for row in rows}
    return [found[number] for number in numbers if number in found]


def _entry(row: Any) -> Entry:
    sentences = tuple((int(start), int(end), str(section)) for start, end, section in json.loads(row.sentences))
    lists = {"authors": tuple(json.loads(row.authors)), "keywords": tuple(json.loads(row.keywords))}
    return Entry(**{**row._mapping, **lists, "sentences": sentences})
