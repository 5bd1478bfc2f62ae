"""Compare people and models as coders of the same records, and list the disagreements to resolve first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mechtag.core.arrays import Array
from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding, is_llm
from mechtag.core.words import counted
from mechtag.evaluation.agreement import many_coders, tallies, two_coders
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import Draws, Estimate, bootstrap
from mechtag.evaluation.sections import intervals, remarks, rounded

# Name of the model among the coders.
MODEL = "mechtag"
#: Kind of a coder: a person, a language model that was prompted, or the model.
Kind = Literal["human", "llm", "model"]


@dataclass(frozen=True)
class Coders:
    """The codes of several coders.

    Attributes
    ----------
    names
        Names of the coders: people, then language models, each in the order in which they first appear. If the model is
        included, it is last.
    model : bool
        Whether the last coder is the model.
    keys
        The coders' own identifier of each record; ``None`` if there is none.
    records
        Id of each record. If the id is unknown, the coders' own identifier.
    labels
        Relevance, followed by the labels in codebook order.
    codes : ndarray, shape (coders, records, labels)
        1 for yes, 0 for no, NaN where the coder did not judge. A decision of the model that needs review counts as 1
        if the probability reaches the threshold, otherwise as 0.
    probability : ndarray, shape (records, labels)
        Probabilities of the model; NaN if the model is not included or has no probability.
    """

    names: tuple[str, ...]
    model: bool
    records: tuple[str, ...]
    keys: tuple[str | None, ...]
    labels: tuple[str, ...]
    codes: Array
    probability: Array

    @property
    def llms(self) -> int:
        """Return the number of language models among the coders; ``names`` lists them after the people."""
        return sum(map(is_llm, self.names))

    @property
    def people(self) -> int:
        """Return the number of coders who are people; in ``names``, people come first."""
        return len(self.names) - self.model - self.llms

    def kind(self, coder: int) -> Kind:
        """Return the kind of a coder: ``human``, ``llm`` for a language model, or ``model`` for the trained model."""
        if coder < self.people:
            return "human"
        return "llm" if coder < self.people + self.llms else "model"

    def only(self, rows: NDArray[np.bool_]) -> Coders:
        """Return the codes for only those records for which the mask ``rows`` is true."""
        return replace(
            self,
            records=tuple(name for name, kept in zip(self.records, rows, strict=True) if kept),
            keys=tuple(key for key, kept in zip(self.keys, rows, strict=True) if kept),
            codes=self.codes[:, rows],
            probability=self.probability[rows],
        )

    def of_several(self) -> Coders:
        """Return the codes for only those records that two or more people coded.

        If no record was coded by several people, the codes for all records are returned.
        """
        judged = ~np.isnan(self.codes[: self.people]).all(axis=2)
        several = judged.sum(axis=0) >= 2
        return self.only(several) if several.any() else self


def coders_of(
    codings: Iterable[Coding], labels: Sequence[str], place: str, ids: Mapping[str, str] | None = None
) -> Coders:
    """Convert the codings of any number of people and language models to arrays.

    Parameters
    ----------
    labels
        Keys of the labels: relevance, followed by the labels in codebook order.
    place
        Name of the source of the codings, for error messages.
    ids
        Record ids, keyed by ``key`` of the codings. They are needed only for papers whose record id is in none of the
        codings.

    Raises
    ------
    MechtagError
        In these cases:

        - A coding has no record id, and its ``key`` belongs to two records.
        - A coder gave two different codes to one label of one record.
        - A coder has the name that is reserved for the model.
    """
    rows = list(codings)
    found = _record_ids(rows) | dict(ids or {})
    values: dict[tuple[str, str, str], int | None] = {}
    keys: dict[str, str | None] = {}
    for row in rows:
        name = row.record_id or _look_up(found, row.key or "", place)
        keys[name] = keys.get(name) or row.key
        if values.get((row.coder, name, row.label), row.value) != row.value:
            raise MechtagError(
                f"{place}: coder {row.coder} coded label '{row.label}' twice for record {name}, with different values; "
                "keep one of the two codings"
            )
        values[row.coder, name, row.label] = row.value
    # Sorting keeps the order within each kind.
    names = tuple(sorted(dict.fromkeys(coder for coder, _, _ in values), key=is_llm))
    if MODEL in names:
        raise MechtagError(f"{place}: the coder name '{MODEL}' is reserved for the model; rename this coder")
    codes = np.array(
        [[[_number(values.get((coder, name, label))) for label in labels] for name in keys] for coder in names]
    ).reshape(len(names), len(keys), len(labels))
    nothing = np.full((len(keys), len(labels)), np.nan)
    return Coders(names, False, tuple(keys), tuple(keys.values()), tuple(labels), codes, nothing)


# Marks a key shared by two records.
_AMBIGUOUS = ""


def _record_ids(rows: Sequence[Coding]) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows:
        if row.key and row.record_id:
            found[row.key] = row.record_id if found.get(row.key, row.record_id) == row.record_id else _AMBIGUOUS
    return found


def _look_up(ids: Mapping[str, str], key: str, place: str) -> str:
    name = ids.get(key, key)
    if name == _AMBIGUOUS:
        raise MechtagError(
            f"{place}: the key '{key}' belongs to two records; fill in 'record_id' in the rows with this key"
        )
    return name


def _number(value: int | None) -> float:
    return np.nan if value is None else float(value)


def with_model(coders: Coders, system: System) -> Coders:
    """Add the model as one more coder of all records, and return the result.

    Raises
    ------
    MechtagError
        If the predictions lack a record or a label.
    """
    empty = np.full((len(coders.records), len(coders.labels)), np.nan)
    judged = system.judged(coders.records, coders.labels, empty)
    return replace(
        coders,
        names=(*coders.names, MODEL),
        model=True,
        codes=np.concatenate([coders.codes, judged.decided[None].astype(float)]),
        probability=judged.probability,
    )


DIFFER = "coders differ"
CONTRADICTED = "the model confidently contradicts"


def confident_errors(code: Array, probability: Array) -> Array:
    """Return the probability of the opposite code for each code that the model doubts; 0 for all other codes.

    The method is confident learning (Northcutt, Jiang and Chuang 2021, doi:10.1613/jair.1.12125):

    - The model doubts a no if the probability of yes is at least as high as it is on average for the items coded yes.
    - The model doubts a yes if the probability of no is at least as high as it is on average for the items coded no.

    If all probabilities are too high or too low, the averages are so, too. Bad calibration alone therefore does not
    make the model doubt many codes.

    Parameters
    ----------
    code
        Shape (items,): 1 for yes, 0 for no, NaN for no code. A missing code is never doubted.
    probability
        Shape (items,): out-of-fold probability of yes; NaN if the model has no probability.

    Returns
    -------
    numpy.ndarray
        Shape (items,).
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
    """Return the proportion of disagreeing pairs of coders for each item.

    Only pairs in which both coders judged the item count. If there are none, the proportion is 0.

    Parameters
    ----------
    codes
        Shape (coders, ...): 1 for yes, 0 for no, NaN for not judged.
    """
    pairs = [(codes[one], codes[two]) for one, two in combinations(range(len(codes)), 2)]
    both = sum((~np.isnan(one) & ~np.isnan(two) for one, two in pairs), np.zeros(codes.shape[1:]))
    differ = sum((np.abs(one - two) == 1 for one, two in pairs), np.zeros(codes.shape[1:]))
    return np.asarray(differ / np.maximum(both, 1))


def to_adjudicate(coders: Coders, least: int) -> list[dict[str, Any]]:
    """List the codes that people should resolve, the most urgent first.

    A code is listed in two cases. Its urgency, ``score`` in the result, depends on the case:

    - People disagree on the code. The urgency is the proportion of pairs of people who disagree.
    - People agree on the code, but the model doubts it (see `confident_errors`). The urgency is the probability of the
      opposite code.

    Of equally urgent codes, those of papers with more codes to resolve come first.

    Parameters
    ----------
    coders
        Codes of all coders. The probabilities must come from models that were not trained on the records.
    least
        Minimum number of records to which people gave a label. If there are fewer, the model's doubts about the label
        are ignored, because the model cannot have learned the label.
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


_CELLS = ("both_yes", "only_a", "only_b", "both_no")
_NO_FIGURE = Estimate(None, None, None, None, 0)


def cells_of(first: Array, second: Array) -> Array:
    """Assign each item to a cell of the contingency table of two coders.

    Parameters
    ----------
    first, second
        Codes of each coder, in arrays of the same shape: 1 for yes, 0 for no, NaN for not judged. Only items
        that both coders judged are in a cell.

    Returns
    -------
    numpy.ndarray
        Shape (4, ...): 1 in the item's cell, otherwise 0. The cells are in this order: both yes, only the first yes,
        only the second yes, both no.
    """
    pairs = ((1, 1), (1, 0), (0, 1), (0, 0))
    return np.stack([((first == one) & (second == two)).astype(float) for one, two in pairs])


def pair_section(cells: Array, labels: Sequence[str], relevance_key: str, draws: Draws, least: int) -> dict[str, Any]:
    """Compute the agreement of two coders, for each label and over all labels.

    Parameters
    ----------
    cells
        Shape (4, records, labels): number of items in each cell of the contingency table of the two coders; see
        `cells_of`. An item is a record, or one of its sentences.
    labels
        Relevance, followed by the labels. The agreement over all labels excludes relevance.
    least
        Minimum number of items coded yes (by one coder or both). A label with fewer such items gets a note instead of
        metrics.
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
    """Compute the agreement of two coders over all items; an item is a record or sentence that is coded for a label.

    Parameters
    ----------
    cells
        Shape (4, records): number of items in each cell of the contingency table of the two coders; see `cells_of`.
    least
        Minimum number of items coded yes (by one coder or both). If there are fewer such items, the result contains a
        note instead of metrics.
    """
    counts = cells.sum(axis=1)
    found = bootstrap(lambda drawn: two_coders(*np.einsum("br,cr->cb", drawn, cells)), draws)
    figures = {name: columns[0] for name, columns in found.items()}
    return {**_counted(counts), **_or_too_few(figures, counts[:3].sum(), least)}


def all_section(codes: Array, labels: Sequence[str], relevance_key: str, draws: Draws, least: int) -> dict[str, Any]:
    """Compute the agreement of any number of coders on each label, and on all labels together.

    Relevance has its own metrics, and is not included in the metrics of all labels together.

    Parameters
    ----------
    codes
        Codes, shape (coders, records, labels).
    least
        Minimum number of records that two or more coders judged and at least one of them coded yes. A label with fewer
        such records gets a note instead of metrics.

    Returns
    -------
    dict
        The fields of `results.CoderGroup`. ``n`` of a label is the number of records that two or more coders judged.
    """
    own = [column for column, label in enumerate(labels) if label != relevance_key]
    terms = tallies(codes)
    by_label = bootstrap(lambda drawn: many_coders(np.einsum("br,crl->cbl", drawn, terms)), draws)
    pooled = bootstrap(lambda drawn: many_coders(np.einsum("br,cr->cb", drawn, terms[:, :, own].sum(axis=2))), draws)
    section = {}
    for column, label in enumerate(labels):
        found = {name: columns[column] for name, columns in by_label.items()}
        own_codes = codes[:, terms[2, :, column] > 0, column]
        positives = int((own_codes == 1).any(axis=0).sum())
        items = {"n": own_codes.shape[1]}
        section[label] = {**items, **_or_too_few(found, positives, least)}
    return {**_laid_out({name: columns[0] for name, columns in pooled.items()}), "labels": section}


def pairs_of(coders: Coders) -> Iterator[tuple[int, int, str]]:
    """Yield each pair of coders who judged the same label of at least one record.

    A pair consists of the indexes of the two coders and the kind of the pair, such as ``human-llm``. Pairs are sorted
    by kind in alphabetical order, so pairs of people (``human-human``) come first.
    """
    found = [
        (one, two, f"{coders.kind(one)}-{coders.kind(two)}")
        for one, two in combinations(range(len(coders.names)), 2)
        if (~np.isnan(coders.codes[one]) & ~np.isnan(coders.codes[two])).any()
    ]
    yield from sorted(found, key=lambda pair: pair[2])


def agreement_section(coders: Coders, relevance_key: str, draws: Draws, least: int) -> dict[str, Any]:
    """Compute the agreement of each pair of coders and of groups of coders.

    There are three groups: people, people with language models, and people with the model. Groups of fewer than two
    coders are omitted. ``least`` is the minimum number of records coded yes. A label with fewer such records gets a
    note instead of metrics.
    """
    section: dict[str, Any] = {
        "records": len(coders.records),
        "coders": [{"name": name, "kind": coders.kind(place)} for place, name in enumerate(coders.names)],
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
    people, llms = coders.codes[: coders.people], coders.codes[coders.people : coders.people + coders.llms]
    groups = {"humans": people}
    if coders.llms:
        groups["with_llms"] = np.concatenate([people, llms])
    if coders.model:
        groups["with_model"] = np.concatenate([people, coders.codes[-1:]])
    for name, codes in groups.items():
        if len(codes) >= 2:
            section["all"][name] = all_section(codes, coders.labels, relevance_key, draws, least)
    return section


def _counted(cells: Array) -> dict[str, int]:
    return {"n": int(cells.sum()), **{name: int(count) for name, count in zip(_CELLS, cells, strict=True)}}


def _or_too_few(figures: dict[str, Estimate], positives: float, least: int) -> dict[str, Any]:
    if positives >= least:
        return _laid_out(figures)
    note = f"too few: {counted(int(positives), 'item')} coded yes by at least one coder; metrics need {least}"
    return {**_laid_out(dict.fromkeys(figures, _NO_FIGURE), explained=True), "note": note}


def _laid_out(figures: Mapping[str, Estimate], explained: bool = False) -> dict[str, Any]:
    return {**intervals(figures), **({} if explained else remarks(figures))}
