"""Test that text from files or from the command line cannot control the terminal."""

import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from rich.table import Table
from rich.text import Text

from mechtag.cli.options import Terminal, printable_warnings, progress, say, show, show_table
from tests.support.command import call

_HOSTILE = "red\x1b[31m\x1b]0;title\x07\x9b2J"
_SHOWN = r"red\x1b[31m\x1b]0;title\x07\x9b2J"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((_HOSTILE,), f"No such command '{_SHOWN}'."),
        (("rank", "a.csv", f"--{_HOSTILE}"), f"No such option: --{_SHOWN}"),
        (("status", _HOSTILE), f"Got unexpected extra argument(s) ({_SHOWN})"),
        (
            ("tag", "a", "--engine", _HOSTILE),
            f"Invalid value for '--engine': Value error, '{_SHOWN}' is not one of 'local', 'ray'.",
        ),
    ],
    ids=["command", "option", "argument", "value"],
)
def test_wrong_usage(words: tuple[str, ...], expected: str) -> None:
    status, output, message = call(*words)
    frame = message.replace("│", "").split("─ Error ")[1].strip("─╮╭╰╯\n ")
    assert (status, output, " ".join(frame.split())) == (2, "", expected)


@pytest.mark.parametrize(("write", "stream"), [(show, "out"), (say, "err"), (Terminal().note, "err")])
def test_messages(write: Callable[[str], None], stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(f"{_HOSTILE}\nnext [bold]")
    assert getattr(capsys.readouterr(), stream) == f"{_SHOWN}\nnext [bold]\n"


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=_HOSTILE, box=None)
    table.add_column(_HOSTILE)
    table.add_row(Text(f"{_HOSTILE} [bold]"))
    show_table(table)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    # Rich itself drops the bell.
    silent = _SHOWN.replace(r"\x07", "")
    assert lines == [silent, silent, f"{silent} [bold]"]


def test_warnings() -> None:
    form, plain = warnings.formatwarning, warnings.formatwarning("one", UserWarning, "a.py", 1)
    with printable_warnings():
        assert warnings.formatwarning(_HOSTILE, UserWarning, "a.py", 1) == plain.replace("one", _SHOWN)
    assert warnings.formatwarning is form


@pytest.mark.parametrize("bar", [progress, Terminal().progress])
def test_progress_bars_interpret_neither_control_characters_nor_markup(
    bar: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment variables make Rich draw the progress bar, as it does on a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with bar(f"{_HOSTILE} [/nothing] [bold]", 3) as advance:
        advance(3)
    drawn = capsys.readouterr().err
    assert f"{_SHOWN} [/nothing] [bold]" in drawn
    assert not {"\x07", "\x9b"} & set(drawn)
    assert "3/3" in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", drawn)


def test_no_bar_if_the_output_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(_HOSTILE, 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")
