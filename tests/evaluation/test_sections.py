"""Test the metrics of evidence, coverage and risk, and the bounds below and above which labels are decided."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

from mechtag.evaluation.metrics import Judged, as_it_is, pooled_figures
from mechtag.evaluation.resampling import draw_resamples
from mechtag.evaluation.sections import confidence, evidence_section, pooled_section, rank_evidence, risk_by_coverage
from mechtag.models.scoring import decide
from mechtag.training.calibration import refer_band


def judged(probability, truth, threshold=0.5, referred=None):
    probability, truth = np.array(probability, float), np.array(truth, float)
    levels = np.broadcast_to(np.array(threshold, float), truth.shape)
    none = np.zeros(truth.shape, bool)
    return Judged(
        truth=truth,
        score=probability,
        probability=probability,
        decided=probability >= levels,
        referred=none if referred is None else np.array(referred, bool),
        threshold=levels,
    )


def test_confidence_is_the_share_of_the_way_to_certainty():
    case = judged([[0.2, 0.9, 0.5], [0.0, 1.0, 0.8]], np.zeros((2, 3)), threshold=[[0.4, 0.8, 0.5]])
    np.testing.assert_allclose(confidence(case), [[0.5, 0.5, 0.0], [1.0, 1.0, 0.6]])


def test_a_probability_at_a_threshold_of_one_is_certain():
    np.testing.assert_allclose(confidence(judged([[1.0, 0.5]], [[1, 0]], threshold=1.0)), [[1.0, 0.5]])


def test_risk_rises_if_uncertain_decisions_are_wrong():
    case = judged([[0.9], [0.8], [0.6], [0.45], [0.1]], [[1], [1], [0], [1], [0]])
    assert risk_by_coverage(case) == [
        (0.4, 0.0, 2),  # 0.9 and 0.1 are equally sure, and stay together
        (0.6, 0.0, 3),
        (0.8, pytest.approx(1 / 4), 4),
        (1.0, pytest.approx(2 / 5), 5),
    ]


def test_risk_at_full_coverage_is_the_hamming_loss():
    generator = np.random.default_rng(4)
    truth = generator.integers(0, 2, (30, 4)).astype(float)
    truth[3, 1] = np.nan
    case = judged(generator.random((30, 4)), truth)
    points = risk_by_coverage(case)
    assert points[-1][0] == 1.0
    assert points[-1][1] == pytest.approx(float(pooled_figures(case, as_it_is(truth))["hamming_loss"][0]))
    assert points[-1][2] == 119
    assert len(points) == 10


def test_systems_without_probabilities_have_no_curve():
    assert risk_by_coverage(judged(np.full((3, 2), np.nan), np.ones((3, 2)))) == []


def test_shares_of_right_answers_leave_referred_cases_out():
    case = judged(
        [[0.9, 0.8, 0.6, 0.2, 0.1, 0.4]], [[1, 0, 0, 0, 1, 1]], referred=[[False, False, True, False, False, True]]
    )
    figures = pooled_figures(case, as_it_is(case.truth))
    assert figures["yes_right"][0] == 0.5
    assert figures["no_right"][0] == 0.5
    assert figures["referred"][0] == pytest.approx(2 / 6)


def test_evidence_agrees_with_scikit_learn_paper_by_paper():
    generator = np.random.default_rng(5)
    owner = np.repeat(np.arange(12), generator.integers(1, 9, 12))
    truth = (generator.random((len(owner), 3)) < 0.3).astype(float)
    score = np.round(generator.random((len(owner), 3)), 1)
    found = rank_evidence(truth, score, owner)
    expected = [
        (paper, label, average_precision_score(truth[owner == paper, label], score[owner == paper, label]))
        for paper in range(12)
        for label in range(3)
        if truth[owner == paper, label].any()
    ]
    assert list(zip(found.paper, found.label, strict=True)) == [(paper, label) for paper, label, _ in expected]
    np.testing.assert_allclose(found.average_precision, [average for *_, average in expected])


def test_first_sentence_is_right_or_wrong_or_half_right_on_a_tie():
    truth = np.array([[1.0], [0.0], [0.0], [1.0], [1.0], [0.0]])
    score = np.array([[2.0], [1.0], [5.0], [3.0], [7.0], [7.0]])
    found = rank_evidence(truth, score, [0, 0, 1, 1, 2, 2])
    assert found.precision_at_1.tolist() == [1.0, 0.0, 0.5]
    assert found.chance.tolist() == [0.5, 0.5, 0.5]
    section = evidence_section(truth, score, [0, 0, 1, 1, 2, 2], draw_resamples(3, 200, 1, np.random.default_rng(0)))
    assert section["papers_and_labels"] == 3
    assert section["precision_at_1"]["value"] == pytest.approx(0.5)
    assert section["precision_at_1"]["ci_low"] < 0.5 < section["precision_at_1"]["ci_high"]


def test_papers_whose_sentences_were_not_judged_are_left_out_of_the_evidence():
    truth = np.array([[1.0], [0.0], [np.nan], [np.nan]])
    found = rank_evidence(truth, np.array([[2.0], [1.0], [5.0], [3.0]]), [0, 0, 1, 1])
    assert (found.paper.tolist(), found.average_precision.tolist()) == ([0], [1.0])


def test_evidence_without_coded_sentences_is_noted():
    section = evidence_section(
        np.zeros((2, 1)), np.zeros((2, 1)), [0, 1], draw_resamples(2, 100, 1, np.random.default_rng(0))
    )
    assert section["precision_at_1"]["value"] is None
    assert section["undefined"]["precision_at_1"] == "no sentence has any label"


def test_band_by_hand():
    """Eleven right decisions are the fewest that reach 80% with 90% confidence.

    The lower bound for eleven of eleven is the eleventh root of 0.1, which is 0.811; for ten of ten it is 0.794.
    """
    chances = np.linspace(0.01, 0.99, 40)
    targets = np.repeat([0.0, 1.0, 0.0, 1.0], [11, 9, 10, 10])
    low, high = refer_band(chances, targets, 0.8)
    assert (low, high) == (chances[11], float("inf"))
    targets[29] = 1.0
    assert refer_band(chances, targets, 0.8) == (chances[11], chances[29])


def test_nothing_is_decided_if_no_bound_is_precise_enough():
    low, high = refer_band(np.array([0.2, 0.4, 0.6]), np.array([0.0, 0.0, 1.0]), 0.9)
    assert (low, high) == (0.0, float("inf"))
    assert decide(1.0, low, high) == decide(0.0, low, high) == "refer"


@given(
    arrays(np.float64, st.integers(2, 60), elements=st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])),
    st.randoms(use_true_random=False),
    st.sampled_from([0.6, 0.8, 0.9]),
)
def test_decisions_outside_the_band_are_precise_enough(chances, random, precision):
    targets = np.array([float(random.random() < chance) for chance in chances])
    low, high = refer_band(chances, targets, precision)

    def sure(right):
        return len(right) > 0 and binomtest(int(right.sum()), len(right), precision, "greater").pvalue <= 0.1

    assert low == 0 or sure(1 - targets[chances < low])
    assert high == float("inf") or sure(targets[chances >= high])
    # A narrower band would not be precise enough.
    for cut in np.unique(chances):
        assert cut >= high or not sure(targets[chances >= cut])
        assert cut <= low or not sure(1 - targets[chances < cut])
    assert low > chances.max() or not sure(1 - targets)


def test_decided_cases_of_new_papers_are_right_as_often_as_promised():
    generator = np.random.default_rng(8)
    right, decided = 0, 0
    for _ in range(200):
        chances = generator.random((2, 300))
        targets = (generator.random((2, 300)) < chances**2).astype(float)
        _, high = refer_band(chances[0], targets[0], 0.8)
        decided += int((chances[1] >= high).sum())
        right += int(targets[1][chances[1] >= high].sum())
    assert right / decided >= 0.8


@pytest.mark.parametrize(("chance", "said"), [(0.29, "no"), (0.3, "refer"), (0.59, "refer"), (0.6, "yes")])
def test_decisions_at_the_edges_of_the_band(chance, said):
    assert decide(chance, 0.3, 0.6) == said


def test_papers_that_nobody_judged_are_not_counted():
    nan = np.nan
    case = judged([[0.2, 0.9], [0.6, 0.1], [0.7, 0.3]], [[0, 1], [1, nan], [nan, nan]])
    found = pooled_section(case, draw_resamples(3, 20, 20, np.random.default_rng(0)))
    assert found["papers"] == 2
    assert found["pooled"]["subset_accuracy"]["value"] == 1
