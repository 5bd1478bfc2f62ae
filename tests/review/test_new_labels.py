"""Test labels that are added late: coders are asked about them, and only them, in papers that they have coded."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select

from mechtag.core.codebook import Label
from mechtag.review.acts import Refused, Stamp
from mechtag.review.codebooks import save
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace, write_fact
from tests.support.review_site import Browser, texts
from tests.support.reviews import check_replay

PLUM = Label(key="plum", name="Plum", definition="The text speaks of plums.")


def include(review: Workspace, record: int, *coders: int) -> None:
    for coder in coders:
        review.acts.decide(Stamp(coder), record, 1)


def code(review: Workspace, record: int, coder: int, *, apple: int = 1) -> None:
    review.acts.code(Stamp(coder), record, "apple", apple)
    review.acts.code(Stamp(coder), record, "pear", 0)
    review.acts.commit(Stamp(coder), record)


def add_plum(review: Workspace) -> None:
    book = review.codebook
    save(review, Stamp(1), book.model_copy(update={"labels": (*book.labels, PLUM)}), [])


def final(review: Workspace, record: int) -> dict[str, tuple[int | None, str]]:
    """Check that the log leads to the same tables, and return the value and origin of each label's final code."""
    check_replay(review.store)
    table = schema.final
    with review.store.read() as connection:
        rows = connection.execute(select(table).where(table.c.record == record, table.c.stage == "code"))
        return {row.label: (row.value, row.how) for row in rows}


def test_papers_coded_before_are_asked_about_the_new_label_alone(review: Workspace, ann: int, bob: int) -> None:
    for record in (1, 2):
        include(review, record, ann, bob)
        for coder in (ann, bob):
            code(review, record, coder)
    browser, owner = Browser(review, ann), Browser(review, 1)
    assert "Code new labels" not in browser.get("/")
    add_plum(review)
    assert "2 papers that you coded before the labels were added" in texts(browser.get("/"))
    assert "Plum: 2 papers still to be coded" in texts(owner.get("/codebook"))
    assert "Code 2 papers for new labels" in texts(browser.get("/code"))
    page = browser.get("/code/new")
    assert "Answer only this label; your other codes do not change." in texts(page)
    assert "2 papers left to code for new labels" in texts(page)
    assert ('id="yes-plum"' in page, 'id="yes-apple"' in page) == (True, False)
    missing = browser.post("/code/done", record=1, new=1)
    assert "1 label is open" in texts(missing.text)
    browser.post("/code/answer", record=1, label="plum", answer="yes")
    assert 'id="yes-apple"' not in browser.get("/code?record=1")
    assert final(review, 1) == {"apple": (1, "agreed"), "pear": (0, "agreed")}
    following = browser.post("/code/done", record=1, new=1)
    assert (following.url.path, "Paper 2" in following.text) == ("/code/new", True)
    # Bob has not answered yet, so there is neither a final code nor a conflict.
    assert final(review, 1) == {"apple": (1, "agreed"), "pear": (0, "agreed")}
    assert 'id="yes-apple"' in browser.get("/code?record=1")
    for record, value in ((1, 1), (2, 0)):
        review.acts.code(Stamp(bob), record, "plum", value)
        review.acts.commit(Stamp(bob), record)
    assert final(review, 1)["plum"] == (1, "agreed")
    assert "plum" not in final(review, 2)
    browser.post("/code/answer", record=2, label="plum", answer="yes")
    done = browser.post("/code/done", record=2, new=1)
    assert "Nothing left to code for you now" in texts(done.text)
    assert "Coding conflicts (1)" in texts(owner.get("/reconcile"))
    review.acts.undo(Stamp(ann))
    assert "Coding conflicts (0)" in texts(owner.get("/reconcile"))
    assert "1 paper that you coded" in texts(browser.get("/"))
    check_replay(review.store)


def test_a_settled_paper_is_open_for_the_new_label_alone(review: Workspace, ann: int, bob: int) -> None:
    include(review, 1, ann, bob)
    code(review, 1, ann)
    code(review, 1, bob, apple=0)
    review.acts.settle(Stamp(1), 1, "code", "apple", 1, why="x")
    add_plum(review)
    with pytest.raises(Refused, match="an adjudicator has settled this record"):
        review.acts.code(Stamp(ann), 1, "apple", 0)
    for coder in (ann, bob):
        review.acts.mark(Stamp(coder), 1, "plum", [0])
        review.acts.commit(Stamp(coder), 1, all_sentences=True)
    assert final(review, 1) == {"apple": (1, "adjudicated"), "pear": (0, "agreed"), "plum": (1, "agreed")}
    with review.store.read() as connection:
        table = schema.current
        complete = connection.execute(select(table.c.label, table.c.complete).where(table.c.coder == ann)).all()
    assert dict(map(tuple, complete)) == {"edible": 0, "apple": 0, "pear": 0, "plum": 1}
    with pytest.raises(Refused, match="an adjudicator has settled this record"):
        review.acts.code(Stamp(ann), 1, "plum", 0)


def test_who_leaves_it_open_or_leaves_the_review_is_not_asked_again(review: Workspace, ann: int, bob: int) -> None:
    for record in (1, 2):
        include(review, record, ann, bob)
        for coder in (ann, bob):
            code(review, record, coder)
    add_plum(review)
    browser, owner = Browser(review, ann), Browser(review, 1)
    assert "1 label is open" in texts(browser.post("/code/done", record=1, new=1).text)
    browser.post("/code/done", record=1, new=1, open_labels=1)
    assert "1 paper that you coded" in texts(browser.get("/"))
    review.acts.code(Stamp(ann), 2, "plum", 1)
    review.acts.commit(Stamp(ann), 2)
    assert "Coding conflicts (0)" in texts(owner.get("/reconcile"))
    review.acts.change_account(Stamp(1), bob, state="left")
    # Ann coded the second paper for plum; Bob has left and will not, so an adjudicator decides.
    assert "Coding conflicts (1)" in texts(owner.get("/reconcile"))
    assert "still to be coded" not in owner.get("/codebook")
    review.acts.change_account(Stamp(1), bob, state="active")
    assert "Coding conflicts (0)" in texts(owner.get("/reconcile"))
    assert "2 papers that you coded" in texts(Browser(review, bob).get("/"))


def test_an_excluded_or_a_later_coded_paper_is_not_asked_about(review: Workspace, ann: int, bob: int) -> None:
    for record in (1, 2):
        include(review, record, ann, bob)
    code(review, 1, ann)
    add_plum(review)
    code_all = {"apple": 1, "pear": 0, "plum": 1}
    for label, value in code_all.items():
        review.acts.code(Stamp(ann), 2, label, value)
    review.acts.commit(Stamp(ann), 2)
    browser = Browser(review, ann)
    assert "1 paper that you coded" in texts(browser.get("/"))
    review.acts.decide(Stamp(ann), 1, 0)
    assert "that you coded" not in texts(browser.get("/"))
    assert "Paper 1" not in browser.get("/code/new")


def test_suggestions_for_the_new_label_come_after_it_is_answered(review: Workspace, ann: int, bob: int) -> None:
    include(review, 1, ann, bob)
    rows = [
        {"model_id": "m", "record": 1, "label": label, "probability": 0.9, "decision": "yes", "sentences": "[]"}
        for label in ("apple", "pear", "plum")
    ]
    with review.store.write() as connection:
        write_fact(connection, "model_id", "m")
        connection.execute(insert(schema.suggestion), rows)
    code(review, 1, ann)
    browser = Browser(review, ann)
    assert "mechtag says" in texts(browser.get("/code?record=1"))
    add_plum(review)
    page = browser.get("/code/new")
    assert "mechtag says" not in texts(page)
    sight = page.partition('name="sight" value="')[2].partition('"')[0]
    browser.post("/code/answer", record=1, label="plum", answer="no", sight=sight)
    shown = browser.post("/code/done", record=1, new=1, sight=sight)
    assert "new=1" in str(shown.url)
    assert "You said no; mechtag says: yes" in texts(shown.text)
    assert 'href="/code/new"' in shown.text
    with review.store.read() as connection:
        table = schema.current
        (plum,) = connection.execute(select(table).where(table.c.coder == ann, table.c.label == "plum")).all()
    assert (plum.first_value, plum.assisted, plum.first_assisted) == (0, 0, 0)
