"""Probability curves and thresholds, fitted on out-of-fold scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from mechtag.core.arrays import Array, Mask
from mechtag.core.settings import TrainSettings
from mechtag.models.scoring import Calibration, probabilities

# That decided cases are right as often as asked for. Measured on the coded records, where the
# plain share kept 0.74 of what 0.8 promised, and this keeps 0.80.
CERTAINTY = 0.9
# A set with fewer hard records says too little about them.
MIN_HARD = 20


def fit_calibration(
    scores: Array,
    targets: Array,
    settings: TrainSettings,
    hard: Mask | None = None,
    source: NDArray[np.int64] | None = None,
) -> Calibration:
    """Fit probability curves and thresholds.

    The threshold of relevance keeps ``relevance_recall`` of the relevant records, or all where none is irrelevant. A
    label takes the threshold with the highest F1 over all judged records, where an irrelevant record carries no label.
    Labels with too few positives or negatives share one curve and one threshold, fitted on all labels together.

    The bounds between which a person decides are those of `refer_band`:

    - Relevance keeps its promise on hard records, in each set of records that knows enough of them. Easy ones would
      make any yes look right. Its no is so low that with certainty ``CERTAINTY`` at most ``relevance_loss`` of the
      relevant records are lost to it; see `safe_no`.
    - Labels have one band together, for a probability means the same in each, and a label alone has too few cases. A
      yes is judged on relevant and hard records; a no on relevant ones alone, because it is mostly right where hardly
      any record carries the label.

    Parameters
    ----------
    scores, targets : ndarray, shape (n_documents, 1 + n_labels)
        Out-of-fold scores; NaN targets are not judged.
    hard : ndarray of bool, shape (n_documents,), optional
        Which irrelevant records are known to be hard; none by default.
    source : ndarray of int, shape (n_documents,), optional
        Which set each record is of; one for all by default.
    """
    n_columns = targets.shape[1]
    slope, intercept, threshold = np.zeros(n_columns), np.zeros(n_columns), np.full(n_columns, 0.5)
    judged = ~np.isnan(targets)
    enough = [_enough(targets[judged[:, column], column], settings.min_positives) for column in range(n_columns)]
    shared = fit_curve(scores[:, 1:][judged[:, 1:]], targets[:, 1:][judged[:, 1:]])
    for column in range(n_columns):
        rows = judged[:, column]
        fitted = column == 0 or enough[column]
        slope[column], intercept[column] = fit_curve(scores[rows, column], targets[rows, column]) if fitted else shared
    chances, _ = probabilities(scores, slope, intercept)
    relevant = targets[:, 0] == 1
    coded = np.where(relevant[:, None], targets, 0.0)
    known = ~np.isnan(coded)
    # Where all records are relevant, there is nothing to turn away.
    recall = settings.relevance_recall
    threshold[0] = 0.0 if relevant.all() else recall_threshold(chances[:, 0], coded[:, 0], recall)
    threshold[1:] = f1_threshold(chances[:, 1:][known[:, 1:]], coded[:, 1:][known[:, 1:]])
    for column in range(1, n_columns):
        if enough[column]:
            rows = known[:, column]
            threshold[column] = f1_threshold(chances[rows, column], coded[rows, column])

    low, high = np.zeros(n_columns), np.zeros(n_columns)
    telling = _telling(relevant, hard, source)
    bands = [refer_band(chances[rows, 0], coded[rows, 0], settings.relevance_precision) for rows in telling]
    low[0] = min(safe_no(chances[relevant, 0], settings.relevance_loss), *(band[0] for band in bands))
    high[0] = max(band[1] for band in bands)

    def label_band(rows: Mask) -> tuple[float, float]:
        cells = known[rows, 1:]
        return refer_band(chances[rows, 1:][cells], coded[rows, 1:][cells], settings.decided_precision)

    low[1:], high[1:] = label_band(relevant)[0], label_band(np.logical_or.reduce(telling))[1]
    return Calibration(slope, intercept, threshold, np.minimum(low, threshold), np.maximum(high, threshold))


def _telling(relevant: Mask, hard: Mask | None, source: NDArray[np.int64] | None) -> list[Mask]:
    """Choose the records on which decisions are judged: relevant and hard ones of each set, or all of them."""
    everything = np.ones(len(relevant), dtype=bool)
    if hard is None:
        return [everything]
    owner = np.zeros(len(relevant), dtype=np.int64) if source is None else source
    sets = [owner == number for number in np.unique(owner)]
    return [(relevant | hard) & own for own in sets if (hard & own).sum() >= MIN_HARD] or [everything]


def refer_band(chances: Array, targets: Array, precision: float) -> tuple[float, float]:
    """Find the band of probability outside which decisions are right often enough.

    A cut is taken where the lower bound of the share that is right (Clopper and Pearson 1934,
    one-sided, certainty ``CERTAINTY``) reaches ``precision``; the plain share would promise too
    much, because the cut is chosen by it.

    Returns
    -------
    low, high : float
        Below ``low`` say no, from ``high`` up say yes; the narrowest band of that kind on
        either side. Where no cut does it, 0 or infinity: nothing is decided on that side.
    """
    order = np.argsort(chances, kind="stable")
    values, positive = chances[order], targets[order]
    counts = np.arange(1, len(values) + 1)
    last = np.append(values[1:] != values[:-1], True)  # equal probabilities cannot be parted
    right_below = (_lower_bound(np.cumsum(1 - positive), counts) >= precision) & last
    right_above = (_lower_bound(np.cumsum(positive[::-1]), counts) >= precision) & np.append(True, last[:-1])[::-1]
    below, above = np.flatnonzero(right_below), np.flatnonzero(right_above)
    low = float(np.append(values, np.inf)[below[-1] + 1]) if len(below) else 0.0
    high = float(values[::-1][above[-1]]) if len(above) else float("inf")
    return low, high


def safe_no(chances: Array, share: float) -> float:
    """Give the highest probability below which, with certainty ``CERTAINTY``, at most a share of positives lies.

    The bound is Clopper and Pearson's, as in `refer_band`: of 100 positives 1 may be lost for a share of 5%, of 220
    6, and 1 for a share of 2%. Where there are too few positives to be sure, none.

    Parameters
    ----------
    chances : ndarray, shape (n_positives,)
    """
    values = np.sort(chances)
    lost = np.arange(len(values))
    sure = beta.ppf(CERTAINTY, lost + 1, len(values) - lost) <= share
    return float(values[lost[sure][-1] if sure.any() else 0])


def _lower_bound(right: Array, counts: NDArray[np.int64]) -> Array:
    bound: Array = beta.ppf(1 - CERTAINTY, np.maximum(right, 1), counts - right + 1)
    return np.where(right > 0, bound, 0.0)


def f1_threshold(chances: Array, targets: Array) -> float:
    """Give the threshold with the highest F1, midway between two neighbouring probabilities.

    0.5 where there is no positive. Ties go to the highest threshold.
    """
    order = np.argsort(-chances, kind="stable")
    sorted_chances, sorted_targets = chances[order], targets[order]
    if not sorted_targets.any():
        return 0.5
    found = np.cumsum(sorted_targets)
    f1 = 2 * found / (np.arange(1, len(found) + 1) + found[-1])
    following = np.append(sorted_chances[1:], 0.0)
    f1[sorted_chances == following] = -1.0  # equal probabilities cannot be parted
    best = int(f1.argmax())
    return float((sorted_chances[best] + following[best]) / 2)


def recall_threshold(chances: Array, targets: Array, recall: float) -> float:
    """Give the highest threshold that keeps at least this share of the positives."""
    positives = np.sort(chances[targets == 1])[::-1]
    kept = int(np.ceil(recall * len(positives) - 1e-9))
    lowest = positives[kept - 1]
    below = chances[chances < lowest]
    return float((lowest + below.max()) / 2) if len(below) else float(lowest)


def _enough(targets: Array, min_positives: int) -> bool:
    return bool(min((targets == 1).sum(), (targets == 0).sum()) >= min_positives)


def fit_curve(scores: Array, targets: Array) -> tuple[float, float]:
    """Fit a rising logistic curve from scores to probability (Platt 1999).

    A falling one would turn the order of records round on the strength of noise; it is
    replaced by the prevalence, and so is a curve for targets of one kind.

    Returns
    -------
    slope, intercept : float
    """
    if len(np.unique(targets)) == 2:
        model = LogisticRegression(C=1.0).fit(scores[:, None], targets)
        slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
        if slope >= 0:
            return slope, intercept
    share = (targets.sum() + 1) / (len(targets) + 2)
    return 0.0, float(np.log(share / (1 - share)))
