from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from models.calibration import probabilities
from models.codebook import Codebook
from models.features import LIKENESS_SCALE, Definitions
from models.pooling import pool
from models.tagger import Document
from tests.batches import WORDS, toy_model
from tests.toy import WordEncoder


def test_pooling_runs_from_mean_to_maximum() -> None:
    scores = np.array([[0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    pooled = pool(scores, [2], [0.0, 1.0, 500.0])[0]
    by_hand = np.log((1 + np.exp(3)) / 2)
    np.testing.assert_allclose(pooled, [1.5, by_hand, 3.0], atol=2e-3)


def test_pooling_one_unit_gives_its_score() -> None:
    np.testing.assert_allclose(pool(np.array([[-2.0, 7.0]]), [1], [0.0, 2.0]), [[-2.0, 7.0]])


def test_pooling_keeps_documents_apart() -> None:
    generator = np.random.default_rng(1)
    scores, lengths, sharpness = generator.normal(size=(9, 3)), [4, 1, 3, 1], [0.0, 0.7, 3.0]
    alone = [pool(part, [len(part)], sharpness)[0] for part in np.split(scores, np.cumsum(lengths)[:-1])]
    np.testing.assert_allclose(pool(scores, lengths, sharpness), alone)
    assert pool(scores[:0], [], sharpness).shape == (0, 3)


def test_pooling_is_scipys_logsumexp() -> None:
    scores = np.random.default_rng(2).normal(scale=5, size=(6, 2))
    expected = (logsumexp(scores * [0.5, 2.0], axis=0) - np.log(6)) / [0.5, 2.0]
    np.testing.assert_allclose(pool(scores, [6], [0.5, 2.0])[0], expected)


def test_pooling_survives_extreme_scores() -> None:
    pooled = pool(np.array([[1e4], [-1e4]]), [2], [4.0])
    np.testing.assert_allclose(pooled, [[1e4]], rtol=1e-4)


def test_probability_of_a_label_includes_relevance() -> None:
    result = probabilities(np.array([[0.0, 0.0]]), np.ones(2), np.array([0.0, np.log(3)]))
    np.testing.assert_allclose(result, [[0.5, 0.5 * 0.75]])


def test_likeness_compares_with_definition_and_best_rule() -> None:
    vectors = np.eye(3, dtype=np.float32)
    # Label 0: definition x, rules y and z. Label 1: definition y alone.
    definitions = Definitions(vectors[[0, 1, 2, 1]], np.array([0, 0, 0, 1]))
    found = definitions.likenesses(np.array([[0.6, 0.8, 0.0]], dtype=np.float32))
    expected = LIKENESS_SCALE * np.array([[[0.6, 0.8], [0.8, 0.8]]])
    np.testing.assert_allclose(found, expected, atol=1e-6)


class Rough:
    """An encoder that is a little off."""

    size = WordEncoder.size

    def encode(self, texts):  # type: ignore[no-untyped-def]
        return WordEncoder().encode(texts) + np.float32(0.003)


def test_only_documents_near_a_bound_are_scored_again_by_the_finer_encoder(fruit: Codebook) -> None:
    rng = np.random.default_rng(0)
    documents = [Document(" ".join(rng.choice(WORDS, 6)), (" ".join(rng.choice(WORDS, 9)),)) for _ in range(60)]
    fine = toy_model(codebook=fruit).tagger
    rough = replace(fine, encoder=Rough())
    asked: list[int] = []
    found = replace(rough, finer=lambda: asked.append(1) or fine.encoder).tag(documents)  # type: ignore[func-returns-value]
    # Bounds of the toy model: a third and two thirds.
    chances = np.array([one.probabilities for one in rough.tag(documents)])
    near = (np.minimum(abs(chances - 1 / 3), abs(chances - 2 / 3)) <= 0.05).any(axis=1)
    assert 5 < near.sum() < 55
    by_fine = dict(zip(np.flatnonzero(near), fine.tag([documents[row] for row in np.flatnonzero(near)]), strict=True))
    for row, (one, by_rough) in enumerate(zip(found, rough.tag(documents), strict=True)):
        expected = by_fine.get(row, by_rough)
        np.testing.assert_array_equal(one.probabilities, expected.probabilities)
        np.testing.assert_array_equal(one.unit_scores, expected.unit_scores)
        assert one.decisions == expected.decisions
    assert asked == [1]


def test_the_finer_encoder_is_not_made_where_no_document_is_close(fruit: Codebook) -> None:
    tagger = toy_model(codebook=fruit).tagger
    far = replace(tagger.calibration, low=np.full(4, -1.0), high=np.full(4, 2.0))
    sure = replace(tagger, calibration=far, finer=lambda: pytest.fail("made"))
    found = sure.tag([Document("apple"), Document("pear")])
    assert [one.decisions for one in found] == [("refer",) * 4] * 2
