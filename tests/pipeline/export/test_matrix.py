"""Test that a matrix shows the same codes in every format, and that a published table survives export and import."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import docx
import docx.document
import openpyxl
import pytest
from lxml import html
from markdown_it import MarkdownIt
from pylatexenc.latex2text import LatexNodes2Text

from mechtag.core.codebook import Label, load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding, Evidence, Prediction, Record, Sign
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.annotations.gold_table import load_matrix
from mechtag.pipeline.annotations.imports.importer import Imported, read_codings_from
from mechtag.pipeline.export import matrix
from mechtag.pipeline.export.coded_papers import from_codings, from_predictions, joined
from tests.support.hostile import BOOK, hostile_codings, hostile_records
from tests.support.paths import ROOT

TABLE = ROOT / "data/annotated/table2.csv"
SIMS = load_codebook(ROOT / "data/annotated/codebook.yaml")
FORMATS = (".csv", ".xlsx", ".docx", ".tex", ".md", ".html")


def printed() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table_codings() -> tuple[list[Record], list[Coding]]:
    """Return a record for each paper in Table 2, and the codings of these papers."""
    records = []
    for row in printed():
        name, year = row["paper"].rstrip(")").split(" (")
        records.append(
            Record(record_id=f"text:{row['key']}", title=row["key"], authors=(f"{name}, A",), year=int(year[:4]))
        )
    rows = load_matrix(TABLE).codings(SIMS.keys, "us", "full-text")
    return records, [row.model_copy(update={"record_id": f"text:{row.key}"}) for row in rows]


def imported(path: Path, records: list[Record]) -> Imported:
    return read_codings_from([path], records, SIMS, DedupeSettings(), coder="us", basis="full-text", unticked="no")


@pytest.mark.parametrize("cells", ["tick", "value"])
@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_table_2_comes_back(tmp_path: Path, suffix: str, cells: matrix.Cells) -> None:
    records, codings = table_codings()
    path = tmp_path / f"table{suffix}"
    matrix.write(path, matrix.arrange(from_codings(codings, records, SIMS), cells))
    found = imported(path, records)
    assert (found.entries["read"], found.entries["rejected"], len(found.codings)) == (36, 0, 36 * 7)
    values = {(row.record_id, row.label): row.value for row in found.codings}
    for row in printed():
        assert [values[f"text:{row['key']}", key] for key in SIMS.keys] == [int(row[key]) for key in SIMS.keys]


def cells_of(path: Path) -> list[list[str]]:
    """Return the rows of an exported matrix, read with libraries other than mechtag."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row[:-1] for row in csv.reader(file)]
    if path.suffix == ".xlsx":
        rows = openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)
        return [["" if cell is None else str(cell) for cell in row[:-1]] for row in rows]
    if path.suffix == ".docx":
        return [[cell.text for cell in row.cells] for row in docx.Document(str(path)).tables[0].rows]
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".tex":
        body = text.partition("\\toprule")[2].partition("\\bottomrule")[0]
        for rule in ("\\midrule", "\\endhead", "\\rotatebox{90}"):
            body = body.replace(rule, "")
        body = body.replace("$\\checkmark$", "✓")
        rows = [row.replace("\\&", "\0").split("&") for row in body.split("\\\\\n")[:-1]]
        plain = LatexNodes2Text().latex_to_text
        return [[" ".join(plain(cell.replace("\0", "\\&")).split()).strip("{}") for cell in row] for row in rows]
    if path.suffix == ".md":
        text = MarkdownIt("commonmark").enable("table").render(text)
    return [[cell.text_content() for cell in row.iter("th", "td")] for row in html.fromstring(text).iter("tr")]


@pytest.mark.parametrize("suffix", FORMATS)
def test_all_formats_show_table_2_with_its_sums(tmp_path: Path, suffix: str) -> None:
    records, codings = table_codings()
    path = tmp_path / f"table{suffix}"
    matrix.write(path, matrix.arrange(from_codings(codings, records, SIMS)))
    header, *rows, totals = cells_of(path)
    assert [name.casefold() for name in header] == ["paper", *(one.name.casefold() for one in SIMS.labels), "total"]
    own = printed()
    assert rows == [
        [row["paper"], *("✓" if row[key] == "1" else "" for key in SIMS.keys), str(sum(int(row[k]) for k in SIMS.keys))]
        for row in own
    ]
    sums = [sum(int(row[key]) for row in own) for key in SIMS.keys]
    assert totals[1:] == [*map(str, sums), "117"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_hostile_names_stay_text(tmp_path: Path, suffix: str) -> None:
    records = [one.model_copy(update={"authors": (), "year": None}) for one in hostile_records()]
    coded = from_codings(hostile_codings(records), records, BOOK)
    for name in ("a", "b"):
        matrix.write(tmp_path / f"{name}{suffix}", matrix.arrange(coded))
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    names = [row[0].removeprefix("'") for row in cells_of(tmp_path / f"a{suffix}")[1:-1]]
    wanted = [row.name for row in matrix.arrange(coded).rows]
    assert len(names) == 30
    if suffix != ".tex":  # pylatexenc reads some escapes as other characters of the same look
        assert [_letters(name) for name in names] == [_letters(name) for name in wanted]
    text = (tmp_path / f"a{suffix}").read_bytes()
    assert b"<script>" not in text or suffix == ".csv"
    assert b"\0" not in text or suffix in (".xlsx", ".docx")
    if suffix == ".tex":
        assert b"\\input" not in text


def _letters(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


def test_no_cell_of_a_workbook_is_a_formula(tmp_path: Path) -> None:
    records = [one.model_copy(update={"authors": (), "year": None}) for one in hostile_records()]
    matrix.write(tmp_path / "m.xlsx", matrix.arrange(from_codings(hostile_codings(records), records, BOOK)))
    sheets = openpyxl.load_workbook(tmp_path / "m.xlsx").worksheets
    assert not any(cell.data_type == "f" for sheet in sheets for row in sheet.iter_rows() for cell in row)


def paper(number: int, **values: object) -> Record:
    return Record(**{"record_id": f"text:{number}", "title": f"Title {number}", "year": 2012, **values})  # type: ignore[arg-type]


def test_papers_of_one_author_and_year_have_letters() -> None:
    williams = ("Williams, Paul",)
    records = [
        paper(1, title="Second", authors=williams),
        paper(2, title="First", authors=williams),
        paper(3, authors=williams, year=2013),
        paper(4, authors=("World Health Organization",), year=None),
        paper(5, year=None),
    ]
    assert matrix.cite(records) == [
        "Williams (2012b)",
        "Williams (2012a)",
        "Williams (2013)",
        "World Health Organization (n.d.)",
        "Title 5",
    ]
    many = matrix.cite([paper(number, title=f"{number:02}", authors=williams) for number in range(28)])
    assert (many[25], many[26], len(set(many))) == ("Williams (2012z)", "Williams (2012aa)", 28)


def code(number: int, coder: str, label: str, value: int | None, **more: object) -> Coding:
    values = {"record_id": f"text:{number}", "coder": coder, "label": label, "value": value, "basis": "abstract"}
    return Coding.model_validate({**values, **more})


def test_a_cell_shows_what_coders_agree_on() -> None:
    codings = [
        *(code(1, coder, "apple", 1) for coder in ("Ann", "Bob")),
        *(code(1, coder, "plum_tree", coder == "Ann") for coder in ("Ann", "Bob")),
        code(1, "Ann", "fig", 0),
        code(1, "Bob", "fig", None),
        code(2, "Ann", "relevant", 0),
        code(3, "Ann", "relevant", 1),
        code(4, "Ann", "apple", None, refer=True),
    ]
    records = [paper(number) for number in range(1, 5)]
    found = matrix.arrange(from_codings(codings, records, BOOK), note="Coded in May")
    assert [(row.name, row.cells, row.total) for row in found.rows] == [
        ("Title 1 (2012)", ("✓", "?", ""), 1),
        ("Title 4 (2012)", ("?", "n/a", "n/a"), 0),
    ]
    assert found.footnotes == (
        "✓: yes; ?: needs review, or coders disagree; n/a: not judged; empty: no",
        "Coded by Ann, Bob",
        "Basis: abstract",
        "Papers left out: 1 not coded, 1 not relevant",
        "Coded in May",
    )
    assert matrix.arrange(from_codings(codings, records, BOOK, coder="Ann")).rows[0].cells == ("✓", "✓", "")
    assert matrix.arrange(from_codings(codings, records, BOOK), "value").rows[1].cells == ("?", "", "")
    with pytest.raises(MechtagError, match="there are no codings by 'Eve'; use one of: Ann, Bob"):
        from_codings(codings, records, BOOK, coder="Eve")
    with pytest.raises(MechtagError, match="there are no codings to export"):
        from_codings([], records, BOOK)
    with pytest.raises(MechtagError, match="codes of people have no probabilities"):
        matrix.arrange(from_codings(codings, records, BOOK), "probability")
    with pytest.raises(MechtagError, match="of 2 papers, 1 is not relevant and 1 has no code"):
        matrix.arrange(from_codings(codings[6:8], records[1:3], BOOK))


def test_papers_on_whose_relevance_coders_disagree_are_named() -> None:
    codings = [
        *(code(1, coder, "relevant", coder == "Ann") for coder in ("Ann", "Bob")),
        code(1, "Ann", "apple", 1),
        *(code(2, coder, "relevant", 1) for coder in ("Ann", "Bob")),
        code(2, "Ann", "apple", 1),
        *(code(3, coder, "relevant", 0) for coder in ("Ann", "Bob")),
    ]
    found = matrix.arrange(from_codings(codings, [paper(number) for number in range(1, 4)], BOOK))
    assert [row.name for row in found.rows] == ["Title 1 (2012)", "Title 2 (2012)"]
    assert found.footnotes[-2:] == (
        "Coders disagree on whether these papers are relevant: Title 1 (2012)",
        "Papers left out: 1 not relevant",
    )


def test_a_code_by_the_full_text_replaces_that_by_the_abstract() -> None:
    codings = [
        code(1, "Ann", "apple", 0),
        code(1, "Ann", "apple", 1, basis="full-text"),
        code(1, "Ann", "fig", 1),
    ]
    cells = {
        basis: matrix.arrange(from_codings(codings, [paper(1)], BOOK, basis=basis), "value").rows[0].cells
        for basis in (None, "abstract", "full-text")
    }
    assert cells == {None: ("1", "", "1"), "abstract": ("0", "", "1"), "full-text": ("1", "", "")}
    with pytest.raises(MechtagError, match="no codings are based on the full text"):
        from_codings(codings[:1], [paper(1)], BOOK, basis="full-text")


def prediction(label: str, decision: str, probability: float, page: str | None) -> Prediction:
    evidence = Evidence(sentence=0, start=0, end=1, text="A", score=1, basis="full-text", page=page)
    return Prediction.model_validate(
        {
            **{"record_id": "text:1", "label": label, "score": 0, "probability": probability, "threshold": 0.5},
            **{"decision": decision, "evidence": (evidence, evidence), "model_id": "m1", "basis": "full-text"},
        }
    )


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ("tick", ("✓", "?", "")),
        ("pages", ("iv", "?", "")),
        ("probability", ("0.80", "0.52", "0.10")),
        ("value", ("1", "?", "0")),
    ],
)
def test_decisions_of_a_model(cells: matrix.Cells, shown: tuple[str, ...]) -> None:
    rows = [
        prediction("relevant", "refer", 0.6, None),
        prediction("apple", "yes", 0.8, "iv"),
        prediction("plum_tree", "refer", 0.52, "v"),
        prediction("fig", "no", 0.1, "vi"),
    ]
    found = matrix.arrange(from_predictions([paper(1)], rows, BOOK), cells)
    assert found.rows[0].cells == shown
    assert found.footnotes[1:] == (
        "Decisions of the model m1, which people have not checked",
        'Yes from a probability of 0.50 (Relevant), 0.50 (Apples & "pears"), 0.50 (Plum tree), 0.50 (Fig)',
        "Basis: full text",
    )


def test_the_extension_chooses_the_format(tmp_path: Path) -> None:
    found = matrix.arrange(from_codings([code(1, "Ann", "apple", 1)], [paper(1)], BOOK))
    with pytest.raises(MechtagError, match=r"use one of: \.xlsx, \.docx, \.tex, \.md, \.html, \.csv"):
        matrix.write(tmp_path / "m.pdf", found)


def test_a_matrix_of_values_can_be_a_gold_standard(tmp_path: Path) -> None:
    records, codings = table_codings()
    matrix.write(tmp_path / "gold.csv", matrix.arrange(from_codings(codings, records, SIMS), "value"))
    ours, theirs = load_matrix(tmp_path / "gold.csv"), load_matrix(TABLE)
    for key in SIMS.keys:
        printed_values = dict(zip(theirs.keys, theirs.values(key), strict=True))
        assert dict(zip(ours.keys, ours.values(key), strict=True)) == {
            f"text:{paper}": value for paper, value in printed_values.items()
        }


def test_a_title_is_not_the_citation_of_another_paper() -> None:
    smith = [paper(number, authors=("Smith, A",)) for number in (1, 2)]
    titled = paper(3, title="Smith (2012a)", year=None)
    assert matrix.cite([*smith, titled]) == ["Smith (2012b)", "Smith (2012c)", "Smith (2012a)"]


def test_no_row_of_latex_begins_with_an_argument_of_the_row_before(tmp_path: Path) -> None:
    titles = ("[Bracketed] title", "*Starred* title", "Dashes -- and ``quotes''", "Last")
    records = [paper(number, title=title, year=None) for number, title in enumerate(titles)]
    codings = [code(number, "Ann", "apple", 1) for number in range(len(titles))]
    matrix.write(tmp_path / "m.tex", matrix.arrange(from_codings(codings, records, BOOK), note="In May 2026."))
    text = (tmp_path / "m.tex").read_text(encoding="utf-8")
    assert not [part for part in text.split("\\\\\n") if part.startswith(("[", "*"))]
    assert "{}[Bracketed] title & $" in text
    assert "{}*Starred* title & $" in text
    assert "Dashes -{}- and `{}`quotes'{}'" in text
    assert "\\noindent In May 2026.\n" in text


def test_names_of_many_columns_are_printed_upwards_in_word(tmp_path: Path) -> None:
    def write(labels: int) -> docx.document.Document:
        keys = [f"label_{number}" for number in range(labels)]
        book = BOOK.model_copy(update={"labels": tuple(Label(key=key, name=key, definition="D.") for key in keys)})
        codings = [code(1, "Ann", key, 1) for key in keys]
        matrix.write(tmp_path / "m.docx", matrix.arrange(from_codings(codings, [paper(1)], book)))
        return docx.Document(str(tmp_path / "m.docx"))

    for labels, upwards in ((7, False), (21, True)):
        cells = write(labels).tables[0].rows[0].cells
        assert ['w:textDirection w:val="btLr"' in cell._tc.xml for cell in cells] == [False, *[upwards] * (labels + 1)]
    assert len(write(61).tables[0].columns) == 63
    with pytest.raises(MechtagError, match="has at most 63 columns, but this one needs 64"):
        write(62)


def signed(coder: str, label: str, *signs: Sign | None) -> Coding:
    passages = " […] ".join(f"Passage {number}." for number in range(len(signs)))
    return Coding(
        record_id="text:1", coder=coder, label=label, value=1, basis="abstract", evidence=passages, signs=signs
    )


@pytest.mark.parametrize(
    ("codings", "cell"),
    [
        ([signed("Ann", "fig", "absent"), signed("Bob", "fig", "absent", "absent")], "✓−"),
        ([signed("Ann", "fig", "absent", "present")], "✓±"),
        ([signed("Ann", "fig", "absent"), signed("Bob", "fig", None)], "✓±"),
        ([signed("Ann", "fig", "present", "unclear", None)], "✓"),
        ([signed("Ann", "fig", "present"), signed("Bob", "fig", "unclear")], "✓"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_tick_by_evidence_of_absence_is_marked_and_comes_back_as_a_tick(
    tmp_path: Path, codings: list[Coding], cell: str, suffix: str
) -> None:
    record = Record(record_id="text:1", title="A paper", authors=("Ash, A",), year=2020)
    arranged = matrix.arrange(from_codings(codings, [record], BOOK))
    assert dict(zip(arranged.keys, arranged.rows[0].cells, strict=True))["fig"] == cell
    assert (arranged.rows[0].total, arranged.totals[arranged.keys.index("fig")]) == (1, 1)
    means = [note for note in arranged.footnotes if f"{cell}: yes" in note]
    assert len(means) == 1
    assert ("absent" in means[0]) == (cell != "✓")
    assert any(note.startswith("Absence according to Ann") for note in arranged.footnotes) == (cell != "✓")
    matrix.write(tmp_path / f"m{suffix}", arranged)
    options: dict[str, Any] = {"coder": "Ann", "basis": "abstract", "unticked": "not-judged"}
    found = read_codings_from([tmp_path / f"m{suffix}"], [record], BOOK, DedupeSettings(), **options).codings
    assert {row.label: row.value for row in found if row.value is not None} == {"fig": 1}


def test_signs_of_people_take_precedence_over_those_of_the_model() -> None:
    record = Record(record_id="text:1", title="A paper", abstract="No figs.", authors=("Ash, A",), year=2020)
    evidence = Evidence(sentence=0, start=0, end=8, text="No figs.", score=1)
    given = {"record_id": "text:1", "score": 1, "probability": 0.9, "model_id": "m1", "evidence": (evidence,)}
    rows = [Prediction.model_validate({**given, "label": key, "decision": "yes"}) for key in ("apple", "fig")]
    decisions = from_predictions([record], rows, BOOK)
    assert set(matrix.arrange(decisions).rows[0].cells) == {"✓−", "n/a"}
    assert "Absence according to mechtag" in matrix.arrange(decisions).footnotes
    both = matrix.arrange(joined(from_codings([signed("Ann", "fig", "present")], [record], BOOK), decisions))
    cells = dict(zip(both.keys, both.rows[0].cells, strict=True))
    assert (cells["fig"], cells["apple"]) == ("✓", "✓−")
    assert "Absence according to Ann; where nobody said so, according to mechtag" in both.footnotes
