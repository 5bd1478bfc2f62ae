"""From annotations to models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import CHECKPOINTS, MODEL, PARAMS, Checkpoints, Params, load, progress, say


def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")] = MODEL,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations", help="Coded records (a file, or a folder of files) instead of those named in the settings."
        ),
    ] = None,
    out_of_fold: Annotated[
        Path, typer.Option("--out-of-fold", help="Folder for the predictions of the cross-validation.")
    ] = Path("data/work/train"),
    checkpoints: Checkpoints = CHECKPOINTS,
    params: Params = PARAMS,
) -> None:
    """Train a model on coded records and exemplars, and log the run to MLflow.

    Where the encoder is tuned (`train.trainer` in the settings), a run that was interrupted goes on where it
    was: call it again.

    Example: `mechtag train --annotations data/annotated/coded/coded_records.jsonl`
    """
    from mechtag.core.parquet import write_predictions
    from mechtag.training.finetuning.trainers import count_epochs
    from mechtag.training.mlflow_runs import log_run
    from mechtag.training.train import save_model
    from mechtag.training.train import train as fit_model

    settings, codebook = load(params)
    if annotations is not None:
        chosen = settings.train.model_copy(update={"records": str(annotations)})
        settings = settings.model_copy(update={"train": chosen})
    with progress("tuning", count_epochs(settings.train)) as advance:
        trained = fit_model(settings, codebook, work=checkpoints, on_progress=advance)
    save_model(trained, output)
    write_predictions(out_of_fold / "documents.parquet", trained.documents)
    write_predictions(out_of_fold / "sentences.parquet", trained.sentences)
    run_id = log_run(trained.config, output, settings, trained.figures, trained.losses)
    say(f"{output}: model {trained.config.model_id}, MLflow run {run_id}")


def baselines(
    records: Annotated[Path, typer.Argument(metavar="RECORDS", help="Parquet table of the gold records.")],
    sentence_table: Annotated[Path, typer.Argument(metavar="SENTENCES", help="Parquet table of their sentences.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of prediction files to write.")],
    checkpoints: Checkpoints = CHECKPOINTS,
    params: Params = PARAMS,
) -> None:
    """Run the leave-one-paper-out protocol and the naive baselines on the gold papers.

    Example: `mechtag baselines gold/unique.parquet gold/sentences.parquet -o data/work/baselines`
    """
    from mechtag.core.parquet import read_records, read_sentences, write_predictions
    from mechtag.training.baselines import prepare, run_all

    settings, codebook = load(params)
    bench = prepare(settings, codebook, read_records(records), read_sentences(sentence_table), checkpoints)
    with progress("leave-one-out", len(bench.gold)) as advance:
        made = run_all(bench, advance)
    for name, predictions in made.items():
        write_predictions(output / f"{name}.parquet", predictions)
    say(f"{output}: {', '.join(made)}")


def curve(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of prediction files to write.")],
    params: Params = PARAMS,
) -> None:
    """Tag the coded records by models that learnt from a part of them: points of the learning curve.

    Each file is named by the number of papers that its models learnt from. 'evaluate --curve' turns them into
    figures.

    Example: `mechtag curve -o data/work/curve`
    """
    from mechtag.core.parquet import write_predictions
    from mechtag.training.learning_curve import SHARES, learning_curve

    settings, codebook = load(params)
    with progress("learning curve", len(SHARES)) as advance:
        made = learning_curve(settings, codebook, advance)
    for papers, predictions in made.items():
        write_predictions(output / f"{papers}.parquet", predictions)
    say(f"{output}: learnt from {', '.join(map(str, made))} papers")


def variations(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of prediction files to write.")],
    checkpoints: Checkpoints = CHECKPOINTS,
    params: Params = PARAMS,
) -> None:
    """Tag the coded records as they are and told a little differently, by models that have not seen them.

    Each file is named by what was changed: sentences on methods added, headings taken out, British spelling.
    'evaluate --variations' turns them into figures.

    Example: `mechtag variations -o data/work/variations`
    """
    from mechtag.core.parquet import write_predictions
    from mechtag.training.invariance import tag_varied

    settings, codebook = load(params)
    with progress("variations", settings.train.folds) as advance:
        made = tag_varied(settings, codebook, work=checkpoints, on_progress=advance)
    for name, predictions in made.items():
        write_predictions(output / f"{name}.parquet", predictions)
    say(f"{output}: {', '.join(made)}")
