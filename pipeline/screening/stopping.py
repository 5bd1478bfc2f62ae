"""When to stop reading: whether enough of the relevant records have been found, with stated confidence.

The rule: read by rank until relevant records become rare (`sample_due`), then read a random sample of
what is unread, in an order drawn once. From the sample comes an upper bound on the relevant records
that were unread when it was drawn, and reading may stop when what has been found is at least the wanted
share of what can exist. The bound holds at every look together, so one may look after each record.
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

# Relevant records are rare when so many in a row were irrelevant: 100, or 5% of all where that is more.
# This only starts the sample, it is no reason to stop. Earlier, the sample must be larger, for more is
# left to find; later, reading by rank is spent on nothing. How it was chosen: docs/ranking.md.
_RUN, _RUN_SHARE = 100, 0.05
# What is as likely as allowed counts as no likelier, whatever the last digits say.
_TIE = 1 + 1e-9


def sample_due(labels: NDArray[np.int64], total: int) -> int | None:
    """Give the number of records read by rank when the sample falls due; ``None`` while it is not.

    Parameters
    ----------
    labels
        1 and 0 in the order of reading.
    total
        Records of the review.
    """
    wanted = max(_RUN, math.ceil(_RUN_SHARE * total))
    places = np.flatnonzero(labels) + 1
    starts = np.concatenate(([0], places))
    ends = np.concatenate((places - 1, [len(labels)]))
    long = np.flatnonzero(ends - starts >= wanted)
    return int(starts[long[0]]) + wanted if len(long) else None


def check_shares(recall: float, confidence: float) -> None:
    """Raise `MechtagError` unless both lie between 0 and 1, which are excluded."""
    for name, value in (("recall", recall), ("confidence", confidence)):
        if not 0 < value < 1:
            raise MechtagError(f"{name} {value:g} is out of range; give a share above 0 and below 1, such as 0.95")


@dataclass(frozen=True)
class Sample:
    """How far a random sample of unread records has been read.

    Attributes
    ----------
    population
        Unread records when the sample was drawn.
    drawn
        Records of it read in the order drawn, without a gap from the first.
    found
        Relevant ones among those ``drawn``.
    """

    population: int
    drawn: int
    found: int

    def __post_init__(self) -> None:
        if not 0 <= self.found <= self.drawn <= self.population:
            raise ValueError(f"{self.found} found of {self.drawn} drawn of {self.population}")


def bound_of_one_look(sample: Sample, confidence: float) -> int:
    """Largest number of relevant records in the population that the sample does not rule out, at one look.

    The exact hypergeometric counterpart of Clopper and Pearson's (1934) one-sided limit,
    doi:10.1093/biomet/26.4.404: the largest K for which as few as ``found`` are drawn with a
    probability above ``1 - confidence``. It holds where size and time of the sample were fixed before.
    """
    possible = np.arange(sample.found, sample.population - sample.drawn + sample.found + 1)
    chance = hypergeom.cdf(sample.found, sample.population, possible, sample.drawn)
    return int(possible[chance > (1 - confidence) * _TIE][-1])


def bound_of_any_look(sample: Sample, confidence: float) -> int:
    """Give the same bound for someone who looks as often as they like, and stops when they like the answer.

    With probability ``confidence`` no bound of the whole course of one sample is below the truth.
    Confidence sequence for sampling without replacement by the ratio of prior to posterior,
    Waudby-Smith and Ramdas (2020), arXiv:2006.04347, theorem 2.1. The prior only decides how tight
    the bound is: it gives K relevant records the weight 1 / ((K + 1) (K + 2)), half of it to none.
    """
    possible = np.arange(sample.found, sample.population - sample.drawn + sample.found + 1)
    ways = _log_choose(possible, sample.found) + _log_choose(sample.population - possible, sample.drawn - sample.found)
    likelihood = np.exp(ways - ways.max())  # A factor that all share cancels below.
    prior = 1 / ((possible + 1.0) * (possible + 2.0))
    prior_of_all = 1 - 1 / (sample.population + 2)
    mixture = np.sum(prior * likelihood) / prior_of_all
    return int(possible[likelihood > (1 - confidence) * mixture * _TIE][-1])


def _log_choose(of: NDArray[np.int64], chosen: int) -> NDArray[np.float64]:
    logarithm: NDArray[np.float64] = gammaln(of + 1) - gammaln(of - chosen + 1) - gammaln(chosen + 1)
    return logarithm


@dataclass(frozen=True)
class Verdict:
    """What a rule says of the reading so far.

    Attributes
    ----------
    stop
        Whether the wanted recall is reached with the wanted confidence.
    missed_at_most
        Relevant records among those unread.
    recall_at_least
        What has been found as a share of what can exist; ``None`` where that is nothing.
    still_to_read
        Records to read until ``stop``, if none of them is relevant.
    """

    stop: bool
    missed_at_most: int
    recall_at_least: float | None
    still_to_read: int


Bound = Callable[[Sample, float], int]


def judge(
    sample: Sample,
    found_before: int,
    found_since: int,
    *,
    recall: float,
    confidence: float,
    bound: Bound = bound_of_any_look,
) -> Verdict:
    """Judge by a random sample.

    Parameters
    ----------
    sample
        Drawn from all that was unread at its time.
    found_before
        Relevant records found until then.
    found_since
        Relevant records found since, in the sample or elsewhere.
    bound
        On the relevant records in the population; `bound_of_one_look` for a sample of a size
        fixed beforehand, at whose end alone one looks.

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


def judge_ranked(labels: NDArray[np.int64], total: int, *, recall: float, confidence: float) -> Verdict:
    """Judge by reading by rank alone, which supposes that the ranking is no worse than chance.

    Callaghan and Müller-Hansen (2020), doi:10.1186/s13643-020-01521-4, their test on ranked records: the
    last records read are taken for a random sample of all that was unread before them, for every
    length of that window, and the window that speaks most clearly counts. So the confidence is no
    guarantee: looking at many windows, and at many times, makes errors likelier, and a ranking that
    beats chance makes them rarer; `docs/ranking.md` says what came of it.

    Parameters
    ----------
    labels
        1 and 0 in the order of reading.
    total
        Records of the review.

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
    """Give the smallest number of missed records with which ``found`` is less than ``recall`` of all."""
    return math.floor(found / recall - found + 1e-9) + 1


def ranked_p(labels: NDArray[np.int64], total: int, missed: int) -> float:
    """Smallest chance, over windows of the last records read, of so few finds if ``missed`` were still unread."""
    if missed > total - len(labels):
        return 0.0  # So many are not left.
    # Of windows with as many finds the longest speaks most clearly, so only those count that end before a find.
    window = np.append(np.flatnonzero(labels[::-1]), len(labels))
    found = np.arange(len(window))
    urn = total - len(labels) + window
    return float(hypergeom.cdf(found, urn, found + missed, window).min(initial=1.0))


def _verdict(missed: Callable[[int], int], found: int, unread: int, recall: float) -> Verdict:
    """Judge by an upper bound on missed records, given for any number of further records without a find."""

    def enough(more: int) -> bool:
        # Multiplied, not divided, for where nothing exists nothing is missed.
        return found >= recall * (found + missed(more)) - 1e-9

    still = _first(enough, unread)
    exists = found + missed(0)
    return Verdict(still == 0, exists - found, found / exists if exists else None, still)


def _first(holds: Callable[[int], bool], last: int) -> int:
    """Smallest number from 0 to ``last`` for which something holds that, once it holds, goes on holding."""
    return bisect_left(range(last), True, key=holds)
