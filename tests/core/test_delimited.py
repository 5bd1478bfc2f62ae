"""Test that no row is lost if quotation marks in a table do not match."""

import pytest

from mechtag.core.delimited import _UNCLOSED, rows


def read(text: str, width: int) -> list[tuple[int, list[str], str]]:
    return list(rows(iter(text.splitlines(keepends=True)), 0, ",", width))


@pytest.mark.parametrize("width", [2, 3])
def test_a_quote_that_is_closed_in_a_later_row_hides_no_row(width: int) -> None:
    rest = ",x" * (width - 2)
    found = read(f'"one,1{rest}\ntwo,2{rest}\n"three",3{rest}\n', width)
    assert [line for line, _, _ in found] == [1, 2, 3]
    assert found[0][2] == _UNCLOSED
    assert [row[0] for _, row, fault in found if not fault] == ["two", "three"]


def test_lines_of_a_cell_that_do_not_look_like_rows_stay_in_it() -> None:
    assert read('"one\nmore, and more, of it",1\ntwo,2\n', 2) == [
        (1, ["one\nmore, and more, of it", "1"], ""),
        (3, ["two", "2"], ""),
    ]


_MISMATCH = "the quotation marks do not match: ',' expected after '\"'; correct them"


@pytest.mark.parametrize(
    ("width", "second"),
    [(1, 'second" x'), (2, 'second" x'), (2, 'c, d, e" x')],
    ids=["a table of one column has no sign of a row", "fewer cells than the header", "more cells than the header"],
)
def test_a_line_inside_a_quote_is_not_a_row_if_its_cells_do_not_match_the_header(width: int, second: str) -> None:
    start, last = "1," * (width - 1), ["3"] * width
    assert read(f'{start}"first\n{second}\n{",".join(last)}\n', width) == [
        (1, [f'{start}"first\n{second}'], _MISMATCH),
        (3, last, ""),
    ]


def test_a_line_inside_a_quote_is_a_row_if_its_cells_match_the_header() -> None:
    assert read('1,"first\nb,c" x\n3,4\n', 2) == [
        (1, ['1,"first'], _UNCLOSED),
        (2, ["b", 'c" x'], ""),
        (3, ["3", "4"], ""),
    ]


def test_the_repair_of_a_row_stops_at_the_next_row() -> None:
    assert read('1,"a "b\n2,"c"\n3,"d"\n', 2) == [(1, ['1,"a "b'], _MISMATCH), (2, ["2", "c"], ""), (3, ["3", "d"], "")]


def test_a_quote_inside_a_cell_is_repaired_over_several_lines() -> None:
    assert read('1,"a "b\nmore of it"\n3,4\n', 2) == [(1, ["1", 'a "b\nmore of it'], ""), (3, ["3", "4"], "")]
