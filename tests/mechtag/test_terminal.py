"""Nothing that comes from files or from the command line controls the terminal."""

import warnings

import pytest
from rich.table import Table

from mechtag.cli.options import printable_warnings, progress, show_table
from tests.support.command import call

_HOSTILE = "red\x1b[31m\x1b]0;title\x07\x9b2J"


@pytest.mark.parametrize("words", [(_HOSTILE,), ("rank", "a.csv", f"--{_HOSTILE}"), ("tag", "a", "--engine", _HOSTILE)])
def test_wrong_usage(words: tuple[str, ...]) -> None:
    status, output, message = call(*words)
    assert status == 2
    assert not {"\x1b", "\x07", "\x9b"} & set(output + message)


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=_HOSTILE)
    table.add_column(_HOSTILE)
    table.add_row(f"{_HOSTILE} [bold]")
    show_table(table)
    output = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b"} & set(output)
    assert "\\x1b" in output


def test_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    with printable_warnings():
        text = warnings.formatwarning(_HOSTILE, UserWarning, "a.py", 1)
    assert "\\x1b[31m" in text
    assert "\x1b" not in text


def test_progress_bars_do_not_read_markup() -> None:
    with progress(f"{_HOSTILE} [/nothing]", 1) as advance:
        advance(1)
