"""Fitting the heads, and everything after them out of fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from models.errors import MechtagError
from models.features import N_LIKENESSES
from models.tagger import Calibration, Heads
from models.words import fit_words
from pipeline.settings import TrainSettings
from training.examples import NO_DOCUMENT, Corpus
from training.pooled import Wholes, fit_units
from training.thresholds import choose_sharpness, fit_calibration
from training.trainers import Encoded, Trainer

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]


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


def fit(corpus: Corpus, trainer: Trainer, settings: TrainSettings, seed: int, added: int = 0) -> Fitted:
    """Fit encoder and heads on all documents; pooling, calibration and thresholds on out-of-fold scores.

    Parameters
    ----------
    added
        How many documents, the last ones, came in by retraining; see `assign_folds`.

    Raises
    ------
    MechtagError
        No label has ``min_positives`` examples, or there are fewer relevant or
        irrelevant records than folds.
    """
    fold = assign_folds(corpus.document_targets[:, 0], settings.folds, seed, added, corpus.source, corpus.hard)
    everything = np.ones(corpus.n_documents, dtype=bool)
    unit_scores = held_out_scores(corpus, trainer, fold, everything, settings, seed)
    sharpness, calibration = calibrate(corpus, unit_scores, everything, settings)
    encoded = trainer.encode(corpus, everything, seed)
    heads = replace(fit_heads(encoded.corpus, everything, settings), sharpness=sharpness)
    return Fitted(encoded, heads, calibration, fold, unit_scores)


def held_out_scores(
    corpus: Corpus, trainer: Trainer, fold: Index, documents: Mask, settings: TrainSettings, seed: int
) -> Array:
    """Score the units of each fold by heads that learnt from the documents of the other folds.

    Parameters
    ----------
    documents : ndarray of bool, shape (n_documents,)
        Those that may be learnt from; all are scored.

    Returns
    -------
    ndarray, shape (n_units, 1 + n_labels)
        NaN for exemplars.
    """
    unit_scores = np.full(corpus.unit_targets.shape, np.nan)
    for held_out in range(settings.folds):
        learnt = documents & (fold != held_out)
        encoded = trainer.encode(corpus, learnt, seed)
        heads = fit_heads(encoded.corpus, learnt, settings)
        rows = np.isin(corpus.document, np.flatnonzero(fold == held_out))
        unit_scores[rows] = score_units(encoded.corpus, heads, rows)
    return unit_scores


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
    corpus: Corpus, unit_scores: Array, fold: Index, settings: TrainSettings, documents: Mask | None = None
) -> Iterator[tuple[Index, Array, Calibration]]:
    """Choose pooling, curves and thresholds for each fold on the others, so that no paper has a say in its own.

    Parameters
    ----------
    documents : ndarray of bool, shape (n_documents,), optional
        Those that have a say; all by default.

    Yields
    ------
    rows : ndarray
        Documents of the fold.
    scores : ndarray, shape (n_rows, 1 + n_labels)
    calibration : Calibration
    """
    chosen = np.ones(len(fold), dtype=bool) if documents is None else documents
    for held_out in np.unique(fold):
        sharpness, calibration = calibrate(corpus, unit_scores, chosen & (fold != held_out), settings)
        rows = np.flatnonzero(fold == held_out)
        yield rows, corpus.pool(unit_scores, sharpness)[rows], calibration


def assign_folds(
    relevant: Array,
    folds: int,
    seed: int,
    added: int = 0,
    source: Index | None = None,
    hard: Mask | None = None,
) -> Index:
    """Deal documents into folds, relevant, irrelevant and hard ones evenly; a paper is never split.

    Each source (a file of coded records) is dealt on its own, so that its papers stay in their folds
    when other files are added: models before and after are then compared on the same folds. A source
    with too few papers for that fills up the folds that have the fewest of a kind. For the same
    reason, documents that were added by retraining are dealt in turn, after all others.

    Parameters
    ----------
    relevant : ndarray, shape (n_documents,)
        1 or 0; all may be 1.
    added
        How many of the last documents were added later, in the order in which they came.
    source : ndarray of int, shape (n_documents,), optional
        Which source each document came from; one for all by default.
    hard : ndarray of bool, shape (n_documents,), optional
        Which of the irrelevant documents are hard; none by default.

    Raises
    ------
    MechtagError
        There are fewer relevant or irrelevant documents than folds.
    """
    known = np.arange(len(relevant)) < len(relevant) - added
    rarest = int(np.unique(relevant[known], return_counts=True)[1].min())
    if rarest < folds:
        raise MechtagError(
            f"{folds} folds need at least {folds} relevant and, if there are any, {folds} irrelevant records; "
            f"the rarer kind has {rarest}; code more records or lower train.folds in params.yaml"
        )
    fold = np.full(len(relevant), -1, dtype=np.int64)
    kind = relevant.astype(np.int64)
    if hard is not None:
        kind[(kind == 0) & hard] = 2
    own = np.zeros(len(relevant), dtype=np.int64) if source is None else source
    small = []
    for number in np.unique(own[known]):
        rows = np.flatnonzero(known & (own == number))
        if np.unique(kind[rows], return_counts=True)[1].min() < folds:
            small.append(rows)
            continue
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
        for place, (_, held_out) in enumerate(splitter.split(rows, kind[rows])):
            fold[rows[held_out]] = place
    for rows in small:
        for row in np.random.default_rng(seed).permutation(rows):
            same = fold[(relevant == relevant[row]) & (fold >= 0)]
            fold[row] = np.bincount(same, minlength=folds).argmin()
    for value in (0, 1):
        rows = np.flatnonzero(~known & (relevant == value))
        fold[rows] = np.arange(len(rows)) % folds
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
        weights[0], intercept[0] = fit_units(means[documents], relevant, strength)
        word_weights[0], shift = fit_units(mean_counts[documents], relevant, strength)
        intercept[0] += shift

    coded_whole = np.nansum(corpus.whole_targets()[documents], axis=0)
    lessons = {column: _lesson(corpus, usable, documents, column) for column in range(1, n_columns)}
    examples = {column: lesson.positives + coded_whole[column] for column, lesson in lessons.items()}
    learnt = [
        column
        for column, lesson in lessons.items()
        if examples[column] >= settings.min_positives and (len(lesson.lengths) or not lesson.targets.all())
    ]
    if not learnt:
        raise MechtagError(
            f"no label has {settings.min_positives} coded example sentences or papers (train.min_positives), and "
            "others that do not carry it; code more or add exemplars"
        )
    if len(learnt) < n_columns - 1:
        likenesses_of = [corpus.likenesses[:, column - 1] for column in learnt]
        shared, shared_intercept = _fit_shared([lessons[column] for column in learnt], likenesses_of, settings)
        likeness_weights[1:], intercept[1:] = shared, shared_intercept
    for column in learnt:
        features = np.hstack([corpus.vectors, corpus.likenesses[:, column - 1]])
        coefficients, intercept[column] = lessons[column].fit(features, settings.regularisation)
        weights[column], likeness_weights[column] = np.split(coefficients, [-N_LIKENESSES])
        word_weights[column], shift = lessons[column].fit(counts, settings.word_regularisation)
        intercept[column] += shift
    return Heads(weights, likeness_weights, words, word_weights, intercept, np.zeros(n_columns))


@dataclass(frozen=True)
class _Lesson:
    """What a label is learnt on: the sentences coded for it, the exemplars, and the papers that were judged for it.

    A paper whose sentences were coded teaches as a whole too: where each sentence is judged
    alone, nothing says that the score of the paper is what has to be right in the end.

    Attributes
    ----------
    units : ndarray of int
        Rows of the units that were coded one by one.
    targets : ndarray
    whole_units : ndarray of int
        Rows of the units of the papers, paper by paper.
    lengths : ndarray
        How many units each of those papers has.
    whole_targets : ndarray
    positives : int
        How many sentences and exemplars carry the label.
    """

    units: Index
    targets: Array
    whole_units: Index
    lengths: Index
    whole_targets: Array
    positives: int

    def wholes(self, features: Any) -> Wholes:
        return Wholes(features[self.whole_units], self.lengths, self.whole_targets)

    def fit(self, features: Any, regularisation: float) -> tuple[Array, float]:
        return fit_units(features[self.units], self.targets, regularisation, self.wholes(features))


def _fit_shared(lessons: Sequence[_Lesson], features: Sequence[Array], settings: TrainSettings) -> tuple[Array, float]:
    """Fit one regression on all lessons, each with its own features."""
    parts = [lesson.wholes(own) for lesson, own in zip(lessons, features, strict=True)]
    wholes = Wholes(
        np.vstack([part.features for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.targets for part in parts]),
    )
    units = np.vstack([own[lesson.units] for lesson, own in zip(lessons, features, strict=True)])
    targets = np.concatenate([lesson.targets for lesson in lessons])
    return fit_units(units, targets, settings.regularisation, wholes)


def _lesson(corpus: Corpus, usable: Mask, documents: Mask, column: int) -> _Lesson:
    units = ~np.isnan(corpus.unit_targets[:, column]) & usable
    whole_targets = corpus.document_targets[:, column]
    wholes = documents & ~np.isnan(whole_targets)
    # Units of a document stand together, and documents in order, so their rows do too.
    whole_units = np.flatnonzero((corpus.document != NO_DOCUMENT) & wholes[corpus.document])
    targets = corpus.unit_targets[units, column]
    return _Lesson(
        units=np.flatnonzero(units),
        targets=targets,
        whole_units=whole_units,
        lengths=corpus.lengths[wholes],
        whole_targets=whole_targets[wholes],
        positives=int(targets.sum()),
    )


def score_units(corpus: Corpus, heads: Heads, rows: Mask) -> Array:
    """Score units from the vectors at hand, shape (n_rows, 1 + n_labels)."""
    texts = [text for text, wanted in zip(corpus.texts, rows, strict=True) if wanted]
    return heads.score(corpus.vectors[rows], corpus.likenesses[rows], heads.words.features(texts))
