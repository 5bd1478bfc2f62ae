"""Test the workbook that reviewers fill in: what it contains, and what is read back from it."""

import csv
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.outputs import check_outputs
from mechtag.core.parquet import write_records
from mechtag.core.records import Evidence, Prediction, Record
from mechtag.core.tables import read_table
from mechtag.core.workbook import EXPLANATION
from mechtag.pipeline.export import review_rows, review_workbook, sorting
from mechtag.pipeline.export.tagged import export, writing
from mechtag.pipeline.screening.decisions import read_judgements
from mechtag.pipeline.screening.ranking import Course, Ranking, refuse_loss, write_ranking
from tests.support.command import call
from tests.support.paths import ROOT

BOOK = load_codebook(ROOT / "data/annotated/codebook.yaml")
LABELS = [(entry.key, entry.name) for entry in BOOK.entries]
KEY, NAME = LABELS[1]
ABSTRACT = "Nurses met every week. So they shared the lead."
RECORDS = [
    Record(record_id="doi:10.1/low", title="=1+1 lower", authors=("Berg, Ada",), year=2020, doi="10.1/low"),
    Record(record_id="doi:10.1/top", title="Top\x00 \x0bpaper\uffff", abstract=ABSTRACT, source_file="my.ris"),
    Record(record_id="doi:10.1/mid", title="A _x0041_ paper", abstract="Long. " * 7000),
]


def predictions() -> list[Prediction]:
    text = "So they shared the lead."
    evidence = (Evidence(sentence=1, start=23, end=len(ABSTRACT), text=text, score=1),)
    chances = {"doi:10.1/low": 0.1, "doi:10.1/top": 0.9, "doi:10.1/mid": 0.5}
    decisions = {"doi:10.1/low": "no", "doi:10.1/top": "yes", "doi:10.1/mid": "refer"}
    return [
        Prediction.model_validate(
            {
                **{"record_id": name, "label": key, "score": 0, "probability": chance, "decision": decisions[name]},
                **{"evidence": evidence if name != "doi:10.1/mid" else (), "model_id": "m"},
            }
        )
        for name, chance in chances.items()
        for key, _ in LABELS[:2]
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    export("xlsx", tmp_path / "review.xlsx", RECORDS, predictions(), LABELS)
    return tmp_path / "review.xlsx"


def fill(path: Path, **cells: str) -> None:
    """Fill in cells of the paper that is ranked first; ``cells`` maps names of columns to values."""
    book = openpyxl.load_workbook(path)
    names = [cell.value for cell in book["Review"][1]]
    for name, value in cells.items():
        book["Review"].cell(2, names.index(name) + 1).value = value
    book.save(path)


def test_rows_are_in_reading_order_with_names_decisions_and_evidence(path: Path) -> None:
    rows = [row.cells for row in read_table(path, "a table").rows]
    assert [(row["rank"], row["record_id"][9:]) for row in rows] == [("1", "top"), ("2", "mid"), ("3", "low")]
    assert [row[f"{NAME}: decision"] for row in rows] == ["yes", "needs review", "no"]
    assert [row[f"{NAME}: probability"] for row in rows] == ["0.9", "0.5", "0.1"]
    # The sentence before is quoted if the evidence refers to it; a no has no evidence.
    quoted = "“[Nurses met every week.] So they shared the lead.”"
    assert [row[f"{NAME}: evidence"] for row in rows] == [quoted, "", ""]
    assert (rows[0]["title"], rows[0]["source file"]) == ("Top paper", "my.ris")
    assert rows[1]["title"] == "A _x0041_ paper"
    assert rows[1]["abstract"].endswith("[cut: a cell holds 32,767 characters]")
    assert not any(row[name] for row in rows for name in ("decision", "notes", f"{NAME}: your code"))


def test_the_sheet_has_what_a_reviewer_works_with(path: Path) -> None:
    book = openpyxl.load_workbook(path)
    sheet = book["Review"]
    names = [cell.value for cell in sheet[1]]
    assert sheet.freeze_panes == "F2"
    assert sheet.print_title_rows == "$1:$1"
    table = sheet.tables["papers"]
    assert (table.headerRowCount, table.autoFilter.ref, table.column_names) == (1, table.ref, names)
    lists = {str(one.sqref).split("2:")[0]: one.formula1 for one in sheet.data_validations.dataValidation}
    assert lists["B"] == '"yes,no,maybe"'
    assert len(lists) == len(LABELS)
    assert sheet["F2"].alignment.wrap_text
    title = sheet.cell(4, names.index("title") + 1)
    assert (title.value, title.data_type) == ("'=1+1 lower", "s")


def brightness(color: str) -> float:
    """Return the relative luminance (WCAG 2.2) of a colour such as FFD9D9D9, from 0 (black) to 1 (white)."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (2, 4, 6)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_decisions_have_colours_that_repeat_the_words(path: Path) -> None:
    sheet = openpyxl.load_workbook(path)["Review"]
    names = {cell.value: cell.column_letter for cell in sheet[1]}
    fills: dict[str, dict[str, tuple[str, bool]]] = {}
    for area in sheet.conditional_formatting:
        for rule in area.rules:
            (word,) = rule.formula
            style = (rule.dxf.fill.bgColor.rgb, bool(rule.dxf.font and rule.dxf.font.b))
            fills.setdefault(str(area.sqref), {})[word.strip('"')] = style
    wanted = ["decision", *(name for name in names if name.endswith((": decision", ": your code")))]
    assert set(fills) == {f"{names[name]}2:{names[name]}4" for name in wanted}
    (styles,) = {tuple(sorted(own.items())) for own in fills.values()}
    found = dict(styles)
    assert found["needs review"] == found["maybe"] == found["?"]
    colors = [found[word][0] for word in ("yes", "needs review", "no")]
    assert [found[word][1] for word in ("yes", "needs review", "no")] == [False, True, False]
    # Black text is readable on each, and without colours no two look alike.
    lightness = sorted(brightness(color) for color in colors)
    assert all((one + 0.05) / 0.05 > 7 for one in lightness)
    assert all((more + 0.05) / (less + 0.05) > 1.05 for less, more in pairwise(lightness))
    about = openpyxl.load_workbook(path)[EXPLANATION]
    assert any(row[0] == "colours" for row in about.iter_rows(values_only=True))


def test_the_workbook_explains_bounds_and_needs_review(tmp_path: Path) -> None:
    bounds = [(0.25, 0.75)] * (len(LABELS) - 1) + [(0.25, float("inf"))]
    export("xlsx", tmp_path / "a.xlsx", [], [], LABELS, review_workbook.guide_to(BOOK, bounds))
    rows = list(openpyxl.load_workbook(tmp_path / "a.xlsx")[EXPLANATION].iter_rows(values_only=True))
    found = {row[0]: row[1:] for row in rows if row[0]}
    assert found[NAME][1:] == (0.25, 0.75, KEY)
    assert found[LABELS[-1][1]][2] == "never"
    assert "neither a yes nor a no would be right often enough" in str(found["needs review"][0])


def test_without_a_model_the_workbook_says_nothing_of_bounds(tmp_path: Path) -> None:
    export("xlsx", tmp_path / "a.xlsx", [], [], LABELS, review_workbook.guide_to(BOOK))
    rows = list(openpyxl.load_workbook(tmp_path / "a.xlsx")[EXPLANATION].iter_rows(values_only=True))
    found = {row[0]: row[1:] for row in rows if row[0]}
    assert found[NAME] == (next(entry.definition for entry in BOOK.entries if entry.key == KEY), None, None, KEY)
    assert "Labels" in found
    assert not {"no below", "not known"} & {str(cell) for row in rows for cell in row}


def test_both_tables_are_sorted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sorters = []

    @contextmanager
    def counted(folder: Path) -> Iterator[sorting.Sorter]:
        with sorting.sorting(folder) as sorter:
            sorters.append(sorter)
            yield sorter

    monkeypatch.setattr(review_rows, "sorting", counted)
    paths = {"csv": tmp_path / "a.csv", "xlsx": tmp_path / "a.xlsx"}
    by_record: dict[str, dict[str, Prediction]] = {record.record_id: {} for record in RECORDS}
    for prediction in predictions():
        by_record[prediction.record_id][prediction.label] = prediction
    with writing(paths, LABELS, {}) as add:
        for record in RECORDS:
            add(record, by_record[record.record_id])
    assert len(sorters) == 1
    orders = [[row.cells["record_id"] for row in read_table(path, "a table").rows] for path in paths.values()]
    assert orders[0] == orders[1]
    assert len(orders[0]) == len(RECORDS)


def test_two_runs_write_the_same_bytes_at_any_time(path: Path, tmp_path: Path) -> None:
    export("xlsx", tmp_path / "again.xlsx", RECORDS, predictions(), LABELS)
    assert (tmp_path / "again.xlsx").read_bytes() == path.read_bytes()
    assert {member.date_time for member in zipfile.ZipFile(path).infolist()} == {(1980, 1, 1, 0, 0, 0)}
    about = openpyxl.load_workbook(path).properties
    assert about.created == about.modified == datetime(2000, 1, 1)


def test_papers_that_do_not_fit_are_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_workbook, "MOST_ROWS", 3)
    export("xlsx", tmp_path / "a.xlsx", RECORDS, predictions(), LABELS)
    assert len(read_table(tmp_path / "a.xlsx", "a table").rows) == 2
    told = [row[1] for row in openpyxl.load_workbook(tmp_path / "a.xlsx")[EXPLANATION].iter_rows(values_only=True)]
    assert "1 papers, the last in reading order, do not fit into a sheet of 3 rows. They are in tagged.csv." in told
    assert review_workbook.too_long(2) == ""
    assert "the first 2 of 3 papers" in review_workbook.too_long(3)


@pytest.mark.parametrize("own", ["decision", "notes", f"{NAME}: your code"])
def test_what_a_person_filled_in_is_not_overwritten(path: Path, own: str) -> None:
    check_outputs([path])
    fill(path, **{own: "yes"})
    with pytest.raises(MechtagError, match="would delete 1 decision that a person filled in"):
        check_outputs([path])


SAVED = {
    "csv": {"encoding": "utf-8-sig", "delimiter": ","},
    "german": {"encoding": "cp1252", "delimiter": ";"},
    "unicode": {"encoding": "utf-16", "delimiter": "\t"},
}


@pytest.fixture(params=["xlsx", *SAVED])
def filled(path: Path, request: pytest.FixtureRequest) -> Path:
    """Return the workbook with a decision, a code and a note, in each format in which Excel saves it."""
    fill(path, decision="yes", notes="good; ask Ann", **{f"{NAME}: your code": "no"})
    if request.param == "xlsx":
        return path
    saved = SAVED[request.param]
    rows = openpyxl.load_workbook(path)["Review"].iter_rows(values_only=True)
    output = path.with_suffix(".csv")
    with output.open("w", encoding=saved["encoding"], errors="replace", newline="") as file:
        csv.writer(file, delimiter=saved["delimiter"]).writerows(rows)
    return output


def test_decisions_and_notes_are_read_for_ranking(filled: Path) -> None:
    found = read_judgements(filled, "relevant")
    assert found.labels(RECORDS).tolist()[1] == 1
    assert found.notes_on(RECORDS) == {"doi:10.1/top": "good; ask Ann"}


def test_decisions_codes_and_notes_are_imported(filled: Path, tmp_path: Path) -> None:
    write_records(tmp_path / "records.parquet", RECORDS)
    output = tmp_path / "out/codings.csv"
    words = ("codings", filled, "--records", tmp_path / "records.parquet", "-o", output)
    status, _, message = call(*words, "--coder", "Ann", "--basis", "abstract")
    assert status == 0, message
    codes = [row.cells for row in read_table(output, "codings").rows]
    assert [(row["record_id"], row["label"], row["value"]) for row in codes] == [
        ("doi:10.1/top", "relevant", "1"),
        ("doi:10.1/top", KEY, "0"),
    ]
    (note,) = (row.cells for row in read_table(output.with_name("notes.csv"), "notes").rows)
    assert (note["record_id"], note["coder"], note["notes"]) == ("doi:10.1/top", "Ann", "good; ask Ann")
    assert json.loads(output.with_name("codings.json").read_text())["entries"]["read"] == 3


def test_a_ranking_keeps_notes_and_refuses_to_lose_them(path: Path, tmp_path: Path) -> None:
    fill(path, notes="ask Ann")
    judgements = read_judgements(path, "relevant")
    blank, notes = np.full(3, np.nan), judgements.notes_on(RECORDS)
    output = tmp_path / "ranking.csv"
    write_ranking(output, Ranking(RECORDS, np.arange(3), blank, np.zeros(3), Course(), None, False, notes))
    assert [row.cells["notes"] for row in read_table(output, "a ranking").rows] == ["", "ask Ann", ""]
    refuse_loss(output, RECORDS, judgements, "relevant")
    with pytest.raises(MechtagError, match="would delete decisions or notes on 1 record "):
        refuse_loss(output, RECORDS, None, "relevant")
