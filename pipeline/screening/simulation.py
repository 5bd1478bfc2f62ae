"""Replay the screening of a finished review, to measure the reading order and the effect of stopping rules."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mechtag.core.errors import MechtagError
from mechtag.pipeline.screening.stopping import (
    Bound,
    Sample,
    bound_of_any_look,
    check_shares,
    judge_sample,
    ranked_p,
    sample_due,
    too_many,
)


@dataclass(frozen=True)
class Figures:
    """Metrics of one reading order, as proportions.

    Work saved over sampling and the number of extra relevant records found can be negative.

    Attributes
    ----------
    loss
        0 for the best possible order, 1 for the worst order, and about 0.5 for a random order; see function `loss`.
    wss_95, wss_100
        Work saved over sampling at a recall of 95% and of 100%; see `work_saved`.
    mean_time_to_discovery
        Mean position of the relevant records in the order, as a proportion of the number of records.
    recall_10
        Recall when 10% of the records have been read.
    erf_10
        Extra relevant records found when 10% of the records have been read; see `extra_found`.
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
            f"labels: of {len(read)} values, {int(np.sum(read == 1))} are 1 and {int(np.sum(read == 0))} are 0; pass 1 "
            "for each relevant record and 0 for each irrelevant record, in reading order. Both values must occur, and "
            "no others"
        )
    return read.astype(np.int64)


def loss(labels: Sequence[int] | NDArray[np.int64]) -> float:
    """Return the loss of a reading order, from 0 for the best possible order to 1 for the worst order.

    After each record, count the relevant records found so far; the area of an order is the sum of these counts. The
    loss is (best - own) / (best - worst), where best, own and worst are the areas of the best order, of this order and
    of the worst order. The result equals ``asreview.metrics.loss``.

    With N records, of which R are relevant, best = R (N - (R - 1) / 2) and worst = R (R + 1) / 2, so that
    best - worst = R (N - R).
    """
    read = _checked(labels)
    records, relevant = len(read), int(read.sum())
    best = relevant * (records - (relevant - 1) / 2)
    return float((best - np.cumsum(read).sum()) / (relevant * (records - relevant)))


def work_saved(labels: Sequence[int] | NDArray[np.int64], recall: float) -> float:
    """Return the work saved over sampling (WSS) of a reading order at a given recall.

    This is the proportion of records that are unread when the recall is reached, minus ``1 - recall``. The recall is
    reached at the first record at which the proportion of relevant records found is at least ``recall``.

    The metric was introduced by Cohen et al. (2006), doi:10.1197/jamia.M1929.
    """
    read = _checked(labels)
    needed = math.ceil(recall * int(read.sum()) - 1e-9)
    place = int(np.flatnonzero(read)[needed - 1]) + 1
    return (len(read) - place) / len(read) - (1 - recall)


def extra_found(labels: Sequence[int] | NDArray[np.int64], share: float) -> float:
    """Return the extra relevant records found (ERF) when the proportion ``share`` of all records has been read.

    ERF is the number of relevant records found, minus the number expected in a random order. The difference is divided
    by the number of all relevant records. As in ASReview insights, the expected number grows linearly from 0 at the
    first record to all relevant records at the last record, and is rounded to a whole number.
    """
    read = _checked(labels)
    by_chance = np.round(np.linspace(0, read.sum(), len(read)))
    place = _number_read(len(read), share)
    return float((read[:place].sum() - by_chance[place - 1]) / read.sum()) if place else 0.0


def _number_read(records: int, share: float) -> int:
    # 0.29 * 100 is slightly less than 29.
    return math.floor(share * records + 1e-9)


def screening_figures(labels: Sequence[int] | NDArray[np.int64]) -> Figures:
    """Compute the metrics of a reading order.

    Parameters
    ----------
    labels
        Label of each record in reading order: 1 for relevant, 0 for irrelevant. Records that were known beforehand are
        left out.

    Raises
    ------
    MechtagError
        If the labels are not a mixture of 1 and 0.
    """
    read = _checked(labels)
    places = np.flatnonzero(read) + 1
    return Figures(
        loss=loss(read),
        wss_95=work_saved(read, 0.95),
        wss_100=work_saved(read, 1.0),
        mean_time_to_discovery=float(places.mean() / len(read)),
        recall_10=float(np.sum(places <= _number_read(len(read), 0.1)) / len(places)),
        erf_10=extra_found(read, 0.1),
    )


def summary(readings: Sequence[Sequence[int] | NDArray[np.int64]]) -> dict[str, dict[str, float]]:
    """Return the mean, minimum and maximum of each metric over several replays of one review.

    The result is keyed by metric and then by ``mean``, ``min`` or ``max``.
    """
    figures = [asdict(screening_figures(labels)) for labels in readings]
    return {
        name: {
            "mean": float(np.mean([run[name] for run in figures])),
            "min": min(run[name] for run in figures),
            "max": max(run[name] for run in figures),
        }
        for name in figures[0]
    }


Labels = NDArray[np.int64]
Order = NDArray[np.int64]


class Scorer(Protocol):
    """Interface of a ranker whose reading order can be replayed, such as `screening.search.Ranker`."""

    def scores(self, labels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a score for every record; a higher score means that the record is more likely relevant."""
        ...


def draw_priors(labels: Labels, generator: np.random.Generator) -> Order:
    """Draw one relevant and one irrelevant record that the reviewer is assumed to know beforehand.

    Returns
    -------
    ndarray, shape (2,)
        Index of the relevant record and index of the irrelevant record in ``labels``.

    Raises
    ------
    MechtagError
        If there are fewer than two relevant or fewer than two irrelevant records.
    """
    relevant, irrelevant = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    if min(len(relevant), len(irrelevant)) < 2:
        raise MechtagError(
            f"the decisions include {len(relevant)} relevant and {len(irrelevant)} irrelevant records, but a "
            "simulation needs at least two of each; add decisions on more records"
        )
    return np.array([generator.choice(relevant), generator.choice(irrelevant)], dtype=np.int64)


def reading_order(
    ranker: Scorer,
    labels: Labels,
    priors: Order,
    *,
    batch: int = 1,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Order:
    """Return the order in which a reviewer would read the records if the ranker were fitted again after each batch.

    Parameters
    ----------
    labels : ndarray, shape (n_records,)
        Label of each record: 1 for relevant, 0 for irrelevant.
    priors
        Indices of the records that are known beforehand. At least one of them is relevant, and at least one is
        irrelevant.
    batch
        Number of records read between two rankings.
    on_progress
        Function that is called with the number of relevant records found since the last call.

    Returns
    -------
    ndarray, shape (n_records,)
        Index of each record, starting with the priors. Once all relevant records are found, the remaining records
        follow in the order of the last ranking.
    """
    known = np.full(len(labels), np.nan)
    known[priors] = labels[priors]
    order = [int(row) for row in priors]
    left = int(labels.sum() - labels[priors].sum())
    while len(order) < len(labels):
        ranked = rank_unread(ranker.scores(known), known)
        read = ranked[:batch] if left else ranked
        known[read] = labels[read]
        order.extend(int(row) for row in read)
        found = int(labels[read].sum())
        left -= found
        on_progress(found)
    return np.array(order, dtype=np.int64)


def rank_unread(scores: NDArray[np.float64], known: NDArray[np.float64]) -> Order:
    """Return the indices of the records whose label is not known (NaN), in order of decreasing score.

    Records with equal scores keep their order.
    """
    unread = np.flatnonzero(np.isnan(known))
    return unread[np.argsort(-scores[unread], kind="stable")]


@dataclass(frozen=True)
class Stopped:
    """The result of a stopping rule in a replayed review.

    Attributes
    ----------
    read
        Number of records that were read when reading stopped, including records known beforehand.
    recall
        Proportion of the relevant records that had been found when reading stopped.
    work_saved
        Proportion of all records that were left unread.
    """

    read: int
    recall: float
    work_saved: float


def _stopped(read: int, found: int, labels: Labels) -> Stopped:
    return Stopped(read, found / int(labels.sum()), 1 - read / len(labels))


def stop_by_sample(
    labels: Labels,
    generator: np.random.Generator,
    *,
    recall: float,
    confidence: float,
    bound: Bound = bound_of_any_look,
) -> Stopped:
    """Replay a review that uses the rule `stopping.judge_sample`.

    Records are first read in ranked order, until `sample_due` requires a random sample. The remaining records are then
    read in random order, until the rule allows stopping.

    Parameters
    ----------
    labels
        Label of each record in the order of ranked reading: 1 for relevant, 0 for irrelevant.
    bound
        Function that computes the largest plausible number of relevant records among the remaining records.
    """
    due = sample_due(labels, len(labels))
    if due is None:
        return _stopped(len(labels), int(labels.sum()), labels)
    before = int(labels[:due].sum())
    sample = generator.permutation(labels[due:])
    finds = np.flatnonzero(sample) + 1
    drawn = found = 0
    while True:
        read = Sample(len(sample), drawn, found)
        verdict = judge_sample(read, before, found, recall=recall, confidence=confidence, bound=bound)
        if verdict.stop:
            return _stopped(due + drawn, before + found, labels)
        # The verdict between two relevant records can be computed in advance, so skip to the next one or to the stop.
        coming = finds[finds > drawn]
        planned = drawn + verdict.still_to_read
        drawn = min(planned, int(coming[0])) if len(coming) else planned
        found = int(sample[:drawn].sum())


def stop_by_rank(labels: Labels, *, recall: float, confidence: float) -> Stopped:
    """Replay a ranked screening, and apply the stopping rule `stopping.judge_ranked` after each record.

    Parameters
    ----------
    labels
        Label of each record in the order of ranked reading: 1 for relevant, 0 for irrelevant.
    """
    check_shares(recall, confidence)
    finds = np.flatnonzero(labels) + 1
    for found, (start, end) in enumerate(zip((0, *finds), (*finds, len(labels) + 1), strict=True)):
        missed = too_many(found, recall)

        def enough(read: int, missed: int = missed) -> bool:
            return ranked_p(labels[:read], len(labels), missed) <= 1 - confidence

        # Each further irrelevant record lowers the p-value. If the last one is not enough, none is; otherwise,
        # bisection finds the first one that is.
        first = max(start, 1)
        if first < end and enough(end - 1):
            return _stopped(bisect_left(range(end), True, lo=first, key=enough), found, labels)
    return _stopped(len(labels), int(labels.sum()), labels)


@dataclass(frozen=True)
class Replay:
    """One replay of a review.

    Attributes
    ----------
    order
        Indices of the records in reading order. The records that were known beforehand come first.
    priors
        Number of records that were known beforehand.
    stops
        Result of each stopping rule, keyed by its name (``sample`` or ``ranked``).
    """

    order: Order
    priors: int
    stops: dict[str, Stopped]


def replay(
    ranker: Scorer,
    labels: Labels,
    *,
    runs: int,
    batch: int,
    recall: float,
    confidence: float,
    seed: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[Replay]:
    """Replay a review several times, and return the replays.

    Before each replay, a relevant and an irrelevant record are drawn at random. The reviewer is assumed to know these
    two records beforehand.

    Parameters
    ----------
    seed
        Seed of the random generators. Replay number r uses a generator with the seed (``seed``, r).
    on_progress
        Function that is called with the number of relevant records found since the last call.
    """
    check_shares(recall, confidence)
    replays = []
    for run in range(runs):
        generator = np.random.default_rng((seed, run))
        priors = draw_priors(labels, generator)
        order = reading_order(ranker, labels, priors, batch=batch, on_progress=on_progress)
        read = labels[order]
        stops = {
            "sample": stop_by_sample(read, generator, recall=recall, confidence=confidence),
            "ranked": stop_by_rank(read, recall=recall, confidence=confidence),
        }
        replays.append(Replay(order, len(priors), stops))
    return replays
