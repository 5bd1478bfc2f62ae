"""Kappa and alpha beside hand-worked cases, scikit-learn and the krippendorff package."""

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from evaluation.agreement import cohen_kappa, krippendorff_alpha, ratio


def counts(first, second):
    cells = (first & second, ~first & second, first & ~second, ~first & ~second)
    return [np.array([cell.sum()]) for cell in cells]


def test_ratio_is_nan_without_a_warning_where_undefined():
    np.testing.assert_array_equal(ratio([1, 0, 1, np.nan], [2, 0, np.nan, 1]), [0.5, np.nan, np.nan, np.nan])


def test_kappa_by_hand():
    # 25 of 50 both yes or no beyond margins: observed 0.7, expected 0.5, kappa 0.4.
    assert cohen_kappa(*map(np.array, ([20], [5], [10], [15])))[0] == pytest.approx(0.4)


def test_kappa_of_coders_who_always_say_the_same_is_undefined():
    assert np.isnan(cohen_kappa(*map(np.array, ([7], [0], [0], [0])))[0])
    assert np.isnan(cohen_kappa(*map(np.array, ([0], [0], [0], [0])))[0])


def test_kappa_as_scikit_learn():
    generator = np.random.default_rng(1)
    for _ in range(50):
        first, second = generator.random((2, 30)) < generator.random((2, 1))
        expected = cohen_kappa_score(first, second, labels=[False, True]) if len({*first, *second}) > 1 else np.nan
        np.testing.assert_allclose(cohen_kappa(*counts(first, second))[0], expected, atol=1e-12)


def test_alpha_by_hand():
    # Two coders, 4 units, one disagreement: o = [[2, 1], [1, 4]], n = 8; 1 - 7 * 2 / (64 - 9 - 25).
    assert krippendorff_alpha([[0, 0, 1, 1], [0, 1, 1, 1]]) == pytest.approx(1 - 14 / 30)


def test_alpha_leaves_out_units_of_one_coder():
    nan = np.nan
    assert krippendorff_alpha([[0, 0, 1, 1, nan], [0, 1, 1, 1, 0]]) == pytest.approx(1 - 14 / 30)


@pytest.mark.parametrize("codes", [[[1, 1], [1, 1]], [[1, np.nan], [np.nan, 0]], [[np.nan], [np.nan]]])
def test_alpha_undefined(codes):
    assert np.isnan(krippendorff_alpha(codes))


def test_alpha_as_the_krippendorff_package():
    generator = np.random.default_rng(2)
    for coders in (2, 3, 5):
        for _ in range(20):
            codes = generator.integers(0, 3, (coders, 25)).astype(float)
            codes[generator.random(codes.shape) < 0.3] = np.nan
            expected = krippendorff.alpha(reliability_data=codes, level_of_measurement="nominal")
            assert krippendorff_alpha(codes) == pytest.approx(expected, abs=1e-12)
