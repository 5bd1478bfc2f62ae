"""From predictions and human coding to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.shared import PARAMS, Params, load, say


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
    params: Params = PARAMS,
) -> None:
    """Compare predictions with human coding.

    Papers of the matrix are found by their key: the field `key` of the source file, or the record id.

    Example: `mechtag evaluate out/predictions.parquet codes.csv -o metrics.json`
    """
    from evaluation.run import evaluate_files

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
    )
    say(f"{output}: written, with tables beside it")


def report(
    metrics: Annotated[Path, typer.Argument(metavar="METRICS", help="What 'evaluate' wrote.")] = Path(
        "reports/metrics.json"
    ),
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the table as Markdown.", show_default=False)
    ] = None,
) -> None:
    """Print the accuracy table.

    Example: `mechtag report reports/metrics.json -o reports/accuracy.md`
    """
    from rich.console import Console

    from evaluation.table import accuracy_markdown, accuracy_terminal
    from pipeline.store import read_json, write_text

    content = read_json(metrics)
    if output is not None:
        write_text(output, accuracy_markdown(content))
    Console().print(accuracy_terminal(content))
