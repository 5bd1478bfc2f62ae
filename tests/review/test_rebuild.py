"""Test that derived tables changed by a fault or by hand are corrected when they are computed from the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import delete, select, update

from mechtag.core.errors import MechtagError
from mechtag.review.acts import Stamp
from mechtag.review.server import rebuild, serve
from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.store.queue import count_states
from mechtag.review.workspace import Workspace
from tests.support.command import call
from tests.support.review_site import add_person, make_review
from tests.support.reviews import derived

OWEN = 1


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    review = make_review(tmp_path, 5)
    ann = add_person(review, "Ann", "coder")
    for record, value in ((1, 1), (2, 0), (3, 1)):
        review.acts.decide(Stamp(OWEN), record, value)
        review.acts.decide(Stamp(ann), record, 1)
    review.acts.mark(Stamp(ann), 1, "apple", [0])
    review.acts.role(Stamp(ann), 1, "apple", 0, "context")
    review.acts.link(Stamp(ann), 1, "apple", 0, "context", 1)
    review.acts.note(Stamp(ann), 1, "A note")
    review.acts.join(Stamp(OWEN), 5, 4)
    return review


def state(store: Store) -> tuple[object, ...]:
    with store.read() as connection:
        return derived(connection), count_states(connection, "screen"), count_states(connection, "code")


def test_damaged_tables_are_computed_again(review: Workspace) -> None:
    before = state(review.store)
    with review.store.write() as connection:
        connection.execute(delete(schema.current).where(schema.current.c.record == 1))
        connection.execute(update(schema.need).where(schema.need.c.record == 2).values(state="settled"))
        connection.execute(update(schema.tally).values(number=7))
        connection.execute(delete(schema.joined))
    assert state(review.store) != before
    review.store.close()
    status, *said = call("review", review.project.root, "--rebuild")
    assert status == 0
    assert "corrected these tables: current, need, joined, tally" in " ".join(" ".join(said).split())
    store = Store(review.store.path)
    assert state(store) == before
    with store.read() as connection:
        roles = connection.execute(select(schema.current.c.roles).where(schema.current.c.label == "apple")).scalar_one()
    assert roles == '{"0": {"context": [1]}}'
    assert store.rebuild() == []
    assert state(store) == before
    store.close()


def test_a_review_that_is_open_is_left_alone(review: Workspace) -> None:
    with (
        FileLock(review.folder / "running.lock"),
        pytest.raises(MechtagError, match="the review page of this project is open; stop"),
    ):
        rebuild(review.project.root)


def test_a_review_that_is_being_rebuilt_is_not_opened(review: Workspace) -> None:
    # A server that was killed left its address behind.
    running = review.folder / "running.json"
    running.write_text('{"address": "http://127.0.0.1:8765/", "process": 1}', encoding="utf-8")
    said: list[str] = []
    with FileLock(review.folder / "running.lock"):
        serve(review.project.root, browser=False, say=said.append)
    assert said == [f"{review.project.root}: the review page is already open at http://127.0.0.1:8765/"]
    review.store.close()
    rebuild(review.project.root, said.append)
    assert not running.exists()
    with (
        FileLock(review.folder / "running.lock"),
        pytest.raises(MechtagError, match="another mechtag command is opening or rebuilding this review"),
    ):
        serve(review.project.root, browser=False)
