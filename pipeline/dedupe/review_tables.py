"""Write tables of duplicates and uncertain pairs, and read the decisions that people enter in these tables.

``groups.csv`` lists the records that were merged into one paper. ``uncertain.csv`` lists uncertain pairs, which were
not merged. In both tables, a person can enter ``same`` or ``different`` in the column ``decision``. The next run can
read the decisions from the file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv
from mechtag.core.records import Record, normalise_title
from mechtag.core.tables import TableRow, read_table
from mechtag.pipeline.dedupe.results import Decision, Deduped, Reference
from mechtag.pipeline.reading.file_paths import recorded_paths

#: Column that contains the id under which the kept record was read, if it has a different id now.
ORIGINAL_ID = "original_id"
#: Column that contains the paths of files in the fields of a record, as reference managers export them.
FILES = "files"
_READ = ("source_file", "source_index", "title", "authors", "year", "journal", "doi", "pmid")
GROUPS = ("group", "decision", "kept", "confidence", "reason", "gave", "record_id", *_READ, ORIGINAL_ID, FILES)
# File names on Windows cannot contain this character.
_BETWEEN_FILES = " | "
_SHOWN = (
    *("record_id", "source_file", "source_index", "title", "authors", "year", "journal"),
    *("volume", "issue", "pages", "doi", "pmid", "type", "abstract"),
)
UNCERTAIN = ("pair", "decision", "confidence", "reason", *(f"{name}_{side}" for name in _SHOWN for side in (1, 2)))
# Number of characters of an abstract that are shown, which is enough to distinguish two papers.
_ABSTRACT = 500
# Columns that identify the records of a row; Excel omits empty cells at the end of a row.
_NEEDED = ("group", "title", "title_1", "title_2")
_DECISIONS = {"same": True, "different": False}


def _cell(record: Record, name: str) -> object:
    value = getattr(record, name)
    if name == "authors":
        return "; ".join(value)
    return value[:_ABSTRACT] if name == "abstract" else value


def write_groups(path: str | Path, deduped: Deduped) -> None:
    """Write ``groups.csv``, which has one row per member of a group; the least certain groups come first.

    The first row of each group is the kept record. In the row of another member, the column ``gave`` lists the fields
    of the kept record that were filled from this member. The column `ORIGINAL_ID` contains the id under which the kept
    record was read, if it has a different id now. The column `FILES` contains the files of the member.
    `merged.read_merged` reads both columns, so that the kept record can be found by former ids and by files.
    """
    rows = []
    groups = sorted(deduped.groups, key=lambda group: group.confidence)
    for number, group in enumerate(groups, start=1):
        for member in group.members:
            kept = member is group.members[0]
            gave = " ".join(filled.field for filled in group.filled if filled.giver is member)
            record_id = group.kept.record_id if kept else member.record_id
            others = (_cell(member, name) for name in _READ)
            original = member.record_id if member.record_id != record_id else ""
            files = _BETWEEN_FILES.join(map("/".join, recorded_paths(member)))
            state = "yes" if kept else "no"
            row = (number, "", state, group.confidence, group.reason, gave, record_id, *others, original, files)
            rows.append(row)
    write_csv(path, GROUPS, rows, bom=True)


def split_files(cell: str) -> tuple[tuple[str, ...], ...]:
    """Return the paths in a cell of the column `FILES`; each path is a tuple of its folders and its file name."""
    return tuple(tuple(path.split("/")) for path in cell.split(_BETWEEN_FILES) if path)


def write_uncertain(path: str | Path, deduped: Deduped) -> None:
    """Write ``uncertain.csv``, which has one row per uncertain pair; the most likely duplicates come first."""
    rows = (
        (
            *(number, "", pair.confidence, pair.reason),
            *(_cell(record, name) for name in _SHOWN for record in (pair.left, pair.right)),
        )
        for number, pair in enumerate(deduped.uncertain, start=1)
    )
    write_csv(path, UNCERTAIN, rows, bom=True)


def _rows(path: Path) -> tuple[TableRow, ...]:
    table = read_table(path, "groups.csv or uncertain.csv with decisions filled in", ("decision", *_NEEDED))
    names = set(table.names)
    if not {"decision", "title_1", "title_2"} <= names and not {"decision", "group", "title"} <= names:
        raise MechtagError(
            f"{path}: this is not a file of decisions; expected the columns of groups.csv or uncertain.csv as "
            f"'mechtag dedupe' writes them, but found {', '.join(table.names) or 'none'}"
        )
    return table.rows


def _reference(row: TableRow, side: str = "") -> Reference:
    file, title = (row.cells.get(f"{name}{side}", "") for name in ("source_file", "title"))
    number = row.number_in(f"source_index{side}")
    return Reference(file, "" if number is None else f"{number:.0f}", normalise_title(title))


def _decision(row: TableRow) -> bool | None:
    word = row.cells["decision"].casefold()
    if word and word not in _DECISIONS:
        raise MechtagError(
            f"{row.place}: decision {row.cells['decision']!r} is unknown; write 'same' or 'different', or leave "
            "the cell empty"
        )
    return _DECISIONS.get(word)


def _on_pairs(rows: Iterable[TableRow]) -> Iterator[Decision]:
    for row in rows:
        same = _decision(row)
        if same is not None:
            yield Decision(_reference(row, "_1"), _reference(row, "_2"), same, row.place)


def _on_groups(rows: Iterable[TableRow]) -> Iterator[Decision]:
    """Yield the decisions in ``groups.csv``; each compares a member of a group with the kept record of this group."""
    kept: dict[str, Reference] = {}
    members: dict[str, list[tuple[Reference, bool | None, str]]] = defaultdict(list)
    for row in rows:
        group, same = row.cells["group"], _decision(row)
        if row.cells.get("kept", "").casefold() == "yes":
            kept[group] = _reference(row)
            if same is not None:
                raise MechtagError(
                    f"{row.place}: the decision is in the row of the kept record; move it to the row of the other "
                    "record that you compared"
                )
        elif group in kept:
            members[group].append((_reference(row), same, row.place))
        elif same is not None:
            raise MechtagError(
                f"{row.place}: the kept record of group {group} is not above this row; put the rows back in the order "
                "in which 'mechtag dedupe' wrote them"
            )
    for group, found in members.items():
        # If a person took one member out of the group, the members without a decision count as the same paper.
        split = any(same is False for _, same, _ in found)
        for member, same, place in found:
            if split or same:
                yield Decision(kept[group], member, same is not False, place)


def read_decisions(paths: Iterable[str | Path]) -> list[Decision]:
    """Read the decisions that people entered in ``groups.csv`` or ``uncertain.csv``.

    In ``uncertain.csv``, rows without a decision are ignored. In ``groups.csv``, each decision compares the record in
    the row with the record that was kept for the group. ``different`` removes the record from the group. Records
    without a decision stay in the group.

    Raises
    ------
    MechtagError
        In these cases:

        - A file is missing, or lacks the expected columns.
        - A decision is neither ``same`` nor ``different``.
        - The row of a kept record contains a decision.
        - The rows of a group are not in their original order.
    """
    decisions: list[Decision] = []
    for path in map(Path, paths):
        rows = _rows(path)
        decisions += (_on_groups if rows and "group" in rows[0].cells else _on_pairs)(rows)
    return decisions
