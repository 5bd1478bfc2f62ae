"""Decide whether enough relevant records have been found to stop reading.

The user sets a target for recall and a confidence.

People first read records by rank until relevant records become rare (`sample_due`). They then read a random sample of
the unread records, in an order that is drawn once. The sample yields an upper bound on the number of relevant records
that were unread when the sample was drawn. Reading may stop if recall reaches the target even if the bound is the true
number. The bound may be checked after each record, because it stays valid when it is checked repeatedly.
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

# Relevant records count as rare after this many irrelevant ones in a row: 100, or 5% of all records if that is
# more. This is when the sample starts; it is not a reason to stop. If the sample starts earlier, it must be larger,
# because more is left to find. If it starts later, more records are read by rank for little gain. docs/ranking.md
# explains the choice.
_RUN, _RUN_SHARE = 100, 0.05
# Tolerance for rounding errors, so that a probability equal to the limit does not exceed it.
_TIE = 1 + 1e-9


def sample_due(labels: NDArray[np.int64], total: int) -> int | None:
    """Return the number of records that people read by rank before they begin a random sample.

    The sample begins after the first long run of consecutive irrelevant records: at least 100 records, and at least 5%
    of all records. If there is no such run yet, the result is ``None``.

    Parameters
    ----------
    labels
        Label of each record read, in reading order: ``1`` (relevant) or ``0`` (irrelevant).
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
    """Raise `MechtagError` unless recall and confidence are strictly between 0 and 1."""
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
        Number of records of the sample that were read. The sample has a random order, and records after the first
        unread record do not count.
    found
        Number of relevant records among the ``drawn`` records.
    """

    population: int
    drawn: int
    found: int

    def __post_init__(self) -> None:
        if not 0 <= self.found <= self.drawn <= self.population:
            raise ValueError(
                f"Sample requires found <= drawn <= population, but found is {self.found}, drawn is {self.drawn} and "
                f"population is {self.population}"
            )


def bound_of_one_look(sample: Sample, confidence: float) -> int:
    """Return an upper bound on the number of relevant records in the population of a random sample.

    Use this bound only if the sample size was fixed beforehand, and compute it only once, at the end of the sample. In
    all other cases, use `bound_of_any_look`.

    The bound is the largest plausible number of relevant records. A number is plausible if a sample would contain at
    most ``sample.found`` of them with a probability above ``1 - confidence``. This is the exact hypergeometric
    counterpart of the one-sided limit of Clopper and Pearson (1934), doi:10.1093/biomet/26.4.404.
    """

    def excluded(unread: int) -> bool:
        chance = hypergeom.cdf(sample.found, sample.population, sample.found + unread, sample.drawn)
        return bool(chance <= (1 - confidence) * _TIE)

    # The probability falls as the number of relevant records grows, so bisection finds the largest number.
    return sample.found + _first(excluded, sample.population - sample.drawn + 1) - 1


def bound_of_any_look(sample: Sample, confidence: float) -> int:
    """Return an upper bound on the number of relevant records in the population of a random sample.

    The bound may be checked after each record of the sample. With probability ``confidence``, none of the bounds
    computed along the way is below the true number. Reading may therefore stop as soon as one bound is low enough.

    The method is the prior-posterior-ratio confidence sequence for sampling without replacement (Waudby-Smith and
    Ramdas 2020, arXiv:2006.04347, theorem 2.1). The prior gives K relevant records the weight 1 / ((K + 1) (K + 2)). It
    affects only how tight the bound is.
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
    """The result of applying a stopping rule to the records read so far.

    Attributes
    ----------
    stop
        Whether the target recall is reached with the target confidence.
    missed_at_most
        Upper bound on the number of relevant records that are unread.
    recall_at_least
        Lower bound on recall, computed as if ``missed_at_most`` relevant records were unread. ``None`` if no relevant
        record was found, and none can be unread.
    still_to_read
        Number of records to read until ``stop`` becomes true, if all of these records are irrelevant.
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
    """Apply the stopping rule to a random sample of unread records.

    Parameters
    ----------
    sample
        Progress in a random sample of all records that were unread when the sample was drawn.
    found_before
        Number of relevant records found before the sample was drawn.
    found_since
        Number of relevant records found since the sample was drawn, in the sample or elsewhere.
    recall, confidence
        Target recall and target confidence, between 0 and 1.
    bound
        Function that returns an upper bound on the number of relevant records in the population of the sample:
        `bound_of_any_look` or `bound_of_one_look`.

    Raises
    ------
    MechtagError
        If ``recall`` or ``confidence`` is not between 0 and 1.
    """
    check_shares(recall, confidence)
    found = found_before + found_since

    def missed(more: int) -> int:
        later = Sample(sample.population, sample.drawn + more, sample.found)
        return max(bound(later, confidence) - found_since, 0)

    return _verdict(missed, found, sample.population - sample.drawn, recall)


def judge_ranked(
    labels: NDArray[np.int64], total: int, *, recall: float, confidence: float, found_before: int = 0
) -> StoppingVerdict:
    """Apply a stopping rule to records that were read by rank, without a random sample.

    The rule is the test on ranked records of Callaghan and Müller-Hansen (2020), doi:10.1186/s13643-020-01521-4. For
    every ``n``, the last ``n`` records read are treated as a random sample of all records that were unread before. The
    smallest p-value counts. The rule assumes that the ranking is not worse than chance.

    The confidence is not guaranteed. Repeated tests make errors more likely, but a good ranking makes errors less
    likely. `docs/ranking.md` reports the measured error rate.

    If records were added to the review during reading, ``labels`` must contain only the records read since then. The
    records read earlier are not a sample of the records that are unread now.

    Parameters
    ----------
    labels
        Label of each record read, in reading order: ``1`` (relevant) or ``0`` (irrelevant).
    total
        Number of records of the review, without the records that were read before new records were added.
    found_before
        Number of relevant records found before new records were added; 0 if none were added.

    Raises
    ------
    MechtagError
        If ``recall`` or ``confidence`` is not between 0 and 1.
    """
    check_shares(recall, confidence)
    unread = total - len(labels)

    def missed(more: int) -> int:
        read = np.concatenate((labels, np.zeros(more, dtype=np.int64)))
        return _first(lambda least: ranked_p(read, total, least + 1) <= 1 - confidence, unread - more)

    return _verdict(missed, found_before + int(labels.sum()), unread, recall)


def too_many(found: int, recall: float) -> int:
    """Return the smallest number of unread relevant records with which recall is below its target.

    ``found`` is the number of relevant records that were read, and ``recall`` is the target.
    """
    return math.floor(found / recall - found + 1e-9) + 1


def ranked_p(labels: NDArray[np.int64], total: int, missed: int) -> float:
    """Return the p-value of the hypothesis that at least ``missed`` relevant records are unread.

    The hypothesis is tested on the last record read, on the last two records read, and so on. The smallest p-value is
    returned.

    Parameters
    ----------
    labels
        Decisions on the records that were read, in the order of reading: 1 for relevant, 0 for irrelevant.
    total
        Number of records, read and unread.
    """
    if missed > total - len(labels):
        return 0.0  # Fewer than that are left.
    # Among windows with the same number of relevant records, the longest has the smallest p-value, so only windows
    # that start right after a relevant record matter.
    window = np.append(np.flatnonzero(labels[::-1]), len(labels))
    found = np.arange(len(window))
    urn = total - len(labels) + window
    return float(hypergeom.cdf(found, urn, found + missed, window).min(initial=1.0))


def _verdict(missed: Callable[[int], int], found: int, unread: int, recall: float) -> StoppingVerdict:
    """Return the result of a stopping rule.

    ``missed(n)`` is an upper bound on the number of unread relevant records after ``n`` more records were read, all of
    them irrelevant.
    """

    def enough(more: int) -> bool:
        # Multiply rather than divide, because the number of relevant records may be 0.
        return found >= recall * (found + missed(more)) - 1e-9

    still = _first(enough, unread)
    exists = found + missed(0)
    return StoppingVerdict(still == 0, exists - found, found / exists if exists else None, still)


def _first(holds: Callable[[int], bool], last: int) -> int:
    """Return the smallest number from 0 to ``last - 1`` for which ``holds`` is true; ``last`` if there is none."""
    # ``holds`` must be monotone: false up to a number, and true from there on.
    return bisect_left(range(last), True, key=holds)
