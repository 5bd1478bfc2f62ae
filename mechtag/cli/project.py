"""The folder of a review: making it, and what is to do in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, open_project, say


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the review; it is created.")],
    codebook: Annotated[
        Path | None,
        typer.Option(
            "--codebook", help="Codebook (YAML). Default: the one that comes with mechtag.", show_default=False
        ),
    ] = None,
) -> None:
    """Create the folder of a new review: settings, codebook, and folders for data, models and reports.

    All paths in it are relative, so it can be moved or zipped. Commands that are run in the folder, or below it, work
    on this review.

    Example: `mechtag init my-review --codebook codes.yaml`
    """
    from mechtag.project import PARAMS, create_project

    made = create_project(folder, codebook)
    labels = len(made.codebook.keys)
    say(f"{folder}: new review with the codebook {made.codebook.name} ({labels} labels); settings: {folder / PARAMS}")
    say(f"next: put search exports into {folder / 'data/raw'}, then run 'mechtag status' in {folder}")


def status(project: ProjectFolder = None) -> None:
    """Show where a review is: records, codes and model, what is out of date, and what to do next.

    Example: `mechtag status`
    """
    from mechtag.workflows.status import describe

    for line in describe(open_project(project)):
        typer.echo(line)
