"""Commands that measure accuracy and agreement, and write reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.annotations import ReadBasis
from mechtag.cli.options import Model, ProjectFolder, Terminal, open_project, say, show_table

Metrics = Annotated[
    Path | None,
    typer.Argument(
        metavar="[METRICS]",
        help="Metrics written by 'mechtag evaluate'. Default: reports/metrics.json.",
        show_default=False,
    ),
]


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="Predictions for the gold papers, written by 'mechtag tag'.")
    ],
    gold: Annotated[
        Path,
        typer.Argument(metavar="GOLD", help="Coding matrix: one row per paper, one column per label, with 1 or 0."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="JSON file to write the metrics to. Tables are written to the same folder."
        ),
    ],
    records: Annotated[
        Path | None,
        typer.Option(
            "--records",
            help="Table of the records of the gold standard. Default: records.parquet next to the predictions.",
        ),
    ] = None,
    others: Annotated[
        Path | None,
        typer.Option(
            "--baselines",
            help="Folder with the predictions that 'mechtag baselines' wrote; the model is compared with the "
            "baselines.",
            show_default=False,
        ),
    ] = None,
    out_of_fold: Annotated[
        Path | None,
        typer.Option(
            "--out-of-fold",
            help="Folder with the out-of-fold predictions that 'mechtag train' wrote; accuracy on the coded records is "
            "computed from them.",
            show_default=False,
        ),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            "--curve",
            help="Folder with the predictions that 'mechtag curve' wrote, for the learning curve.",
            show_default=False,
        ),
    ] = None,
    varied: Annotated[
        Path | None,
        typer.Option(
            "--variations",
            help="Folder with the predictions that 'mechtag variations' wrote. They show how changes of the texts "
            "affect the decisions.",
            show_default=False,
        ),
    ] = None,
    full_texts: Annotated[
        Path | None,
        typer.Option(
            "--full-texts",
            help="Table of the full texts that 'mechtag tag' read. Predictions based on full texts are evaluated "
            "separately from predictions based on abstracts.",
            show_default=False,
        ),
    ] = None,
    llms: Annotated[
        list[Path] | None,
        typer.Option(
            "--llm",
            help="Table of a language model's codings of the gold papers, written by 'mechtag llm' or 'mechtag "
            "llm-vote'. Its figures are added to the report. For several tables, repeat the option.",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    allow_training_papers: Annotated[
        bool,
        typer.Option(
            "--allow-training-papers",
            help="Measure accuracy even if the model was trained on some of the gold papers. If it was, all outputs "
            "say so.",
        ),
    ] = False,
    project: ProjectFolder = None,
) -> None:
    """Measure accuracy by comparing predictions with human coding.

    GOLD is a table of human codes. It identifies each paper by record id, DOI, PubMed id, title, or key (such as the
    citation key in a BibTeX file). Papers that the model was trained on are refused.

    Example: `mechtag evaluate out/predictions.parquet codes.csv -o metrics.json`
    """
    from mechtag.workflows.measure import evaluate as evaluate_predictions

    trained_on = evaluate_predictions(
        open_project(project),
        predictions,
        gold,
        output,
        records=records,
        baselines=others,
        out_of_fold=out_of_fold,
        curve=curve,
        variations=varied,
        full_texts=full_texts,
        llms=llms or (),
        model=model,
        allow_training_papers=allow_training_papers,
        reporter=Terminal(),
    )
    say(trained_on)
    say(f"{output}: metrics written; the tables are in the same folder")


def agreement(
    codings: Annotated[
        list[Path],
        typer.Argument(
            metavar="CODINGS...",
            help="Tables of codings (CSV): one row per record, coder and label. In tables that "
            "'mechtag llm' wrote, the language model counts as a coder.",
        ),
    ],
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            help="Table of predictions (parquet) for the records in CODINGS. The model counts as one more coder. It "
            "must not have been trained on these records.",
            show_default=False,
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            "--records",
            help="Table of records (parquet), used to look up record ids. "
            "Default: records.parquet next to the predictions.",
            show_default=False,
        ),
    ] = None,
    basis: Annotated[
        ReadBasis | None,
        typer.Option(
            "--basis",
            help="Compare only codes from abstracts, or only codes from full texts. Default: all codes.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON file to write all metrics to.", show_default=False)
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Measure how well coders agree with each other and with the model, and list which disagreements to resolve.

    Example: `mechtag agreement codings.csv --predictions out/predictions.parquet -o agreement.json`
    """
    from mechtag.evaluation.report.accuracy_table import agreement_sections, terminal
    from mechtag.workflows.evaluate import compare_coders

    opened = open_project(project)
    found = compare_coders(opened, codings, predictions, records, output, basis.value if basis else None)
    show_table(terminal(agreement_sections(found, opened.codebook.names)))


def report(
    metrics: Metrics = None,
    outputs: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write the report to. Its name must end in .html or .md. For two files, repeat the option.",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--summary",
            help="summary.json written by 'mechtag tag', used for the PRISMA counts. Default: the project's "
            "data/work/update/tagged/summary.json.",
            show_default=False,
        ),
    ] = None,
    mlflow_run: Annotated[
        Path | None,
        typer.Option(
            "--mlflow-run",
            help="File mlflow_run.json in the model folder. The report shows the MLflow run whose id is in this file.",
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Print the accuracy table. Optionally, write it as Markdown, or write the full report as one HTML page.

    The HTML report includes further files from the folder of METRICS: the tables, the data of the plots, and
    `methods.md`. It states which of them are missing.

    Example: `mechtag report reports/metrics.json -o reports/report.html`
    """
    from mechtag.evaluation.report.accuracy_table import accuracy_sections, summary_section, terminal
    from mechtag.workflows.evaluate import report as write_reports

    if wrong := [str(path) for path in outputs or () if path.suffix.lower() not in (".html", ".md")]:
        raise typer.BadParameter(f"{', '.join(wrong)}: the name of a report must end in .html or .md; rename it")
    opened = open_project(project)
    results = write_reports(
        opened,
        metrics or opened.reports / "metrics.json",
        outputs or (),
        model=model,
        summary=summary,
        mlflow_run=mlflow_run,
    )
    names = opened.codebook.names
    # The summary comes last, so that it is on the screen when the command ends.
    show_table(terminal([*accuracy_sections(results, names), summary_section(results, names)]))
    for output in outputs or ():
        say(f"{output}: report written")


def methods(
    metrics: Metrics = None,
    model: Model = None,
    tagged: Annotated[
        Path | None,
        typer.Option(
            "--tagged",
            help="summary.json written by 'mechtag tag'. If it is missing, the draft does not describe the search.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Markdown file to write the draft to. Default: reports/methods.md.",
            show_default=False,
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Draft the methods and results sections of a paper from the metrics, and write the model card.

    Square brackets mark text that the authors must fill in. The model card is README.md in the model folder.

    Example: `mechtag methods reports/metrics.json --tagged out/summary.json -o methods.md`
    """
    from mechtag.workflows.evaluate import write_texts

    opened = open_project(project)
    model, output = model or opened.own_model, output or opened.reports / "methods.md"
    write_texts(metrics or opened.reports / "metrics.json", model, output, tagged)
    say(f"{output}: text for the paper written; {model / 'README.md'}: model card written")


def track(
    reports: Annotated[
        Path | None,
        typer.Argument(
            metavar="[REPORTS]",
            help="Folder with the metrics.json written by 'mechtag evaluate'. Default: the project's folder 'reports'.",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    project: ProjectFolder = None,
) -> None:
    """Log an evaluation (metrics, plots, tables and the report) to the MLflow run of the model.

    All files in REPORTS and in its folder of plots are logged, including files with evidence sentences. The run is
    stored in mlflow.db in the project. If MLFLOW_TRACKING_URI names a server, the run is stored there instead.

    Example: `mechtag track reports/`
    """
    from mechtag.workflows.track import track as log

    opened = open_project(project)
    run_id = log(opened, reports, model)
    say(f"{reports or opened.reports}: logged to MLflow run {run_id}, in the folder evaluation")
