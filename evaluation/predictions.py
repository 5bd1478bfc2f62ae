"""Arrange the predictions of a system in arrays of the same shape as the human codes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mechtag.core.arrays import Array
from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction
from mechtag.evaluation.metrics import Judged


class System:
    """The predictions of one system, indexed by record and label.

    Parameters
    ----------
    name
        Name of the system, for error messages.
    predictions
        Predictions of the system. They may include records and labels that are not evaluated.

    Raises
    ------
    MechtagError
        If there are two predictions for a record and label; if a score is missing or not finite; or if a decision is
        *needs review*, but its probability or threshold is missing.
    """

    def __init__(self, name: str, predictions: Iterable[Prediction]) -> None:
        self.name = name
        self._rows: dict[tuple[str, str], Prediction] = {}
        for row in predictions:
            place = f"predictions of {name}: record {row.record_id}, label '{row.label}'"
            if (row.record_id, row.label) in self._rows:
                raise MechtagError(f"{place}: there are two predictions; delete one of the two rows")
            if row.score is None:
                raise MechtagError(
                    f"{place}: the label was not scored, because the record is clearly irrelevant; tag the "
                    "records again with 'mechtag tag --score-all'"
                )
            if not math.isfinite(row.score):
                raise MechtagError(f"{place}: the score {row.score} is not a finite number; run 'mechtag tag' again")
            if row.decision == "refer" and (row.probability is None or row.threshold is None):
                raise MechtagError(
                    f"{place}: the decision is 'needs review', but its probability or threshold is missing; "
                    "run 'mechtag tag' again"
                )
            self._rows[row.record_id, row.label] = row

    def row(self, record_id: str, label: str) -> Prediction:
        """Return the prediction for a record and label; raise `MechtagError` if it is missing."""
        try:
            return self._rows[record_id, label]
        except KeyError:
            raise MechtagError(
                f"predictions of {self.name}: there is no prediction of label '{label}' for record {record_id}. Every "
                "evaluated record needs predictions for all labels of the codebook; run 'mechtag tag' again with this "
                "codebook"
            ) from None

    def judged(self, record_ids: Sequence[str], labels: Sequence[str], truth: Array) -> Judged:
        """Return the predictions as arrays, together with the human codes; rows are records, columns are labels.

        Parameters
        ----------
        truth
            Human codes, shape (records, labels), in the order of ``record_ids`` and ``labels``: 1 for yes, 0 for no,
            NaN for not judged.

        Raises
        ------
        MechtagError
            If a prediction is missing.
        """
        rows = [[self.row(record_id, label) for label in labels] for record_id in record_ids]
        return Judged(
            truth=truth,
            score=np.array([[row.score for row in line] for line in rows], dtype=float),
            probability=np.array(
                [[math.nan if row.probability is None else row.probability for row in line] for line in rows]
            ),
            decided=np.array([[decided(row) for row in line] for line in rows]),
            referred=np.array([[row.decision == "refer" for row in line] for line in rows]),
            threshold=np.array(
                [[math.nan if row.threshold is None else row.threshold for row in line] for line in rows]
            ),
        )


def decided(row: Prediction) -> bool:
    """Return whether a label counts as predicted.

    There are two such cases: the decision is yes; or the decision is *needs review*, and the probability is at least
    ``row.threshold``.
    """
    if row.decision == "refer" and row.probability is not None and row.threshold is not None:
        return row.probability >= row.threshold
    return row.decision == "yes"
