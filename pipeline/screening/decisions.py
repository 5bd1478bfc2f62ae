"""Reading what reviewers decided on records: relevant or not, in the order in which they decided."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, Row
from mechtag.pipeline.annotations.coded_records import read_text

Value = Literal[0, 1] | None

# Columns that may name the record, and those that may hold the decision, the first found counts.
_NAMES = ("record_id", "key", "id")
_VALUES = ("decision", "value", "relevant", "included", "label")
_WORDS: Mapping[str, Value] = {
    **dict.fromkeys(("1", "yes", "true", "relevant", "include", "included"), 1),
    **dict.fromkeys(("0", "no", "false", "irrelevant", "exclude", "excluded"), 0),
    "": None,
}
_MAX_FIELD = 10_000_000


class Judgements(Row):
    """Decisions on records.

    Attributes
    ----------
    path
        The file they came from, for messages.
    name
        Which name of a record they use: ``record_id``, or a field of its source file.
    values
        By that name, in the order of the file; ``None`` is not judged.
    """

    path: str
    name: str
    values: dict[str, Value]

    def labels(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """Set the decisions beside records: 1, 0, or NaN for not judged, shape (n_records,).

        Raises
        ------
        MechtagError
            No decision is on any of the records, or two records have one name.
        """
        found = np.full(len(records), np.nan)
        for row, value in self._placed(records):
            found[row] = value
        return found

    def order(self, records: Sequence[Record]) -> NDArray[np.int64]:
        """Rows of the judged records, in the order in which they were judged; raises as `labels`."""
        return np.array([row for row, _ in self._placed(records)], dtype=np.int64)

    def unknown(self, records: Sequence[Record]) -> list[str]:
        """Names with a decision that are no name of a record given; raises as `labels`."""
        rows = self._rows(records)
        return [name for name, value in self.values.items() if value is not None and name not in rows]

    def _placed(self, records: Sequence[Record]) -> Iterator[tuple[int, int]]:
        """Row and decision of each record judged, in the order judged."""
        rows = self._rows(records)
        for name, value in self.values.items():
            if value is not None and name in rows:
                yield rows[name], value

    def _rows(self, records: Sequence[Record]) -> dict[str, int]:
        rows: dict[str, int] = {}
        for number, record in enumerate(records):
            name = record.record_id if self.name == "record_id" else str(dict(record.raw).get(self.name, ""))
            if name not in self.values:
                continue
            if name in rows:
                raise MechtagError(
                    f"{self.path}: {self.name} {name!r} is the name of two records: {_place(records[rows[name]])} "
                    f"and {_place(record)}; remove duplicates first (mechtag dedupe)"
                )
            rows[name] = number
        if not rows:
            raise MechtagError(
                f"{self.path}: none of its {len(self.values)} rows is on any of the {len(records)} records given, the "
                f"first is on {self.name} {next(iter(self.values))!r}; give the records that were judged, or name them "
                "by record_id"
            )
        return rows


def _place(record: Record) -> str:
    return f"record {record.source_index} of {record.source_file}"


def read_judgements(path: str | Path, relevance_key: str) -> Judgements:
    """Read decisions on relevance from CSV (also gzipped) or JSON lines.

    Each row names its record in a column ``record_id``, or ``key`` or ``id`` for a field of that name
    in the file the record came from, and holds the decision in a column ``decision``, ``value``,
    ``relevant``, ``included``, ``label`` or that of the codebook's relevance: 1 or 0, yes or no, empty for not judged.
    Rows of the coding contract have ``label`` and ``value``; those of other labels are passed over.

    Raises
    ------
    MechtagError
        The file is missing or empty, is neither; a column is missing; a decision is none of those
        allowed; a record is judged both ways, or nowhere.
    """
    path = Path(path)
    values: dict[str, Value] = {}
    lines: dict[str, int] = {}
    name_column = ""
    for number, row in _rows(path):
        if not name_column:
            name_column = _column(path, number, row, _NAMES, "names the record")
        value_column = _column(path, number, row, (*_VALUES[:2], relevance_key, *_VALUES[2:]), "holds the decision")
        if value_column == "value" and row.get("label", relevance_key) != relevance_key:
            continue
        name = str(row.get(name_column) or "").strip()
        if not name:
            raise MechtagError(f"{path}: line {number}: the column {name_column} is empty; name the record")
        value = _value(path, number, value_column, row[value_column])
        if name in values and None not in (value, values[name]) and value != values[name]:
            raise MechtagError(
                f"{path}: {name_column} {name!r} is judged {values[name]} on line {lines[name]} and {value} "
                f"on line {number}; settle it in the file"
            )
        if values.get(name) is None:
            values.pop(name, None)  # The place in the order is that of the decision.
            values[name], lines[name] = value, number
    if not values:
        raise MechtagError(f"{path}: no decision on {relevance_key} in it; expected one row a record judged")
    return Judgements(path=str(path), name=name_column, values=values)


def _column(path: Path, number: int, row: Mapping[str, Any], allowed: Sequence[str], what: str) -> str:
    for name in allowed:
        if name in row:
            return name
    found = ", ".join(str(name) for name in row)[:200] or "none"
    raise MechtagError(f"{path}: line {number}: no column {what}; expected one of {', '.join(allowed)}; found: {found}")


def _value(path: Path, number: int, column: str, cell: Any) -> Value:
    word = "" if cell is None else str(cell).strip().casefold()
    if word not in _WORDS:
        raise MechtagError(
            f"{path}: line {number}, column {column}: {cell!r} is no decision; "
            "allowed are 1 or 0, yes or no, and empty (not judged)"
        )
    return _WORDS[word]


def _text(path: Path) -> str:
    if path.suffix != ".gz":
        return read_text(path, "decisions on records, as CSV or JSON lines")
    try:
        return gzip.decompress(path.read_bytes()).decode("utf-8-sig")
    except FileNotFoundError:
        raise MechtagError(f"{path}: no such file; expected decisions on records") from None
    except (OSError, EOFError, ValueError) as error:
        raise MechtagError(f"{path}: not readable as gzipped UTF-8 text: {error}") from None


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows with the number of the line each ends on."""
    text = _text(path)
    if not text.strip():
        raise MechtagError(f"{path}: empty; expected decisions on records, as CSV or JSON lines")
    if ".jsonl" in path.suffixes:
        yield from _json_rows(path, text)
        return
    csv.field_size_limit(_MAX_FIELD)
    heading = text.split("\n", 1)[0]  # Excel may have put semicolons or tabs for commas.
    reader = csv.DictReader(StringIO(text, newline=""), delimiter=max(",;\t", key=heading.count), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise MechtagError(f"{path}: line {reader.line_num}: more or fewer cells than the header has")
            yield reader.line_num, {str(name).strip(): cell for name, cell in row.items()}
    except csv.Error as error:
        raise MechtagError(f"{path}: line {reader.line_num}: not readable as CSV: {error}") from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Not splitlines: JSON text may hold U+2028 and other line ends of Unicode.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise MechtagError(f"{path}: line {number}: not JSON: {error.msg}; expected one object a line") from None
        if not isinstance(row, dict):
            raise MechtagError(f"{path}: line {number}: expected one JSON object, found {type(row).__name__}")
        yield number, row
