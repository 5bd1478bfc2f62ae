"""Fitting the heads, and everything after them out of fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, issparse, vstack
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
from training.trainers import Encoded, Trainer

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]

MAX_ITERATIONS = 2000
# The mean of a paper's units varies less than a unit does; this brings the two to one scale.
WHOLE_SCALE = 3.0
# Large, so that regularisation hardly touches the intercept of papers.
WHOLE_INTERCEPT = 10.0


@dataclass(frozen=True)
class Fitted:
    """Encoder, heads and calibration, with the out-of-fold scores they were chosen on.

    Attributes
    ----------
    encoded
        The encoder of the heads, and the whole corpus as it encodes it.
    fold : ndarray, shape (n_documents,)
    unit_scores : ndarray, shape (n_units, 1 + n_labels)
        Each from heads that did not see the unit's document; NaN for exemplars.
    """

    encoded: Encoded
    heads: Heads
    calibration: Calibration
    fold: Index
    unit_scores: Array


def fit(corpus: Corpus, trainer: Trainer, settings: TrainSettings, seed: int) -> Fitted:
    """Fit encoder and heads on all documents; pooling, calibration and thresholds on out-of-fold scores.

    Raises
    ------
    MechtagError
        No label has ``min_positives`` examples, or there are fewer relevant or
        irrelevant records than folds.
    """
    fold = assign_folds(corpus.document_targets[:, 0], settings.folds, seed)
    unit_scores = np.full(corpus.unit_targets.shape, np.nan)
    for held_out in range(settings.folds):
        learnt = fold != held_out
        encoded = trainer.encode(corpus, learnt, seed)
        heads = fit_heads(encoded.corpus, learnt, settings)
        rows = np.isin(corpus.document, np.flatnonzero(~learnt))
        unit_scores[rows] = score_units(encoded.corpus, heads, rows)
    everything = np.ones(corpus.n_documents, dtype=bool)
    sharpness, calibration = calibrate(corpus, unit_scores, everything, settings)
    encoded = trainer.encode(corpus, everything, seed)
    heads = replace(fit_heads(encoded.corpus, everything, settings), sharpness=sharpness)
    return Fitted(encoded, heads, calibration, fold, unit_scores)


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
        decided_precision=settings.decided_precision,
    )
    return sharpness, calibration


def cross_calibrate(
    corpus: Corpus, unit_scores: Array, fold: Index, settings: TrainSettings
) -> Iterator[tuple[Index, Array, Calibration]]:
    """Choose pooling, curves and thresholds for each fold on the others, so that no paper has a say in its own.

    Yields
    ------
    rows : ndarray
        Documents of the fold.
    scores : ndarray, shape (n_rows, 1 + n_labels)
    calibration : Calibration
    """
    for held_out in np.unique(fold):
        sharpness, calibration = calibrate(corpus, unit_scores, fold != held_out, settings)
        rows = np.flatnonzero(fold == held_out)
        yield rows, corpus.pool(unit_scores, sharpness)[rows], calibration


def assign_folds(relevant: Array, folds: int, seed: int) -> Index:
    """Deal documents into folds, relevant and irrelevant ones evenly; a paper is never split.

    Parameters
    ----------
    relevant : ndarray, shape (n_documents,)
        1 or 0; all may be 1.

    Raises
    ------
    MechtagError
        There are fewer relevant or irrelevant documents than folds.
    """
    rarest = int(np.unique(relevant, return_counts=True)[1].min())
    if rarest < folds:
        raise MechtagError(
            f"{folds} folds need at least {folds} relevant and, if there are any, {folds} irrelevant records; "
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
    document's score. It stays 0 where all documents are relevant. What a label is learnt
    on says `_Lesson`.

    Parameters
    ----------
    documents : ndarray of bool, shape (n_documents,)
        Those to learn from; exemplars are always learnt from.
    """
    n_columns = corpus.unit_targets.shape[1]
    weights = np.zeros((n_columns, corpus.vectors.shape[1]))
    likeness_weights = np.zeros((n_columns, N_LIKENESSES))
    intercept = np.zeros(n_columns)
    usable = (corpus.document == NO_DOCUMENT) | documents[corpus.document]
    words = fit_words([text for text, use in zip(corpus.texts, usable, strict=True) if use])
    counts = words.features(corpus.texts)
    word_weights = np.zeros((n_columns, len(words.terms)))

    means, mean_counts = corpus.mean_vectors(), corpus.mean_rows(counts)
    relevant = corpus.document_targets[documents, 0]
    if len(np.unique(relevant)) == 2:
        strength = settings.relevance_regularisation
        weights[0], intercept[0] = _logistic(means[documents], relevant, strength)
        word_weights[0], shift = _logistic(mean_counts[documents], relevant, strength)
        intercept[0] += shift

    lessons = [_lesson(corpus, usable, documents, column) for column in range(n_columns)]
    learnt = [
        column for column in range(1, n_columns) if (lessons[column].targets == 1).sum() >= settings.min_positives
    ]
    if not learnt:
        raise MechtagError(
            f"no label has {settings.min_positives} coded example sentences or papers (train.min_positives); "
            "code more or add exemplars"
        )
    mean_likenesses = corpus.mean_likenesses()

    def like(column: int) -> Array:
        rows: Array = lessons[column].stack(corpus.likenesses[:, column - 1], mean_likenesses[:, column - 1])
        return rows

    if len(learnt) < n_columns - 1:
        shared, shared_intercept = _logistic(
            np.vstack([like(column) for column in learnt]),
            np.concatenate([lessons[column].targets for column in learnt]),
            settings.regularisation,
        )
        likeness_weights[1:], intercept[1:] = shared[:N_LIKENESSES], shared_intercept
    for column in learnt:
        lesson = lessons[column]
        features = np.hstack([lesson.stack(corpus.vectors, means)[:, :-1], like(column)])
        coefficients, intercept[column] = _logistic(features, lesson.targets, settings.regularisation)
        weights[column], likeness_weights[column] = np.split(coefficients[:-1], [-N_LIKENESSES])
        coefficients, shift = _logistic(lesson.stack(counts, mean_counts), lesson.targets, settings.word_regularisation)
        word_weights[column] = coefficients[:-1]
        intercept[column] += shift
    return Heads(weights, likeness_weights, words, word_weights, intercept, np.zeros(n_columns))


@dataclass(frozen=True)
class _Lesson:
    """What a label is learnt on.

    The sentences coded for it, the exemplars, and, as one row each, the papers that were
    coded only as a whole: the mean of their units, as mean pooling sees them.

    Attributes
    ----------
    units : ndarray of bool, shape (n_units,)
    documents : ndarray of bool, shape (n_documents,)
    targets : ndarray
        Of the units, then of the documents.
    """

    units: Mask
    documents: Mask
    targets: Array

    def stack(self, of_units: Any, of_documents: Any) -> Any:
        """Lay features of units and of documents, both dense or both sparse, below one another.

        The last column is added: it lets papers have an intercept of their own, for a paper
        carries a label far more often than a sentence does.
        """
        wholes = WHOLE_SCALE * of_documents[self.documents]
        kind = np.repeat([0.0, WHOLE_INTERCEPT], [self.units.sum(), self.documents.sum()])[:, None]
        if issparse(of_units):
            return hstack([vstack([of_units[self.units], wholes]), kind], format="csr")
        return np.hstack([np.vstack([of_units[self.units], wholes]), kind])


def _lesson(corpus: Corpus, usable: Mask, documents: Mask, column: int) -> _Lesson:
    units = ~np.isnan(corpus.unit_targets[:, column]) & usable
    whole_targets = corpus.whole_targets()[:, column]
    wholes = documents & ~np.isnan(whole_targets)
    targets = np.concatenate([corpus.unit_targets[units, column], whole_targets[wholes]])
    return _Lesson(units, wholes, targets)


def score_units(corpus: Corpus, heads: Heads, rows: Mask) -> Array:
    """Score units from the vectors at hand, shape (n_rows, 1 + n_labels)."""
    texts = [text for text, wanted in zip(corpus.texts, rows, strict=True) if wanted]
    return heads.score(corpus.vectors[rows], corpus.likenesses[rows], heads.words.features(texts))


def _logistic(features: Array | csr_matrix, targets: Array, regularisation: float) -> tuple[Array, float]:
    # Such small products take several times as long when several threads share them.
    with threadpool_limits(limits=1):
        model = LogisticRegression(C=regularisation, max_iter=MAX_ITERATIONS).fit(features, targets)
    return model.coef_[0], float(model.intercept_[0])
