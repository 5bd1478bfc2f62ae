"""Write the codes of people as a workbook, and create the sheets with evidence, matrix, roles and codebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import LATER_FIELDS
from mechtag.core.words import counted
from mechtag.pipeline.annotations.coding_table import cell_of, used_fields
from mechtag.pipeline.export import matrix
from mechtag.pipeline.export.coded_papers import CodedPaper, CodedPapers, codings_of
from mechtag.pipeline.export.evidence_roles.configurations import RolePassage
from mechtag.pipeline.export.evidence_roles.role_table import arrange_roles, sheets
from mechtag.pipeline.export.matrix import Arrangement, Citable, citable
from mechtag.pipeline.export.review_rows import column_names, excel_cell
from mechtag.pipeline.export.review_workbook import TableSheet, write_tables
from mechtag.pipeline.export.sorting import Sorter, sorting

_CODES = ("record_id", "title", "coder", "label", "value", "basis", "evidence", "date")
_EVIDENCE = ("record_id", "paper", "label", "answer", "coder", "basis", "quotation", "page", "section", "score")
_SIGN = "sign"
_CODEBOOK = ("key", "name", "definition", "include", "exclude")


def write(path: Path, coded: CodedPapers) -> None:
    """Write the codes of people as a workbook; 'mechtag codings' can import the sheet ``Codes``."""
    people = ", ".join(coded.coders)
    notes = [
        f"{counted(len(coded.papers), 'paper')}, coded by {people}.",
        "The sheet Codes has one row per paper, coder and label. 'mechtag codings' reads back this sheet alone.",
        "value: 1 is yes, 0 is no, and an empty cell means not judged, or needs review if the column refer is 1.",
    ]
    with deriving(coded.codebook, path.parent, coded.passages) as derived:
        for paper in coded.papers:
            derived.add(paper)
        notes += (f"{text}." for text in derived.footnotes)
        write_tables(path, "Coded papers", [codes(coded), *derived.sheets()], notes)


def codes(coded: CodedPapers) -> TableSheet:
    """Return a sheet with the codes of people, one row per code."""
    titles = {paper.record.record_id: excel_cell(paper.record.title) for paper in coded.papers}
    codings = codings_of(coded)
    further = [name for name in used_fields(codings) if name in LATER_FIELDS]
    rows = (
        (
            *(row.record_id, titles[row.record_id or ""], row.coder, row.label, row.value, row.basis),
            *(excel_cell(row.evidence or ""), row.date or ""),
            *(excel_cell(str(cell)) if (cell := cell_of(row, name)) is not None else "" for name in further),
        )
        for row in codings
    )
    return TableSheet("Codes", (*_CODES, *further), rows, (24, 40, 16, 22, 8, 11, 80, 12, *[14] * len(further)))


class DerivedSheets:
    """The sheets of a workbook that people only read: evidence, matrix, roles and codebook.

    Papers are added one by one. Quotations are stored in temporary files. Only the content of the matrix stays in
    memory.

    Parameters
    ----------
    sorter
        Sorter for the rows of the sheet ``Evidence``.
    passages
        Passages with a role of evidence, for the sheets about roles.
    """

    def __init__(self, codebook: Codebook, sorter: Sorter, passages: Sequence[RolePassage] = ()) -> None:
        self._codebook, self._sorter, self._passages = codebook, sorter, passages
        self._names = column_names(codebook.names)
        self._papers: list[Citable] = []
        self._arrangement = Arrangement(codebook)
        self._quotations, self._signed = 0, False

    def add(self, paper: CodedPaper, place: int | None = None) -> None:
        """Add a paper.

        Parameters
        ----------
        place
            Position of the paper in the sheet ``Evidence``. By default, papers are in the order in which they were
            added.
        """
        number = len(self._papers)
        self._papers.append(citable(paper.record))
        self._arrangement.add(paper)
        for row, sign in self._evidence(paper):
            self._signed = self._signed or bool(sign)
            self._quotations += 1
            self._sorter.add([number if place is None else place, self._quotations, number, row, sign])

    def _evidence(self, paper: CodedPaper) -> Iterator[tuple[list[Any], str]]:
        """Yield, for each quotation of a paper, its cells for the sheet ``Evidence``, and its sign or ``""``."""
        # The citation of the paper is added later: it is known only after all papers were added.
        for code in paper.codes:
            for quote in code.quotes:
                yield (
                    [
                        *(paper.record.record_id, self._names[code.label], code.answer, code.coder),
                        *(quote.basis, excel_cell(quote.text), quote.page or "", excel_cell(quote.section or "")),
                        None if quote.score is None else round(quote.score, 4),
                    ],
                    quote.sign or "",
                )

    @property
    def footnotes(self) -> tuple[str, ...]:
        """Return the footnotes of the matrix; if no paper is both relevant and coded, there are no footnotes."""
        arranged = self._arranged()
        return arranged.footnotes if arranged else ()

    def sheets(self) -> Iterator[TableSheet]:
        """Yield the sheets with evidence, matrix, roles and codebook. Call `add` for all papers first."""
        columns = (*_EVIDENCE, *([_SIGN] if self._signed else []))
        widths = (24, 24, 28, 13, 20, 11, 90, 8, 24, 8, *[9] * self._signed)
        yield TableSheet("Evidence", columns, self._evidence_rows(), widths)
        if arranged := self._arranged():
            names, rows = matrix.table(arranged)
            yield TableSheet("Matrix", names, rows, [28, *[14] * (len(names) - 1)])
        if self._passages:
            yield from sheets(arrange_roles(self._passages, self._codebook, self._papers))
        rules = (
            (entry.key, entry.name, entry.definition, "; ".join(entry.include), "; ".join(entry.exclude))
            for entry in self._codebook.entries
        )
        explained = ([excel_cell(cell) for cell in row] for row in rules)
        yield TableSheet("Codebook", _CODEBOOK, explained, (24, 36, 90, 60, 60))

    def _evidence_rows(self) -> Iterator[Sequence[Any]]:
        cited = matrix.cite_all(self._papers)
        for _, _, number, (record_id, *cells), sign in self._sorter.sorted():
            yield (record_id, excel_cell(cited[number]), *cells, *([sign] if self._signed else []))

    def _arranged(self) -> matrix.LabelMatrix | None:
        try:
            return self._arrangement.matrix(coders=[passage.coder for passage in self._passages])
        except MechtagError:  # no paper is relevant and coded
            return None


@contextmanager
def deriving(codebook: Codebook, folder: Path, passages: Sequence[RolePassage] = ()) -> Iterator[DerivedSheets]:
    """Return a context manager that yields an empty `DerivedSheets`, to which papers can be added.

    Temporary files are in ``folder``, and are deleted at the end of the block.
    """
    with sorting(folder) as sorter:
        yield DerivedSheets(codebook, sorter, passages)
