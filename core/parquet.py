"""Read and write Parquet tables of records, sentences, predictions and full texts, in batches."""

from __future__ import annotations

import io
import json
import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice
from pathlib import Path
from sys import intern
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath, replacing
from mechtag.core.full_text import Format, FullText
from mechtag.core.records import Basis, Prediction, Record, Sentence

# What reading raises for damaged files, and for values that Python cannot hold, such as dates after the year 9999.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, RecursionError)
# Number of rows read or written at a time.
BATCH = 2_000
# The same for full texts, which are a hundred times as long as other rows.
_FEW = 50
_STRINGS = pa.list_(pa.string())

# ``raw`` holds values of any shape, so it is stored as JSON text.
RECORDS = pa.schema(
    [
        ("record_id", pa.string()),
        ("title", pa.string()),
        ("abstract", pa.string()),
        ("authors", _STRINGS),
        ("year", pa.int32()),
        ("journal", pa.string()),
        ("volume", pa.string()),
        ("issue", pa.string()),
        ("pages", pa.string()),
        ("doi", pa.string()),
        ("pmid", pa.string()),
        ("keywords", _STRINGS),
        ("type", pa.string()),
        ("language", pa.string()),
        ("url", pa.string()),
        ("source_file", pa.string()),
        ("source_index", pa.int64()),
        ("raw", pa.string()),
    ]
)
SENTENCES = pa.schema(
    [
        ("record_id", pa.string()),
        ("sentence", pa.int32()),
        ("section", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("text", pa.string()),
    ]
)
_EVIDENCE = [
    ("sentence", pa.int32()),
    ("start", pa.int32()),
    ("end", pa.int32()),
    ("text", pa.string()),
    ("score", pa.float64()),
]


def _predictions(evidence: list[tuple[str, pa.DataType]], *more: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema(
        [
            ("record_id", pa.string()),
            ("label", pa.string()),
            ("score", pa.float64()),
            ("probability", pa.float64()),
            ("given_relevant", pa.float64()),
            ("threshold", pa.float64()),
            ("decision", pa.string()),
            ("evidence", pa.list_(pa.struct(evidence))),
            ("model_id", pa.string()),
            *more,
        ]
    )


PREDICTIONS = _predictions(_EVIDENCE)
# Columns that only runs with full texts write; without them, a prediction is based on the abstract.
_OF_FULL_TEXTS = [("basis", pa.string()), ("page", pa.string()), ("section", pa.string())]
PREDICTIONS_BY_BASIS = _predictions([*_EVIDENCE, *_OF_FULL_TEXTS], _OF_FULL_TEXTS[0])
FULL_TEXTS = pa.schema(
    [
        ("record_id", pa.string()),
        ("text", pa.string()),
        (
            "sections",
            pa.list_(
                pa.struct(
                    [
                        ("kind", pa.string()),
                        ("title", pa.string()),
                        ("level", pa.int32()),
                        ("start", pa.int32()),
                        ("end", pa.int32()),
                    ]
                )
            ),
        ),
        (
            "pages",
            pa.list_(
                pa.struct(
                    [
                        ("number", pa.int32()),
                        ("label", pa.string()),
                        ("start", pa.int32()),
                        ("end", pa.int32()),
                        ("ocr", pa.bool_()),
                    ]
                )
            ),
        ),
        ("source_file", pa.string()),
        ("format", pa.string()),
        ("sha256", pa.string()),
        ("reader", pa.string()),
        ("licence", pa.string()),
        (
            "quality",
            pa.struct(
                [
                    ("pages", pa.int32()),
                    ("chars", pa.int32()),
                    ("scanned_pages", pa.int32()),
                    ("ocr_pages", pa.int32()),
                    ("references_cut", pa.bool_()),
                    ("headings", pa.int32()),
                    ("letters_share", pa.float64()),
                ]
            ),
        ),
        ("warnings", _STRINGS),
    ]
)

RowT = TypeVar("RowT", bound=BaseModel)
T = TypeVar("T")


class Rows(Generic[T]):
    """Rows that are read again from their file in each iteration, so that they need not fit into memory.

    Parameters
    ----------
    read
        Function that returns a new iterator over all rows.
    """

    def __init__(self, read: Callable[[], Iterator[T]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[T]:
        return self._read()


def _write(path: str | Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, size: int = BATCH) -> None:
    with replacing(path) as part, part.open("wb") as file:
        write_rows(file, rows, schema, size)


def write_rows(target: Any, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, size: int = BATCH) -> None:
    """Write rows to a Parquet table in batches of ``size`` rows, so that only one batch is in memory at a time."""
    rows = iter(rows)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        while batch := list(islice(rows, size)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


@contextmanager
def _reading(name: StrPath) -> Iterator[None]:
    """Convert errors of pyarrow in the ``with`` block to a `MechtagError` that names the table."""
    try:
        yield
    except _UNREADABLE as error:
        raise MechtagError(f"{name}: the file is not readable as parquet: {error}; create it again") from None


def open_table(source: Any, name: StrPath, schema: pa.Schema, what: str) -> pq.ParquetFile:
    """Open a parquet table and check that it has the columns of ``schema``.

    Parameters
    ----------
    source
        Path of the table, or open file.
    name
        Name of the table in error messages.
    what
        What the rows of the table are, in the plural, for error messages.

    Raises
    ------
    MechtagError
        If the file is missing, is not parquet, or lacks a column.
    """
    with _reading(name):
        try:
            # pyarrow encodes paths as UTF-8, which names of files need not be.
            is_path = isinstance(source, (str, os.PathLike))
            file = pq.ParquetFile(pa.OSFile(os.fsencode(source)) if is_path else source)
        except FileNotFoundError:
            raise MechtagError(f"{name}: no such file (expected a parquet table of {what}); check the path") from None
    if missing := [column for column in schema.names if column not in file.schema_arrow.names]:
        file.close()
        raise MechtagError(
            f"{name}: this is not a table of {what}, because it lacks the columns {', '.join(missing)}; "
            "check that you named the right file"
        )
    return file


def _read(
    path: StrPath, schema: pa.Schema, what: str, size: int = BATCH, optional: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    with open_table(path, path, schema, what) as file:
        columns = [*schema.names, *(name for name in optional if name in file.schema_arrow.names)]
        with _reading(path):
            for batch in file.iter_batches(size, columns=columns):
                yield from batch.to_pylist()


def read_table(path: StrPath, data: bytes) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Read any Parquet table, and return its column names and an iterator over its rows.

    Values are converted to types that JSON supports; for example, dates become text. If several columns have the same
    name, a number is added, as in ``name (2)``.

    Parameters
    ----------
    path
        Path in error messages.
    data
        Content of the file.

    Raises
    ------
    MechtagError
        If the file is not readable as parquet.
    """
    with _reading(path):
        file = pq.ParquetFile(pa.BufferReader(data))
    seen: Counter[str] = Counter()
    names = []
    for name in file.schema_arrow.names:
        seen[name] += 1
        names.append(f"{name} ({seen[name]})" if seen[name] > 1 else name)
    return names, _table_rows(path, file, names)


def _table_rows(path: StrPath, file: pq.ParquetFile, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    with _reading(path):
        for batch in file.iter_batches(batch_size=1000):
            for row in pa.Table.from_batches([batch]).rename_columns(names).to_pylist():
                yield json.loads(json.dumps(row, default=str), parse_constant=lambda name: None)


def parse_rows(path: StrPath, rows: Iterable[Mapping[str, Any]], model: type[RowT], first: int = 1) -> Iterator[RowT]:
    """Validate rows, and yield each row as an instance of ``model``.

    Parameters
    ----------
    path
        Path of the table in error messages.
    first
        Number of the first row in error messages.

    Raises
    ------
    MechtagError
        If a row is invalid.
    """
    for number, row in enumerate(rows, start=first):
        try:
            yield model.model_validate(row)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(str(part) for part in fault["loc"])
            raise MechtagError(
                f"{path}: row {number}: the value in column {place!r} is invalid: {fault['msg']}; create the table "
                "again"
            ) from None


def write_records(path: str | Path, records: Iterable[Record]) -> None:
    """Write records as parquet."""
    _write(
        path,
        ({**record.model_dump(), "raw": json.dumps(record.raw, ensure_ascii=False)} for record in records),
        RECORDS,
    )


def read_records(path: StrPath) -> list[Record]:
    """Read a table written by `write_records`.

    Raises
    ------
    MechtagError
        If the file is missing, is not parquet, lacks a column, or contains a row that is not a valid `Record`.
    """
    return list(iterate_records(path))


def iterate_records(path: StrPath) -> Iterator[Record]:
    """Read a table of records in batches and yield each record; raise the same errors as `read_records`."""
    return parse_records(path, _read(path, RECORDS, "records"))


def parse_records(path: StrPath, rows: Iterable[dict[str, Any]], first: int = 1) -> Iterator[Record]:
    """Validate the rows of a table of records, and yield the records; raise the same errors as `parse_rows`."""
    decoded = ({**row, "raw": _raw(path, number, row)} for number, row in enumerate(rows, start=first))
    return parse_rows(path, decoded, Record, first)


def _raw(path: StrPath, number: int, row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the fields of the original entry, as pairs of name and value, from the column ``raw`` of a row."""
    # To save memory, a value that equals the value of another column is the same string object.
    shared = {value: value for value in row.values() if isinstance(value, str)}
    try:
        pairs = json.loads(row["raw"] or "[]")
        return [(intern(name), shared.get(value, value) if isinstance(value, str) else value) for name, value in pairs]
    except (ValueError, TypeError, RecursionError) as error:
        raise MechtagError(
            f"{path}: row {number}: the value in column 'raw' is not a JSON list of names and values: {error}; create "
            "the table again"
        ) from None


def write_sentences(path: str | Path, sentences: Sequence[Sentence]) -> None:
    """Write sentences as parquet."""
    _write(path, (sentence.model_dump() for sentence in sentences), SENTENCES)


def read_sentences(path: str | Path) -> list[Sentence]:
    """Read a table written by `write_sentences`; raise the same errors as `read_records`."""
    return list(iterate_sentences(path))


def iterate_sentences(path: str | Path) -> Iterator[Sentence]:
    """Read a table of sentences in batches and yield each sentence; raise the same errors as `read_records`."""
    return parse_rows(path, _read(path, SENTENCES, "sentences"), Sentence)


def write_predictions(path: str | Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions as parquet, one row per record, label and basis."""
    by_basis = any(prediction.basis == "full-text" for prediction in predictions)
    _write(path, (prediction.model_dump() for prediction in predictions), _prediction_schema(by_basis))


def _prediction_schema(by_basis: bool) -> pa.Schema:
    return PREDICTIONS_BY_BASIS if by_basis else PREDICTIONS


def read_predictions(path: str | Path, basis: Basis | None = None) -> list[Prediction]:
    """Read a table written by `write_predictions`; raise the same errors as `read_records`.

    Parameters
    ----------
    basis
        Basis (abstract or full text) of the predictions to return; by default, all predictions are returned.
    """
    return [row for row in iterate_predictions(path) if basis in (None, row.basis)]


def iterate_predictions(path: StrPath) -> Iterator[Prediction]:
    """Read a table of predictions in batches and yield each prediction; raise the same errors as `read_records`."""
    return parse_rows(path, _read(path, PREDICTIONS, "predictions", optional=["basis"]), Prediction)


def write_full_texts(path: str | Path, full_texts: Iterable[FullText]) -> None:
    """Write full texts as parquet, one row per paper, with only a few full texts in memory at the same time."""
    _write(path, (full_text.model_dump() for full_text in full_texts), FULL_TEXTS, _FEW)


def iterate_full_texts(path: StrPath) -> Iterator[FullText]:
    """Read a table of full texts in batches and yield each full text; raise the same errors as `read_records`."""
    return parse_rows(path, _read(path, FULL_TEXTS, "full texts", _FEW), FullText)


class FullTextSummary(NamedTuple):
    """Summary of a full text: identifier of its record, format of its file, and number of its characters."""

    record_id: str
    format: Format
    chars: int


class FullTextTable:
    """A table of full texts, from which the full texts of single records can be read.

    Parameters
    ----------
    source
        Path of the table, or open file.
    name
        Name of the table in error messages.
    merged
        Id of the kept record, keyed by the id of each duplicate that was merged into this record. `read` returns the
        full text of a duplicate under the id of the kept record.

    Raises
    ------
    MechtagError
        If the table is invalid (see `read_records`) or contains two full texts of one record. Columns other than
        ``record_id`` are checked only when the full texts are read.
    """

    def __init__(self, source: Any, name: StrPath, merged: Mapping[str, str] = MappingProxyType({})) -> None:
        self._file, self._name = open_table(source, name, FULL_TEXTS, "full texts"), name
        self._merged = merged
        self._groups: dict[str, int] = {}
        for group in range(self._file.metadata.num_row_groups):
            with _reading(name):
                ids = self._file.read_row_group(group, columns=["record_id"]).column(0).to_pylist()
            for record_id in (merged.get(name, name) for name in ids):
                if record_id in self._groups:
                    raise MechtagError(
                        f"{name}: record {record_id} has more than one full text; attach one file per record"
                    )
                self._groups[record_id] = group

    def __enter__(self) -> FullTextTable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def summaries(self) -> Iterator[FullTextSummary]:
        """Yield a summary of each full text, without reading the texts.

        The record ids are those in the file; unlike in `read`, ids of merged duplicates are not replaced.
        """
        for group in range(self._file.metadata.num_row_groups):
            with _reading(self._name):
                rows = self._file.read_row_group(group, columns=["record_id", "format", "quality.chars"]).to_pylist()
            for row in rows:
                yield FullTextSummary(row["record_id"], row["format"], row["quality"]["chars"])

    def read(self, record_ids: Iterable[str]) -> Iterator[dict[str, FullText]]:
        """Yield the full texts of the given records in batches, in the order of the table.

        A batch is a dict of a few dozen full texts, keyed by record id. Records without a full text are omitted.
        """
        wanted = {record_id for record_id in record_ids if record_id in self._groups}
        for group in sorted({self._groups[record_id] for record_id in wanted}):
            with _reading(self._name):
                rows = self._file.read_row_group(group, columns=FULL_TEXTS.names).to_pylist()
            named = ({**row, "record_id": self._merged.get(row["record_id"], row["record_id"])} for row in rows)
            own = (row for row in named if row["record_id"] in wanted)
            yield {full_text.record_id: full_text for full_text in parse_rows(self._name, own, FullText)}


class RecordTable:
    """A table of records from which any range of rows can be read.

    Parameters
    ----------
    source
        Path of the table, or open file.
    name
        Name of the table in error messages.

    Attributes
    ----------
    count : int
        Number of records.

    Raises
    ------
    MechtagError
        If the table is invalid; see `read_records`. Rows are checked only when they are read.
    """

    def __init__(self, source: Any, name: str) -> None:
        self._file, self._name = open_table(source, name, RECORDS, "records"), name
        groups = self._file.metadata
        self._ends = list(accumulate(groups.row_group(number).num_rows for number in range(groups.num_row_groups)))
        self.count = int(groups.num_rows)

    def __enter__(self) -> RecordTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _batches(self, columns: Sequence[str], groups: Sequence[int] | None = None) -> Iterator[pa.RecordBatch]:
        with _reading(self._name):
            yield from self._file.iter_batches(BATCH, columns=columns, row_groups=groups)

    def _rows(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        with _reading(self._name):
            rows: list[dict[str, Any]] = batch.to_pylist()
        return rows

    def read(self, start: int, stop: int) -> list[Record]:
        """Return the records in the rows ``start`` to ``stop - 1``, counted from 0."""
        stop = min(stop, self.count)
        if start >= stop:
            return []
        groups = range(bisect_right(self._ends, start), bisect_left(self._ends, stop) + 1)
        here = self._ends[groups.start - 1] if groups.start else 0
        rows: list[dict[str, Any]] = []
        for batch in self._batches(RECORDS.names, list(groups)):
            # A slice past the end of a batch is empty.
            rows += self._rows(batch.slice(max(start - here, 0), max(stop - max(here, start), 0)))
            here += len(batch)
            if here >= stop:
                break
        return list(parse_records(self._name, rows, first=start + 1))

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield a dict for each record, with the values of ``columns`` keyed by column name."""
        for batch in self._batches(columns):
            yield from self._rows(batch)


def pack_predictions(predictions: Iterable[Prediction], *, by_basis: bool = False) -> bytes:
    """Return predictions as the bytes of a parquet table, with one row per record, label and basis.

    Parameters
    ----------
    by_basis
        Whether to include the columns that are needed for predictions based on full texts.
    """
    buffer = io.BytesIO()
    write_rows(buffer, (prediction.model_dump() for prediction in predictions), _prediction_schema(by_basis))
    return buffer.getvalue()


@contextmanager
def joining_predictions(path: str | Path, *, by_basis: bool = False) -> Iterator[Callable[[bytes], list[Prediction]]]:
    """Join tables of predictions in one Parquet file at ``path``.

    The context yields a function. This function takes the bytes of a table (see `pack_predictions`), appends the table
    to the file, and returns the predictions in the table. The file appears at ``path`` when the ``with`` block ends.
    All tables must have been packed with the same ``by_basis``.
    """
    schema = _prediction_schema(by_basis)
    with (
        replacing(path) as part,
        part.open("wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):

        def add(data: bytes) -> list[Prediction]:
            table = pq.read_table(io.BytesIO(data), schema=schema)
            for batch in table.to_batches(BATCH):
                writer.write_batch(batch)
            return list(parse_rows(path, table.to_pylist(), Prediction))

        yield add
