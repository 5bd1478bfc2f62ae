from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logsumexp
from sklearn.feature_extraction.text import TfidfVectorizer

from mechtag.core.codebook import Codebook
from mechtag.models.features import Definitions, Words
from mechtag.models.scoring import (
    GAMMA,
    SHARPNESS,
    Calibration,
    RelevanceHead,
    mean,
    pool_scores,
    probabilities,
)
from mechtag.models.tagger import Document, Heads, Tagger, score_documents
from tests.support.batches import WORDS, toy_model
from tests.support.toy import WordEncoder


def test_pooling_one_unit_gives_its_score() -> None:
    np.testing.assert_allclose(pool_scores(np.array([[-2.0, 7.0]]), [1]), [[-2.0, 7.0]])


def test_pooling_keeps_documents_apart() -> None:
    scores, lengths = np.random.default_rng(1).normal(size=(9, 3)), [4, 1, 3, 1]
    alone = [pool_scores(part, [len(part)])[0] for part in np.split(scores, np.cumsum(lengths)[:-1])]
    np.testing.assert_allclose(pool_scores(scores, lengths), alone)
    assert pool_scores(scores[:0], []).shape == (0, 3)


@pytest.mark.parametrize("sharpness", [0.5, SHARPNESS, 4.0])
def test_pooling_equals_logsumexp_of_scipy(sharpness: float) -> None:
    scores = np.random.default_rng(2).normal(scale=5, size=(6, 2))
    expected = logsumexp(scores * sharpness, axis=0) / sharpness
    np.testing.assert_allclose(pool_scores(scores, [6], sharpness)[0], expected)
    if sharpness == SHARPNESS:
        np.testing.assert_allclose(pool_scores(scores, [6])[0], expected)


def test_pooling_survives_extreme_scores() -> None:
    np.testing.assert_allclose(pool_scores(np.array([[1e4], [-1e4]]), [2], 4.0), [[1e4]])
    np.testing.assert_allclose(pool_scores(np.array([[-1e4], [-1e4]]), [2], 1.0), [[np.log(2) - 1e4]])


SCORES = arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-15, 15))


@given(SCORES)
def test_pooling_is_never_below_the_best_unit_nor_far_above(scores: np.ndarray) -> None:
    pooled = pool_scores(scores, [len(scores)])[0]
    best = scores.max(axis=0)
    assert (pooled >= best - 1e-9).all()
    assert (pooled <= best + np.log(len(scores)) / SHARPNESS + 1e-9).all()


@given(SCORES, st.integers(0, 30))
def test_units_that_do_not_count_and_clearly_lower_ones_change_nothing(scores: np.ndarray, place: int) -> None:
    alone = pool_scores(scores, [len(scores)])
    silent = np.insert(scores, min(place, len(scores)), -np.inf, axis=0)
    np.testing.assert_allclose(pool_scores(silent, [len(silent)]), alone, rtol=0, atol=1e-12)
    # Twenty sentences with far lower scores do not change the result.
    weak = np.vstack([scores, np.repeat(scores.max(axis=0, keepdims=True) - 20, 20, axis=0)])
    np.testing.assert_allclose(pool_scores(weak, [len(weak)]), alone, rtol=0, atol=1e-6)


def test_mean_equals_that_of_numpy_for_each_document() -> None:
    values = np.random.default_rng(3).normal(size=(8, 2))
    expected = [part.mean(axis=0) for part in np.split(values, [4, 5])]
    np.testing.assert_allclose(mean(values, [4, 1, 3]), expected)
    assert mean(values[:0], []).shape == (0, 2)


def test_pooling_parts_into_units_and_these_into_documents_is_pooling_all_at_once() -> None:
    parts = np.random.default_rng(4).normal(size=(9, 2))
    parts[[2, 3, 6]] = -np.inf  # No part of the second unit counts.
    units = pool_scores(parts, [2, 2, 1, 1, 3])
    assert np.isneginf(units[1]).all()
    assert np.isfinite(units[[0, 2, 3, 4]]).all()
    np.testing.assert_allclose(pool_scores(units, [3, 2]), pool_scores(parts, [5, 4]))
    assert np.isneginf(pool_scores(parts[2:4], [2])).all()


def test_documents_are_scored_by_their_whole_text_and_their_units() -> None:
    units = np.random.default_rng(5).normal(size=(5, 3))
    units[[1, 4]] = -np.inf
    found = score_documents(np.array([7.0, -7.0]), units, np.array([3, 2]))
    labels = [logsumexp(SHARPNESS * own[:, 1:], axis=0) / SHARPNESS for own in (units[[0, 2]], units[[3]])]
    np.testing.assert_allclose(found, np.hstack([[[7.0], [-7.0]], labels]))


def test_probability_of_a_label_includes_relevance() -> None:
    chances, given_relevant = probabilities(np.array([[0.0, 0.0], [0.0, np.nan]]), np.ones(2), np.array([0, np.log(3)]))
    np.testing.assert_allclose(chances, [[0.5, 0.5 * 0.75], [0.5, np.nan]])
    np.testing.assert_allclose(given_relevant, [[0.75], [np.nan]])


@pytest.mark.parametrize(
    ("chances", "expected"),
    [
        ((0.9, 0.9, 0.5, 0.1), ("yes", "yes", "refer", "no")),
        # Relevance needs review: the labels keep their decisions.
        ((0.5, 0.9, 0.5, 0.1), ("refer", "yes", "refer", "no")),
        # Relevance is a no: all labels become no.
        ((0.1, 0.9, 0.5, 0.1), ("no", "no", "no", "no")),
        ((0.9, np.nan, 0.9, np.nan), ("yes", "no", "yes", "no")),
        ((0.1, np.nan, np.nan, np.nan), ("no", "no", "no", "no")),
    ],
)
def test_where_relevance_is_a_no_so_is_every_label(chances: tuple[float, ...], expected: tuple[str, ...]) -> None:
    third = np.full(4, 1 / 3)
    calibration = Calibration(np.ones(4), np.zeros(4), third, third, 2 * third)
    assert calibration.decide(np.array(chances)) == expected


def test_heads_add_up_vectors_roles_words_and_intercepts() -> None:
    words = Words(("apple", "apple pie"), np.array([1.5, 2.0]))
    rng = np.random.default_rng(6)
    definitions = Definitions(rng.normal(size=3), rng.normal(size=(2, 3)), rng.normal(size=3))
    head = RelevanceHead(
        direction=rng.normal(size=3),
        vectors=np.eye(2, 3, dtype=np.float16),
        weights=rng.normal(size=2),
        word_weights=rng.normal(size=2),
        intercept=0.3,
    )
    heads = Heads(head, rng.normal(size=(2, 4)), words, rng.normal(size=(2, 2)), rng.normal(size=2))
    texts, vectors, reports = ["an apple pie", "a pear"], np.eye(2, 3, dtype=np.float32)[::-1], np.array([2.0, -1.0])
    counts = TfidfVectorizer(ngram_range=(1, 2), vocabulary=words.terms, sublinear_tf=True)
    counts.idf_ = words.idf
    rows = counts.transform(texts).toarray()
    assert rows[0].all()
    for row in (0, 1):
        by_hand = heads.weights @ definitions.features(vectors[[row]], reports[[row]])[0] + heads.intercept
        by_hand += heads.word_weights @ rows[row]
        # The two support vectors are the texts, in reverse order.
        similar = head.weights[1 - row] + np.exp(-2 * GAMMA) * head.weights[row]
        relevance = vectors[row] @ head.direction + similar + head.word_weights @ rows[row] + 0.3
        found = heads.score_parts(vectors, definitions.features(vectors, reports), words.features(texts))[row]
        np.testing.assert_allclose(found, [relevance, *by_hand])
        assert heads.score_wholes(vectors, texts)[row] == pytest.approx(relevance)


def some_documents() -> list[Document]:
    rng = np.random.default_rng(0)
    return [Document(" ".join(rng.choice(WORDS, 6)), (" ".join(rng.choice(WORDS, 9)),)) for _ in range(60)]


class Rough:
    """Encoder whose vectors are slightly wrong."""

    size = WordEncoder.size

    def encode(self, texts):  # type: ignore[no-untyped-def]
        return WordEncoder().encode(texts) + np.float32(0.003)


def test_only_documents_near_a_bound_are_scored_again_by_the_finer_encoder(fruit: Codebook) -> None:
    documents = some_documents()
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


@pytest.fixture
def divided(fruit: Codebook) -> Tagger:
    """Return a toy model that calls about half of ``some_documents`` irrelevant."""
    tagger = toy_model(codebook=fruit).tagger
    chances = [one.probabilities[0] for one in tagger.tag(some_documents())]
    low = tagger.calibration.low.copy()
    low[0] = np.median(chances)
    return replace(tagger, calibration=replace(tagger.calibration, low=low))


def test_labels_of_clearly_irrelevant_documents_are_left_out_and_nothing_else_changes(divided: Tagger) -> None:
    documents = some_documents()
    everything, quick = divided.tag(documents), replace(divided, score_all=False).tag(documents)
    irrelevant = 0
    for whole, part in zip(everything, quick, strict=True):
        assert (part.scores[0], part.probabilities[0]) == (whole.scores[0], whole.probabilities[0])
        assert (part.decisions, part.unlike) == (whole.decisions, whole.unlike)
        if whole.probabilities[0] < divided.calibration.low[0]:
            irrelevant += 1
            assert part.decisions == ("no",) * 4
            assert np.isnan([*part.scores[1:], *part.probabilities[1:], *part.given_relevant]).all()
            assert part.unit_scores.shape == (0, 4)
            assert not np.isnan([*whole.scores, *whole.probabilities, *whole.given_relevant]).any()
            assert whole.unit_scores.shape == (2, 4)
            continue
        for name in ("scores", "probabilities", "given_relevant", "unit_scores"):
            np.testing.assert_allclose(getattr(part, name), getattr(whole, name), rtol=1e-12)
    assert 20 < irrelevant < 40


def test_where_all_documents_are_clearly_irrelevant_no_sentence_is_encoded(
    divided: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    encode = type(divided.encoder).encode
    monkeypatch.setattr(type(divided.encoder), "encode", lambda own, texts: seen.extend(texts) or encode(own, texts))
    low = divided.calibration.low.copy()
    low[0] = 1.0
    strict = replace(divided, calibration=replace(divided.calibration, low=low), score_all=False)
    found = strict.tag([Document("apple orchard", ("pear perry",)), Document("plum")])
    assert seen == ["apple orchard. pear perry", "plum"]
    assert [one.decisions for one in found] == [("no",) * 4] * 2
    assert [one.unit_scores.shape for one in found] == [(0, 4)] * 2
    assert strict.tag([]) == []


def test_a_text_whose_first_words_are_clearly_irrelevant_is_not_read_further(
    divided: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    encode = type(divided.encoder).encode
    monkeypatch.setattr(type(divided.encoder), "encode", lambda own, texts: seen.extend(texts) or encode(own, texts))
    monkeypatch.setattr("mechtag.models.tagger.GLANCE_WORDS", 2)
    chance = {
        text: divided.calibration.relevance(divided.heads.score_wholes(encode(divided.encoder, [text]), [text]))[0]
        for text in ("apple orchard", "pear perry")
    }
    (far, _), (near, bound) = sorted(chance.items(), key=lambda item: item[1])
    low = divided.calibration.low.copy()
    low[0] = bound  # The far text is below GLANCE_SHARE of this bound, the near one is not.
    monkeypatch.setattr("mechtag.models.tagger.GLANCE_SHARE", (chance[far] + bound) / 2 / bound)
    quick = replace(divided, calibration=replace(divided.calibration, low=low), score_all=False)
    documents = [Document(f"{far} plum"), Document(f"{near} plum"), Document(far), Document(near)]
    found = quick.tag(documents)
    assert seen[:5] == [far, near, far, near, f"{near} plum"]
    assert f"{far} plum" not in seen
    assert found[0].scores[0] == found[2].scores[0]  # The score of the first words, which decided about the text.
    everything = replace(quick, score_all=True).tag(documents)
    # The last bit of a product may depend on the number of rows.
    expected = [one.scores[0] for one in everything[1:]]
    assert [one.scores[0] for one in found[1:]] == pytest.approx(expected, rel=1e-12)
    assert found[0].decisions == ("no",) * 4
    assert found[1].scores[0] != found[3].scores[0]


def test_no_text_is_read_twice_if_the_lower_bound_is_zero(divided: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechtag.models.tagger.GLANCE_WORDS", 1)
    seen: list[str] = []
    encode = type(divided.encoder).encode
    monkeypatch.setattr(type(divided.encoder), "encode", lambda own, texts: seen.extend(texts) or encode(own, texts))
    low = divided.calibration.low.copy()
    low[0] = 0.0
    replace(divided, calibration=replace(divided.calibration, low=low), score_all=False).tag([Document("apple pear")])
    assert seen == ["apple pear", "apple pear"]  # The whole text, then the title as a unit.


def test_probability_of_a_label_is_that_of_relevance_times_its_own(divided: Tagger) -> None:
    own = divided.calibration
    for one in divided.tag(some_documents()):
        relevance, *labels = expit(own.slope * one.scores + own.intercept)
        np.testing.assert_allclose(one.given_relevant, labels)
        np.testing.assert_allclose(one.probabilities, [relevance, *(relevance * np.array(labels))])
