"""A gold standard: the coding matrix that a review printed, and what is known of it.

Labels always come as an argument, in codebook order, and never from the data at hand.
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
    """A table of papers and codes, as reviews print it.

    Attributes
    ----------
    path
        The file it came from, for messages.
    keys, papers
        For each paper its key, and how it is cited (its key where the table has no column ``paper``).
    columns
        Names of all other columns, in file order.
    rows
        One a paper.
    """

    path: str
    keys: tuple[str, ...]
    papers: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def values(self, column: str) -> tuple[Value, ...]:
        """Read a column of codes: 1, 0, or ``None`` for not judged; see `tables.read_tick`.

        Raises
        ------
        MechtagError
            There is no such column, or a cell holds anything else.
        """
        if column not in self.columns:
            found = ", ".join(self.columns) or "none"
            raise MechtagError(f"{self.path}: column {column} is missing; columns of codes found: {found}")
        return tuple(row.tick(column) for row in self.rows)

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
    """Read a coding matrix: CSV or XLSX with a column ``key``, perhaps ``paper``, and one column a code.

    Raises
    ------
    MechtagError
        As `tables.read_table`; there is no column ``key`` or no row; a key is there twice, or is empty; a column
        of codes has no name.
    """
    table = read_table(path, "a coding matrix (CSV or XLSX)")
    if "key" not in table.names:
        raise MechtagError(f"{path}: no column 'key'; columns found: {', '.join(table.names)[:200] or 'none'}")
    if "" in table.names:
        raise MechtagError(f"{path}: column {table.names.index('') + 1} has no name, but a cell below it is filled")
    if not table.rows:
        raise MechtagError(f"{path}: a header but no paper below it")
    seen = dict[str, tuple[Path, int]]()
    for row in table.rows:
        if not row.cells["key"]:
            raise MechtagError(f"{row.place}: the cell 'key' is empty; give each paper a key")
        refuse_doubled(seen, row.cells["key"], Path(path), row.number)
    return Matrix(
        path=str(path),
        keys=tuple(row.cells["key"] for row in table.rows),
        papers=tuple(row.cells["paper" if "paper" in table.names else "key"] for row in table.rows),
        columns=tuple(name for name in table.names if name not in ("key", "paper")),
        rows=table.rows,
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
    """Find the record of each paper by its record id, or by the field ``key`` that its source file has.

    Raises
    ------
    MechtagError
        Two records carry the same key, or no paper has a record.
    """
    index = RecordIndex(list(records))
    found: dict[str, Record] = {}
    for key in matrix.keys:
        own = index.named(key)
        if len(own) > 1:
            raise MechtagError(
                f"{own[1].source_file}: record {own[1].source_index}: key {key} belongs to record "
                f"{own[0].source_index} of {own[0].source_file} already; each must be unique"
            )
        if own:
            found[key] = own[0]
    if not found:
        raise MechtagError(
            f"{matrix.path}: no record carries the key of any of its {len(matrix.keys)} papers; "
            "ingest the file that holds the gold records, with a field 'key'"
        )
    return GoldStandard(matrix, found, notes)
