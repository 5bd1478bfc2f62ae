"""Fit probability curves and decision thresholds to out-of-fold scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import beta

from mechtag.core.arrays import Array, Mask
from mechtag.core.settings import TrainSettings
from mechtag.models.scoring import Calibration, probabilities

# Certainty that the precision of decisions reaches its target. On the coded records with a target of 0.8,
# choosing bounds by the observed precision reached 0.74 on new papers; choosing by this limit reaches 0.80.
CERTAINTY = 0.9
# Minimum number of hard records for a set to be judged separately.
MIN_HARD = 20


def fit_calibration(
    scores: Array,
    targets: Array,
    settings: TrainSettings,
    hard: Mask | None = None,
    source: NDArray[np.int64] | None = None,
) -> Calibration:
    """Fit probability curves, thresholds and decision bounds to out-of-fold scores and human codes.

    Hard records are irrelevant records that are easily mistaken for relevant ones.

    *Curves.* Relevance has its own probability curve, and so has each label with enough positives and negatives. All
    other labels share one curve, which is fitted on all labels together. If no label was judged, the labels use the
    curve of `definitions_calibration`.

    *Thresholds.* The threshold for relevance keeps at least the proportion ``settings.relevance_recall`` of the
    relevant records. If all records are relevant, it is 0. The threshold for a label maximises F1 over all judged
    records; irrelevant records count as negative. Labels with too few positives or negatives share one threshold, which
    is fitted on all labels together.

    *Bounds.* A decision needs review if its probability is between two bounds, which `refer_band` computes. If the
    threshold does not lie between the bounds, one bound is moved to the threshold.

    For relevance, "yes" and "no" must reach the precision ``settings.relevance_precision`` in each set with enough hard
    records. Only the relevant and the hard records of the set count. If no set has enough hard records, all records
    count. In addition, "no" may lose at most the proportion ``settings.relevance_loss`` of the relevant records; see
    `safe_no`.

    For labels, "yes" and "no" must reach the precision ``settings.decided_precision``. All labels share the same two
    bounds, unless a bound is moved to a threshold. The precision of "yes" is measured on the same records as for
    relevance, with all sets combined. The precision of "no" is measured on relevant records only, because "no" is
    almost always right for irrelevant records.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Out-of-fold scores. The first column is relevance.
    targets : ndarray, shape (n_documents, 1 + n_labels)
        Human codes: 1, 0, or NaN for not judged. The first column is relevance.
    hard : ndarray of bool, shape (n_documents,), optional
        Whether each record is hard. By default, no record is hard.
    source : ndarray of int, shape (n_documents,), optional
        Number of the set that each record belongs to. By default, all records belong to the same set.
    """
    if not len(targets):
        return definitions_calibration(targets.shape[1] - 1)
    n_columns = targets.shape[1]
    slope, intercept, threshold = np.zeros(n_columns), np.zeros(n_columns), np.full(n_columns, 0.5)
    judged = ~np.isnan(targets)
    enough = [has_both_kinds(targets[judged[:, column], column], settings.min_positives) for column in range(n_columns)]
    shared = _DEFINITIONS_CURVE
    if judged[:, 1:].any():
        shared = fit_curve(scores[:, 1:][judged[:, 1:]], targets[:, 1:][judged[:, 1:]])
    for column in range(n_columns):
        rows = judged[:, column]
        fitted = column == 0 or enough[column]
        slope[column], intercept[column] = fit_curve(scores[rows, column], targets[rows, column]) if fitted else shared
    chances, _ = probabilities(scores, slope, intercept)
    relevant = targets[:, 0] == 1
    coded = np.where(relevant[:, None], targets, 0.0)
    known = ~np.isnan(coded)
    # If all records are relevant, no record may be below the threshold.
    recall = settings.relevance_recall
    if relevant.any():
        threshold[0] = 0.0 if relevant.all() else recall_threshold(chances[:, 0], coded[:, 0], recall)
    threshold[1:] = f1_threshold(chances[:, 1:][known[:, 1:]], coded[:, 1:][known[:, 1:]])
    for column in range(1, n_columns):
        if enough[column]:
            rows = known[:, column]
            threshold[column] = f1_threshold(chances[rows, column], coded[rows, column])

    low, high = np.zeros(n_columns), np.zeros(n_columns)
    # On easy records, any "yes" would look right.
    judged_on = _judged_on(relevant, hard, source)
    bands = [refer_band(chances[rows, 0], coded[rows, 0], settings.relevance_precision) for rows in judged_on]
    low[0] = min(safe_no(chances[relevant, 0], settings.relevance_loss), *(band[0] for band in bands))
    high[0] = max(band[1] for band in bands)

    def label_band(rows: Mask) -> tuple[float, float]:
        cells = known[rows, 1:]
        return refer_band(chances[rows, 1:][cells], coded[rows, 1:][cells], settings.decided_precision)

    # Labels share bounds, because a probability means the same for each label, and a single label has too few cases.
    low[1:], high[1:] = label_band(relevant)[0], label_band(np.logical_or.reduce(judged_on))[1]
    return Calibration(slope, intercept, threshold, np.minimum(low, threshold), np.maximum(high, threshold))


# Curve of labels that are scored by their definitions alone: fitted to five codebooks, each with the same weight
# (`python -m benchmarks.codebooks`). Codebooks differ in how common their labels are, so the probabilities are rough.
_DEFINITIONS_CURVE = (1.3, -3.6)


def definitions_calibration(n_labels: int) -> Calibration:
    """Return the calibration of a model without coded records, with which every decision needs review."""
    slope, intercept = _DEFINITIONS_CURVE
    return Calibration(
        # The score for relevance is already its log odds; see `features.Definitions.relevance_weights`.
        slope=np.array([1.0] + [slope] * n_labels),
        intercept=np.array([0.0] + [intercept] * n_labels),
        threshold=np.full(1 + n_labels, 0.5),
        low=np.zeros(1 + n_labels),
        high=np.full(1 + n_labels, np.inf),
    )


def _judged_on(relevant: Mask, hard: Mask | None, source: NDArray[np.int64] | None) -> list[Mask]:
    """Return masks that select the records on which the precision of decisions on relevance is measured.

    Hard records are irrelevant, but look relevant. For each set with enough hard records, one mask selects the relevant
    and the hard records of the set. If no set has enough hard records, a single mask selects all records.
    """
    everything = np.ones(len(relevant), dtype=bool)
    if hard is None:
        return [everything]
    owner = np.zeros(len(relevant), dtype=np.int64) if source is None else source
    sets = [owner == number for number in np.unique(owner)]
    return [(relevant | hard) & own for own in sets if (hard & own).sum() >= MIN_HARD] or [everything]


def refer_band(chances: Array, targets: Array, precision: float) -> tuple[float, float]:
    """Return the two probabilities between which decisions need review.

    The two bounds are chosen separately. A bound is acceptable if the decisions beyond it are precise enough: the lower
    confidence limit of their precision must be at least ``precision``. The limit is the one-sided limit of Clopper and
    Pearson (1934), with confidence ``CERTAINTY``. Of all acceptable bounds, the one that leaves the fewest records to
    review is returned.

    Returns
    -------
    low, high : float
        The decision is "no" below ``low``, and "yes" from ``high`` upwards. If no lower bound is acceptable, ``low`` is
        0. If no upper bound is acceptable, ``high`` is infinity.
    """
    # The observed precision would be too optimistic, because the bound is selected on the same data.
    order = np.argsort(chances, kind="stable")
    values, positive = chances[order], targets[order]
    counts = np.arange(1, len(values) + 1)
    last = np.append(values[1:] != values[:-1], True)  # equal probabilities cannot be separated
    right_below = (_lower_bound(np.cumsum(1 - positive), counts) >= precision) & last
    right_above = (_lower_bound(np.cumsum(positive[::-1]), counts) >= precision) & np.append(True, last[:-1])[::-1]
    below, above = np.flatnonzero(right_below), np.flatnonzero(right_above)
    low = float(np.append(values, np.inf)[below[-1] + 1]) if len(below) else 0.0
    high = float(values[::-1][above[-1]]) if len(above) else float("inf")
    return low, high


def safe_no(chances: Array, share: float) -> float:
    """Return the highest bound for "no" that does not lose too many positives.

    A positive below the bound is lost, because the decision on it is "no". With confidence ``CERTAINTY``, the
    proportion of positives that are lost is at most ``share`` (Clopper and Pearson 1934). If ``share`` is 5%, for
    example, 1 of 100 given positives may be lost, or 6 of 220. With too few positives for this confidence, none may be
    lost.

    Parameters
    ----------
    chances : ndarray, shape (n_positives,)
        Probabilities of the positives.
    """
    if not len(chances):
        return 0.0
    values = np.sort(chances)
    lost = np.arange(len(values))
    sure = beta.ppf(CERTAINTY, lost + 1, len(values) - lost) <= share
    return float(values[lost[sure][-1] if sure.any() else 0])


def _lower_bound(right: Array, counts: NDArray[np.int64]) -> Array:
    bound: Array = beta.ppf(1 - CERTAINTY, np.maximum(right, 1), counts - right + 1)
    return np.where(right > 0, bound, 0.0)


def f1_threshold(chances: Array, targets: Array) -> float:
    """Return the threshold with the highest F1.

    The threshold lies midway between two neighbouring probabilities. If several thresholds have the highest F1, the
    largest of them is returned. If there are no positives, 0.5 is returned.
    """
    order = np.argsort(-chances, kind="stable")
    sorted_chances, sorted_targets = chances[order], targets[order]
    if not sorted_targets.any():
        return 0.5
    found = np.cumsum(sorted_targets)
    f1 = 2 * found / (np.arange(1, len(found) + 1) + found[-1])
    following = np.append(sorted_chances[1:], 0.0)
    f1[sorted_chances == following] = -1.0  # equal probabilities cannot be separated
    best = int(f1.argmax())
    return float((sorted_chances[best] + following[best]) / 2)


def recall_threshold(chances: Array, targets: Array, recall: float) -> float:
    """Return a threshold that keeps at least the proportion ``recall`` of the positives, but no more than necessary.

    A record is kept if its probability is at least the threshold. The threshold lies midway between the lowest
    probability that must be kept and the next lower probability. If there is no lower probability, the threshold is the
    lowest probability.
    """
    positives = np.sort(chances[targets == 1])[::-1]
    kept = int(np.ceil(recall * len(positives) - 1e-9))
    lowest = positives[kept - 1]
    below = chances[chances < lowest]
    return float((lowest + below.max()) / 2) if len(below) else float(lowest)


def has_both_kinds(targets: Array, min_positives: int) -> bool:
    """Return whether there are enough positives and enough negatives to fit a probability curve for one label."""
    return bool(min((targets == 1).sum(), (targets == 0).sum()) >= min_positives)


# Mean and standard deviation of the slope of a curve before any record is seen, and standard deviation of its
# intercept. They decide with a few records; with a hundred, they hardly matter.
_SLOPE, _SLOPE_SD, _INTERCEPT_SD = 1.0, 1.0, 3.0


def fit_curve(scores: Array, targets: Array) -> tuple[float, float]:
    """Fit a logistic curve that converts scores to probabilities (Platt 1999).

    The slope is regularised towards 1, and the probability at the mean score towards one half. The fit therefore works
    with few records, even if all of them have the same code. The slope is never negative, so a higher score never gets
    a lower probability.

    Parameters
    ----------
    scores, targets : ndarray, shape (n_documents,)
        Scores, and human codes (1 or 0).

    Returns
    -------
    slope, intercept : float
    """
    mean = float(scores.mean()) if len(scores) else 0.0
    centred, signs = scores - mean, 2 * targets - 1

    def objective(point: Array) -> tuple[float, Array]:
        slope, level = point
        margins = signs * (slope * centred + level)
        far = (slope - _SLOPE) / _SLOPE_SD, level / _INTERCEPT_SD
        steps = -signs * expit(-margins)
        value = np.logaddexp(0, -margins).sum() + (far[0] ** 2 + far[1] ** 2) / 2
        return value, np.array([steps @ centred + far[0] / _SLOPE_SD, steps.sum() + far[1] / _INTERCEPT_SD])

    bounds = [(0, None), (None, None)]
    slope, level = minimize(objective, [_SLOPE, 0.0], jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(slope), float(level - slope * mean)
