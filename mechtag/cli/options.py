"""What the commands share: arguments, settings, messages, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mechtag.core.codebook import Codebook
    from mechtag.core.settings import Settings

PARAMS = Path("params.yaml")
MODEL = Path("models/trained")
CHECKPOINTS = Path("data/work/checkpoints")


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
Params = Annotated[Path, typer.Option("--params", help="Settings file; a missing one means the defaults.")]
Checkpoints = Annotated[
    Path, typer.Option("--checkpoints", help="Folder for what tuning goes on from; it may be deleted at any time.")
]


def load(params: Path) -> tuple[Settings, Codebook]:
    """Read the settings, and the codebook they name."""
    from mechtag.core.codebook import load_codebook
    from mechtag.core.settings import load_settings

    settings = load_settings(params)
    return settings, load_codebook(settings.codebook)


def say(message: str) -> None:
    """Tell the user, beside what the command gives to a pipe."""
    typer.echo(message, err=True)


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
