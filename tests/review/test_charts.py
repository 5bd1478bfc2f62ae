"""Test that charts of the review page show the numbers that the worker computed, and need neither colour nor style."""

from __future__ import annotations

import re
from pathlib import Path

from mechtag.review import charts
from mechtag.review.acts import Acts
from mechtag.review.jobs.timeline import read_timeline
from mechtag.review.workspace import Workspace
from tests.support.paths import ROOT
from tests.support.review_site import add_person, look, make_review

NAMES = {"apple": "Apple", "pear": "Pear & <b>quince</b>"}


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "ci_low": low, "ci_high": high}


def agreement(**labels: object) -> dict[str, object]:
    return {"all": {"humans": {"labels": labels}}}


def test_agreement_is_drawn_for_labels_with_enough_codes() -> None:
    apple = {"krippendorff_alpha": figure(0.5, 0.25, 0.75), "gwet_ac1": figure(0.6)}
    pear = {"krippendorff_alpha": figure(None), "gwet_ac1": figure(None), "note": "too few"}
    drawn = charts.draw_agreement(agreement(apple=apple, pear=pear), NAMES)
    assert drawn is not None
    ((_, svg),) = drawn.panels
    assert "Apple, Krippendorff's alpha: 0.50" in svg
    assert "Pear" not in svg
    assert charts.draw_agreement(agreement(pear=pear), NAMES) is None
    assert charts.draw_agreement({"all": {}}, NAMES) is None


def test_names_in_charts_are_escaped() -> None:
    found = {"krippendorff_alpha": figure(-0.4, -0.9, 0.1), "gwet_ac1": figure(0.6)}
    drawn = charts.draw_agreement(agreement(pear=found), NAMES)
    assert drawn is not None
    assert "&lt;b&gt;quince" in drawn.panels[0][1]
    assert "<b>" not in drawn.panels[0][1]
    assert ">-1<" in drawn.panels[0][1]  # The axis begins below the lowest interval.


def test_a_reliability_curve_needs_points() -> None:
    drawn = charts.draw_reliability([(0.1, 0.2, 40), (0.8, 0.7, 39)])
    assert drawn is not None
    assert drawn.rows == [["0.10", "0.20", "40"], ["0.80", "0.70", "39"]]
    assert len(drawn.header) == 3
    assert charts.draw_reliability([]) is None


def test_progress_is_drawn_from_two_days_on() -> None:
    one = {"days": ["2026-11-28"], "people": {"Ann": [3]}, "settled": [0]}
    two = {"days": ["2026-11-28", "2026-12-02"], "people": {"Ann": [3, 5], "Bob": [0, 1_200]}, "settled": [0, 1]}
    assert charts.draw_progress({"screen": one, "code": one}) is None
    drawn = charts.draw_progress({"screen": two, "code": one})
    assert drawn is not None
    assert [caption for caption, _ in drawn.panels] == ["Screening"]
    assert drawn.header == ["stage", "day", "Ann", "Bob", "settled"]
    assert drawn.rows[1] == ["Screening", "2 Dec 2026", "5", "1,200", "1"]
    assert {name for _, name in drawn.legend} == {"Ann", "Bob", "settled"}
    svg = drawn.panels[0][1]
    assert [text for text in ("28 Nov", "30 Nov", "2 Dec") if f">{text}<" in svg] == ["28 Nov", "30 Nov", "2 Dec"]
    assert ">1,500<" in svg
    assert "style=" not in svg


def test_colours_are_those_of_the_report() -> None:
    sheets = ("review/static/review.css", "evaluation/report/templates/report.css")
    found = [re.findall(r"--series-\d: #\w+", (ROOT / sheet).read_text(encoding="utf-8")) for sheet in sheets]
    assert found[0] == found[1][: len(found[0])]
    assert len(found[0]) == 12


def at(review: Workspace, moment: str) -> Acts:
    return Acts(review.store, review.codebook, lambda: moment)


def days(review: Workspace, *moments: str) -> None:
    """Let Ann screen one record at each moment, Bob the first two, and let Ann finish coding the first at the end."""
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for record, moment in enumerate(moments, start=1):
        acts = at(review, moment)
        acts.decide(look(review, ann, record, "screen"), record, 1)
        if record < 3:
            acts.decide(look(review, bob, record, "screen"), record, 1)
        if record == 1:
            acts.code(look(review, ann, 1), 1, "apple", 1)
    at(review, moments[-1]).commit(look(review, ann, 1), 1, open_labels=True)


def test_the_timeline_counts_records_when_they_were_finished(tmp_path: Path) -> None:
    review = make_review(tmp_path, 4)
    days(review, "2026-11-20T12:00:00.000+00:00", "2026-11-22T12:00:00.000+00:00", "2026-11-23T12:00:00.000+00:00")
    with review.store.read() as connection:
        found = read_timeline(connection)
    assert found["screen"] == {
        "days": ["2026-11-20", "2026-11-22", "2026-11-23"],
        "people": {"Ann": [1, 2, 3], "Bob": [1, 2, 2]},
        "settled": [1, 2, 2],
    }
    # Ann began to code on the first day, and finished on the last.
    assert found["code"] == {"days": ["2026-11-23"], "people": {"Ann": [1]}, "settled": [0]}
    review.acts.undo(look(review, 2, 1))
    with review.store.read() as connection:
        assert read_timeline(connection)["code"]["people"] == {}
