"""Fit heads (the classifiers of relevance and labels) to encoded texts, and calibrate their out-of-fold scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from mechtag.core.arrays import Array, Index, Mask
from mechtag.core.settings import TrainSettings
from mechtag.models.features import Words, fit_words
from mechtag.models.scoring import GAMMA, Calibration, RelevanceHead
from mechtag.models.tagger import Heads
from mechtag.training.calibration import fit_calibration
from mechtag.training.dataset import NO_DOCUMENT, Corpus
from mechtag.training.finetuning.trainers import Encoded, Trainer
from mechtag.training.multiple_instance import Bags, fit_units

# Proportion of the training texts that count as unlike the other training texts.
UNFAMILIAR = 0.05


@dataclass(frozen=True)
class HeldOut:
    """Out-of-fold scores: each document is scored by heads that were not trained on this document.

    Columns are relevance, followed by the labels in codebook order.

    Attributes
    ----------
    units : ndarray, shape (n_units, 1 + n_labels)
        Scores of titles and sentences, followed by NaN for each exemplar. The score of a sentence without content, such
        as a note, is minus infinity.
    documents : ndarray, shape (n_documents, 1 + n_labels)
        Scores of the documents.
    """

    units: Array
    documents: Array


@dataclass(frozen=True)
class Fitted:
    """Result of `fit`.

    Attributes
    ----------
    encoded
        Encoder that the heads were fitted with, and the whole corpus encoded by this encoder.
    fold : ndarray, shape (n_documents,)
        Number of the fold of each document.
    held_out : HeldOut
        Out-of-fold scores, on which the calibration was fitted.
    """

    encoded: Encoded
    heads: Heads
    calibration: Calibration
    fold: Index
    held_out: HeldOut


def fit(corpus: Corpus, trainer: Trainer, settings: TrainSettings, seed: int, added: int = 0) -> Fitted:
    """Fit the encoder and the heads on all documents, and fit the calibration on out-of-fold scores.

    Parameters
    ----------
    added
        Number of documents at the end of the corpus that were added by retraining; see `assign_folds`.
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
    """Score the documents of each fold with an encoder and heads fitted on the other folds.

    For the parameters, see `fit_folds`.
    """
    return score_folds(corpus, fold, fit_folds(corpus, trainer, fold, documents, settings, seed))


def fit_folds(
    corpus: Corpus, trainer: Trainer, fold: Index, documents: Mask, settings: TrainSettings, seed: int
) -> list[tuple[Encoded, Heads]]:
    """Return, for each fold in order, the encoder and the heads fitted on the documents of the other folds.

    The intercepts of the heads are shifted so that scores from different folds can be compared; see `aligned`.

    Parameters
    ----------
    fold : ndarray of int, shape (n_documents,)
        Number of the fold of each document.
    documents : ndarray of bool, shape (n_documents,)
        Mask of the documents that may be trained on.
    """
    learned = [documents & (fold != held_out) for held_out in range(settings.folds)]
    encoded = [trainer.encode(corpus, rows, seed) for rows in learned]
    heads = [fit_heads(each.corpus, rows, settings) for each, rows in zip(encoded, learned, strict=True)]
    return list(zip(encoded, aligned([each.corpus for each in encoded], heads, learned), strict=True))


def aligned(corpora: Sequence[Corpus], heads: Sequence[Heads], learned: Sequence[Mask]) -> list[Heads]:
    """Shift the intercepts of the labels in each fold, so that scores from different folds can be compared.

    After the shift, the mean score of a label on the training documents is the same in every fold. Training documents
    that were not judged for the label do not count. Relevance is not shifted.

    Parameters
    ----------
    corpora
        For each fold, the corpus encoded by the encoder of the fold.
    heads
        For each fold, the heads that were fitted on the documents of the other folds.
    learned
        For each fold, a mask of the documents that the heads were fitted on.
    """
    # Without the shift, documents of a fold that holds out many documents with a label would be scored too low, because
    # the intercept reflects how common the label is among the other documents. With few records, this alone would
    # reverse the ranking. Relevance needs no shift, because the same proportion of each fold is relevant.
    means = [_mean_scores(*each) for each in zip(corpora, heads, learned, strict=True)]
    shifts = np.nan_to_num(np.mean(means, axis=0) - means)
    return [replace(each, intercept=each.intercept + shift) for each, shift in zip(heads, shifts, strict=True)]


def _mean_scores(corpus: Corpus, heads: Heads, documents: Mask) -> Array:
    """Return the mean score of each label in the selected documents.

    Only documents that were judged for the label count. If there are none, the mean is NaN.
    """
    if not documents.any():
        return np.full(corpus.document_targets.shape[1] - 1, np.nan)
    rows = corpus.texts_of(documents, exemplars=False)
    scores = np.full(corpus.unit_targets.shape, -np.inf)
    scores[rows] = score_texts(corpus, heads, rows)
    pooled = corpus.score_documents(np.zeros(corpus.n_documents), scores)[:, 1:]
    judged = documents[:, None] & ~np.isnan(corpus.document_targets[:, 1:]) & np.isfinite(pooled)
    with np.errstate(invalid="ignore"):
        means: Array = np.where(judged, pooled, 0.0).sum(axis=0) / judged.sum(axis=0)
    return means


def score_folds(corpus: Corpus, fold: Index, fitted: Iterable[tuple[Encoded, Heads]]) -> HeldOut:
    """Score the documents of each fold with the encoder and heads that `fit_folds` returned for this fold."""
    scores = np.full(corpus.unit_targets.shape, np.nan)
    relevance = np.full(corpus.n_documents, np.nan)
    for held_out, (encoded, heads) in enumerate(fitted):
        rows = np.isin(corpus.document, np.flatnonzero(fold == held_out))
        scores[rows] = score_texts(encoded.corpus, heads, rows)
        relevance[fold == held_out] = score_wholes(encoded.corpus, heads, fold == held_out)
    return HeldOut(corpus.score_units(scores), corpus.score_documents(relevance, scores))


def calibrate(corpus: Corpus, scores: Array, documents: Mask, settings: TrainSettings) -> Calibration:
    """Fit probability curves, thresholds and decision bounds on the out-of-fold scores of the selected documents.

    If a probability is between the two bounds of its label, the decision needs review.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Out-of-fold scores of all documents: relevance, then the labels.
    documents : ndarray of bool, shape (n_documents,)
        Mask of the selected documents.
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
    """Yield the scores of each fold, together with a calibration that is fitted on the other folds.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Out-of-fold scores of all documents. The first column is relevance.
    documents : ndarray of bool, shape (n_documents,), optional
        Mask of the documents to fit on; by default, all documents.

    Yields
    ------
    rows : ndarray
        Rows of the documents of the fold.
    scores : ndarray, shape (n_rows, 1 + n_labels)
        Out-of-fold scores of these documents.
    calibration : Calibration
        Probability curves, thresholds and decision bounds, fitted on the documents of the other folds.
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
    """Return the number of the fold to which each document is assigned, shape (n_documents,).

    There are three kinds of documents: relevant, irrelevant and hard (irrelevant, but easily mistaken for relevant).
    Documents are assigned in three steps:

    1. Each large source (a file of coded records) is split on its own, with each kind spread evenly over the folds. Its
       documents therefore keep their folds when other sources are added.
    2. A source is small if one of the kinds in it has fewer documents than there are folds. Its relevant documents go,
       one by one, to the fold with the fewest relevant documents. Its other documents (irrelevant or hard) go to the
       fold with the fewest documents of these two kinds.
    3. Documents added by retraining are assigned to one fold after the other. The other documents keep their folds.

    Parameters
    ----------
    relevant : ndarray, shape (n_documents,)
        1 if relevant, otherwise 0. All documents may be relevant.
    added
        Number of documents that were added by retraining. They are the last documents, in the order of their addition.
    source : ndarray of int, shape (n_documents,), optional
        Number of the source of each document. By default, all documents have the same source.
    hard : ndarray of bool, shape (n_documents,), optional
        Whether each document is hard. By default, no document is hard.
    """
    known = np.arange(len(relevant)) < len(relevant) - added
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
    """Fit a head for relevance, and two logistic regressions for each label: one on vectors, one on words.

    The score of a label is the sum of the scores of its two regressions. The weights of the regression on vectors are
    regularised towards weights from the definition of the label (see `features.Definitions.label_weights`). The more
    judged papers and exemplars a label has, the weaker this effect is (see `freedom`). If the codes of a label do not
    include both yes and no, the label is scored by its definition. For the training examples, see `LabelExamples`.

    Parameters
    ----------
    documents : ndarray of bool, shape (n_documents,)
        Mask of the documents to train on; there may be none. Exemplars are always used.
    """
    n_labels = corpus.unit_targets.shape[1] - 1
    weights, intercept = corpus.definitions.label_weights(), np.zeros(n_labels)
    usable = corpus.texts_of(documents, exemplars=True)
    words = fit_words([text for text, use in zip(corpus.texts, usable, strict=True) if use])
    counts, features = words.features(corpus.texts), corpus.features
    word_weights = np.zeros((n_labels, len(words.terms)))
    for label in range(n_labels):
        own = _label_examples(corpus, usable, documents, 1 + label)
        if not own.both_kinds:
            continue
        share = freedom(own.judged)
        weights[label], intercept[label] = own.fit(features, share * settings.regularisation, weights[label])
        word_weights[label], shift = own.fit(counts, share * settings.word_regularisation)
        intercept[label] += shift
    relevance = fit_relevance(corpus, documents, settings, words)
    return Heads(relevance, weights, words, _rounded(word_weights), intercept)


# Chosen on five codebooks (`python -m benchmarks.codebooks`): with fewer papers, weights that are as free as with many
# rank worse than the definitions alone.
ENOUGH = 100


def freedom(judged: int) -> float:
    """Return the factor by which the regularisation parameter ``C`` is multiplied for a label.

    ``judged`` is the number of judged papers and exemplars; see ``judged`` in `LabelExamples`. The factor increases
    with the square root of this number, and is 1 from ``ENOUGH`` upwards. ``C`` is the inverse strength of
    regularisation.
    """
    # Sentences may be coded although no paper was judged.
    return float(np.sqrt(min(max(judged, 1) / ENOUGH, 1)))


# Number of coded records at which the definitions' log odds of relevance count half as much as without any; more
# records show what is relevant better than the definitions do. Chosen with `ENOUGH`.
FADES = 20


def fit_relevance(corpus: Corpus, documents: Mask, settings: TrainSettings, words: Words) -> RelevanceHead:
    """Fit the head for relevance, which scores whole texts.

    The score of relevance is the sum of three scores. A support vector machine computes the first score from the
    vectors of the texts. A regression computes the second score from the words of the texts. The third score comes from
    the definitions of the codebook. The more records are coded, the less the third score counts. If the documents are
    all relevant or all irrelevant, only the third score is used.
    """
    relevant = corpus.document_targets[documents, 0]
    learns = len(np.unique(relevant)) == 2
    weight = FADES / (FADES + len(relevant)) if learns else 1.0
    by_definitions, shift_by_definitions = corpus.definitions.relevance_weights()
    direction, intercept, size = weight * by_definitions, weight * shift_by_definitions, corpus.wholes.shape[1]
    if not learns:
        none = np.zeros(len(words.terms))
        return RelevanceHead(direction, np.zeros((0, size), dtype=np.float16), np.zeros(0), none, intercept)
    # Round before fitting, so that the fit uses the stored half-precision vectors.
    wholes = corpus.wholes[documents].astype(np.float16)
    machine = SVC(C=settings.relevance_regularisation, kernel="rbf", gamma=GAMMA).fit(
        wholes.astype(np.float64), relevant
    )
    kept = wholes[machine.support_]
    cosines = wholes.astype(np.float64) @ kept.astype(np.float64).T
    cosines[machine.support_, np.arange(len(kept))] = -1.0  # leave out the cosine of a text with itself
    own = [text for text, use in zip(corpus.whole_texts, documents, strict=True) if use]
    nothing = Bags(np.zeros((0, len(words.terms))), np.zeros(0, dtype=np.int64), np.zeros(0))
    word_weights, shift = fit_units(words.features(own), relevant, settings.word_regularisation, nothing)
    return RelevanceHead(
        direction=direction,
        vectors=kept,
        weights=machine.dual_coef_[0].copy(),
        word_weights=_rounded(word_weights),
        intercept=intercept + float(machine.intercept_[0]) + shift,
        familiar=float(np.quantile(cosines.max(axis=1), UNFAMILIAR)),
    )


def _rounded(word_weights: Array) -> Array:
    """Return weights rounded to half precision, the precision in which a model stores them."""
    # This halves the size of the model and changes every score by less than 0.002.
    return word_weights.astype(np.float16).astype(np.float64)


@dataclass(frozen=True)
class LabelExamples:
    """Training examples of a label: sentences coded for the label, exemplars, and papers judged for the label.

    A paper whose sentences were coded is used twice: as single sentences and as a whole. A part is a sentence or
    exemplar, or a piece of it between semicolons. Each row of the corpus is a title or a part.

    Attributes
    ----------
    units : ndarray of int
        Rows of the parts of coded sentences and exemplars.
    targets : ndarray
        Code of each row in ``units``, 1 or 0.
    whole_units : ndarray of int
        Rows of the titles and parts of judged papers that are content (see `tagger.Units`), grouped by paper.
    lengths : ndarray
        Number of rows of each judged paper in ``whole_units``.
    whole_targets : ndarray
        Code of each judged paper, 1 or 0.
    judged : int
        Number of judged papers, plus the number of parts of exemplars that have a code for the label.
    """

    units: Index
    targets: Array
    whole_units: Index
    lengths: Index
    whole_targets: Array
    judged: int

    @property
    def both_kinds(self) -> bool:
        """Return whether the codes of the label include both yes and no."""
        return len(np.unique(np.concatenate([self.targets, self.whole_targets]))) == 2

    def bags(self, features: Any) -> Bags:
        """Return the codes of the papers judged for the label, and the features of ``whole_units``.

        Parameters
        ----------
        features
            Features of all texts of the corpus.
        """
        return Bags(features[self.whole_units], self.lengths, self.whole_targets)

    def fit(self, features: Any, regularisation: float, prior: Array | None = None) -> tuple[Array, float]:
        """Fit a logistic regression to these examples, and return its weights and intercept.

        Parameters
        ----------
        features
            Features of all texts of the corpus.
        regularisation, prior
            See `multiple_instance.fit_units`.
        """
        return fit_units(features[self.units], self.targets, regularisation, self.bags(features), prior)


def _label_examples(corpus: Corpus, usable: Mask, documents: Mask, column: int) -> LabelExamples:
    units = ~np.isnan(corpus.unit_targets[:, column]) & usable
    whole_targets = corpus.document_targets[:, column]
    # Papers with coded sentences are included, because the aim is a correct score for the paper, which training on
    # single sentences alone does not optimise.
    wholes = documents & ~np.isnan(whole_targets)
    # Units are in document order, and therefore so are the rows of content.
    whole_units = np.flatnonzero(corpus.counts & corpus.texts_of(wholes, exemplars=False))
    targets = corpus.unit_targets[units, column]
    return LabelExamples(
        units=np.flatnonzero(units),
        targets=targets,
        whole_units=whole_units,
        lengths=np.bincount(corpus.document[whole_units], minlength=corpus.n_documents)[wholes],
        whole_targets=whole_targets[wholes],
        judged=int(wholes.sum() + (corpus.document[units] == NO_DOCUMENT).sum()),
    )


def score_texts(corpus: Corpus, heads: Heads, rows: Mask) -> Array:
    """Return the scores of the texts in the selected rows of a corpus, shape (n_rows, 1 + n_labels).

    The first column is relevance.
    """
    texts = [text for text, wanted in zip(corpus.texts, rows, strict=True) if wanted]
    features = corpus.definitions.features(corpus.vectors[rows], corpus.reports[rows])
    return heads.score_parts(corpus.vectors[rows], features, heads.words.features(texts))


def score_wholes(corpus: Corpus, heads: Heads, rows: Mask) -> Array:
    """Return the relevance score of each document that the mask ``rows`` selects, shape (n_selected,)."""
    texts = [text for text, wanted in zip(corpus.whole_texts, rows, strict=True) if wanted]
    return heads.score_wholes(corpus.wholes[rows], texts)
