from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.codebook import load_codebook
from mechtag.models.scoring import Calibration, pool_scores, probabilities
from mechtag.models.tagger import Document, LongDocument
from mechtag.models.windows import WindowCalibration, windows
from tests.support.batches import LABELS, project, toy_model

CALIBRATION = Calibration(*np.array([[1.0, 2.0], [0.5, -0.5], [0.5, 0.5], [0.2, 0.2], [0.8, 0.8]]))
LONG = WindowCalibration(
    4, np.array([-0.5, -0.25]), np.array([[0.1, 0.1], [0.05, 0.05]]), np.array([[0.7, 0.7], [0.9, np.inf]])
)


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(1, 20))
def test_every_sentence_is_in_one_or_two_windows_of_its_own_section(lengths: list[int], size: int) -> None:
    section = np.repeat(np.arange(len(lengths)), lengths)
    times = np.zeros(len(section), dtype=int)
    for window in windows(lengths, size):
        assert 1 <= len(window) <= size
        assert len(set(section[window.start : window.stop])) == 1
        times[window.start : window.stop] += 1
    assert set(times) <= {1, 2}


def test_a_short_section_is_one_window() -> None:
    assert list(windows([3, 0, 9, 10], 9)) == [range(3), range(3, 12), range(12, 21), range(17, 22)]


def test_a_single_window_has_the_calibration_of_abstracts() -> None:
    long = replace(LONG, correction=np.array([-0.5]), low=LONG.low[:, :1], high=LONG.high[:, :1])
    assert long.of(CALIBRATION, 1) is CALIBRATION


@pytest.mark.parametrize(("count", "power"), [(2, 1), (3, 2), (4, 2), (64, 2)])
def test_each_doubling_shifts_the_curve_and_selects_the_bounds(count: int, power: int) -> None:
    long = replace(LONG, correction=np.array([-0.5]), low=LONG.low[:, :1], high=LONG.high[:, :1])
    found = long.of(CALIBRATION, count)
    np.testing.assert_allclose(found.intercept, [0.5, -0.5 - 0.5 * np.log2(count)])
    assert found.intercept[0] == CALIBRATION.intercept[0]
    assert (found.low[0], found.high[0]) == (0.2, 0.8)
    assert (found.low[1], found.high[1]) == (long.low[power - 1, 0], long.high[power - 1, 0])
    assert (found.slope == CALIBRATION.slope).all()


def test_a_full_text_has_the_score_of_its_best_window_and_the_relevance_of_its_abstract(tmp_path) -> None:  # type: ignore[no-untyped-def]
    project(tmp_path, 1)
    tagger = replace(toy_model(codebook=load_codebook(tmp_path / "codebook.yaml")).tagger, long=LONG)
    abstract = Document("study of care", ("people and the garden.", "an orchard of apple."))
    others = (
        Document("study of care", ("the pear perry.", "the village.")),
        Document("study of care", ("apple cider.", "the village.")),
    )
    alone = tagger.tag([abstract, *others])
    (found, bare) = tagger.tag_long([LongDocument(abstract, others), LongDocument(abstract, ())])
    best = np.stack([one.scores[1:] for one in alone]).max(axis=0)
    np.testing.assert_allclose(found.whole.scores, [alone[0].scores[0], *best])
    for one, scored in zip(found.windows, alone[1:], strict=True):
        np.testing.assert_allclose(pool_scores(one[:, 1:], [len(one)])[0], scored.scores[1:])
    shifted = LONG.of(tagger.calibration, 3)
    chances, _ = probabilities(found.whole.scores[None], shifted.slope, shifted.intercept)
    np.testing.assert_array_equal(found.whole.probabilities, chances[0])
    assert found.whole.decisions == shifted.decide(chances[0])
    # A full text without scored sections is its abstract.
    np.testing.assert_allclose(bare.whole.probabilities, alone[0].probabilities)
    assert bare.whole.decisions == alone[0].decisions
    assert len(LABELS) == len(best)
