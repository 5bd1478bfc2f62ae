"""Sections of ``simulation.json``: figures with intervals and p-values, selective prediction, ranking of evidence."""

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

# Steps of the curve.
_STEPS = 10


def confidence(judged: Judged) -> Array:
    """Measure how far each probability is from its threshold, as a share of the way to 0 or to 1.

    Returns
    -------
    ndarray, shape (papers, labels)
        0 at the threshold, 1 at certainty; NaN if the system has no probability or threshold.
    """
    room = np.where(judged.decided, 1 - judged.threshold, judged.threshold)
    distance = np.abs(judged.probability - judged.threshold)
    return np.asarray(np.divide(distance, room, out=np.ones_like(distance), where=room != 0))


def risk_by_coverage(judged: Judged) -> list[tuple[float, float, int]]:
    """Take the surest tenth of all judgements, then the surest two tenths, and so on to all of them.

    Judgements that are equally sure stay together, so a step can be wider. Geifman and
    El-Yaniv (2017) use the curve to choose what a classifier may decide.

    Returns
    -------
    list of (coverage, risk, judgements)
        Share of the judgements taken, share of those that is wrong, and their number; empty
        if the system has no probabilities.
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

# Enough to distinguish figures, and few enough to be the same on every machine.
_DECIMALS = 6


def pooled_section(judged: Judged, draws: Draws) -> dict[str, Any]:
    """Figures over all labels: ``papers``, ``pooled`` by figure, and what is undefined or was dropped."""
    figures = {name: found[0] for name, found in estimates(pooled_figures, judged, draws, PERMUTED).items()}
    judged_papers = int((~np.isnan(judged.truth)).any(axis=1).sum())
    figures["subset_accuracy"] = of_papers(figures["subset_accuracy"], judged_papers)
    return {"papers": len(judged.truth), "pooled": values(figures), **remarks(figures)}


def labels_section(judged: Judged, labels: Sequence[str], draws: Draws, min_positives: int) -> dict[str, Any]:
    """Figures of each label: counts always, figures only where enough papers carry the label."""
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
            note = f"too few: {support} of {papers} carry the label, {min_positives} are needed for figures"
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
    """Compute the interval of F1 from the share tp / (tp + fp + fn) of papers, of which it is a rising function."""
    if found.value is None:
        return found
    share = of_papers(replace(found, value=found.value / (2 - found.value)), papers)
    low, high = (None if end is None else 2 * end / (1 + end) for end in (share.ci_low, share.ci_high))
    return replace(share, value=found.value, ci_low=low, ci_high=high)


def coverage_risk(judged: Judged) -> list[dict[str, Any]]:
    """Points of `sections.risk_by_coverage` as the file has them."""
    return [
        {"coverage": rounded(coverage), "risk": rounded(risk), "judgements": count}
        for coverage, risk, count in risk_by_coverage(judged)
    ]


def rounded(number: float | None) -> float | None:
    """Round as all figures are; ``None`` for NaN, which JSON does not have."""
    return None if number is None or np.isnan(number) else round(number, _DECIMALS)


def values(figures: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Lay estimates out as the file has them: value, interval, p-value."""
    return {
        name: {
            "value": rounded(found.value),
            "ci_low": rounded(found.ci_low),
            "ci_high": rounded(found.ci_high),
            "p_value": rounded(found.p_value),
        }
        for name, found in figures.items()
    }


def remarks(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    """Say of which figures there is no value and why, and how many resamples an interval lacks."""
    found: dict[str, Any] = {}
    undefined = {name: UNDEFINED[name] for name, figure in figures.items() if figure.value is None}
    dropped = {name: figure.dropped for name, figure in figures.items() if figure.dropped and figure.value is not None}
    if undefined:
        found["undefined"] = undefined
    if dropped:
        found["dropped_resamples"] = dropped
    return found


@dataclass(frozen=True)
class Evidence:
    """How well sentences are ranked in each paper that carries a label, one entry a paper and label.

    Attributes
    ----------
    paper, label : ndarray of int, shape (pairs,)
    precision_at_1, average_precision : ndarray, shape (pairs,)
        Equal scores at the top count by the share of them that is right.
    chance : ndarray, shape (pairs,)
        Share of the paper's sentences that carry the label: both figures of a random order,
        the second nearly so.
    """

    paper: NDArray[np.int64]
    label: NDArray[np.int64]
    precision_at_1: Array
    average_precision: Array
    chance: Array


def rank_evidence(truth: Array, score: Array, owner: Sequence[int] | NDArray[np.int64]) -> Evidence:
    """Rank the sentences of each paper by score, label by label.

    Parameters
    ----------
    truth, score : ndarray, shape (sentences, labels)
        1 or 0, and the score.
    owner : sequence of int, length sentences
        Paper of each sentence; those of a paper stand together.

    Returns
    -------
    Evidence
        Only papers in which some sentence carries the label; those in which all do as well.
    """
    owners = np.asarray(owner)
    found: list[tuple[int, int, float, float, float]] = []
    for paper in np.unique(owners):
        rows = np.flatnonzero(owners == paper)
        for label in np.flatnonzero(truth[rows].any(axis=0)):
            carried, own = truth[rows, label], score[rows, label]
            top = own == own.max()
            _, average = ranking(own, carried[None], 1 - carried[None])
            found.append((int(paper), int(label), float(carried[top].mean()), float(average[0]), float(carried.mean())))
    table = np.array(found).reshape(-1, 5)
    return Evidence(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), *table[:, 2:].T)


def evidence_section(truth: Array, score: Array, owner: Sequence[int], draws: Draws) -> dict[str, Any]:
    """Mean precision at 1 and average precision over papers and labels, with intervals over papers."""
    evidence = rank_evidence(truth, score, owner)

    def means(weights: Array) -> dict[str, Array]:
        weight = weights[:, evidence.paper]
        names = ("precision_at_1", "average_precision", "chance")
        return {name: ratio((weight * getattr(evidence, name)).sum(axis=1), weight.sum(axis=1)) for name in names}

    figures = {name: found[0] for name, found in bootstrap(means, draws).items()}
    return {"papers_and_labels": len(evidence.paper), **values(figures), **remarks(figures)}
