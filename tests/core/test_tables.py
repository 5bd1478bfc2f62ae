"""Test the reader of tables that people edit, such as CSV files and workbooks."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.tables import is_table, read_number, read_table, read_tick
from tests.support.exports import workbook


def written(folder: Path, content: str | bytes, name: str = "codes.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(path: Path) -> list[dict[str, str]]:
    return [dict(row.cells) for row in read_table(path, "codes").rows]


@pytest.mark.parametrize(
    "content",
    [
        "name,note\nZoë,a; b\n",
        "name;note\r\nZoë;a; b\r\n".replace("a; b", '"a; b"'),
        "name\tnote\nZoë\ta; b\n",
        "sep=;\nname;note\nZoë;'a; b'\n".replace("'", '"'),
        "\ufeffname,note\nZoë,a; b\n",
        "name,note\nZoë,a; b\n".encode("utf-16"),
        "name\tnote\r\nZoë\ta; b\r\n".encode("utf-16-le"),
        "name,note\r\nZoë,a; b\r\n".encode("cp1252"),
        "\n,\n name , note ,,\n\nZoë, a; b ,,\n,,,\n",
    ],
)
def test_separators_encodings_and_empty_rows(tmp_path: Path, content: str | bytes) -> None:
    assert cells(written(tmp_path, content)) == [{"name": "Zoë", "note": "a; b"}]


def test_rows_know_their_line_in_text_and_their_row_in_a_sheet(tmp_path: Path) -> None:
    text = written(tmp_path, 'name,note\n\nann,"two\nlines"\n\nbob,x\n')
    assert [(row.number, row.place) for row in read_table(text, "codes").rows] == [
        (3, f"{text}: line 3"),
        (6, f"{text}: line 6"),
    ]
    sheet = written(tmp_path, workbook({"S": [["name", "note"], [], ["ann", 1.0], ["bob"]]}), "codes.xlsx")
    rows = read_table(sheet, "codes").rows
    assert [row.place for row in rows] == [f"{sheet}: row 3", f"{sheet}: row 4"]
    assert [row.cells for row in rows] == [{"name": "ann", "note": "1"}, {"name": "bob", "note": ""}]


def test_neutralised_formulas_are_restored(tmp_path: Path) -> None:
    assert cells(written(tmp_path, "name,'=note\n'-ann,'quoted\n")) == [{"name": "-ann", "=note": "'quoted"}]


def test_a_column_without_a_name_is_in_no_row(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, ",name,\n0,ann,\n"), "codes")
    assert table.names == ("", "name")
    assert [row.cells for row in table.rows] == [{"name": "ann"}]


def test_rows_may_end_before_columns_that_are_not_needed(tmp_path: Path) -> None:
    path = written(tmp_path, "name,value,note\nann,1\n")
    (row,) = read_table(path, "codes", needed=("name", "value", "absent")).rows
    assert row.cells == {"name": "ann", "value": "1", "note": ""}
    with pytest.raises(MechtagError, match=r"codes\.csv: line 2: the row has 2 cells, but the header has 3"):
        read_table(path, "codes")
    with pytest.raises(MechtagError, match=r"codes\.csv: line 2: the row has 2 cells, but the header has 3"):
        read_table(path, "codes", needed=("note",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"codes\.csv: the file is empty"),
        (
            "name,note\nann,1\nbob,a,b\n",
            r"codes\.csv: line 3: the row has 3 cells, but the header has 2; enclose cells that contain ','",
        ),
        ('name,note\nann,"1\nbob,2\n', r"codes\.csv: line 2: a quotation mark is opened but never closed"),
        ("name,note,name\nann,1,2\n", r"codes\.csv: two columns are named 'name'"),
        (b"%PDF-1.7 \n", "a binary file, not text .* save tables as CSV or XLSX"),
        (workbook({"A": [["name"], ["ann", "x"]]}), r"codes\.csv: row 2: the row has 2 cells, but the header has 1"),
        (
            workbook({"A": [["name"]], "B": [["name"]]}),
            r"2 sheets of the workbook contain a table \(A, B\), but mechtag expects only one such sheet \(codes",
        ),
        (workbook({"A": []}), r"no visible sheet of the workbook contains a table \(expected codes"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        read_table(written(tmp_path, content), "codes")


def test_a_table_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match=r"none\.csv: no such file \(expected codes"):
        read_table(tmp_path / "none.csv", "codes")


def test_sheets_that_are_hidden_or_empty_are_passed_over(tmp_path: Path) -> None:
    book = workbook({"Empty": [], "Codes": [["name"], ["ann"]], "Old": [["name"], ["bob"]]}, hidden="Old")
    assert cells(written(tmp_path, book, "codes.xlsx")) == [{"name": "ann"}]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("1 1.0 1,0 x X yes YES Ja oui WAHR True vrai ✓ +", 1),
        ("0 0.0 0,0 no Nein non FALSCH false faux ☐", 0),
        ("? unclear n/a maybe", None),
    ],
)
def test_ticks(words: str, value: int | None) -> None:
    assert {word: read_tick(f" {word} ") for word in words.split()} == dict.fromkeys(words.split(), value)


def test_an_empty_cell_is_unticked_and_by_default_not_judged(tmp_path: Path) -> None:
    assert [read_tick(cell) for cell in ("", "  ", "-", "–")] == ["unticked"] * 4
    (row,) = read_table(written(tmp_path, "name,value,other\nann,,in\n"), "codes").rows
    assert row.tick("value") is None
    assert row.tick("other", {"in": 1}) == 1


def test_a_cell_that_is_not_a_tick_is_reported_with_the_allowed_values(tmp_path: Path) -> None:
    rows = read_table(written(tmp_path, "name,value\nann,1\n\nbob,2\n"), "codes").rows
    message = r"codes\.csv: line 4, column value: '2' is not allowed here; write yes \(also 1, .* leave the cell empty"
    with pytest.raises(MechtagError, match=message):
        [row.tick("value") for row in rows]


@pytest.mark.parametrize(
    ("cell", "value"), [("0.5", 0.5), ("0,5", 0.5), (",5", 0.5), ("-3", -3), ("1,2E+3", 1200), (" 7 ", 7), ("12.", 12)]
)
def test_numbers_with_decimal_points_and_commas(cell: str, value: float) -> None:
    assert read_number(cell) == value


def test_cells_that_are_not_numbers(tmp_path: Path) -> None:
    for cell in ("1.234,5", "1,234.5", "1 234", "nan", "inf", "1e999", "half", ""):
        with pytest.raises(ValueError, match=r"is not a number; write numbers like 1234\.5 or 1234,5"):
            read_number(cell)
    rows = read_table(written(tmp_path, "name;share\nann;0,25\nbob;\ncid;most\n"), "codes").rows
    assert [row.number_in("share") for row in rows[:2]] == [0.25, None]
    assert rows[0].number_in("absent") is None
    with pytest.raises(MechtagError, match=r"codes\.csv: line 4, column share: 'most' is not a number"):
        rows[2].number_in("share")


def test_names_of_tables() -> None:
    assert [is_table(name) for name in ("a.csv", "a.TSV", "a.txt", "a.xlsx", "a.jsonl", "a")] == [True] * 4 + [
        False
    ] * 2
