"""What to settle first: codes on which people differ, and codes that a confident model contradicts."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from evaluation.agreement import Array
from evaluation.coders import Coders
from evaluation.sections import rounded

DIFFER = "coders differ"
CONTRADICTED = "the model is confident of the other code"


def confident_errors(code: Array, probability: Array) -> Array:
    """Tell how sure a model is that a code is wrong, for codes that are likely errors.

    Confident learning (Northcutt, Jiang and Chuang 2021, doi:10.1613/jair.1.12125): a code is doubted
    where the model, out of fold, gives the other code at least the probability that it gives it, on
    average, to items which carry it. What a model is sure of is thus measured by the model itself, and
    one that is timid or bold throughout doubts no more codes for it.

    Parameters
    ----------
    code
        Shape (items,): 1, 0, or NaN for none, which is never doubted.
    probability
        Shape (items,): of a yes; NaN where the model gives none.

    Returns
    -------
    numpy.ndarray
        Shape (items,): probability of the other code where the code is doubted, else 0.
    """
    yes, no = (code == 1) & ~np.isnan(probability), (code == 0) & ~np.isnan(probability)
    doubt = np.zeros(len(code))
    if not yes.any() or not no.any():
        return doubt
    doubted_no = no & (probability >= probability[yes].mean())
    doubted_yes = yes & (1 - probability >= (1 - probability[no]).mean())
    doubt[doubted_no] = probability[doubted_no]
    doubt[doubted_yes] = 1 - probability[doubted_yes]
    return doubt


def disagreement(codes: Array) -> Array:
    """Share of the pairs of coders who differ; 0 where fewer than two judged.

    Parameters
    ----------
    codes
        Shape (coders, ...).
    """
    pairs = [(codes[one], codes[two]) for one, two in combinations(range(len(codes)), 2)]
    both = sum((~np.isnan(one) & ~np.isnan(two) for one, two in pairs), np.zeros(codes.shape[1:]))
    differ = sum((np.abs(one - two) == 1 for one, two in pairs), np.zeros(codes.shape[1:]))
    return np.asarray(differ / np.maximum(both, 1))


def to_adjudicate(coders: Coders, least: int) -> list[dict[str, Any]]:
    """List the codes to settle first, the most pressing first.

    The score is 1 where all pairs of coders differ, or the share of the pairs that do; where nobody
    differs, it is the probability that the model gives the other code, and only codes that
    `confident_errors` doubts are listed. Among equals, papers with more codes to settle come first, so
    that a paper is read once.

    Parameters
    ----------
    coders
        The model's probabilities must come from models that had not seen the records.
    least
        A label with fewer records that anybody coded yes is not doubted: the model cannot know it.
    """
    people = coders.codes[: coders.people]
    split = disagreement(people)
    highest = np.where(np.isnan(people), -1, people).max(axis=0, initial=-1)
    agreed = np.where((split == 0) & (highest >= 0), highest, np.nan)
    doubt = np.zeros(split.shape)
    for column in range(len(coders.labels)):
        if (people[:, :, column] == 1).any(axis=0).sum() >= least:
            doubt[:, column] = confident_errors(agreed[:, column], coders.probability[:, column])
    score = np.maximum(split, doubt)
    open_codes = (score > 0).sum(axis=1)
    found = sorted(np.argwhere(score > 0).tolist(), key=lambda place: (-score[tuple(place)], -open_codes[place[0]]))
    return [_entry(coders, row, column, score[row, column], bool(split[row, column])) for row, column in found]


def _entry(coders: Coders, row: int, column: int, score: float, differ: bool) -> dict[str, Any]:
    codes = {
        name: int(coders.codes[place, row, column])
        for place, name in enumerate(coders.names[: coders.people])
        if not np.isnan(coders.codes[place, row, column])
    }
    return {
        "record_id": coders.records[row],
        "key": coders.keys[row],
        "label": coders.labels[column],
        "reason": DIFFER if differ else CONTRADICTED,
        "score": rounded(float(score)),
        "codes": codes,
        "probability": rounded(float(coders.probability[row, column])),
    }
