"""Rows of tables in which quotation marks do not match."""

import pytest

from mechtag.core.delimited import _UNCLOSED, rows


def read(text: str, width: int) -> list[tuple[int, list[str], str]]:
    return list(rows(iter(text.splitlines(keepends=True)), 0, ",", width))


@pytest.mark.parametrize("width", [2, 3])
def test_a_quote_that_is_closed_in_a_later_row_swallows_no_row(width: int) -> None:
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
