"""Sorting of more rows than fit into memory."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

#: What JSON can hold, and how it compares with others decides the order.
Row: TypeAlias = list[Any]

# Rows that are sorted in memory, and sorted files that are read at once.
_RUN = 5_000
_FILES = 64


class Sorter:
    """An external merge sort (Knuth, The Art of Computer Programming, volume 3, section 5.4).

    Parameters
    ----------
    folder
        For sorted files; they take as much room as the rows, written as JSON.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[Row] = []
        self._runs: list[Path] = []
        self._written = 0

    def add(self, row: Row) -> None:
        """Add one row."""
        self._rows.append(row)
        if len(self._rows) >= _RUN:
            self._write_rows()

    def sorted(self) -> Iterator[Row]:
        """Give all rows, the smallest first."""
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
    """Give a `Sorter` whose files lie in ``folder``, and are gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".sorting.", ignore_cleanup_errors=True) as files:
        yield Sorter(Path(files))
