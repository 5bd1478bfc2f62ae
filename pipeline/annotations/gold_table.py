"""Read a gold standard: the coding matrix printed in a review, and notes on that matrix.

Labels are always an argument, in codebook order; they are never taken from the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mechtag.core.codebook import read_yaml
from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath
from mechtag.core.records import Coding, Record, RecordIndex, Row
from mechtag.core.tables import TableRow, Value, read_table
from mechtag.pipeline.annotations.coded_records import Basis, refuse_doubled


@dataclass(frozen=True)
class Matrix:
    """A table with one row per paper and one column per code, as printed in reviews.

    Attributes
    ----------
    path
        File from which the matrix was read, for error messages.
    keys, papers
        Key and citation of each paper (the key again if the table has no column ``paper``).
    columns
        Names of all other columns, in file order.
    rows
        Rows of the table, one per paper.
    """

    path: str
    keys: tuple[str, ...]
    papers: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def values(self, column: str) -> tuple[Value, ...]:
        """Return the codes in a column: 1 (yes), 0 (no) or ``None`` (not judged); see `tables.read_tick`.

        Raises
        ------
        MechtagError
            If there is no such column, or a cell contains something that is not a code.
        """
        if column not in self.columns:
            found = ", ".join(self.columns) or "none"
            raise MechtagError(f"{self.path}: column '{column}' is missing; columns of codes found: {found}")
        return tuple(row.tick(column) for row in self.rows)

    def codings(self, label_keys: Sequence[str], coder: str, basis: Basis) -> list[Coding]:
        """Return one `Coding` per paper and label, paper by paper; raises the same errors as `values`."""
        columns = {label: self.values(label) for label in label_keys}
        return [
            Coding(key=key, coder=coder, label=label, value=columns[label][row], basis=basis)
            for row, key in enumerate(self.keys)
            for label in label_keys
        ]


class GoldNotes(Row):
    """Notes on a gold standard that are not in its table.

    Attributes
    ----------
    source
        Publication that printed the table.
    printed_counts
        Number of papers with each label, if the publication states it.
    expected_empty
        Columns that apply to no paper according to the publication, each with the place where it says so.
    not_in_training
        Papers that resemble a training paper, by key, each with the finding of the people who compared the two papers
        and found that they are different. 'mechtag evaluate' then does not refuse these papers.
    notes
        Other information needed to interpret the metrics, one sentence each.
    """

    source: str
    printed_counts: dict[str, int] = Field(default_factory=dict)
    expected_empty: dict[str, str] = Field(default_factory=dict)
    not_in_training: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load_matrix(path: StrPath) -> Matrix:
    """Read a coding matrix: CSV or XLSX with a column ``key``, optionally ``paper``, and one column per code.

    Raises
    ------
    MechtagError
        For the same reasons as in `tables.read_table`; also if there is no column ``key`` or no row, if a key is
        duplicated or empty, or if a column of codes has no name.
    """
    table = read_table(path, "a coding matrix (CSV or XLSX)")
    if "key" not in table.names:
        raise MechtagError(f"{path}: column 'key' is missing; columns found: {', '.join(table.names)[:200] or 'none'}")
    if "" in table.names:
        raise MechtagError(
            f"{path}: column {table.names.index('') + 1} has no name; enter a name in the header, or clear the column"
        )
    if not table.rows:
        raise MechtagError(f"{path}: the table has a header but no papers; add one row per paper")
    seen = dict[str, tuple[Path, int]]()
    for row in table.rows:
        if not row.cells["key"]:
            raise MechtagError(f"{row.place}: the cell in column 'key' is empty; each paper needs a key")
        refuse_doubled(seen, row.cells["key"], Path(path), row.number)
    return Matrix(
        path=str(path),
        keys=tuple(row.cells["key"] for row in table.rows),
        papers=tuple(row.cells["paper" if "paper" in table.names else "key"] for row in table.rows),
        columns=tuple(name for name in table.names if name not in ("key", "paper")),
        rows=table.rows,
    )


def read_gold_notes(table: str | Path) -> GoldNotes | None:
    """Read notes on a table from the YAML file of the same name next to it; return ``None`` if there is no such file.

    Raises
    ------
    MechtagError
        If the file is not a YAML mapping, or has an unknown or missing key.
    """
    path = Path(table).with_suffix(".yaml")
    if not path.exists():
        return None
    return read_yaml(path, GoldNotes, missing="no such file", expected="notes on a gold standard must be a mapping")


@dataclass(frozen=True)
class GoldStandard:
    """A coding matrix and the records of its papers.

    Attributes
    ----------
    records
        Records by key of the paper; papers without a record are omitted.
    notes
        Notes on the matrix, or ``None`` if there are none.
    """

    matrix: Matrix
    records: dict[str, Record]
    notes: GoldNotes | None = None

    @property
    def evaluated(self) -> list[Record]:
        """Return the records of the papers that can be evaluated, in the order of the matrix."""
        return [self.records[key] for key in self.matrix.keys if key in self.records]

    def truth(self, labels: Sequence[str]) -> NDArray[np.float64]:
        """Return the codes of the papers in `evaluated` as an array (papers, labels); NaN means not judged."""
        rows = [row for row, key in enumerate(self.matrix.keys) if key in self.records]
        codes = np.array([self.matrix.values(label) for label in labels], dtype=float).T
        return np.asarray(codes[rows])


def gold_standard(matrix: Matrix, records: Iterable[Record], notes: GoldNotes | None = None) -> GoldStandard:
    """Match each paper to its record, by record id or by the field ``key`` of the record's source file.

    Raises
    ------
    MechtagError
        If two records have the key of one paper, or if no paper has a record.
    """
    index = RecordIndex(list(records))
    found: dict[str, Record] = {}
    for key in matrix.keys:
        own = index.named(key)
        if len(own) > 1:
            raise MechtagError(
                f"{own[1].source_file}: record {own[1].source_index}: key '{key}' already belongs to record "
                f"{own[0].source_index} of {own[0].source_file}; each key must be unique"
            )
        if own:
            found[key] = own[0]
    if not found:
        raise MechtagError(
            f"{matrix.path}: none of its {len(matrix.keys)} papers has a record with the same key; run "
            "'mechtag ingest' on the file that contains the records of these papers, with a field 'key'"
        )
    return GoldStandard(matrix, found, notes)
