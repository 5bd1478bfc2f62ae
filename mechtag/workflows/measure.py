"""Measure accuracy on a gold standard, and refuse papers that the model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mechtag.project import Project
from mechtag.workflows.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from mechtag.evaluation.evaluate import Check
    from mechtag.evaluation.results import TrainingCheck
    from mechtag.pipeline.annotations.gold_table import GoldStandard

# Number of papers that a refusal lists.
_NAMED = 20


def evaluate(
    project: Project,
    predictions: Path,
    gold: Path,
    output: Path,
    *,
    records: Path | None = None,
    baselines: Path | None = None,
    out_of_fold: Path | None = None,
    curve: Path | None = None,
    variations: Path | None = None,
    full_texts: Path | None = None,
    llms: Sequence[Path] = (),
    model: Path | None = None,
    allow_training_papers: bool = False,
    reporter: Reporter = SILENT,
) -> str:
    """Evaluate predictions on a gold standard; write the metrics to ``output``, and tables next to it.

    Parameters
    ----------
    predictions
        Predictions for the gold papers.
    gold
        Coding matrix of the gold standard.
    records
        Records of the gold papers; by default, ``records.parquet`` next to the predictions.
    baselines, out_of_fold, curve, variations
        Folders of further predictions to measure. Functions of `mechtag.workflows.train` write them: `run_baselines`
        writes ``baselines``, `train` writes ``out_of_fold``, `learning_curve` writes ``curve``, and `tag_variations`
        writes ``variations``.
    full_texts
        Table of the full texts from which the gold papers were tagged.
    llms
        Tables of codings of the gold papers by language models.
    model
        Folder of the model that made the predictions; by default, the model of the project.
    allow_training_papers
        Whether to measure accuracy even if papers may have been used to train the model. All outputs then say so.

    Returns
    -------
    str
        Sentences that state whether papers of the gold standard were used in training.
    """
    from mechtag.evaluation.evaluate import evaluate_files
    from mechtag.evaluation.results import Results

    evaluate_files(
        predictions,
        gold,
        records or predictions.with_name("records.parquet"),
        output,
        label_keys=project.codebook.keys,
        relevance_key=project.codebook.relevance.key,
        settings=project.settings,
        baselines=baselines,
        out_of_fold=out_of_fold,
        curve=curve,
        variations=variations,
        full_texts=full_texts,
        llms=llms,
        note=reporter.note,
        check=_training_check(project, gold, model or project.model, allow_training_papers, reporter),
    )
    return Results.read(output).describe_training()


def _training_check(project: Project, table: Path, model: Path, allow: bool, reporter: Reporter) -> Check:
    """Return a function that checks whether gold papers may have been used to train a model.

    If so, and if ``allow`` is false, the function raises an error.
    """
    from mechtag.core.errors import MechtagError
    from mechtag.evaluation.results import TrainingCheck, TrainingPaper
    from mechtag.models.model_folder import encoder_of, read_config
    from mechtag.training.leakage import describe_papers, find_leaks, read_training_papers
    from mechtag.training.train import load_encoder

    def check(standard: GoldStandard, made_by: Collection[str]) -> TrainingCheck:
        try:
            config = read_config(model)
            if set(made_by) != {config.model_id}:
                names = ", ".join(sorted(made_by)) or "no model"
                return TrainingCheck(
                    unchecked=f"the predictions were made by {names}, but the model folder contains {config.model_id}"
                )
            known = read_training_papers(model, config.model_id)
        except MechtagError as error:
            # The reason is published, so it contains neither paths nor error messages.
            reporter.note(f"note: {error}")
            return TrainingCheck(unchecked="the model folder could not be read")
        if known is None:
            return TrainingCheck(
                unchecked="the model folder was written by an earlier version of mechtag, which did not keep a list of "
                "the training papers"
            )
        used = {"revision": config.encoder.revision, "sha256": config.encoder.sha256}
        encoder = project.settings.encoder.model_copy(update=used | {"name": encoder_of(config, model)})
        settings = project.settings.model_copy(update={"encoder": encoder})
        papers = describe_papers(standard.evaluated, load_encoder(settings), settings)
        leaks = {leak.record_id: leak for leak in find_leaks(papers, known, "training paper", settings)}
        different = standard.notes.not_in_training if standard.notes else {}
        found = []
        for key, record in standard.records.items():
            if leak := leaks.get(record.record_id):
                # No finding can make two papers different that have the same identifier.
                finding = None if leak.certain else different.get(key)
                found.append(TrainingPaper(key=key, reason=leak.reason, different=finding))
        checked = TrainingCheck(papers=tuple(found))
        if checked.used and not allow:
            listed = "\n".join(f"  {paper.key}: {paper.reason}" for paper in checked.used[:_NAMED])
            more = f"\n  and {len(checked.used) - _NAMED} more" if len(checked.used) > _NAMED else ""
            raise MechtagError(
                f"{table}: {len(checked.used)} of {len(papers.records)} papers were or may have been used to train "
                f"model {config.model_id}:\n{listed}{more}\nAccuracy on training papers says nothing about new papers. "
                "Remove these papers from the table, or train without them. A paper may only resemble a training "
                "paper. If someone has compared the two and found that they are different papers, enter the finding "
                f"under 'not_in_training' in {table.with_suffix('.yaml').name}. You can also measure accuracy anyway; "
                "every output then says that accuracy was measured on training papers",
                options="--allow-training-papers",
            )
        return checked

    return check
