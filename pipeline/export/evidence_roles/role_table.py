"""Arrange passages as a table by role of evidence, such as context and outcome, and write the table to a file.

The table has one column per role of evidence. Its rows are grouped by label. Each configuration (group of linked
passages) has one row. Passages that belong to no configuration have one row per paper and coder.

In workbooks and HTML files, a list of all passages with their papers and pages follows the table, and the cells of the
table link to this list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv, write_text
from mechtag.core.records import BETWEEN_QUOTES
from mechtag.core.words import counted
from mechtag.pipeline.export import matrix, review_workbook
from mechtag.pipeline.export.documents import legal_text
from mechtag.pipeline.export.evidence_roles.configurations import RolePassage
from mechtag.pipeline.export.matrix import Citable
from mechtag.pipeline.export.review_rows import excel_cell
from mechtag.pipeline.export.review_workbook import Linked, TableSheet

#: Titles of the sheets of a workbook.
TABLE, QUOTATIONS = "Configurations", "Quotations"
_QUOTATIONS = ("number", "label", "configuration", "role", "sign", "quotation", "paper", "page", "coder", "record_id")


class RoleQuote(NamedTuple):
    """A passage in the table of context, mechanism and outcome.

    Attributes
    ----------
    number
        Number of the passage in the list of quotations, from 1.
    paper
        Short citation of the paper, such as ``Williams (2012)``. If the paper is not known, the value is the record id.
        If the passage summarises several papers, the value is ``""``.
    """

    number: int
    passage: RolePassage
    paper: str

    @property
    def source(self) -> str:
        """Return the paper and the page of the passage as text, such as ``Williams (2012), p. 5``.

        An unknown paper or page is left out. If paper and page are unknown, the result is ``""``.
        """
        page = f"p. {self.passage.page}" if self.passage.page else ""
        return ", ".join(filter(None, (self.paper, page)))


class RoleRow(NamedTuple):
    """A row of the table of context, mechanism and outcome.

    A configuration consists of passages that together explain a label. The row contains the passages of one
    configuration, or those passages of one coder and paper that belong to no configuration.

    Attributes
    ----------
    config_id
        Identifier of the configuration; ``""`` if the passages belong to none.
    cells
        Passages of each role, with the roles in the order of the codebook.
    """

    label: str
    config_id: str
    coder: str
    cells: tuple[tuple[RoleQuote, ...], ...]


@dataclass(frozen=True)
class RoleTable:
    """A table of context, mechanism and outcome, with one column per role of evidence.

    A row shows one configuration (passages that together explain a label), or passages that belong to no configuration.

    Attributes
    ----------
    roles
        Names of the roles, in the order of the codebook.
    groups
        One pair for each label: the name of the label, and its rows (see `RoleRow`). Labels without passages are
        omitted.
    """

    roles: tuple[str, ...]
    groups: tuple[tuple[str, tuple[RoleRow, ...]], ...]

    @property
    def quotes(self) -> list[RoleQuote]:
        """Return all passages of the table, ordered by number."""
        return [quote for _, rows in self.groups for row in rows for cell in row.cells for quote in cell]


def arrange_roles(passages: Iterable[RolePassage], codebook: Codebook, papers: Iterable[Citable] = ()) -> RoleTable:
    """Arrange passages by label, configuration and role.

    A configuration consists of passages that together explain a label.

    Parameters
    ----------
    papers
        Papers that contain the passages. They are cited by author and year; any other paper is cited by its record id.

    Raises
    ------
    MechtagError
        If there are no passages.
    """
    known = list(papers)
    cited = dict(zip([paper.record_id for paper in known], matrix.cite_all(known), strict=True))
    rows: dict[str, dict[tuple[str, str, str], list[RolePassage]]] = {key: {} for key in codebook.keys}
    for passage in passages:
        paper = "" if passage.config_id else passage.record_id
        rows[passage.label].setdefault((passage.config_id, paper, passage.coder), []).append(passage)
    if not any(rows.values()):
        raise MechtagError(
            "there are no passages with a role of evidence, so the table would be empty; give roles to passages first"
        )
    groups, number = [], 0
    for label, found in rows.items():
        own = []
        # Configurations come first, in the order in which they were read.
        for (config_id, _, coder), members in sorted(found.items(), key=lambda pair: not pair[0][0]):
            cells = []
            for role in codebook.role_names:
                placed = sorted((one for one in members if one.role == role), key=lambda one: one.order or 0)
                cells.append(
                    tuple(
                        RoleQuote(number + place, one, cited.get(one.record_id, one.record_id))
                        for place, one in enumerate(placed, start=1)
                    )
                )
                number += len(placed)
            own.append(RoleRow(label, config_id, coder, tuple(cells)))
        if own:
            groups.append((codebook.names[label], tuple(own)))
    return RoleTable(tuple(codebook.role_names.values()), tuple(groups))


def write_role_table(path: Path, table: RoleTable, note: str = "") -> None:
    """Write a table of context, mechanism and outcome; the extension of the file name determines the format.

    Parameters
    ----------
    note
        Sentence below the table, such as the origin of the passages. CSV files do not contain the note.

    Raises
    ------
    MechtagError
        If no supported format has this extension.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise MechtagError(f"{path}: a table of roles cannot have this extension; use one of: {', '.join(_WRITERS)}")
    writer(path, table, note)


def describe(table: RoleTable) -> str:
    """Return a text that states the size of the table, such as ``2 configurations with 9 passages``.

    A configuration consists of passages that together explain a label.
    """
    linked = sum(bool(row.config_id) for _, rows in table.groups for row in rows)
    return f"{counted(linked, 'configuration')} with {counted(len(table.quotes), 'passage')}"


def sheets(table: RoleTable) -> list[TableSheet]:
    """Return two sheets of a workbook: the table and the list of quotations.

    The cells of the table link to the list.
    """
    header, rows = _flat(table)
    linked = []
    cells = (cell for _, own in table.groups for row in own for cell in row.cells)
    for row in rows:
        texts: list[str | Linked] = list(row)
        for place in range(len(table.roles)):
            # The header is the first row of the sheet, so quotation 1 is in row 2.
            if quotes := next(cells):
                texts[3 + place] = Linked(row[3 + place], f"'{QUOTATIONS}'!F{quotes[0].number + 1}")
        linked.append(texts)
    listed = [
        (
            *(quote.number, label, quote.passage.config_id, table.roles[column], quote.passage.sign or ""),
            *(excel_cell(quote.passage.text), excel_cell(quote.paper), quote.passage.page or ""),
            *(quote.passage.coder, quote.passage.record_id),
        )
        for label, own in table.groups
        for row in own
        for column, cell in enumerate(row.cells)
        for quote in cell
    ]
    return [
        TableSheet(TABLE, header, linked, [28, 14, 16, *[50] * len(table.roles)]),
        TableSheet(QUOTATIONS, _QUOTATIONS, listed, (9, 28, 14, 14, 10, 80, 24, 8, 16, 24)),
    ]


def _flat(table: RoleTable) -> tuple[list[str], list[list[str]]]:
    """Return the column names and the rows of a table; the first column is the label."""
    rows = [
        [label, row.config_id or "not linked", row.coder, *(_cell(cell) for cell in row.cells)]
        for label, own in table.groups
        for row in own
    ]
    return ["label", "configuration", "coder", *table.roles], rows


def _cell(quotes: Sequence[RoleQuote]) -> str:
    parts = []
    for quote in quotes:
        sign = f" [{quote.passage.sign}]" if quote.passage.sign in ("absent", "unclear") else ""
        source = f" ({quote.source})" if quote.source else ""
        parts.append(f"{quote.passage.text}{sign}{source}")
    return excel_cell(BETWEEN_QUOTES.join(parts))


def _write_csv(path: Path, table: RoleTable, note: str) -> None:
    write_csv(path, *_flat(table), bom=True)


def _write_xlsx(path: Path, table: RoleTable, note: str) -> None:
    review_workbook.write_tables(path, TABLE, sheets(table), [note] if note else [])


def _write_template(path: Path, table: RoleTable, note: str) -> None:
    template = matrix.template(f"roles{path.suffix.lower()}")
    write_text(path, legal_text(template.render(table=table, note=note, cell=_cell)))


_WRITERS: Mapping[str, Callable[[Path, RoleTable, str], None]] = {
    ".xlsx": _write_xlsx,
    ".html": _write_template,
    ".md": _write_template,
    ".csv": _write_csv,
}
