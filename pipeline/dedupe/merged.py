"""Find the record into which a duplicate was merged, from the id or the details of the duplicate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.core.records import normalise_doi, normalise_pmid
from mechtag.core.tables import TableRow, read_table
from mechtag.pipeline.dedupe.review_tables import FILES, ORIGINAL_ID, split_files

#: Name of the table of merged records that 'mechtag dedupe' writes next to the table of unique records.
GROUPS_FILE = "groups.csv"
_NEEDED = ("group", "kept", "record_id")


class MergedRecord(NamedTuple):
    """A record that was merged into another record.

    Attributes
    ----------
    record_id
        Id that the record had before it was merged.
    kept
        Id of the record into which it was merged.
    paths
        Paths of files in the fields of the record; see `mechtag.pipeline.reading.file_paths.recorded_paths`.
    """

    record_id: str
    kept: str
    doi: str | None = None
    pmid: str | None = None
    paths: tuple[tuple[str, ...], ...] = ()


class MergedRecords:
    """Finds the record of a table into which a duplicate was merged.

    A duplicate may have been merged into a record that a later run of deduplication removed, too.

    Parameters
    ----------
    merged
        All duplicates, from all runs of deduplication.
    known
        Ids of the records in the table.
    """

    def __init__(self, merged: Iterable[MergedRecord] = (), known: Collection[str] = ()) -> None:
        self._merged = tuple(merged)
        self._known = frozenset(known)
        self._ids = {row.record_id for row in self._merged} - self._known
        self._into: dict[str, set[str]] = defaultdict(set)
        for row in self._merged:
            for name in filter(None, (row.record_id, row.doi, row.pmid and f"pmid:{row.pmid}")):
                self._into[name].add(row.kept)
        # Records that shared an id got suffixes; see `dedupe.dedupe`. Those without duplicates are not in `groups.csv`.
        self._suffixed: dict[str, set[str]] = defaultdict(set)
        for record_id in self._known:
            shared, mark, _ = record_id.rpartition("#")
            if mark:
                self._suffixed[shared].add(record_id)

    def kept(self, name: str) -> tuple[str, ...]:
        """Return the ids of the records in the table into which a duplicate was merged.

        ``name`` is the former record id, the DOI or the PubMed id of the duplicate. If no duplicate has this
        identifier, the result is empty. If several duplicates with this identifier were merged into different records,
        the result has several items.
        """
        forms = (name, normalise_doi(name), (pmid := normalise_pmid(name)) and f"pmid:{pmid}")
        start = next((form for form in forms if form and form in self._into), None)
        if start is None:
            return ()
        return self._follow(self._into[start] | self._suffixed.get(start, set()))

    def __contains__(self, record_id: str) -> bool:
        """Return whether an id belongs to a removed record, and to no record in the table."""
        return record_id in self._ids

    def _follow(self, names: Iterable[str]) -> tuple[str, ...]:
        found, seen, left = set(), set(), set(names)
        while left:
            name = left.pop()
            seen.add(name)
            if name in self._known:
                found.add(name)
            else:
                left |= self._into.get(name, set()) - seen
        return tuple(sorted(found))

    def __iter__(self) -> Iterator[tuple[MergedRecord, str]]:
        """Yield each duplicate, and the id of the record in the table into which the duplicate was merged.

        If the table contains no such record, or several, the duplicate is omitted.
        """
        for row in self._merged:
            if len(kept := self._follow((row.kept,))) == 1:
                yield row, kept[0]


def groups_beside(table: Path) -> Path | None:
    """Return the path of the ``groups.csv`` next to a Parquet table of unique records; ``None`` if there is none."""
    path = table.with_name(GROUPS_FILE)
    return path if table.suffix == ".parquet" and path.is_file() and path.stat().st_size else None


def read_merged(paths: Sequence[Path]) -> list[MergedRecord]:
    """Read the merged records from files ``groups.csv`` that 'mechtag dedupe' wrote (`review_tables.write_groups`).

    Raises
    ------
    MechtagError
        If a table cannot be read, is not a ``groups.csv``, or contains a group without a kept record.
    """
    return [merged for path in paths for merged in _read(path)]


def read_merged_beside(path: Path, on_note: Callable[[str], None]) -> list[MergedRecord]:
    """Read the merged records in a file ``groups.csv`` that lies next to a table of records.

    If the file cannot be read, ``on_note`` is called with the reason and the result is empty. No error is raised,
    because the file may not have been written by mechtag.
    """
    try:
        return read_merged([path])
    except MechtagError as error:
        on_note(f"note: {error}. Until the file can be read, the ids and files of merged duplicates are not recognised")
        return []


def _read(path: Path) -> Iterator[MergedRecord]:
    table = read_table(path, "groups.csv, as 'mechtag dedupe' writes it", _NEEDED)
    if missing := [name for name in _NEEDED if name not in table.names]:
        raise MechtagError(
            f"{path}: the column {missing[0]!r} is missing; restore the column, or run 'mechtag dedupe' again"
        )
    kept = {row.cells["group"]: row for row in table.rows if _is_kept(row)}
    for row in table.rows:
        own = kept.get(row.cells["group"])
        if own is None:
            raise MechtagError(
                f"{row.place}: group {row.cells['group']!r} has no row with 'yes' in the column 'kept'; restore "
                "this row, or run 'mechtag dedupe' again"
            )
        cells, kept_id = row.cells, own.cells["record_id"]
        if row is own:
            # Its DOI, PubMed id and paths are those of the record in the table.
            if original := cells.get(ORIGINAL_ID):
                yield MergedRecord(original, kept_id)
            continue
        yield MergedRecord(
            cells["record_id"],
            kept_id,
            normalise_doi(cells.get("doi")),
            normalise_pmid(cells.get("pmid")),
            split_files(cells.get(FILES, "")),
        )


def _is_kept(row: TableRow) -> bool:
    return row.cells["kept"].casefold() == "yes"
