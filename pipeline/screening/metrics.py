"""How soon an order of reading finds the relevant records of a review."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from mechtag.core.errors import MechtagError


@dataclass(frozen=True)
class Figures:
    """Figures of one order of reading; shares are of records or of relevant records, from 0 to 1.

    Attributes
    ----------
    loss
        Area between the best possible recall curve and this one, divided by the area between
        the best and the worst: 0 is perfect, 1 is worst, a random order gives about 0.5.
    wss_95, wss_100
        Work saved over sampling at a recall of 95% and 100%; see `work_saved`.
    mean_time_to_discovery
        Mean place in the order of the relevant records, as a share of all records.
    recall_10
        Recall when 10% of the records have been read.
    erf_10
        Extra relevant records found by then beyond what a random order would have found, as a
        share of the relevant ones.
    """

    loss: float
    wss_95: float
    wss_100: float
    mean_time_to_discovery: float
    recall_10: float
    erf_10: float


def _checked(labels: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    read = np.asarray(labels)
    if read.ndim != 1 or not np.isin(read, (0, 1)).all() or not 0 < read.sum() < len(read):
        raise MechtagError(
            f"figures of screening need labels of 1 and 0, some of each, in the order of reading; found {len(read)} "
            f"labels, {int(np.sum(read == 1))} of them 1 and {int(np.sum(read == 0))} of them 0"
        )
    return read.astype(np.int64)


def loss(labels: Sequence[int] | NDArray[np.int64]) -> float:
    """Normalised area between the best recall curve and this one, as ``asreview.metrics.loss`` defines it.

    With N records, R relevant, and c the sum over the order of the relevant records found so far,
    the best order has c = R (N - (R - 1) / 2), the worst R (R + 1) / 2, which is R (N - R) less.
    """
    read = _checked(labels)
    records, relevant = len(read), int(read.sum())
    best = relevant * (records - (relevant - 1) / 2)
    return float((best - np.cumsum(read).sum()) / (relevant * (records - relevant)))


def work_saved(labels: Sequence[int] | NDArray[np.int64], recall: float) -> float:
    """Work saved over sampling: share of records left unread when ``recall`` is reached, less ``1 - recall``.

    Cohen et al. (2006), doi:10.1197/jamia.M1929. The recall is reached at the first record from which
    the share of relevant records found is at least ``recall``.
    """
    read = _checked(labels)
    needed = math.ceil(recall * int(read.sum()) - 1e-9)
    place = int(np.flatnonzero(read)[needed - 1]) + 1
    return (len(read) - place) / len(read) - (1 - recall)


def extra_found(labels: Sequence[int] | NDArray[np.int64], share: float) -> float:
    """Extra relevant records found (ERF) when ``share`` of the records were read, as ASReview insights counts.

    The number that a random order finds is rounded to whole records on a line from 0 at the first
    record to all at the last.
    """
    read = _checked(labels)
    by_chance = np.round(np.linspace(0, read.sum(), len(read)))
    place = _place(len(read), share)
    return float((read[:place].sum() - by_chance[place - 1]) / read.sum()) if place else 0.0


def _place(records: int, share: float) -> int:
    """How many whole records a share is."""
    return math.floor(share * records + 1e-9)


def screening_figures(labels: Sequence[int] | NDArray[np.int64]) -> Figures:
    """Compute the figures of an order of reading.

    Parameters
    ----------
    labels
        1 for relevant, 0 for not, in the order in which the records were read, to the last
        record of the review. Records that were known beforehand are left out.

    Raises
    ------
    MechtagError
        The labels are not 1 and 0, or not some of each.
    """
    read = _checked(labels)
    places = np.flatnonzero(read) + 1
    return Figures(
        loss=loss(read),
        wss_95=work_saved(read, 0.95),
        wss_100=work_saved(read, 1.0),
        mean_time_to_discovery=float(places.mean() / len(read)),
        recall_10=float(np.sum(places <= _place(len(read), 0.1)) / len(places)),
        erf_10=extra_found(read, 0.1),
    )


def summary(readings: Sequence[Sequence[int] | NDArray[np.int64]]) -> dict[str, dict[str, float]]:
    """Summarise several readings of one review: of each figure the mean, the least and the greatest."""
    figures = [asdict(screening_figures(labels)) for labels in readings]
    return {
        name: {
            "mean": float(np.mean([run[name] for run in figures])),
            "min": min(run[name] for run in figures),
            "max": max(run[name] for run in figures),
        }
        for name in figures[0]
    }
