"""Sections of ``metrics.json``: figures with intervals, p-values, and why some are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.metrics import UNDEFINED, Judged, as_it_is, confusion, label_figures, pooled_figures
from evaluation.resampling import Draws, Estimate, estimates, of_papers
from evaluation.selective import risk_by_coverage

PERMUTED = ("across_auc", "within_auc", "macro_f1", "micro_f1", "kappa")

# Enough to tell figures apart, and few enough to be the same on every machine.
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
    """Give F1 its interval by the share tp / (tp + fp + fn) of papers, of which it is a rising function."""
    if found.value is None:
        return found
    share = of_papers(replace(found, value=found.value / (2 - found.value)), papers)
    low, high = (None if end is None else 2 * end / (1 + end) for end in (share.ci_low, share.ci_high))
    return replace(share, value=found.value, ci_low=low, ci_high=high)


def coverage_risk(judged: Judged) -> list[dict[str, Any]]:
    """Points of `evaluation.selective.risk_by_coverage` as the file has them."""
    return [
        {"coverage": rounded(coverage), "risk": rounded(risk), "judgements": count}
        for coverage, risk, count in risk_by_coverage(judged)
    ]


def rounded(number: float | None) -> float | None:
    """Round as all figures are; ``None`` for what is no number, since JSON has no NaN."""
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
