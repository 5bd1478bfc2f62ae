"""Test metrics of a reading order against ASReview's own code and against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.errors import MechtagError
from mechtag.pipeline.screening.simulation import extra_found, loss, screening_figures, summary, work_saved

# 30 records, relevant at places 1, 3, 4, 8, 13 and 21.
READ = [1, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
readings = st.lists(st.integers(0, 1), min_size=2, max_size=80).filter(lambda labels: 0 < sum(labels) < len(labels))


def test_loss_is_that_of_asreview() -> None:
    # asreview.metrics.loss of ASReview 3.0.8 on the same labels.
    assert loss(READ) == pytest.approx(0.2013888888888889)


@pytest.mark.parametrize(("place", "value"), [(1, 1 / 6), (3, 1 / 3), (8, 1 / 2), (9, 1 / 3), (18, 1 / 6), (30, 0.0)])
def test_extra_records_found_are_those_of_asreview_insights(place: int, value: float) -> None:
    # asreviewcontrib.insights.algorithms._erf_values of ASReview insights 1.6.1 on the same labels.
    assert extra_found(READ, place / 30) == pytest.approx(value)
    assert extra_found(READ, (place + 0.5) / 30) == pytest.approx(value)  # Half a record has not been read.


def test_figures_worked_by_hand() -> None:
    figures = screening_figures(READ)
    assert figures.wss_95 == pytest.approx(9 / 30 - 0.05)  # 95% of 6, rounded up, is 6; the sixth is record 21
    assert figures.wss_100 == pytest.approx(9 / 30)
    assert work_saved(READ, 0.5) == pytest.approx(26 / 30 - 0.5)
    assert figures.mean_time_to_discovery == pytest.approx((1 + 3 + 4 + 8 + 13 + 21) / 6 / 30)
    assert figures.recall_10 == pytest.approx(2 / 6)
    assert figures.erf_10 == pytest.approx(1 / 3)


def test_recall_is_reached_at_a_whole_number_of_records() -> None:
    # 95% of 20 are exactly 19: found after 19 records, not 20.
    assert work_saved([1] * 20 + [0] * 20, 0.95) == pytest.approx(21 / 40 - 0.05)


def test_best_and_worst_order() -> None:
    assert loss([1, 1, 0, 0, 0]) == 0
    assert loss([0, 0, 0, 1, 1]) == 1
    assert work_saved([0, 0, 0, 1, 1], 1.0) == 0


@given(readings)
def test_loss_is_the_area_lost_between_the_best_and_the_worst_order(labels: list[int]) -> None:
    def area(read: list[int]) -> int:
        return sum(sum(read[:end]) for end in range(1, len(read) + 1))

    best, worst = sorted(labels, reverse=True), sorted(labels)
    assert loss(labels) == pytest.approx((area(best) - area(labels)) / (area(best) - area(worst)))


@given(readings)
def test_loss_of_an_order_and_its_reverse_add_up_to_one(labels: list[int]) -> None:
    assert loss(labels) + loss(labels[::-1]) == pytest.approx(1)


@pytest.mark.parametrize("labels", [[], [1, 1], [0, 0], [1, 0, 2], [[1, 0]]])
def test_labels_that_allow_no_figures_are_refused(labels: list[int]) -> None:
    with pytest.raises(MechtagError, match="pass 1 for each relevant record and 0 for each irrelevant"):
        screening_figures(labels)


def test_summary_over_readings() -> None:
    found = summary([[1, 0, 0, 0], [0, 0, 0, 1], np.array([0, 1, 0, 0])])
    assert found["loss"] == {"mean": pytest.approx(4 / 9), "min": 0, "max": 1}
    assert found["mean_time_to_discovery"]["mean"] == pytest.approx((1 + 4 + 2) / 12)
