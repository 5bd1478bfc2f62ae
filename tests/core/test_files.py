"""Test that formulas in CSV files are neutralised, and that reading the files restores the original texts."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.files import neutralise, restore, write_csv
from mechtag.core.tables import read_table


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n"])
def test_formulas_are_neutralised(start):
    assert neutralise(f"{start}1+1") == f"'{start}1+1"


@pytest.mark.parametrize("cell", ["", "a=b", " - dash", "'tis", "'", "Ä", "1"])
def test_other_text_stays(cell):
    assert neutralise(cell) == restore(cell) == cell


@given(st.text(alphabet="'=+-@\t\r\na "))
def test_every_text_is_restored(cell):
    assert restore(neutralise(cell)) == cell


@pytest.mark.parametrize("cell", ["=1", "'=1", "''=1", "'+a", "'-", "'@x", "'a"])
def test_text_is_the_same_after_a_table_was_written_and_read(tmp_path, cell):
    write_csv(tmp_path / "t.csv", ["name", "text"], [["a", cell]])
    (row,) = read_table(tmp_path / "t.csv", "a table", ("name", "text")).rows
    assert row.cells["text"] == cell


def test_every_text_cell_is_neutralised_and_numbers_stay(tmp_path):
    path = tmp_path / "t.csv"
    write_csv(path, ["=h", "n"], [["@x", -1.5], ['a,"b"\r\nc', None]])
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["'=h", "n"], ["'@x", "-1.5"], ['a,"b"\r\nc', ""]]


def test_byte_order_mark_and_lone_surrogate(tmp_path):
    path = tmp_path / "t.csv"
    write_csv(path, ["ü\ud800"], [], bom=True)
    assert path.read_bytes() == b"\xef\xbb\xbf" + "ü?\r\n".encode()


def test_ragged_row_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="has 1 cell, but the header has 2"):
        write_csv(path, ["a", "b"], [["1", "2"], ["3"]])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
