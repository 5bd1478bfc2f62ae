"""Choose the papers to code next, so that few codes improve the model as much as possible."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal, NamedTuple

import numpy as np

from mechtag.core.arrays import Array, Index, Mask
from mechtag.core.records import Prediction
from mechtag.core.words import counted

Reason = Literal["label", "random"]

#: Reasons for which papers are chosen in turn: one paper in five is drawn at random.
TURNS: tuple[Reason, ...] = ("label", "label", "label", "label", "random")


class Choice(NamedTuple):
    """A paper to code, and the reason for choosing it.

    Attributes
    ----------
    row
        Index of the paper in the arrays of `Papers`.
    reason
        ``label`` if the paper probably has the label with the fewest examples, ``random`` if it was drawn at random.
    label
        Index of the label with the fewest examples, or ``None`` if the paper was drawn at random.
    """

    row: int
    reason: Reason
    label: int | None = None


@dataclass(frozen=True)
class Papers:
    """The papers found by a search: their probabilities, and which of them are coded.

    Attributes
    ----------
    relevance : ndarray, shape (n_papers,)
        Probability that each paper is relevant.
    labels : ndarray, shape (n_papers, n_labels)
        Probability that each paper has each label, given that the paper is relevant. It is 0 for a label that was not
        scored.
    coded : ndarray of bool, shape (n_papers,)
        Whether each paper is coded.
    order : ndarray of int, shape (n_papers,)
        Indices of all papers in a random order. `choose` draws the first uncoded paper in this order. As long as the
        order stays the same, the coded papers at the beginning of the order are a random sample of the search.
    """

    relevance: Array
    labels: Array
    coded: Mask
    order: Index


def papers_of(
    predictions: Mapping[str, Mapping[str, Prediction]], coded: Set[str], all_keys: Sequence[str], seed: int
) -> Papers:
    """Return the papers of a search, in the order in which ``predictions`` lists them.

    Parameters
    ----------
    predictions
        Predictions for relevance and for all labels, keyed by record id and then by label.
    coded
        Ids of the coded records.
    all_keys
        Key of relevance, followed by the keys of the labels.
    seed
        Seed of the random order `Papers.order`. This order depends only on the seed and the record ids.
    """
    relevance, *labels = all_keys

    def drawn(record_id: str) -> str:
        return hashlib.sha256(f"{seed} {record_id}".encode()).hexdigest()

    names, found = list(predictions), list(predictions.values())
    return Papers(
        relevance=np.array([own[relevance].probability or 0.0 for own in found]),
        labels=np.array([[own[key].given_relevant or 0.0 for key in labels] for own in found]),
        coded=np.array([name in coded for name in names]),
        order=np.array(sorted(range(len(names)), key=lambda row: drawn(names[row]))),
    )


def choose(papers: Papers, examples: Array, count: int, turns: Sequence[Reason] = TURNS) -> list[Choice]:
    """Choose up to ``count`` uncoded papers to code next.

    There are two reasons to choose a paper:

    - ``label``: The paper is the one that most probably has the label with the fewest examples.
    - ``random``: The paper is the next one in a fixed random order.

    When a paper is chosen, the probability that it has a label is added to the number of examples of this label.

    Parameters
    ----------
    examples : ndarray, shape (n_labels,)
        Number of papers that are coded with each label, in this search or elsewhere.
    turns
        Reasons in the order in which they are used. After the last reason, the first reason is used again.

    Returns
    -------
    list of Choice
        The chosen papers, in the order in which people should code them.
    """
    joint = papers.relevance[:, None] * papers.labels
    counts, free = examples.astype(np.float64), ~papers.coded
    chosen: list[Choice] = []
    for reason in islice(cycle(turns), min(count, int(free.sum()))):
        if reason == "label":
            label = int(counts.argmin())
            choice = Choice(int(np.where(free, joint[:, label], -np.inf).argmax()), reason, label)
        else:
            choice = Choice(int(papers.order[free[papers.order]][0]), reason)
        chosen.append(choice)
        free[choice.row] = False
        counts += joint[choice.row]
    return chosen


def explain(choice: Choice, papers: Papers, examples: Array, names: Sequence[str]) -> str:
    """Return the reason why a paper was chosen, in words.

    Parameters
    ----------
    examples
        Number of coded papers with each label, in the order of the labels.
    names
        Name of each label, in the same order.
    """
    if choice.label is None:
        return "drawn at random"
    known = counted(int(examples[choice.label]), "coded paper")
    chance = papers.relevance[choice.row] * papers.labels[choice.row, choice.label]
    return f"few examples of {names[choice.label]} ({known}); probability for this paper: {chance:.2f}"
