"""Ways of pooling and of making probabilities, compared on out-of-fold scores of the coded records."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from training.examples import Corpus
from training.thresholds import fit_curve

Array = NDArray[np.float64]
Index = NDArray[np.int64]
# Scores and targets that were learnt on, then the scores asked about; gives their probabilities.
Method = Callable[[Array, Array, Array], Array]


def platt(scores: Array, targets: Array, asked: Array) -> Array:
    """Fit a rising logistic curve (Platt 1999)."""
    slope, intercept = fit_curve(scores, targets)
    return np.asarray(expit(slope * asked + intercept))


def isotonic(scores: Array, targets: Array, asked: Array) -> Array:
    """Fit the best rising steps (Zadrozny and Elkan 2002)."""
    return np.asarray(IsotonicRegression(out_of_bounds="clip").fit(scores, targets).predict(asked))


def venn_abers(scores: Array, targets: Array, asked: Array) -> Array:
    """Fit steps with the case itself taken for a no and for a yes, and merge the two (Vovk and Petej 2014)."""
    merged = []
    for score in asked:
        low, high = (
            float(isotonic(np.append(scores, score), np.append(targets, taken), np.array([score]))[0])
            for taken in (0.0, 1.0)
        )
        merged.append(high / (1 - low + high))
    return np.array(merged)


METHODS: dict[str, Method] = {"Platt": platt, "isotonic": isotonic, "Venn-Abers": venn_abers}


def compare(corpus: Corpus, scores: Array, fold: Index) -> dict[str, dict[str, float]]:
    """Measure each method, fitted on the other folds, over all coded papers.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Pooled, out of fold.

    Returns
    -------
    dict
        By way of calibrating: ``log_loss`` and ``brier``, means over the labels.
    """
    targets = corpus.document_targets
    coded = np.where(targets[:, :1] == 0, 0.0, targets)
    chances: dict[str, Array] = {}
    for held_out in np.unique(fold):
        learnt, held = fold != held_out, fold == held_out
        for name, method in METHODS.items():
            everyone = _columns(method, scores, coded, learnt, held)
            relevant = _columns(method, scores, targets, learnt, held)
            for kind, found in (
                (
                    "on relevant papers, times relevance",
                    np.hstack([relevant[:, :1], relevant[:, 1:] * relevant[:, :1]]),
                ),
                ("on all papers", everyone),
            ):
                chances.setdefault(f"{name} {kind}", np.zeros(scores.shape))[held] = found
    return {
        name: {
            "log_loss": _mean(log_loss, coded, found),
            "brier": _mean(brier_score_loss, coded, found),
        }
        for name, found in chances.items()
    }


def _columns(
    method: Method, scores: Array, targets: Array, learnt: NDArray[np.bool_], held: NDArray[np.bool_]
) -> Array:
    judged = ~np.isnan(targets)
    return np.stack(
        [
            method(
                scores[learnt & judged[:, column], column],
                targets[learnt & judged[:, column], column],
                scores[held, column],
            )
            for column in range(scores.shape[1])
        ],
        axis=1,
    )


def _mean(loss: Callable[[Array, Array], float], coded: Array, found: Array) -> float:
    clipped = np.clip(found, 1e-3, 1 - 1e-3)  # a step at 0 or 1 would cost without end
    return float(np.mean([loss(coded[:, column], clipped[:, column]) for column in range(1, coded.shape[1])]))
