"""Test the paragraph for the methods section: it says how the review was done, with the figures of *Accuracy*."""

from __future__ import annotations

from typing import Any

import pytest

import mechtag
from mechtag.core.codebook import Codebook
from mechtag.review.methods import methods_text
from mechtag.review.plan import Plan
from mechtag.review.store.exercises import Exercise
from tests.support.review_site import CODEBOOK

BOOK = Codebook.model_validate(CODEBOOK)
NOTHING: dict[str, Any] = {"people": None, "model": None, "effect": {"assisted": None, "after": None}}


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "ci_low": low, "ci_high": high}


def test_a_review_without_figures_says_how_it_is_done() -> None:
    text = methods_text(NOTHING, Plan(), BOOK, [])
    assert f"screened by two people independently per record in mechtag {mechtag.__version__}." in text
    assert f"for 2 labels (codebook fruit, version {BOOK.sha256[:12]})" in text
    assert "appeared only after a coder had finished a record" in text
    assert "alpha" not in text
    assert "  " not in text


@pytest.mark.parametrize(
    ("mode", "says"),
    [("off", "saw no suggestions"), ("blind", "saw no suggestions"), ("assisted", "except for a random 15% of the")],
)
def test_the_paragraph_says_what_coders_saw(mode: str, says: str) -> None:
    plan = Plan.model_validate({"mode_code": mode, "mode_screen": "off", "coders_screen": 1})
    text = methods_text(NOTHING, plan, BOOK, [])
    assert says in text
    assert "screened by one person per record" in text
    assert "read in random order" in text
    assert "settled by an adjudicator" in text  # at coding, which two people do
    plan = plan.model_copy(update={"coders_code": 1})
    assert "settled by an adjudicator" not in methods_text(NOTHING, plan, BOOK, [])


def test_figures_are_those_of_the_page() -> None:
    labels = {
        "edible": {"krippendorff_alpha": figure(0.8, 0.7, 0.9)},
        "apple": {"krippendorff_alpha": figure(0.6)},
        "pear": {"krippendorff_alpha": figure(None)},
    }
    humans = {"krippendorff_alpha": figure(0.55, 0.4, 0.7), "labels": labels}
    effect = {"n_with": 1200, "n_without": 300, "agreement_change": figure(0.12, 0.05, 0.19)}
    found = {
        "people": {"records": 64, "all": {"humans": humans}},
        "model": {"papers": 48, "pooled": {"kappa": figure(0.5, 0.3, 0.7)}},
        "effect": {"assisted": {"all": effect}, "after": None},
    }
    ended = Exercise(1, "2026-11-01T12:00:00+00:00", "code", (1, 2, 3), (2, 3, 4), "set aside")
    running = Exercise(2, "2026-11-01T12:00:00+00:00", "screen", (1, 2), (2, 3), "running")
    text = methods_text(found, Plan(), BOOK, [running, ended])
    assert "3 people coded the same 3 random records as a calibration exercise; these codes were set aside." in text
    assert "the same 2 random" not in text
    assert "from the codes of 64 records" in text
    assert "alpha was 0.80 (95% interval 0.70 to 0.90) for inclusion. It was 0.55 (95% interval 0.40 to 0.70)" in text
    assert "over all labels (Apple: 0.60)." in text
    shorter = BOOK.model_copy(update={"labels": BOOK.labels[1:]})
    assert "over all labels (apple: 0.60)." in methods_text(found, Plan(), shorter, []), "the label was retired since"
    assert "On 48 papers, each judged by a model that had not learned from it" in text
    assert "differed by 0.12 (95% interval 0.05 to 0.19) from that without one (1,200 and 300 codes)." in text


def test_too_few_codes_are_not_compared() -> None:
    found = {**NOTHING, "effect": {"assisted": {"all": {"n_with": 3, "n_without": 2, "note": "too few"}}}}
    assert "differed" not in methods_text(found, Plan(), BOOK, [])
