"""Test the import of matrices of papers by codes, and of files and entries that no format of codings fits."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import openpyxl
import pytest

from mechtag.core.errors import MechtagError
from mechtag.pipeline.annotations.gold_table import load_matrix
from mechtag.pipeline.annotations.imports.label_names import MapFile
from tests.support.coded_papers import brief, check_counts, fixture, import_from, rows, write


def test_matrix_with_ticks() -> None:
    imported = fixture("matrix.csv", coder="us", basis="full-text", unticked="not-judged")
    assert rows(imported) == [
        ("marchetti-2017", "us", "trust", 1, "full-text"),
        ("marchetti-2017", "us", "money", None, "full-text"),
        ("marchetti-2017", "us", "sharing_power", 1, "full-text"),
        ("brandt-2019", "us", "trust", 0, "full-text"),
        ("brandt-2019", "us", "money", 1, "full-text"),
        ("brandt-2019", "us", "sharing_power", None, "full-text"),
    ]
    assert imported.notes == ("matrix.csv: these columns were ignored: setting",)
    (row,) = imported.unmatched
    assert (row.place, row.item.paper.names) == ("matrix.csv: entry 3", ("unknown-2001", "Unknown (2001)"))
    assert brief(fixture("matrix.csv", coder="us", unticked="no"))[1] == "marchetti-2017 us money=0"


def test_what_an_empty_cell_of_a_matrix_means_is_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match=r"line 2, column Money, shared: the cell is empty, .* state whether"):
        fixture("matrix.csv", coder="us")
    undecided = write(tmp_path / "m.csv", "key,included,trust\nlind-2020,,1\nbrandt-2019,0,0\n")
    assert brief(import_from(undecided, coder="us", unticked="no")) == [
        "brandt-2019 us relevant=0",
        "brandt-2019 us trust=0",
        "lind-2020 us relevant=?",
        "lind-2020 us trust=1",
    ]


def test_empty_cells_of_excluded_papers_are_not_judged(tmp_path: Path) -> None:
    table = "key,included,trust,money\nlind-2020,yes,1,\nbrandt-2019,no,,0\nokafor-2015,maybe,,-\n"
    said = [
        *("brandt-2019 us relevant=0", "brandt-2019 us trust=?", "brandt-2019 us money=0"),
        *("okafor-2015 us relevant=?", "okafor-2015 us trust=?", "okafor-2015 us money=?"),
        *("lind-2020 us relevant=1", "lind-2020 us trust=1", "lind-2020 us money=0"),
    ]
    imported = import_from(write(tmp_path / "m.csv", table), coder="us", unticked="no")
    assert sorted(brief(imported)) == sorted(said)
    excluded = write(tmp_path / "e.csv", "key,excluded,trust,money\nlind-2020,,1,\nbrandt-2019,x,,0\n")
    assert brief(import_from(excluded, coder="us", unticked="no"))[1:3] == said[1:3]


def test_remarks_are_not_lists_of_labels(tmp_path: Path) -> None:
    long = "trust," * 2_000
    path = write(tmp_path / "m.csv", f'key,money,remark,more\nlind-2020,1,"{long}",trust\nbrandt-2019,0,,a\nx,0,,b\n')
    imported = import_from(path, coder="us")
    assert brief(imported) == ["brandt-2019 us money=0", "lind-2020 us money=1"]
    assert imported.notes == ("m.csv: these columns were ignored: remark, more",)


def test_cells_that_look_like_another_format_do_not_make_a_table_one(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "key,trust\n@SUM(1),1\nTY  - JOUR,1\nlind-2020,1\n")
    imported = import_from(path, coder="us")
    assert (brief(imported), imported.entries["unmatched"]) == (["lind-2020 us trust=1"], 2)


def test_matrix_in_a_workbook_of_two_sheets(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["Coding of the included papers"])
    book.active.append([])
    book.active.append(["key", "title", "year", "Building trust", "coder"])
    book.active.append(["lind-2020", None, None, True, "ann"])
    other = book.create_sheet("more")
    other.append(["key", "Sharing power", "reviewer"])
    other.append(["lind-2020", 0.0, "bob"])
    book.create_sheet("remarks").append(["Nothing", "here"])
    book.save(tmp_path / "matrix.xlsx")
    imported = import_from(tmp_path / "matrix.xlsx")
    assert brief(imported) == ["lind-2020 ann trust=1", "lind-2020 bob sharing_power=0"]
    assert imported.notes[0].endswith(
        "matrix.xlsx, sheet 'remarks': found a header but no codings; add codings, or omit this file"
    )


@pytest.mark.parametrize("above", [["", "Mechanisms", ""], ["Table 2. Coding of the included papers"]])
@pytest.mark.parametrize("name", ["matrix.xlsx", "matrix.csv"])
def test_rows_above_the_header_are_skipped(tmp_path: Path, above: list[str], name: str) -> None:
    table = [["DOI", "Trust", "Sharing power"], ["10.5555/jic.2019.0007", "x", 2], ["10.5555/jic.2017.0045", "no", "x"]]
    book = openpyxl.Workbook()
    for row in (above, [], *table):
        book.active.append(row)
    book.save(tmp_path / "matrix.xlsx")
    lines = (",".join(map(str, row)) for row in (above, ["", "", ""], *table))
    write(tmp_path / "matrix.csv", "\n".join(lines))
    imported = import_from(tmp_path / name, coder="us")
    assert brief(imported) == ["marchetti-2017 us trust=0", "marchetti-2017 us sharing_power=1"]
    assert [(one.line, one.reason[:29]) for one in imported.rejected] == [(4, "column Sharing power: '2' is ")]


def test_a_formula_without_a_result_is_not_an_empty_cell(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["key", "trust", "money"], ["lind-2020", 1, "=1"]):
        book.active.append(row)
    book.save(tmp_path / "matrix.xlsx")
    with pytest.raises(MechtagError, match="cell C2 contains a formula, but the file does not contain its result"):
        import_from(tmp_path / "matrix.xlsx", coder="us", unticked="no")
    # Excel stores the results of formulas, including empty ones.
    for cell, code in (('<c r="C2"><f>1</f><v>1</v></c>', 1), ('<c r="C2" t="str"><f>1</f><v></v></c>', 0)):
        with zipfile.ZipFile(tmp_path / "matrix.xlsx") as old, zipfile.ZipFile(tmp_path / "saved.xlsx", "w") as new:
            for name in old.namelist():
                new.writestr(name, re.sub(r'<c r="C2".*?</c>', cell, old.read(name).decode()))
        imported = import_from(tmp_path / "saved.xlsx", coder="us", unticked="no")
        assert brief(imported) == ["lind-2020 us trust=1", f"lind-2020 us money={code}"]


def test_sheets_of_two_coders_are_told_apart(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Ann"
    for sheet, tick in ((book.active, 1), (book.create_sheet("Bob"), 0)):
        sheet.append(["key", "trust", "money"])
        sheet.append(["lind-2020", tick, 1])
        sheet.append(["brandt-2019", "often", 0])
    book.save(tmp_path / "matrix.xlsx")
    imported = import_from(tmp_path / "matrix.xlsx", coder="us")
    ann, bob = "matrix.xlsx, sheet 'Ann'", "matrix.xlsx, sheet 'Bob'"
    assert [row.place for row in imported.conflicts[0].rows] == [f"{ann}: entry 1", f"{bob}: entry 1"]
    assert [(one.file, one.line) for one in imported.rejected] == [(ann, 3), (bob, 3)]
    assert f"codes of one coder, 'us': {ann} (2), {bob} (2). If different people" in imported.notes[0]


def test_table_2_is_read_as_the_gold_standard_is(tmp_path: Path) -> None:
    from mechtag.core.codebook import load_codebook
    from mechtag.core.settings import DedupeSettings
    from mechtag.pipeline.annotations.imports.importer import read_codings_from
    from mechtag.pipeline.reading.ingest import ingest
    from tests.support.paths import ROOT

    book = load_codebook(ROOT / "data/annotated/codebook.yaml")
    table = ROOT / "data/annotated/table2.csv"
    passed_over = dict.fromkeys(("fostering_resilience", "general_contexts", "general_outcomes"))
    imported = read_codings_from(
        [table],
        ingest([ROOT / "data/raw/gold_records.jsonl"]).records,
        book,
        DedupeSettings(),
        coder="reviewers",
        basis="full-text",
        mapped=MapFile(labels=passed_over),
    )
    found = {(row.key, row.label, row.value) for row in imported.codings}
    lost = {name for row in imported.unmatched for name in row.item.paper.names}
    printed = load_matrix(table).codings(book.keys, "reviewers", "full-text")
    expected = {(row.key, row.label, row.value) for row in printed if row.key not in lost}
    assert found == expected
    assert len(found) == 7 * (36 - len(imported.unmatched)) >= 7 * 34


def deep_tree(depth: int) -> str:
    """Return a report of EPPI-Reviewer whose codes are nested ``depth`` levels deep."""
    tree = '{"AttributeId": 1, "AttributeName": "x", "Attributes": {"AttributesList": [' * depth + "]}}" * depth
    return '{"CodeSets": [{"Attributes": {"AttributesList": [' + tree + ']}}], "References": []}'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "colour,size\nred,1\n",
            "the format of these codings is not known; columns or keys found: colour, size",
        ),
        ("a.csv", "key,comment\nlind-2020,good\n", "no column is named after a label"),
        ("a.csv", "key,trust,trust\nlind-2020,1,0\n", "column 'trust' occurs more than once"),
        ("a.json", '{"CodeSets": [], "References": []}', "no codes under CodeSets"),
        ("a.json", '{"CodeSets": [', "not readable as JSON"),
        ("a.jsonl", '{"colour": "red"}\n', "the format of these codings is not known"),
        ("a.csv", "", "empty"),
        (
            "a.jsonl",
            '{"key": "lind-2020", "la\n',
            "no row could be read; .* The first fault is on line 1: the line is not a JSON object",
        ),
        ("a.csv", "key,trust\n", "found a header but no codings"),
        ("a.json", deep_tree(60), "codes are nested more than 50 levels deep"),
        ("a.json", '{"CodeSets": ' + "[" * 100_000, "not readable as JSON"),
        ("a.xml", '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><xml><records>&a;</records></xml>', "a.xml"),
        ("a.csv", "<!DOCTYPE html><html><body>log in</body></html>", "a web page"),
        ("a.csv", "key,trust\nlind-2020,1\n", "does not record the coder"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        import_from(write(tmp_path / name, content))


def test_basis_is_never_guessed() -> None:
    with pytest.raises(
        MechtagError, match=r"covidence_tags\.csv: entry 1: .* whether the coder read .* specify which text"
    ):
        fixture("covidence_tags.csv", coder="us", basis=None)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "key,label,value\nlind-2020,trust,2\n", "value '2' is not allowed here"),
        ("a.csv", "key,label,value\nlind-2020,,1\n", "the label is empty"),
        ("a.csv", "key,label,value,basis\nlind-2020,trust,1,hearsay\n", "the basis is 'hearsay'"),
        (
            "a.csv",
            "key,label,value\nlind-2020,trust,1\nlind-2020,trust,1,more\n",
            "the row has 4 cells, but the header has 3",
        ),
        ("a.csv", "key,trust\nlind-2020,often\n", "column trust: 'often' is not allowed here"),
        ("a.csv", "key,asreview_label\nlind-2020,5\n", "column asreview_label: '5' is not allowed here"),
        ("a.jsonl", '{"text": "x", "label": "trust", "answer": "perhaps"}\n', "the answer is 'perhaps'"),
        ("a.jsonl", '{"key": "a", "label": "trust", "value": 1}\n{"key": "lind-2020", "la\n', "not a JSON object"),
    ],
)
def test_entries_that_are_rejected(tmp_path: Path, name: str, content: str, reason: str) -> None:
    imported = import_from(write(tmp_path / name, content), coder="us")
    check_counts(imported)
    (rejected,) = imported.rejected
    assert reason in rejected.reason
    assert rejected.file == name
