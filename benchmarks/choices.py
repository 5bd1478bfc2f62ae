"""What each part of the tagger is worth, by cross-validation on the coded records.

The gold standard has no part in this. ``python -m benchmarks.choices`` writes
``docs/benchmarks/choices.json`` and its section of ``docs/benchmarks.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from benchmarks.publish import publish, result
from models.calibration import probabilities
from models.codebook import load_codebook
from models.features import embed_codebook
from pipeline.annotations import read_coded, read_exemplars
from pipeline.settings import TrainSettings, load_settings
from training.examples import NO_DOCUMENT, Corpus, build_corpus, coded_documents
from training.fit import Fitted, fit
from training.thresholds import fit_curve
from training.train import load_encoder
from training.trainers import Frozen

Array = NDArray[np.float64]
Figures = dict[str, float]

TEXT = """## What each part of the tagger is worth

Cross-validation by paper on the coded records (training data of the project, no gold standard),
five folds, mean of three seeds. The rows change one thing each. Sentence average precision: higher is
better. ROC AUC across the relevant papers, for one pooling of all labels from mean (0) to maximum:
higher is better. Log loss of three ways to make probabilities: lower is better."""
SEEDS = (2021, 2022, 2023)
SHARPNESSES = (0.0, 0.5, 1.0, 2.0, 4.0, 16.0)


def sentence_precision(corpus: Corpus, fitted: Fitted) -> Figures:
    """Mean average precision of the labels over sentences, out of fold."""
    coded = corpus.document != NO_DOCUMENT
    found = []
    for column in range(1, corpus.unit_targets.shape[1]):
        rows = coded & ~np.isnan(corpus.unit_targets[:, column])
        found.append(average_precision_score(corpus.unit_targets[rows, column], fitted.unit_scores[rows, column]))
    return {"sentence_average_precision": float(np.mean(found))}


def across(targets: Array, scores: Array) -> float:
    """Mean over the labels of ROC AUC over relevant papers."""
    relevant = targets[:, 0] == 1
    columns = range(1, targets.shape[1])
    return float(np.mean([roc_auc_score(targets[relevant, column], scores[relevant, column]) for column in columns]))


def pooling(corpus: Corpus, fitted: Fitted) -> dict[str, Figures]:
    """ROC AUC across relevant papers for one sharpness of all labels, with and without the title."""
    columns = corpus.unit_targets.shape[1]
    titles = np.zeros(len(corpus.document), dtype=bool)
    titles[[rows[0] for rows in corpus.rows()]] = True
    bare = replace(corpus, document=corpus.document[~titles])
    return {
        name: {"across_relevant": across(corpus.document_targets, scores)}
        for sharpness in SHARPNESSES
        for name, scores in (
            (f"sharpness {sharpness:g}", corpus.pool(fitted.unit_scores, np.full(columns, sharpness))),
            (
                f"sharpness {sharpness:g}, without the title",
                bare.pool(fitted.unit_scores[~titles], np.full(columns, sharpness)),
            ),
        )
    }


def calibration(corpus: Corpus, fitted: Fitted) -> dict[str, Figures]:
    """Log loss over all coded papers of three ways to make probabilities, each fitted on the other folds."""
    scores = corpus.pool(fitted.unit_scores, fitted.heads.sharpness)
    targets = corpus.document_targets
    coded = np.where(targets[:, :1] == 0, 0.0, targets)
    names = ("curves on all papers", "curves on relevant papers", "curves on relevant papers times relevance")
    chances = {name: np.zeros(scores.shape) for name in names}
    for fold in np.unique(fitted.fold):
        learnt, held = fitted.fold != fold, fitted.fold == fold
        everyone = _curves(scores[learnt], coded[learnt])
        relevant = _curves(scores[learnt], targets[learnt])
        chances[names[0]][held] = expit(scores[held] * everyone[0] + everyone[1])
        chances[names[1]][held] = expit(scores[held] * relevant[0] + relevant[1])
        chances[names[2]][held] = probabilities(scores[held], *relevant)
    return {
        name: {
            "log_loss": float(
                np.mean([log_loss(coded[:, column], found[:, column]) for column in range(1, coded.shape[1])])
            )
        }
        for name, found in chances.items()
    }


def _curves(scores: Array, targets: Array) -> tuple[Array, Array]:
    judged = ~np.isnan(targets)
    curves = [
        fit_curve(scores[judged[:, column], column], targets[judged[:, column], column])
        for column in range(targets.shape[1])
    ]
    slope, intercept = np.array(curves).T
    return slope, intercept


def measure() -> dict[str, list[Figures]]:
    """Figures of every variant, one entry a seed."""
    settings = load_settings()
    codebook = load_codebook(settings.codebook)
    encoder = load_encoder(settings)
    documents = coded_documents(read_coded(settings.train.records, codebook.keys), codebook.keys)
    exemplars = read_exemplars(settings.train.exemplars, codebook.keys)
    definitions = embed_codebook(codebook, encoder)
    corpus = build_corpus(documents, exemplars, codebook.keys, encoder, definitions)
    blind = replace(corpus, likenesses=np.zeros_like(corpus.likenesses))
    variants: dict[str, tuple[Corpus, TrainSettings]] = {
        "as shipped": (corpus, settings.train),
        "without definitions": (blind, settings.train),
        "without exemplars": (
            build_corpus(documents, [], codebook.keys, encoder, definitions),
            settings.train,
        ),
        "regularisation 1": (corpus, settings.train.model_copy(update={"regularisation": 1.0})),
        "regularisation 10": (corpus, settings.train.model_copy(update={"regularisation": 10.0})),
    }
    found: dict[str, list[Figures]] = {}
    for seed in SEEDS:
        for name, (data, train) in variants.items():
            fitted = fit(data, Frozen(encoder, definitions), train, seed)
            found.setdefault(name, []).append(sentence_precision(data, fitted))
            if name == "as shipped":
                parts: list[Callable[[Corpus, Fitted], dict[str, Figures]]] = [pooling, calibration]
                for part in parts:
                    for variant, figures in part(data, fitted).items():
                        found.setdefault(variant, []).append(figures)
    return found


def main() -> None:
    """Measure and publish."""
    results = [
        result("coded records", name, metric, float(np.mean([run[metric] for run in runs])), runs=len(runs))
        for name, runs in measure().items()
        for metric in runs[0]
    ]
    publish("choices", "python -m benchmarks.choices", results, TEXT, versions=("scikit-learn", "torch"))


if __name__ == "__main__":
    main()
