"""The relevance head, against scikit-learn's support vector machine and cosines one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from mechtag.core.codebook import Codebook
from mechtag.core.settings import TrainSettings
from mechtag.models.encoder import Vectors
from mechtag.models.features import Definitions
from mechtag.models.scoring import GAMMA, RelevanceHead, no_relevance
from mechtag.training.dataset import Corpus, build_corpus
from mechtag.training.heads import fit_relevance
from tests.support.toy import WordEncoder, fruit_documents

SETTINGS = TrainSettings(relevance_regularisation=2.0)


def unit_vectors(count: int, size: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def near(centre: int, count: int, seed: int, size: int = 384) -> Vectors:
    """Texts on one of two neighbouring subjects."""
    centres = unit_vectors(2, size, 1) + 1.5 * unit_vectors(1, size, 2)
    vectors = centres[centre] + unit_vectors(count, size, seed)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


TRAINING = np.vstack([near(0, 80, 3), near(1, 120, 4)])
TARGETS = np.repeat([1.0, 0.0], [80, 120])
OTHERS = np.vstack([near(0, 30, 5), near(1, 30, 6), unit_vectors(30, 384, 7)])


@pytest.fixture
def corpus(fruit_corpus: Corpus) -> Corpus:
    """The fruit corpus with texts of the size that encoders give."""
    documents = np.full((200, fruit_corpus.document_targets.shape[1]), np.nan)
    documents[:, 0] = TARGETS
    return replace(fruit_corpus, wholes=TRAINING, document_targets=documents)


def test_scores_are_those_of_scikit_learns_machine(corpus: Corpus) -> None:
    head = fit_relevance(corpus, np.ones(200, bool), SETTINGS)
    rounded = TRAINING.astype(np.float16).astype(float)
    oracle = SVC(C=2.0, kernel="rbf", gamma=GAMMA).fit(rounded, TARGETS)
    # The head takes all vectors to have unit length, which rounding spoils a little.
    np.testing.assert_allclose(head.score(OTHERS), oracle.decision_function(OTHERS), atol=0.005)
    assert head.vectors.dtype == np.float16
    np.testing.assert_array_equal(head.vectors, rounded[oracle.support_])
    assert roc_auc_score(TARGETS, head.score(TRAINING)) > 0.95


def test_half_precision_hardly_matters(corpus: Corpus) -> None:
    exact = SVC(C=2.0, kernel="rbf", gamma=GAMMA).fit(TRAINING.astype(float), TARGETS)
    head = fit_relevance(corpus, np.ones(200, bool), SETTINGS)
    difference = abs(head.score(OTHERS) - exact.decision_function(OTHERS.astype(float)))
    assert 0 < difference.max() < 0.005
    # Unrounded, the head is the machine itself.
    support = exact.support_vectors_
    head = RelevanceHead(support, exact.dual_coef_[0], float(exact.intercept_[0]))  # type: ignore[arg-type]
    np.testing.assert_allclose(head.score(OTHERS), exact.decision_function(OTHERS.astype(float)), atol=1e-6)


def test_score_by_hand() -> None:
    head = RelevanceHead(np.eye(2, dtype=np.float16), np.array([2.0, -1.0]), 0.5)
    # Squared distances are 0 and 2, 2 and 2, 4 and 2.
    texts = np.array([[1, 0], [0, 0], [-1, 0]], dtype=np.float32)
    texts = np.hstack([texts, [[0], [1], [0]]]).astype(np.float32)
    head = replace(head, vectors=np.eye(2, 3, dtype=np.float16))
    expected = [
        2 - np.exp(-2 * GAMMA) + 0.5,
        np.exp(-2 * GAMMA) + 0.5,
        2 * np.exp(-4 * GAMMA) - np.exp(-2 * GAMMA) + 0.5,
    ]
    np.testing.assert_allclose(head.score(texts), expected)


def test_only_documents_that_may_be_learnt_from_have_a_say(corpus: Corpus) -> None:
    learnt = np.arange(200) % 3 > 0
    other = replace(corpus, wholes=np.where(learnt[:, None], corpus.wholes, unit_vectors(200, 384, 9)))
    turned = other.document_targets.copy()
    turned[~learnt, 0] = 1 - turned[~learnt, 0]
    one, two = (fit_relevance(each, learnt, SETTINGS) for each in (corpus, replace(other, document_targets=turned)))
    np.testing.assert_array_equal(one.score(OTHERS), two.score(OTHERS))
    assert one.familiar == two.familiar


def test_familiar_is_what_nineteen_in_twenty_training_texts_reach(corpus: Corpus) -> None:
    head = fit_relevance(corpus, np.ones(200, bool), SETTINGS)
    rounded = TRAINING.astype(np.float16).astype(float)
    support = SVC(C=2.0, kernel="rbf", gamma=GAMMA).fit(rounded, TARGETS).support_
    nearest = [max(rounded[row] @ rounded[other] for other in support if other != row) for row in range(200)]
    assert head.familiar == pytest.approx(np.quantile(nearest, 0.05))
    assert sum(cosine >= head.familiar for cosine in nearest) == 190


def test_texts_on_another_subject_are_unlike(corpus: Corpus) -> None:
    head = fit_relevance(corpus, np.ones(200, bool), SETTINGS)
    by_hand = [
        max(text.astype(float) @ known.astype(float) for known in head.vectors) < head.familiar for text in OTHERS
    ]
    assert head.is_unlike(OTHERS).tolist() == by_hand
    assert head.is_unlike(OTHERS)[60:].all()
    assert head.is_unlike(OTHERS)[:60].mean() < 0.2
    # A text that it learnt from is never unlike, and where no bound is known, none is.
    assert not head.is_unlike(head.vectors.astype(np.float32)).any()
    assert not RelevanceHead(head.vectors, head.weights, head.intercept).is_unlike(OTHERS).any()


def test_without_irrelevant_documents_every_text_has_the_same_score(
    corpus: Corpus, fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    documents = [document for document in fruit_documents(8) if document.relevant]
    relevant = build_corpus(documents, [], fruit.keys, word_encoder, fruit_definitions)
    for head, texts in (
        (no_relevance(384), OTHERS),
        (fit_relevance(relevant, np.ones(len(documents), bool), SETTINGS), relevant.wholes),
        (fit_relevance(corpus, TARGETS == 1, SETTINGS), OTHERS),
    ):
        assert head.vectors.shape == (0, texts.shape[1])
        assert head.score(texts).tolist() == [0.0] * len(texts)
        assert head.is_unlike(texts).tolist() == [False] * len(texts)
