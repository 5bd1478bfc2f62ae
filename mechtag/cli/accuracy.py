"""From predictions and human coding to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import MODEL, PARAMS, Params, load, say


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
    params: Params = PARAMS,
) -> None:
    """Compare predictions with human coding.

    Papers of the matrix are found by their key: the field `key` of the source file, or the record id.

    Example: `mechtag evaluate out/predictions.parquet codes.csv -o metrics.json`
    """
    from mechtag.evaluation.evaluate import evaluate_files

    settings, codebook = load(params)
    evaluate_files(
        predictions,
        gold,
        records or predictions.with_name("records.parquet"),
        output,
        label_keys=codebook.keys,
        relevance_key=codebook.relevance.key,
        settings=settings,
        baselines=others,
        out_of_fold=out_of_fold,
        curve=curve,
        variations=varied,
    )
    say(f"{output}: written, with tables beside it")


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
    params: Params = PARAMS,
) -> None:
    """Tell how far coders agree with one another and with the model, and which codes to settle first.

    Example: `mechtag agreement codings.csv --predictions out/predictions.parquet -o agreement.json`
    """
    from rich.console import Console

    from mechtag.core.files import write_json
    from mechtag.evaluation.evaluate import agreement_of_files
    from mechtag.evaluation.report.accuracy_table import agreement_sections, terminal

    settings, codebook = load(params)
    found = agreement_of_files(codings, codebook.all_keys, settings, predictions, records)
    if output is not None:
        write_json(output, found)
    Console().print(terminal(agreement_sections(found)))


def report(
    metrics: Annotated[Path, typer.Argument(metavar="METRICS", help="What 'evaluate' wrote.")] = Path(
        "reports/metrics.json"
    ),
    outputs: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", help="Also write it, as .html or .md; may be given twice.", show_default=False),
    ] = None,
    model: Annotated[Path, typer.Option("--model", help="Model folder, for settings, versions and hashes.")] = MODEL,
    summary: Annotated[
        Path, typer.Option("--summary", help="summary.json that 'tag' wrote, for the PRISMA counts.")
    ] = Path("data/work/update/tagged/summary.json"),
    mlflow_run: Annotated[
        Path | None,
        typer.Option("--mlflow-run", help="mlflow_run.json of the model folder; its id differs each time."),
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Print the accuracy table, and write the report: one page (HTML) with everything, or the table (Markdown).

    The HTML report takes the tables, the plot points and `methods.md` that stand beside METRICS. A part
    whose file is missing says so.

    Example: `mechtag report reports/metrics.json -o reports/report.html`
    """
    from rich.console import Console

    from mechtag.core.files import read_json, write_text
    from mechtag.evaluation.report.accuracy_table import accuracy_markdown, accuracy_sections, terminal
    from mechtag.evaluation.report.html import Sources, write_report

    content = read_json(metrics)
    wrong = [str(path) for path in outputs or () if path.suffix.lower() not in (".html", ".md")]
    if wrong:
        raise typer.BadParameter(f"{', '.join(wrong)}: a report is written as .html or .md; give such a name to -o")
    for output in outputs or ():
        if output.suffix.lower() == ".md":
            write_text(output, accuracy_markdown(content))
            continue
        settings, codebook = load(params)
        beside = metrics.parent
        comparison = beside / f"predictions_vs_{Path(settings.evaluate.gold).stem}.csv"
        sources = Sources(comparison, beside / "plots", beside / "methods.md", model, summary, mlflow_run)
        write_report(output, metrics, sources, codebook=codebook.model_dump(mode="json"))
    Console().print(terminal(accuracy_sections(content)))
    for output in outputs or ():
        say(f"{output}: written")
