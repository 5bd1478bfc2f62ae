"""Tables between stages: Parquet files of records, sentences and predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from models.files import replacing
from pipeline.errors import MechtagError
from pipeline.records import Prediction, Record, Sentence

# Rows that are read or written at a time.
BATCH = 2_000
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
PREDICTIONS = pa.schema(
    [
        ("record_id", pa.string()),
        ("label", pa.string()),
        ("score", pa.float64()),
        ("probability", pa.float64()),
        ("given_relevant", pa.float64()),
        ("threshold", pa.float64()),
        ("decision", pa.string()),
        (
            "evidence",
            pa.list_(
                pa.struct(
                    [
                        ("sentence", pa.int32()),
                        ("start", pa.int32()),
                        ("end", pa.int32()),
                        ("text", pa.string()),
                        ("score", pa.float64()),
                    ]
                )
            ),
        ),
        ("model_id", pa.string()),
    ]
)

RowT = TypeVar("RowT", bound=BaseModel)


def _write(path: str | Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    with replacing(path) as part:
        write_rows(part, rows, schema)


def write_rows(target: Any, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write a table batch by batch: a million records must never stand in memory twice."""
    rows = iter(rows)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def open_table(source: Any, name: str | Path, schema: pa.Schema, what: str) -> pq.ParquetFile:
    """Open a parquet table and look that it has the columns; raises as `read_records` does."""
    try:
        file = pq.ParquetFile(source)
    except FileNotFoundError:
        raise MechtagError(f"{name}: no such file; expected a parquet table of {what}") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise MechtagError(f"{name}: not readable as parquet: {error}") from None
    if missing := [column for column in schema.names if column not in file.schema_arrow.names]:
        file.close()
        raise MechtagError(f"{name}: not a table of {what}: column {', '.join(missing)} is missing")
    return file


def _read(path: str | Path, schema: pa.Schema, what: str) -> Iterator[dict[str, Any]]:
    with open_table(path, path, schema, what) as file:
        try:
            for batch in file.iter_batches(BATCH, columns=schema.names):
                yield from batch.to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            raise MechtagError(f"{path}: not readable as parquet: {error}") from None


def read_table(path: str | Path, data: bytes) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Read any parquet table: names of its columns, and its rows, a few at a time.

    Values are whatever JSON can hold; dates and the like become text.

    Parameters
    ----------
    path, data
        Name under which the table is known, and its bytes.

    Raises
    ------
    MechtagError
        The file is not readable as parquet.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise MechtagError(f"{path}: not readable as parquet: {error}") from None
    return list(file.schema_arrow.names), _table_rows(path, file)


def _table_rows(path: str | Path, file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    try:
        for batch in file.iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                yield json.loads(json.dumps(row, default=str), parse_constant=lambda name: None)
    except (pa.ArrowException, OSError) as error:
        raise MechtagError(f"{path}: not readable as parquet: {error}") from None


def parse_rows(
    path: str | Path, rows: Iterable[Mapping[str, Any]], model: type[RowT], first: int = 1
) -> Iterator[RowT]:
    """Check rows, the first of which is number ``first`` of the table; raises as `read_records` does."""
    for number, row in enumerate(rows, start=first):
        try:
            yield model.model_validate(row)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(str(part) for part in fault["loc"])
            raise MechtagError(f"{path}: row {number}: {place}: {fault['msg']}") from None


def write_records(path: str | Path, records: Iterable[Record]) -> None:
    """Write records as parquet."""
    _write(
        path,
        ({**record.model_dump(), "raw": json.dumps(record.raw, ensure_ascii=False)} for record in records),
        RECORDS,
    )


def read_records(path: str | Path) -> list[Record]:
    """Read what `write_records` wrote.

    Raises
    ------
    MechtagError
        The file is missing, is not parquet, lacks a column or breaks the contract.
    """
    return list(iterate_records(path))


def iterate_records(path: str | Path) -> Iterator[Record]:
    """Read what `write_records` wrote, a few records at a time; raises as `read_records` does."""
    return parse_records(path, _read(path, RECORDS, "records"))


def parse_records(path: str | Path, rows: Iterable[dict[str, Any]], first: int = 1) -> Iterator[Record]:
    """Check rows of a table of records; see `parse_rows`."""
    return parse_rows(path, ({**row, "raw": _raw(row)} for row in rows), Record, first)


def _raw(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Fields as read; text that stands in a column as well, and names, are held in memory once."""
    shared = {value: value for value in row.values() if isinstance(value, str)}
    pairs = json.loads(row["raw"] or "[]")
    return [(intern(name), shared.get(value, value) if isinstance(value, str) else value) for name, value in pairs]


def write_sentences(path: str | Path, sentences: Sequence[Sentence]) -> None:
    """Write sentences as parquet."""
    _write(path, (sentence.model_dump() for sentence in sentences), SENTENCES)


def read_sentences(path: str | Path) -> list[Sentence]:
    """Read what `write_sentences` wrote; raises as `read_records` does."""
    return list(iterate_sentences(path))


def iterate_sentences(path: str | Path) -> Iterator[Sentence]:
    """Read what `write_sentences` wrote, a few sentences at a time; raises as `read_records` does."""
    return parse_rows(path, _read(path, SENTENCES, "sentences"), Sentence)


def write_predictions(path: str | Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions as parquet, one row a record and label."""
    _write(path, (prediction.model_dump() for prediction in predictions), PREDICTIONS)


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read what `write_predictions` wrote; raises as `read_records` does."""
    return list(parse_rows(path, _read(path, PREDICTIONS, "predictions"), Prediction))
