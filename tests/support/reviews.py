"""A small review with two coders and an owner who settles conflicts."""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from mechtag.core.codebook import Codebook
from mechtag.core.records import Record, Sentence
from mechtag.review.acts import Acts, Stamp
from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.store.events import derive_everything
from mechtag.review.store.records import add_records

ANN, BOB, CAT = 1, 2, 3
PEOPLE = {ANN: ("Ann", "coder"), BOB: ("Bob", "coder"), CAT: ("Cat", "owner")}
SENTENCES = 3
NOW = "2026-11-29T12:00:00.000+00:00"

CODEBOOK = Codebook.model_validate(
    {
        "name": "fruit",
        "relevance": {"key": "edible", "definition": "The text is about fruit."},
        "labels": [
            {"key": "apple", "name": "Apple", "definition": "apple orchard cider"},
            {"key": "pear", "name": "Pear", "definition": "pear perry"},
        ],
    }
)


def open_review(path: Path, records: int, people: Sequence[int] = (ANN, BOB, CAT)) -> Acts:
    """Create a review with records that are numbered from 1 and have three sentences each."""
    path.write_bytes(_whole_file(records, tuple(people)))
    return Acts(Store(path), CODEBOOK, lambda: NOW)


@cache
def _whole_file(records: int, people: tuple[int, ...]) -> bytes:
    """Return the content of a new review's database, which takes longer to create than to copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "review.sqlite3"
        store = Store(path)
        _fill(store, records, people)
        store.close()
        return path.read_bytes()


def _fill(store: Store, records: int, people: Sequence[int]) -> None:
    with store.write() as connection:
        for number in people:
            name, role = PEOPLE.get(number, (f"Person {number}", "coder"))
            values = {"id": number, "name": name, "role": role, "created": NOW}
            connection.execute(insert(schema.account).values(values))
        add_papers(connection, range(1, records + 1))


def add_papers(connection: Connection, numbers: Sequence[int]) -> int:
    papers, sentences = list[Record](), list[Sentence]()
    for number in numbers:
        name = f"doi:{number:06}"
        texts = [f"Sentence {count} of {number}." for count in range(SENTENCES)]
        papers.append(Record(record_id=name, title=f"Paper {number}", abstract=" ".join(texts)))
        start = 0
        for count, text in enumerate(texts):
            place = {"start": start, "end": start + len(text), "text": text, "section": ""}
            sentences.append(Sentence(record_id=name, sentence=count, **place))
            start += len(text) + 1
    return add_records(connection, papers, sentences, 1, {})


def stamp(coder: int, client_id: str | None = None, **values: Any) -> Stamp:
    return Stamp(coder, **(values if client_id is None else {"client_id": client_id, **values}))


_TEXTS = select(schema.record.c.id, schema.record.c.title, schema.record.c.abstract)
_STATES = select(schema.account.c.id, schema.account.c.state)


def derived(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return the data that follow from the log: derived tables, texts of records, and states of accounts."""
    queries = {table.name: select(table) for table in schema.DERIVED} | {"record": _TEXTS, "account": _STATES}
    return {name: sorted(map(tuple, connection.execute(query)), key=repr) for name, query in queries.items()}


class _Undone(Exception):
    """Raised to roll back a transaction."""


def check_replay(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Check that deriving all data again from the log changes nothing, and return the derived data."""
    try:
        with store.write() as connection:
            kept = derived(connection)
            derive_everything(connection)
            replayed = derived(connection)
            raise _Undone
    except _Undone:
        pass
    assert kept == replayed
    return kept
