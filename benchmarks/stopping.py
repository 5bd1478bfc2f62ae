"""Measure how often stopping rules reach the promised recall in replayed reviews, and how much reading they save."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.publish import ROOT, publish, result
from benchmarks.screening import REVIEWS, SEED, order_of, review
from mechtag.pipeline.screening.simulation import Labels, Stopped, stop_by_rank, stop_by_sample
from mechtag.pipeline.screening.stopping import bound_of_one_look, too_many

COMMAND = "python -m benchmarks.stopping"
_TEXT = (ROOT / "benchmarks/stopping.md").read_text(encoding="utf-8")
_TARGETS = ((0.95, 0.95), (0.9, 0.95), (0.95, 0.8))
# Number of replays of each reading, each with a different sample and different records that the ranking misses.
_DRAWS = 10


def _by_rank(labels: Labels, generator: np.random.Generator, *, recall: float, confidence: float) -> Stopped:
    return stop_by_rank(labels, recall=recall, confidence=confidence)


RULES: dict[str, Callable[..., Stopped]] = {
    "sample": stop_by_sample,
    "ranked": _by_rank,
    "sample, bound of one look": partial(stop_by_sample, bound=bound_of_one_look),
}


def misplace(labels: Labels, recall: float, generator: np.random.Generator) -> Labels:
    """Move relevant records to the end of the reading order, so that a reader who stops before the end misses them.

    Just enough records are moved to make such a reader miss the target recall. This is the hardest case for a stopping
    rule: if fewer records were moved, the recall would still be reached, and if more records were moved, a rule would
    be more likely to notice them.

    Parameters
    ----------
    labels
        Label of each record in reading order, 1 for relevant. The first two records are known beforehand and not moved.
    recall
        Proportion of the relevant records to find.

    Returns
    -------
    ndarray
        The labels in the new order.
    """
    relevant = np.flatnonzero(labels[2:]) + 2  # The first two were known beforehand.
    total = int(labels.sum())
    least = next(count for count in range(1, total) if too_many(total - count, recall) <= count)
    moved = generator.choice(relevant, size=least, replace=False)
    return np.concatenate((np.delete(labels, moved), labels[moved]))


def _results(runs: int) -> Iterator[dict[str, Any]]:
    for recall, confidence in _TARGETS:
        for broken in (False, True):
            ranking = "some relevant records ranked last" if broken else "as ranked"
            for rule, stop in RULES.items():
                stops = []
                for name in REVIEWS:
                    for run in range(runs):
                        read = review(name)[2][order_of("mechtag", name, run)]
                        # The ranked rule on the original ranking involves no random draw.
                        for draw in range(_DRAWS if broken or rule != "ranked" else 1):
                            generator = np.random.default_rng((SEED, run, draw))
                            labels = misplace(read, recall, generator) if broken else read
                            stops.append(stop(labels, generator, recall=recall, confidence=confidence))
                reached = binomtest(sum(found.recall >= recall - 1e-9 for found in stops), len(stops))
                interval = reached.proportion_ci(method="wilson")
                ends = (float(interval.low), float(interval.high))
                dataset, system = f"recall {recall:g}, confidence {confidence:g}; {ranking}", f"rule {rule}"
                yield result(dataset, system, "reached", float(reached.statistic), ends, len(stops))
                for metric in ("recall", "work_saved"):
                    values = [getattr(found, metric) for found in stops]
                    yield result(dataset, system, metric.replace("_", " "), float(np.mean(values)), runs=len(stops))
                yield result(dataset, system, "replays", len(stops))


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay the stopping rules on the reading orders of `benchmarks.screening`, and publish the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="reading orders per review; see benchmarks.screening")
    runs = parser.parse_args(arguments).runs
    publish("stopping", f"{COMMAND} --runs {runs}", list(_results(runs)), _TEXT, versions=("scipy",))


if __name__ == "__main__":
    main()
