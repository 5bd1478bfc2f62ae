"""Measure whether people who assign the same label to a record also mark the same sentences as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from mechtag.core.arrays import Array
from mechtag.core.words import counted
from mechtag.evaluation.agreement import alpha_from_coincidences, ratio, tallies
from mechtag.evaluation.resampling import Draws, Estimate, bootstrap
from mechtag.evaluation.sections import intervals


class Marks(NamedTuple):
    """Sentences that people marked as evidence for one label in one record.

    Only people who assigned the label to the record are included.

    Attributes
    ----------
    record, label
        Index of the record, and index of the label.
    sentences
        One set per person: the numbers of the sentences that this person marked, counted from 0. No set is empty.
    length
        Number of sentences of the record.
    """

    record: int
    label: int
    sentences: tuple[set[int], ...]
    length: int


def evidence_agreement(marks: Sequence[Marks], labels: Sequence[str], draws: Draws, least: int) -> dict[str, Any]:
    """Compute the agreement of people on the sentences that they marked, per label and over all labels.

    Parameters
    ----------
    marks
        One entry per pair of record and label.
    labels
        Keys of the labels; ``Marks.label`` is an index of this sequence.
    draws
        Resamples of the records; ``Marks.record`` is the index of a record in the resamples.
    least
        Minimum number of entries of ``marks`` for a label. A label with fewer entries gets a note instead of metrics.
        The metrics over all labels need the same number of entries in total.

    Returns
    -------
    dict
        The metrics over all labels (``all``), and the metrics of each label (``labels``, keyed by label):

        - ``n``: number of entries of ``marks``.
        - ``shared``: proportion of pairs of people who marked a common sentence, averaged over the entries.
        - ``krippendorff_alpha``: Krippendorff's alpha over all sentences.
    """
    # Number of marks, sum of the proportions of pairs that share a sentence, and the three coincidences of `tallies`.
    terms = np.zeros((draws.weights.shape[1], len(labels), 5))
    for each in marks:
        pairs = list(combinations(each.sentences, 2))
        codes = np.array([[float(number in own) for number in range(each.length)] for own in each.sentences])
        coincidences = tallies(codes)[4:].sum(axis=1)
        shared = float(np.mean([bool(one & other) for one, other in pairs]))
        terms[each.record, each.label] += (1, shared, *coincidences)
    own = bootstrap(lambda drawn: _figures(np.einsum("br,rlk->blk", drawn, terms)), draws)
    pooled = bootstrap(lambda drawn: _figures(np.einsum("br,rk->bk", drawn, terms.sum(axis=1))), draws)
    numbers = terms[..., 0].sum(axis=0)
    section = {
        label: _described({name: columns[column] for name, columns in own.items()}, int(numbers[column]), least)
        for column, label in enumerate(labels)
        if numbers[column]
    }
    whole = _described({name: columns[0] for name, columns in pooled.items()}, int(numbers.sum()), least)
    return {"all": whole, "labels": section}


def _figures(sums: Array) -> dict[str, Array]:
    number, shared, no_no, mixed, yes_yes = np.moveaxis(sums, -1, 0)
    coincidences = np.stack([np.stack([no_no, mixed], -1), np.stack([mixed, yes_yes], -1)], -1)
    return {"shared": ratio(shared, number), "krippendorff_alpha": alpha_from_coincidences(coincidences)}


def _described(figures: dict[str, Estimate], number: int, least: int) -> dict[str, Any]:
    if number < least:
        return {
            "n": number,
            "note": f"too few: {counted(number, 'item')} with sentences marked by several people; metrics need {least}",
        }
    return {"n": number} | intervals(figures)
