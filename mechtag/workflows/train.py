"""Train a model, run the baselines, and measure the learning curve and the effect of variations of the texts."""

from __future__ import annotations

from pathlib import Path

from mechtag.core.parquet import read_records, read_sentences, write_predictions
from mechtag.project import Project
from mechtag.workflows.reporter import SILENT, Reporter


def train(
    project: Project, output: Path | None = None, out_of_fold: Path | None = None, *, reporter: Reporter = SILENT
) -> tuple[str, str]:
    """Train a model on the annotations named in the settings, write the model folder, and log the run to MLflow.

    The reporter receives a table of the labels, and warnings. There is a warning about a label in three cases:

    - The model's ranking of records is not demonstrably better than chance.
    - The ranking is not demonstrably better than a ranking by similarity to the definition of the label.
    - The ranking could not be measured, because no record is coded no.

    Parameters
    ----------
    output
        Folder of the model; by default, ``project.own_model``.
    out_of_fold
        Folder of the out-of-fold predictions of the model; by default, ``project.out_of_fold``.

    Returns
    -------
    model_id, run_id : str
        Id of the model, and id of its MLflow run.
    """
    from mechtag.models.model_folder import finish_swap
    from mechtag.pipeline.tagging.chunks import locked
    from mechtag.training.finetuning.trainers import count_epochs
    from mechtag.training.label_summary import label_table
    from mechtag.training.mlflow_runs import log_run
    from mechtag.training.train import check_replaceable, save_model
    from mechtag.training.train import train as fit_model

    project.require_own()
    settings, output = project.settings, output or project.own_model
    out_of_fold = out_of_fold or project.out_of_fold
    check_replaceable(output)
    # A retraining takes the same locks, because it may replace the same folder.
    with locked(project.kept_with(output)), locked(Path(settings.train.added)):
        finish_swap(output)
        with reporter.progress("fine-tuning", count_epochs(settings.train)) as advance:
            trained = fit_model(settings, project.codebook, work=project.checkpoints, on_progress=advance)
        save_model(trained, output)
        write_predictions(out_of_fold / "documents.parquet", trained.documents)
        write_predictions(out_of_fold / "sentences.parquet", trained.sentences)
        for line in label_table(trained.labels):
            reporter.note(line)
        for label in trained.labels:
            for warning in label.warnings():
                reporter.note(f"warning: {warning}")
        return trained.config.model_id, log_run(trained.config, output, settings, trained.figures, trained.losses)


def run_baselines(
    project: Project, records: Path, sentences: Path, output: Path, *, reporter: Reporter = SILENT
) -> list[str]:
    """Predict the labels of the gold papers with the leave-one-paper-out protocol and with each baseline.

    In this protocol, a gold paper is tagged by a model that was trained on all other gold papers.

    Parameters
    ----------
    records
        Parquet table of the records of the gold standard.
    sentences
        Parquet table of the sentences of these records.
    output
        Folder to write to: one table of predictions for leave-one-paper-out, and one for each baseline.

    Returns
    -------
    list of str
        Names of the protocol and the baselines.
    """
    from mechtag.training.baselines import prepare, run_all

    bench = prepare(
        project.settings, project.codebook, read_records(records), read_sentences(sentences), project.checkpoints
    )
    with reporter.progress("leave-one-out", len(bench.gold)) as advance:
        made = run_all(bench, advance)
    for name, predictions in made.items():
        write_predictions(output / f"{name}.parquet", predictions)
    return list(made)


def learning_curve(project: Project, output: Path, *, reporter: Reporter = SILENT) -> list[int]:
    """Tag the coded records out of fold, with models that were trained on increasingly large subsets of these records.

    For each size of the subsets, a table of predictions is written to the folder ``output``.

    Returns
    -------
    list of int
        Numbers of papers in the subsets; each number is a mean over the folds.
    """
    from mechtag.training.learning_curve import SHARES
    from mechtag.training.learning_curve import learning_curve as tag_by_shares

    with reporter.progress("learning curve", len(SHARES)) as advance:
        made = tag_by_shares(project.settings, project.codebook, advance)
    for papers, predictions in made.items():
        write_predictions(output / f"{papers}.parquet", predictions)
    return list(made)


def tag_variations(project: Project, output: Path, *, reporter: Reporter = SILENT) -> list[str]:
    """Tag each coded record, and each variation of its text, with a model that was not trained on the record.

    One table of predictions is written to the folder ``output`` for the unchanged texts, and one for each kind of
    variation.

    Returns
    -------
    list of str
        Names of the tables: ``as_it_is`` for the unchanged texts, and the names of the kinds of variation.
    """
    from mechtag.training.invariance import tag_varied

    with reporter.progress("variations", project.settings.train.folds) as advance:
        made = tag_varied(project.settings, project.codebook, work=project.checkpoints, on_progress=advance)
    for name, predictions in made.items():
        write_predictions(output / f"{name}.parquet", predictions)
    return list(made)
