"""Fit a logistic regression to individually coded sentences and to papers that were coded as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import issparse, vstack
from scipy.special import expit
from threadpoolctl import threadpool_limits

from mechtag.core.arrays import Array, Index
from mechtag.models.scoring import pool_scores

MAX_ITERATIONS = 2000
# At a sharpness of 1, the odds of the sentences add up, so every sentence of a paper contributes to the gradient.
# At the sharpness of `models.scoring`, mostly the sentence with the highest score would contribute.
SHARPNESS = 1.0
# Weight of a paper's code relative to the weight of a sentence's code.
WHOLE_WEIGHT = 3.0
# The same tolerance as in scikit-learn's logistic regression.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Bags:
    """Papers that were coded as a whole; each paper is stored as the features of its units.

    In multiple-instance learning, a bag is a group of units with one code. Here, each bag is a paper, and its units are
    the title and the parts of the sentences.

    Attributes
    ----------
    features : ndarray or csr_matrix, shape (n_units, n_features)
        Features of the units of the first paper, then of the second paper, and so on.
    lengths : ndarray, shape (n_papers,)
        Number of units of each paper.
    targets : ndarray, shape (n_papers,)
        Code of each paper, 1 or 0.
    """

    features: Any
    lengths: Index
    targets: Array


def fit_units(
    features: Any, targets: Array, regularisation: float, bags: Bags, prior: Array | None = None
) -> tuple[Array, float]:
    """Fit a logistic regression to units (such as parts of sentences) and to papers coded as a whole.

    The score of a paper is the pooled score of its units (`scoring.pool_scores`) plus an intercept. Papers and units
    have separate intercepts, because papers have a label far more often than sentences do. The method is
    multiple-instance learning with a softened maximum (Ray and Craven 2005, doi:10.1145/1102351.1102439).

    Parameters
    ----------
    features : ndarray or csr_matrix, shape (n_units, n_features)
        Features of the individually coded units. ``n_units`` may be 0.
    targets : ndarray, shape (n_units,)
        Codes of these units, 1 or 0.
    regularisation
        Parameter ``C`` of scikit-learn's logistic regression.
    prior : ndarray, shape (n_features,), optional
        Weights towards which the fitted weights are regularised (mean of a Gaussian prior). By default, zeros.

    Returns
    -------
    weights : ndarray, shape (n_features,)
    intercept : float
        Intercept for units or, if no unit was coded individually, for papers.
    """
    both = [features, bags.features]
    rows: Any = vstack(both, format="csr") if issparse(features) else np.vstack(both)
    columns = rows.T.tocsr() if issparse(features) else rows.T
    n_coded, n_features = features.shape
    expected = np.zeros(n_features) if prior is None else prior
    signs, whole_signs = 2 * targets - 1, 2 * bags.targets - 1
    total = n_coded + WHOLE_WEIGHT * len(whole_signs)

    def objective(point: Array) -> tuple[float, Array]:
        weights, intercept, whole_intercept = point[:n_features], point[-2], point[-1]
        scores, moved = rows @ weights, weights - expected
        margins = signs * (scores[:n_coded] + intercept)
        units = scores[n_coded:]
        pooled = pool_scores(units[:, None], bags.lengths, SHARPNESS)[:, 0]
        whole_margins = whole_signs * (pooled + whole_intercept)
        loss = np.logaddexp(0, -margins).sum() + WHOLE_WEIGHT * np.logaddexp(0, -whole_margins).sum()
        slopes = -signs * expit(-margins)
        whole_slopes = -WHOLE_WEIGHT * whole_signs * expit(-whole_margins)
        # Proportion that each unit contributes to the gradient of its paper's score; they sum to one per paper.
        shares = np.exp(SHARPNESS * (units - np.repeat(pooled, bags.lengths)))
        unit_slopes = np.concatenate([slopes, np.repeat(whole_slopes, bags.lengths) * shares])
        gradient = columns @ unit_slopes + moved / regularisation
        value = loss + moved @ moved / (2 * regularisation)
        return value / total, np.concatenate([gradient, [slopes.sum(), whole_slopes.sum()]]) / total

    # Use one thread, because splitting such small products between threads takes several times as long.
    with threadpool_limits(limits=1):
        found = minimize(
            objective,
            np.concatenate([expected, [0.0, 0.0]]),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MAX_ITERATIONS, "gtol": _TOLERANCE},
        )
    return found.x[:n_features], float(found.x[-2] if n_coded else found.x[-1])
