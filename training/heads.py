"""Fit the classifiers (heads) on encoded texts, and score and calibrate them out of fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from mechtag.core.arrays import Array, Index, Mask
from mechtag.core.errors import MechtagError
from mechtag.core.settings import TrainSettings
from mechtag.models.features import N_CUES, fit_words
from mechtag.models.scoring import GAMMA, Calibration, RelevanceHead, no_relevance
from mechtag.models.tagger import Heads
from mechtag.training.calibration import fit_calibration
from mechtag.training.dataset import NO_DOCUMENT, Corpus
from mechtag.training.finetuning.trainers import Encoded, Trainer
from mechtag.training.multiple_instance import Bags, fit_units

# Proportion of the training texts that count as unlike the other training texts.
UNFAMILIAR = 0.05


@dataclass(frozen=True)
class HeldOut:
    """Out-of-fold scores: each document is scored by heads that were not trained on it.

    Columns are relevance, followed by the labels in codebook order.

    Attributes
    ----------
    units : ndarray, shape (n_units, 1 + n_labels)
        NaN for exemplars, minus infinity for units without content.
    documents : ndarray, shape (n_documents, 1 + n_labels)
    """

    units: Array
    documents: Array


@dataclass(frozen=True)
class Fitted:
    """Result of `fit`: encoder, heads and calibration, with the out-of-fold scores used to calibrate.

    Attributes
    ----------
    encoded
        Encoder that the heads were fitted with, and the whole corpus encoded by it.
    fold : ndarray, shape (n_documents,)
    held_out : HeldOut
    """

    encoded: Encoded
    heads: Heads
    calibration: Calibration
    fold: Index
    held_out: HeldOut


def fit(corpus: Corpus, trainer: Trainer, settings: TrainSettings, seed: int, added: int = 0) -> Fitted:
    """Fit the encoder and the heads on all documents, and probability curves and thresholds on out-of-fold scores.

    Parameters
    ----------
    added
        Number of documents at the end of the corpus that were added by retraining; see `assign_folds`.

    Raises
    ------
    MechtagError
        If no label has ``min_positives`` positive examples, or there are fewer relevant or
        irrelevant records than folds.
    """
    fold = assign_folds(corpus.document_targets[:, 0], settings.folds, seed, added, corpus.source, corpus.hard)
    everything = np.ones(corpus.n_documents, dtype=bool)
    scores = held_out_scores(corpus, trainer, fold, everything, settings, seed)
    calibration = calibrate(corpus, scores.documents, everything, settings)
    encoded = trainer.encode(corpus, everything, seed)
    heads = fit_heads(encoded.corpus, everything, settings)
    return Fitted(encoded, heads, calibration, fold, scores)


def held_out_scores(
    corpus: Corpus, trainer: Trainer, fold: Index, documents: Mask, settings: TrainSettings, seed: int
) -> HeldOut:
    """Score the documents of each fold with heads trained on the other folds; for parameters, see `fit_folds`."""
    return score_folds(corpus, fold, fit_folds(corpus, trainer, fold, documents, settings, seed))


def fit_folds(
    corpus: Corpus, trainer: Trainer, fold: Index, documents: Mask, settings: TrainSettings, seed: int
) -> Iterator[tuple[Encoded, Heads]]:
    """Yield, for each fold in order, the encoder and heads fitted on the documents of the other folds.

    Parameters
    ----------
    documents : ndarray of bool, shape (n_documents,)
        Documents that may be trained on.
    """
    for held_out in range(settings.folds):
        learned = documents & (fold != held_out)
        encoded = trainer.encode(corpus, learned, seed)
        yield encoded, fit_heads(encoded.corpus, learned, settings)


def score_folds(corpus: Corpus, fold: Index, fitted: Iterable[tuple[Encoded, Heads]]) -> HeldOut:
    """Score the documents of each fold with the encoder and heads that `fit_folds` yielded for this fold."""
    scores = np.full(corpus.unit_targets.shape, np.nan)
    relevance = np.full(corpus.n_documents, np.nan)
    for held_out, (encoded, heads) in enumerate(fitted):
        rows = np.isin(corpus.document, np.flatnonzero(fold == held_out))
        scores[rows] = score_texts(encoded.corpus, heads, rows)
        relevance[fold == held_out] = heads.relevance.score(encoded.corpus.wholes[fold == held_out])
    return HeldOut(corpus.score_units(scores), corpus.score_documents(relevance, scores))


def calibrate(corpus: Corpus, scores: Array, documents: Mask, settings: TrainSettings) -> Calibration:
    """Fit probability curves and thresholds on the out-of-fold scores of the selected documents.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
    """
    return fit_calibration(
        scores[documents],
        corpus.document_targets[documents],
        settings,
        corpus.hard[documents],
        corpus.source[documents],
    )


def cross_calibrate(
    corpus: Corpus, scores: Array, fold: Index, settings: TrainSettings, documents: Mask | None = None
) -> Iterator[tuple[Index, Array, Calibration]]:
    """Yield, for each fold, the probability curves and thresholds fitted on the documents of the other folds.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
    documents : ndarray of bool, shape (n_documents,), optional
        Documents to fit on; by default, all.

    Yields
    ------
    rows : ndarray
        Rows of the documents of the fold.
    scores : ndarray, shape (n_rows, 1 + n_labels)
    calibration : Calibration
    """
    chosen = np.ones(len(fold), dtype=bool) if documents is None else documents
    for held_out in np.unique(fold):
        calibration = calibrate(corpus, scores, chosen & (fold != held_out), settings)
        rows = np.flatnonzero(fold == held_out)
        yield rows, scores[rows], calibration


def assign_folds(
    relevant: Array,
    folds: int,
    seed: int,
    added: int = 0,
    source: Index | None = None,
    hard: Mask | None = None,
) -> Index:
    """Assign each document to a fold; relevant, irrelevant and hard documents are spread evenly over the folds.

    Each source (a file of coded records) is split separately, so that its papers keep their folds when
    other files are added. Models trained before and after the addition can then be compared on the same
    folds. The papers of a source that is too small to split are assigned to the folds with the fewest
    papers of their kind. Documents added by retraining are assigned in rotation after all other
    documents, so that they do not move other documents to different folds.

    Parameters
    ----------
    relevant : ndarray, shape (n_documents,)
        1 if relevant, otherwise 0. All documents may be relevant.
    added
        Number of documents at the end that were added by retraining, in the order of their addition.
    source : ndarray of int, shape (n_documents,), optional
        Number of the source of each document; by default, all have the same source.
    hard : ndarray of bool, shape (n_documents,), optional
        Whether each document is irrelevant but easily mistaken for a relevant one; by default, none is.

    Raises
    ------
    MechtagError
        If there are fewer relevant or irrelevant documents than folds.
    """
    known = np.arange(len(relevant)) < len(relevant) - added
    rarest = int(np.unique(relevant[known], return_counts=True)[1].min())
    if rarest < folds:
        raise MechtagError(
            f"the smaller group of records, relevant or irrelevant, has only {rarest}, but {folds} folds need at least "
            f"{folds} records of each group (or no irrelevant records); code more records, or lower "
            "train.folds in params.yaml"
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
    """Fit a classifier for relevance, and two logistic regressions for each label: one on vectors, one on words.

    The score of a label is the sum of its two regressions. `LabelExamples` describes the training examples of a label.

    Parameters
    ----------
    documents : ndarray of bool, shape (n_documents,)
        Documents to train on. Exemplars are always used.
    """
    n_labels = corpus.unit_targets.shape[1] - 1
    weights, cue_weights = np.zeros((n_labels, corpus.vectors.shape[1])), np.zeros((n_labels, N_CUES))
    intercept = np.zeros(n_labels)
    usable = (corpus.document == NO_DOCUMENT) | documents[corpus.document]
    words = fit_words([text for text, use in zip(corpus.texts, usable, strict=True) if use])
    counts = words.features(corpus.texts)
    word_weights = np.zeros((n_labels, len(words.terms)))
    own_cues = corpus.cues

    coded_whole = np.nansum(corpus.whole_targets()[documents], axis=0)[1:]
    examples = [_label_examples(corpus, usable, documents, 1 + label) for label in range(n_labels)]
    learned = [
        label
        for label, own in enumerate(examples)
        if own.positives + coded_whole[label] >= settings.min_positives and (len(own.lengths) or not own.targets.all())
    ]
    if not learned:
        raise MechtagError(
            f"no label has both negative examples and at least {settings.min_positives} positive sentences or papers "
            "(train.min_positives in params.yaml); code more records or add exemplars"
        )
    if len(learned) < n_labels:
        shared = _fit_shared(
            [examples[label] for label in learned], [own_cues[:, label] for label in learned], settings
        )
        cue_weights[:], intercept[:] = shared
    for label in learned:
        features = np.hstack([corpus.vectors, own_cues[:, label]])
        coefficients, intercept[label] = examples[label].fit(features, settings.regularisation)
        weights[label], cue_weights[label] = np.split(coefficients, [-N_CUES])
        word_weights[label], shift = examples[label].fit(counts, settings.word_regularisation)
        intercept[label] += shift
    # Round to half precision, as stored: this halves the size of a model and changes no score by 0.002 or more.
    word_weights = word_weights.astype(np.float16).astype(np.float64)
    return Heads(fit_relevance(corpus, documents, settings), weights, cue_weights, words, word_weights, intercept)


def fit_relevance(corpus: Corpus, documents: Mask, settings: TrainSettings) -> RelevanceHead:
    """Fit a support vector machine for relevance on whole texts, or return `no_relevance` if all are relevant."""
    relevant = corpus.document_targets[documents, 0]
    if len(np.unique(relevant)) < 2:
        return no_relevance(corpus.wholes.shape[1])
    # Round before fitting, so that the fit uses the stored half-precision vectors.
    wholes = corpus.wholes[documents].astype(np.float16)
    machine = SVC(C=settings.relevance_regularisation, kernel="rbf", gamma=GAMMA).fit(
        wholes.astype(np.float64), relevant
    )
    kept = wholes[machine.support_]
    cosines = wholes.astype(np.float64) @ kept.astype(np.float64).T
    cosines[machine.support_, np.arange(len(kept))] = -1.0  # leave out the cosine of a text with itself
    familiar = float(np.quantile(cosines.max(axis=1), UNFAMILIAR))
    return RelevanceHead(kept, machine.dual_coef_[0].copy(), float(machine.intercept_[0]), familiar)


@dataclass(frozen=True)
class LabelExamples:
    """Training examples of a label: sentences coded for the label, exemplars, and papers judged for the label.

    A paper whose sentences were coded is also used as a whole, because the final aim is a correct
    score for the paper, and training on single sentences alone does not pursue this aim.

    Attributes
    ----------
    units : ndarray of int
        Rows of the units coded individually.
    targets : ndarray
    whole_units : ndarray of int
        Rows of the units with content in the papers, grouped by paper.
    lengths : ndarray
        Number of units with content in each paper.
    whole_targets : ndarray
    positives : int
        Number of sentences and exemplars that are positive for the label.
    """

    units: Index
    targets: Array
    whole_units: Index
    lengths: Index
    whole_targets: Array
    positives: int

    def bags(self, features: Any) -> Bags:
        """Return the papers as bags of units (see `multiple_instance.Bags`) with the given features."""
        return Bags(features[self.whole_units], self.lengths, self.whole_targets)

    def fit(self, features: Any, regularisation: float) -> tuple[Array, float]:
        """Fit the weights and the intercept of one regression; see `multiple_instance.fit_units`."""
        return fit_units(features[self.units], self.targets, regularisation, self.bags(features))


def _fit_shared(
    examples: Sequence[LabelExamples], features: Sequence[Array], settings: TrainSettings
) -> tuple[Array, float]:
    """Fit a single regression to the examples of several labels; ``features`` contains the features of each label."""
    parts = [each.bags(own) for each, own in zip(examples, features, strict=True)]
    bags = Bags(
        np.vstack([part.features for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.targets for part in parts]),
    )
    units = np.vstack([own[each.units] for each, own in zip(examples, features, strict=True)])
    targets = np.concatenate([each.targets for each in examples])
    return fit_units(units, targets, settings.regularisation, bags)


def _label_examples(corpus: Corpus, usable: Mask, documents: Mask, column: int) -> LabelExamples:
    units = ~np.isnan(corpus.unit_targets[:, column]) & usable
    whole_targets = corpus.document_targets[:, column]
    wholes = documents & ~np.isnan(whole_targets)
    # Units are in document order, and therefore so are the rows of content.
    content = corpus.counts & (corpus.document != NO_DOCUMENT)
    whole_units = np.flatnonzero(content & wholes[corpus.document])
    targets = corpus.unit_targets[units, column]
    return LabelExamples(
        units=np.flatnonzero(units),
        targets=targets,
        whole_units=whole_units,
        lengths=np.bincount(corpus.document[whole_units], minlength=corpus.n_documents)[wholes],
        whole_targets=whole_targets[wholes],
        positives=int(targets.sum()),
    )


def score_texts(corpus: Corpus, heads: Heads, rows: Mask) -> Array:
    """Return the scores of the texts in the selected rows of a corpus, shape (n_rows, 1 + n_labels)."""
    texts = [text for text, wanted in zip(corpus.texts, rows, strict=True) if wanted]
    return heads.score_parts(corpus.vectors[rows], corpus.cues[rows], heads.words.features(texts))
