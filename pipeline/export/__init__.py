"""Export tagged records; each format has its own module.

To add a format, write a module with a ``writing`` function and list the function in `EXPORTERS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction, Record
from mechtag.pipeline.export import csv_table, review_workbook, ris

#: Function that adds a record and its predictions (by label) to the output.
Add: TypeAlias = Callable[[Record, Mapping[str, Prediction]], None]
#: Function that takes the key and name of every label, relevance first, and the output path. Its context yields a
#: function that adds one record at a time, because the records may not all fit into memory. The complete file is in
#: place when the context ends.
Exporter: TypeAlias = Callable[[Sequence[tuple[str, str]], Path], AbstractContextManager[Add]]

EXPORTERS: Mapping[str, Exporter] = {
    "csv": csv_table.writing,
    "ris": ris.writing,
    "xlsx": review_workbook.writing,
}
#: Names of the files that `tag` writes.
NAMES = {"csv": "tagged.csv", "ris": "tagged.ris", "xlsx": "review.xlsx"}


def export(
    to: str,
    path: str | Path,
    records: Sequence[Record],
    predictions: Iterable[Prediction],
    labels: Sequence[tuple[str, str]],
) -> None:
    """Write tagged records atomically, in a format that other programs can read.

    Parameters
    ----------
    to
        Name of the format, which is a key of `EXPORTERS`.
    records
        Records without duplicates.
    predictions
        At most one prediction per record and label. If a record has no prediction for a label, the
        corresponding cells are empty.
    labels
        Key and name of every label in codebook order, relevance first.

    Raises
    ------
    MechtagError
        If the format is unknown, a record or a prediction is repeated, or a prediction refers to
        an unknown record or label.
    """
    if to not in EXPORTERS:
        raise MechtagError(f"unknown export format {to!r}; choose one of: {', '.join(EXPORTERS)}")
    known = Counter(record.record_id for record in records)
    if twice := [record_id for record_id, count in known.items() if count > 1]:
        raise MechtagError(
            f"record {twice[0]} appears more than once; remove duplicates with 'mechtag dedupe' before the export"
        )
    keys = {key for key, _ in labels}
    by_record: dict[str, dict[str, Prediction]] = {record_id: {} for record_id in known}
    for prediction in predictions:
        place = f"prediction of {prediction.label!r} for record {prediction.record_id}"
        if prediction.label not in keys:
            raise MechtagError(
                f"{place}: the codebook has no such label (its labels are {', '.join(key for key, _ in labels)}); "
                "use the codebook with which the records were tagged"
            )
        if prediction.record_id not in known:
            raise MechtagError(
                f"{place}: the records to export do not include this record; export the records that were tagged"
            )
        if prediction.label in by_record[prediction.record_id]:
            raise MechtagError(
                f"{place}: this prediction appears more than once; use the predictions of a single model"
            )
        by_record[prediction.record_id][prediction.label] = prediction
    with EXPORTERS[to](labels, Path(path)) as add:
        for record in records:
            add(record, by_record[record.record_id])
