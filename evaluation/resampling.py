"""Bootstrap intervals over papers, and permutation p-values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.agreement import Array
from evaluation.metrics import Judged, Resamples, as_it_is

Statistic = Callable[[Judged, Resamples], Mapping[str, Array]]

# Papers times labels times resamples held at once: some 30 MB an array.
_BLOCK = 4_000_000

# Sums of the same numbers in another order may differ in the last digits.
_TIE = 1e-12


@dataclass(frozen=True)
class Draws:
    """The random part of the resampling, drawn once so that all systems are judged on the same resamples.

    Attributes
    ----------
    weights
        Bootstrap, shape (resamples, papers): how often each paper was drawn; rows sum to the papers.
    orders
        Permutation, shape (permutations, papers): whose coding each paper is given.
    """

    weights: Array
    orders: NDArray[np.int64]


def draw(papers: int, bootstrap: int, permutations: int, generator: np.random.Generator) -> Draws:
    """Draw papers with replacement, and orders of papers."""
    weights = generator.multinomial(papers, np.full(papers, 1 / papers), size=bootstrap).astype(float)
    orders = generator.permuted(np.tile(np.arange(papers), (permutations, 1)), axis=1)
    return Draws(weights, orders)


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap interval and permutation p-value.

    Attributes
    ----------
    value
        ``None`` where the figure has no meaning in the sample.
    ci_low, ci_high
        Percentile interval, 95%; ``None`` where most resamples were dropped.
    p_value
        ``None`` where the figure was not permuted.
    dropped
        Resamples in which the figure had no meaning; they are not in the interval.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    dropped: int


def interval(resampled: Array) -> tuple[float | None, float | None, int]:
    """Take the 2.5% and 97.5% points, and count the undefined resamples left out of them.

    No interval is given where more than half of the resamples are undefined, for what is
    left then says more about the resamples than about the papers.
    """
    defined = resampled[~np.isnan(resampled)]
    dropped = len(resampled) - len(defined)
    if dropped > len(defined):
        return None, None, dropped
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high), dropped


def permutation_p(value: float, null: Array) -> float | None:
    """Share of permutations at least as good, the sample itself counted as one: (1 + b) / (1 + n).

    Phipson and Smyth (2010), doi:10.2202/1544-6115.1585. One-sided: more is better.
    """
    null = null[~np.isnan(null)]
    if np.isnan(value) or not len(null):
        return None
    return float((1 + np.sum(null >= value - _TIE)) / (1 + len(null)))


def _blocks(count: int, truth: Array) -> Iterator[slice]:
    size = max(1, _BLOCK // truth.size)
    for start in range(0, count, size):
        yield slice(start, start + size)


def _collect(statistic: Statistic, judged: Judged, samples: Iterator[Resamples]) -> dict[str, Array]:
    parts = [statistic(judged, sample) for sample in samples]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def resampled(statistic: Statistic, judged: Judged, draws: Draws) -> dict[str, Array]:
    """Compute figures in every bootstrap resample: (resamples,) or (resamples, labels)."""
    return _collect(
        statistic,
        judged,
        (Resamples(draws.weights[rows], judged.truth[None]) for rows in _blocks(len(draws.weights), judged.truth)),
    )


def estimates(
    statistic: Statistic, judged: Judged, draws: Draws, permuted: tuple[str, ...] = ()
) -> dict[str, list[Estimate]]:
    """Compute figures with bootstrap intervals and, for some, permutation p-values.

    A permutation gives each paper the whole coding of another, which keeps how often labels
    are carried and which go together, and cuts every tie between texts and codes.

    Parameters
    ----------
    statistic
        Gives each figure for a stack of resamples: (resamples,) or (resamples, labels).
    permuted
        Figures that get a p-value.

    Returns
    -------
    dict
        By figure: one estimate, or one a label in the order of the columns.
    """
    values = statistic(judged, as_it_is(judged.truth))
    boot = resampled(statistic, judged, draws)
    null = {}
    if permuted:
        everyone = np.ones((1, len(judged.truth)))
        null = _collect(
            statistic,
            judged,
            (
                Resamples(everyone, judged.truth[draws.orders[rows]])
                for rows in _blocks(len(draws.orders), judged.truth)
            ),
        )
    result = {}
    for name, value in values.items():
        columns = []
        for column, single in enumerate(np.atleast_1d(value[0])):
            low, high, dropped = interval(boot[name].reshape(len(boot[name]), -1)[:, column])
            p_value = None
            if name in permuted:
                p_value = permutation_p(single, null[name].reshape(len(null[name]), -1)[:, column])
            columns.append(Estimate(None if np.isnan(single) else float(single), low, high, p_value, dropped))
        result[name] = columns
    return result
