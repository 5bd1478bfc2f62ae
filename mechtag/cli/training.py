"""Commands that train and check models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, Terminal, open_project, say


def train(
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder to write the model to. Default: the model folder of the project.",
            show_default=False,
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            help="Coded records (a file, or a folder of files) to use instead of those named in the settings.",
        ),
    ] = None,
    out_of_fold: Annotated[
        Path | None,
        typer.Option(
            "--out-of-fold",
            help="Folder for the out-of-fold predictions. Default: data/work/train in the project.",
            show_default=False,
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Train a model on coded records and exemplars, and log the run to MLflow.

    If the encoder is fine-tuned (`train.trainer` in the settings), repeat the command to resume an interrupted run.

    Example: `mechtag train --annotations data/annotated/coded/coded_records.jsonl`
    """
    from mechtag.workflows.train import train as train_model

    opened = open_project(project)
    if annotations is not None:
        opened = opened.with_annotations(annotations)
    model_id, run_id = train_model(opened, output, out_of_fold, reporter=Terminal())
    say(f"{output or opened.own_model}: model {model_id} written and logged to MLflow run {run_id}")


def baselines(
    records: Annotated[
        Path, typer.Argument(metavar="RECORDS", help="Parquet table of the records of the gold standard papers.")
    ],
    sentence_table: Annotated[
        Path,
        typer.Argument(metavar="SENTENCES", help="Parquet table of the sentences of the gold standard papers."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write prediction files to.")],
    project: ProjectFolder = None,
) -> None:
    """Tag the gold papers with naive baselines and with the leave-one-paper-out protocol.

    In this protocol, each gold paper is tagged by a model that was trained on the coded records and on all other gold
    papers.

    Example: `mechtag baselines gold/unique.parquet gold/sentences.parquet -o data/work/baselines`
    """
    from mechtag.workflows.train import run_baselines

    made = run_baselines(open_project(project), records, sentence_table, output, reporter=Terminal())
    say(f"{output}: predictions written for {', '.join(made)}")


def curve(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write prediction files to.")],
    project: ProjectFolder = None,
) -> None:
    """Tag the coded records with models trained on subsets of them, to measure the learning curve.

    Each output file is named after the number of training papers. To compute the metrics, run 'evaluate --curve'.

    Example: `mechtag curve -o data/work/curve`
    """
    from mechtag.workflows.train import learning_curve

    made = learning_curve(open_project(project), output, reporter=Terminal())
    say(f"{output}: predictions written by models trained on {', '.join(map(str, made))} papers")


def variations(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write prediction files to.")],
    project: ProjectFolder = None,
) -> None:
    """Tag coded records and rewritten versions of their texts, to measure how much the decisions change.

    No record is tagged by a model that was trained on it. One file is written for each kind of change to the texts,
    such as added methods sentences or removed headings. To compute the metrics, run 'evaluate --variations'.

    Example: `mechtag variations -o data/work/variations`
    """
    from mechtag.workflows.train import tag_variations

    made = tag_variations(open_project(project), output, reporter=Terminal())
    say(f"{output}: predictions written for {', '.join(made)}")
