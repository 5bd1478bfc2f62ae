"""Logistic regression on sentences that are coded one by one, and on papers that are coded as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import issparse, vstack
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from mechtag.core.arrays import Array, Index
from mechtag.models.scoring import pool_scores

MAX_ITERATIONS = 2000
# Odds add up here, so that each sentence of a paper learns from its code; at the sharpness of `models.scoring` it
# is mostly the best one that does.
SHARPNESS = 1.0
# How many sentences' weight the code of a paper has.
WHOLE_WEIGHT = 3.0
# That of scikit-learn's logistic regression.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Wholes:
    """Papers that were coded as a whole.

    Attributes
    ----------
    features : ndarray or csr_matrix, shape (n_units, n_features)
        Of the units of the first paper, then of the second, and so on.
    lengths : ndarray, shape (n_papers,)
        How many units each has.
    targets : ndarray, shape (n_papers,)
    """

    features: Any
    lengths: Index
    targets: Array


def fit_units(
    features: Any, targets: Array, regularisation: float, wholes: Wholes | None = None
) -> tuple[Array, float]:
    """Fit a logistic regression of units, dense or sparse.

    A paper coded as a whole has the score that its units give when they are pooled as
    `scoring.pool_scores` does, and an intercept of its own, for a paper carries a label far
    more often than a sentence does (multiple-instance learning with a softened maximum;
    Ray and Craven 2005, doi:10.1145/1102351.1102439).

    Parameters
    ----------
    features, targets
        Units that were coded one by one, and 1 or 0 for each; there may be none.
    regularisation
        C of scikit-learn's logistic regression.

    Returns
    -------
    weights : ndarray, shape (n_features,)
    intercept : float
        Of a unit; that of a paper where no unit was coded.
    """
    # Such small products take several times as long when several threads share them.
    with threadpool_limits(limits=1):
        if wholes is None or not len(wholes.lengths):
            model = LogisticRegression(C=regularisation, max_iter=MAX_ITERATIONS).fit(features, targets)
            return model.coef_[0], float(model.intercept_[0])
        return _fit_with_wholes(features, targets, regularisation, wholes)


def _fit_with_wholes(features: Any, targets: Array, regularisation: float, wholes: Wholes) -> tuple[Array, float]:
    both = [features, wholes.features]
    rows: Any = vstack(both, format="csr") if issparse(features) else np.vstack(both)
    columns = rows.T.tocsr() if issparse(features) else rows.T
    n_coded, n_features = features.shape
    signs, whole_signs = 2 * targets - 1, 2 * wholes.targets - 1
    total = n_coded + WHOLE_WEIGHT * len(whole_signs)

    def objective(point: Array) -> tuple[float, Array]:
        weights, intercept, whole_intercept = point[:n_features], point[-2], point[-1]
        scores = rows @ weights
        margins = signs * (scores[:n_coded] + intercept)
        units = scores[n_coded:]
        pooled = pool_scores(units[:, None], wholes.lengths, SHARPNESS)[:, 0]
        whole_margins = whole_signs * (pooled + whole_intercept)
        loss = np.logaddexp(0, -margins).sum() + WHOLE_WEIGHT * np.logaddexp(0, -whole_margins).sum()
        slopes = -signs * expit(-margins)
        whole_slopes = -WHOLE_WEIGHT * whole_signs * expit(-whole_margins)
        # The share of each unit in the gradient of its paper's score; the shares of a paper sum to one.
        shares = np.exp(SHARPNESS * (units - np.repeat(pooled, wholes.lengths)))
        unit_slopes = np.concatenate([slopes, np.repeat(whole_slopes, wholes.lengths) * shares])
        gradient = columns @ unit_slopes + weights / regularisation
        value = loss + weights @ weights / (2 * regularisation)
        return value / total, np.concatenate([gradient, [slopes.sum(), whole_slopes.sum()]]) / total

    found = minimize(
        objective,
        np.zeros(n_features + 2),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_ITERATIONS, "gtol": _TOLERANCE},
    )
    return found.x[:n_features], float(found.x[-2] if n_coded else found.x[-1])
