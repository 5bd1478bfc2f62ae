"""Train the challenger: a new model that may replace the champion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.parquet import read_predictions, write_predictions
from mechtag.core.records import Prediction
from mechtag.core.settings import Settings
from mechtag.models.model_folder import Model, load_model
from mechtag.pipeline.annotations.coded_records import CodedRecord
from mechtag.pipeline.annotations.coding_table import data_hashes
from mechtag.pipeline.tagging.predict import predict
from mechtag.training.finetuning.trainers import Progress
from mechtag.training.train import save_model, train

MODEL, OUT_OF_FOLD = "model", "out-of-fold"
DOCUMENTS, SENTENCES = "documents.parquet", "sentences.parquet"
_FINISHED = "finished.json"


@dataclass(frozen=True)
class Challenger:
    """A challenger: a new model that may replace the model in use (the champion).

    Attributes
    ----------
    folder
        Folder that contains the model (``model``) and its out-of-fold predictions (``out-of-fold``).
    documents
        Out-of-fold predictions of the model for the coded records.
    figures
        Out-of-fold metrics, keyed by name.
    losses
        Mean training loss of each epoch of fine-tuning; empty if the encoder was not fine-tuned.
    """

    folder: Path
    model: Model
    documents: list[Prediction]
    figures: dict[str, float]
    losses: tuple[float, ...]


def train_challenger(
    settings: Settings,
    codebook: Codebook,
    version: str,
    folder: Path,
    *,
    work: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> Challenger:
    """Train a challenger on a version of the annotations, or load it if an earlier run finished training it.

    Parameters
    ----------
    version
        Version of the added annotations.
    folder
        Folder to which the model and its predictions are written.
    work
        Folder for checkpoints, from which interrupted fine-tuning resumes.
    on_progress
        Called with the number of fine-tuning epochs finished since the last call.

    Raises
    ------
    MechtagError
        Under the same conditions as in `train.train`.
    """
    key = _key(settings, codebook, version)
    finished = folder / _FINISHED
    if not finished.is_file() or read_json(finished)["key"] != key:
        trained = train(settings, codebook, version=version, work=work, on_progress=on_progress)
        finished.unlink(missing_ok=True)
        save_model(trained, folder / MODEL)
        write_predictions(folder / OUT_OF_FOLD / DOCUMENTS, trained.documents)
        write_predictions(folder / OUT_OF_FOLD / SENTENCES, trained.sentences)
        # Write this file last, so that interrupted training is repeated.
        write_json(finished, {"key": key, "figures": trained.figures, "losses": trained.losses})
    notes = read_json(finished)
    return Challenger(
        folder=folder,
        model=load_model(folder / MODEL, codebook),
        documents=read_predictions(folder / OUT_OF_FOLD / DOCUMENTS),
        figures=notes["figures"],
        losses=tuple(notes["losses"]),
    )


def _key(settings: Settings, codebook: Codebook, version: str) -> str:
    """Return a hash of the settings, the codebook and the data that determine the result of training."""
    chosen = settings.model_dump(mode="json", include={"seed", "encoder", "sentences", "train"})
    text = json.dumps([chosen, codebook.sha256, data_hashes(settings, version)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def champion_predictions(
    champion: Model, out_of_fold: Path, coded: Sequence[CodedRecord]
) -> tuple[list[Prediction], list[CodedRecord]]:
    """Return predictions of the model in use for all coded records, and the records that are new to this model.

    For records on which the model was trained, its out-of-fold predictions are used. All other records are tagged with
    the model. So no prediction is made by a model that was trained on the record.

    Returns
    -------
    predictions
        Predictions for all coded records.
    new
        Records in ``coded`` on which the model in use was not trained.

    Raises
    ------
    MechtagError
        If ``out_of_fold`` contains the out-of-fold predictions of a different model.
    """
    documents: list[Prediction] = []
    if not champion.config.from_definitions:
        path = out_of_fold / DOCUMENTS
        documents = read_predictions(path)
        makers = {row.model_id.split(":")[0] for row in documents}
        if makers != {champion.config.model_id}:
            raise MechtagError(
                f"{path} contains out-of-fold predictions from {', '.join(sorted(makers)) or 'no model'}, but the "
                f"model in use is {champion.config.model_id}, so a fair comparison is not possible. Restore the "
                "predictions and the model from the same training run with 'dvc checkout', or train again with "
                "'mechtag train'"
            )
    learned = {row.record_id for row in documents}
    new = [record for record in coded if record.record.record_id not in learned]
    sentences = [sentence for record in new for sentence in record.sentences]
    found = predict(
        champion.tagger, champion.config.model_id, [record.record for record in new], sentences, evidence_sentences=1
    )
    return [*documents, *found], new
