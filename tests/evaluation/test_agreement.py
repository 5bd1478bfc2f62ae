"""Test the coefficients of agreement against published cases, scikit-learn, statsmodels, krippendorff and irrCAC.

irrCAC, by the author of AC1, is optional, because it requires versions of pandas and SciPy that conflict with those of
mechtag. After ``pip install --no-deps irrCAC``, the tests use it too.
"""

import warnings
from itertools import combinations

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from mechtag.evaluation.agreement import cohen_kappa, many_coders, ratio, tallies, two_coders

NAN = np.nan


def cells(first, second):
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    found = (first & second, first & ~second, ~first & second, ~first & ~second)
    return [np.array([cell.sum()], float) for cell in found]


def of_two(first, second):
    return {name: float(value[0]) for name, value in two_coders(*cells(first, second)).items()}


def of_many(codes):
    return {name: float(value) for name, value in many_coders(tallies(codes).sum(axis=1)).items()}


def by_pairs(codes):
    """Compute Fleiss' kappa and AC1 by counting pairs of coders in each item, as Gwet (2014) defines them."""
    agreeing, shares = [], []
    for item in np.asarray(codes, float).T:
        given = [code for code in item if not np.isnan(code)]
        if given:
            shares.append(sum(given) / len(given))
        pairs = list(combinations(given, 2))
        if pairs:
            agreeing.append(sum(one == two for one, two in pairs) / len(pairs))
    observed, yes = np.mean(agreeing), np.mean(shares)
    by_fleiss, by_gwet = yes**2 + (1 - yes) ** 2, 2 * yes * (1 - yes)
    return {
        "fleiss_kappa": (observed - by_fleiss) / (1 - by_fleiss),
        "gwet_ac1": (observed - by_gwet) / (1 - by_gwet),
    }


def gwet(codes, name):
    """Return a coefficient of agreement computed by irrCAC, Gwet's own package."""
    import pandas as pd

    raw = pytest.importorskip("irrCAC.raw", reason="irrCAC is not installed")
    table = pd.DataFrame(np.asarray(codes, float).T)
    with warnings.catch_warnings():
        # irrCAC was written for an older pandas, and divides by zero if all codes are the same.
        warnings.simplefilter("ignore")
        found = getattr(raw.CAC(table, categories=[0.0, 1.0], digits=14), name)()
    return found["est"]["coefficient_value"]


def random_codes(generator, coders, items=25, missing=0.3):
    codes = (generator.random((coders, items)) < generator.random()).astype(float)
    codes[generator.random(codes.shape) < missing] = NAN
    return codes


def test_ratio_is_nan_without_a_warning_where_undefined():
    np.testing.assert_array_equal(ratio([1, 0, 1, NAN], [2, 0, NAN, 1]), [0.5, NAN, NAN, NAN])


def test_kappa_by_hand():
    # Observed agreement is 35 of 50, expected agreement is 0.5, so kappa is 0.4.
    assert cohen_kappa(*map(np.array, ([20], [5], [10], [15])))[0] == pytest.approx(0.4)


def test_kappa_is_low_despite_high_agreement_in_the_example_of_gwet():
    # Gwet (2008), table 1: of 125 items, 118 have two yes codes, 5 and 2 have different codes, none has two no codes.
    found = {name: float(v[0]) for name, v in two_coders(*(np.array([n]) for n in (118, 5, 2, 0))).items()}
    assert found["agreement"] == pytest.approx(0.944)
    assert found["cohen_kappa"] == pytest.approx(-0.0234, abs=5e-5)
    assert found["gwet_ac1"] == pytest.approx(0.9408, abs=5e-5)
    assert found["pabak"] == pytest.approx(2 * 0.944 - 1)


def test_fleiss_kappa_by_hand():
    # Three coders, items 3-0, 2-1, 0-3: observed (1 + 1/3 + 1)/3 = 7/9, yes 5/9, expected 41/81.
    found = of_many([[1, 1, 0], [1, 1, 0], [1, 0, 0]])
    assert found["fleiss_kappa"] == pytest.approx((7 / 9 - 41 / 81) / (40 / 81))
    assert found["gwet_ac1"] == pytest.approx((7 / 9 - 40 / 81) / (41 / 81))


def test_alpha_by_hand_leaves_out_items_of_one_coder():
    # Two coders, 4 items, one disagreement: o = [[2, 1], [1, 4]], n = 8; 1 - 7 * 2 / (64 - 9 - 25).
    assert of_two([0, 0, 1, 1], [0, 1, 1, 1])["krippendorff_alpha"] == pytest.approx(1 - 14 / 30)
    found = of_many([[0, 0, 1, 1, NAN], [0, 1, 1, 1, 0]])
    assert found["krippendorff_alpha"] == pytest.approx(1 - 14 / 30)


@pytest.mark.parametrize("code", [0, 1])
def test_coders_who_always_say_the_same(code):
    # Expected agreement is 1, so kappa and alpha are undefined; AC1 and PABAK are 1.
    two, many = of_two([code] * 3, [code] * 3), of_many([[code] * 3] * 3)
    assert np.isnan([two["cohen_kappa"], two["krippendorff_alpha"], many["fleiss_kappa"]]).all()
    assert np.isnan(many["krippendorff_alpha"])
    assert two["agreement"] == two["pabak"] == two["gwet_ac1"] == many["gwet_ac1"] == 1


@pytest.mark.parametrize("codes", [[[1, NAN], [NAN, 0]], [[NAN], [NAN]], [[1.0, 0.0]]])
def test_no_item_with_two_codes_means_no_figure(codes):
    assert all(np.isnan(value) for value in of_many(codes).values())
    assert all(np.isnan(value) for value in of_two([], []).values())


def test_coefficients_of_two_coders_agree_with_other_packages():
    generator = np.random.default_rng(1)
    for _ in range(50):
        first, second = (generator.random((2, 30)) < generator.random((2, 1))).astype(float)
        if len({*first, *second}) < 2:
            continue
        found = of_two(first, second)
        assert found["cohen_kappa"] == pytest.approx(cohen_kappa_score(first, second, labels=[0, 1]), abs=1e-12)
        alpha = krippendorff.alpha(np.stack([first, second]), level_of_measurement="nominal")
        assert found["krippendorff_alpha"] == pytest.approx(alpha, abs=1e-12)
        # The functions for many coders must also work for two.
        assert found["gwet_ac1"] == pytest.approx(by_pairs([first, second])["gwet_ac1"], abs=1e-12)
        assert of_many([first, second])["gwet_ac1"] == pytest.approx(found["gwet_ac1"])


def cases(coders):
    """Yield random codes with gaps; each item has at least one code, and both yes and no occur."""
    generator = np.random.default_rng(coders)
    for _ in range(20):
        codes = random_codes(generator, coders)
        codes = codes[:, ~np.isnan(codes).all(axis=0)]
        if len(np.unique(codes[~np.isnan(codes)])) == 2:
            yield codes


@pytest.mark.parametrize("coders", [2, 3, 5])
def test_coefficients_of_many_coders_agree_with_definitions_and_krippendorff(coders):
    for codes in cases(coders):
        found = of_many(codes)
        alpha = krippendorff.alpha(codes, level_of_measurement="nominal")
        assert found == pytest.approx({**by_pairs(codes), "krippendorff_alpha": alpha}, abs=1e-12)


@pytest.mark.parametrize("coders", [2, 3, 5])
def test_coefficients_agree_with_the_package_of_gwet(coders):
    for codes in cases(coders):
        found = of_many(codes)
        assert found["fleiss_kappa"] == pytest.approx(gwet(codes, "fleiss"), abs=1e-12)
        assert found["gwet_ac1"] == pytest.approx(gwet(codes, "gwet"), abs=1e-12)
        if coders == 2:
            first, second = codes[:, ~np.isnan(codes).any(axis=0)]
            assert of_two(first, second)["pabak"] == pytest.approx(gwet([first, second], "bp"), abs=1e-12)


def test_fleiss_kappa_agrees_with_statsmodels_without_gaps():
    generator = np.random.default_rng(3)
    for coders in (2, 3, 6):
        codes = random_codes(generator, coders, missing=0)
        table, _ = aggregate_raters(codes.T.astype(int))
        assert of_many(codes)["fleiss_kappa"] == pytest.approx(fleiss_kappa(table), abs=1e-12)


def test_a_coder_who_judged_nothing_changes_nothing():
    codes = random_codes(np.random.default_rng(4), 3)
    assert of_many([*codes, np.full(25, NAN)]) == of_many(codes)


def test_weights_have_the_effect_of_repeated_items():
    generator = np.random.default_rng(5)
    codes = random_codes(generator, 3)
    weight = generator.multinomial(25, np.full(25, 1 / 25))
    weighted = many_coders(tallies(codes) @ weight)
    assert {name: float(value) for name, value in weighted.items()} == pytest.approx(
        of_many(np.repeat(codes, weight, axis=1))
    )
