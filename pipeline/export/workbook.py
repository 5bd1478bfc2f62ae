"""Write the sheets of an exported workbook other than the review sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.records import LATER_FIELDS
from mechtag.core.words import counted
from mechtag.pipeline.annotations.coding_table import cell_of, used_fields
from mechtag.pipeline.evidence_roles.role_table import arrange_roles, sheets
from mechtag.pipeline.export import matrix
from mechtag.pipeline.export.coded_papers import CodedPapers, codings_of
from mechtag.pipeline.export.review_rows import excel_cell
from mechtag.pipeline.export.review_workbook import TableSheet, write_tables

_CODES = ("record_id", "title", "coder", "label", "value", "basis", "evidence", "date")
_EVIDENCE = ("record_id", "paper", "label", "answer", "coder", "basis", "quotation", "page", "section", "score")
_SIGN = "sign"
_CODEBOOK = ("key", "name", "definition", "include", "exclude")


def write(path: Path, coded: CodedPapers) -> None:
    """Write the codes of people as a workbook; 'mechtag codings' can import its sheet ``Codes``."""
    people = ", ".join(coded.coders)
    notes = [
        f"{counted(len(coded.papers), 'paper')}, coded by {people}.",
        "The sheet Codes has one row per paper, coder and label. 'mechtag codings' reads back this sheet alone.",
        "value: 1 is yes, 0 is no, and an empty cell means not judged, or needs review if the column refer is 1.",
        *(f"{text}." for text in _footnotes(coded)),
    ]
    write_tables(path, "Coded papers", [codes(coded), *derived(coded)], notes)


def codes(coded: CodedPapers) -> TableSheet:
    """Return a table of the codes of people."""
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


def derived(coded: CodedPapers) -> Iterator[TableSheet]:
    """Yield the sheets that mechtag does not import again: the evidence, the matrix and the codebook."""
    signed = any(quote.sign for code in coded.codes for quote in code.quotes)
    columns, widths = (*_EVIDENCE, *([_SIGN] if signed else [])), (24, 24, 28, 13, 20, 11, 90, 8, 24, 8, *[9] * signed)
    yield TableSheet("Evidence", columns, _evidence(coded, signed), widths)
    if arranged := _arranged(coded):
        names, rows = matrix.table(arranged)
        yield TableSheet("Matrix", names, rows, [28, *[14] * (len(names) - 1)])
    if coded.passages:
        records = [paper.record for paper in coded.papers]
        yield from sheets(arrange_roles(coded.passages, coded.codebook, records))
    rules = (
        (entry.key, entry.name, entry.definition, "; ".join(entry.include), "; ".join(entry.exclude))
        for entry in coded.codebook.entries
    )
    yield TableSheet("Codebook", _CODEBOOK, ([excel_cell(cell) for cell in row] for row in rules), (24, 36, 90, 60, 60))


def _evidence(coded: CodedPapers, signed: bool) -> Iterator[Sequence[Any]]:
    """Yield a row for each quotation, in the order of papers, labels and coders.

    If ``signed``, the last cell is the sign that the coder of the row gave to the quotation.
    """
    names = coded.names
    cited = matrix.cite([paper.record for paper in coded.papers])
    for paper, name in zip(coded.papers, cited, strict=True):
        for code in paper.codes:
            for quote in code.quotes:
                yield (
                    *(paper.record.record_id, excel_cell(name), names[code.label], code.answer, code.coder),
                    *(quote.basis, excel_cell(quote.text), quote.page or "", excel_cell(quote.section or "")),
                    None if quote.score is None else round(quote.score, 4),
                    *([quote.sign or ""] if signed else []),
                )


def _arranged(coded: CodedPapers) -> matrix.LabelMatrix | None:
    try:
        return matrix.arrange(coded)
    except MechtagError:  # no paper is relevant and coded
        return None


def _footnotes(coded: CodedPapers) -> tuple[str, ...]:
    arranged = _arranged(coded)
    return arranged.footnotes if arranged else ()
