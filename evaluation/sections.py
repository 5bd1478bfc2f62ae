"""Sections of ``metrics.json``: metrics with intervals and p-values, selective prediction, evidence ranking."""

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
    """Return the distance of each probability from its threshold, as a share of the distance to 0 or 1.

    Returns
    -------
    ndarray, shape (papers, labels)
        0 at the threshold, 1 at certainty; NaN if the system has no probability or threshold.
    """
    room = np.where(judged.decided, 1 - judged.threshold, judged.threshold)
    distance = np.abs(judged.probability - judged.threshold)
    return np.asarray(np.divide(distance, room, out=np.ones_like(distance), where=room != 0))


def risk_by_coverage(judged: Judged) -> list[tuple[float, float, int]]:
    """Return the risk-coverage curve of selective prediction, in steps of a tenth of all judgements.

    The most confident judgements come first. Judgements with equal confidence stay together, so a step
    can be wider. Geifman and El-Yaniv (2017) use the curve to choose what a classifier may decide.

    Returns
    -------
    list of (coverage, risk, judgements)
        Share of judgements included, share of those that are wrong, and their number; empty if the system
        has no probabilities.
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
    """Return metrics over all labels: ``papers``, ``pooled`` by metric, and what is undefined or was dropped."""
    figures = {name: found[0] for name, found in estimates(pooled_figures, judged, draws, PERMUTED).items()}
    judged_papers = int((~np.isnan(judged.truth)).any(axis=1).sum())
    figures["subset_accuracy"] = of_papers(figures["subset_accuracy"], judged_papers)
    return {"papers": len(judged.truth), "pooled": values(figures), **remarks(figures)}


def labels_section(judged: Judged, labels: Sequence[str], draws: Draws, min_positives: int) -> dict[str, Any]:
    """Return counts of each label, and metrics if enough papers have the label."""
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
    """Compute the interval of F1 from that of the share tp / (tp + fp + fn) of papers, by the monotone relation."""
    if found.value is None:
        return found
    share = of_papers(replace(found, value=found.value / (2 - found.value)), papers)
    low, high = (None if end is None else 2 * end / (1 + end) for end in (share.ci_low, share.ci_high))
    return replace(share, value=found.value, ci_low=low, ci_high=high)


def coverage_risk(judged: Judged) -> list[dict[str, Any]]:
    """Return the points of `risk_by_coverage` as written to the file."""
    return [
        {"coverage": rounded(coverage), "risk": rounded(risk), "judgements": count}
        for coverage, risk, count in risk_by_coverage(judged)
    ]


def rounded(number: float | None) -> float | None:
    """Round a value for the file; return ``None`` for NaN, which JSON does not have."""
    return None if number is None or np.isnan(number) else round(number, _DECIMALS)


def values(figures: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Return estimates as written to the file: value, interval, p-value."""
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
    """Return the reasons for undefined metrics, and the number of resamples excluded from each interval."""
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
    """Ranking of sentences in each paper that has a label, one entry per paper and label.

    Attributes
    ----------
    paper, label : ndarray of int, shape (pairs,)
    precision_at_1, average_precision : ndarray, shape (pairs,)
        Ties at the top count by the share of them that are right.
    chance : ndarray, shape (pairs,)
        Share of the paper's sentences with the label: the expected precision at 1 of a random order, and
        nearly its expected average precision.
    """

    paper: NDArray[np.int64]
    label: NDArray[np.int64]
    precision_at_1: Array
    average_precision: Array
    chance: Array


def rank_evidence(truth: Array, score: Array, owner: Sequence[int] | NDArray[np.int64]) -> EvidenceRanking:
    """Rank the sentences of each paper by score, label by label.

    Parameters
    ----------
    truth, score : ndarray, shape (sentences, labels)
        1 or 0, and the score.
    owner : sequence of int, length sentences
        Paper of each sentence; sentences of a paper are consecutive.

    Returns
    -------
    EvidenceRanking
        Only papers in which at least one sentence has the label; papers in which all have it are included.
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
    return EvidenceRanking(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), *table[:, 2:].T)


def evidence_section(truth: Array, score: Array, owner: Sequence[int], draws: Draws) -> dict[str, Any]:
    """Return mean precision at 1 and mean average precision over papers and labels, with intervals over papers."""
    evidence = rank_evidence(truth, score, owner)

    def means(weights: Array) -> dict[str, Array]:
        weight = weights[:, evidence.paper]
        names = ("precision_at_1", "average_precision", "chance")
        return {name: ratio((weight * getattr(evidence, name)).sum(axis=1), weight.sum(axis=1)) for name in names}

    figures = {name: found[0] for name, found in bootstrap(means, draws).items()}
    return {"papers_and_labels": len(evidence.paper), **values(figures), **remarks(figures)}
