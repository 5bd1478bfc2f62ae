"""Test the regression that learns from sentences and whole papers together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from mechtag.models.scoring import pool_scores
from mechtag.training.multiple_instance import SHARPNESS, WHOLE_WEIGHT, Bags, fit_units

STRENGTH = 3.0


def units(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, 5))
    return features, (features[:, 0] + 0.5 * generator.normal(size=count) > 0.5).astype(float)


def no_papers(kind: Callable[[np.ndarray], Any] = np.asarray) -> Bags:
    return Bags(kind(np.zeros((0, 5))), np.zeros(0, dtype=int), np.zeros(0))


def scikit_learns(features: np.ndarray, targets: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the weights and the intercept of scikit-learn's logistic regression, regularised towards a prior.

    Regularising the difference from the prior is the same as adding the prior's scores as an offset. Scikit-learn has
    no offsets, so the offset is a column whose weight must be 1. Two observations with large weights ensure this: their
    value in this column is 1, and the share ``expit(1)`` of their weight has the target 1.
    """
    # A column of large values acts as an intercept, because its small weight is hardly regularised.
    large, count = 1000.0, len(features)
    rows = np.column_stack([features, np.full(count, large), features @ prior])
    held = np.zeros((2, rows.shape[1]))
    held[:, -1] = 1
    weights = np.append(np.ones(count), 1e6 * np.array([expit(1), expit(-1)]))
    model = LogisticRegression(C=STRENGTH, fit_intercept=False, solver="newton-cholesky", tol=1e-10)
    model.fit(np.vstack([rows, held]), np.append(targets, [1, 0]), sample_weight=weights)
    found = model.coef_[0]
    assert found[-1] == pytest.approx(1, abs=1e-4)
    return found[:-2] + prior, float(large * found[-2])


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_without_papers_the_fit_equals_scikit_learns(kind: Callable[[np.ndarray], Any]) -> None:
    features, targets = units(60, 1)
    weights, intercept = fit_units(kind(features), targets, STRENGTH, no_papers(kind))
    oracle = LogisticRegression(C=STRENGTH, tol=1e-8).fit(features, targets)
    np.testing.assert_allclose(weights, oracle.coef_[0], atol=2e-3)
    assert intercept == pytest.approx(oracle.intercept_[0], abs=2e-3)


def test_weights_are_drawn_towards_the_prior_as_scikit_learns_with_an_offset() -> None:
    features, targets = units(60, 1)
    prior = np.array([-2.0, 1.0, 0.0, 3.0, 0.5])
    weights, intercept = fit_units(features, targets, STRENGTH, no_papers(), prior)
    expected, shift = scikit_learns(features, targets, prior)
    np.testing.assert_allclose(weights, expected, atol=3e-3)
    assert intercept == pytest.approx(shift, abs=3e-3)
    without, _ = fit_units(features, targets, STRENGTH, no_papers())
    np.testing.assert_allclose(without, scikit_learns(features, targets, np.zeros(5))[0], atol=3e-3)
    assert abs(without - weights).max() > 0.1
    np.testing.assert_array_equal(prior, [-2.0, 1.0, 0.0, 3.0, 0.5])


def test_papers_of_one_sentence_alone_are_drawn_towards_the_prior_too() -> None:
    """Without sentences, the weight of papers acts like a larger ``C``, and the intercept is that of papers."""
    features, targets = units(60, 1)
    prior = np.array([-2.0, 1.0, 0.0, 3.0, 0.5])
    bags = Bags(features, np.ones(60, dtype=int), targets)
    found = fit_units(features[:0], targets[:0], STRENGTH / WHOLE_WEIGHT, bags, prior)
    expected = scikit_learns(features, targets, prior)
    np.testing.assert_allclose(found[0], expected[0], atol=3e-3)
    assert found[1] == pytest.approx(expected[1], abs=3e-3)


def test_a_weak_fit_keeps_the_prior() -> None:
    features, targets = units(60, 1)
    prior = np.array([-2.0, 1.0, 0.0, 3.0, 0.5])
    weights, _ = fit_units(features, targets, 1e-9, no_papers(), prior)
    np.testing.assert_allclose(weights, prior, atol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_papers_of_one_sentence_are_sentences_of_more_weight(kind: Callable[[np.ndarray], Any]) -> None:
    """With one sentence per paper, the fit equals scikit-learn's with sample weights and a second intercept."""
    (features, targets), (others, whole_targets) = units(60, 1), units(40, 2)
    wholes = Bags(kind(others), np.ones(40, dtype=int), whole_targets)
    weights, intercept = fit_units(kind(features), targets, STRENGTH, wholes)
    # A column of large values acts as an intercept, because its small weight is hardly regularised.
    large = 1000.0
    both = np.hstack([np.vstack([features, others]), large * np.repeat([0.0, 1.0], [60, 40])[:, None]])
    oracle = LogisticRegression(C=STRENGTH, tol=1e-8, max_iter=5000).fit(
        both, np.concatenate([targets, whole_targets]), sample_weight=np.repeat([1.0, WHOLE_WEIGHT], [60, 40])
    )
    np.testing.assert_allclose(weights, oracle.coef_[0, :5], atol=2e-3)
    assert intercept == pytest.approx(oracle.intercept_[0], abs=2e-3)


def test_no_nearby_weights_have_a_lower_loss() -> None:
    (features, targets), (others, _) = units(30, 1), units(120, 2)
    lengths = np.array([2, 4, 6] * 10)
    starts = np.cumsum(lengths) - lengths
    whole_targets = (np.maximum.reduceat(others[:, 0], starts) > 1).astype(float)
    weights, intercept = fit_units(features, targets, STRENGTH, Bags(others, lengths, whole_targets))

    def loss(weights: np.ndarray, intercept: float) -> float:
        scores = features @ weights + intercept
        pooled = pool_scores((others @ weights)[:, None], lengths, SHARPNESS)[:, 0]
        own = min(
            np.logaddexp(0, -(2 * whole_targets - 1) * (pooled + shift)).sum() for shift in np.linspace(-15, 15, 5001)
        )
        return float(
            np.logaddexp(0, -(2 * targets - 1) * scores).sum() + WHOLE_WEIGHT * own + weights @ weights / (2 * STRENGTH)
        )

    best = loss(weights, intercept)
    for step in np.vstack([np.eye(5), -np.eye(5)]) * 0.05:
        assert loss(weights + step, intercept) > best
    assert loss(weights, intercept + 0.05) > best
    assert loss(weights, intercept - 0.05) > best


def test_the_sentence_that_carries_the_label_is_found_from_papers_alone() -> None:
    generator = np.random.default_rng(3)
    features = generator.normal(size=(600, 8))
    lengths = np.full(60, 10)
    carriers = np.arange(0, 300, 10)
    features[carriers, 0] += 5
    targets = np.repeat([1.0, 0.0], 30)
    weights, _ = fit_units(features[:0], targets[:0], STRENGTH, Bags(features, lengths, targets))
    scores = (features @ weights)[:300].reshape(30, 10)
    assert (scores.argmax(axis=1) == 0).mean() > 0.9
