"""Ranks records by relevance while a reviewer labels them (active learning)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechtag.core.arrays import Array
from mechtag.core.errors import MechtagError
from mechtag.models.encoder import Vectors

# Strength and class balance of the classifiers. They are ELAS u4's, ASReview 3's default, which was
# tuned on the SYNERGY reviews; https://github.com/asreview/asreview/blob/v3.0.8/asreview/models/models.py.
# What was tried beside them stands in docs/ranking.md.
_C = 0.11
_BALANCE = 9.8
_MAX_DF = 0.95
# A pair of words that one record alone has tells nothing of the others.
_MIN_DF = 2


class Ranker:
    """Two linear classifiers, on words and on vectors, whose standardised scores are added.

    Made once for a set of records, so that a new label costs only the fit of two linear
    classifiers.

    Parameters
    ----------
    texts
        Title and abstract of each record.
    vectors : ndarray, shape (n_records, size)
        The encoder's vector of each text.
    """

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        if len(texts) != len(vectors):
            raise ValueError(f"{len(texts)} texts and {len(vectors)} vectors")
        self._views = (word_weights(texts), _centred(vectors))

    def scores(self, labels: Array) -> Array:
        """Score every record by what has been labelled so far.

        Parameters
        ----------
        labels : ndarray, shape (n_records,)
            1 for relevant, 0 for not, NaN for not judged; such a record is no example.

        Returns
        -------
        ndarray, shape (n_records,)
            Higher is more likely relevant. Only the order has a meaning.

        Raises
        ------
        MechtagError
            There is no relevant or no irrelevant record among the labelled ones.
        """
        judged = ~np.isnan(labels)
        targets = labels[judged]
        if not (targets == 1).any() or not (targets == 0).any():
            raise MechtagError(
                f"{int((targets == 1).sum())} records judged relevant and {int((targets == 0).sum())} not; "
                "ranking learns from at least one of each"
            )
        weights = _weights(targets)
        words, meaning = (_standardised(_fit(view, judged, targets, weights), ~judged) for view in self._views)
        return words + meaning


def word_weights(texts: Sequence[str]) -> Any:
    """TF-IDF of words and pairs of neighbouring words; a sparse matrix of shape (n_texts, n_terms)."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    # In a handful of records every term can be too rare or too common.
    few = len(texts) < 2 * _MIN_DF
    vectoriser = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=1 if few else _MIN_DF, max_df=1.0 if few else _MAX_DF
    )
    try:
        return vectoriser.fit_transform(texts).tocsr()
    except ValueError:  # no term is left, as in records without any words
        return csr_matrix((len(texts), 1))


def _centred(vectors: Vectors) -> Array:
    """Take off what all records of a search have in common, and give rows unit length again."""
    moved = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    unit: Array = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return unit


def _weights(targets: Array) -> Array:
    """Weigh examples so that the irrelevant ones together count as a fixed part of the relevant ones."""
    relevant = targets == 1
    weights = np.where(relevant, 1.0, relevant.sum() / (_BALANCE * (~relevant).sum()))
    scaled: Array = weights * len(targets) / weights.sum()
    return scaled


def _fit(view: Any, judged: NDArray[np.bool_], targets: Array, weights: Array) -> Array:
    from sklearn.svm import LinearSVC

    # Of the two ways to solve the same problem, the one that is quicker for its shape.
    classifier = LinearSVC(C=_C, dual=bool(judged.sum() < view.shape[1]), max_iter=10_000, random_state=0)
    classifier.fit(view[judged], targets, sample_weight=weights)
    scores: Array = classifier.decision_function(view)
    return scores


def _standardised(scores: Array, unread: NDArray[np.bool_]) -> Array:
    """Bring the scores of a view to mean 0 and standard deviation 1 over the unread, so that views add up."""
    base = scores[unread] if unread.any() else scores
    scaled: Array = (scores - base.mean()) / max(float(base.std()), 1e-12)
    return scaled
