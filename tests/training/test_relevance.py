"""Test the relevance head against scikit-learn's support vector machine and logistic regression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from mechtag.core.settings import TrainSettings
from mechtag.models.encoder import Vectors
from mechtag.models.features import RELEVANCE_WEIGHT, Words, fit_words
from mechtag.models.scoring import GAMMA, RelevanceHead
from mechtag.training.dataset import Corpus
from mechtag.training.heads import FADES, fit_relevance
from tests.support.toy import relevance_by_definitions

SETTINGS = TrainSettings(relevance_regularisation=2.0)


def unit_vectors(count: int, size: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def near(centre: int, count: int, seed: int, size: int = 384) -> Vectors:
    """Return vectors of texts on one of two related subjects, shape (count, size)."""
    centres = unit_vectors(2, size, 1) + 1.5 * unit_vectors(1, size, 2)
    vectors = centres[centre] + unit_vectors(count, size, seed)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


TRAINING = np.vstack([near(0, 80, 3), near(1, 120, 4)])
TARGETS = np.repeat([1.0, 0.0], [80, 120])
OTHERS = np.vstack([near(0, 30, 5), near(1, 30, 6), unit_vectors(30, 384, 7)])


SUBJECT = unit_vectors(1, 384, 8)[0].astype(float)
NO_WORDS = Words((), np.zeros(0))


def nothing(texts: Vectors) -> csr_matrix:
    """Return the word features of texts for an empty vocabulary."""
    return NO_WORDS.features([""] * len(texts))


@pytest.fixture
def corpus(fruit_corpus: Corpus) -> Corpus:
    """The fruit corpus with 200 papers, whose vectors have 384 dimensions as from an encoder."""
    documents = np.full((200, fruit_corpus.document_targets.shape[1]), np.nan)
    documents[:, 0] = TARGETS
    definitions = replace(fruit_corpus.definitions, relevance=SUBJECT)
    whole_texts = tuple(
        f"study {number % 7} of {'fruit' if target else 'stone'}s and {'cider' if number % 3 else 'walls'}"
        for number, target in enumerate(TARGETS)
    )
    return replace(
        fruit_corpus, wholes=TRAINING, whole_texts=whole_texts, document_targets=documents, definitions=definitions
    )


def share(papers: int) -> float:
    """Return the weight of the definitions: 1 without papers, and one half with ``FADES`` papers."""
    return 1 / (1 + papers / FADES)


def by_definitions(texts: Vectors, papers: int) -> np.ndarray:
    return share(papers) * RELEVANCE_WEIGHT * (texts.astype(float) @ SUBJECT - 1)


def test_scores_are_those_of_scikit_learns_machine_and_of_the_definitions(corpus: Corpus) -> None:
    head = fit_relevance(corpus, np.ones(200, bool), SETTINGS, NO_WORDS)
    rounded = TRAINING.astype(np.float16).astype(float)
    oracle = SVC(C=2.0, kernel="rbf", gamma=GAMMA).fit(rounded, TARGETS)
    # Without words, the logistic regression gives the log odds of the papers.
    log_odds = np.log(80 / 120)
    expected = oracle.decision_function(OTHERS) + by_definitions(OTHERS, 200) + log_odds
    # The head assumes vectors of unit length, but rounding changes their length slightly.
    np.testing.assert_allclose(head.score(OTHERS, nothing(OTHERS)), expected, atol=0.005)
    assert head.vectors.dtype == np.float16
    np.testing.assert_array_equal(head.vectors, rounded[oracle.support_])
    assert roc_auc_score(TARGETS, head.score(TRAINING, nothing(TRAINING))) > 0.95


def test_words_are_scored_by_scikit_learns_logistic_regression(corpus: Corpus) -> None:
    words = fit_words(corpus.whole_texts)
    head = fit_relevance(corpus, np.ones(200, bool), SETTINGS, words)
    silent = fit_relevance(corpus, np.ones(200, bool), SETTINGS, NO_WORDS)
    counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit_transform(corpus.whole_texts)
    # The weights of words that occur together are poorly determined, so scores are compared instead.
    oracle = LogisticRegression(C=SETTINGS.word_regularisation, tol=1e-8, max_iter=5000).fit(counts, TARGETS)
    found = head.score(TRAINING, words.features(corpus.whole_texts)) - silent.score(TRAINING, nothing(TRAINING))
    np.testing.assert_allclose(found + np.log(80 / 120), oracle.decision_function(counts), atol=0.02)
    assert abs(oracle.decision_function(counts)).max() > 1
    # The weights are rounded to half precision, as they are stored.
    np.testing.assert_array_equal(head.word_weights, head.word_weights.astype(np.float16))


@pytest.mark.parametrize("papers", [2, 20, 100])
def test_definitions_fade_as_more_papers_are_coded(corpus: Corpus, papers: int) -> None:
    learnt = np.zeros(200, bool)
    learnt[: papers // 2] = learnt[-(papers // 2) :] = True
    head = fit_relevance(corpus, learnt, SETTINGS, NO_WORDS)
    assert share(FADES) == 0.5
    np.testing.assert_allclose(head.direction, share(papers) * RELEVANCE_WEIGHT * SUBJECT)
    machine = SVC(C=2.0, kernel="rbf", gamma=GAMMA).fit(
        TRAINING[learnt].astype(np.float16).astype(float), TARGETS[learnt]
    )
    # With equally many papers of each kind, the log odds are zero.
    shift = machine.intercept_[0] - share(papers) * RELEVANCE_WEIGHT
    assert head.intercept == pytest.approx(shift, abs=1e-4)


def test_half_precision_hardly_matters(corpus: Corpus) -> None:
    exact = SVC(C=2.0, kernel="rbf", gamma=GAMMA).fit(TRAINING.astype(float), TARGETS)
    head = fit_relevance(corpus, np.ones(200, bool), SETTINGS, NO_WORDS)
    expected = exact.decision_function(OTHERS.astype(float)) + by_definitions(OTHERS, 200) + np.log(80 / 120)
    difference = abs(head.score(OTHERS, nothing(OTHERS)) - expected)
    assert 0 < difference.max() < 0.005
    # Without rounding, the head equals the support vector machine.
    support = exact.support_vectors_
    head = RelevanceHead(np.zeros(384), support, exact.dual_coef_[0], np.zeros(0), float(exact.intercept_[0]))  # type: ignore[arg-type]
    expected = exact.decision_function(OTHERS.astype(float))
    np.testing.assert_allclose(head.score(OTHERS, nothing(OTHERS)), expected, atol=1e-6)


def test_score_by_hand() -> None:
    head = RelevanceHead(
        direction=np.array([0.0, 0.25, 3.0]),
        vectors=np.eye(2, 3, dtype=np.float16),
        weights=np.array([2.0, -1.0]),
        word_weights=np.array([10.0, -20.0]),
        intercept=0.5,
    )
    # The squared distances of the texts from the two vectors are 0 and 2, 2 and 2, and 4 and 2.
    texts = np.array([[1, 0, 0], [0, 0, 1], [-1, 0, 0]], dtype=np.float32)
    words = csr_matrix([[0.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    expected = [
        2 - np.exp(-2 * GAMMA) + 0.5,
        np.exp(-2 * GAMMA) + 0.5 + 3 + 10,
        2 * np.exp(-4 * GAMMA) - np.exp(-2 * GAMMA) + 0.5 + 6 - 16,
    ]
    np.testing.assert_allclose(head.score(texts, words), expected)


def test_only_documents_to_learn_from_have_an_influence(corpus: Corpus) -> None:
    learnt = np.arange(200) % 3 > 0
    words = fit_words(corpus.whole_texts)
    whole_texts = tuple(
        text if own else f"wall {text} cider" for text, own in zip(corpus.whole_texts, learnt, strict=True)
    )
    other = replace(
        corpus,
        wholes=np.where(learnt[:, None], corpus.wholes, unit_vectors(200, 384, 9)),
        whole_texts=whole_texts,
    )
    turned = other.document_targets.copy()
    turned[~learnt, 0] = 1 - turned[~learnt, 0]
    one, two = (
        fit_relevance(each, learnt, SETTINGS, words) for each in (corpus, replace(other, document_targets=turned))
    )
    for first, second in zip(vars(one).values(), vars(two).values(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_nineteen_in_twenty_training_texts_are_familiar(corpus: Corpus) -> None:
    head = fit_relevance(corpus, np.ones(200, bool), SETTINGS, NO_WORDS)
    rounded = TRAINING.astype(np.float16).astype(float)
    support = SVC(C=2.0, kernel="rbf", gamma=GAMMA).fit(rounded, TARGETS).support_
    nearest = [max(rounded[row] @ rounded[other] for other in support if other != row) for row in range(200)]
    assert head.familiar == pytest.approx(np.quantile(nearest, 0.05))
    assert sum(cosine >= head.familiar for cosine in nearest) == 190


def test_texts_on_another_subject_are_unlike(corpus: Corpus) -> None:
    head = fit_relevance(corpus, np.ones(200, bool), SETTINGS, NO_WORDS)
    by_hand = [
        max(text.astype(float) @ known.astype(float) for known in head.vectors) < head.familiar for text in OTHERS
    ]
    assert head.is_unlike(OTHERS).tolist() == by_hand
    assert head.is_unlike(OTHERS)[60:].all()
    assert head.is_unlike(OTHERS)[:60].mean() < 0.2
    # A training text is never unlike the training texts, and without a bound, no text is.
    assert not head.is_unlike(head.vectors.astype(np.float32)).any()
    assert not replace(head, familiar=-1.0).is_unlike(OTHERS).any()


@pytest.mark.parametrize("kind", ["nothing", "one relevant", "one irrelevant", "relevant", "irrelevant"])
def test_papers_of_one_kind_leave_relevance_to_the_definitions(corpus: Corpus, kind: str) -> None:
    """If the coded papers are all relevant or all irrelevant, the definitions keep their full weight."""
    learnt = {
        "nothing": np.zeros(200, bool),
        "one relevant": np.arange(200) == 0,
        "one irrelevant": np.arange(200) == 199,
        "relevant": TARGETS == 1,
        "irrelevant": TARGETS == 0,
    }[kind]
    words = fit_words(corpus.whole_texts)
    head = fit_relevance(corpus, learnt, SETTINGS, words)
    assert head.vectors.shape == (0, 384)
    assert head.word_weights.tolist() == [0.0] * len(words.terms)
    found = head.score(OTHERS, words.features(["study 1 of fruits"] * len(OTHERS)))
    np.testing.assert_allclose(found, relevance_by_definitions(corpus.definitions, OTHERS))
    np.testing.assert_allclose(found, by_definitions(OTHERS, 0))
    assert head.is_unlike(OTHERS).tolist() == [False] * len(OTHERS)
