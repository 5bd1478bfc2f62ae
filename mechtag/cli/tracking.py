"""What is logged to MLflow after training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import MODEL, PARAMS, Params, load, say


def track(
    reports: Annotated[
        Path, typer.Argument(metavar="REPORTS", help="Folder that 'evaluate' wrote metrics.json to.")
    ] = Path("reports"),
    model: Annotated[Path, typer.Option("--model", help="Model folder that was evaluated.")] = MODEL,
    params: Params = PARAMS,
) -> None:
    """Add an evaluation to the MLflow run of its model: figures, plots, tables and the report.

    The files of the folder and of its plots are logged, evidence sentences included. The store is mlflow.db in
    the working directory, or the server that MLFLOW_TRACKING_URI names.

    Example: `mechtag track reports/`
    """
    from mechtag.evaluation.curves import draw_curves
    from mechtag.training.mlflow_runs import log_evaluation

    settings, _ = load(params)
    run_id = log_evaluation(model, reports, settings, draw_curves(reports / "plots"))
    say(f"{reports}: logged to MLflow run {run_id}, under evaluation")
