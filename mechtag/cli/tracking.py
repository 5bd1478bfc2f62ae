"""What is logged to MLflow after training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import Model, ProjectFolder, open_project, say


def track(
    reports: Annotated[
        Path | None,
        typer.Argument(
            metavar="[REPORTS]",
            help="Folder that 'evaluate' wrote metrics.json to. Default: reports in the project.",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    project: ProjectFolder = None,
) -> None:
    """Add an evaluation to the MLflow run of its model: figures, plots, tables and the report.

    The files of the folder and of its plots are logged, evidence sentences included. The store is mlflow.db in the
    project, or the server that MLFLOW_TRACKING_URI names.

    Example: `mechtag track reports/`
    """
    from mechtag.workflows.track import track as log

    opened = open_project(project)
    run_id = log(opened, reports, model)
    say(f"{reports or opened.reports}: logged to MLflow run {run_id}, under evaluation")
