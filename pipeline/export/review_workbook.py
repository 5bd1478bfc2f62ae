"""Write ``review.xlsx``, the workbook in which reviewers read papers, decide and take notes."""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import neutralise, replacing
from mechtag.core.tables import ABSENT, DECISION, NOTES, OWN_CODE, PARTLY_ABSENT, TICK
from mechtag.core.temporary import temporary_folder
from mechtag.core.workbook import EXPLANATION, MOST_ROWS
from mechtag.pipeline.export.documents import DATE, UndatedZip, legal_text
from mechtag.pipeline.export.review_rows import BASIS, FIRST, LAST, NOT_SCORED, PAGES, SIGN, column_names, header
from mechtag.pipeline.export.sorting import Row

_REVIEW = "Review"
# Text that Excel would read as an escaped character.
_ESCAPE = re.compile("_(?=x[0-9A-Fa-f]{4}_)")
_WORDS = {"refer": "needs review"}
_CHOICES = ("yes", "no", "maybe")
_WIDTHS = {": probability": 16, ": decision": 16, ": evidence": 50, PAGES: 10, SIGN: 10, OWN_CODE: 16}
# Width of the first column of a table, which names the papers; the others are half as wide.
_WIDTH = 28
# Characters per unit of width, which is that of a digit.
_PER_WIDTH = 1.1
# Height of a line, and of the highest row that Excel allows, in points.
_LINE, _HIGHEST = 15, 409
_TICKS = (TICK, f"{TICK}{ABSENT}", f"{TICK}{PARTLY_ABSENT}")
# Fills of cells with these texts, and whether the text is also bold. The hues are blue, orange and grey, which people
# with any colour blindness can tell apart (Okabe and Ito 2008, https://jfly.uni-koeln.de/color/); in print without
# colours, the fills differ in lightness, and the cells contain the word anyway.
_FILLS = (
    (("yes", *_TICKS), "FFD6ECFA", False),
    (("needs review", "maybe", "?"), "FFF7C873", True),
    (("no",), "FFD9D9D9", False),
)
_DARK, _GREEN, _PALE, _GREY = "FF1F3864", "FF2F5D50", "FFFFF8E1", "FFBFBFBF"


class LabelGuide(NamedTuple):
    """The definition of a label, and the bounds between which its decisions need review; the workbook states both."""

    definition: str
    bounds: tuple[float, float] | None


def guide_to(codebook: Codebook, bounds: Sequence[tuple[float, float]] | None = None) -> dict[str, LabelGuide]:
    """Return the definition and bounds of each label, keyed by label.

    Parameters
    ----------
    bounds
        Lower and upper bound for each label, relevance first; a probability between the bounds needs review. ``None``
        if the model is not known.
    """
    known: Iterable[tuple[float, float] | None] = bounds or [None] * len(codebook.entries)
    return {
        entry.key: LabelGuide(entry.definition, of_label)
        for entry, of_label in zip(codebook.entries, known, strict=True)
    }


def too_long(records: int) -> str:
    """Return a note if the records do not fit into a sheet of a workbook; otherwise ``""``."""
    if records < MOST_ROWS:
        return ""
    return (
        f"review.xlsx holds the first {MOST_ROWS - 1:,} of {records:,} papers in reading order, because a sheet cannot "
        "hold more; tagged.csv holds all papers"
    )


class Linked(NamedTuple):
    """A cell with a link.

    Attributes
    ----------
    text
        Text of the cell.
    place
        Cell of the workbook to which the link leads, such as ``'Quotations'!F2``.
    """

    text: str
    place: str


class TableSheet(NamedTuple):
    """A sheet that contains a table.

    Attributes
    ----------
    names
        Names of the columns.
    widths
        Widths of the columns, in characters.
    """

    title: str
    names: Sequence[str]
    rows: Iterable[Sequence[Any]]
    widths: Sequence[int]


def write(
    path: Path,
    labels: Sequence[tuple[str, str]],
    rows: Iterable[Row],
    guide: Mapping[str, LabelGuide],
    by_basis: bool = False,
    tables: Iterable[TableSheet] = (),
) -> None:
    """Write tagged records as a workbook with a review sheet and a sheet that explains the columns and labels.

    Parameters
    ----------
    labels
        Key and name of each label, relevance first.
    rows
        Rows of the records in reading order; see `review_rows.ranking`.
    guide
        Definition of each label, and the bounds between which its decisions need review, keyed by label.
    by_basis
        Whether the rows contain the basis of the decisions and the pages of the evidence.
    tables
        Further sheets. They are read after ``rows``.
    """
    with _workbook(path, "Papers to review") as (book, folder):
        left = _review(_sheet(book, _REVIEW, folder), header(labels, by_basis), rows)
        for table in tables:
            _table(_sheet(book, table.title, folder), table)
        _explanation(_sheet(book, EXPLANATION, folder), labels, guide, left, by_basis)


def write_table(
    path: Path, title: str, names: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()
) -> None:
    """Write a table as a workbook; text is never converted to a formula, number or date.

    Parameters
    ----------
    title
        Title of the workbook, and name of the sheet that contains the table.
    notes
        Sentences for a sheet of explanations. mechtag ignores this sheet when it reads the workbook.
    """
    write_tables(path, title, [TableSheet(title, names, rows, _widths(names))], notes)


def write_tables(path: Path, title: str, tables: Sequence[TableSheet], notes: Sequence[str] = ()) -> None:
    """Write tables as a workbook; text is never converted to a formula, number or date.

    Parameters
    ----------
    notes
        Sentences for a sheet of explanations. mechtag ignores this sheet when it reads the workbook.
    """
    with _workbook(path, title) as (book, folder):
        for table in tables:
            _table(_sheet(book, table.title, folder), table)
        if notes:
            explanation = _sheet(book, EXPLANATION, folder)
            explanation.column_dimensions["A"].width = 4 * _WIDTH
            for number, text in enumerate(notes, start=1):
                _append(explanation, number, [_set(_empty_cell(explanation), text)], [4 * _WIDTH])


def _widths(names: Sequence[str]) -> list[int]:
    return [_WIDTH, *[_WIDTH // 2] * (len(names) - 1)]


def _table(sheet: Any, table: TableSheet) -> None:
    from openpyxl.utils import get_column_letter

    sheet.freeze_panes = "B2"
    sheet.print_title_rows = "1:1"
    _landscape(sheet)
    for place, width in enumerate(table.widths, start=1):
        sheet.column_dimensions[get_column_letter(place)].width = width
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(table.names))}1"
    _append(sheet, 1, [_set(_empty_cell(sheet, bold=True, line=True), name) for name in table.names], table.widths)
    cells = [_empty_cell(sheet, wrap=False) for _ in table.names]
    number = 1
    for number, row in enumerate(table.rows, start=2):
        if number > MOST_ROWS:
            raise MechtagError(
                f"the sheet {table.title!r} would have more than {MOST_ROWS:,} rows, which a workbook cannot hold; "
                "export fewer papers, or choose a different format"
            )
        sheet.append(
            [
                _link(sheet, value) if isinstance(value, Linked) else _set(cell, None if value == "" else value)
                for cell, value in zip(cells, row, strict=True)
            ]
        )
    _fill(sheet, f"A2:{get_column_letter(len(table.names))}{max(number, 2)}")


def _fill(sheet: Any, place: str) -> None:
    """Colour the decisions in a range of cells of a sheet, such as ``A2:F9``, by conditional formatting."""
    from openpyxl.formatting.rule import Rule
    from openpyxl.styles import Font, PatternFill
    from openpyxl.styles.differential import DifferentialStyle

    for words, color, bold in _FILLS:
        for word in words:
            style = DifferentialStyle(font=Font(bold=True) if bold else None, fill=PatternFill("solid", bgColor=color))
            rule = Rule(type="cellIs", operator="equal", formula=[f'"{word}"'], dxf=style)
            sheet.conditional_formatting.add(place, rule)


@contextmanager
def _workbook(path: Path, title: str) -> Iterator[tuple[Any, Path]]:
    """Yield a new workbook and a folder for temporary files; write the workbook to ``path`` when the context ends."""
    from openpyxl import Workbook
    from openpyxl.writer.excel import ExcelWriter

    book = Workbook(write_only=True)
    book.properties.creator, book.properties.title = "mechtag", title
    book.properties.created = book.properties.modified = DATE
    with temporary_folder(path.parent) as folder:
        yield book, folder
        with replacing(path) as part, UndatedZip(part, "w", zipfile.ZIP_DEFLATED) as archive:
            ExcelWriter(book, archive).write_data()


def _sheet(book: Any, name: str, folder: Path) -> Any:
    """Add a sheet to a workbook; the temporary file of the sheet is in ``folder``."""
    from openpyxl.worksheet import _writer

    # By default, openpyxl uses the system's folder for temporary files, and leaves the file there if the process is
    # killed.
    sheet = book.create_sheet(name)

    def start() -> None:
        if sheet._writer is None:
            path = str(folder / name)
            _writer.ALL_TEMP_FILES.append(path)  # openpyxl deletes the files in this list
            sheet._writer = _writer.WorksheetWriter(sheet, path)
            sheet._writer.write_top()

    sheet._get_writer = start
    return sheet


def _empty_cell(sheet: Any, wrap: bool = True, **style: Any) -> Any:
    """Return an empty cell with the given style."""
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Alignment, Border, Font, PatternFill, Side

    cell = WriteOnlyCell(sheet)
    cell.alignment = Alignment(wrap_text=wrap, vertical="top", horizontal="left")
    cell.border = Border(bottom=Side("thin", color=_GREY)) if style.get("line") else Border()
    if fill := style.get("fill"):
        cell.fill = PatternFill("solid", fgColor=fill)
    if style.get("bold"):
        cell.font = Font(name="Calibri", bold=True, size=style.get("size", 11), color=style.get("color"))
    return cell


def _set(cell: Any, value: Any) -> Any:
    """Set the value of a cell and return the cell; text is never converted to a formula, number or date."""
    if isinstance(value, str):
        cell.value = _ESCAPE.sub("_x005F_", legal_text(neutralise(value)))
        cell.data_type = "s"
    else:
        cell.value = value
    return cell


def _link(sheet: Any, value: Linked) -> Any:
    """Return a new cell with a link to another cell of the workbook."""
    from openpyxl.worksheet.hyperlink import Hyperlink

    # A cell that is written several times would keep the link.
    cell = _set(_empty_cell(sheet), value.text)
    cell._hyperlink = Hyperlink(ref="", location=value.place)
    return cell


def _append(sheet: Any, row: int, cells: Sequence[Any], widths: Sequence[int]) -> None:
    """Append a row that is high enough for its wrapped texts; ``row`` is the number of the row."""
    longest = max(
        (
            math.ceil(len(cell.value) / (_PER_WIDTH * width))
            for cell, width in zip(cells, widths, strict=True)
            if isinstance(cell.value, str)
        ),
        default=1,
    )
    # Not all programs adapt the height to wrapped texts.
    sheet.row_dimensions[row].height = min(_LINE * (longest + (longest > 1)), _HIGHEST)
    sheet.append(cells)
    del sheet.row_dimensions[row]  # it is written


def _landscape(sheet: Any) -> None:
    """Set a sheet to print in landscape format, scaled to the width of the page."""
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True


def _is_own(name: str) -> bool:
    """Return whether reviewers fill in the column with this name."""
    return name in (DECISION, NOTES) or name.endswith(OWN_CODE)


def _review(sheet: Any, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write the review sheet, and return the number of papers that did not fit into it."""
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation
    from openpyxl.worksheet.filters import AutoFilter
    from openpyxl.worksheet.table import Table, TableColumn, TableStyleInfo

    widths = {column.name: column.width for column in (*FIRST, BASIS, *LAST)}
    widths |= {name: width for name in names for part, width in _WIDTHS.items() if name.endswith(part)}
    letters = {name: get_column_letter(place) for place, name in enumerate(names, start=1)}
    for name, letter in letters.items():
        sheet.column_dimensions[letter].width = widths[name]
    title = names.index("title")
    sheet.freeze_panes = f"{get_column_letter(title + 2)}2"
    sheet.print_title_rows = "1:1"
    sheet.page_setup.orientation = "landscape"
    heads = [
        _set(_empty_cell(sheet, bold=True, color="FFFFFFFF", fill=_GREEN if _is_own(name) else _DARK), name)
        for name in names
    ]
    # In a table, names of columns are the texts of its header.
    headings = [str(head.value) for head in heads]
    sizes = [widths[name] for name in names]
    _append(sheet, 1, heads, sizes)
    # Cells that a reviewer fills in are pale, so that they are found in a wide table; their header says so too.
    cells = [_empty_cell(sheet, line=True, fill=_PALE if _is_own(name) else None) for name in names]
    decisions = [place for place, name in enumerate(names) if name.endswith(": decision")]
    chances = [place for place, name in enumerate(names) if name.endswith(": probability")]
    for place in chances:
        cells[place].number_format = "0.00"
    written = left = 0
    for row in rows:
        if written == MOST_ROWS - 1:
            left += 1
            continue
        written += 1
        for place in decisions:
            row[place] = _WORDS.get(row[place], row[place])
        filled = [_set(cell, None if value == "" else value) for cell, value in zip(cells, row, strict=True)]
        _append(sheet, written + 1, filled, sizes)
    last = max(written, 1) + 1
    for name, letter in letters.items():
        if name == DECISION or name.endswith((OWN_CODE, ": decision")):
            _fill(sheet, f"{letter}2:{letter}{last}")
        if name == DECISION or name.endswith(OWN_CODE):
            choice = DataValidation(type="list", formula1=f'"{",".join(_CHOICES)}"', allow_blank=True)
            choice.showErrorMessage, choice.errorTitle = True, "Not one of the choices"
            choice.error = "Choose yes, no or maybe, or leave the cell empty. Enter comments in the column notes."
            choice.showInputMessage, choice.promptTitle = True, "Your decision"
            choice.prompt = "yes, no or maybe; leave it empty if you have not decided"
            choice.add(f"{letter}2:{letter}{last}")
            sheet.data_validations.append(choice)
    table = Table(displayName="papers", ref=f"A1:{get_column_letter(len(names))}{last}")
    table.tableStyleInfo = TableStyleInfo(name="TableStyleLight1", showRowStripes=False)
    for place, name in enumerate(headings, start=1):
        table.tableColumns.append(TableColumn(id=place, name=name))
    table.autoFilter = AutoFilter(ref=table.ref)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns that the columns are needed, whether or not they are there
        sheet.add_table(table)
    return left


def _explanation(
    sheet: Any, labels: Sequence[tuple[str, str]], guide: Mapping[str, LabelGuide], left: int, by_basis: bool
) -> None:
    """Write the sheet that explains the columns; ``left`` papers did not fit into the review sheet."""
    widths = (32, 90, 12, 12, 26)
    for letter, width in zip("ABCDE", widths, strict=True):
        sheet.column_dimensions[letter].width = width
    _landscape(sheet)
    names = column_names(dict(labels))
    relevance = names[labels[0][0]]

    rows = count(1)

    def append(cells: Sequence[Any]) -> None:
        _append(sheet, next(rows), cells, widths[: len(cells)])

    def line(*values: Any, bold: bool = False) -> None:
        cells = [_set(_empty_cell(sheet, bold=bold), value) for value in values]
        for cell in cells:
            if isinstance(cell.value, float):
                cell.number_format = "0.00"
        append(cells)

    def section(title: str, *lines: Sequence[Any]) -> None:
        append([])
        append([_set(_empty_cell(sheet, wrap=False, bold=True, size=14), title)])
        for place, row in enumerate(lines):
            line(*row, bold=place == 0)

    append([_set(_empty_cell(sheet, wrap=False, bold=True, size=16), "About this workbook")])
    for text in (
        f"The sheet {_REVIEW} has one row per paper, in reading order. mechtag suggests; you decide.",
        "Fill in the pale columns: decision, notes, and 'your code' of each label. All other columns are for reading.",
        "'mechtag rank RECORDS -o ranking.csv --labels review.xlsx' reads your decisions back, and "
        "'mechtag codings review.xlsx' reads your decisions and codes. Both keep your notes.",
    ):
        line(None, text)
    section(
        "Columns",
        ("Column", "Meaning"),
        *((column.name, column.meaning) for column in (*FIRST, *([BASIS] if by_basis else []))),
        (
            "LABEL: probability",
            "Probability that a reviewer would find the paper relevant and code it with the label. "
            f"For {relevance}, the probability that a reviewer would find the paper relevant.",
        ),
        ("LABEL: decision", "Suggestion of mechtag; see the decisions below."),
        (
            "LABEL: evidence",
            "Sentences that support the label most, the strongest first; only where the decision is yes or "
            "needs review. A sentence in square brackets is the preceding sentence, for context.",
        ),
        *([(f"LABEL{PAGES}", "Pages of the full text on which the evidence begins.")] if by_basis else []),
        (
            f"LABEL{SIGN}",
            "'absent' if all quoted sentences say that what the label describes is lacking, weak or denied; 'partly "
            "absent' if some do. Judged by words such as 'no' or 'lack' alone: an empty cell says nothing.",
        ),
        (
            f"LABEL{OWN_CODE}",
            "Your code: yes, no or maybe. Neither an empty cell nor 'maybe' counts as no.",
        ),
        *((column.name, column.meaning) for column in LAST),
    )
    section(
        "Decisions of mechtag",
        ("Decision", "Meaning"),
        ("yes", "The probability is at or above the upper bound, where a yes is right often enough to rely on."),
        (
            "no",
            "The probability is below the lower bound, where a no is right often enough to rely on, or the paper is "
            "clearly not relevant.",
        ),
        (
            "needs review",
            "The probability is between the bounds: neither a yes nor a no would be right often enough "
            "here. Read the paper and decide yourself. In tagged.csv, this is 'refer'.",
        ),
        (NOT_SCORED, "The paper is clearly not relevant, so its sentences were not scored. It counts as a no."),
    )
    # Where the model is not known, as in an export, nothing is said about its bounds.
    has_bounds = any(own.bounds for own in guide.values())
    section(
        "Labels and their bounds" if has_bounds else "Labels",
        ("Label", "Definition", *(("no below", "yes from") if has_bounds else (None, None)), "key"),
        *((names[key], *_explained(guide.get(key)), key) for key, _ in labels),
    )
    notes = [
        ("Note", "Meaning"),
        (
            "colours",
            "Yes is blue, no is grey, and needs review or maybe is orange and bold. The colours repeat the words; your "
            "own decisions are coloured as you enter them.",
        ),
        ("long texts", "A cell holds at most 32,767 characters. A longer text is cut, and ends in '[cut: ...]'."),
        ("apostrophes", "Text that a spreadsheet could run as a formula begins with an apostrophe."),
        ("control characters", "Characters that a workbook must not contain were removed."),
    ]
    if left:
        notes.append(
            (
                "papers left out",
                f"{left:,} papers, the last in reading order, do not fit into a sheet of "
                f"{MOST_ROWS:,} rows. They are in tagged.csv.",
            )
        )
    section("Notes", *notes)


def _explained(own: LabelGuide | None) -> tuple[str | None, float | str | None, float | str | None]:
    """Return the definition, the lower bound and the upper bound of a label; unknown values are ``None``."""
    if own is None or own.bounds is None:
        return (own and own.definition, None, None)
    return (own.definition, _bound(own.bounds[0]), _bound(own.bounds[1]))


def _bound(value: float) -> float | str:
    """Return the cell value of a bound: ``never`` for a lower bound of 0 or an upper bound above 1, else the bound."""
    return value if math.isfinite(value) and 0 < value <= 1 else "never"
