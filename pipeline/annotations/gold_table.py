"""A gold standard: the coding matrix that a review printed, and what is known of it.

Labels always come as an argument, in codebook order, and never from the data at hand.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mechtag.core.codebook import read_yaml
from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath
from mechtag.core.records import Coding, Record, Row
from mechtag.pipeline.annotations.coded_records import Basis, read_text, refuse_doubled

Value = Literal[0, 1] | None

_VALUES: Mapping[str, Value] = {"1": 1, "0": 0, "": None}


class Matrix(Row):
    """A table of papers and codes, as reviews print it.

    Attributes
    ----------
    path
        The file it came from, for messages.
    keys, papers, lines
        For each paper its key, how it is cited (its key where the table has no column
        ``paper``) and its line in the file.
    columns
        Text of the cells of every other column, by column name, in file order.
    """

    path: str
    keys: tuple[str, ...]
    papers: tuple[str, ...]
    lines: tuple[int, ...]
    columns: dict[str, tuple[str, ...]]

    def values(self, column: str) -> tuple[Value, ...]:
        """Read a column of codes: 1, 0, or ``None`` for an empty cell (not judged).

        Raises
        ------
        MechtagError
            There is no such column, or a cell holds anything else.
        """
        if column not in self.columns:
            found = ", ".join(self.columns) or "none"
            raise MechtagError(f"{self.path}: column {column} is missing; columns of codes found: {found}")
        values = []
        for line, cell in zip(self.lines, self.columns[column], strict=True):
            if cell not in _VALUES:
                raise MechtagError(
                    f"{self.path}: line {line}, column {column}: {cell!r} is no code; "
                    "allowed are 1, 0 and empty (not judged)"
                )
            values.append(_VALUES[cell])
        return tuple(values)

    def codings(self, label_keys: Sequence[str], coder: str, basis: Basis) -> list[Coding]:
        """Rows of the coding contract, paper by paper, labels in the order given; raises as `values` does."""
        columns = {label: self.values(label) for label in label_keys}
        return [
            Coding(key=key, coder=coder, label=label, value=columns[label][row], basis=basis)
            for row, key in enumerate(self.keys)
            for label in label_keys
        ]


class GoldNotes(Row):
    """What is known of a gold standard beside its table.

    Attributes
    ----------
    source
        Where the table was printed.
    printed_counts
        How many papers the publication says carry a label, where it says so.
    expected_empty
        Columns of which the publication says that no paper carries them, and where it says so.
    notes
        Anything else a reader of the figures must know, one sentence each.
    """

    source: str
    printed_counts: dict[str, int] = Field(default_factory=dict)
    expected_empty: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load_matrix(path: StrPath) -> Matrix:
    """Read a coding matrix: CSV with a column ``key``, perhaps ``paper``, and one column a code.

    Raises
    ------
    MechtagError
        The file is missing, is no CSV, has no column ``key`` or no row; a column or a key
        stands twice or is empty; a row is longer or shorter than the header.
    """
    path = Path(path)
    reader = csv.reader(StringIO(read_text(path, "a coding matrix (CSV)"), newline=""), strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise MechtagError(f"{path}: line {reader.line_num}: not readable as CSV: {error}") from None
    header = rows[0][1] if rows else []
    if "key" not in header:
        found = ", ".join(header)[:200] or "none"
        raise MechtagError(f"{path}: no column 'key'; columns found: {found}; columns are separated by commas")
    columns = dict[str, int]()
    for position, name in enumerate(header, start=1):
        if not name or name in columns:
            raise MechtagError(f"{path}: column {position} is named {name!r}; names must be distinct and not empty")
        columns[name] = position
    if len(rows) == 1:
        raise MechtagError(f"{path}: a header but no paper below it")
    seen = dict[str, tuple[Path, int]]()
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise MechtagError(f"{path}: line {line}: {len(row)} cells under a header of {len(header)}")
        key = row[columns["key"] - 1]
        if not key:
            raise MechtagError(f"{path}: line {line}: the cell 'key' is empty; give each paper a key")
        refuse_doubled(seen, key, path, line)
    cells = {name: tuple(row[position - 1] for _, row in rows[1:]) for name, position in columns.items()}
    return Matrix(
        path=str(path),
        keys=cells["key"],
        papers=cells.get("paper", cells["key"]),
        lines=tuple(line for line, _ in rows[1:]),
        columns={name: values for name, values in cells.items() if name not in ("key", "paper")},
    )


def read_matrix(
    path: str | Path, label_keys: Sequence[str], coder: str = "reviewers", basis: Basis = "full-text"
) -> list[Coding]:
    """Read a coding matrix into rows of the coding contract, paper by paper, labels in the order given.

    Columns that are no label (`Matrix.columns` has them) are passed over.

    Raises
    ------
    MechtagError
        As `load_matrix` and `Matrix.values`.
    """
    return load_matrix(path).codings(label_keys, coder, basis)


def read_gold_notes(table: str | Path) -> GoldNotes | None:
    """Read the notes that stand beside a table under its name, ending in ``.yaml``; ``None`` where none do.

    Raises
    ------
    MechtagError
        The notes are no YAML mapping, or have an unknown or missing key.
    """
    path = Path(table).with_suffix(".yaml")
    if not path.exists():
        return None
    return read_yaml(path, GoldNotes, missing="no such file", expected="notes on a gold standard are a mapping")


@dataclass(frozen=True)
class GoldStandard:
    """A coding matrix and the records of its papers.

    Attributes
    ----------
    records
        By key of the paper; a paper of which nothing is known has none.
    notes
        ``None`` where nothing is known beside the table.
    """

    matrix: Matrix
    records: dict[str, Record]
    notes: GoldNotes | None = None

    @property
    def evaluated(self) -> list[Record]:
        """Records of the papers that can be evaluated, in the order of the matrix."""
        return [self.records[key] for key in self.matrix.keys if key in self.records]

    def truth(self, labels: Sequence[str]) -> NDArray[np.float64]:
        """Codes of the papers in `evaluated`: shape (papers, labels), NaN for not judged."""
        rows = [row for row, key in enumerate(self.matrix.keys) if key in self.records]
        codes = np.array([self.matrix.values(label) for label in labels], dtype=float).T
        return np.asarray(codes[rows])


def gold_standard(matrix: Matrix, records: Iterable[Record], notes: GoldNotes | None = None) -> GoldStandard:
    """Find the record of each paper by the field ``key`` that its source file gave it.

    Raises
    ------
    MechtagError
        Two records carry the same key, or no paper has a record.
    """
    by_key: dict[str, Record] = {}
    for record in records:
        own = dict(record.raw).get("key")
        key = record.record_id if own is None else str(own)  # JSON may have numbers for keys.
        if key not in matrix.keys:
            continue
        if key in by_key:
            raise MechtagError(
                f"{record.source_file}: record {record.source_index}: key {key} belongs to record "
                f"{by_key[key].source_index} of {by_key[key].source_file} already; each must be unique"
            )
        by_key[key] = record
    if not by_key:
        raise MechtagError(
            f"{matrix.path}: no record carries the key of any of its {len(matrix.keys)} papers; "
            "ingest the file that holds the gold records, with a field 'key'"
        )
    return GoldStandard(matrix, by_key, notes)
