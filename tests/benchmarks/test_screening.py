"""Test parts of the screening benchmark: misplaced records, confidence intervals and the lists of reviews."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.screening import DEFINITIONS, GROUPS, REVIEWS, _interval, priors, review
from benchmarks.sets import BENCH
from benchmarks.stopping import misplace


@pytest.mark.parametrize("recall", [0.95, 0.9])
@pytest.mark.parametrize("relevant", [20, 23, 101])
def test_misplaced_records_are_just_enough_to_miss_the_recall(recall: float, relevant: int) -> None:
    labels = np.concatenate(([1, 0], np.random.default_rng(0).permutation([1] * (relevant - 1) + [0] * 300), [0]))
    moved = misplace(labels, recall, np.random.default_rng(1))
    assert sorted(moved) == sorted(labels)
    assert moved[:2].tolist() == [1, 0]  # Records known at the start stay in place.
    last = len(moved) - int(np.flatnonzero(moved == 0)[-1]) - 1
    assert (relevant - last) / relevant < recall
    assert (relevant - last + 1) / relevant >= recall


def test_interval_draws_the_two_forms_of_a_review_together() -> None:
    values = np.zeros((len(REVIEWS), 1))
    values[[REVIEWS.index(name) for name in ("nagtegaal_2019", "nudging")], 0] = (1, -1)
    # If both are drawn together, they cancel out in each resample; drawn separately, they would not.
    assert _interval(values) == (0, 0)


def test_interval_includes_the_spread_of_the_runs() -> None:
    alternating = np.tile([1.0, -1.0], (len(REVIEWS), 5))
    low, high = _interval(alternating)
    # Runs are resampled within each review, so the interval has a width although all reviews have the same mean.
    assert low == pytest.approx(-high, abs=0.02)
    assert 0.15 < high < 0.35
    assert _interval(np.ones((len(REVIEWS), 5))) == (1, 1)


def test_every_review_is_in_one_group() -> None:
    assert sorted(name for group in GROUPS for name in group) == sorted(set(REVIEWS)) == sorted(DEFINITIONS)
    if not (BENCH / "screening").is_dir():
        pytest.skip(f"{BENCH}/screening is missing; set MECHTAG_BENCH to the benchmark data")
    assert {path.name.removesuffix(".csv.gz") for path in (BENCH / "screening").glob("*.csv.gz")} == set(REVIEWS)
    for name in REVIEWS:
        titles, abstracts, labels = review(name)
        assert len(titles) == len(abstracts) == len(labels)
        known = priors(name, 0)
        assert labels[known].tolist() == [1, 0]
        assert known.tolist() == priors(name, 0).tolist()
