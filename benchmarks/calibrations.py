"""Compare methods of calibrating scores and of deciding on labels, with out-of-fold scores of the coded records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from mechtag.core.arrays import Array, Index, Mask
from mechtag.core.settings import TrainSettings
from mechtag.models.scoring import Calibration, probabilities
from mechtag.training.calibration import MIN_HARD, f1_threshold, fit_curve, refer_band
from mechtag.training.dataset import Corpus
from mechtag.training.heads import cross_calibrate

# From training scores, training targets and new scores to the probabilities of the new scores.
Method = Callable[[Array, Array, Array], Array]


def platt(scores: Array, targets: Array, new: Array) -> Array:
    """Return the probabilities of new scores, from an increasing logistic curve fitted to scores and targets.

    The method is by Platt (1999).
    """
    slope, intercept = fit_curve(scores, targets)
    return np.asarray(expit(slope * new + intercept))


def isotonic(scores: Array, targets: Array, new: Array) -> Array:
    """Return the probabilities of new scores, from an isotonic regression on scores and targets.

    The method is by Zadrozny and Elkan (2002).
    """
    return np.asarray(IsotonicRegression(out_of_bounds="clip").fit(scores, targets).predict(new))


def venn_abers(scores: Array, targets: Array, new: Array) -> Array:
    """Return the probabilities of new scores, from Venn-Abers prediction (Vovk and Petej 2014).

    Two isotonic regressions are fitted for each new score: one with the score added as a no, and one with the score
    added as a yes. The two resulting probabilities of the score are merged into one.
    """
    merged = []
    for score in new:
        low, high = (
            float(isotonic(np.append(scores, score), np.append(targets, taken), np.array([score]))[0])
            for taken in (0.0, 1.0)
        )
        merged.append(high / (1 - low + high))
    return np.array(merged)


METHODS: dict[str, Method] = {"Platt": platt, "isotonic": isotonic, "Venn-Abers": venn_abers}


def compare_calibrations(corpus: Corpus, scores: Array, fold: Index) -> dict[str, dict[str, float]]:
    """Measure each calibration method on all coded papers; for each fold, the method is fitted on the other folds.

    A method is fitted in two ways. In the first way, it is fitted on the relevant papers, and the resulting
    probabilities of labels are multiplied by the probability of relevance. In the second, it is fitted on all papers.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Out-of-fold scores of the papers: relevance, then the labels.

    Returns
    -------
    dict
        ``log loss`` and ``Brier score``, averaged over the labels, keyed by the method and the way of fitting.
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
            "log loss": _mean(log_loss, coded, found),
            "Brier score": _mean(brier_score_loss, coded, found),
        }
        for name, found in chances.items()
    }


def _columns(method: Method, scores: Array, targets: Array, learnt: Mask, held: Mask) -> Array:
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
    clipped = np.clip(found, 1e-3, 1 - 1e-3)  # the log loss of a wrong 0 or 1 would be infinite
    return float(np.mean([loss(coded[:, column], clipped[:, column]) for column in range(1, coded.shape[1])]))


def decide_both_ways(
    corpus: Corpus, scores: Array, fold: Index, settings: TrainSettings
) -> dict[str, NDArray[np.str_]]:
    """Decide on labels in two ways: by their probability, as mechtag does, and by their probability given relevance.

    For each fold, calibration curves and decision bounds are fitted on the other folds. In both ways, all labels of a
    record are decided ``no`` if its relevance is decided ``no``.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Out-of-fold scores of the papers: relevance, then the labels.

    Returns
    -------
    dict
        Decisions on labels (``yes``, ``no`` or ``refer``), shape (n_documents, n_labels), keyed by the name of the way.
    """
    shape = (scores.shape[0], scores.shape[1] - 1)
    in_any_case, given_relevant = np.full(shape, "refer"), np.full(shape, "refer")
    for rows, held, calibration in cross_calibrate(corpus, scores, fold, settings):
        learnt = fold != fold[rows[0]]
        other = _bounds_given_relevant(corpus, scores, learnt, calibration, settings)
        chances, given = probabilities(held, calibration.slope, calibration.intercept)
        for place, row in enumerate(rows):
            in_any_case[row] = calibration.decide(chances[place])[1:]
            given_relevant[row] = other.decide(np.append(chances[place, :1], given[place]))[1:]
    return {"probability in any case (shipped)": in_any_case, "probability if relevant": given_relevant}


def _bounds_given_relevant(
    corpus: Corpus, scores: Array, learnt: Mask, calibration: Calibration, settings: TrainSettings
) -> Calibration:
    """Return a copy of a calibration whose bounds and thresholds of labels apply to probabilities given relevance."""
    targets = corpus.document_targets
    relevant = targets[:, 0] == 1
    coded = np.where(relevant[:, None], targets, 0.0)[:, 1:]
    chances, given = probabilities(scores, calibration.slope, calibration.intercept)
    # Clearly irrelevant records get no label decisions.
    asked = learnt & (chances[:, 0] >= calibration.low[0])
    known_hard = np.isin(corpus.source, np.flatnonzero(np.bincount(corpus.source[learnt & corpus.hard]) >= MIN_HARD))
    telling = (relevant | corpus.hard) & known_hard if known_hard.any() else np.ones(len(relevant), dtype=bool)

    def band(rows: Mask) -> tuple[float, float]:
        cells = ~np.isnan(coded[rows])
        return refer_band(given[rows][cells], coded[rows][cells], settings.decided_precision)

    low, high, threshold = calibration.low.copy(), calibration.high.copy(), calibration.threshold.copy()
    low[1:], high[1:] = band(learnt & relevant)[0], band(asked & telling)[1]
    known = asked[:, None] & ~np.isnan(coded)
    threshold[1:] = f1_threshold(given[known], coded[known])
    for label in range(coded.shape[1]):
        own = targets[learnt, 1 + label]
        if min((own == 1).sum(), (own == 0).sum()) >= settings.min_positives:
            rows = known[:, label]
            threshold[1 + label] = f1_threshold(given[rows, label], coded[rows, label])
    low[1:], high[1:] = np.minimum(low, threshold)[1:], np.maximum(high, threshold)[1:]
    return replace(calibration, threshold=threshold, low=low, high=high)
