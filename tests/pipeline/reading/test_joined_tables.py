"""Test files that were joined from several tables, or from a table and a file of a different format."""

from itertools import permutations
from pathlib import Path

import pytest

from mechtag.pipeline.reading.ingest import Ingested, ingest
from tests.support.exports import workbook

_SHORT = [["title", "year"], ["One", "2001"], ["Two papers", "2002"]]
_LONG = [["Authors", "Article Title", "Abstract", "Year"], ["Lee, A", "Three", "A text, long.", "2003"]]
_OWN = [["key", "Title", "Abstract", "my notes", "colour", "shape"], ["7", "Four", "Text.", "good", "red", "round"]]
_RIS = "TY  - JOUR\nTI  - Five\nER  - \n"
_BIBTEX = "@article{a,\n title={Six},\n year={2006}\n}\n"


def read(folder: Path, data: bytes) -> Ingested:
    path = folder / "joined.txt"
    path.write_bytes(data)
    found = ingest([path])
    assert found.sources[0].read == len(found.records) + len(found.rejected)
    return found


def table(rows: list[list[str]], delimiter: str) -> str:
    return "".join(delimiter.join(f'"{c}"' if "," in c else c for c in row) + "\n" for row in rows)


@pytest.mark.parametrize("delimiters", [",,,", "\t\t\t", ",;|", ";\t,", "|,\t"])
@pytest.mark.parametrize("encodings", [("utf-8",) * 3, ("utf-8", "utf-16", "utf-8"), ("utf-16", "utf-8", "utf-8-sig")])
def test_each_table_is_read_by_its_own_header(tmp_path: Path, delimiters: str, encodings: tuple[str, ...]) -> None:
    for tables in permutations((_SHORT, _LONG, _OWN)):
        parts = [
            table(rows, delimiter).encode(encoding)
            for rows, delimiter, encoding in zip(tables, delimiters, encodings, strict=True)
        ]
        found = read(tmp_path, b"".join(parts))
        assert {(record.title, record.year, record.abstract) for record in found.records} == {
            ("One", 2001, ""),
            ("Two papers", 2002, ""),
            ("Three", 2003, "A text, long."),
            ("Four", None, "Text."),
        }
        assert (len(found.records), len(found.rejected)) == (4, 0)
        assert sum("is the header of a second table" in note.text for note in found.notes) == 2


@pytest.mark.parametrize("delimiters", [",,", "\t\t", ";,", ",\t"])
def test_a_header_on_the_line_of_the_last_row(tmp_path: Path, delimiters: str) -> None:
    """The first file does not end in a line break, so the second header follows its last row directly."""
    for tables in permutations((_SHORT, _LONG), 2):
        first, second = (table(rows, each) for rows, each in zip(tables, delimiters, strict=True))
        found = read(tmp_path, (first[:-1] + second).encode())
        assert {(record.title, record.year) for record in found.records} == {
            ("One", 2001),
            ("Two papers", 2002),
            ("Three", 2003),
        }
        assert found.rejected == ()
        (note,) = (note.text for note in found.notes if "second table" in note.text)
        assert note.startswith(f"line {first.count(chr(10))} is ")


def test_an_open_quote_does_not_swallow_the_next_table(tmp_path: Path) -> None:
    found = read(tmp_path, b'title,year\nOne,2001\n"Two,2002\nAuthors,Article Title,Abstract,Year\nLee,Three,A,2003\n')
    assert [record.title for record in found.records] == ["One", "Three"]
    assert [item.line for item in found.rejected] == [3]


def test_a_cell_that_lists_column_names_is_not_a_further_table(tmp_path: Path) -> None:
    text = 'title,abstract,year\nOne,"Fields:\nauthors,title,year,doi\nand more",2001\nTwo,Title,2002\n'
    found = read(tmp_path, text.encode())
    assert [record.title for record in found.records] == ["One", "Two"]
    assert found.records[0].abstract == "Fields: authors,title,year,doi and more"
    assert not found.notes


def test_a_single_column_below_a_wider_table_is_counted(tmp_path: Path) -> None:
    found = read(tmp_path, table(_LONG, ",").encode() + b"title\nOne\nTwo\n")
    assert [record.title for record in found.records] == ["Three"]
    assert [item.line for item in found.rejected] == [3, 4, 5]
    assert "further table with one column" in found.rejected[0].reason


@pytest.mark.parametrize("between", ["", "\n"])
@pytest.mark.parametrize("other", [_RIS, _BIBTEX])
@pytest.mark.parametrize("rows", [_SHORT, _LONG, _OWN, [["title"], ["One"], ["Two"]]])
def test_a_table_joined_to_a_different_format(tmp_path: Path, rows: list[list[str]], other: str, between: str) -> None:
    """Lines of the other format below a table are rejected; if they precede it, a note names the table's first line."""
    text = table(rows, ",")
    found = read(tmp_path, (text + other).encode())
    assert len(found.records) == len(rows) - 1
    assert len(found.rejected) == other.count("\n")
    assert all("different format, " in item.reason for item in found.rejected)
    # A damaged file may have an empty line between the header and the first row.
    header, rest = text.split("\n", 1)
    found = read(tmp_path, f"{other}{header}\n{between}{rest}".encode())
    (note,) = (note.text for note in found.notes if "different format" in note.text)
    assert note.startswith(f"line {other.count(chr(10)) + 1} starts a record in a different format, CSV or TSV;")


def test_two_tables_in_one_sheet(tmp_path: Path) -> None:
    rows: list[list[object]] = [*map(list, _SHORT), *map(list, _LONG)]
    found = read(tmp_path, workbook({"a": rows}))
    assert [record.title for record in found.records] == ["One", "Two papers", "Three"]
    assert any(note.text.startswith("row 4 is the header of a second table") for note in found.notes)
