"""Sort rows with temporary files, so that the rows need not fit into memory."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from mechtag.core.temporary import temporary_folder

#: A row of JSON values; rows are sorted by comparing these lists.
Row: TypeAlias = list[Any]

# Number of rows sorted in memory at a time, and number of sorted files merged at a time.
_RUN = 5_000
_FILES = 64


class Sorter:
    """Sorts rows that may not fit into memory, by an external merge sort.

    Source: Knuth, The Art of Computer Programming, volume 3, section 5.4.

    Parameters
    ----------
    folder
        Folder for temporary files. Together, the files are as large as the rows in JSON format.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[Row] = []
        self._runs: list[Path] = []
        self._written = 0

    def add(self, row: Row) -> None:
        """Add a row to be sorted."""
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
    """Yield a `Sorter` with temporary files in ``folder``; the files are deleted when the context ends."""
    with temporary_folder(folder) as files:
        yield Sorter(files)
