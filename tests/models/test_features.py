"""Test features of texts and vectors of definitions, with values worked out by hand and against scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer

from mechtag.core.codebook import Codebook
from mechtag.models.encoder import Vectors
from mechtag.models.features import DEFINITION_WEIGHT, Definitions, embed_codebook, fit_words
from mechtag.models.scoring import SHARPNESS
from tests.support.toy import WordEncoder, relevance_by_definitions

PLACES = {
    "apple": (1.0, 0.0, 0.0),
    "cider": (0.0, 1.0, 0.0),
    "pear": (0.6, 0.8, 0.0),
    "fruit": (0.0, 0.0, 1.0),
    "jam": (0.0, 0.6, 0.8),
}


class Placed:
    """Encoder that returns the vectors of the five words in ``PLACES``."""

    size = 3

    def encode(self, texts: Sequence[str]) -> Vectors:
        return np.array([PLACES[text] for text in texts], dtype=np.float32).reshape(-1, 3)


def book(*rules: str, relevance: tuple[str, ...] = ("jam",)) -> Codebook:
    """Return a codebook with two labels: apple, with ``rules`` as its ``include`` rules, and pear, without rules."""
    return Codebook.model_validate(
        {
            "name": "fruit",
            "relevance": {"key": "edible", "definition": "fruit", "include": relevance},
            "labels": [
                {"key": "apple", "name": "Apple", "definition": "apple", "include": rules},
                {"key": "pear", "name": "Pear", "definition": "pear"},
            ],
        }
    )


def unit(vector: object) -> np.ndarray:
    own = np.asarray(vector, dtype=float)
    return own / np.linalg.norm(own)


def test_definitions_by_hand() -> None:
    found = embed_codebook(book("cider"), Placed())
    # Means of the texts of each label: (0.5, 0.5, 0) and (0.6, 0.8, 0). Two labels, so their sum is divided by three.
    centre = np.array([1.1, 1.3, 0]) / 3
    np.testing.assert_allclose(found.centre, centre, atol=1e-7)
    apple = (unit([1, 0, 0] - centre) + unit([0, 1, 0] - centre)) / 2
    np.testing.assert_allclose(found.labels, [apple, unit([0.6, 0.8, 0] - centre)], atol=1e-6)
    # The rule of relevance is (0, 0.3, 0.9) on average; the three texts of labels are (1.6, 1.8, 0) / 3.
    direction = np.array([1.6 / 3, 0.6 + 0.3, 0.9])
    texts = np.array([PLACES[text] for text in ("apple", "cider", "pear", "fruit", "jam")])
    np.testing.assert_allclose(found.relevance, direction / (texts @ direction).mean(), atol=1e-6)
    assert (texts @ found.relevance).mean() == pytest.approx(1)


def test_rules_of_one_label_do_not_move_the_centre_more_than_those_of_another() -> None:
    """Each label has the same weight in the centre, however many rules it has."""
    one, two = embed_codebook(book("apple"), Placed()), embed_codebook(book("apple", "apple", "apple"), Placed())
    np.testing.assert_allclose(one.centre, two.centre, atol=1e-7)
    np.testing.assert_allclose(one.labels, two.labels, atol=1e-6)


def test_exclude_rules_are_not_used() -> None:
    plain = book("cider")
    apple = plain.labels[0].model_copy(update={"exclude": ("no text that the encoder knows",)})
    other = plain.model_copy(update={"labels": (apple, plain.labels[1])})
    assert other != plain
    for one, two in zip(*(vars(embed_codebook(each, Placed())).values() for each in (plain, other)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_texts_with_nothing_in_common_have_a_finite_relevance() -> None:
    """The vectors of this codebook cancel out, which must not lead to a division by zero."""

    class Opposite(Placed):
        def encode(self, texts: Sequence[str]) -> Vectors:
            return np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=np.float32)[: len(texts)]

    found = embed_codebook(book(relevance=("jam",)), Opposite())
    assert np.isfinite(found.relevance).all()
    assert np.isfinite(relevance_by_definitions(found, Opposite().encode(["a", "b", "c", "d"]))).all()


def test_features_are_the_centred_vector_and_the_role() -> None:
    centre = np.array([0.2, 0.1, 0.0])
    definitions = Definitions(centre, np.eye(2, 3), np.ones(3))
    vectors = np.array([[1, 0, 0], [0.6, 0.8, 0], centre], dtype=np.float32)
    found = definitions.features(vectors, np.array([3.0, -1.0, 0.5]))
    assert found.shape == (3, 4)
    for row in (0, 1):
        np.testing.assert_allclose(found[row, :3], unit(vectors[row] - centre), atol=1e-6)
    # The role feature rises with the odds of results.
    np.testing.assert_allclose(found[:, 3] / found[0, 3], [1, -1 / 3, 1 / 6])
    assert found[0, 3] > 0
    assert np.isfinite(found).all()
    # A text at the centre has no direction.
    exact = Definitions(np.array([1.0, 0, 0]), np.eye(2, 3), np.ones(3)).features(vectors[:1], np.ones(1))
    np.testing.assert_array_equal(exact[0, :3], np.zeros(3))
    assert definitions.features(vectors[:0], np.zeros(0)).shape == (0, 4)


def test_definitions_alone_score_by_the_cosine_to_the_label() -> None:
    definitions = embed_codebook(book("cider"), Placed())
    texts = Placed().encode(["apple", "pear", "fruit"])
    found = definitions.features(texts, np.array([2.0, -2.0, 0.0])) @ definitions.label_weights().T
    expected = [[unit(text - definitions.centre) @ label for label in definitions.labels] for text in texts]
    # Pooling multiplies scores by its sharpness; together, they make a maximum of sharpness 20.
    np.testing.assert_allclose(found * SHARPNESS, 20 * np.array(expected), atol=1e-5)
    assert DEFINITION_WEIGHT * SHARPNESS == pytest.approx(20)
    assert definitions.label_weights().shape == (2, 4)
    assert not definitions.label_weights()[:, 3].any()  # definitions do not weight roles


def test_a_text_as_close_as_the_mean_of_the_codebook_has_even_odds() -> None:
    definitions = embed_codebook(book("cider"), Placed())
    own = np.array([PLACES[text] for text in ("apple", "cider", "pear", "fruit", "jam")])
    # The mean of the codebook's texts has a product of 1, and even odds.
    middle = own.mean(axis=0, keepdims=True).astype(np.float32)
    assert expit(relevance_by_definitions(definitions, middle))[0] == pytest.approx(0.5, abs=1e-5)
    np.testing.assert_allclose(
        relevance_by_definitions(definitions, own.astype(np.float32)),
        8.5 * (own @ definitions.relevance - 1),
        atol=1e-5,
    )


def test_labels_are_ranked_by_their_definitions_alone(fruit: Codebook, fruit_definitions: Definitions) -> None:
    texts = ["apple orchard in the town", "pear perry of the town", "plum jam with people", "a stone wall"]
    vectors = WordEncoder().encode(texts)
    scores = fruit_definitions.features(vectors, np.zeros(4)) @ fruit_definitions.label_weights().T
    assert scores[:3].argmax(axis=1).tolist() == [0, 1, 2]
    assert scores.argmax(axis=0).tolist() == [0, 1, 2]
    relevance = relevance_by_definitions(
        fruit_definitions, WordEncoder().encode(["the text is about plum jam", "a stone wall"])
    )
    assert relevance[0] > relevance[1]


def test_word_features_equal_those_of_scikit_learn() -> None:
    texts = ["we asked nurses", "nurses asked more", "we found more", "care is more", "care care"]
    oracle = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit(texts)
    words = fit_words(texts)
    assert list(words.terms) == sorted(oracle.vocabulary_)
    # Model folders store 32-bit floats, so the fitted values must be exact in that type.
    np.testing.assert_array_equal(words.idf, words.idf.astype(np.float32))
    np.testing.assert_allclose(words.idf, oracle.idf_, rtol=1e-7)
    np.testing.assert_allclose(words.features(texts).toarray(), oracle.transform(texts).toarray(), atol=1e-7)
    assert words.features([]).shape == (0, len(words.terms))
    assert fit_words([]).terms == ()
