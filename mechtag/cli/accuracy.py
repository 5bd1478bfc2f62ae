"""From predictions and human coding to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import Model, ProjectFolder, open_project, say


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="What 'tag' made of the gold papers.")],
    gold: Annotated[Path, typer.Argument(metavar="GOLD", help="Coding matrix: papers by labels, with 1 and 0.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Metrics file to write; tables go beside it.")],
    records: Annotated[
        Path | None, typer.Option("--records", help="Records; records.parquet beside the predictions by default.")
    ] = None,
    others: Annotated[
        Path | None, typer.Option("--baselines", help="Folder that 'baselines' wrote.", show_default=False)
    ] = None,
    out_of_fold: Annotated[
        Path | None, typer.Option("--out-of-fold", help="Folder that 'train' wrote.", show_default=False)
    ] = None,
    curve: Annotated[
        Path | None, typer.Option("--curve", help="Folder that 'curve' wrote.", show_default=False)
    ] = None,
    varied: Annotated[
        Path | None, typer.Option("--variations", help="Folder that 'variations' wrote.", show_default=False)
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Compare predictions with human coding.

    Papers of the matrix are found by their key: the field `key` of the source file, or the record id.

    Example: `mechtag evaluate out/predictions.parquet codes.csv -o metrics.json`
    """
    from mechtag.workflows.evaluate import evaluate as evaluate_predictions

    evaluate_predictions(
        open_project(project),
        predictions,
        gold,
        output,
        records=records,
        baselines=others,
        out_of_fold=out_of_fold,
        curve=curve,
        variations=varied,
    )
    say(f"{output}: written, with tables next to it")


def agreement(
    codings: Annotated[
        Path, typer.Argument(metavar="CODINGS", help="Table of codings (CSV): one row a record, coder and label.")
    ],
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            help="Of a model that has not learnt from these records: it becomes one more coder.",
            show_default=False,
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            "--records",
            help="Records (Parquet), to find record ids by key; records.parquet beside the predictions by default.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write all figures as JSON.", show_default=False)
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Tell how far coders agree with one another and with the model, and which codes to settle first.

    Example: `mechtag agreement codings.csv --predictions out/predictions.parquet -o agreement.json`
    """
    from rich.console import Console

    from mechtag.evaluation.report.accuracy_table import agreement_sections, terminal
    from mechtag.workflows.evaluate import compare_coders

    found = compare_coders(open_project(project), codings, predictions, records, output)
    Console().print(terminal(agreement_sections(found)))


def report(
    metrics: Annotated[
        Path | None,
        typer.Argument(
            metavar="[METRICS]", help="What 'evaluate' wrote. Default: reports/metrics.json.", show_default=False
        ),
    ] = None,
    outputs: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", help="Also write it, as .html or .md; may be given twice.", show_default=False),
    ] = None,
    model: Model = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--summary",
            help="summary.json that 'tag' wrote, for the PRISMA counts. Default: that of the search named update.",
            show_default=False,
        ),
    ] = None,
    mlflow_run: Annotated[
        Path | None,
        typer.Option("--mlflow-run", help="mlflow_run.json of the model folder; its id differs each time."),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Print the accuracy table, and write the report: one page (HTML) with everything, or the table (Markdown).

    The HTML report includes the tables, the plot points and `methods.md` that are next to METRICS. If one of these
    files is missing, the report says so.

    Example: `mechtag report reports/metrics.json -o reports/report.html`
    """
    from rich.console import Console

    from mechtag.evaluation.report.accuracy_table import accuracy_sections, terminal
    from mechtag.workflows.evaluate import report as write_reports

    if wrong := [str(path) for path in outputs or () if path.suffix.lower() not in (".html", ".md")]:
        raise typer.BadParameter(f"{', '.join(wrong)}: a report is written as .html or .md; choose such a file name")
    opened = open_project(project)
    results = write_reports(
        opened,
        metrics or opened.reports / "metrics.json",
        outputs or (),
        model=model,
        summary=summary,
        mlflow_run=mlflow_run,
    )
    Console().print(terminal(accuracy_sections(results)))
    for output in outputs or ():
        say(f"{output}: written")


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
