"""Read a gold standard: the coding matrix that a review printed, and an optional file with notes on the matrix.

The labels are passed to each function in codebook order; they are never taken from the data.
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
from mechtag.core.records import Coding, Record, Row
from mechtag.core.tables import TableRow, Value, read_table
from mechtag.pipeline.annotations.coded_records import Basis, refuse_doubled
from mechtag.pipeline.annotations.record_finder import (
    IDENTIFIERS,
    Finder,
    cited_in,
    describing,
    identifying,
    name_of,
)


@dataclass(frozen=True)
class Matrix:
    """A table with one row per paper and one column per label, in the layout of the tables in published reviews.

    Attributes
    ----------
    path
        File from which the matrix was read, for error messages.
    keys, papers
        Identifier and citation of each paper. If there is no column ``paper``, the identifier is also the citation.
    columns
        Names of the columns of codes, in file order.
    rows
        Rows of the table, one per paper.
    """

    path: str
    keys: tuple[str, ...]
    papers: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def values(self, column: str) -> tuple[Value, ...]:
        """Return the code of each paper in a column: ``1`` (yes), ``0`` (no) or ``None`` (not judged).

        Raises
        ------
        MechtagError
            If the table has no column of this name, or if `tables.read_tick` cannot read a cell.
        """
        if column not in self.columns:
            found = ", ".join(self.columns) or "none"
            raise MechtagError(
                f"{self.path}: the column '{column}' is missing (columns of codes found: {found}); add this column"
            )
        return tuple(row.tick(column) for row in self.rows)

    def codings(self, label_keys: Sequence[str], coder: str, basis: Basis) -> list[Coding]:
        """Return one `Coding` per paper and label, grouped by paper.

        Raises
        ------
        MechtagError
            If a label has no column, or if a cell contains something that is not a code.
        """
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
        Number of papers with each label, as printed in the publication; empty if it prints no such numbers.
    expected_empty
        Columns without a single yes, keyed by name. Each value says where the publication confirms that no paper has
        the label.
    not_in_training
        Papers that resemble a paper in the training data, but that people found to be different papers. They are keyed
        by their key in the table; each value is an explanation. 'mechtag evaluate' accepts these papers, unless they
        have the same identifier as a training paper.
    notes
        Further information that readers need to interpret the metrics. Each item is one sentence.
    """

    source: str
    printed_counts: dict[str, int] = Field(default_factory=dict)
    expected_empty: dict[str, str] = Field(default_factory=dict)
    not_in_training: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load_matrix(path: StrPath) -> Matrix:
    """Read a coding matrix (CSV or XLSX), which has one row per paper and one column per code.

    At least one of the columns ``record_id``, ``key``, ``id``, ``doi``, ``pmid`` and ``title`` must identify the
    papers. An optional column ``paper`` contains their citations.

    Raises
    ------
    MechtagError
        In these cases:

        - The table cannot be read (see `tables.read_table`), or is empty.
        - No column identifies the papers, or a column has no name.
        - A row has no identifier, or two rows have the same identifier.
    """
    table = read_table(path, "a coding matrix (CSV or XLSX)")
    if not (identifiers := identifying(table.names)):
        raise MechtagError(
            f"{path}: no column identifies the papers; add one of the columns {', '.join(IDENTIFIERS)} (columns "
            f"found: {', '.join(table.names)[:200] or 'none'})"
        )
    if "" in table.names:
        raise MechtagError(
            f"{path}: column {table.names.index('') + 1} has no name; enter a name in the header, or clear the column"
        )
    if not table.rows:
        raise MechtagError(f"{path}: the table has a header but no papers; add one row per paper")
    seen = dict[str, tuple[Path, int]]()
    for row in table.rows:
        if not name_of(row):
            columns = " or ".join(f"'{name}'" for name in table.names if name in identifiers)
            raise MechtagError(f"{row.place}: the paper is not identified; fill in the cell in column {columns}")
        refuse_doubled(seen, name_of(row), Path(path), row.number)
    return Matrix(
        path=str(path),
        keys=tuple(map(name_of, table.rows)),
        papers=tuple(row.cells.get("paper", name_of(row)) for row in table.rows),
        columns=tuple(name for name in table.names if name not in describing(table.names)),
        rows=table.rows,
    )


def read_gold_notes(table: str | Path) -> GoldNotes | None:
    """Read the notes on a gold standard; return ``None`` if there are none.

    The notes on the table ``NAME.csv`` or ``NAME.xlsx`` are in the file ``NAME.yaml`` in the same folder.

    Raises
    ------
    MechtagError
        If the file is not a YAML mapping, or has an unknown or missing key.
    """
    path = Path(table).with_suffix(".yaml")
    if not path.exists():
        return None
    return read_yaml(
        path, GoldNotes, missing="no such file; check the path", expected="notes on a gold standard must be a mapping"
    )


@dataclass(frozen=True)
class GoldStandard:
    """A coding matrix and the records of its papers.

    Attributes
    ----------
    records
        Records of the papers, keyed by paper key. Papers without a record are omitted.
    notes
        Notes on the matrix; ``None`` if there are none.
    """

    matrix: Matrix
    records: dict[str, Record]
    notes: GoldNotes | None = None

    @property
    def evaluated(self) -> list[Record]:
        """Return the records of the gold papers, in the order of the matrix. Papers without a record are omitted."""
        return [self.records[key] for key in self.matrix.keys if key in self.records]

    def truth(self, labels: Sequence[str]) -> NDArray[np.float64]:
        """Return the codes of the papers, shape (n_papers, n_labels); papers without a record are omitted.

        The papers are in the order of ``matrix``, and the labels in the order of ``labels``. NaN means not judged.
        """
        rows = [row for row, key in enumerate(self.matrix.keys) if key in self.records]
        codes = np.array([self.matrix.values(label) for label in labels], dtype=float).T
        return np.asarray(codes[rows])


def gold_standard(matrix: Matrix, records: Iterable[Record], notes: GoldNotes | None = None) -> GoldStandard:
    """Match each paper of a coding matrix to its record, and combine the matrix and the records into a gold standard.

    `record_finder.Finder` finds the records.

    Raises
    ------
    MechtagError
        If several records match one paper, if two papers match one record, or if no paper has a record.
    """
    finder = Finder(list(records))
    found: dict[str, Record] = {}
    names: dict[str, str] = {}
    for key, row in zip(matrix.keys, matrix.rows, strict=True):
        own = finder.find(cited_in(row))
        if own.several:
            first, second = own.candidates[:2]
            raise MechtagError(
                f"{row.place}: '{key}' matches two records: record {first.source_index} of {first.source_file} and "
                f"record {second.source_index} of {second.source_file}; remove one of the two records"
            )
        if own.record is None:
            continue
        if earlier := names.get(own.record.record_id):
            raise MechtagError(
                f"{row.place}: '{key}' is the same paper as '{earlier}' ({own.record.record_id}); remove one of the "
                "two rows"
            )
        found[key], names[own.record.record_id] = own.record, key
    if not found:
        raise MechtagError(
            f"{matrix.path}: none of its {len(matrix.keys)} papers matches a record (the first paper is "
            f"{matrix.keys[0]}). Identify each paper by its DOI, PubMed id or title, by its record_id in tagged.csv, "
            "or by its key in the search export"
        )
    return GoldStandard(matrix, found, notes)
