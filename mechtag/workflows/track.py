"""Log an evaluation to MLflow."""

from __future__ import annotations

from pathlib import Path

from mechtag.project import Project


def track(project: Project, reports: Path | None = None, model: Path | None = None) -> str:
    """Add the files of an evaluation to the MLflow run of the evaluated model, and return the id of the run.

    Parameters
    ----------
    reports
        Folder that contains ``metrics.json``; by default, the folder of reports of the project.
    model
        Folder of the evaluated model; by default, the model of the project.
    """
    from mechtag.evaluation.report.chart_data import chart_files
    from mechtag.evaluation.results import Results
    from mechtag.training.mlflow_runs import log_evaluation

    reports = reports or project.reports
    results = Results.read(reports / "metrics.json")
    charts = chart_files(reports / "plots", results)
    return log_evaluation(model or project.model, reports, project.settings, results.figures(), charts)
