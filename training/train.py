"""Train a model on annotation files, compute its out-of-fold predictions, and write the model folder."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from mechtag.core.arrays import Array
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_text
from mechtag.core.records import Prediction
from mechtag.core.settings import Settings
from mechtag.models.encoder import Arrays, TransformerEncoder, locate_encoder, pack_tuned
from mechtag.models.features import Definitions, embed_codebook
from mechtag.models.model_folder import (
    CONFIG,
    EXPORTS,
    FORMAT_VERSION,
    PAPERS,
    RUN_FILE,
    TUNED,
    WEIGHTS,
    EncoderConfig,
    ModelConfig,
    new_folder,
    pack,
    swap_in,
    with_model_id,
)
from mechtag.models.scoring import Calibration, probabilities
from mechtag.models.tagger import Tagger
from mechtag.pipeline.annotations.coded_records import CodedRecord, all_exemplars
from mechtag.pipeline.annotations.coding_table import data_hashes, read_annotations
from mechtag.training.dataset import NO_DOCUMENT, Corpus, build_corpus, coded_documents
from mechtag.training.finetuning.trainers import FrozenTrainer, Progress, Trainer, make_trainer
from mechtag.training.heads import Fitted, cross_calibrate, fit
from mechtag.training.label_summary import LabelSummary, refuse_without_negatives, summarise_labels
from mechtag.training.leakage import KnownPapers, describe_papers
from mechtag.training.long_texts import learn_windows

CARD = "README.md"
# Written instead of minus infinity, the score of a sentence without content; other sentences score higher.
NO_CONTENT = -100.0
LIBRARIES = ("torch", "transformers", "scikit-learn", "numpy", "safetensors", "spacy")


@dataclass(frozen=True)
class Trained:
    """Result of a training run.

    Attributes
    ----------
    documents : list of Prediction
        Out-of-fold predictions for the coded records.
    sentences : list of Prediction
        Out-of-fold predictions for the sentences of the coded records. The record id of such a prediction is
        ``<record_id>#<sentence number>``, and its probability is ``None``.
    figures
        Out-of-fold metrics for comparing training runs: ROC AUC of relevance, and average precision of sentences.
    tuned
        Encoder weights that fine-tuning changed; empty for the trainer ``frozen``.
    losses
        Mean training loss of each epoch of the fine-tuning run that uses all papers.
    papers
        Papers that the model was trained on; see `leakage.KnownPapers`.
    labels
        Summaries of relevance and of each label: numbers of codes, and quality of the out-of-fold ranking.
    """

    tagger: Tagger
    tuned: Arrays
    losses: tuple[float, ...]
    config: ModelConfig
    documents: list[Prediction]
    sentences: list[Prediction]
    figures: dict[str, float]
    papers: KnownPapers
    labels: list[LabelSummary]


def train(
    settings: Settings,
    codebook: Codebook,
    *,
    version: str | None = None,
    work: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> Trained:
    """Train a model on the annotation files named in the settings, and compute its out-of-fold predictions.

    Parameters
    ----------
    version
        Version of the added annotations; by default, the active version.
    work
        Folder for checkpoints, from which interrupted fine-tuning resumes. If ``None``, no checkpoints are saved.
    on_progress
        Called with the number of fine-tuning epochs finished since the last call.

    Raises
    ------
    MechtagError
        If an annotation file is invalid or has too few annotations to train on, if labels are coded yes but never no,
        or if the encoder is missing.
    """
    coded, encoder, definitions, corpus = read_material(settings, codebook, version)
    refuse_without_negatives(corpus, codebook)
    trainer = make_trainer(encoder, codebook, definitions, settings.train, work=work, on_progress=on_progress)
    return _trained(settings, codebook, coded, encoder, corpus, trainer, data_hashes(settings, version))


def refusal(settings: Settings, codebook: Codebook) -> str:
    """Return the reason why `train` refuses the annotations that the settings name; ``""`` if it accepts them."""
    try:
        corpus = read_material(settings, codebook)[-1]
        refuse_without_negatives(corpus, codebook)
    except MechtagError as error:
        return str(error)
    return ""


def define(settings: Settings, codebook: Codebook) -> Trained:
    """Create a model from the definitions of a codebook alone, without annotations.

    The model scores texts by their similarity to the definitions and rules of the codebook. Every decision of the model
    is *needs review*.

    Raises
    ------
    MechtagError
        If the encoder is missing.
    """
    encoder = load_encoder(settings)
    definitions = embed_codebook(codebook, encoder)
    corpus = build_corpus((), (), codebook.keys, encoder, definitions)
    return _trained(settings, codebook, [], encoder, corpus, FrozenTrainer(encoder, definitions), {})


def _trained(
    settings: Settings,
    codebook: Codebook,
    coded: list[CodedRecord],
    encoder: TransformerEncoder,
    corpus: Corpus,
    trainer: Trainer,
    data: dict[str, str],
) -> Trained:
    fitted = fit(corpus, trainer, settings.train, settings.seed, added=sum(record.added for record in coded))
    encoded = fitted.encoded
    windows = learn_windows(corpus, fitted.held_out, fitted.fold, fitted.calibration, settings.train, settings.seed)
    tagger = Tagger(codebook, encoded.encoder, encoded.definitions, fitted.heads, fitted.calibration, long=windows)
    config = _config(settings, codebook, tagger, encoder.source.sha256, pack_tuned(encoded.tuned), data)
    return Trained(
        tagger=tagger,
        tuned=encoded.tuned,
        losses=encoded.losses,
        config=config,
        documents=_document_predictions(corpus, fitted, coded, codebook, settings, config.model_id),
        sentences=_sentence_predictions(fitted, coded, codebook, config.model_id),
        figures=_figures(corpus, fitted, codebook),
        papers=describe_papers([record.record for record in coded], encoder, settings),
        labels=summarise_labels(corpus, fitted.held_out.documents, codebook),
    )


def read_material(
    settings: Settings, codebook: Codebook, version: str | None = None
) -> tuple[list[CodedRecord], TransformerEncoder, Definitions, Corpus]:
    """Read the annotation files, and encode their texts.

    Returns
    -------
    coded : list of CodedRecord
        The coded records.
    encoder
        The encoder named in the settings.
    definitions
        The definitions of the codebook, encoded by the encoder.
    corpus : Corpus
        The coded records in order, followed by the exemplars.

    Raises
    ------
    MechtagError
        If an annotation file is invalid or has too few annotations to train on, or if the encoder is missing.
    """
    coded = read_annotations(settings, codebook.keys, codebook.relevance.key, version)
    exemplars = all_exemplars(settings.train, codebook.keys)
    encoder = load_encoder(settings)
    definitions = embed_codebook(codebook, encoder)
    corpus = build_corpus(coded_documents(coded, codebook.keys), exemplars, codebook.keys, encoder, definitions)
    return coded, encoder, definitions, corpus


def load_encoder(settings: Settings) -> TransformerEncoder:
    """Load the encoder named in the settings; raise the errors of `locate_encoder` and `TransformerEncoder`."""
    chosen = settings.encoder
    source = locate_encoder(chosen.name, revision=chosen.revision, sha256=chosen.sha256)
    return TransformerEncoder(source, max_tokens=chosen.max_tokens, batch_tokens=chosen.batch_tokens)


def save_model(trained: Trained, folder: str | Path) -> None:
    """Write a trained model to a new folder, and replace ``folder`` with the new folder.

    ``folder`` therefore never contains files of two models. All files of the earlier model are deleted, including its
    model card. 'mechtag methods' writes a new card.

    Raises
    ------
    MechtagError
        If ``folder`` contains files that are not part of a model.
    """
    folder = Path(folder).absolute()
    check_replaceable(folder)
    new = new_folder(folder)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    (new / WEIGHTS).write_bytes(pack(trained.tagger))
    (new / TUNED).write_bytes(pack_tuned(trained.tuned))
    (new / PAPERS).write_bytes(trained.papers.pack(trained.config.model_id))
    write_text(new / CONFIG, trained.config.model_dump_json(indent=2) + "\n")
    swap_in(folder)


def check_replaceable(folder: Path) -> None:
    """Raise `MechtagError` if ``folder`` is a file, or contains files that a new model must not replace.

    A new model may replace only the files of an earlier model, and hidden files.
    """
    parts = {CONFIG, WEIGHTS, TUNED, PAPERS, EXPORTS, CARD, RUN_FILE}
    others = sorted(path.name for path in folder.glob("*") if path.name not in parts and not path.name.startswith("."))
    if folder.exists() and not folder.is_dir():
        raise MechtagError(f"{folder} is a file, but a model needs a folder; choose a different folder")
    if others:
        raise MechtagError(
            f"{folder}: saving the model here would delete files that are not part of a model "
            f"({', '.join(others[:3])}); move these files elsewhere, or choose a different folder"
        )


def _config(
    settings: Settings,
    codebook: Codebook,
    tagger: Tagger,
    encoder_sha256: str,
    tuned: bytes,
    data: dict[str, str],
) -> ModelConfig:
    config = ModelConfig(
        format_version=FORMAT_VERSION,
        model_id="",
        codebook=codebook,
        codebook_sha256=codebook.sha256,
        encoder=EncoderConfig(
            name=str(settings.encoder.name),
            revision=settings.encoder.revision,
            sha256=encoder_sha256,
            tuned_sha256=hashlib.sha256(tuned).hexdigest(),
            max_tokens=settings.encoder.max_tokens,
            batch_tokens=settings.encoder.batch_tokens,
        ),
        seed=settings.seed,
        settings=settings.train.model_dump(mode="json"),
        data=data,
        versions={library: installed(library) for library in ("mechtag", *LIBRARIES)},
        window=tagger.long.size if tagger.long else None,
    )
    return with_model_id(config, pack(tagger))


def _document_predictions(
    corpus: Corpus, fitted: Fitted, coded: list[CodedRecord], codebook: Codebook, settings: Settings, model_id: str
) -> list[Prediction]:
    predictions: list[Prediction | None] = [None] * (corpus.n_documents * len(codebook.all_keys))
    width = len(codebook.all_keys)
    for rows, scores, calibration in cross_calibrate(corpus, fitted.held_out.documents, fitted.fold, settings.train):
        ids = [coded[row].record.record_id for row in rows]
        made = predictions_of(ids, codebook, scores, calibration, f"{model_id}:out-of-fold")
        for place, row in enumerate(rows):
            predictions[row * width : (row + 1) * width] = made[place * width : (place + 1) * width]
    return [prediction for prediction in predictions if prediction is not None]


def predictions_of(
    record_ids: list[str], codebook: Codebook, scores: Array, calibration: Calibration, model_id: str
) -> list[Prediction]:
    """Convert scores to predictions with probabilities and decisions, but without evidence.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Scores of each document. The first column is relevance. The other columns are the pooled scores of the labels in
        codebook order.
    """
    chances, given = probabilities(scores, calibration.slope, calibration.intercept)
    decisions = [calibration.decide(row) for row in chances]
    return [
        Prediction(
            record_id=record_id,
            label=label,
            score=float(scores[row, column]),
            probability=float(chances[row, column]),
            given_relevant=float(given[row, column - 1]) if column else None,
            threshold=float(calibration.threshold[column]),
            decision=decisions[row][column],
            model_id=model_id,
        )
        for row, record_id in enumerate(record_ids)
        for column, label in enumerate(codebook.all_keys)
    ]


def _sentence_predictions(
    fitted: Fitted, coded: list[CodedRecord], codebook: Codebook, model_id: str
) -> list[Prediction]:
    predictions = []
    start = 0
    for record in coded:
        for row, sentence in enumerate(record.sentences, start=start + 1):  # the first unit is the title
            for column, label in enumerate(codebook.keys, start=1):
                score = max(float(fitted.held_out.units[row, column]), NO_CONTENT)
                predictions.append(
                    Prediction(
                        record_id=f"{record.record.record_id}#{sentence.sentence}",
                        label=label,
                        score=score,
                        decision="yes" if score >= 0 else "no",
                        model_id=f"{model_id}:out-of-fold",
                    )
                )
        start += 1 + len(record.sentences)
    return predictions


def _figures(corpus: Corpus, fitted: Fitted, codebook: Codebook) -> dict[str, float]:
    """Return the out-of-fold metrics of a training run, keyed by name, such as ``relevance_roc_auc``.

    A metric that is undefined for the records is omitted.
    """
    relevance = fitted.held_out.documents[:, 0]
    units = np.maximum(fitted.held_out.units, NO_CONTENT)
    first = corpus.first_parts
    targets, own = corpus.unit_targets[first], corpus.document[first] != NO_DOCUMENT
    # Average precision of the ranking of sentences, for each label.
    precisions = []
    for column in range(1, len(codebook.all_keys)):
        rows = ~np.isnan(targets[:, column]) & own
        if targets[rows, column].any():
            precisions.append(average_precision_score(targets[rows, column], units[rows, column]))
    figures = {}
    if len(np.unique(corpus.document_targets[:, 0])) == 2:
        figures["relevance_roc_auc"] = float(roc_auc_score(corpus.document_targets[:, 0], relevance))
    if precisions:
        figures["sentence_average_precision"] = float(np.mean(precisions))
    return figures
