"""Test that with few coded records, the out-of-fold ranking is about as good as the ranking of other records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.few_codes import drawn, values
from mechtag.core.arrays import Array
from mechtag.core.settings import TrainSettings
from mechtag.training.dataset import Corpus
from mechtag.training.finetuning.trainers import FrozenTrainer
from mechtag.training.heads import aligned, assign_folds, fit_folds, fit_heads, held_out_scores, score_texts

SETTINGS = TrainSettings(folds=4)


def _coded_at_random(corpus: Corpus, size: int, share: float, seed: int) -> Corpus:
    """Return ``size`` papers coded as relevant, with each label given to a random ``share`` of them."""
    generator = np.random.default_rng(seed)
    kept = np.zeros(corpus.n_documents, dtype=bool)
    kept[generator.permutation(corpus.n_documents)[:size]] = True
    small = corpus.keep(kept, exemplars=False)
    codes = np.ones(small.document_targets.shape)
    for column in range(1, codes.shape[1]):
        codes[:, column] = generator.permutation(size) < share * size
    return replace(small, document_targets=codes, unit_targets=np.full(small.unit_targets.shape, np.nan))


def _aucs(corpus: Corpus, scores: Array) -> list[float]:
    return [float(roc_auc_score(corpus.document_targets[:, c], scores[:, c])) for c in range(1, scores.shape[1])]


def test_codes_that_no_text_shows_are_ranked_as_by_chance(fruit_corpus: Corpus, frozen: FrozenTrainer) -> None:
    found = []
    for seed in range(6):
        corpus = _coded_at_random(fruit_corpus, 12, 0.25, seed)
        fold = assign_folds(corpus.document_targets[:, 0], SETTINGS.folds, seed)
        everything = np.ones(corpus.n_documents, dtype=bool)
        found += _aucs(corpus, held_out_scores(corpus, frozen, fold, everything, SETTINGS, seed).documents)
    # Without the shift of the intercepts, the mean is 0.36.
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_the_folds_have_the_same_mean_score_and_rankings_within_a_fold_stay(
    fruit_corpus: Corpus, frozen: FrozenTrainer
) -> None:
    everything = np.ones(fruit_corpus.n_documents, dtype=bool)
    fold = assign_folds(fruit_corpus.document_targets[:, 0], SETTINGS.folds, 1)
    learned = [fold != number for number in range(SETTINGS.folds)]
    before = [fit_heads(fruit_corpus, rows, SETTINGS) for rows in learned]
    after = [heads for _, heads in fit_folds(fruit_corpus, frozen, fold, everything, SETTINGS, 1)]
    for one, other in zip(after, aligned([fruit_corpus] * len(before), before, learned), strict=True):
        np.testing.assert_array_equal(one.intercept, other.intercept)
        assert one.relevance.intercept == other.relevance.intercept
    texts = np.ones(len(fruit_corpus.texts), dtype=bool)
    for one, other in zip(before, after, strict=True):
        shift = score_texts(fruit_corpus, other, texts) - score_texts(fruit_corpus, one, texts)
        np.testing.assert_allclose(shift[:, 1:], np.broadcast_to(other.intercept - one.intercept, shift[:, 1:].shape))
        np.testing.assert_array_equal(shift[:, 0], 0)
    # On average, the scores stay where they were, so that the scores of the final model are on the same scale.
    moved = np.mean([other.intercept - one.intercept for one, other in zip(before, after, strict=True)], axis=0)
    np.testing.assert_allclose(moved, 0, atol=1e-9)
    means = []
    for heads, rows in zip(after, learned, strict=True):
        pooled = fruit_corpus.score_documents(
            np.zeros(fruit_corpus.n_documents), score_texts(fruit_corpus, heads, texts)
        )
        judged = rows & ~np.isnan(fruit_corpus.document_targets[:, 1])
        means.append(pooled[judged, 1].mean())
    np.testing.assert_allclose(means, means[0])


def test_a_fold_that_learns_nothing_is_not_shifted(fruit_corpus: Corpus, frozen: FrozenTrainer) -> None:
    fold = assign_folds(fruit_corpus.document_targets[:, 0], SETTINGS.folds, 1)
    nothing = np.zeros(fruit_corpus.n_documents, dtype=bool)
    expected = fit_heads(fruit_corpus, nothing, SETTINGS)
    for _, heads in fit_folds(fruit_corpus, frozen, fold, nothing, SETTINGS, 1):
        np.testing.assert_array_equal(heads.intercept, expected.intercept)


def test_the_benchmark_compares_both_with_other_records(fruit_corpus: Corpus, frozen: FrozenTrainer) -> None:
    relevant = fruit_corpus.document_targets[:, 0] == 1
    chosen, rest = drawn(relevant, 12, 0)
    assert not (chosen & rest).any()
    assert (chosen.sum(), rest.sum(), (chosen | rest)[~relevant].any()) == (12, relevant.sum() - 12, False)
    kept = chosen | rest
    found = values(fruit_corpus.keep(kept), frozen, chosen[kept], SETTINGS)
    assert len(found) == 2  # nobody has coded the third label
    for true, before, after in found:
        assert abs(after - true) <= abs(before - true)
