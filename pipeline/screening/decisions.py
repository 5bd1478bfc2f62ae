"""Read reviewers' decisions on relevance, in the order in which they were made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, RecordIndex, Row
from mechtag.core.source import Source
from mechtag.core.tables import TableRow, Value, read_table
from mechtag.pipeline.reading.archives import unpack

# Columns that may identify the record or contain the decision; the first one found is used.
_NAMES = ("record_id", "key", "id")
_VALUES = ("decision", "value", "relevant", "included", "label")
_WORDS: Mapping[str, Literal[0, 1]] = {
    **dict.fromkeys(("relevant", "include", "included"), 1),
    **dict.fromkeys(("irrelevant", "exclude", "excluded"), 0),
}


class Judgements(Row):
    """Decisions on records.

    Attributes
    ----------
    path
        The file they came from, for messages.
    name
        How records are identified: by ``record_id``, or by a field of their source file.
    values
        Decisions by that identifier, in the order of the file; ``None`` for not judged.
    """

    path: str
    name: str
    values: dict[str, Value]

    def labels(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """Return the decision on each record: 1, 0, or NaN for not judged, shape (n_records,).

        Raises
        ------
        MechtagError
            If no decision is about any of the records, or two records have the same identifier.
        """
        found = np.full(len(records), np.nan)
        for row, value in self._placed(records):
            found[row] = value
        return found

    def order(self, records: Sequence[Record]) -> NDArray[np.int64]:
        """Return the rows of the judged records, in the order of judgement; raises as `labels`."""
        return np.array([row for row, _ in self._placed(records)], dtype=np.int64)

    def unknown(self, records: Sequence[Record]) -> list[str]:
        """Return the identifiers with a decision that belong to none of the records; raises as `labels`."""
        rows = self._rows(records)
        return [name for name, value in self.values.items() if value is not None and name not in rows]

    def _placed(self, records: Sequence[Record]) -> Iterator[tuple[int, int]]:
        """Yield row and decision of each judged record, in the order of judgement."""
        rows = self._rows(records)
        for name, value in self.values.items():
            if value is not None and name in rows:
                yield rows[name], value

    def _rows(self, records: Sequence[Record]) -> dict[str, int]:
        index = RecordIndex(records)
        rows: dict[str, int] = {}
        for name in self.values:
            found = index.rows(self.name, name)
            if len(found) > 1:
                raise MechtagError(
                    f"{self.path}: {self.name} {name!r} belongs to two records: {_place(records[found[0]])} "
                    f"and {_place(records[found[1]])}; remove duplicates first (mechtag dedupe)"
                )
            if found:
                rows[name] = found[0]
        if not rows:
            raise MechtagError(
                f"{self.path}: none of its {len(self.values)} rows is about any of the {len(records)} records; the "
                f"first is "
                f"about {self.name} {next(iter(self.values))!r}; use the records that were judged, or identify "
                f"them by "
                "record_id"
            )
        return rows


def _place(record: Record) -> str:
    return f"record {record.source_index} of {record.source_file}"


def read_judgements(path: str | Path, relevance_key: str) -> Judgements:
    """Read decisions on relevance from CSV, XLSX or JSON lines, also gzipped.

    Each row identifies its record in a column ``record_id``, or in ``key`` or ``id``, a field of the
    file that the record came from, and contains the decision in a column ``decision``, ``value``,
    ``relevant``, ``included``, ``label`` or that of the codebook's relevance: 1 or 0, yes or no, included or
    excluded, empty for not judged (`tables.read_tick`).
    Rows of the coding contract have ``label`` and ``value``; rows of other labels are ignored.

    Raises
    ------
    MechtagError
        If the file is missing, empty or in another format; a column is missing; a decision has another
        value; a record is judged both ways; or there is no decision at all.
    """
    path = Path(path)
    values: dict[str, Value] = {}
    places: dict[str, str] = {}
    name_column = ""
    for row in _rows(path, relevance_key):
        if not name_column:
            name_column = _column(row, _NAMES, "identifies the record")
        value_column = _column(row, (*_VALUES[:2], relevance_key, *_VALUES[2:]), "contains the decision")
        if value_column == "value" and row.cells.get("label", relevance_key) != relevance_key:
            continue
        name = row.cells.get(name_column, "")
        if not name:
            raise MechtagError(f"{row.place}: the column {name_column} is empty; it must identify the record")
        value = row.tick(value_column, _WORDS)
        if name in values and None not in (value, values[name]) and value != values[name]:
            raise MechtagError(
                f"{row.place}: {name_column} {name!r} is judged {value} here and {values[name]} at {places[name]}; "
                "correct one of the two rows"
            )
        if values.get(name) is None:
            values.pop(name, None)  # The record takes the position of its decision.
            values[name], places[name] = value, row.place
    if not values:
        raise MechtagError(f"{path}: no decision on {relevance_key} found; expected one row per judged record")
    return Judgements(path=str(path), name=name_column, values=values)


def _column(row: TableRow, allowed: Sequence[str], what: str) -> str:
    for name in allowed:
        if name in row.cells:
            return name
    found = ", ".join(row.cells)[:200] or "none"
    raise MechtagError(f"{row.place}: no column {what}; expected one of {', '.join(allowed)}; found: {found}")


def _rows(path: Path, relevance_key: str) -> Iterable[TableRow]:
    expected = "decisions on records, as CSV, XLSX or JSON lines"
    if not path.is_file():
        raise MechtagError(f"{path}: no such file; expected {expected}")
    source, *others = (source for _, source in unpack(Source(path)))
    if others:
        raise MechtagError(f"{path}: an archive of {len(others) + 1} files; expected {expected}")
    if ".jsonl" in path.suffixes:
        return _json_rows(path, source.text)
    return read_table(source, expected, (*_NAMES, *_VALUES, relevance_key)).rows


def _json_rows(path: Path, text: str) -> Iterator[TableRow]:
    # Not splitlines: JSON strings may contain U+2028 and other Unicode line separators.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}: line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise MechtagError(f"{place}: not JSON: {error.msg}; expected one object per line") from None
        if not isinstance(row, dict):
            raise MechtagError(f"{place}: expected one JSON object, found {type(row).__name__}")
        cells = {name: "" if value is None else str(value).strip() for name, value in row.items()}
        yield TableRow(number, place, cells)
