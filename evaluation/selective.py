"""What a system is worth on the cases it is sure of: risk by coverage."""

from __future__ import annotations

import numpy as np

from evaluation.agreement import Array
from evaluation.metrics import Judged

# Steps of the curve.
_STEPS = 10


def confidence(judged: Judged) -> Array:
    """Tell how far each probability lies from its threshold, as a share of the way to 0 or to 1.

    Returns
    -------
    ndarray, shape (papers, labels)
        0 at the threshold, 1 at certainty; NaN where the system gives no probability or threshold.
    """
    room = np.where(judged.decided, 1 - judged.threshold, judged.threshold)
    distance = np.abs(judged.probability - judged.threshold)
    return np.asarray(np.divide(distance, room, out=np.ones_like(distance), where=room != 0))


def risk_by_coverage(judged: Judged) -> list[tuple[float, float, int]]:
    """Take the surest tenth of all judgements, then the surest two tenths, and so on to all of them.

    Judgements that are equally sure stay together, so a step can be wider. Geifman and
    El-Yaniv (2017) use the curve to choose what a classifier may decide.

    Returns
    -------
    list of (coverage, risk, judgements)
        Share of the judgements taken, share of those that is wrong, and their number; empty
        where the system gives no probabilities.
    """
    sure = confidence(judged)
    seen = ~np.isnan(judged.truth) & ~np.isnan(sure)
    if not seen.any():
        return []
    order = np.argsort(-sure[seen], kind="stable")
    values = sure[seen][order]
    wrong = np.cumsum((judged.truth[seen] != judged.decided[seen])[order])
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1) + 1
    asked = np.ceil(len(values) * np.arange(1, _STEPS + 1) / _STEPS)
    taken = np.unique(ends[np.searchsorted(ends, asked)])
    return [(float(count / len(values)), float(wrong[count - 1] / count), int(count)) for count in taken]
