"""Compute sections of ``metrics.json``: metrics with intervals, selective prediction, and the ranking of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechtag.core.arrays import Array
from mechtag.evaluation.agreement import ratio
from mechtag.evaluation.metrics import UNDEFINED, Judged, as_it_is, confusion, label_figures, pooled_figures, ranking
from mechtag.evaluation.resampling import Draws, Estimate, bootstrap, estimates, of_papers

# Number of steps of the risk-coverage curve.
_STEPS = 10


def confidence(judged: Judged) -> Array:
    """Return the confidence of each decision: how far its probability is from the threshold, from 0 to 1.

    Returns
    -------
    ndarray, shape (papers, labels)
        0 if the probability equals the threshold, 1 if the probability is 0 or 1, and linear in between. NaN if there
        is no probability or no threshold.
    """
    room = np.where(judged.decided, 1 - judged.threshold, judged.threshold)
    distance = np.abs(judged.probability - judged.threshold)
    return np.asarray(np.divide(distance, room, out=np.ones_like(distance), where=room != 0))


def risk_by_coverage(judged: Judged) -> list[tuple[float, float, int]]:
    """Compute the risk-coverage curve of selective prediction, in ten steps.

    Each step adds a tenth of the decisions, the most confident first. A step is larger if decisions are equally
    confident. Decisions without a human code are left out. The curve is defined in Geifman and El-Yaniv, *Selective
    Classification for Deep Neural Networks* (2017).

    Returns
    -------
    list of (coverage, risk, number)
        One entry per step. ``number`` is the number of decisions added so far, ``coverage`` is their proportion of all
        decisions, and ``risk`` is the proportion of them that are wrong. Empty if there are no probabilities.
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


PERMUTED = ("across_auc", "within_auc", "macro_f1", "micro_f1", "kappa")

# Enough decimals to distinguish values, and few enough to be the same on every machine.
_DECIMALS = 6


def pooled_section(judged: Judged, draws: Draws) -> dict[str, Any]:
    """Compute the section of the metrics file that covers all labels together.

    The section contains the number of ``papers`` that people judged for at least one label, the ``pooled`` metrics, and
    the `remarks` on these metrics.
    """
    figures = {name: found[0] for name, found in estimates(pooled_figures, judged, draws, PERMUTED).items()}
    judged_papers = int((~np.isnan(judged.truth)).any(axis=1).sum())
    figures["subset_accuracy"] = of_papers(figures["subset_accuracy"], judged_papers)
    return {"papers": judged_papers, "pooled": values(figures), **remarks(figures)}


def labels_section(judged: Judged, labels: Sequence[str], draws: Draws, min_positives: int) -> dict[str, Any]:
    """Compute the counts and metrics of single labels for the metrics file.

    Parameters
    ----------
    labels
        Keys of the labels, in the order of the columns of ``judged``.
    min_positives
        Minimum number of papers to which people assigned a label. A label with fewer papers gets a note instead of
        metrics.

    Returns
    -------
    dict
        Counts and metrics of each label, keyed by label.
    """
    figures = estimates(label_figures, judged, draws)
    tp, fp, fn, tn = (count[0] for count in confusion(judged, as_it_is(judged.truth)))
    section = {}
    for column, label in enumerate(labels):
        papers, support = int(tp[column] + fp[column] + fn[column] + tn[column]), int(tp[column] + fn[column])
        own = {name: found[column] for name, found in figures.items()}
        for name, hits_and_misses in (("precision", tp + fp), ("recall", tp + fn), ("specificity", tn + fp)):
            own[name] = of_papers(own[name], hits_and_misses[column])
        own["f1"] = _f1_of_papers(own["f1"], (tp + fp + fn)[column])
        note = None
        if support < min_positives:
            note = f"too few: {support} of {papers} have the label; metrics need {min_positives}"
            own = dict.fromkeys(own, Estimate(None, None, None, None, 0))
        seen = ~np.isnan(judged.truth[:, column])
        section[label] = {
            "papers": papers,
            "support": support,
            "prevalence": rounded(support / papers) if papers else None,
            "confusion": {
                "tp": int(tp[column]),
                "fp": int(fp[column]),
                "fn": int(fn[column]),
                "tn": int(tn[column]),
            },
            "referred": int((judged.referred[:, column] & seen).sum()),
            **values(own),
            **({"note": note} if note else remarks(own)),
        }
    return section


def _f1_of_papers(found: Estimate, papers: float) -> Estimate:
    """Return the estimate of an F1 score with a Wilson interval instead of its bootstrap interval.

    ``papers`` is the number of papers that are not true negatives.
    """
    if found.value is None:
        return found
    # F1 is an increasing function of tp / (tp + fp + fn), a proportion of papers, which has a Wilson interval.
    share = of_papers(replace(found, value=found.value / (2 - found.value)), papers)
    low, high = (None if end is None else 2 * end / (1 + end) for end in (share.ci_low, share.ci_high))
    return replace(share, value=found.value, ci_low=low, ci_high=high)


def coverage_risk(judged: Judged) -> list[dict[str, Any]]:
    """Return the points of the risk-coverage curve in the format of the metrics file; see `risk_by_coverage`."""
    return [
        {"coverage": rounded(coverage), "risk": rounded(risk), "judgements": count}
        for coverage, risk, count in risk_by_coverage(judged)
    ]


def rounded(number: float | None) -> float | None:
    """Round a value for the metrics file; return ``None`` for NaN, which JSON does not support."""
    return None if number is None or np.isnan(number) else round(number, _DECIMALS)


def intervals(figures: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Return the value and the interval of each metric, in the format of the metrics file."""
    return {
        name: {"value": rounded(found.value), "ci_low": rounded(found.ci_low), "ci_high": rounded(found.ci_high)}
        for name, found in figures.items()
    }


def values(figures: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Return the value, the interval and the p-value of each metric, in the format of the metrics file."""
    own = intervals(figures)
    return {name: own[name] | {"p_value": rounded(found.p_value)} for name, found in figures.items()}


def remarks(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    """Explain undefined metrics and excluded resamples, in the format of the metrics file.

    Returns
    -------
    dict
        The key ``undefined`` contains why metrics are undefined. The key ``dropped_resamples`` contains how many
        resamples were excluded from intervals. Both values are keyed by metric; an empty value is left out.
    """
    found: dict[str, Any] = {}
    undefined = {name: UNDEFINED[name] for name, figure in figures.items() if figure.value is None}
    dropped = {name: figure.dropped for name, figure in figures.items() if figure.dropped and figure.value is not None}
    if undefined:
        found["undefined"] = undefined
    if dropped:
        found["dropped_resamples"] = dropped
    return found


@dataclass(frozen=True)
class EvidenceRanking:
    """Quality of the rankings of sentences; there is one ranking for each pair of paper and label.

    Attributes
    ----------
    paper : ndarray of int, shape (pairs,)
        Index of the paper of each pair.
    label : ndarray of int, shape (pairs,)
        Index of the label of each pair.
    precision_at_1 : ndarray, shape (pairs,)
        Whether the first sentence has the label: 1 or 0. If several sentences tie for the first rank, the proportion of
        them that have the label.
    average_precision : ndarray, shape (pairs,)
        Average precision of each ranking.
    chance : ndarray, shape (pairs,)
        Proportion of the paper's sentences that have the label. In random order, this is the expected precision at 1,
        and about the expected average precision.
    """

    paper: NDArray[np.int64]
    label: NDArray[np.int64]
    precision_at_1: Array
    average_precision: Array
    chance: Array


def rank_evidence(truth: Array, score: Array, owner: Sequence[int] | NDArray[np.int64]) -> EvidenceRanking:
    """Measure how well scores rank the sentences of each paper, separately for each label.

    Parameters
    ----------
    truth, score : ndarray, shape (sentences, labels)
        Human codes (1, 0, or NaN for not judged) and scores of the sentences.
    owner : sequence of int, length sentences
        Index of the paper of each sentence; the sentences of a paper are consecutive.

    Returns
    -------
    EvidenceRanking
        One entry per pair of paper and label. Labels that no sentence of the paper has are left out.
    """
    owners = np.asarray(owner)
    found: list[tuple[int, int, float, float, float]] = []
    for paper in np.unique(owners):
        rows = np.flatnonzero(owners == paper)
        for label in np.flatnonzero((truth[rows] == 1).any(axis=0)):
            carried, own = truth[rows, label], score[rows, label]
            top = own == own.max()
            _, average = ranking(own, carried[None], 1 - carried[None])
            found.append((int(paper), int(label), float(carried[top].mean()), float(average[0]), float(carried.mean())))
    table = np.array(found).reshape(-1, 5)
    return EvidenceRanking(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), *table[:, 2:].T)


def evidence_section(truth: Array, score: Array, owner: Sequence[int], draws: Draws) -> dict[str, Any]:
    """Compute precision at 1 and average precision of the ranking of evidence, with bootstrap intervals.

    Each paper is paired with each of its labels. Both metrics are means over all pairs.
    """
    evidence = rank_evidence(truth, score, owner)

    def means(weights: Array) -> dict[str, Array]:
        weight = weights[:, evidence.paper]
        names = ("precision_at_1", "average_precision", "chance")
        return {name: ratio((weight * getattr(evidence, name)).sum(axis=1), weight.sum(axis=1)) for name in names}

    figures = {name: found[0] for name, found in bootstrap(means, draws).items()}
    return {"papers_and_labels": len(evidence.paper), **values(figures), **remarks(figures)}
