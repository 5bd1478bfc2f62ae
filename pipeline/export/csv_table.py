"""Write ``tagged.csv``, a table for Excel with one row per record; sort rows on disk if they do not fit into memory."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from mechtag.core.files import write_csv
from mechtag.core.records import Prediction, Record
from mechtag.pipeline.text.sections import is_cut

#: A row of JSON values; rows are sorted by comparing these lists.
Row: TypeAlias = list[Any]

# Number of rows sorted in memory at a time, and number of sorted files merged at a time.
_RUN = 5_000
_FILES = 64


class Sorter:
    """Sorts rows that may not fit into memory, using files on disk.

    This is an external merge sort (Knuth, The Art of Computer Programming, volume 3, section 5.4).

    Parameters
    ----------
    folder
        Folder for temporary files, which take as much space as the rows do as JSON.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[Row] = []
        self._runs: list[Path] = []
        self._written = 0

    def add(self, row: Row) -> None:
        """Add one row to the rows to sort."""
        self._rows.append(row)
        if len(self._rows) >= _RUN:
            self._write_rows()

    def sorted(self) -> Iterator[Row]:
        """Yield all rows in ascending order."""
        self._write_rows()
        while len(self._runs) > _FILES:
            oldest, self._runs = self._runs[:_FILES], self._runs[_FILES:]
            self._write(heapq.merge(*map(_read, oldest)))
            for path in oldest:
                path.unlink()
        return heapq.merge(*map(_read, self._runs))

    def _write_rows(self) -> None:
        self._write(sorted(self._rows))
        self._rows = []

    def _write(self, rows: Iterable[Row]) -> None:
        path = self._folder / str(self._written)
        self._written += 1
        with path.open("w", encoding="ascii") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        self._runs.append(path)


def _read(path: Path) -> Iterator[Row]:
    with path.open(encoding="ascii") as file:
        yield from map(json.loads, file)


@contextmanager
def sorting(folder: Path) -> Iterator[Sorter]:
    """Yield a `Sorter` whose temporary files are in ``folder`` and are deleted when the context ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".sorting.", ignore_cleanup_errors=True) as files:
        yield Sorter(Path(files))


_BIBLIOGRAPHIC = ("record_id", "title", "authors", "year", "journal", "doi", "pmid", "abstract_note")

# Maximum number of characters in a cell, which Excel counts in UTF-16 units; see
# https://support.microsoft.com/office/excel-specifications-and-limits. Excel truncates longer text without a warning,
# so truncate it here and add a note.
_CELL_LIMIT = 32_767
NOT_SCORED = "not scored"
_CUT = " [cut: a cell holds 32,767 characters]"


def excel_cell(text: str) -> str:
    """Return text on one line; if it is too long for an Excel cell, truncate it and add a note."""
    text = " ".join(text.split())
    room = _CELL_LIMIT - 1  # the apostrophe that write_csv may put before a formula
    units = text.encode("utf-16-le", errors="replace")
    if len(units) <= 2 * room:
        return text
    return units[: 2 * (room - len(_CUT))].decode("utf-16-le", errors="ignore") + _CUT


def _quote(prediction: Prediction) -> str:
    """Return the evidence sentences of a prediction in quotation marks, the strongest first."""
    strongest = sorted(prediction.evidence, key=lambda evidence: -evidence.score)
    return excel_cell(" ".join(f"“{evidence.text}”" for evidence in strongest))


def _abstract_note(abstract: str) -> str:
    if not abstract:
        return "none"
    return "cut off" if is_cut(abstract) else ""


@contextmanager
def writing(
    labels: Sequence[tuple[str, str]], path: Path
) -> Iterator[Callable[[Record, Mapping[str, Prediction]], None]]:
    """Write tagged records as a CSV table (UTF-8 with byte order mark), the most relevant record first.

    The columns are bibliographic fields, ``abstract_note`` (``none`` if there is no abstract, ``cut off`` if it ends
    in mid-sentence, otherwise empty), and for each label ``KEY_probability``, ``KEY_decision`` (``not scored`` if
    relevance was a clear no) and ``KEY_evidence``. Rows are sorted by the probability of relevance in descending
    order, then by ``record_id``; records without a probability come last. The parameters are those of
    `export.Exporter`.
    """
    relevance = labels[0][0]
    header = [
        *_BIBLIOGRAPHIC,
        *(f"{key}_{part}" for key, _ in labels for part in ("probability", "decision", "evidence")),
    ]

    def cells(record: Record, predictions: Mapping[str, Prediction]) -> Iterator[object]:
        yield excel_cell(record.record_id)
        yield excel_cell(record.title)
        yield excel_cell("; ".join(record.authors))
        yield record.year
        yield excel_cell(record.journal or "")
        yield excel_cell(record.doi or "")
        yield excel_cell(record.pmid or "")
        yield _abstract_note(record.abstract)
        for key, _ in labels:
            prediction = predictions.get(key)
            if prediction is None:
                yield from (None, None, None)
            else:
                yield None if prediction.probability is None else round(prediction.probability, 4)
                yield NOT_SCORED if prediction.score is None else prediction.decision
                yield _quote(prediction)

    with sorting(path.parent) as sorter:

        def add(record: Record, predictions: Mapping[str, Prediction]) -> None:
            prediction = predictions.get(relevance)
            probability = prediction.probability if prediction else None
            rank = 1.0 if probability is None else -probability
            sorter.add([rank, record.record_id, list(cells(record, predictions))])

        yield add
        write_csv(path, header, (row for _, _, row in sorter.sorted()), bom=True)
