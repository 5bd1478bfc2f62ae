"""Test that the page Learn lists suggestions that a training changed, but not for records that can still be judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import insert

from mechtag.core.records import Record
from mechtag.review.acts import Stamp
from mechtag.review.store import schema
from mechtag.review.store.changes import PAGE, save_changes
from mechtag.review.workspace import Workspace
from mechtag.training.retraining.explain_changes import Change
from tests.support.review_site import Browser, add_person, look, make_review, papers, texts

OWEN, ANN, BEN = 1, 2, 3
HOSTILE = "<script>alert(1)</script> =1+1"
WHY = "Canary of record"


def trained(review: Workspace, changes: list[Change], outcome: str = "adopted") -> None:
    """Store the result of a training that changed suggestions."""
    result = {"outcome": outcome, "tagged": 6, "compared": 0, "papers": 3, "reasons": []}
    values = {"kind": "learn", "asked": "2026-11-30T10:00:00.000+00:00", "state": "done", "result": json.dumps(result)}
    with review.store.write() as connection:
        job = connection.execute(insert(schema.job).values(values).returning(schema.job.c.id)).scalar_one()
    save_changes(review.store, job, changes)


def change(record: int, label: str = "apple", why: str = "") -> Change:
    chances = (0.21, 0.3, 0.4, 0.87)
    text = why or f"{WHY} {record}."
    return Change(f"doi:10.1/{record}", f"Paper {record}", label, "no", "yes", chances, "sentences", text)


def listed(browser: Browser) -> list[int]:
    """Return the numbers of the records whose changes the page shows."""
    page = texts(browser.get("/learn/changes"))
    return [record for record in range(1, 10) if f"Canary of record {record}." in page]


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    records = [
        Record(**{**row.model_dump(), "title": HOSTILE}) if row.record_id == "doi:10.1/1" else row for row in papers(7)
    ]
    review = make_review(tmp_path, records)
    assert (add_person(review, "Ann", "adjudicator"), add_person(review, "Ben", "coder")) == (ANN, BEN)
    return review


def settle(review: Workspace, record: int, *, coded: bool = True) -> None:
    """Let two people include a record and, if ``coded``, code it."""
    for coder in (ANN, BEN):
        review.acts.decide(look(review, coder, record, "screen"), record, 1)
        if coded:
            review.acts.code(look(review, coder, record), record, "apple", 1)
            review.acts.code(look(review, coder, record), record, "pear", 0)
            review.acts.commit(look(review, coder, record), record)


def test_a_change_is_listed_once_nobody_can_judge_its_record(review: Workspace) -> None:
    """Records that are included but not coded, waiting, in conflict, referred or unread can still be judged."""
    settle(review, 1)
    settle(review, 2, coded=False)
    review.acts.decide(Stamp(ANN), 3, 0)
    review.acts.decide(Stamp(BEN), 3, 0)
    review.acts.decide(Stamp(ANN), 4, 0)
    review.acts.decide(Stamp(ANN), 5, 0)
    review.acts.decide(Stamp(BEN), 5, 1)
    review.acts.decide(Stamp(ANN), 6, None, refer=True)
    review.acts.decide(Stamp(BEN), 6, 0)
    trained(review, [change(record) for record in range(1, 8)])
    for who in (OWEN, ANN):
        browser = Browser(review, who)
        assert listed(browser) == [1, 3]
        assert "5 changes are not listed, because people can still judge the records" in texts(
            browser.get("/learn/changes")
        )
        assert "What changes: 7 suggestions on 7 records" in texts(browser.get("/learn"))
    review.acts.decide(Stamp(BEN), 4, 0)
    assert listed(Browser(review, ANN)) == [1, 3, 4]
    page = Browser(review, ANN).get("/learn/changes")
    assert "<script>alert(1)" not in page
    assert f"{HOSTILE} Apple no, 0.21 yes, 0.87 Canary of record 1." in texts(page)
    assert 'href="/records/1"' in page


def test_changes_to_records_that_are_reopened_are_hidden_again(review: Workspace) -> None:
    settle(review, 1)
    settle(review, 2)
    trained(review, [change(1), change(2)])
    owner = Browser(review, OWEN)
    assert listed(owner) == [1, 2]
    review.acts.reopen(Stamp(OWEN), 2, "code", ANN, "Look again.")
    assert listed(owner) == [1]
    new = {"version": 2, "meaning": [], "wording": [], "added": ["plum"], "removed": []}
    review.acts.log(Stamp(OWEN), "codebook", new)
    assert listed(owner) == []


def test_records_of_a_running_exercise_are_hidden(review: Workspace) -> None:
    trained(review, [change(7)])
    review.acts.start_exercise(Stamp(OWEN), "screen", [6, 7], [ANN, BEN])
    for coder in (ANN, BEN):
        review.acts.decide(Stamp(coder), 7, 0)
    assert listed(Browser(review, OWEN)) == []
    review.acts.end_exercise(Stamp(OWEN), keep=True)
    assert listed(Browser(review, OWEN)) == [7]


def test_long_lists_have_pages(review: Workspace) -> None:
    for coder in (ANN, BEN):
        review.acts.decide(Stamp(coder), 1, 0)
        review.acts.decide(Stamp(coder), 2, 0)
    labels = [f"label-{number}" for number in range(PAGE + 9)]
    trained(review, [*(change(1, label) for label in labels), change(2)])
    owner = Browser(review, OWEN)
    first = owner.get("/learn/changes")
    assert 'id="said"' not in first  # nothing happened before the page was opened
    assert (first.count('<tr><th scope="row" class="cell-text"'), "label-49" in first, "label-50" in first) == (
        PAGE,
        True,
        False,
    )
    rest = owner.get(f"/learn/changes?after={PAGE - 1}")
    assert (rest.count('<tr><th scope="row" class="cell-text"'), "label-50" in rest, "label-49" in rest) == (
        10,
        True,
        False,
    )
    assert "Back to the first page" in rest
    assert "Next changes" not in rest
    assert f'href="/learn/changes?after={PAGE - 1}"' in first


def test_only_the_last_training_has_a_list(review: Workspace) -> None:
    owner = Browser(review, OWEN)
    assert owner.client.get("/learn/changes").status_code == 404
    for coder in (ANN, BEN):
        review.acts.decide(Stamp(coder), 1, 0)
    trained(review, [change(1)])
    trained(review, [], "kept")
    assert listed(owner) == []
    assert "The suggestions of the two models are the same on all 6 records" in texts(owner.get("/learn"))
    trained(review, [change(1)], "kept")
    assert "What would change: 1 suggestion on 1 record." in texts(owner.get("/learn"))
    assert "1 suggestion on 1 record would change." in texts(owner.get("/learn/changes"))


def test_coders_cannot_open_the_list(review: Workspace) -> None:
    trained(review, [change(1)])
    assert Browser(review, BEN).client.get("/learn/changes").status_code == 403
