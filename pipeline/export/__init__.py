"""Export tagged records; each format has its own module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction, Record, decisive
from mechtag.pipeline.export import csv_table, review_workbook, ris
from mechtag.pipeline.export.review_rows import header, ranking
from mechtag.pipeline.export.review_workbook import LabelGuide, TableSheet
from mechtag.pipeline.text.sign import ReadSigns, by_words

#: Function that adds a record and its predictions (by label) to the output.
Add: TypeAlias = Callable[[Record, Mapping[str, Prediction]], None]

#: Formats, and the names of the files that `tag` writes.
NAMES = {"csv": "tagged.csv", "ris": "tagged.ris", "xlsx": "review.xlsx"}


@contextmanager
def writing(
    paths: Mapping[str, Path],
    labels: Sequence[tuple[str, str]],
    guide: Mapping[str, LabelGuide],
    *,
    by_basis: bool = False,
    tables: Sequence[TableSheet] = (),
    read_signs: ReadSigns = by_words,
) -> Iterator[Add]:
    """Yield a function that adds one record to files of several formats; the records need not fit into memory.

    The complete files are in place when the context ends. CSV and XLSX files have the same rows,
    which are sorted only once.

    Parameters
    ----------
    paths
        Files to write, by format.
    labels
        Key and name of every label, relevance first.
    guide
        Information on each label that the workbook explains, keyed by label.
    by_basis
        Whether the tables have columns for the basis of the decisions and the pages of the evidence.
    tables
        Further sheets of the workbook.
    read_signs
        Function that returns the signs of evidence.
    """
    with ExitStack() as stack:
        adds: list[Add] = []
        if path := paths.get("ris"):
            adds.append(stack.enter_context(ris.writing(labels, path)))
        ranked_in = [paths[form] for form in ("csv", "xlsx") if form in paths]
        if ranked_in:
            add_row, ranked = stack.enter_context(ranking(labels, ranked_in[0].parent, by_basis, read_signs))
            adds.append(add_row)

        def add(record: Record, predictions: Mapping[str, Prediction]) -> None:
            for add_to_one in adds:
                add_to_one(record, predictions)

        yield add
        if path := paths.get("csv"):
            csv_table.write(path, header(labels, by_basis), ranked())
        if path := paths.get("xlsx"):
            review_workbook.write(path, labels, ranked(), guide, by_basis, tables)


def export(
    to: str,
    path: str | Path,
    records: Sequence[Record],
    predictions: Iterable[Prediction],
    labels: Sequence[tuple[str, str]],
    guide: Mapping[str, LabelGuide] | None = None,
    tables: Sequence[TableSheet] = (),
    read_signs: ReadSigns = by_words,
) -> None:
    """Write tagged records atomically, in a format that other programs can read.

    Parameters
    ----------
    to
        Name of the format, which is a key of `NAMES`.
    records
        Records without duplicates.
    predictions
        At most one prediction per record, label and basis; predictions based on the full text take precedence. If a
        record has no prediction for a label, the corresponding cells are empty.
    labels
        Key and name of every label in codebook order, relevance first.
    guide
        Information on each label that a workbook explains, keyed by label.
    tables, read_signs
        As in `writing`.

    Raises
    ------
    MechtagError
        If the format is unknown, a record or a prediction is repeated, or a prediction refers to
        an unknown record or label.
    """
    if to not in NAMES:
        raise MechtagError(f"unknown export format {to!r}; choose one of: {', '.join(NAMES)}")
    known = Counter(record.record_id for record in records)
    if twice := [record_id for record_id, count in known.items() if count > 1]:
        raise MechtagError(
            f"record {twice[0]} appears more than once; remove duplicates with 'mechtag dedupe' before the export"
        )
    keys = {key for key, _ in labels}
    by_record: dict[str, dict[str, Prediction]] = {record_id: {} for record_id in known}
    rows = list(predictions)
    by_basis = any(row.basis == "full-text" for row in rows)
    for prediction in decisive(rows):
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
    with writing({to: Path(path)}, labels, guide or {}, by_basis=by_basis, tables=tables, read_signs=read_signs) as add:
        for record in records:
            add(record, by_record[record.record_id])
