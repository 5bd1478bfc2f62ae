"""Fitting the heads, and everything after them out of fold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from models.errors import MechtagError
from models.features import N_LIKENESSES
from models.tagger import Calibration, Heads
from models.words import fit_words
from pipeline.settings import TrainSettings
from training.examples import NO_DOCUMENT, Corpus
from training.thresholds import choose_sharpness, fit_calibration

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]

MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Fitted:
    """Heads and calibration, with the out-of-fold scores they were chosen on.

    Attributes
    ----------
    fold : ndarray, shape (n_documents,)
    unit_scores : ndarray, shape (n_units, 1 + n_labels)
        Each from heads that did not see the unit's document; NaN for exemplars.
    """

    heads: Heads
    calibration: Calibration
    fold: Index
    unit_scores: Array


def fit(corpus: Corpus, settings: TrainSettings, seed: int) -> Fitted:
    """Fit heads on all documents; pooling, calibration and thresholds on out-of-fold scores.

    Raises
    ------
    MechtagError
        No label has ``min_positives`` examples, or there are fewer relevant or
        irrelevant records than folds.
    """
    fold = assign_folds(corpus.document_targets[:, 0], settings.folds, seed)
    unit_scores = np.full(corpus.unit_targets.shape, np.nan)
    for held_out in range(settings.folds):
        heads = fit_heads(corpus, fold != held_out, settings)
        rows = np.isin(corpus.document, np.flatnonzero(fold == held_out))
        unit_scores[rows] = score_units(corpus, heads, rows)
    sharpness, calibration = calibrate(corpus, unit_scores, np.ones(corpus.n_documents, dtype=bool), settings)
    heads = fit_heads(corpus, np.ones(corpus.n_documents, dtype=bool), settings)
    return Fitted(replace(heads, sharpness=sharpness), calibration, fold, unit_scores)


def calibrate(
    corpus: Corpus, unit_scores: Array, documents: Mask, settings: TrainSettings
) -> tuple[Array, Calibration]:
    """Choose pooling, curves and thresholds on out-of-fold scores of some documents."""
    targets = corpus.document_targets[documents]
    sharpness = choose_sharpness(
        lambda values: corpus.pool(unit_scores, values)[documents], targets, settings.min_positives
    )
    scores = corpus.pool(unit_scores, sharpness)[documents]
    calibration = fit_calibration(
        scores,
        targets,
        min_positives=settings.min_positives,
        relevance_recall=settings.relevance_recall,
        margin=settings.refer_margin,
    )
    return sharpness, calibration


def assign_folds(relevant: Array, folds: int, seed: int) -> Index:
    """Deal documents into folds, relevant and irrelevant ones evenly; a paper is never split.

    Parameters
    ----------
    relevant : ndarray, shape (n_documents,)
        1 or 0.

    Raises
    ------
    MechtagError
        There are fewer relevant or irrelevant documents than folds.
    """
    rarest = int(min((relevant == 1).sum(), (relevant == 0).sum()))
    if rarest < folds:
        raise MechtagError(
            f"{folds} folds need at least {folds} relevant and {folds} irrelevant records, "
            f"the rarer kind has {rarest}; code more records or lower train.folds in params.yaml"
        )
    fold = np.empty(len(relevant), dtype=np.int64)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(relevant, relevant)):
        fold[held_out] = number
    return fold


def fit_heads(corpus: Corpus, documents: Mask, settings: TrainSettings) -> Heads:
    """Fit two logistic regressions for relevance and for each label, one on vectors, one on words.

    Their scores are added. All pool by the mean. Relevance is learnt on the means of
    documents: under mean pooling the head then gives a sentence the part it has in the
    document's score. A label is learnt on the sentences coded for it and on the exemplars.

    Parameters
    ----------
    documents : ndarray of bool, shape (n_documents,)
        Those to learn from; exemplars are always learnt from.
    """
    n_columns = corpus.unit_targets.shape[1]
    weights = np.zeros((n_columns, corpus.vectors.shape[1]))
    likeness_weights = np.zeros((n_columns, N_LIKENESSES))
    intercept = np.zeros(n_columns)

    weights[0], intercept[0] = _logistic(
        corpus.mean_vectors()[documents], corpus.document_targets[documents, 0], settings.relevance_regularisation
    )
    usable = (corpus.document == NO_DOCUMENT) | documents[corpus.document]
    judged = ~np.isnan(corpus.unit_targets) & usable[:, None]
    words = fit_words([text for text, use in zip(corpus.texts, usable, strict=True) if use])
    counts = words.features(corpus.texts)
    word_weights = np.zeros((n_columns, len(words.terms)))
    word_weights[0], shift = _logistic(
        corpus.mean_rows(counts)[documents], corpus.document_targets[documents, 0], settings.relevance_regularisation
    )
    intercept[0] += shift
    positives = ((corpus.unit_targets == 1) & judged).sum(axis=0)
    learnt = [column for column in range(1, n_columns) if positives[column] >= settings.min_positives]
    if not learnt:
        raise MechtagError(
            f"no label has {settings.min_positives} coded example sentences (train.min_positives); "
            "code sentences or add exemplars"
        )
    if len(learnt) < n_columns - 1:
        shared_weights, shared_intercept = _shared_head(corpus, judged, learnt, settings.regularisation)
        likeness_weights[1:], intercept[1:] = shared_weights, shared_intercept
    for column in learnt:
        rows = judged[:, column]
        features = np.hstack([corpus.vectors[rows], corpus.likenesses[rows, column - 1]])
        coefficients, intercept[column] = _logistic(
            features, corpus.unit_targets[rows, column], settings.regularisation
        )
        weights[column], likeness_weights[column] = np.split(coefficients, [-N_LIKENESSES])
        word_weights[column], shift = _logistic(
            counts[rows], corpus.unit_targets[rows, column], settings.word_regularisation
        )
        intercept[column] += shift
    return Heads(weights, likeness_weights, words, word_weights, intercept, np.zeros(n_columns))


def score_units(corpus: Corpus, heads: Heads, rows: Mask) -> Array:
    """Score units from the vectors at hand, shape (n_rows, 1 + n_labels)."""
    texts = [text for text, wanted in zip(corpus.texts, rows, strict=True) if wanted]
    return heads.score(corpus.vectors[rows], corpus.likenesses[rows], heads.words.features(texts))


def _shared_head(corpus: Corpus, judged: Mask, learnt: list[int], regularisation: float) -> tuple[Array, float]:
    """Fit how likeness to a definition speaks for a label, over all labels that have examples."""
    features = np.vstack([corpus.likenesses[judged[:, column], column - 1] for column in learnt])
    targets = np.concatenate([corpus.unit_targets[judged[:, column], column] for column in learnt])
    return _logistic(features, targets, regularisation)


def _logistic(features: Array | csr_matrix, targets: Array, regularisation: float) -> tuple[Array, float]:
    # Such small products take several times as long when several threads share them.
    with threadpool_limits(limits=1):
        model = LogisticRegression(C=regularisation, max_iter=MAX_ITERATIONS).fit(features, targets)
    return model.coef_[0], float(model.intercept_[0])
