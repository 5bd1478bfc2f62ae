"""Test the bounds of the stopping rules against exact counting, and how often the rules fail."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.pipeline.screening.ranking import Course, Ranking, Target, describe_ranking, judge_course
from mechtag.pipeline.screening.replay import describe_simulation
from mechtag.pipeline.screening.simulation import stop_by_rank, stop_by_sample
from mechtag.pipeline.screening.stopping import (
    Sample,
    StoppingVerdict,
    bound_of_any_look,
    bound_of_one_look,
    judge_ranked,
    judge_sample,
    ranked_p,
    sample_due,
    too_many,
)


def chance(population: int, relevant: int, drawn: int, found: int) -> Fraction:
    """Return the exact probability of ``found`` relevant records in a sample drawn without replacement."""
    if not 0 <= found <= relevant or drawn - found > population - relevant:
        return Fraction(0)
    return Fraction(comb(relevant, found) * comb(population - relevant, drawn - found), comb(population, drawn))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    population = draw(st.integers(1, 60))
    drawn = draw(st.integers(0, population))
    return Sample(population, drawn, draw(st.integers(0, drawn)))


@given(samples(), st.sampled_from([0.8, 0.9, 0.95]))
def test_bound_of_one_look_is_the_exact_hypergeometric_limit(sample: Sample, confidence: float) -> None:
    def at_most(relevant: int) -> Fraction:
        return sum(
            (chance(sample.population, relevant, sample.drawn, few) for few in range(sample.found + 1)), Fraction(0)
        )

    possible = range(sample.found, sample.population - sample.drawn + sample.found + 1)
    expected = max(relevant for relevant in possible if at_most(relevant) > 1 - Fraction(str(confidence)))
    assert bound_of_one_look(sample, confidence) == expected


@given(samples(), st.sampled_from([0.8, 0.9, 0.95]))
def test_bound_of_any_look_is_the_ratio_of_prior_to_posterior(sample: Sample, confidence: float) -> None:
    everything = range(sample.population + 1)
    prior = [Fraction(1, (relevant + 1) * (relevant + 2)) for relevant in everything]
    prior = [weight / sum(prior) for weight in prior]
    likely = [chance(sample.population, relevant, sample.drawn, sample.found) for relevant in everything]
    evidence = sum(weight * like for weight, like in zip(prior, likely, strict=True))
    # Theorem 2.1: keep the numbers whose ratio of prior to posterior, evidence / likelihood, is below 1 / alpha.
    alpha = 1 - Fraction(str(confidence))
    kept = [relevant for relevant in everything if likely[relevant] > alpha * evidence]
    assert bound_of_any_look(sample, confidence) == max(kept)


@given(samples())
def test_the_bound_of_any_look_is_at_least_that_of_one_look(sample: Sample) -> None:
    assert bound_of_any_look(sample, 0.95) >= bound_of_one_look(sample, 0.95)


def test_an_empty_sample_shows_nothing_and_a_complete_one_everything() -> None:
    assert bound_of_any_look(Sample(50, 0, 0), 0.95) == 50
    assert bound_of_any_look(Sample(50, 50, 3), 0.95) == 3
    assert bound_of_one_look(Sample(50, 0, 0), 0.95) == 50


@pytest.mark.slow
@pytest.mark.parametrize(("relevant", "population"), [(0, 30), (6, 60)])
def test_the_bound_fails_rarely_even_with_a_look_after_each_record(relevant: int, population: int) -> None:
    generator = np.random.default_rng(3)
    failed = repeated = 0
    for _ in range(150):
        truth = generator.permutation([1] * relevant + [0] * (population - relevant))
        found = np.cumsum(truth)
        looks = [Sample(population, drawn, int(found[drawn - 1])) for drawn in range(1, population)]
        failed += any(bound_of_any_look(look, 0.8) < relevant for look in looks)
        repeated += any(bound_of_one_look(look, 0.8) < relevant for look in looks)
    assert failed / 150 <= 0.2
    if relevant == 6:  # The error that the rule prevents: the bound for one look is used after every record.
        assert repeated / 150 > 0.25


def brute_force_reached(found: int, missed: int, recall: float) -> bool:
    return Fraction(found, found + missed) >= Fraction(str(recall)) if found + missed else True


@given(st.integers(0, 300), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_too_many_is_the_first_number_that_breaks_the_recall(found: int, recall: float) -> None:
    expected = next(missed for missed in range(found + 2) if not brute_force_reached(found, missed, recall))
    assert too_many(found, recall) == expected


def test_verdict_of_a_sample_worked_by_hand() -> None:
    # 19 were found before and none in the sample: recall is at least 95% with one missed record, but not with two.
    verdict = judge_sample(Sample(400, 200, 0), 19, 0, recall=0.95, confidence=0.95)
    assert not verdict.stop
    last = judge_sample(Sample(400, 200 + verdict.still_to_read, 0), 19, 0, recall=0.95, confidence=0.95)
    before = judge_sample(Sample(400, 199 + verdict.still_to_read, 0), 19, 0, recall=0.95, confidence=0.95)
    assert (last.stop, last.missed_at_most, last.recall_at_least) == (True, 1, 0.95)
    assert (before.stop, before.missed_at_most, before.still_to_read) == (False, 2, 1)


def test_records_found_outside_the_sample_count_as_found_but_not_as_drawn() -> None:
    alone = judge_sample(Sample(400, 100, 0), 19, 0, recall=0.95, confidence=0.95)
    beside = judge_sample(Sample(400, 100, 0), 19, 3, recall=0.95, confidence=0.95)
    assert beside.missed_at_most == alone.missed_at_most - 3
    assert beside.recall_at_least == pytest.approx(22 / (22 + beside.missed_at_most))


def test_a_sample_read_to_its_end_stops_whatever_was_found() -> None:
    verdict = judge_sample(Sample(10, 10, 0), 0, 0, recall=0.95, confidence=0.95)
    assert verdict.stop
    assert verdict.recall_at_least is None


@pytest.mark.parametrize(("recall", "confidence"), [(0, 0.95), (1, 0.95), (0.95, 1), (0.95, float("nan")), (95, 0.95)])
def test_targets_that_no_reading_can_reach_are_refused(recall: float, confidence: float) -> None:
    with pytest.raises(MechtagError, match="above 0 and below 1"):
        judge_sample(Sample(10, 1, 0), 3, 0, recall=recall, confidence=confidence)
    with pytest.raises(MechtagError, match="above 0 and below 1"):
        judge_ranked(np.array([1, 0]), 10, recall=recall, confidence=confidence)


def test_ranked_test_is_the_smallest_hypergeometric_chance_over_windows() -> None:
    labels, total, missed = [1, 1, 0, 1, 0, 0, 0, 0], 14, 2
    chances = []
    for window in range(1, len(labels) + 1):
        found = sum(labels[-window:])
        urn = total - len(labels) + window
        chances.append(sum(chance(urn, found + missed, window, few) for few in range(found + 1)))
    assert ranked_p(np.array(labels), total, missed) == pytest.approx(float(min(chances)))


def test_a_window_is_computed_for_each_find_and_not_for_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    # With one window per record, a verdict on 10,000 records would take half a minute.
    computed = []
    cdf = hypergeom.cdf

    def counted(found: np.ndarray, *others: object) -> np.ndarray:
        computed.append(len(found))
        return np.asarray(cdf(found, *others))

    monkeypatch.setattr(hypergeom, "cdf", counted)
    ranked_p(np.array([1, 1, 0, 1, *[0] * 1000]), 10_000, 3)
    assert computed == [4]


def test_more_missed_records_than_are_unread_have_no_chance() -> None:
    assert ranked_p(np.array([1, 0, 0, 0]), 5, 2) == 0
    assert ranked_p(np.array([1, 0, 0, 0]), 5, 1) > 0


def test_a_ranked_verdict_states_how_many_more_records_to_read() -> None:
    labels = np.array([1, 1, 0, 1, 0, 1, 1, 0, 0, 1, *[0] * 20])
    verdict = judge_ranked(labels, 100, recall=0.9, confidence=0.9)
    assert not verdict.stop
    later = np.concatenate((labels, np.zeros(verdict.still_to_read, dtype=int)))
    assert judge_ranked(later, 100, recall=0.9, confidence=0.9).stop
    assert not judge_ranked(later[:-1], 100, recall=0.9, confidence=0.9).stop


def test_the_sample_falls_due_after_a_long_run_without_a_relevant_record() -> None:
    assert sample_due(np.array([1, *[0] * 99]), 500) is None
    assert sample_due(np.array([1, *[0] * 100]), 500) == 101
    assert sample_due(np.array([0] * 100), 500) == 100
    assert sample_due(np.array([1, *[0] * 99, 1, *[0] * 130]), 500) == 201
    assert sample_due(np.array([1, *[0] * 130]), 4000) is None
    assert sample_due(np.array([1, *[0] * 230]), 4000) == 201
    assert sample_due(np.array([], dtype=int), 4000) is None


def made_review(generator: np.random.Generator, hidden: int = 0) -> np.ndarray:
    """Return labels in reading order: 40 relevant ones among the first 200, and ``hidden`` ones among 800 more."""
    first = generator.permutation([1] * 40 + [0] * 160)
    return np.concatenate((first, generator.permutation([1] * hidden + [0] * (800 - hidden))))


def test_replayed_sample_stops_where_a_look_after_each_record_would() -> None:
    for seed in range(3):
        labels = made_review(np.random.default_rng(seed), hidden=2)
        due = sample_due(labels, len(labels))
        assert due is not None
        stopped = stop_by_sample(labels, np.random.default_rng(seed), recall=0.9, confidence=0.9)
        sample = np.random.default_rng(seed).permutation(labels[due:])
        before = int(labels[:due].sum())
        found = np.concatenate(([0], np.cumsum(sample)))
        first = next(
            drawn
            for drawn in range(len(sample) + 1)
            if judge_sample(
                Sample(len(sample), drawn, int(found[drawn])), before, int(found[drawn]), recall=0.9, confidence=0.9
            ).stop
        )
        assert stopped.read == due + first
        assert stopped.recall == pytest.approx((before + found[first]) / 42)
        assert stopped.work_saved == pytest.approx(1 - stopped.read / 1000)


@given(st.integers(0, 10_000), st.sampled_from([0.5, 0.7, 0.8]), st.sampled_from([0.6, 0.8, 0.9]))
@settings(max_examples=60)
def test_replayed_ranked_rule_stops_where_a_look_after_each_record_would(
    seed: int, recall: float, confidence: float
) -> None:
    generator = np.random.default_rng(seed)
    total = int(generator.integers(20, 120))
    labels = (generator.random(total) < np.linspace(0.5, 0.02, total)).astype(int)
    labels[0] = 1

    def enough(read: int) -> bool:
        return ranked_p(labels[:read], total, too_many(int(labels[:read].sum()), recall)) <= 1 - confidence

    first = next(read for read in range(1, total + 1) if enough(read))
    assert stop_by_rank(labels, recall=recall, confidence=confidence).read == first


def test_the_sample_reaches_its_recall_where_the_ranking_fails() -> None:
    # Five of 45 relevant records are unlike those found before, and the ranking puts them last.
    generator = np.random.default_rng(5)
    reached = 0
    for _ in range(40):
        labels = np.concatenate((made_review(generator), [1] * 5))
        stopped = stop_by_sample(labels, generator, recall=0.95, confidence=0.9)
        reached += stopped.recall >= 0.95
    assert reached >= ceil(0.9 * 40)
    assert stop_by_rank(labels, recall=0.95, confidence=0.9).recall == pytest.approx(40 / 45)


def test_a_review_too_small_for_a_sample_is_read_to_its_end() -> None:
    stopped = stop_by_sample(np.array([1, 0, 1, 0]), np.random.default_rng(0), recall=0.95, confidence=0.95)
    assert (stopped.read, stopped.recall, stopped.work_saved) == (4, 1, 0)


@pytest.mark.parametrize(("earlier", "stops"), [(0, True), (500, False), (450, False)])
def test_records_read_before_an_import_say_nothing_about_what_is_unread_now(earlier: int, stops: bool) -> None:
    labels = np.concatenate((np.ones(10), np.zeros(490), np.full(23, np.nan)))
    _, verdict = judge_course(labels, np.arange(500), None, Target(rule="ranked"), 0, earlier=earlier)
    assert verdict is not None
    assert verdict.stop == stops
    assert verdict.recall_at_least == pytest.approx(10 / (10 + verdict.missed_at_most))


@pytest.mark.parametrize(
    ("recall", "shown"), [(0.94996, "0.949"), (0.95, "0.950"), (1999 / 2000, "0.999"), (1.0, "1.000")]
)
def test_a_lower_bound_of_recall_is_not_rounded_up(recall: float, shown: str) -> None:
    records = [Record(record_id=f"r{n}", title="T") for n in range(2)]
    ranking = Ranking(
        records,
        unread=np.array([1]),
        labels=np.array([1.0, np.nan]),
        scores=np.zeros(2),
        course=Course(target=Target(), read=("r0",)),
        verdict=StoppingVerdict(stop=False, missed_at_most=1, recall_at_least=recall, still_to_read=1),
        sampling=False,
    )
    assert f"recall is at least {shown}." in describe_ranking(ranking)[-1]


def test_replays_that_missed_the_target_are_not_rounded_away() -> None:
    figure = {"mean": 0.5, "min": 0.5, "max": 0.5}
    content = {
        **{"records": 900, "relevant": 20, "replays": 500, "recall": 0.95, "confidence": 0.95},
        "figures": dict.fromkeys(("loss", "wss_95", "mean_time_to_discovery", "recall_10"), figure),
        "stopping": {"sample": {"reached": 499 / 500, "recall": 0.99, "work_saved": 0.3}},
    }
    assert "target reached in 499 of 500 replays" in describe_simulation(content)[-1]
