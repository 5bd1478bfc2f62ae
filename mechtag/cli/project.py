"""Commands that create the folder of a review and show its state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, open_project, say, show
from mechtag.core.words import counted


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create for the review.")],
    codebook: Annotated[
        Path | None,
        typer.Option(
            "--codebook",
            help="Codebook (YAML) to copy into the folder. Default: the codebook that comes with mechtag.",
            show_default=False,
        ),
    ] = None,
    example: Annotated[
        bool,
        typer.Option("--example", help="Create an example review with invented records, to try mechtag on."),
    ] = False,
) -> None:
    """Create the folder of a new review: settings, codebook, and folders for data, models and reports.

    All paths in the settings are relative, so the folder can be moved or zipped. Commands that you run in this folder,
    or in a folder below it, use this review.

    Example: `mechtag init my-review --codebook codes.yaml`

    Example: `mechtag init farm-trees --example`
    """
    from mechtag.core.settings import PARAMS
    from mechtag.project import create_example, create_project

    if example and codebook is not None:
        raise typer.BadParameter(
            "--example comes with its own codebook, so --codebook cannot be used with it; omit one of the two options"
        )
    made = create_example(folder) if example else create_project(folder, codebook)
    labels = counted(len(made.codebook.keys), "label")
    say(f"{folder}: project created with the codebook {made.codebook.name} ({labels}); see {folder / PARAMS}")
    if example:
        say(f"next: follow docs/first-review.md, or run 'mechtag status' in {folder}")
    else:
        say(f"next: put search exports into {folder / 'data/raw'}, then run 'mechtag status' in {folder}")


def status(project: ProjectFolder = None) -> None:
    """Show the state of a review: records, codes, model, what is out of date, and what to do next.

    Example: `mechtag status`
    """
    from mechtag.workflows.status import describe

    for line in describe(open_project(project)):
        show(line)
