"""Replays the screening of a finished review: in what order would its records have been read, and when to stop."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mechtag.core.errors import MechtagError
from mechtag.pipeline.screening.stopping import (
    Bound,
    Sample,
    bound_of_any_look,
    check_shares,
    judge,
    ranked_p,
    sample_due,
    too_many,
)

Labels = NDArray[np.int64]
Order = NDArray[np.int64]


class Scorer(Protocol):
    """What ranks records; see `mechtag.pipeline.screening.ranker.Ranker.scores`."""

    def scores(self, labels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score every record, higher for more likely relevant."""
        ...


def draw_priors(labels: Labels, generator: np.random.Generator) -> Order:
    """Draw one relevant and one irrelevant record, which the reviewer is supposed to know beforehand.

    Raises
    ------
    MechtagError
        There are fewer than two of either kind: nothing would be left to find, or nothing to find it among.
    """
    relevant, irrelevant = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    if min(len(relevant), len(irrelevant)) < 2:
        raise MechtagError(
            f"{len(relevant)} relevant and {len(irrelevant)} irrelevant records; a simulation needs "
            "at least two of each kind"
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
    """Read a review as the ranker says, and let it learn from each batch.

    Parameters
    ----------
    labels
        1 and 0, shape (n_records,).
    priors
        Rows that are known beforehand, some of each label.
    batch
        Records read between two rankings.
    on_progress
        Called with the number of relevant records found since the last call.

    Returns
    -------
    ndarray, shape (n_records,)
        Every row once, the priors first. Once all relevant records are found, the rest
        follow as ranked last.
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
    """Rows that are not judged (NaN), highest score first; equal scores in the order of the rows."""
    unread = np.flatnonzero(np.isnan(known))
    return unread[np.argsort(-scores[unread], kind="stable")]


@dataclass(frozen=True)
class Stopped:
    """What a stopping rule did in a replayed review.

    Attributes
    ----------
    read
        Records read when it stopped, those known beforehand included.
    recall
        Share of the relevant records found by then.
    work_saved
        Share of the records left unread.
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
    """Replay the rule of `screening.stopping`: reading by rank, then a random sample until it says stop.

    Parameters
    ----------
    labels
        1 and 0 in the order of reading by rank.
    bound
        See `stopping.judge`.
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
        verdict = judge(read, before, found, recall=recall, confidence=confidence, bound=bound)
        if verdict.stop:
            return _stopped(due + drawn, before + found, labels)
        # Between finds the verdict is known beforehand, so the replay leaps to the next find or to the stop.
        coming = finds[finds > drawn]
        planned = drawn + verdict.still_to_read
        drawn = min(planned, int(coming[0])) if len(coming) else planned
        found = int(sample[:drawn].sum())


def stop_by_rank(labels: Labels, *, recall: float, confidence: float) -> Stopped:
    """Replay `stopping.judge_ranked` after each record.

    Parameters
    ----------
    labels
        1 and 0 in the order of reading by rank.
    """
    check_shares(recall, confidence)
    finds = np.flatnonzero(labels) + 1
    for found, (start, end) in enumerate(zip((0, *finds), (*finds, len(labels) + 1), strict=True)):
        missed = too_many(found, recall)

        def enough(read: int, missed: int = missed) -> bool:
            return ranked_p(labels[:read], len(labels), missed) <= 1 - confidence

        # Each further record without a find lowers the p-value, so if the last of them is not enough none is,
        # and otherwise the first that is enough is found by halving.
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
        Rows in the order of reading, the priors first.
    priors
        How many were known beforehand.
    stops
        By rule, ``sample`` and ``ranked``.
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
    """Replay a review from several draws of the two records known beforehand.

    Parameters
    ----------
    seed
        Run number r draws from the generator of (seed, r).
    on_progress
        See `reading_order`.
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
