"""Whether the sentences shown as evidence are those that people coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.agreement import Array, ratio
from evaluation.metrics import ranking
from evaluation.resampling import Draws, bootstrap
from evaluation.sections import remarks, values


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
