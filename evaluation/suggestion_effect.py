"""Estimate whether people's codes change when they see the suggestions of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechtag.core.arrays import Array
from mechtag.evaluation.agreement import ratio
from mechtag.evaluation.resampling import Draws, Estimate, bootstrap
from mechtag.evaluation.sections import intervals

#: Names of the two groups of codes: given without a suggestion in view, and with a suggestion in view.
GROUPS = ("without", "with")


@dataclass(frozen=True)
class ComparedCodes:
    """Human codes, each with the decision (yes or no) of a model on the same label of the same record.

    Each array has one entry per code.

    Attributes
    ----------
    record, label
        Index of the record, and index of the label.
    code
        ``1`` for yes, ``0`` for no, any other number for *needs review*, which never agrees with the model.
    suggested
        Decision of the model: ``1`` for yes, ``0`` for no.
    seen
        Whether the coder saw the suggestion (the decision of the model) before coding.
    """

    record: NDArray[np.int64]
    label: NDArray[np.int64]
    code: Array
    suggested: Array
    seen: NDArray[np.bool_]


def effect_section(codes: ComparedCodes, labels: Sequence[str], draws: Draws, least: int) -> dict[str, Any]:
    """Compare codes assigned after seeing a model's suggestion with codes assigned without a suggestion.

    Parameters
    ----------
    labels
        Keys of the labels, in the order of the indices in ``codes.label``.
    draws
        Resamples of the records, in the order of the indices in ``codes.record``.
    least
        Minimum number of codes of each kind, with and without a suggestion. A label with too few codes of one kind gets
        a note instead of metrics.

    Returns
    -------
    dict
        ``all`` contains the metrics over all labels, and ``labels`` contains the metrics of each label, keyed by label.
        The metrics are listed below. ``_with`` stands for codes with a suggestion, ``_without`` for codes without one.

        - ``n_with``, ``n_without``: number of codes
        - ``agreement_with``, ``agreement_without``: proportion of codes that agree with the model
        - ``yes_with``, ``yes_without``: proportion of codes that are yes
        - ``agreement_change``, ``yes_change``: proportion with a suggestion minus proportion without a suggestion
    """
    shape = (draws.weights.shape[1], len(labels), len(GROUPS))
    cell = np.ravel_multi_index((codes.record, codes.label, codes.seen.astype(np.int64)), shape)
    parts = (np.ones(len(codes.code)), codes.code == codes.suggested, codes.code == 1)
    sums = [np.bincount(cell, part, int(np.prod(shape))).reshape(shape) for part in parts]
    counts = np.stack(sums, axis=-1)
    # Records are resampled, and not codes, because the codes of a record are not independent.
    own = bootstrap(lambda drawn: _figures(np.einsum("br,rlgk->blgk", drawn, counts)), draws)
    pooled = bootstrap(lambda drawn: _figures(np.einsum("br,rgk->bgk", drawn, counts.sum(axis=1))), draws)
    numbers = counts[..., 0].sum(axis=0)
    section = {
        label: _described({name: columns[column] for name, columns in own.items()}, numbers[column], least)
        for column, label in enumerate(labels)
    }
    whole = _described({name: columns[0] for name, columns in pooled.items()}, numbers.sum(axis=0), least)
    return {"all": whole, "labels": section}


def _figures(sums: Array) -> dict[str, Array]:
    # The last axis of `sums` has the number of codes, of codes that agree with the model, and of yes codes; the axis
    # before it has the groups.
    shares = {"agreement": ratio(sums[..., 1], sums[..., 0]), "yes": ratio(sums[..., 2], sums[..., 0])}
    return {
        f"{name}_{group}": share[..., place] for name, share in shares.items() for place, group in enumerate(GROUPS)
    } | {f"{name}_change": share[..., 1] - share[..., 0] for name, share in shares.items()}


def _described(figures: dict[str, Estimate], numbers: Array, least: int) -> dict[str, Any]:
    section: dict[str, Any] = {f"n_{group}": int(number) for group, number in zip(GROUPS, numbers, strict=True)}
    if numbers.min() < least:
        counts = f"{int(numbers[0])} codes without a suggestion and {int(numbers[1])} with one"
        return section | {"note": f"too few: {counts}; a comparison needs {least} of each"}
    return section | intervals(figures)
