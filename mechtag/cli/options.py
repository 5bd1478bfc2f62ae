"""What the commands share: arguments, settings, messages, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechtag.workflows.reporter import Reporter

if TYPE_CHECKING:
    from mechtag.project import Project


class RuntimeChoice(StrEnum):
    """Values of ``--runtime``; those of the setting."""

    auto = "auto"
    torch = "torch"
    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"


Sources = Annotated[
    list[Path],
    typer.Argument(metavar="SRC...", help="Search exports, or folders or zip files of them.", show_default=False),
]
Runtime = Annotated[
    RuntimeChoice | None,
    typer.Option(
        "--runtime", help="What the encoder runs in, instead of tag.runtime in params.yaml; auto: what is fastest here."
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", min=0, help="Threads to encode with; 0: one for each core.")]
ProjectFolder = Annotated[
    Path | None,
    typer.Option(
        "--project",
        help="Folder of the review. Default: the nearest folder, from here upwards, that 'mechtag init' made; "
        "if there is none, the codebook and model that come with mechtag.",
        show_default=False,
    ),
]
Model = Annotated[
    Path | None, typer.Option("--model", help="Model folder. Default: the model of the project.", show_default=False)
]


def open_project(folder: Path | None) -> Project:
    """Open the project that a command works on, and say so if it is none of the user's."""
    from mechtag import project

    found = project.open_project(folder)
    if found.is_shipped:
        say("note: not in a project; using the codebook and model that come with mechtag ('mechtag init' makes one)")
    return found


def say(message: str) -> None:
    """Print a message to standard error, which does not go into a pipe."""
    typer.echo(message, err=True)


class Terminal(Reporter):
    """Prints notes, and shows progress bars on a terminal."""

    def note(self, message: str) -> None:
        """Print a note."""
        say(message)

    def progress(self, what: str, total: int, *, done: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """Show a progress bar."""
        return progress(what, total, done=done)


@contextmanager
def progress(what: str, total: int, *, of_bytes: bool = False, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a progress bar with rate and time left on a terminal, nothing in a pipe.

    Parameters
    ----------
    what, total
        What is done, and how much of it there is.
    of_bytes
        It is counted in bytes.
    done
        How much was done before; the rate leaves it out.
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
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn())
    # Over minutes, for records may come a thousand at a time.
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True, speed_estimate_period=300
    ) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda done: bar.advance(task, done)
