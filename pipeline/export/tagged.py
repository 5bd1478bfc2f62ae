"""Write tagged records to CSV, RIS or XLSX files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv
from mechtag.core.records import Prediction, Record, decisive
from mechtag.pipeline.export import review_workbook, ris, sorting
from mechtag.pipeline.export.review_rows import header, ranking
from mechtag.pipeline.export.review_workbook import LabelGuide, TableSheet
from mechtag.pipeline.reading.text.sign import ReadSigns, by_words

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
    tables: Iterable[TableSheet] = (),
    read_signs: ReadSigns = by_words,
) -> Iterator[Add]:
    """Return a context manager that writes tagged records to files of several formats.

    The context manager yields a function that adds one record. The files are complete when the context ends. The
    records need not fit into memory.

    Parameters
    ----------
    paths
        Files to write, keyed by format.
    labels
        Key and name of every label, relevance first.
    guide
        Definition of each label, and the bounds between which its decisions need review, keyed by label. The workbook
        explains them to reviewers.
    by_basis
        Whether the tables have a column for the basis of the decisions and, for each label, a column for the pages of
        the evidence.
    tables
        Further sheets of the XLSX workbook. They are iterated after all records were added.
    read_signs
        Function that returns the sign of each sentence of evidence: ``present`` or ``absent``. See
        `mechtag.pipeline.reading.text.sign`.
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
            write_csv(path, header(labels, by_basis), ranked(), bom=True)
        if path := paths.get("xlsx"):
            review_workbook.write(path, labels, ranked(), guide, by_basis, tables)


def export(
    to: str,
    path: str | Path,
    records: Iterable[Record],
    predictions: Iterable[Prediction],
    labels: Sequence[tuple[str, str]],
    guide: Mapping[str, LabelGuide] | None = None,
    tables: Iterable[TableSheet] = (),
    read_signs: ReadSigns = by_words,
    on_record: Callable[[Record, Sequence[Prediction]], None] | None = None,
) -> int:
    """Write tagged records to a file, and return the number of records. If an error occurs, no file is written.

    Parameters
    ----------
    to
        Name of the format, a key of `NAMES`.
    records
        Records without duplicates. They are iterated twice, so they cannot be an iterator; see `parquet.Rows`.
    predictions
        At most one prediction per record, label and basis. Predictions based on the full text take precedence. If a
        record has no prediction for a label, the cells for this label are empty. Like the records, the predictions
        are iterated twice.
    labels
        Key and name of every label in codebook order, relevance first.
    guide
        Definition of each label, and the bounds between which its decisions need review, keyed by label. A workbook
        explains them to reviewers.
    tables
        Further sheets of the XLSX workbook. They are iterated after all records were written.
    read_signs
        Function that returns the sign of each sentence of evidence: ``present`` or ``absent``. See
        `mechtag.pipeline.reading.text.sign`.
    on_record
        Function that is called with each record and all its predictions, before ``tables`` are iterated.

    Raises
    ------
    MechtagError
        If the format is unknown; if a record or a prediction is repeated; or if a prediction refers to an unknown
        record or label.
    """
    if to not in NAMES:
        raise MechtagError(f"unknown export format {to!r}; choose one of: {', '.join(NAMES)}")
    places: dict[str, int] = {}
    for record in records:
        if record.record_id in places:
            raise MechtagError(
                f"record {record.record_id} appears more than once; remove duplicates with 'mechtag dedupe' before the "
                "export"
            )
        places[record.record_id] = len(places)
    keys = [key for key, _ in labels]
    by_basis, ordered, last = False, True, 0
    for prediction in predictions:
        if prediction.label not in keys:
            raise MechtagError(
                f"{_name(prediction)}: the codebook has no such label (its labels are {', '.join(keys)}); "
                "use the codebook with which the records were tagged"
            )
        if prediction.record_id not in places:
            raise MechtagError(
                f"{_name(prediction)}: the records to export do not include this record; export the records that were "
                "tagged"
            )
        by_basis |= prediction.basis == "full-text"
        ordered &= last <= (last := places[prediction.record_id])
    with ExitStack() as stack:
        rows = predictions if ordered else stack.enter_context(_sorted(predictions, places, Path(path).parent))
        add = stack.enter_context(
            writing({to: Path(path)}, labels, guide or {}, by_basis=by_basis, tables=tables, read_signs=read_signs)
        )
        for record, own in _matched(records, rows):
            add(record, _by_label(decisive(own)))
            if on_record:
                on_record(record, own)
    return len(places)


@contextmanager
def _sorted(
    predictions: Iterable[Prediction], places: Mapping[str, int], folder: Path
) -> Iterator[Iterable[Prediction]]:
    """Return a context manager that yields the predictions, sorted by the positions of their records in ``places``."""
    with sorting.sorting(folder) as sorter:
        for number, row in enumerate(predictions):
            sorter.add([places[row.record_id], number, row.model_dump(mode="json")])
        yield (Prediction.model_validate(row) for _, _, row in sorter.sorted())


def _matched(
    records: Iterable[Record], predictions: Iterable[Prediction]
) -> Iterator[tuple[Record, Sequence[Prediction]]]:
    """Yield each record with its predictions; the predictions must be in the order of the records."""
    groups = groupby(predictions, key=lambda row: row.record_id)
    name, rows = next(groups, (None, iter(())))
    for record in records:
        own: list[Prediction] = []
        if name == record.record_id:
            own = list(rows)
            name, rows = next(groups, (None, iter(())))
        yield record, own


def _by_label(predictions: Iterable[Prediction]) -> dict[str, Prediction]:
    found: dict[str, Prediction] = {}
    for prediction in predictions:
        if prediction.label in found:
            raise MechtagError(
                f"{_name(prediction)}: this prediction appears more than once; use the predictions of a single model"
            )
        found[prediction.label] = prediction
    return found


def _name(prediction: Prediction) -> str:
    return f"prediction of {prediction.label!r} for record {prediction.record_id}"
