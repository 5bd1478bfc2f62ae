"""People and the model side by side: how far each two of them agree, and all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from evaluation.agreement import Array, many_coders, tallies, two_coders
from evaluation.coders import Coders
from evaluation.resampling import Draws, Estimate, bootstrap
from evaluation.sections import remarks, rounded

_CELLS = ("both_yes", "only_a", "only_b", "both_no")
_NO_FIGURE = Estimate(None, None, None, None, 0)


def cells_of(first: Array, second: Array) -> Array:
    """Tell for each item which of the four cells of the table of two coders it falls into.

    Parameters
    ----------
    first, second
        Any one shape: 1, 0, or NaN for not judged; items that one of them did not judge are in no cell.

    Returns
    -------
    numpy.ndarray
        Shape (4, ...): 1 in the item's cell (both yes, only the first, only the second, both no), else 0.
    """
    pairs = ((1, 1), (1, 0), (0, 1), (0, 0))
    return np.stack([((first == one) & (second == two)).astype(float) for one, two in pairs])


def pair_section(cells: Array, labels: Sequence[str], relevance_key: str, draws: Draws, least: int) -> dict[str, Any]:
    """Lay out how far two coders agree.

    Parameters
    ----------
    cells
        Shape (4, records, labels): items of each record in each cell of `cells_of`.
    labels
        The pooled figures leave relevance out: it is another question, and is answered for every record.
    least
        Items that at least one of the two must have coded yes, for a label to get figures.
    """
    own = [column for column, label in enumerate(labels) if label != relevance_key]

    def by_label(drawn: Array) -> Mapping[str, Array]:
        return two_coders(*np.einsum("br,crl->cbl", drawn, cells))

    def pooled(drawn: Array) -> Mapping[str, Array]:
        return two_coders(*np.einsum("br,cr->cb", drawn, cells[:, :, own].sum(axis=2)))

    counts = cells.sum(axis=1)
    figures = bootstrap(by_label, draws)
    section = {}
    for column, label in enumerate(labels):
        found = {name: columns[column] for name, columns in figures.items()}
        section[label] = {**_counted(counts[:, column]), **_or_too_few(found, counts[:3, column].sum(), least)}
    whole = {name: columns[0] for name, columns in bootstrap(pooled, draws).items()}
    return {"labels": section, "pooled": {**_counted(counts[:, own].sum(axis=1)), **_laid_out(whole)}}


def pooled_pair(cells: Array, draws: Draws, least: int) -> dict[str, Any]:
    """Lay out how far two coders agree over all items, or say that too few were coded yes.

    Parameters
    ----------
    cells
        Shape (4, records): items of each record in each cell of `cells_of`.
    """
    counts = cells.sum(axis=1)
    found = bootstrap(lambda drawn: two_coders(*np.einsum("br,cr->cb", drawn, cells)), draws)
    figures = {name: columns[0] for name, columns in found.items()}
    return {**_counted(counts), **_or_too_few(figures, counts[:3].sum(), least)}


def all_section(codes: Array, labels: Sequence[str], relevance_key: str, draws: Draws, least: int) -> dict[str, Any]:
    """Lay out how far any number of coders agree, over all labels but relevance, and label by label.

    Parameters
    ----------
    codes
        Shape (coders, records, labels).
    """
    own = [column for column, label in enumerate(labels) if label != relevance_key]
    counted = tallies(codes)
    by_label = bootstrap(lambda drawn: many_coders(np.einsum("br,crl->cbl", drawn, counted)), draws)
    pooled = bootstrap(lambda drawn: many_coders(np.einsum("br,cr->cb", drawn, counted[:, :, own].sum(axis=2))), draws)
    section = {}
    for column, label in enumerate(labels):
        found = {name: columns[column] for name, columns in by_label.items()}
        positives = int((codes[:, :, column] == 1).any(axis=0).sum())
        items = {"n": int((~np.isnan(codes[:, :, column])).any(axis=0).sum())}
        section[label] = {**items, **_or_too_few(found, positives, least)}
    return {**_laid_out({name: columns[0] for name, columns in pooled.items()}), "labels": section}


def pairs_of(coders: Coders) -> Iterator[tuple[int, int, str]]:
    """Give each two coders who judged something both, and what kind of pair they are: people first."""
    found = [
        (one, two, "human-model" if two >= coders.people else "human-human")
        for one, two in combinations(range(len(coders.names)), 2)
        if (~np.isnan(coders.codes[one]) & ~np.isnan(coders.codes[two])).any()
    ]
    yield from sorted(found, key=lambda pair: pair[2])


def agreement_section(coders: Coders, relevance_key: str, draws: Draws, least: int) -> dict[str, Any]:
    """Lay out all pairs of coders, and all coders together, without the model and with it.

    Parameters
    ----------
    coders
        Records and their coders.
    """
    section: dict[str, Any] = {
        "records": len(coders.records),
        "coders": [
            {"name": name, "kind": "human" if place < coders.people else "model"}
            for place, name in enumerate(coders.names)
        ],
        "pairs": [
            {
                "a": coders.names[one],
                "b": coders.names[two],
                "kind": kind,
                "unit": "records",
                **pair_section(
                    cells_of(coders.codes[one], coders.codes[two]), coders.labels, relevance_key, draws, least
                ),
            }
            for one, two, kind in pairs_of(coders)
        ],
        "all": {},
    }
    groups = {"humans": coders.codes[: coders.people], **({"with_model": coders.codes} if coders.model else {})}
    for name, codes in groups.items():
        if len(codes) >= 2:
            section["all"][name] = all_section(codes, coders.labels, relevance_key, draws, least)
    return section


def _counted(cells: Array) -> dict[str, int]:
    return {"n": int(cells.sum()), **{name: int(count) for name, count in zip(_CELLS, cells, strict=True)}}


def _or_too_few(figures: dict[str, Estimate], positives: float, least: int) -> dict[str, Any]:
    if positives >= least:
        return _laid_out(figures)
    note = f"too few: {int(positives)} coded yes by anyone, {least} are needed for figures"
    return {**_laid_out(dict.fromkeys(figures, _NO_FIGURE), explained=True), "note": note}


def _laid_out(figures: Mapping[str, Estimate], explained: bool = False) -> dict[str, Any]:
    parts = {
        name: {"value": rounded(found.value), "ci_low": rounded(found.ci_low), "ci_high": rounded(found.ci_high)}
        for name, found in figures.items()
    }
    return {**parts, **({} if explained else remarks(figures))}
