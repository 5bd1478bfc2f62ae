"""Train on the codes of a review, and use the new model only if it is not worse than the model in use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing
from mechtag.core.records import Coding, Record, Sentence
from mechtag.project import Project
from mechtag.workflows.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from mechtag.core.records import Prediction
    from mechtag.evaluation.model_comparison import Difference
    from mechtag.models.model_folder import Model
    from mechtag.pipeline.annotations.coded_records import CodedRecord, Exemplar
    from mechtag.training.retraining.explain_changes import Change
    from mechtag.training.retraining.model_store import ModelPaths

#: Fewest papers with independent codes on which two models are compared.
LEAST_PAPERS = 30


@dataclass(frozen=True)
class Compared:
    """Records on which the suggestions of two models are compared: the model in use and the new model.

    Attributes
    ----------
    records
        The records.
    sentences
        The sentences of all abstracts, in the order of the records.
    keep
        Function that receives the suggestions that differ. It is called before the new model is installed.
    """

    records: Sequence[Record]
    sentences: Sequence[Sentence]
    keep: Callable[[Sequence[Change]], None]


@dataclass(frozen=True)
class Learned:
    """Outcome of training on the codes of a review.

    Attributes
    ----------
    outcome
        - ``adopted``: the new model is in use.
        - ``kept``: the previous model stays in use, because the new model may be worse.
        - ``too_few``: the previous model stays in use, because too few papers have independent codes.
        - ``unchanged``: the model in use was already trained on exactly these codes.
    model_id, former_id
        Id of the model in use now, and id of the model that was in use before.
    papers
        Number of papers used for training.
    compared
        Number of papers with independent codes: codes that no suggestion can have influenced.
    reasons
        Sentences that explain the outcome.
    differences
        Differences in metrics between the two models on the same papers; empty if the models were not compared.
    """

    outcome: Literal["adopted", "kept", "too_few", "unchanged"]
    model_id: str
    former_id: str
    papers: int
    compared: int
    reasons: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()


def write_codes(project: Project, codings: Sequence[Coding], former_sha256: str | None) -> str:
    """Write the codes of a review to the table that training reads, and return the SHA-256 of the table.

    Parameters
    ----------
    former_sha256
        SHA-256 that the last call returned; ``None`` in the first call.

    Raises
    ------
    MechtagError
        If the setting ``train.records`` does not name a table; if the table was not written by this function; or if the
        table was changed after the last call.
    """
    from mechtag.core.tables import is_table
    from mechtag.pipeline.annotations.coding_table import write_codings

    path = Path(project.settings.train.records)
    if not is_table(path):
        raise MechtagError(
            f"{project.settings.train.records}: train.records is not a table of codings, so the codes of the "
            "review are not added automatically; export the codes, and add them with 'mechtag retrain'"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        write_codings(part, codings)
        # A run that was killed may have written the same table without returning.
        known = (former_sha256, _sha256(part))
        _refuse_if_changed(path, known, "table of codes", "import it on the Import codes page")
    return _sha256(path)


def write_examples(project: Project, examples: Sequence[Exemplar], former_sha256: str | None) -> str:
    """Write the examples for training to a file, and return the SHA-256 of the file.

    If there are no examples, the file is deleted, and ``""`` is returned.

    Parameters
    ----------
    examples
        Sentences of coded papers, each with the record id of its paper.
    former_sha256
        SHA-256 that the last call returned; ``None`` in the first call.

    Raises
    ------
    MechtagError
        If the file was not written by this function, or was changed after the last call.
    """
    from mechtag.pipeline.annotations.coded_records import write_exemplars

    path = Path(project.settings.train.examples)
    what, instead = "file of examples", "choose its sentences as examples on the review page"
    if not examples:
        _refuse_if_changed(path, (former_sha256,), what, instead)
        path.unlink(missing_ok=True)
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        write_exemplars(part, examples)
        _refuse_if_changed(path, (former_sha256, _sha256(part)), what, instead)
    return _sha256(path)


def _refuse_if_changed(path: Path, known: Collection[str | None], what: str, instead: str) -> None:
    """Raise an error if a file was not written by the review page, or was changed afterwards."""
    if path.exists() and _sha256(path) not in known:
        raise MechtagError(
            f"{path}: this {what} was not written by the review page, or was changed afterwards; move it to a "
            f"different folder. If its content belongs to the review, {instead}"
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def learn(
    project: Project,
    independent: Sequence[Coding],
    champion: Path,
    reporter: Reporter = SILENT,
    compared: Compared | None = None,
    decided: Callable[[Learned], None] = lambda _: None,
) -> Learned:
    """Train a model on the codes that `write_codes` wrote, and use it if it is not worse than the model in use.

    The two models are compared by the rule of `mechtag retrain`, on papers that neither model was trained on. In two
    cases, the new model is used without a comparison:

    - The model in use was made for a different version of the codebook.
    - The model in use was made from the definitions of the codebook alone, and there are too few papers to compare.

    Parameters
    ----------
    independent
        Codes that no suggestion can have influenced. The models are compared only with these codes; see `judged_by`.
    champion
        Folder of the model in use; see `mechtag.workflows.define.usable_model`.
    compared
        Records on which the suggestions of the two models are compared; by default, suggestions are not compared.
    decided
        Function that is called with the result before a new model is installed.

    Raises
    ------
    MechtagError
        If there are too few codes to train on, or if a file cannot be read; see `mechtag.training.train.train`.
    """
    from mechtag.models.model_folder import load_model
    from mechtag.pipeline.annotations.coding_table import read_annotations
    from mechtag.pipeline.annotations.versions import version_in_use
    from mechtag.pipeline.tagging.chunks import locked
    from mechtag.training.finetuning.trainers import count_epochs
    from mechtag.training.retraining.challenger import train_challenger
    from mechtag.training.retraining.model_store import ModelPaths, recover

    settings, codebook = project.settings, project.codebook
    added = Path(settings.train.added)
    paths = ModelPaths(project.own_model, project.out_of_fold, project.kept_models, added)
    with locked(paths.kept), locked(paths.added):
        recover(paths)
        version = version_in_use(added)
        old = load_model(champion, score_all=True)
        with reporter.progress("fine-tuning", count_epochs(settings.train)) as advance:
            challenger = train_challenger(
                settings, codebook, version, project.work / "learn", work=project.checkpoints, on_progress=advance
            )
        new_id, old_id = challenger.model.config.model_id, old.config.model_id
        coded = read_annotations(settings, codebook.keys, codebook.relevance.key)
        if new_id == old_id:
            return Learned("unchanged", old_id, old_id, len(coded), 0)
        judged = judged_by(independent, coded, codebook)
        different = old.config.codebook_sha256 != codebook.sha256
        reasons: tuple[str, ...]
        differences: tuple[Difference, ...] = ()
        if different:
            # The model in use can no longer be used for tagging.
            verdict, reasons = True, ("the model in use was made for an earlier version of the codebook",)
        elif len(judged) < LEAST_PAPERS:
            # Training never does significantly worse than the definitions:
            # docs/decisions/2026-11-29-definitions-first.md.
            verdict = old.config.from_definitions
            text = f"{len(judged)} papers have independent codes; {LEAST_PAPERS} are needed to compare the two models"
            reasons = (text,)
        else:
            verdict, reasons, differences = _compare(project, old, challenger.documents, judged)
        if compared is not None:
            compared.keep(_find_changes(old, challenger.model, champion, coded, compared, reporter))
        outcome: Literal["adopted", "kept", "too_few"] = (
            "adopted" if verdict else ("kept" if differences else "too_few")
        )
        learned = Learned(outcome, new_id if verdict else old_id, old_id, len(coded), len(judged), reasons, differences)
        decided(learned)
        if verdict:
            _install(paths, old, challenger.folder, version, reasons)
        return learned


def judged_by(codings: Sequence[Coding], coded: Sequence[CodedRecord], codebook: Codebook) -> list[CodedRecord]:
    """Return the coded records, with their codes replaced by ``codings``.

    If ``codings`` has no code for the relevance of a record, the record is left out. If it has no code for a label, the
    label counts as not judged. The codes of sentences are not replaced.

    Parameters
    ----------
    codings
        Final codes that are independent of suggestions.
    """
    given: dict[str, dict[str, int | None]] = {}
    for row in codings:
        given.setdefault(row.record_id or "", {})[row.label] = row.value
    found = []
    for record in coded:
        codes = given.get(record.record.record_id, {})
        if (relevant := codes.get(codebook.relevance.key)) is not None:
            known = {
                "relevant": bool(relevant),
                "labels": tuple(key for key in codebook.keys if codes.get(key) == 1),
                "not_judged": tuple(key for key in codebook.keys if codes.get(key) is None),
            }
            # The codes of sentences are kept, because models are not compared on sentences.
            found.append(record.model_copy(update=known))
    return found


def _compare(
    project: Project, old: Model, new: Sequence[Prediction], judged: Sequence[CodedRecord]
) -> tuple[bool, tuple[str, ...], tuple[Difference, ...]]:
    """Return whether the new model should replace the old model, the reasons, and the differences in metrics."""
    import numpy as np

    from mechtag.evaluation.model_comparison import compare_systems, decide_promotion
    from mechtag.evaluation.predictions import System

    settings, codebook = project.settings, project.codebook
    differences = compare_systems(
        System("the model in use", _fair_predictions(project, old, judged)),
        System("the new model", new),
        judged,
        codebook.keys,
        codebook.relevance.key,
        settings.retrain,
        np.random.default_rng(settings.seed),
    )
    verdict = decide_promotion({"papers with independent codes": differences}, settings.retrain)
    return verdict.promote, verdict.reasons, tuple(differences)


def _find_changes(
    old: Model, new: Model, champion: Path, coded: Sequence[CodedRecord], compared: Compared, reporter: Reporter
) -> list[Change]:
    """Return the suggestions that would change with the new model, each with the reason for the change."""
    from mechtag.training.leakage import read_training_papers
    from mechtag.training.retraining.explain_changes import find_changes

    papers = None if old.config.from_definitions else read_training_papers(champion, old.config.model_id)
    known = set[str]() if papers is None else {record.record_id for record in papers.records}
    learned = [row for row in coded if row.record.record_id not in known]
    with reporter.progress("comparing suggestions", len(compared.records)) as advance:
        return find_changes(old.tagger, new.tagger, compared.records, compared.sentences, learned, advance)


def _fair_predictions(project: Project, old: Model, judged: Sequence[CodedRecord]) -> list[Prediction]:
    """Return the old model's predictions for its training papers and for the papers in ``judged``.

    The predictions for the training papers are out of fold.
    """
    from mechtag.core.parquet import read_predictions
    from mechtag.pipeline.tagging.predict import predict
    from mechtag.training.retraining.challenger import DOCUMENTS

    path = project.out_of_fold / DOCUMENTS
    known = read_predictions(path) if path.exists() else []
    known = [row for row in known if row.model_id.split(":")[0] == old.config.model_id]
    learned = {row.record_id for row in known}
    others = [row for row in judged if row.record.record_id not in learned]
    sentences = [sentence for row in others for sentence in row.sentences]
    records = [row.record for row in others]
    return [*known, *predict(old.tagger, old.config.model_id, records, sentences, evidence_sentences=1)]


def _install(paths: ModelPaths, old: Model, challenger: Path, version: str, reasons: Sequence[str]) -> None:
    """Put a new model in use; keep a copy of the old model if it was trained in this project."""
    from mechtag.models.model_folder import read_config
    from mechtag.training.retraining.challenger import MODEL, OUT_OF_FOLD
    from mechtag.training.retraining.model_store import install, keep, keep_champion

    new_id = read_config(challenger / MODEL).model_id
    own = (paths.model / "config.json").exists() and read_config(paths.model).model_id == old.config.model_id
    trained = own and not old.config.from_definitions
    if trained:
        keep_champion(paths)
    tags = {"data_version": version or "none added"}
    note = {"former": old.config.model_id if trained else "", "version": version, "tags": tags}
    keep(paths, challenger / MODEL, challenger / OUT_OF_FOLD, note)
    row = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "event": f"{new_id} promoted",
        "version": version,
        "champion": new_id,
        "reasons": list(reasons),
    }
    install(paths, new_id, row)
