"""Texts to go out with a review, and with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import Model, ProjectFolder, open_project, say


def methods(
    metrics: Annotated[
        Path | None,
        typer.Argument(
            metavar="[METRICS]", help="What 'evaluate' wrote. Default: reports/metrics.json.", show_default=False
        ),
    ] = None,
    model: Model = None,
    tagged: Annotated[
        Path | None,
        typer.Option("--tagged", help="summary.json that 'tag' wrote for the search.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Text for the paper to write. Default: reports/methods.md.", show_default=False
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Write methods and results for the paper, and the model card, from the figures of a run.

    What only the authors know is left in square brackets. The model card is README.md in the model folder.

    Example: `mechtag methods reports/metrics.json --tagged out/summary.json -o methods.md`
    """
    from mechtag.workflows.evaluate import write_texts

    opened = open_project(project)
    model, output = model or opened.own_model, output or opened.reports / "methods.md"
    write_texts(metrics or opened.reports / "metrics.json", model, output, tagged)
    say(f"{output} and {model / 'README.md'}: written")
