"""Test that the ranker learns from labels, that it is fast, and that vectors are computed once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from mechtag.core.errors import MechtagError
from mechtag.models.encoder import Vectors
from mechtag.pipeline.screening.search import Ranker, Search, encode_cached, word_weights
from mechtag.pipeline.screening.simulation import draw_priors, rank_unread, reading_order
from tests.support.toy import WordEncoder

FILLERS = "the and of with from study results people town garden year care health team staff".split()


def made(count: int, relevant: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return ``count`` texts and their labels. Each relevant text names a fruit, apple or pear."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation([1] * relevant + [0] * (count - relevant))
    texts = []
    for number, label in enumerate(labels):
        words = [*generator.choice(FILLERS, 12), f"w{number % 7}"]
        words += [("apple", "pear")[number % 2]] * 2 if label else ["stone", "gravel"]
        texts.append(" ".join(words))
    return texts, labels


@pytest.fixture(scope="module")
def search() -> tuple[Ranker, np.ndarray]:
    texts, labels = made(120, 12)
    return Ranker(texts, WordEncoder().encode(texts)), labels


def known(labels: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    found = np.full(len(labels), np.nan)
    found[list(rows)] = labels[list(rows)]
    return found


def test_learns_from_one_record_of_each_kind(search: tuple[Ranker, np.ndarray]) -> None:
    ranker, labels = search
    seen = known(labels, [int(np.flatnonzero(labels == 1)[0]), int(np.flatnonzero(labels == 0)[0])])
    top = rank_unread(ranker.scores(seen), seen)[:5]
    assert labels[top].sum() >= 4  # By chance, one in ten would be relevant.


def test_labels_not_judged_teach_nothing(search: tuple[Ranker, np.ndarray]) -> None:
    ranker, labels = search
    rows = draw_priors(labels, np.random.default_rng(0))
    assert ranker.scores(known(labels, rows)) == pytest.approx(ranker.scores(known(labels, rows[::-1])))


def test_score_is_the_sum_of_two_standardised_classifiers() -> None:
    texts, labels = made(60, 10, seed=4)
    vectors = WordEncoder().encode(texts)
    seen = known(labels, range(0, 60, 3))
    judged = ~np.isnan(seen)
    targets = labels[judged]
    # The class balance of ELAS u4: the total weight of irrelevant examples is 1 / 9.8 of that of relevant ones.
    weight = np.where(targets == 1, 1, (targets == 1).sum() / (9.8 * (targets == 0).sum()))
    weight *= len(targets) / weight.sum()
    centred = vectors.astype(float) - vectors.astype(float).mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    expected = np.zeros(60)
    for view in (word_weights(texts), centred):
        model = LinearSVC(C=0.2, max_iter=100_000, tol=1e-8).fit(view[judged], targets, sample_weight=weight)
        scores = model.decision_function(view)
        expected += (scores - scores[~judged].mean()) / scores[~judged].std()
    assert Ranker(texts, vectors).scores(seen) == pytest.approx(expected, abs=0.02)


def test_word_weights_are_bm25() -> None:
    texts = ["apple apple pear", "apple stone", "pear stone stone stone stone", "pear"]
    # Terms in at least two texts: apple (2 texts), pear (3) and stone (2); no pair of words occurs in two.
    counts = np.array([[2, 1, 0], [1, 0, 1], [0, 1, 4], [0, 1, 0]])
    expected = np.zeros(counts.shape)
    mean_length = counts.sum() / 4
    for row, term in zip(*counts.nonzero(), strict=True):
        holders = (counts[:, term] > 0).sum()
        length = counts[row].sum() / mean_length
        saturated = counts[row, term] * 2.2 / (counts[row, term] + 1.2 * (0.25 + 0.75 * length))
        expected[row, term] = np.log(1 + (4 - holders + 0.5) / (holders + 0.5)) * saturated
    expected /= np.sqrt((expected**2).sum() / 4)
    assert word_weights(texts).toarray() == pytest.approx(expected)


def test_with_relevant_records_only_the_mean_similarity_ranks() -> None:
    vectors = WordEncoder().encode(["apple", "pear", "apple orchard", "pear perry", "stone"])
    search = Search([], [], vectors, vectors[4])
    expected = np.mean([vectors @ vectors[0], vectors @ vectors[1]], axis=0)
    assert search.scores(np.array([1, 1, np.nan, np.nan, np.nan])) == pytest.approx(expected, abs=1e-6)


def test_one_kind_of_label_is_refused(search: tuple[Ranker, np.ndarray]) -> None:
    ranker, labels = search
    with pytest.raises(MechtagError, match="include 1 relevant and 0 irrelevant records"):
        ranker.scores(known(labels, [int(np.flatnonzero(labels == 1)[0])]))
    with pytest.raises(MechtagError, match="include 0 relevant and 0 irrelevant records"):
        ranker.scores(known(labels, []))


@pytest.mark.parametrize("texts", [["", "", ""], ["a", "a"], ["same words", "same words", "same words"], ["one text"]])
def test_texts_without_distinguishing_words_get_finite_scores(texts: list[str]) -> None:
    matrix = word_weights(texts)
    assert matrix.shape[0] == len(texts)
    if len(texts) > 1:
        labels = np.full(len(texts), np.nan)
        labels[:2] = (1, 0)
        assert np.isfinite(Ranker(texts, np.ones((len(texts), 4), dtype=np.float32)).scores(labels)).all()


def test_every_record_judged_still_gives_scores(search: tuple[Ranker, np.ndarray]) -> None:
    ranker, labels = search
    assert np.isfinite(ranker.scores(labels.astype(float))).all()


def test_texts_and_vectors_must_match() -> None:
    with pytest.raises(ValueError, match=r"found 2 texts but 3 vectors"):
        Ranker(["a", "b"], np.ones((3, 4), dtype=np.float32))


def test_reading_order_reads_everything_once_and_learns(search: tuple[Ranker, np.ndarray]) -> None:
    ranker, labels = search
    priors = draw_priors(labels, np.random.default_rng(1))
    found = []
    order = reading_order(ranker, labels, priors, on_progress=found.append)
    assert order[:2].tolist() == priors.tolist()
    assert sorted(order) == list(range(len(labels)))
    assert sum(found) == labels.sum() - 1
    # All 11 left are found within the first 20, which no order that does not learn would do.
    assert labels[order[2:22]].sum() == 11


def test_reading_order_ranks_again_after_each_batch() -> None:
    class Counting:
        calls = 0

        def scores(self, labels: np.ndarray) -> np.ndarray:
            self.calls += 1
            return np.zeros(len(labels))

    labels = np.array([1, 0, 0, 0, 0, 0, 0, 1, 0, 0])
    counting = Counting()
    order = reading_order(counting, labels, np.array([0, 1]), batch=3)
    assert order.tolist() == list(range(10))  # Equal scores: in the order of the rows.
    assert counting.calls == 3  # Rows 2-4, 5-7, and the rest once the last relevant one was found.


@pytest.mark.parametrize("labels", [[1, 0, 0], [1, 1, 0], [1, 1], [0, 0]])
def test_reviews_with_nothing_to_find_have_no_priors(labels: list[int]) -> None:
    with pytest.raises(MechtagError, match="at least two of each; add"):
        draw_priors(np.array(labels), np.random.default_rng(0))


@pytest.mark.slow
def test_ranks_ten_thousand_records_in_two_seconds() -> None:
    generator = np.random.default_rng(0)
    words = [f"word{number}" for number in range(20_000)]
    share = 1 / np.arange(1, len(words) + 1)  # Zipf's law, as words of texts have.
    drawn = generator.choice(len(words), size=(10_000, 200), p=share / share.sum())
    texts = [" ".join(words[word] for word in row) for row in drawn]
    ranker = Ranker(texts, generator.normal(size=(10_000, 384)).astype(np.float32))
    for judged in (20, 1_000, 5_000):
        labels = np.full(10_000, np.nan)
        labels[:judged] = generator.random(judged) < 0.1
        labels[:2] = (1, 0)
        start = time.process_time()
        ranker.scores(labels)
        assert time.process_time() - start < 2


class Loader:
    """Toy encoder that keeps the texts that it encoded, and counts how often it was loaded."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.loads = 0

    @property
    def size(self) -> int:
        return WordEncoder.size

    def load(self) -> Loader:
        self.loads += 1
        return self

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.texts.extend(texts)
        return WordEncoder().encode(texts)


def test_vectors_are_computed_once(tmp_path: Path) -> None:
    loader, path, done = Loader(), tmp_path / "v.npz", list[int]()
    texts = ["apple", "pear tree", "apple", "a long text of stone"]
    first = encode_cached(loader.load, "e1", texts, path)
    assert sorted(loader.texts) == sorted(set(texts))
    again = encode_cached(loader.load, "e1", [*texts[::-1], "plum"], path, done.append)
    assert loader.texts[3:] == ["plum"]
    assert np.array_equal(again[:4], first[::-1])
    assert np.array_equal(first, WordEncoder().encode(texts))
    assert sum(done) == 5
    encode_cached(loader.load, "e1", texts, path)
    assert loader.loads == 2  # Nothing was missing, so no encoder was loaded.


def test_vectors_of_another_encoder_are_dropped(tmp_path: Path) -> None:
    loader, path = Loader(), tmp_path / "v.npz"
    encode_cached(loader.load, "e1", ["apple"], path)
    encode_cached(loader.load, "e2", ["apple"], path)
    assert loader.texts == ["apple", "apple"]


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def not_npz(path: Path) -> None:
    path.write_text("no vectors", encoding="utf-8")


def wrong_shape(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, encoder=np.array("e1"), digests=np.zeros((2, 3), np.uint8), vectors=np.zeros((2, 4), np.float32))


def pickled(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, encoder=np.array("e1"), digests=np.array([{}]), vectors=np.zeros((1, 4), np.float32))


@pytest.mark.parametrize("harm", [damaged, not_npz, wrong_shape, pickled])
def test_a_damaged_file_of_vectors_is_written_again(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    loader, path = Loader(), tmp_path / "v.npz"
    expected = encode_cached(loader.load, "e1", ["apple"], path)
    harm(path)
    assert np.array_equal(encode_cached(loader.load, "e1", ["apple"], path), expected)
    assert loader.texts == ["apple", "apple"]


def test_an_interrupted_encoding_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechtag.pipeline.screening.search._CHUNK", 2)

    class Breaking(Loader):
        def encode(self, texts: Sequence[str]) -> Vectors:
            if len(self.texts) == 4:
                raise OSError("power cut")
            return super().encode(texts)

    texts = [f"word{number}" for number in range(6)]
    with pytest.raises(OSError, match="power cut"):
        encode_cached(Breaking().load, "e1", texts, tmp_path / "v.npz")
    loader = Loader()
    encode_cached(loader.load, "e1", texts, tmp_path / "v.npz")
    assert len(loader.texts) == 2
