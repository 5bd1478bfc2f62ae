"""People and the model as coders of the same records, from rows of the coding contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.agreement import Array
from evaluation.join import System
from pipeline.errors import MechtagError
from pipeline.records import Coding

# What the model is called beside the people.
MODEL = "mechtag"


@dataclass(frozen=True)
class Coders:
    """Who coded what.

    Attributes
    ----------
    names
        Of the coders, in the order in which they first appear; the model, where it is one of them, last.
    model : bool
        Whether the last coder is the model.
    records, keys
        Record id of each record, or its key where no id is known; and its key, if it has one.
    labels
        Relevance first, then the labels in codebook order.
    codes : ndarray, shape (coders, records, labels)
        1, 0, or NaN where the coder did not judge; a decision that the model left to people counts
        by its probability.
    probability : ndarray, shape (records, labels)
        The model's; NaN where there is no model or it gives none.
    """

    names: tuple[str, ...]
    model: bool
    records: tuple[str, ...]
    keys: tuple[str | None, ...]
    labels: tuple[str, ...]
    codes: Array
    probability: Array

    @property
    def people(self) -> int:
        """How many of the coders are people; they come first."""
        return len(self.names) - self.model

    def only(self, rows: NDArray[np.bool_]) -> Coders:
        """Keep some of the records."""
        return Coders(
            names=self.names,
            model=self.model,
            records=tuple(name for name, kept in zip(self.records, rows, strict=True) if kept),
            keys=tuple(key for key, kept in zip(self.keys, rows, strict=True) if kept),
            labels=self.labels,
            codes=self.codes[:, rows],
            probability=self.probability[rows],
        )

    def of_several(self) -> Coders:
        """Keep the records that two people or more coded; all of them where there is none."""
        judged = ~np.isnan(self.codes[: self.people]).all(axis=2)
        several = judged.sum(axis=0) >= 2
        return self.only(several) if several.any() else self


def coders_of(
    codings: Iterable[Coding], labels: Sequence[str], place: str, ids: Mapping[str, str] | None = None
) -> Coders:
    """Arrange the codings of any number of people.

    Parameters
    ----------
    labels
        Relevance first, then the labels in codebook order.
    place
        Where the codings are from, for messages.
    ids
        Record id by key, for codings that have a key alone. A key that stands beside a record id in the
        codings themselves need not be here.

    Raises
    ------
    MechtagError
        A key belongs to two records, a coder coded a label of a record twice, or is called as the model is.
    """
    rows = list(codings)
    found = _record_ids(rows) | dict(ids or {})
    values: dict[tuple[str, str, str], int | None] = {}
    keys: dict[str, str | None] = {}
    for row in rows:
        name = row.record_id or _look_up(found, row.key or "", place)
        keys[name] = keys.get(name) or row.key
        if (row.coder, name, row.label) in values:
            raise MechtagError(f"{place}: coder {row.coder} codes {row.label} of record {name} twice; keep one of them")
        values[row.coder, name, row.label] = row.value
    names = tuple(dict.fromkeys(coder for coder, _, _ in values))
    if MODEL in names:
        raise MechtagError(
            f"{place}: a coder is called {MODEL}, as the model is; give the codes of people another name"
        )
    codes = np.array(
        [[[_number(values.get((coder, name, label))) for label in labels] for name in keys] for coder in names]
    ).reshape(len(names), len(keys), len(labels))
    nothing = np.full((len(keys), len(labels)), np.nan)
    return Coders(names, False, tuple(keys), tuple(keys.values()), tuple(labels), codes, nothing)


# Stands for a key that two records share.
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
        raise MechtagError(f"{place}: the key {key} stands for two records; give the record_id of each")
    return name


def _number(value: int | None) -> float:
    return np.nan if value is None else float(value)


def with_model(coders: Coders, system: System) -> Coders:
    """Set the model beside the people, as one more coder of all their records.

    Raises
    ------
    MechtagError
        The predictions lack a record or a label.
    """
    empty = np.full((len(coders.records), len(coders.labels)), np.nan)
    judged = system.judged(coders.records, coders.labels, empty)
    return Coders(
        names=(*coders.names, MODEL),
        model=True,
        records=coders.records,
        keys=coders.keys,
        labels=coders.labels,
        codes=np.concatenate([coders.codes, judged.decided[None].astype(float)]),
        probability=judged.probability,
    )
