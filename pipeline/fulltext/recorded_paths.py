"""Find the record whose reference manager recorded the path of a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mechtag.core.records import Record
from mechtag.pipeline.reading.file_paths import folded, recorded_paths


class RecordedPaths:
    """Finds the record whose fields contain the path of a given file.

    Parameters
    ----------
    records
        Records without duplicates.
    files
        All files that will be looked up; they show whether a file name is unique.
    merged
        Paths in the fields of each record that was merged into one of ``records``, as `recorded_paths` returns them,
        with the id of the kept record and the id of the merged record.
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
        """Return the id of the record whose fields contain the path of a file; ``None`` if there is no single record.

        A path in a record matches a file if both end in the same folder and file name. A file name without a folder
        matches only if exactly one of the files has this name. If several paths match, the one with the most folders
        in common is used.

        The second item of the result is the id of the merged record that contains the path, or ``""`` if the record
        itself contains it.
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
