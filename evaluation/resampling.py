"""Compute bootstrap intervals and permutation p-values of metrics by resampling papers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from mechtag.core.arrays import Array
from mechtag.evaluation.metrics import BIASED, Judged, Resamples

Statistic = Callable[[Judged, Resamples], Mapping[str, Array]]
# Function from a stack of weights, shape (resamples, papers), to metrics: (resamples,) or (resamples, labels).
Figures = Callable[[Array], Mapping[str, Array]]

CONFIDENCE = 0.95

# Maximum of papers x labels x resamples in memory at once: about 30 MB per array.
_BLOCK = 4_000_000

# Metrics that are proportions of judgements. If all resamples have the same proportion, such as 0 or 1, the interval is
# computed by `of_papers`, because a bootstrap interval would have no width.
_PROPORTIONS = frozenset(
    "hamming_loss referred subset_accuracy yes_right no_right yes_found kept lost hard_yes easy_yes precision recall"
    " specificity precision_at_1 agreement changed"
    " agreement_without agreement_with yes_without yes_with shared".split()
)

# Tolerance for ties: sums of the same numbers in a different order may differ in the last digits.
_TIE = 1e-12
# Number of papers looked at together when they are counted, which bounds the memory.
_PAPERS_AT_ONCE = 256


@dataclass(frozen=True)
class Draws:
    """Random resamples and permutations of the papers; several systems can be evaluated on the same draws.

    Attributes
    ----------
    weights
        Number of times that each paper was drawn, shape (resamples, papers). Each row sums to the number of papers.
        For metrics of sentences, the shape is (resamples, sentences), and each sentence counts as often as its paper
        was drawn. Rows then need not sum to the number of papers.
    orders
        Permutations of the papers, shape (permutations, papers). If column ``i`` of a row contains the number ``j``,
        paper ``i`` gets the codes of paper ``j``.
    papers
        Number of papers in the sample.
    """

    weights: Array
    orders: NDArray[np.int64]
    papers: int


def draw_resamples(papers: int, bootstrap: int, permutations: int, generator: np.random.Generator) -> Draws:
    """Draw ``bootstrap`` samples of the papers with replacement, and ``permutations`` random orders of the papers."""
    weights = generator.multinomial(papers, np.full(papers, 1 / papers), size=bootstrap).astype(float)
    orders = generator.permuted(np.tile(np.arange(papers), (permutations, 1)), axis=1)
    return Draws(weights, orders, papers)


@dataclass(frozen=True)
class Estimate:
    """The value of a metric in the sample, with its bootstrap interval and permutation p-value.

    Attributes
    ----------
    value
        Value of the metric; ``None`` if the metric is undefined in the sample, or was not computed.
    ci_low, ci_high
        Ends of the 95% interval. They are ``None`` if the metric was not computed; if it is undefined in more than half
        of the resamples; or if all resamples have the same value and the metric is not a proportion.
    p_value
        Permutation p-value; ``None`` if there was no permutation test.
    dropped
        Number of resamples in which the metric is undefined. The interval excludes these resamples.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    dropped: int


def tail(papers: int) -> float:
    """Return the proportion of resamples to cut off at each end of a 95% interval; it is below 2.5%.

    Cutting off 2.5% would make the interval too short, for two reasons. First, the standard deviation of resamples of n
    papers is too small by the factor sqrt((n - 1) / n). Second, normal quantiles are smaller than Student's t
    quantiles. See Hesterberg (2015, doi:10.1080/00031305.2015.1089789, section 5.3.1).
    """
    if papers < 2:
        return 0.0
    reach = np.sqrt(papers / (papers - 1)) * stats.t.ppf((1 + CONFIDENCE) / 2, papers - 1)
    return float(stats.norm.cdf(-reach))


def interval(resampled: Array, papers: int) -> tuple[float | None, float | None, int]:
    """Return a 95% percentile interval of a metric, and the number of resamples where the metric is undefined.

    Resamples where the metric is undefined are ignored. If more than half of all resamples are ignored, both ends of
    the interval are ``None``. The percentiles of the ends are below 2.5 and above 97.5; `tail` explains why.

    Parameters
    ----------
    resampled
        Value of the metric in each resample; NaN where the metric is undefined.
    papers
        Number of papers in the sample.

    Returns
    -------
    tuple
        Lower end, upper end, and number of undefined resamples.
    """
    defined = resampled[~np.isnan(resampled)]
    dropped = len(resampled) - len(defined)
    if dropped > len(defined):
        return None, None, dropped
    outside = tail(papers)
    low, high = np.quantile(defined, [outside, 1 - outside])
    return float(low), float(high), dropped


def corrected_interval(value: float, resampled: Array, papers: int) -> tuple[float | None, float | None, int]:
    """Return a bias-corrected interval of a metric between 0 and 1, for metrics whose resamples are biased upwards.

    The interval is computed on the logit scale. Its centre is the value in the sample minus the bias. The bias is the
    mean of the resamples minus the value in the sample. The distance from the centre to each end is Student's t times
    the standard deviation of the resamples.

    Average precision needs this correction (see `BIASED`). If a paper is drawn twice, it ranks next to its duplicate,
    so resamples have higher values than the sample. Likewise, the value in the sample is higher than the value in a
    large sample would be.

    Parameters
    ----------
    value
        Value of the metric in the sample.
    resampled, papers
        See `interval`.

    Returns
    -------
    tuple
        Lower end, upper end, and number of undefined resamples.
    """
    low, high, dropped = interval(resampled, papers)
    if low is None or low == high:
        return low, high, dropped
    logits = _logit(resampled[~np.isnan(resampled)])
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, papers - 1) * logits.std(ddof=1) * np.sqrt(papers / (papers - 1))
    centre = 2 * _logit(np.array(value)) - logits.mean()
    low, high = expit([centre - reach, centre + reach]).tolist()
    return low, high, dropped


def _logit(share: Array) -> Array:
    """Convert proportions to finite log odds."""
    # The log odds of 0 and 1 are infinite.
    return np.asarray(logit(np.clip(share, 0.001, 0.999)))


def of_papers(found: Estimate, papers: float) -> Estimate:
    """Return an estimate of a proportion of papers, with its bootstrap interval replaced by the Wilson (1927) interval.

    If the proportion is 0 or 1, it is the same in every resample, so a bootstrap interval would have no width.

    Parameters
    ----------
    papers
        Denominator of the proportion.
    """
    if found.value is None or papers <= 0:
        return found
    hits = round(found.value * papers)
    low, high = stats.binomtest(hits, round(papers)).proportion_ci(CONFIDENCE, method="wilson")
    return replace(found, ci_low=float(low), ci_high=float(high), dropped=0)


def permutation_p(value: float | None, null: Array) -> float | None:
    """Return the one-sided p-value of a metric for which higher values are better.

    The p-value is (1 + b) / (1 + n). Here, n is the number of permutations where the metric is defined. In b of these
    permutations, the metric is at least ``value``. See Phipson and Smyth (2010), doi:10.2202/1544-6115.1585.

    Parameters
    ----------
    value
        Value of the metric; ``None`` if the metric is undefined.
    null
        Value of the metric in each permutation; NaN where the metric is undefined.
    """
    null = null[~np.isnan(null)]
    if value is None or not len(null):
        return None
    return float((1 + np.sum(null >= value - _TIE)) / (1 + len(null)))


def exchange_p(statistic: Statistic, first: Judged, second: Judged, exchanged: Array) -> dict[str, float | None]:
    """Compute two-sided p-values of the differences between two systems that judged the same papers.

    The method is approximate randomisation (Noreen 1989, "Computer-intensive methods for testing hypotheses"). In each
    of many repetitions, the two systems' judgements of randomly chosen papers are swapped, and the metrics are computed
    again. The p-value is the proportion of repetitions in which the difference is at least as large as without
    swapping; `permutation_p` gives the exact formula.

    Scores are first replaced by their ranks within each system and label, because the systems may use different scales.

    Parameters
    ----------
    statistic
        Function that computes metrics with one value per resample.
    exchanged
        Whether the judgements of each paper are swapped (1) or not (0), shape (repetitions, papers).

    Returns
    -------
    dict
        P-values, keyed by the name of the metric; ``None`` if the difference is undefined on these papers.
    """
    joined = Judged(
        *(
            np.concatenate([getattr(one, field.name) for one in (_ranked(first), _ranked(second))])
            for field in fields(Judged)
        )
    )
    # A row that counts 0 times is absent, so a set of weights chooses one of the two judgements of each paper.
    rows = np.vstack([np.zeros((1, exchanged.shape[1])), exchanged])
    one = resample(statistic, joined, np.hstack([1 - rows, rows]))
    other = resample(statistic, joined, np.hstack([rows, 1 - rows]))
    found: dict[str, float | None] = {}
    for name in one:
        gaps = np.abs(other[name] - one[name])
        found[name] = permutation_p(None if np.isnan(gaps[0]) else float(gaps[0]), gaps[1:])
    return found


def _ranked(judged: Judged) -> Judged:
    return replace(judged, score=stats.rankdata(judged.score, axis=0))


def _blocks(count: int, truth: Array) -> Iterator[slice]:
    size = max(1, _BLOCK // truth.size)
    for start in range(0, count, size):
        yield slice(start, start + size)


def _collect(statistic: Statistic, judged: Judged, samples: Iterator[Resamples]) -> dict[str, Array]:
    parts = [statistic(judged, sample) for sample in samples]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def resample(statistic: Statistic, judged: Judged, weights: Array) -> dict[str, Array]:
    """Compute metrics in each resample of the papers.

    Parameters
    ----------
    weights
        Number of times that each paper was drawn, shape (resamples, papers).

    Returns
    -------
    dict
        Values of each metric, keyed by its name. Their shape is (resamples,) or (resamples, labels).
    """
    blocks = _blocks(len(weights), judged.truth)
    return _collect(statistic, judged, (Resamples(weights[rows], judged.truth[None]) for rows in blocks))


def estimates(
    statistic: Statistic, judged: Judged, draws: Draws, permuted: tuple[str, ...] = ()
) -> dict[str, list[Estimate]]:
    """Compute metrics with bootstrap intervals and, for some metrics, permutation p-values.

    A permutation shuffles the rows of codes among the papers. This preserves label frequencies and co-occurrences, but
    removes every relation between texts and codes.

    Parameters
    ----------
    statistic
        Function that computes metrics for many resamples at once. Each metric has the shape (resamples,) or (resamples,
        labels).
    permuted
        Names of the metrics for which a p-value is computed.

    Returns
    -------
    dict
        List of estimates for each metric, keyed by the name of the metric. The list has one estimate per label, in the
        order of the labels. For a metric over all labels, the list has only one estimate.
    """
    result = bootstrap(partial(resample, statistic, judged), draws, BIASED)
    if permuted:
        everyone = np.ones((1, len(judged.truth)))
        blocks = _blocks(len(draws.orders), judged.truth)
        null = _collect(statistic, judged, (Resamples(everyone, judged.truth[draws.orders[rows]]) for rows in blocks))
        for name in permuted:
            columns = null[name].reshape(len(null[name]), -1).T
            result[name] = [
                replace(found, p_value=permutation_p(found.value, column))
                for found, column in zip(result[name], columns, strict=True)
            ]
    return result


def bootstrap(figures: Figures, draws: Draws, biased: Collection[str] = ()) -> dict[str, list[Estimate]]:
    """Compute metrics of the sample with bootstrap intervals.

    Parameters
    ----------
    figures
        Function that computes metrics. Its argument is the number of times that each paper was drawn, shape (resamples,
        papers). Its result contains each metric with the shape (resamples,) or (resamples, columns). A column is a
        label, for example.
    biased
        Names of the metrics whose interval is computed by `corrected_interval`.

    Returns
    -------
    dict
        List of estimates for each metric, keyed by the name of the metric: one estimate per column.
    """
    weights, papers = draws.weights, draws.papers
    whole, drawn = figures(np.ones((1, weights.shape[1]))), figures(weights)
    result = {}
    for name, values in whole.items():
        columns = []
        for value, resampled in zip(np.atleast_1d(values[0]), drawn[name].reshape(len(weights), -1).T, strict=True):
            if name in biased:
                low, high, dropped = corrected_interval(value, resampled, papers)
            else:
                low, high, dropped = interval(resampled, papers)
            columns.append(Estimate(None if np.isnan(value) else float(value), low, high, None, dropped))
        result[name] = columns
    if any(found.value is not None and found.ci_low == found.ci_high for found in chain(*result.values())):
        contributing = _contributing(figures, weights.shape[1])
        for name, columns in result.items():
            result[name] = [
                _widened(found, name, int(count)) for found, count in zip(columns, contributing[name], strict=True)
            ]
    return result


def _contributing(figures: Figures, papers: int) -> dict[str, Array]:
    """Count the papers that contribute to each metric.

    A paper contributes if the metric is defined for a sample of this paper alone.
    """
    counts: dict[str, Array] = {}
    for start in range(0, papers, _PAPERS_AT_ONCE):
        alone = figures(np.eye(min(_PAPERS_AT_ONCE, papers - start), papers, start))
        for name, values in alone.items():
            counts[name] = counts.get(name, 0) + (~np.isnan(values.reshape(len(values), -1))).sum(axis=0)
    return counts


def _widened(found: Estimate, name: str, papers: int) -> Estimate:
    """Replace an interval of width 0 by a Wilson interval, or remove it if the metric is not a proportion."""
    if found.value is None or found.ci_low is None or found.ci_low != found.ci_high:
        return found
    # An interval of width 0 would wrongly suggest that the value is exact.
    widened = of_papers(found, papers) if name in _PROPORTIONS else found
    return replace(found, ci_low=None, ci_high=None) if widened.ci_low == widened.ci_high else widened
