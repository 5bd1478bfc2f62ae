"""Test the simulated decisions and the stopping rules of the benchmark with two reviewers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.stopping_pairs import Log, People


def test_one_person_misses_13_percent_and_two_people_miss_3() -> None:
    people = People.draw(np.ones(100_000, dtype=np.int64), np.random.default_rng(0))
    for votes in people.votes:
        assert np.mean(votes == 0) == pytest.approx(0.13, abs=0.005)
    assert np.mean(~people.found()) == pytest.approx(0.03, abs=0.002)


def test_the_adjudicator_settles_conflicts_and_referred_records() -> None:
    truth = np.array([1, 1, 0, 0, 1, 0])
    votes = np.array([[0, 0, 1, 0, -1, 1], [0, 1, 1, 1, -1, -1]])
    assert People(truth, votes).found().tolist() == [False, True, True, False, True, False]


def test_rules_stop_at_the_first_run_that_is_long_enough() -> None:
    log = Log()
    for number, value in enumerate([1, *[0] * 49, 1, *[0] * 120]):
        log.seen.add(number)
        log.judged.add(number)
        log.decisions += 2
        log.count(value, records=1000)
    assert {rule: (len(judged), decisions) for rule, (_, judged, decisions) in log.stops.items()} == {
        "50 irrelevant in a row": (101, 202),
        "100 irrelevant in a row": (151, 302),
        "50 in a row after 10% of the records": (101, 202),
    }
