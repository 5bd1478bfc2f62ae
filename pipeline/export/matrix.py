"""Write a matrix of papers by labels for spreadsheets, word processors, LaTeX and the web."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing, write_csv, write_text
from mechtag.core.records import Answer, Record, normalise_title
from mechtag.core.tables import ABSENT, PARTLY_ABSENT, TICK, TOTAL
from mechtag.core.words import counted
from mechtag.pipeline.export import review_workbook
from mechtag.pipeline.export.coded_papers import Code, CodedPaper, CodedPapers, agreed, is_model
from mechtag.pipeline.export.documents import DATE, legal_text, undated
from mechtag.pipeline.export.latex import escape
from mechtag.pipeline.export.review_rows import column_names, excel_cell

#: Content of a cell: a tick, the probability, the pages of the evidence, or a value that programs read.
Cells = Literal["tick", "probability", "pages", "value"]

_TICKS: dict[Answer, str] = {"yes": TICK, "no": "", "needs review": "?", "not judged": "n/a"}
_VALUES: dict[Answer, str] = {"yes": "1", "no": "0", "needs review": "?", "not judged": ""}
_MEANS = {
    TICK: "yes",
    f"{TICK}{ABSENT}": "yes, and the evidence says that what the label describes is absent",
    f"{TICK}{PARTLY_ABSENT}": "yes, and a part of the evidence says that what the label describes is absent",
    "?": "needs review, or coders disagree",
    "n/a": "not judged",
    "": "no",
}
_LONGEST_NAME = 60
# Word does not open tables with more columns. Names of columns that are narrower than this are printed upwards.
_MOST_COLUMNS, _LEAST_CM = 63, 2
# Greatest height of names that are printed upwards, and width of a letter, in centimetres.
_MOST_CM, _CM_PER_LETTER = 12, 0.21
_TEMPLATES = Path(__file__).parent / "templates"


class MatrixRow(NamedTuple):
    """A row of the matrix, which shows one paper.

    Attributes
    ----------
    name
        Short citation, such as ``Williams (2012a)``.
    cells
        One cell per label, in codebook order.
    total
        Number of labels that were answered yes.
    """

    record_id: str
    name: str
    cells: tuple[str, ...]
    total: int


@dataclass(frozen=True)
class LabelMatrix:
    """A matrix of papers by labels.

    Attributes
    ----------
    keys, names
        Keys and names of the labels, in codebook order.
    totals
        Number of papers with the answer "yes" for each label.
    footnotes
        Sentences that explain the cells and name the coders.
    """

    cells: Cells
    keys: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    totals: tuple[int, ...]
    footnotes: tuple[str, ...]


def arrange(coded: CodedPapers, cells: Cells = "tick", note: str = "") -> LabelMatrix:
    """Arrange coded papers as a matrix, whose rows are ordered by author and year.

    If several people coded a label of a paper, the cell shows their common answer; see `coded_papers.agreed`. A paper
    is left out if it is not relevant, or has no code for any label. A footnote states how many papers were left out.
    Another footnote names the papers on whose relevance coders disagree.

    Parameters
    ----------
    cells
        What the cells show: ticks, probabilities, pages of the evidence, or values that programs can read.
    note
        Sentence to add to the footnotes, such as the date of the coding.

    Raises
    ------
    MechtagError
        If all papers are left out; or if the cells are to show probabilities, but only people coded the papers.
    """
    arrangement = Arrangement(coded.codebook, cells)
    for paper in coded.papers:
        arrangement.add(paper)
    return arrangement.matrix(note, [passage.coder for passage in coded.passages])


class Arrangement:
    """Builds a matrix from papers that are added one by one; it stores only what the matrix shows.

    Parameters
    ----------
    codebook
        Codebook with which the papers were coded.
    cells
        What the cells show: ticks, probabilities, pages of the evidence, or values that programs can read.
    """

    def __init__(self, codebook: Codebook, cells: Cells = "tick") -> None:
        self._book, self._cells = codebook, cells
        self._rows: list[tuple[Citable, tuple[str, ...], int]] = []
        self._totals = [0] * len(codebook.keys)
        self._papers, self._left_out = 0, Counter[str]()
        self._disputed: set[str] = set()
        self._origin = _Origin()

    def add(self, paper: CodedPaper) -> None:
        """Add a paper; papers that are not relevant, or have no code for any label, are counted but get no row."""
        self._papers += 1
        relevance = self._book.relevance.key
        for code in paper.codes:
            self._origin.add(code, code.label == relevance)
        if agreed(paper.of_label(relevance)) == "no":
            self._left_out["not relevant"] += 1
        elif all(code.label == relevance for code in paper.codes):
            self._left_out["not coded"] += 1
        else:
            own = [paper.of_label(key) for key in self._book.keys]
            answers = [agreed(codes) for codes in own]
            cells = tuple(
                _cell(self._cells, answer, codes) + _mark(self._cells, answer, codes)
                for answer, codes in zip(answers, own, strict=True)
            )
            for place, answer in enumerate(answers):
                self._totals[place] += answer == "yes"
            self._rows.append((citable(paper.record), cells, answers.count("yes")))
            if {"yes", "no"} <= {code.answer for code in paper.of_label(relevance) if not is_model(code.coder)}:
                self._disputed.add(paper.record.record_id)

    def matrix(self, note: str = "", coders: Iterable[str] = ()) -> LabelMatrix:
        """Return the matrix of the papers that were added.

        Parameters
        ----------
        note
            Sentence to add to the footnotes, such as the date of the coding.
        coders
            Names of people who worked on the papers in other ways, such as by giving roles to passages. A footnote
            lists them together with the coders of the labels.

        Raises
        ------
        MechtagError
            If all papers were left out; or if the cells are to show probabilities, but only people coded the papers.
        """
        if self._cells == "probability" and not self._origin.probabilities:
            raise MechtagError(
                "codes of people have no probabilities, so the cells of the matrix cannot show them; choose different "
                "contents for the cells, or export the decisions of the model",
                options="--cells tick, pages or value",
            )
        if not self._rows:
            irrelevant, uncoded = self._left_out["not relevant"], self._left_out["not coded"]
            raise MechtagError(
                f"the matrix would be empty: of {counted(self._papers, 'paper')}, {irrelevant:,} "
                f"{'is' if irrelevant == 1 else 'are'} not relevant and {uncoded:,} "
                f"{'has' if uncoded == 1 else 'have'} no code for any label; export papers that are relevant and coded"
            )
        names = cite_all([paper for paper, _, _ in self._rows])
        rows = [
            MatrixRow(paper.record_id, name, cells, total)
            for (paper, cells, total), name in zip(self._rows, names, strict=True)
        ]
        rows.sort(key=lambda row: (normalise_title(row.name), row.record_id))
        shown = column_names(self._book.names)
        self._origin.coders.update(filter(None, coders))
        return LabelMatrix(
            cells=self._cells,
            keys=self._book.keys,
            names=tuple(shown[key] for key in self._book.keys),
            rows=tuple(rows),
            totals=tuple(self._totals),
            footnotes=tuple(_footnotes(self._origin, shown, self._cells, rows, self._left_out, self._disputed, note)),
        )


@dataclass
class _Origin:
    """What the footnotes of a matrix state about its codes, such as the names of the coders."""

    probabilities: bool = False
    models: set[str] = field(default_factory=set)
    # Lowest probability at which the model decides yes, keyed by label.
    bounds: dict[str, float] = field(default_factory=dict)
    coders: set[str] = field(default_factory=set)
    # Coders who gave a sign to a passage; a model is listed as "".
    signers: set[str] = field(default_factory=set)
    # Bases of the codes for labels other than relevance.
    bases: set[str] = field(default_factory=set)

    def add(self, code: Code, of_relevance: bool) -> None:
        """Store those details of a code that appear in footnotes, such as its coder.

        ``of_relevance`` states whether the code is for relevance.
        """
        self.probabilities |= code.probability is not None
        if code.model_id:
            self.models.add(code.model_id)
            if code.threshold is not None:
                self.bounds[code.label] = code.threshold
        self.coders.add(code.coder)
        if any(quote.sign for quote in code.quotes):
            self.signers.add("" if code.model_id else code.coder)
        if not of_relevance:
            self.bases.add(code.basis)


class Citable(NamedTuple):
    """The details of a paper from which its short citation is made.

    Attributes
    ----------
    plain
        Citation by author and year, such as ``Williams (2012)``. If several papers have the same citation, `cite_all`
        adds letters.
    """

    plain: str
    title: str
    record_id: str


def citable(record: Record) -> Citable:
    """Return the details from which `cite_all` makes the short citation of a record."""
    return Citable(_citation(record), record.title, record.record_id)


def cite(records: Iterable[Record]) -> list[str]:
    """Return one short citation per record, such as ``Williams (2012a)``; see `cite_all`."""
    return cite_all([citable(record) for record in records])


def cite_all(papers: Sequence[Citable]) -> list[str]:
    """Return one short citation per paper, such as ``Williams (2012a)``; all citations are different.

    If several papers have the same first author and year, letters are added in the order of their titles.
    """
    cited = [paper.plain for paper in papers]
    places: dict[str, list[int]] = {}
    for place in sorted(range(len(papers)), key=lambda at: papers[at][1:]):
        places.setdefault(cited[place], []).append(place)
    taken = set(places)
    for name, own in places.items():
        if len(own) > 1:
            end = ")" if name.endswith(")") else ""
            lettered = (f"{name.removesuffix(')')}{_letters(number)}{end}" for number in count())
            # A title without author and year may look like the citation of a different paper.
            for place, one in zip(own, (one for one in lettered if one not in taken), strict=False):
                cited[place] = one
                taken.add(one)
    return cited


def _citation(record: Record) -> str:
    first = " ".join(record.authors[0].split(",")[0].split()) if record.authors else ""
    if not first and record.year is None:
        return _shortened(" ".join(record.title.split()) or record.record_id)
    return f"{_shortened(first or ' '.join(record.title.split()))} ({record.year or 'n.d.'})"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1].rstrip() + "…"


def _letters(number: int) -> str:
    """Return ``a`` for 0, ``b`` for 1, ``aa`` for 26, and so on."""
    more, last = divmod(number, 26)
    return (_letters(more - 1) if more else "") + chr(ord("a") + last)


def _cell(cells: Cells, answer: Answer, codes: Sequence[Code]) -> str:
    if cells == "value":
        return _VALUES[answer]
    if cells == "probability":
        known = [code.probability for code in codes if code.probability is not None]
        return f"{known[0]:.2f}" if known else ""
    if cells == "pages" and answer == "yes":
        pages = dict.fromkeys(quote.page for code in codes for quote in code.quotes if quote.page)
        return ", ".join(pages) or _TICKS[answer]
    return _TICKS[answer]


def _mark(cells: Cells, answer: Answer, codes: Sequence[Code]) -> str:
    """Return the mark of absence to add to a tick: `ABSENT`, `PARTLY_ABSENT` or ``""`` (no mark).

    The mark is `ABSENT` if all passages have the sign ``absent``, and `PARTLY_ABSENT` if only some have this sign.
    """
    if cells != "tick" or answer != "yes":
        return ""
    given = [(quote.sign, code.model_id) for code in codes for quote in code.quotes]
    # If people gave a sign to any passage, the signs of models are ignored.
    by_people = any(sign and not model for sign, model in given)
    signs = [sign for sign, model in given if not by_people or not model]
    if "absent" not in signs:
        return ""
    return ABSENT if set(signs) == {"absent"} else PARTLY_ABSENT


def _footnotes(
    origin: _Origin,
    names: Mapping[str, str],
    cells: Cells,
    rows: Sequence[MatrixRow],
    left_out: Counter[str],
    disputed: AbstractSet[str],
    note: str,
) -> Iterator[str]:
    if cells == "probability":
        yield "Cells: probability that a reviewer would find the paper relevant and code it with the label"
    else:
        used = {cell for row in rows for cell in row.cells}
        yes = "pages of the evidence, or ✓: yes" if cells == "pages" else ""
        means = {"1": "yes", "0": "no", "?": _MEANS["?"], "": "not judged"} if cells == "value" else _MEANS
        said = [
            f"{sign or 'empty'}: {word}" for sign, word in means.items() if sign in used and not (yes and sign == TICK)
        ]
        yield "; ".join(filter(None, (yes, *said)))
        if any(cell[1:] in (ABSENT, PARTLY_ABSENT) for cell in used if cell.startswith(TICK)):
            yield "; ".join(_signed_by(origin))
    if origin.models:
        yield f"Decisions of the model {', '.join(sorted(origin.models))}, which people have not checked"
        if origin.bounds:
            bounds = (f"{bound:.2f} ({names[key]})" for key, bound in origin.bounds.items())
            yield f"Yes from a probability of {', '.join(bounds)}"
    if people := sorted(name for name in origin.coders if not is_model(name)):
        yield f"Coded by {', '.join(people)}"
    bases = origin.bases
    yield "Basis: " + {1: "".join(bases), 2: "full text where there is one, else abstract"}[len(bases)].replace(
        "-", " "
    )
    if unsettled := [row.name for row in rows if row.record_id in disputed]:
        yield f"Coders disagree on whether these papers are relevant: {', '.join(unsettled)}"
    if left_out:
        parts = (f"{count} {reason}" for reason, count in sorted(left_out.items()))
        yield f"Papers left out: {', '.join(parts)}"
    if note:
        yield note.rstrip(" .")


def _signed_by(origin: _Origin) -> Iterator[str]:
    """Yield the phrases of a footnote that states who gave the sign ``absent``: people, mechtag, or both."""
    if people := sorted(origin.signers - {""}):
        yield f"Absence according to {', '.join(people)}"
    if "" in origin.signers:
        yield f"{'where nobody said so, ' if people else 'Absence '}according to mechtag"


def write(path: Path, matrix: LabelMatrix) -> None:
    """Write a matrix; the extension of the file name determines the format.

    Raises
    ------
    MechtagError
        If no supported format has this extension.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise MechtagError(
            f"{path}: a matrix cannot be written to a file with this extension; use one of: {', '.join(_WRITERS)}"
        )
    writer(path, matrix)


def table(matrix: LabelMatrix) -> tuple[list[str], list[list[Any]]]:
    """Return the header and the rows of a matrix for a spreadsheet.

    If ``matrix.cells`` is ``value``, the table can be read as a gold standard. It then has no totals, and its header
    contains the keys of the labels instead of their names.
    """
    if matrix.cells == "value":
        rows: list[list[Any]] = [[row.record_id, excel_cell(row.name), *row.cells] for row in matrix.rows]
        return ["record_id", "paper", *matrix.keys], rows
    rows = [[excel_cell(row.name), *row.cells, row.total, row.record_id] for row in matrix.rows]
    rows.append([TOTAL, *matrix.totals, sum(matrix.totals), ""])
    return ["paper", *matrix.names, TOTAL, "record_id"], rows


def _write_csv(path: Path, matrix: LabelMatrix) -> None:
    write_csv(path, *table(matrix), bom=True)


def _write_xlsx(path: Path, matrix: LabelMatrix) -> None:
    review_workbook.write_table(path, "Papers by labels", *table(matrix), notes=matrix.footnotes)


def _write_docx(path: Path, matrix: LabelMatrix) -> None:
    import docx
    from docx.enum.section import WD_ORIENT
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn
    from docx.shared import Cm, Pt

    header, rows = printed(matrix)
    if len(header) > _MOST_COLUMNS:
        raise MechtagError(
            f"{path}: a table in Word has at most {_MOST_COLUMNS} columns, but this one needs {len(header)}; use the "
            "extension .xlsx or .html"
        )
    document = docx.Document()
    properties = document.core_properties
    properties.author, properties.title, properties.comments = "mechtag", "Papers by labels", ""
    properties.created = properties.modified = DATE
    section = document.sections[0]
    section.orientation = WD_ORIENT.LANDSCAPE
    section.page_width, section.page_height = Cm(29.7), Cm(21)
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = Cm(2)
    document.styles["Normal"].font.size = Pt(9)
    table = document.add_table(rows=0, cols=len(header), style="Table Grid")
    table.autofit = False
    widths = [Cm(5), *[Cm(20.7 / (len(header) - 1))] * (len(header) - 1)]
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    for number, row in enumerate((header, *rows)):
        cells = table.add_row().cells
        for place, (cell, text, width) in enumerate(zip(cells, row, widths, strict=True)):
            cell.width = width
            paragraph = cell.paragraphs[0]
            paragraph.paragraph_format.space_after = Pt(0)
            paragraph.add_run(legal_text(text)).bold = number in (0, len(rows))
            if place:
                paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
    if widths[-1] < Cm(_LEAST_CM):
        table.rows[0].height = Cm(min(_MOST_CM, 0.5 + _CM_PER_LETTER * max(map(len, header[1:]))))
        for cell in table.rows[0].cells[1:]:
            direction = OxmlElement("w:textDirection")
            direction.set(qn("w:val"), "btLr")
            cell._tc.get_or_add_tcPr().append(direction)
    # Word repeats a row with this mark at the top of each page, and does not divide rows with the other.
    table.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    for line in table.rows:
        line._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
    for text in matrix.footnotes:
        document.add_paragraph(legal_text(f"{text}."))
    target = io.BytesIO()
    document.save(target)
    with replacing(path) as part:
        part.write_bytes(undated(target.getvalue()))


def printed(matrix: LabelMatrix) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a matrix as text; the last row contains the totals."""
    rows = [[row.name, *row.cells, str(row.total)] for row in matrix.rows]
    rows.append(["Total", *map(str, matrix.totals), str(sum(matrix.totals))])
    return ["Paper", *matrix.names, "Total"], rows


def _write_template(path: Path, matrix: LabelMatrix) -> None:
    header, rows = printed(matrix)
    text = template(f"matrix{path.suffix.lower()}").render(
        header=header, rows=rows[:-1], totals=rows[-1], footnotes=matrix.footnotes
    )
    write_text(path, legal_text(text))


def template(name: str) -> Any:
    """Return the template of a printed table; ``name`` is its file name, such as ``matrix.html``.

    In HTML templates, all text is escaped. In LaTeX and Markdown templates, only text that passes through the filter
    ``tex`` or ``md`` is escaped.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    form = name.rpartition(".")[2]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=form == "html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Braces are part of nearly every line of LaTeX.
        variable_start_string="<<" if form == "tex" else "{{",
        variable_end_string=">>" if form == "tex" else "}}",
    )
    environment.filters["tex"], environment.filters["md"] = _tex, _md
    return environment.get_template(name)


_SYMBOLS = {
    **{
        "✓": r"$\checkmark$",
        "−": r"$-$",
        "±": r"$\pm$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
    },
    **{'"': r"\textquotedbl{}", "…": r"\ldots{}"},
}


def _tex(text: str) -> str:
    """Escape text for LaTeX."""
    text = escape(" ".join(text.split()), _SYMBOLS)
    # A command such as the end of the preceding row takes a bracket or an asterisk for its own argument.
    return f"{{}}{text}" if text.startswith(("[", "*")) else text


def _md(text: str) -> str:
    """Escape text for Markdown."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(r"([\\`*_\[\]|~$!])", r"\\\1", text)
    # What begins a heading, a list, a quotation or a line below a heading.
    return re.sub(r"^(\d*)([#+\->=:.)])", r"\1\\\2", text)


_WRITERS: dict[str, Callable[[Path, LabelMatrix], None]] = {
    ".xlsx": _write_xlsx,
    ".docx": _write_docx,
    ".tex": _write_template,
    ".md": _write_template,
    ".html": _write_template,
    ".csv": _write_csv,
}
