"""Test that 95% intervals contain the true value in about 95% of runs, if papers are the units of resampling.

Papers are simulated: the labels of a paper are correlated, some papers score higher on all labels than others, and
labels are as frequent as in Table 2. The true value is the metric of 60,000 papers. Each run draws as few papers as a
review has, and checks whether the interval contains the true value.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mechtag.evaluation.coders import all_section, cells_of, pair_section
from mechtag.evaluation.metrics import Judged, as_it_is, label_figures, pooled_figures
from mechtag.evaluation.resampling import draw_resamples
from mechtag.evaluation.sections import labels_section, pooled_section

PREVALENCE = np.array([0.65, 0.62, 0.62, 0.47, 0.38, 0.38, 0.29])
RESAMPLES = 400
POPULATION = 60_000
# Metrics are rounded to six decimals.
ROUNDING = 1e-6


def papers(count, generator, signal):
    """Simulate papers with codes, scores and decisions; a yes code raises the score of a label by ``signal``."""
    shape = (count, len(PREVALENCE))
    leaning = 0.6 * generator.normal(size=(count, 1)) + 0.8 * generator.normal(size=shape)
    truth = (leaning > stats.norm.ppf(1 - PREVALENCE)).astype(float)
    outspoken = 0.8 * generator.normal(size=(count, 1))
    score = -0.4 + signal * (truth - 0.5) + outspoken + 0.8 * generator.logistic(size=shape)
    probability = 1 / (1 + np.exp(-score))
    return Judged(
        truth, score, probability, probability >= 0.45, np.abs(probability - 0.45) < 0.06, np.full(shape, 0.45)
    )


def covered(count, runs, signal, seed):
    """Return, for each pooled metric, the share of runs in which the interval contains the true value."""
    generator = np.random.default_rng(seed)
    population = papers(POPULATION, generator, signal)
    true = {name: value[0] for name, value in pooled_figures(population, as_it_is(population.truth)).items()}
    held = {name: [] for name in true}
    for _ in range(runs):
        judged = papers(count, generator, signal)
        for name, found in pooled_section(judged, draw_resamples(count, RESAMPLES, 1, generator))["pooled"].items():
            held[name].append(found["ci_low"] - ROUNDING <= true[name] <= found["ci_high"] + ROUNDING)
    return {name: float(np.mean(hits)) for name, hits in held.items()}


def label_covered(count, runs, signal, seed):
    """Return, for each metric of single labels, the share of intervals that contain the true value.

    The intervals of all labels and runs are counted together; undefined intervals are left out.
    """
    generator = np.random.default_rng(seed)
    population = papers(POPULATION, generator, signal)
    true = {name: value[0] for name, value in label_figures(population, as_it_is(population.truth)).items()}
    labels = [str(number) for number in range(len(PREVALENCE))]
    held = {name: [] for name in true}
    for _ in range(runs):
        judged = papers(count, generator, signal)
        section = labels_section(judged, labels, draw_resamples(count, RESAMPLES, 1, generator), 5)
        for column, label in enumerate(labels):
            for name, values in true.items():
                found = section[label][name]
                if found["ci_low"] is not None:
                    held[name].append(found["ci_low"] - ROUNDING <= values[column] <= found["ci_high"] + ROUNDING)
    return {name: float(np.mean(hits)) for name, hits in held.items()}


def codes(count, generator):
    """Simulate the codes of three coders who agree more often than not, shape (3, n_records, n_labels)."""
    shape = (count, len(PREVALENCE))
    leaning = 0.5 * generator.normal(size=(count, 1)) + 0.8 * generator.normal(size=shape)
    said = leaning + 0.4 * generator.normal(size=(3, *shape))
    return (said > stats.norm.ppf(1 - PREVALENCE / 2)).astype(float)


def agreement_figures(coded, draws):
    labels = [str(number) for number in range(len(PREVALENCE))]
    return {
        **pair_section(cells_of(coded[0], coded[1]), labels, "", draws, 5)["pooled"],
        **{f"all {name}": found for name, found in all_section(coded, labels, "", draws, 5).items()},
    }


def agreement_covered(count, runs, seed):
    """Return, for each coefficient of agreement, the share of runs in which the interval contains the true value."""
    generator = np.random.default_rng(seed)
    true = agreement_figures(codes(POPULATION, generator), draw_resamples(POPULATION, 2, 0, np.random.default_rng(0)))
    names = [name for name, found in true.items() if isinstance(found, dict) and "value" in found]
    held = {name: [] for name in names}
    for _ in range(runs):
        found = agreement_figures(codes(count, generator), draw_resamples(count, RESAMPLES, 0, generator))
        for name in names:
            held[name].append(found[name]["ci_low"] <= true[name]["value"] <= found[name]["ci_high"])
    return {name: float(np.mean(hits)) for name, hits in held.items()}


def outside(shares, low, high):
    return {name: share for name, share in shares.items() if not low <= share <= high}


def test_intervals_hold_the_true_value_in_most_of_a_few_runs():
    # With a true coverage of 95%, fewer than 50 of 60 runs is unlikely (p < 0.001).
    assert outside(covered(34, 60, 1.0, seed=1), 0.82, 1) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("count", "runs", "signal"), [(34, 900, 0.6), (34, 900, 2.0), (100, 500, 0.6)])
def test_intervals_of_pooled_figures_hold_the_true_value(count, runs, signal):
    shares = covered(count, runs, signal, seed=count)
    assert outside(shares, 0.92, 0.98) == {}


@pytest.mark.slow
@pytest.mark.parametrize("signal", [0.6, 2.0])
def test_intervals_of_labels_hold_the_true_value(signal):
    # Only 10 to 20 papers have a label, so these intervals are less accurate.
    shares = label_covered(34, 200, signal, seed=3)
    assert outside(shares, 0.9, 1) == {}


@pytest.mark.slow
@pytest.mark.parametrize("count", [34, 70])
def test_intervals_of_agreement_hold_the_true_value(count):
    shares = agreement_covered(count, 600, seed=count)
    assert outside(shares, 0.92, 0.98) == {}
