"""Find the record of a full-text file by the file paths that a reference manager wrote into the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mechtag.core.records import Record
from mechtag.pipeline.reading.file_paths import folded, recorded_paths


class RecordedPaths:
    """Finds the record whose fields contain the path of a file.

    Parameters
    ----------
    records
        Records after deduplication.
    files
        All files for which `find` will be called. They show which file names are unique.
    merged
        One tuple for each duplicate that was merged into one of ``records``. A tuple contains the paths in the
        duplicate (see `recorded_paths`), the id of the kept record, and the id of the duplicate.
    """

    def __init__(
        self,
        records: Sequence[Record],
        files: Sequence[Path],
        merged: Iterable[tuple[Sequence[tuple[str, ...]], str, str]] = (),
    ) -> None:
        self._by_name: dict[str, list[tuple[tuple[str, ...], str, str]]] = defaultdict(list)
        for record in records:
            for path in recorded_paths(record):
                self._by_name[path[-1]].append((path, record.record_id, ""))
        for paths, kept, duplicate in merged:
            for path in paths:
                self._by_name[path[-1]].append((path, kept, duplicate))
        self._count: Mapping[str, int] = _counts(files)

    def find(self, file: Path) -> tuple[str, str] | None:
        """Find the record with a field that contains the path of a file.

        A path in a field matches if its last folder and its file name are those of the file. A path without folders
        matches if only one of the files has this name. If several paths match, the path that shares the most folders
        with the file is used.

        Returns
        -------
        tuple of str, or None
            The id of the record, and the id of the merged duplicate whose field contains the path. If a field of the
            record itself contains the path, the second id is ``""``. If no record matches, or if several records match
            equally well, the result is ``None``.
        """
        parts = folded(file.absolute().parts)
        ranked: dict[int, dict[str, str]] = defaultdict(dict)
        for path, record_id, duplicate in self._by_name.get(parts[-1], ()):
            length = _common_end(path, parts)
            if length > 1 or (len(path) == 1 and self._count[parts[-1]] == 1):
                ranked[length].setdefault(record_id, duplicate)
        best = ranked[max(ranked)] if ranked else {}
        return next(iter(best.items())) if len(best) == 1 else None


def _counts(files: Sequence[Path]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for file in files:
        found[folded([file.name])[0]] += 1
    return found


def _common_end(left: Sequence[str], right: Sequence[str]) -> int:
    length = 0
    for one, other in zip(reversed(left), reversed(right), strict=False):
        if one != other:
            break
        length += 1
    return length
