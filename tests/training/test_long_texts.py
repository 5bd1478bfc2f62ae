from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mechtag.core.settings import TrainSettings
from mechtag.models.scoring import pool_scores
from mechtag.models.windows import windows
from mechtag.training.calibration import definitions_calibration
from mechtag.training.dataset import NO_DOCUMENT, Corpus
from mechtag.training.finetuning.trainers import FrozenTrainer
from mechtag.training.heads import Fitted, HeldOut, calibrate, fit
from mechtag.training.long_texts import (
    FILLINGS,
    LongTexts,
    fixed_windows,
    learn_windows,
    make_long_texts,
    median_length,
    unit_codes,
)

SETTINGS = TrainSettings(folds=2)


@pytest.fixture(scope="module")
def fitted(fruit_corpus: Corpus, frozen: FrozenTrainer) -> Fitted:
    return fit(fruit_corpus, frozen, SETTINGS, seed=1)


@pytest.fixture(scope="module")
def long_texts(fruit_corpus: Corpus, fitted: Fitted) -> LongTexts:
    return make_long_texts(fruit_corpus, fitted.held_out, fitted.fold, seed=1)


def test_a_window_has_the_median_number_of_sentences(fruit_corpus: Corpus) -> None:
    # A quarter of the papers have two sentences, half have three, and a quarter have four.
    assert median_length(fruit_corpus) == 3


def test_long_texts_are_never_scored_lower_than_their_abstracts(long_texts: LongTexts) -> None:
    for filling in FILLINGS:
        for sentences in (1, 30, 90):
            scores, count = long_texts.scores(filling, sentences)
            assert (scores >= long_texts.abstracts).all()
            assert count == 1 + len(list(windows([sentences], 3)))


def test_the_correction_is_learned_and_never_positive(fruit_corpus: Corpus, fitted: Fitted) -> None:
    found = learn_windows(fruit_corpus, fitted.held_out, fitted.fold, fitted.calibration, SETTINGS, seed=1)
    assert found.size == 3
    assert (found.correction <= 0).all()
    assert (found.low <= fitted.calibration.threshold[1:]).all()
    assert (found.high >= fitted.calibration.threshold[1:]).all()
    # No paper has the label plum, so its correction is that of all labels together.
    assert found.correction[2] > -1


def of_papers(corpus: Corpus) -> Corpus:
    """Return the corpus as if its papers had been coded as a whole."""
    return replace(corpus, unit_targets=np.full(corpus.unit_targets.shape, np.nan))


def test_without_coded_sentences_a_label_is_padded_with_papers_that_lack_it(
    fruit_corpus: Corpus, frozen: FrozenTrainer
) -> None:
    uncoded = of_papers(fruit_corpus)
    fitted = fit(uncoded, frozen, SETTINGS, seed=1)
    # Each sentence is scored by the number of its paper, so that the scores show which papers fill the windows.
    document, _ = unit_codes(uncoded)
    numbered = np.where(document[:, None] == NO_DOCUMENT, np.nan, np.repeat(document[:, None], 4, axis=1).astype(float))
    alone = make_long_texts(
        uncoded, HeldOut(numbered, fitted.held_out.documents), fitted.fold, seed=1, sharpness=1000.0
    )
    codes = uncoded.document_targets
    for filling, relevant in zip(FILLINGS, (1, 0), strict=True):
        for label in range(3):
            used = np.unique(np.round(alone.filling[filling][:, :, label])).astype(int)
            assert (codes[used, 0] == relevant).all()
            assert relevant == 0 or (codes[used, 1 + label] == 0).all()
            assert len(used) > 3
    fold = fitted.fold
    for row, paper in enumerate(alone.papers):
        used = np.unique(np.round(alone.filling[FILLINGS[0]][row])).astype(int)
        assert (fold[used] == fold[paper]).all()
        assert paper not in used
    found = learn_windows(uncoded, fitted.held_out, fitted.fold, fitted.calibration, SETTINGS, seed=1)
    assert found.size == 3
    assert (found.correction <= 0).all()
    assert np.isfinite(found.high).any()


def test_sentences_that_were_coded_fill_windows_where_others_were_not(fruit_corpus: Corpus, fitted: Fitted) -> None:
    # Only one paper has coded sentences, and all relevant papers have the first label.
    units = np.where((fruit_corpus.document == 1)[:, None], fruit_corpus.unit_targets, np.nan)
    targets = fruit_corpus.document_targets.copy()
    targets[targets[:, 0] == 1, 1] = 1
    few = replace(fruit_corpus, unit_targets=units, document_targets=targets)
    found = make_long_texts(few, fitted.held_out, fitted.fold, seed=1)
    filled = ~np.isnan(found.filled[FILLINGS[0]]).any(axis=1)
    same = fitted.fold[found.papers] == fitted.fold[1]
    assert (filled[:, 0] == (same & (found.papers != 1))).all()
    assert filled[:, 2].all()


def test_papers_that_are_all_relevant_are_enough(fruit_corpus: Corpus, fitted: Fitted) -> None:
    kept = fruit_corpus.document_targets[:, 0] == 1
    relevant = of_papers(fruit_corpus.keep(kept))
    first = fruit_corpus.first_parts
    units = np.append(kept, True)[fruit_corpus.document[first]]
    held_out = HeldOut(fitted.held_out.units[units], fitted.held_out.documents[kept])
    texts = make_long_texts(relevant, held_out, fitted.fold[kept], seed=1)
    assert list(texts.filled) == [FILLINGS[0]]
    found = learn_windows(relevant, held_out, fitted.fold[kept], fitted.calibration, SETTINGS, seed=1)
    assert np.isfinite(found.high).any()


def test_where_no_paper_lacks_a_label_every_label_is_left_to_people(fruit_corpus: Corpus, fitted: Fitted) -> None:
    codes = fruit_corpus.document_targets
    all_yes = replace(of_papers(fruit_corpus), document_targets=np.where(codes == 0, np.nan, 1.0))
    none_relevant = replace(of_papers(fruit_corpus), document_targets=np.where(np.arange(4) == 0, 0.0, np.nan * codes))
    for corpus in (all_yes, none_relevant):
        found = learn_windows(corpus, fitted.held_out, fitted.fold, fitted.calibration, SETTINGS, seed=1)
        expected = fixed_windows(3, size=3)
        assert found.size == expected.size
        for name in ("correction", "low", "high"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_length_alone_is_no_reason_for_a_yes(fruit_corpus: Corpus, fitted: Fitted) -> None:
    # The toy scores separate without error; with noise, the best of many windows is high by chance.
    first = np.cumsum(fruit_corpus.n_parts) - fruit_corpus.n_parts
    codes, document = fruit_corpus.unit_targets[first], fruit_corpus.document[first]
    noisy = np.random.default_rng(3).normal(-3, 1.5, size=codes.shape) + 8 * (codes == 1)
    pooled = pool_scores(noisy[document != NO_DOCUMENT], np.bincount(document[document != NO_DOCUMENT]))
    pooled[:, 0] = fitted.held_out.documents[:, 0]
    held_out = HeldOut(noisy, pooled)
    everything = np.ones(fruit_corpus.n_documents, dtype=bool)
    calibration = calibrate(fruit_corpus, pooled, everything, SETTINGS)
    texts = make_long_texts(fruit_corpus, held_out, fitted.fold, seed=1)
    learned = learn_windows(fruit_corpus, held_out, fitted.fold, calibration, SETTINGS, seed=1)
    relevance = calibration.relevance(pooled[texts.papers, 0])

    def decided(scores: np.ndarray, count: int) -> np.ndarray:
        own = learned.of(calibration, count)
        given = 1 / (1 + np.exp(-(scores * own.slope[1:] + own.intercept[1:])))
        chances = np.hstack([relevance[:, None], relevance[:, None] * given])
        return np.array([own.decide(row) for row in chances])[:, 1:3]

    was_yes = (decided(texts.abstracts, 1) == "yes") & (fruit_corpus.document_targets[texts.papers, 1:3] == 1)
    assert was_yes.sum() > 10
    for sentences, least in ((30, 0.9), (90, 0.65)):
        for filling in FILLINGS:
            kept = decided(*texts.scores(filling, sentences))[was_yes]
            assert np.isin(kept, ("yes", "refer")).mean() >= least
            alone = decided(*texts.scores(filling, sentences, alone=True))
            assert (alone == "yes").mean() <= 0.05


def test_without_coded_records_every_decision_is_left_to_people() -> None:
    found = fixed_windows(2)
    fitted = definitions_calibration(2)
    for count in (2, 10, 1000):
        calibration = found.of(fitted, count)
        for chance in (0.0, 0.5, 1.0):
            assert calibration.decide(np.full(3, chance)) == ("refer",) * 3
    # More windows make a label less likely.
    assert (found.of(fitted, 64).intercept[1:] < found.of(fitted, 2).intercept[1:]).all()
    assert found.of(fitted, 64).intercept[0] == fitted.intercept[0]
