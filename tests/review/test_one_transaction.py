"""Test that a decision, its job and the next record are written in one transaction, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select

from mechtag.review import order
from mechtag.review.acts import Stamp
from mechtag.review.store import engine, events, schema
from mechtag.review.store.engine import Store
from mechtag.review.store.queue import STATES, count_states
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, make_review
from tests.support.reviews import check_replay

OWEN = 1
FORMS = (
    ("/screen/decide", {"record": 1, "answer": "include"}),
    ("/screen/skip", {"record": 1}),
    ("/code/answer", {"record": 2, "label": "apple", "answer": "yes"}),
    ("/code/done", {"record": 2, "open_labels": "1"}),
    ("/code/skip", {"record": 2}),
)


@contextmanager
def statements(review: Workspace) -> Iterator[list[str]]:
    """Collect the SQL statements that are run on the database, including those that begin a transaction."""
    found = list[str]()

    def run(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    listened = review.store._engine
    event.listen(listened, "before_cursor_execute", run)
    try:
        yield found
    finally:
        event.remove(listened, "before_cursor_execute", run)


@pytest.mark.parametrize(("address", "fields"), FORMS)
def test_a_form_and_the_next_page_are_one_transaction(tmp_path: Path, address: str, fields: dict[str, object]) -> None:
    review = make_review(tmp_path, 4, coders_screen=1, coders_code=1)
    review.acts.decide(Stamp(OWEN), 2, 1)
    review.acts.code(Stamp(OWEN), 2, "pear", 0)
    browser = Browser(review, OWEN)
    browser.client.headers["HX-Request"] = "true"
    with statements(review) as found:
        assert browser.post(address, **fields).status_code == 200
    assert found.count("BEGIN IMMEDIATE") == 1
    # The limit keeps a form fast: each statement takes about 0.1 ms.
    assert len(found) < 70


def test_without_the_next_record_a_decision_is_not_saved_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The browser sends an unconfirmed decision again, so no half of it may be saved."""
    review = make_review(tmp_path, 3)
    browser = Browser(review, OWEN)
    browser.client.headers["HX-Request"] = "true"

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(order, "next_record", fail)
        with pytest.raises(OSError, match="no space left"):
            browser.post("/screen/decide", client_id="d1", record=1, answer="include")
    with review.store.read() as connection:
        assert count(connection, schema.current) == 0
    browser.post("/screen/decide", client_id="d1", record=1, answer="include")
    with review.store.read() as connection:
        assert count(connection, schema.current) == 1


def count(connection: Connection, table: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_writers_of_one_process_take_turns(tmp_path: Path) -> None:
    """A waiting writer begins as soon as the other has ended; SQLite alone would wait up to 100 ms longer."""
    review = make_review(tmp_path, 1)
    entered, begun = threading.Event(), threading.Event()

    def write() -> None:
        entered.set()
        with review.store.write():
            begun.set()

    with review.store.write():
        thread = threading.Thread(target=write)
        thread.start()
        assert entered.wait(10)
        with statements(review) as found:
            assert not begun.wait(0.05)
        assert found == []  # the second writer has not asked SQLite
    thread.join()
    assert begun.is_set()


def test_a_change_of_the_plan_is_made_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other writers can write between the parts. If the process dies, the next process computes the rest."""
    monkeypatch.setattr(events, "_PART", 2)
    review = make_review(tmp_path, 7, coders_screen=1)
    for record in range(1, 7):
        review.acts.decide(Stamp(OWEN), record, 1)
    between = list[int]()

    def pause(_: float) -> None:
        if len(between) == 1:
            raise KeyboardInterrupt  # the process ends after the second part
        with review.store.read() as connection:
            between.append(count_states(connection, "screen")["waiting"])

    with monkeypatch.context() as interrupted:
        interrupted.setattr(engine.time, "sleep", pause)
        with pytest.raises(KeyboardInterrupt):
            review.acts.change_plan(Stamp(OWEN), "coders_screen", 2)
    assert between == [2]
    with review.store.read() as connection:
        assert count_states(connection, "screen") == {**dict.fromkeys(STATES, 0), "open": 1, "waiting": 4, "settled": 2}
    check_replay(Store(review.store.path))
    with review.store.read() as connection:
        assert count_states(connection, "screen") == {**dict.fromkeys(STATES, 0), "open": 1, "waiting": 6}


def test_a_change_of_the_plan_leaves_alone_what_it_cannot_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = make_review(tmp_path, 4)
    ann = add_person(review, "Ann", "coder")
    for record in (1, 2):
        review.acts.decide(Stamp(OWEN), record, 1)
    review.acts.decide(Stamp(ann), 2, 1)
    computed = list[int]()

    def derive(connection: Connection, records: Sequence[int]) -> None:
        computed.extend(records)

    monkeypatch.setattr(events, "derive_records", derive)
    review.acts.change_plan(Stamp(OWEN), "coders_screen", 1)
    assert computed == [1]  # judged by one person; record 2 was judged by two, and the others by nobody
