"""Define the arguments, options, messages and progress bars that several commands share."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mechtag.core.printable import printable
from mechtag.workflows.reporter import Reporter

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from mechtag.project import Project


class RuntimeChoice(StrEnum):
    """Values of ``--runtime``; the setting ``tag.runtime`` has the same values."""

    auto = "auto"
    torch = "torch"
    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"


Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="SRC...", help="Search exports, or folders or zip files of search exports.", show_default=False
    ),
]
Runtime = Annotated[
    RuntimeChoice | None,
    typer.Option(
        "--runtime",
        help="Runtime of the encoder; overrides tag.runtime in params.yaml. 'auto' is the fastest on this machine.",
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=0, help="Number of threads of the encoder; 0 means one per core.")
]
ProjectFolder = Annotated[
    Path | None,
    typer.Option(
        "--project",
        help="Folder of the review. Default: the nearest project in or above the working directory. "
        "If there is none, the codebook and model that come with mechtag are used.",
        show_default=False,
    ),
]
Model = Annotated[
    Path | None, typer.Option("--model", help="Model folder. Default: the model of the project.", show_default=False)
]


def open_project(folder: Path | None) -> Project:
    """Open the project on which a command works.

    If there is no project, a note is printed, and the codebook and model that come with mechtag are used.
    """
    from mechtag import project

    found = project.open_project(folder)
    if found.is_shipped:
        say(
            "note: no project found; using the codebook and model that come with mechtag ('mechtag init' creates a "
            "project)"
        )
    return found


def say(message: str) -> None:
    """Print a message to standard error, so that it is not mixed with results on standard output."""
    typer.echo(printable(message), err=True)


def show(message: str) -> None:
    """Print a result to standard output."""
    typer.echo(printable(message))


def show_table(table: RenderableType) -> None:
    """Print an object that rich can render, such as a table, to standard output."""
    from rich.console import Console

    Console().print(_Printable(table))


class _Printable:
    """Wraps an object that rich prints, and escapes the terminal control characters in its text."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._content, options):
            yield segment._replace(text=printable(segment.text))


@contextmanager
def _printable_errors() -> Iterator[None]:
    """Escape terminal control characters in the usage errors that are raised in the ``with`` block."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):  # an error of typer
            message = printable(error.format_message())
            error.format_message = lambda: message
        raise


class Commands(TyperGroup):
    """A command group that escapes terminal control characters in its usage errors."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the options of a command group, and escape terminal control characters in usage errors."""
        with _printable_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and escape terminal control characters in usage errors."""
        with _printable_errors():
            return super().invoke(ctx)


@contextmanager
def printable_warnings() -> Iterator[None]:
    """Escape terminal control characters in the warnings and tracebacks that Python prints."""
    form = warnings.formatwarning
    warnings.formatwarning = lambda *args, **kwargs: printable(form(*args, **kwargs))
    sys.excepthook = lambda *error: say("".join(traceback.format_exception(*error)))
    try:
        yield
    finally:
        warnings.formatwarning = form


class Terminal(Reporter):
    """A reporter that prints notes and shows progress bars on a terminal."""

    def note(self, message: str) -> None:
        """Print a note to standard error."""
        say(message)

    def progress(self, what: str, total: int, *, done: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """Show a progress bar for a step; see the function `mechtag.cli.options.progress`."""
        return progress(what, total, done=done)


@contextmanager
def progress(what: str, total: int, *, of_bytes: bool = False, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a progress bar for a step, if standard error is a terminal.

    The context manager yields a function that is called with the number of items finished since its last call.

    Parameters
    ----------
    what, total
        Name of the step, and number of its items.
    of_bytes
        Whether the items are bytes.
    done
        Number of items that an earlier run has already finished. The rate that the bar shows does not include them.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    console = Console(stderr=True)
    counts = (DownloadColumn(), TransferSpeedColumn()) if of_bytes else (MofNCompleteColumn(), RateColumn())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *counts, TimeRemainingColumn())
    # Average the rate over minutes, because records may arrive a thousand at a time.
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True, speed_estimate_period=300
    ) as bar:
        task = bar.add_task(printable(what), total=total, completed=done)
        yield lambda done: bar.advance(task, done)
