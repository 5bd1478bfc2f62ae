"""Measure how much decisions change when the texts of papers are varied slightly (invariance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mechtag.core.arrays import Array
from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import Estimate, bootstrap, draw_resamples, of_papers
from mechtag.evaluation.sections import values
from mechtag.pipeline.reading.text.variations import AS_IT_IS, VARIATIONS

_CLEAR = {"yes", "no"}


def invariance_section(
    predictions: Mapping[str, Sequence[Prediction]],
    label_keys: Sequence[str],
    relevance_key: str,
    resamples: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Measure how decisions change when the texts of papers are varied.

    Parameters
    ----------
    predictions
        Predictions, keyed by variation. The predictions with the key ``AS_IT_IS`` are those for the original texts;
        they must include all papers.

    Returns
    -------
    dict
        A dict for each variation, keyed by the name of the variation. A cell is the decision on one label of one paper.
        The keys of the dict are:

        - ``papers``: number of papers whose text the variation changes.
        - ``cells``: number of cells of these papers.
        - ``changed_cells``, ``changed``: number and proportion of cells whose decision changes.
        - ``mean_change``: mean change of the probability.
        - ``relevance_changed``: number of papers whose decision on relevance changes.
        - ``relevance_reversed``: number of papers whose decision on relevance is reversed (yes to no, or no to yes).

        If a variation changes no paper, the counts are 0, and ``changed`` and ``mean_change`` have no value.

    Raises
    ------
    MechtagError
        If predictions for the original texts are missing; if predictions of a variation lack a paper or a label; or if
        the name of a variation is unknown.
    """
    wrong = [name for name in predictions if name != AS_IT_IS and name not in VARIATIONS]
    if wrong or AS_IT_IS not in predictions:
        fault = (
            f"no variation is called {' or '.join(map(repr, wrong))}" if wrong else f"the table '{AS_IT_IS}' is missing"
        )
        raise MechtagError(
            f"predictions for varied texts: {fault}. Each table must be named after a variation "
            f"({', '.join(VARIATIONS)}), except '{AS_IT_IS}', the table for the original texts. Run 'mechtag "
            "variations' again"
        )
    base = System(AS_IT_IS, predictions[AS_IT_IS])
    return {
        name: _compare(base, System(name, rows), rows, label_keys, relevance_key, resamples, generator)
        for name in VARIATIONS
        if (rows := predictions.get(name)) is not None
    }


def _compare(
    base: System,
    varied: System,
    rows: Sequence[Prediction],
    label_keys: Sequence[str],
    relevance_key: str,
    resamples: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    papers = list(dict.fromkeys(row.record_id for row in rows))
    pairs = [[(base.row(paper, label), varied.row(paper, label)) for label in label_keys] for paper in papers]
    relevance = [(base.row(paper, relevance_key), varied.row(paper, relevance_key)) for paper in papers]
    changed = np.array([[one.decision != other.decision for one, other in line] for line in pairs], dtype=float)
    moved = np.array([[_distance(one, other) for one, other in line] for line in pairs])
    return {
        "papers": len(papers),
        "cells": len(papers) * len(label_keys),
        "changed_cells": int(changed.sum()),
        **values(_figures(changed, moved, resamples, generator)),
        "relevance_changed": sum(one.decision != other.decision for one, other in relevance),
        "relevance_reversed": sum({one.decision, other.decision} == _CLEAR for one, other in relevance),
    }


def _distance(one: Prediction, other: Prediction) -> float:
    if one.probability is None or other.probability is None:
        return np.nan
    return abs(one.probability - other.probability)


def _figures(changed: Array, moved: Array, resamples: int, generator: np.random.Generator) -> dict[str, Estimate]:
    """Compute how decisions change under one variation of the texts, with intervals from a bootstrap over papers."""
    papers = len(changed)
    if not papers:
        return dict.fromkeys(("changed", "mean_change"), Estimate(None, None, None, None, 0))
    by_paper = {"changed": changed.mean(axis=1), "mean_change": moved.mean(axis=1)}

    def means(weights: Array) -> dict[str, Array]:
        return {name: weights @ own / papers for name, own in by_paper.items()}

    found = {name: one[0] for name, one in bootstrap(means, draw_resamples(papers, resamples, 0, generator)).items()}
    if found["changed"].value in (0, 1):
        # A proportion of 0 or 1 is the same in every resample, so the interval is computed as for a proportion
        # of papers, because there are fewer papers than cells.
        found["changed"] = of_papers(found["changed"], papers)
    return {name: replace(one, p_value=None) for name, one in found.items()}
