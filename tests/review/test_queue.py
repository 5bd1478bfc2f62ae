"""Test that the counts on the pages follow the states of the records."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from mechtag.review.acts import Stamp
from mechtag.review.store import schema
from mechtag.review.store.events import derive_everything
from mechtag.review.store.queue import STATES, count_states, count_waiting
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, make_review, texts


def counted(review: Workspace, people: list[int]) -> None:
    """Compare the stored counts with counts over all rows."""
    need, current = schema.need, schema.current
    with review.store.read() as connection:
        rows = connection.execute(select(need)).all()
        judged = connection.execute(select(current).where(current.c.committed == 1)).all()
        for stage in ("screen", "code"):
            states = Counter(row.state for row in rows if row.stage == stage)
            assert count_states(connection, stage) == {state: states[state] for state in STATES}
            for person in people:
                done = {row.record for row in judged if (row.coder, row.stage) == (person, stage)}
                left = [row for row in rows if row.stage == stage and row.state in ("open", "waiting")]
                assert count_waiting(connection, person, stage) == sum(row.record not in done for row in left)


def test_counts_follow_every_act(tmp_path: Path) -> None:
    review = make_review(tmp_path, 6)
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    acts = review.acts
    counted(review, [ann, bob])
    for record, (first, second) in enumerate(((1, 1), (1, 0), (0, 0), (1, None)), start=1):
        acts.decide(Stamp(ann), record, first)
        counted(review, [ann, bob])
        acts.decide(Stamp(bob), record, second, refer=second is None)
    counted(review, [ann, bob])
    for label in ("apple", "pear"):
        acts.code(Stamp(ann), 1, label, 1)
    acts.commit(Stamp(ann), 1)
    acts.join(Stamp(1), 6, 1)
    counted(review, [ann, bob])
    acts.undo(Stamp(bob))
    acts.change_plan(Stamp(1), "coders_screen", 1)
    counted(review, [ann, bob])
    with review.store.write() as connection:
        derive_everything(connection)
    counted(review, [ann, bob])


def test_the_project_page_counts_what_each_person_did_today_and_in_all(tmp_path: Path) -> None:
    review = make_review(tmp_path, 6)
    ann = add_person(review, "Ann", "coder")
    earlier = replace(review.acts, now=lambda: "2026-11-01T10:00:00.000+00:00")
    for record in (1, 2):
        earlier.decide(Stamp(ann), record, 1)
    for record in (2, 3, 4):
        review.acts.decide(Stamp(ann), record, 0)
    review.acts.undo(Stamp(ann))
    for label in ("apple", "pear"):
        review.acts.code(Stamp(ann), 5, label, 1)
    review.acts.commit(Stamp(ann), 5)
    page = texts(Browser(review, ann).get("/"))
    assert "Ann Screening 2 3 Ann Coding 1 1" in page


def test_the_next_step_is_one_that_has_records(tmp_path: Path) -> None:
    review = make_review(tmp_path, 1, coders_screen=1)
    owner = Browser(review, 1)
    assert '<a class="button main" href="/screen">' in owner.get("/")
    review.acts.decide(Stamp(1), 1, 1)
    assert '<a class="button main" href="/code">' in owner.get("/")
    review.acts.decide(Stamp(1), 1, None, refer=True)
    assert '<a class="button main" href="/reconcile">' in owner.get("/")
