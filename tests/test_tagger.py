import numpy as np
from scipy.special import logsumexp

from models.calibration import probabilities
from models.features import LIKENESS_SCALE, Definitions
from models.pooling import pool


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
