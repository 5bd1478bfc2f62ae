"""Stopping rules: whether enough of the relevant records have been found, with stated confidence.

The rule: read by rank until relevant records become rare (`sample_due`), then read a random sample of
the unread records, in an order drawn once. The sample yields an upper bound on the relevant records that
were unread when it was drawn. Reading may stop when the records found are at least the target share of
the records that can exist. The bound holds simultaneously at all looks, so it may be checked after each record.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import hypergeom

from mechtag.core.errors import MechtagError

# Relevant records count as rare after this many irrelevant ones in a row: 100, or 5% of all if that is more.
# This only starts the sample; it is not a reason to stop. If started earlier, the sample must be larger
# because more is left to find; if later, more records are read by rank for little gain. See docs/ranking.md
# for the choice.
_RUN, _RUN_SHARE = 100, 0.05
# Tolerance for rounding: a probability equal to the limit does not exceed it.
_TIE = 1 + 1e-9


def sample_due(labels: NDArray[np.int64], total: int) -> int | None:
    """Return the number of records read by rank when the sample falls due; ``None`` if it is not yet due.

    Parameters
    ----------
    labels
        1 and 0 in reading order.
    total
        Number of records of the review.
    """
    wanted = max(_RUN, math.ceil(_RUN_SHARE * total))
    places = np.flatnonzero(labels) + 1
    starts = np.concatenate(([0], places))
    ends = np.concatenate((places - 1, [len(labels)]))
    long = np.flatnonzero(ends - starts >= wanted)
    return int(starts[long[0]]) + wanted if len(long) else None


def check_shares(recall: float, confidence: float) -> None:
    """Raise `MechtagError` unless both are strictly between 0 and 1."""
    for name, value in (("recall", recall), ("confidence", confidence)):
        if not 0 < value < 1:
            raise MechtagError(f"{name} {value:g} is out of range; it must be above 0 and below 1, such as 0.95")


@dataclass(frozen=True)
class Sample:
    """Progress in reading a random sample of unread records.

    Attributes
    ----------
    population
        Number of unread records when the sample was drawn.
    drawn
        Number of its records read in the order drawn, from the first without a gap.
    found
        Number of relevant records among them.
    """

    population: int
    drawn: int
    found: int

    def __post_init__(self) -> None:
        if not 0 <= self.found <= self.drawn <= self.population:
            raise ValueError(f"{self.found} found of {self.drawn} drawn of {self.population}")


def bound_of_one_look(sample: Sample, confidence: float) -> int:
    """Return the largest number of relevant records in the population that one look at the sample does not rule out.

    The exact hypergeometric counterpart of Clopper and Pearson's (1934) one-sided limit,
    doi:10.1093/biomet/26.4.404: the largest K for which as few as ``found`` are drawn with a
    probability above ``1 - confidence``. It is valid if size and time of the sample were fixed beforehand.
    """
    possible = np.arange(sample.found, sample.population - sample.drawn + sample.found + 1)
    chance = hypergeom.cdf(sample.found, sample.population, possible, sample.drawn)
    return int(possible[chance > (1 - confidence) * _TIE][-1])


def bound_of_any_look(sample: Sample, confidence: float) -> int:
    """Return the same bound, valid for any number of looks and for stopping when the answer is good enough.

    With probability ``confidence``, none of the bounds computed while reading one sample is below the truth.
    Prior-posterior-ratio confidence sequence for sampling without replacement,
    Waudby-Smith and Ramdas (2020), arXiv:2006.04347, theorem 2.1. The prior affects only how tight the
    bound is: its weight for K relevant records is 1 / ((K + 1) (K + 2)), so half of it is on none.
    """
    possible = np.arange(sample.found, sample.population - sample.drawn + sample.found + 1)
    ways = _log_choose(possible, sample.found) + _log_choose(sample.population - possible, sample.drawn - sample.found)
    likelihood = np.exp(ways - ways.max())  # A common factor cancels below.
    prior = 1 / ((possible + 1.0) * (possible + 2.0))
    prior_of_all = 1 - 1 / (sample.population + 2)
    mixture = np.sum(prior * likelihood) / prior_of_all
    return int(possible[likelihood > (1 - confidence) * mixture * _TIE][-1])


def _log_choose(of: NDArray[np.int64], chosen: int) -> NDArray[np.float64]:
    logarithm: NDArray[np.float64] = gammaln(of + 1) - gammaln(of - chosen + 1) - gammaln(chosen + 1)
    return logarithm


@dataclass(frozen=True)
class StoppingVerdict:
    """The verdict of a stopping rule on the reading so far.

    Attributes
    ----------
    stop
        Whether the target recall is reached with the target confidence.
    missed_at_most
        Upper bound on relevant records among the unread.
    recall_at_least
        Relevant records found as a share of those that can exist; ``None`` if none can exist.
    still_to_read
        Number of records to read until ``stop``, if none of them is relevant.
    """

    stop: bool
    missed_at_most: int
    recall_at_least: float | None
    still_to_read: int


Bound = Callable[[Sample, float], int]


def judge_sample(
    sample: Sample,
    found_before: int,
    found_since: int,
    *,
    recall: float,
    confidence: float,
    bound: Bound = bound_of_any_look,
) -> StoppingVerdict:
    """Apply the stopping rule to a random sample.

    Parameters
    ----------
    sample
        Drawn from all records that were unread at the time.
    found_before
        Number of relevant records found before the sample was drawn.
    found_since
        Number of relevant records found since, in the sample or elsewhere.
    bound
        Upper bound on the relevant records in the population; use `bound_of_one_look` if the sample size
        was fixed beforehand and the sample is examined only at its end.

    Raises
    ------
    MechtagError
        ``recall`` or ``confidence`` is not between 0 and 1.
    """
    check_shares(recall, confidence)
    found = found_before + found_since

    def missed(more: int) -> int:
        later = Sample(sample.population, sample.drawn + more, sample.found)
        return max(bound(later, confidence) - found_since, 0)

    return _verdict(missed, found, sample.population - sample.drawn, recall)


def judge_ranked(labels: NDArray[np.int64], total: int, *, recall: float, confidence: float) -> StoppingVerdict:
    """Apply the stopping rule to ranked reading only, assuming that the ranking is no worse than chance.

    Callaghan and Müller-Hansen (2020), doi:10.1186/s13643-020-01521-4, their test on ranked records: the
    last records read are treated as a random sample of all records unread before them, for every length of
    that window, and the window with the smallest p-value counts. The confidence is therefore not guaranteed:
    testing many windows repeatedly makes errors more likely, and a ranking better than chance makes them
    less likely. `docs/ranking.md` reports the measured error rate.

    Parameters
    ----------
    labels
        1 and 0 in reading order.
    total
        Number of records of the review.

    Raises
    ------
    MechtagError
        ``recall`` or ``confidence`` is not between 0 and 1.
    """
    check_shares(recall, confidence)
    unread = total - len(labels)

    def missed(more: int) -> int:
        read = np.concatenate((labels, np.zeros(more, dtype=np.int64)))
        return _first(lambda least: ranked_p(read, total, least + 1) <= 1 - confidence, unread - more)

    return _verdict(missed, int(labels.sum()), unread, recall)


def too_many(found: int, recall: float) -> int:
    """Return the smallest number of missed records for which ``found`` is less than ``recall`` of all."""
    return math.floor(found / recall - found + 1e-9) + 1


def ranked_p(labels: NDArray[np.int64], total: int, missed: int) -> float:
    """Return the smallest p-value, over windows of the last records read, for ``missed`` records being unread."""
    if missed > total - len(labels):
        return 0.0  # Fewer than that are left.
    # Among windows with equally many finds the longest has the smallest p-value, so only windows that start
    # right after a find count.
    window = np.append(np.flatnonzero(labels[::-1]), len(labels))
    found = np.arange(len(window))
    urn = total - len(labels) + window
    return float(hypergeom.cdf(found, urn, found + missed, window).min(initial=1.0))


def _verdict(missed: Callable[[int], int], found: int, unread: int, recall: float) -> StoppingVerdict:
    """Return the verdict, given the bound on missed records after any number of further records without a find."""

    def enough(more: int) -> bool:
        # Multiply rather than divide, because nothing may exist.
        return found >= recall * (found + missed(more)) - 1e-9

    still = _first(enough, unread)
    exists = found + missed(0)
    return StoppingVerdict(still == 0, exists - found, found / exists if exists else None, still)


def _first(holds: Callable[[int], bool], last: int) -> int:
    """Return the smallest number from 0 to ``last`` for which a monotone condition holds."""
    return bisect_left(range(last), True, key=holds)
