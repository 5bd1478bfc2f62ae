"""Test the agreement by week: a record counts in the week in which its second coder finished it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from mechtag.review import charts
from mechtag.review.acts import Acts, Stamp
from mechtag.review.codings import coders_codings, unassisted
from mechtag.review.jobs import drift
from mechtag.review.jobs.drift import weekly_agreement
from mechtag.review.workspace import Workspace
from tests.support.review_site import add_person, look, make_review, papers

MONDAY = date(2026, 11, 2)


def decide(review: Workspace, coder: int, record: int, value: int, days: int) -> None:
    moment = f"{MONDAY + timedelta(days)}T12:00:00.000+00:00"
    stamp = look(review, coder, record, "screen")
    Acts(review.store, review.codebook, lambda: moment).decide(Stamp(coder, sight=stamp.sight), record, value)


@pytest.fixture
def review(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make a review in which two people agree on all records of week 1 and on half of those of week 3."""
    monkeypatch.setattr(drift, "LEAST", 3)
    review = make_review(tmp_path, papers(9))
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for record in range(1, 9):
        decide(review, ann, record, 1, 0)
    for record in range(1, 5):
        decide(review, bob, record, 1, 6)
    for record in range(5, 9):
        decide(review, bob, record, record % 2, 14 + record % 2)
    decide(review, bob, 9, 1, 21)
    return review


def test_agreement_is_computed_by_week(review: Workspace) -> None:
    with review.store.read() as connection:
        codings = list(unassisted(coders_codings(connection, first=True)))
    found = weekly_agreement(review, codings)
    assert [(each["week"], each["records"], each["agreement"]["value"]) for each in found["screen"]] == [
        ("2026-11-02", 4, 1.0),
        ("2026-11-16", 4, 0.5),
    ]
    assert found["screen"][0]["agreement"]["ci_low"] < 1
    assert found["code"] == []
    drawn = charts.draw_weeks(found)
    assert drawn is not None
    assert [row[:3] for row in drawn.rows] == [["Screening", "2 Nov 2026", "4"], ["Screening", "16 Nov 2026", "4"]]
    assert drawn.rows[1][3].startswith("0.50 (")
    assert [name for _, name in drawn.legend] == ["Screening"]


def test_one_week_is_not_drawn_and_nothing_is_computed_without_codes(review: Workspace) -> None:
    nothing = weekly_agreement(review, [])
    assert nothing == {"screen": [], "code": [], "full-text": []}
    one = {"week": "2026-11-02", "records": 4, "agreement": {"value": 1.0, "ci_low": None, "ci_high": None}}
    assert charts.draw_weeks({"screen": [one], "code": []}) is None
