"""One file a foreign format. To add one: write its ``writing`` function, and name it in `EXPORTERS`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction, Record
from mechtag.pipeline.export import csv_table as table
from mechtag.pipeline.export import ris

#: Takes a record and its predictions by label.
Add: TypeAlias = Callable[[Record, Mapping[str, Prediction]], None]
#: Takes (key, name) of every label, relevance first, and where to write. Gives a function that takes the records
#: one by one, for there may be more than fit into memory; the file is there, whole, when the context ends.
Exporter: TypeAlias = Callable[[Sequence[tuple[str, str]], Path], AbstractContextManager[Add]]

EXPORTERS: Mapping[str, Exporter] = {
    "csv": table.writing,
    "ris": ris.writing,
}


def export(
    to: str,
    path: str | Path,
    records: Sequence[Record],
    predictions: Iterable[Prediction],
    labels: Sequence[tuple[str, str]],
) -> None:
    """Write tagged records in a format that other programs read; the file is whole or not there.

    Parameters
    ----------
    to
        A name in `EXPORTERS`.
    records
        Without duplicates.
    predictions
        At most one a record and label. A record without one for some label is
        exported with that label left empty.
    labels
        Key and name of every label in codebook order, relevance first.

    Raises
    ------
    MechtagError
        The format is unknown, a record or a prediction stands twice, or a prediction
        is for a record or a label that is not among those given.
    """
    if to not in EXPORTERS:
        raise MechtagError(f"{to!r} is no export format; known are {', '.join(EXPORTERS)}")
    known = Counter(record.record_id for record in records)
    if twice := [record_id for record_id, count in known.items() if count > 1]:
        raise MechtagError(f"record {twice[0]} stands more than once; remove duplicates before export (mechtag dedupe)")
    keys = {key for key, _ in labels}
    by_record: dict[str, dict[str, Prediction]] = {record_id: {} for record_id in known}
    for prediction in predictions:
        place = f"prediction of {prediction.label!r} for record {prediction.record_id}"
        if prediction.label not in keys:
            raise MechtagError(
                f"{place}: the codebook has no such label (it has {', '.join(key for key, _ in labels)}); "
                "export with the codebook that the records were tagged with"
            )
        if prediction.record_id not in known:
            raise MechtagError(f"{place}: there is no such record; export the records that were tagged")
        if prediction.label in by_record[prediction.record_id]:
            raise MechtagError(f"{place}: stands more than once; give the predictions of one model")
        by_record[prediction.record_id][prediction.label] = prediction
    with EXPORTERS[to](labels, Path(path)) as add:
        for record in records:
            add(record, by_record[record.record_id])
