"""Test settling several conflicts in one step with the codes of one person, and undoing that in one step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import select

from mechtag.review.acts import Refused, Settlement, Stamp
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, make_review, texts
from tests.support.reviews import check_replay

LIST = "/reconcile/coding"


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Make a review with conflicts about apple in records 1 to 3; in record 3, Ann left the label open."""
    review = make_review(tmp_path)
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for record in (1, 2, 3):
        for coder in (ann, bob):
            if coder == bob or record < 3:
                review.acts.mark(Stamp(coder), record, "apple", [1] if coder == ann else [])
                review.acts.code(Stamp(coder), record, "apple", int(coder == ann))
            else:
                review.acts.mark(Stamp(coder), record, "apple", [], complete=True)
            review.acts.code(Stamp(coder), record, "pear", 0)
            review.acts.commit(Stamp(coder), record, open_labels=True)
    return review


def finals(review: Workspace) -> dict[int, tuple[int, str, str]]:
    """Return the value, sentences and origin of each final code for apple, by record."""
    check_replay(review.store)
    table = schema.final
    with review.store.read() as connection:
        rows = connection.execute(select(table).where(table.c.label == "apple"))
        return {row.record: (row.value, row.sentences, row.how) for row in rows}


def test_all_conflicts_of_a_label_are_settled_with_one_reason(review: Workspace) -> None:
    owner = Browser(review, 1)
    assert "Settle several records" in owner.get(LIST)
    fields = {"coder": 2, "label": "apple"}
    early = owner.post(f"{LIST}/take", record=["1"], why="Ann wrote the protocol.", **fields)
    assert (early.status_code, "look at them before you settle" in early.text.casefold()) == (409, True)
    page = owner.post(f"{LIST}/preview", all=1, **fields).text
    assert "Ann: yes; Bob: no" in texts(page)
    assert re.findall(r'name="record" value="(\d)" checked', page) == ["1", "2"]
    assert "Left out" in page
    refused = owner.post(f"{LIST}/take", record=["1", "2"], why=" ", **fields)
    assert (refused.status_code, finals(review)) == (422, {})
    owner.post(f"{LIST}/take", record=["1", "2", "3"], why="Ann wrote the protocol.", **fields)
    assert finals(review) == {1: (1, "[1]", "adjudicated"), 2: (1, "[1]", "adjudicated")}
    with review.store.read() as connection:
        event, sight = schema.event, schema.sight
        seen = connection.execute(
            select(sight.c.others_shown).join(event, event.c.sight == sight.c.id).where(event.c.kind == "settle")
        ).scalars()
        assert list(seen) == [1, 1]
    assert "Owen settled Apple as yes: Ann wrote the protocol." in texts(owner.get("/activity"))


def test_they_are_undone_and_redone_together(review: Workspace) -> None:
    owner = Browser(review, 1)
    decisions = [Settlement(record, "code", "apple", 0) for record in (1, 2, 3)]
    stamp = Stamp(1)
    first = review.acts.settle_together(stamp, decisions, "Why not.")
    assert review.acts.settle_together(stamp, decisions, "Why not.") == first
    done = finals(review)
    assert sorted(done) == [1, 2, 3]
    answer = owner.post("/undo")
    assert (answer.url.path, finals(review)) == ("/reconcile/code/1", {})
    owner.post("/redo")
    assert finals(review) == done
    owner.post("/undo")
    assert finals(review) == {}


def test_if_one_is_refused_nothing_is_settled(review: Workspace) -> None:
    decisions = [Settlement(record, "code", "apple", 0) for record in (1, 4)]
    with pytest.raises(Refused, match="this record is not included"):
        review.acts.settle_together(Stamp(1), decisions, "Why not.")
    with pytest.raises(Refused, match="no record was chosen"):
        review.acts.settle_together(Stamp(1), [], "Why not.")
    assert finals(review) == {}


def test_screening_conflicts_take_the_reason_too(review: Workspace) -> None:
    review.acts.change_plan(Stamp(1), "exclusion_reasons", ["Topic"])
    review.acts.decide(Stamp(2), 4, 0, reason="Topic")
    review.acts.decide(Stamp(3), 4, 1)
    review.acts.change_plan(Stamp(1), "exclusion_reasons", ["Topic", "Year"])
    owner = Browser(review, 1)
    page = owner.post("/reconcile/screening/preview", coder=2, record=["4"]).text
    assert "Ann: exclude; Bob: include" in texts(page)
    owner.post("/reconcile/screening/take", coder=2, record=["4"], why="Right.")
    with review.store.read() as connection:
        row = connection.execute(select(schema.final).where(schema.final.c.stage == "screen")).one()
    assert (row.value, row.reason, row.how) == (0, "Topic", "adjudicated")
    empty = owner.post("/reconcile/screening/preview", coder=2, record=["4"])
    assert (
        empty.status_code,
        "none of the chosen records still needs a decision on this label" in empty.text.casefold(),
    ) == (
        422,
        True,
    )


def test_only_owners_take_codes(review: Workspace) -> None:
    lead = Browser(review, add_person(review, "Lea", "adjudicator"))
    assert "Settle several records" not in lead.get(LIST)
    assert lead.post(f"{LIST}/preview", all=1, coder=2, label="apple").status_code == 403


def test_a_reason_that_left_the_plan_is_left_out(review: Workspace) -> None:
    review.acts.change_plan(Stamp(1), "exclusion_reasons", ["Topic"])
    for record in (4, 3):
        review.acts.decide(Stamp(2), record, 0, reason="Topic")
        review.acts.decide(Stamp(3), record, 1)
    review.acts.change_plan(Stamp(1), "exclusion_reasons", ["Year"])
    owner = Browser(review, 1)
    owner.post("/reconcile/screening/preview", coder=2, record=["4"])
    owner.post("/reconcile/screening/take", coder=2, record=["4"], why="Right.")
    owner.post("/reconcile/screen/3/settle", label="edible", take="A", votes=1)
    with review.store.read() as connection:
        rows = connection.execute(select(schema.final).where(schema.final.c.stage == "screen")).all()
    assert {row.record: (row.value, row.reason) for row in rows} == {3: (0, None), 4: (0, None)}


def test_records_that_are_included_together_get_suggestions(review: Workspace) -> None:
    review.acts.decide(Stamp(2), 4, 1)
    review.acts.decide(Stamp(3), 4, 0)
    owner = Browser(review, 1)
    owner.post("/reconcile/screening/preview", coder=2, record=["4"])
    owner.post("/reconcile/screening/take", coder=2, record=["4"], why="Right.")
    with review.store.read() as connection:
        assert "tag" in connection.execute(select(schema.job.c.kind)).scalars().all()
