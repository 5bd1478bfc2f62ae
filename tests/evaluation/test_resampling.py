"""Test bootstrap intervals and permutation p-values."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from mechtag.evaluation import resampling
from mechtag.evaluation.metrics import Judged, as_it_is, label_figures, pooled_figures
from mechtag.evaluation.resampling import (
    Estimate,
    corrected_interval,
    draw_resamples,
    estimates,
    interval,
    of_papers,
    permutation_p,
    tail,
)

PERMUTED = ("across_auc", "within_auc", "macro_f1", "micro_f1", "kappa")


def noise(generator, papers=30, labels=3, signal=0.0):
    truth = (generator.random((papers, labels)) < 0.4).astype(float)
    truth[0], truth[1] = 1, 0
    score = generator.normal(size=truth.shape) + signal * truth
    return Judged(
        truth, score, stats.norm.cdf(score), score > 0, np.zeros(truth.shape, bool), np.full(truth.shape, 0.5)
    )


def test_draws_are_papers_with_replacement_and_orders_without():
    draws = draw_resamples(12, 50, 60, np.random.default_rng(1))
    assert draws.weights.shape == (50, 12)
    assert (draws.weights.sum(axis=1) == 12).all()
    assert draws.weights.max() > 1
    assert draws.orders.shape == (60, 12)
    assert (np.sort(draws.orders, axis=1) == np.arange(12)).all()
    assert len({tuple(order) for order in draws.orders}) == 60


def test_metrics_depend_on_the_seed_alone():
    judged = noise(np.random.default_rng(2))
    runs = [
        estimates(pooled_figures, judged, draw_resamples(30, 200, 200, np.random.default_rng(seed)), PERMUTED)
        for seed in (3, 3, 4)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_block_size_does_not_change_metrics(monkeypatch):
    judged = noise(np.random.default_rng(2))
    draws = draw_resamples(30, 150, 150, np.random.default_rng(3))
    whole = estimates(pooled_figures, judged, draws, PERMUTED)
    monkeypatch.setattr(resampling, "_BLOCK", judged.truth.size * 7)
    assert estimates(pooled_figures, judged, draws, PERMUTED) == whole


def test_values_are_those_of_the_sample_and_only_some_are_permuted():
    judged = noise(np.random.default_rng(5))
    found = estimates(pooled_figures, judged, draw_resamples(30, 100, 100, np.random.default_rng(6)), PERMUTED)
    for name, value in pooled_figures(judged, as_it_is(judged.truth)).items():
        assert found[name][0].value == value[0]
        assert (found[name][0].p_value is not None) == (name in PERMUTED)
    per_label = estimates(label_figures, judged, draw_resamples(30, 100, 100, np.random.default_rng(6)))
    assert [len(found) for found in per_label.values()] == [3] * len(per_label)


def test_tail_is_the_normal_share_beyond_the_t_interval():
    # For n = 10, Student's t of 2.262 times sqrt(10 / 9) is 2.384; 0.86% of a normal distribution lies beyond it.
    assert [round(tail(papers), 4) for papers in (10, 20, 100)] == [0.0086, 0.0159, 0.0231]
    assert tail(10**7) == pytest.approx(0.025, abs=1e-6)
    assert tail(1) == 0


def test_interval_by_hand_and_dropped_resamples():
    outside = tail(20)
    ends = (100 * outside, 100 - 100 * outside)
    assert interval(np.arange(101.0), 20) == (*map(pytest.approx, ends), 0)
    assert interval(np.append(np.arange(101.0), [np.nan] * 3), 20) == (*map(pytest.approx, ends), 3)
    assert interval(np.array([1, np.nan, np.nan]), 20) == (None, None, 2)
    assert interval(np.full(4, np.nan), 20) == (None, None, 4)


def test_corrected_interval_subtracts_the_bias_of_resamples():
    logits = np.array([0.5, 1.0, 1.5])
    low, high, dropped = corrected_interval(float(expit(0.2)), np.append(expit(logits), np.nan), 20)
    # The mean of the resampled logits is 0.8 above 0.2, and their standard deviation is 0.5.
    reach = stats.t.ppf(0.975, 19) * 0.5 * np.sqrt(20 / 19)
    assert (low, high, dropped) == (pytest.approx(expit(-0.6 - reach)), pytest.approx(expit(-0.6 + reach)), 1)
    assert corrected_interval(1.0, np.ones(5), 20) == (1.0, 1.0, 0)
    assert corrected_interval(0.5, np.full(5, np.nan), 20) == (None, None, 5)


@pytest.mark.parametrize(("hits", "papers"), [(0, 34), (34, 34), (3, 34), (1, 2)])
def test_share_of_papers_has_wilsons_interval(hits, papers):
    found = of_papers(Estimate(hits / papers, 0.1, 0.2, None, 7), papers)
    z, share = stats.norm.ppf(0.975), hits / papers
    centre = (share + z**2 / (2 * papers)) / (1 + z**2 / papers)
    half = z / (1 + z**2 / papers) * np.sqrt(share * (1 - share) / papers + z**2 / (4 * papers**2))
    assert (found.ci_low, found.ci_high) == pytest.approx((centre - half, centre + half))
    assert (found.value, found.dropped) == (share, 0)


def test_share_of_no_papers_is_left_as_it_is():
    nothing = Estimate(None, None, None, None, 0)
    assert of_papers(nothing, 0) == nothing


def test_permutation_p_by_hand():
    null = np.array([0.1, 0.5, 0.9, np.nan])
    assert permutation_p(0.5, null) == (1 + 2) / (1 + 3)
    assert permutation_p(0.95, null) == 1 / 4
    assert permutation_p(0.5 + 1e-15, null) == 3 / 4
    assert permutation_p(None, null) is None
    assert permutation_p(0.5, np.array([np.nan])) is None


def test_interval_agrees_with_scipy():
    generator = np.random.default_rng(7)
    judged = noise(generator, papers=40, labels=1)

    def hamming(rows):
        return float((judged.truth[rows, 0] != judged.decided[rows, 0]).mean())

    expected = stats.bootstrap(
        (np.arange(40),), hamming, vectorized=False, method="percentile", n_resamples=4000, rng=generator
    ).confidence_interval
    found = estimates(pooled_figures, judged, draw_resamples(40, 4000, 1, generator))["hamming_loss"][0]
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high), abs=0.03)


@pytest.mark.slow
def test_p_values_are_uniform_without_an_effect_and_small_with_one():
    generator = np.random.default_rng(8)
    draws = draw_resamples(30, 1, 99, generator)
    null: dict[str, list[float]] = {name: [] for name in PERMUTED}
    for _ in range(200):
        for name, found in estimates(pooled_figures, noise(generator), draws, PERMUTED).items():
            if name in PERMUTED:
                null[name].append(found[0].p_value)
    for name, values in null.items():
        assert stats.kstest(values, "uniform").statistic < 0.13, name
    signal = estimates(pooled_figures, noise(generator, signal=2.0), draws, PERMUTED)
    assert [signal[name][0].p_value for name in PERMUTED] == [0.01] * 5


def test_undefined_figure_has_no_value_no_interval_and_no_p():
    judged = noise(np.random.default_rng(9), papers=8, labels=1)
    one_class = replace(judged, truth=np.ones((8, 1)))
    found = estimates(pooled_figures, one_class, draw_resamples(8, 50, 50, np.random.default_rng(1)), PERMUTED)[
        "across_auc"
    ][0]
    assert (found.value, found.ci_low, found.ci_high, found.p_value) == (None, None, None, None)


def test_rare_label_drops_resamples_and_counts_them():
    judged = noise(np.random.default_rng(10), papers=20, labels=1)
    truth = np.zeros((20, 1))
    truth[:2] = 1
    rare = replace(judged, truth=truth)
    draws = draw_resamples(20, 1000, 1, np.random.default_rng(11))
    found = estimates(label_figures, rare, draws)["roc_auc"][0]
    assert found.dropped == int((draws.weights[:, :2].sum(axis=1) == 0).sum()) > 50
    assert found.ci_low is not None


@pytest.mark.parametrize("right", [0.0, 1.0])
@pytest.mark.parametrize("papers", [2, 8, 40])
def test_a_proportion_at_the_edge_has_an_interval_with_width(right: float, papers: int) -> None:
    """If all decisions are right, or all are wrong, a bootstrap interval would have no width and suggest certainty."""
    truth = np.ones((papers, 2))
    truth[0] = np.nan  # a paper that nobody judged contributes nothing
    decided = np.full(truth.shape, right == 1)
    judged = Judged(
        truth, decided * 1.0, decided * 1.0, decided, np.zeros(truth.shape, bool), np.full(truth.shape, 0.5)
    )
    draws = draw_resamples(papers, 200, 0, np.random.default_rng(1))
    found = {name: each[0] for name, each in estimates(pooled_figures, judged, draws).items()}
    name = "yes_right" if right else "hamming_loss"
    expected = stats.binomtest(papers - 1, papers - 1).proportion_ci(method="wilson")
    assert found[name].value == 1.0
    assert (found[name].ci_low, found[name].ci_high) == pytest.approx((expected.low, expected.high))
    assert found["referred"].value == found["referred"].ci_low == 0.0
    assert found["referred"].ci_high == pytest.approx(1 - expected.low)


def test_metrics_other_than_proportions_have_no_interval_of_zero_width() -> None:
    """If a ranking is perfect in all resamples, they do not show how precise its metric is."""
    truth = np.tile([[1.0, 0.0], [0.0, 1.0]], (6, 1))
    judged = Judged(truth, truth, truth, truth == 1, np.zeros(truth.shape, bool), np.full(truth.shape, 0.5))
    draws = draw_resamples(len(truth), 200, 0, np.random.default_rng(1))
    for figures in (pooled_figures, label_figures):
        for name, columns in estimates(figures, judged, draws).items():
            for found in columns:
                assert found.value is None or found.ci_low is None or found.ci_low < found.ci_high, name
    assert estimates(pooled_figures, judged, draws)["across_auc"][0].ci_low is None


def test_papers_that_contribute_are_counted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        defined = weights[:, :3].sum(axis=1) > 0
        return {"recall": np.where(defined, 1.0, np.nan)}

    monkeypatch.setattr(resampling, "_PAPERS_AT_ONCE", 4)
    assert resampling._contributing(figures, 10)["recall"].tolist() == [3]
