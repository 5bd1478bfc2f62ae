"""Tables that are read and written in parts, because not all of them need fit into memory."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models.files import replacing
from pipeline.errors import MechtagError
from pipeline.records import Prediction, Record
from pipeline.store import BATCH, PREDICTIONS, RECORDS, open_table, parse_records, parse_rows, write_rows


class RecordTable:
    """A table of records that is read in parts, in any order.

    Parameters
    ----------
    source, name
        Path or open file, and what messages call it.

    Attributes
    ----------
    count : int
        How many records it has.

    Raises
    ------
    MechtagError
        As `read_records`; when it is made, and when it is read.
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
        try:
            yield from self._file.iter_batches(BATCH, columns=columns, row_groups=groups)
        except (pa.ArrowInvalid, OSError) as error:
            raise MechtagError(f"{self._name}: not readable as parquet: {error}") from None

    def read(self, start: int, stop: int) -> list[Record]:
        """Read the records from ``start``, counted from 0, up to but not including ``stop``."""
        stop = min(stop, self.count)
        if start >= stop:
            return []
        groups = range(bisect_right(self._ends, start), bisect_left(self._ends, stop) + 1)
        here = self._ends[groups.start - 1] if groups.start else 0
        rows: list[dict[str, Any]] = []
        for batch in self._batches(RECORDS.names, list(groups)):
            # A slice past the end of a batch is empty.
            rows += batch.slice(max(start - here, 0), max(stop - max(here, start), 0)).to_pylist()
            here += len(batch)
            if here >= stop:
                break
        return list(parse_records(self._name, rows, first=start + 1))

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Give some columns of all records."""
        for batch in self._batches(columns):
            yield from batch.to_pylist()


def pack_predictions(predictions: Iterable[Prediction]) -> bytes:
    """Give the bytes of the file that `write_predictions` would write."""
    buffer = io.BytesIO()
    write_rows(buffer, (prediction.model_dump() for prediction in predictions), PREDICTIONS)
    return buffer.getvalue()


@contextmanager
def joining_predictions(path: str | Path) -> Iterator[Callable[[bytes], list[Prediction]]]:
    """Write one table of predictions from the bytes of many; the function takes them in order, and reads them."""
    with replacing(path) as part, pq.ParquetWriter(part, PREDICTIONS, compression="zstd") as writer:

        def add(data: bytes) -> list[Prediction]:
            table = pq.read_table(io.BytesIO(data), schema=PREDICTIONS)
            for batch in table.to_batches(BATCH):
                writer.write_batch(batch)
            return list(parse_rows(path, table.to_pylist(), Prediction))

        yield add
