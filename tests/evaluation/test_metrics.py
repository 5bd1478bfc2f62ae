"""Test the metrics against cases worked by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from mechtag.evaluation.metrics import (
    UNDEFINED,
    Judged,
    Resamples,
    as_it_is,
    confusion,
    example_f1,
    label_figures,
    midranks,
    pooled_figures,
    ranking,
    within_auc,
)


def judge(truth, score, probability=None, decided=None, referred=None, threshold=0.5):
    truth, score = np.array(truth, float), np.array(score, float)
    return Judged(
        truth=truth,
        score=score,
        probability=np.full(truth.shape, np.nan) if probability is None else np.array(probability, float),
        decided=score > 0.5 if decided is None else np.array(decided, bool),
        referred=np.zeros(truth.shape, bool) if referred is None else np.array(referred, bool),
        threshold=np.full(truth.shape, threshold, float),
    )


def random_case(generator, papers=25, labels=4, ties=True):
    score = generator.random((papers, labels))
    if ties:
        score = np.round(score, 1)
    truth = (generator.random((papers, labels)) < 0.4).astype(float)
    truth[0], truth[1] = 1, 0
    return judge(truth, score, probability=score, referred=np.abs(score - 0.5) < 0.11)


def of_labels(judged):
    return {name: value[0] for name, value in label_figures(judged, as_it_is(judged.truth)).items()}


def of_all(judged):
    return {name: value[0] for name, value in pooled_figures(judged, as_it_is(judged.truth)).items()}


# Hand-worked cases


def test_ties_count_one_half_in_auc():
    # Positive at 2 and 1; negative at 1 and 0: pairs 2>1, 2>0, 1=1, 1>0 give 3.5 of 4.
    auc, precision = ranking(np.array([2, 1, 1, 0.0]), np.array([[1, 1, 0, 0.0]]), np.array([[0, 0, 1, 1.0]]))
    assert auc[0] == 3.5 / 4
    # At 2: precision 1, half of recall; at 1: precision 2/3, the other half.
    assert precision[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_constant_scores_are_chance():
    judged = judge([[1, 0], [0, 1], [1, 1]], np.ones((3, 2)))
    assert of_labels(judged)["roc_auc"].tolist() == [0.5, 0.5]
    assert of_labels(judged)["average_precision"] == pytest.approx([2 / 3, 2 / 3])
    assert of_all(judged)["across_auc"] == 0.5
    assert of_all(judged)["within_auc"] == 0.5


def test_counts_and_their_figures_by_hand():
    judged = judge([[1], [1], [1], [0], [0], [0], [0]], [[1], [1], [0], [1], [0], [0], [0]])
    assert [count[0, 0] for count in confusion(judged, as_it_is(judged.truth))] == [2, 1, 1, 3]
    figures = {name: value[0] for name, value in of_labels(judged).items()}
    assert figures["precision"] == figures["recall"] == figures["f1"] == pytest.approx(2 / 3)
    assert figures["specificity"] == 3 / 4
    # Observed 5/7, expected (9 + 16) / 49.
    assert figures["kappa"] == pytest.approx((5 / 7 - 25 / 49) / (1 - 25 / 49))
    assert figures["mcc"] == pytest.approx((2 * 3 - 1) / 12)


def test_label_on_no_paper():
    figures = of_labels(judge([[0], [0]], [[0.9], [0.1]], probability=[[0.9], [0.1]]))
    undefined = {name for name, value in figures.items() if np.isnan(value[0])}
    assert undefined == {"recall", "mcc", "roc_auc", "average_precision"}
    assert figures["precision"][0] == figures["f1"][0] == 0
    assert figures["specificity"][0] == 0.5


def test_label_on_every_paper():
    figures = of_labels(judge([[1], [1]], [[0.9], [0.1]], probability=[[0.9], [0.1]]))
    undefined = {name for name, value in figures.items() if np.isnan(value[0])}
    assert undefined == {"specificity", "mcc", "roc_auc"}
    assert figures["average_precision"][0] == 1
    assert figures["kappa"][0] == 0


def test_undefined_metrics_have_a_reason():
    judged = judge([[np.nan]], [[0.0]])
    for figures in (of_labels(judged), of_all(judged)):
        assert all(np.isnan(value).all() for value in figures.values())
        assert set(figures) <= set(UNDEFINED)


def test_macro_averages_leave_out_undefined_labels():
    with_absent = judge([[1, 0], [0, 0]], [[0.9, 0.1], [0.1, 0.2]])
    alone = judge([[1], [0]], [[0.9], [0.1]])
    for name in ("across_auc", "macro_f1", "macro_average_precision"):
        assert of_all(with_absent)[name] == of_all(alone)[name] == 1


def test_a_resample_that_loses_a_label_has_no_macro_average():
    judged = judge([[1], [0], [0]], [[0.9], [0.1], [0.2]])
    samples = Resamples(np.array([[1, 1, 1], [0, 2, 1.0]]), judged.truth[None])
    assert pooled_figures(judged, samples)["across_auc"].tolist() == [1, pytest.approx(np.nan, nan_ok=True)]


def test_codes_not_judged_are_left_out_and_do_not_count_as_no():
    full = judge([[1, 1], [0, 0], [1, 0]], [[0.9, 0.2], [0.8, 0.1], [0.7, 0.6]], probability=np.full((3, 2), 0.25))
    truth = np.array([[1, 1], [0, 0], [1, 0], [np.nan, 0]])
    score = np.array([[0.9, 0.2], [0.8, 0.1], [0.7, 0.6], [0.99, 0.3]])
    more = judge(truth, score, probability=np.full((4, 2), 0.25))
    for name, values in of_labels(full).items():
        np.testing.assert_array_equal(of_labels(more)[name][0], values[0], err_msg=name)
    assert of_all(more)["hamming_loss"] == 3 / 7
    assert of_all(more)["subset_accuracy"] == 1 / 4


def test_within_by_hand():
    # Ranks over papers, label by label: a 3 2 1, b 1 3 2, c 1.5 1.5 3 (paper 0, 1, 2).
    score = [[30, 0.1, 5], [20, 0.3, 5], [10, 0.2, 9]]
    truth = [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    # Paper 0: a over b, a over c, 2 of 2. Paper 1: b over a yes; c over a no; 1 of 2. Paper 2 has no pair.
    assert of_all(judge(truth, score))["within_auc"] == 3 / 4


def test_within_does_not_depend_on_the_mean_score_of_a_label():
    generator = np.random.default_rng(3)
    judged = random_case(generator)
    shifted = judge(judged.truth, judged.score * [1, 10, 0.1, 5] + [0, 100, -3, 7])
    assert of_all(shifted)["within_auc"] == of_all(judged)["within_auc"]


def test_within_counts_every_pair_alike():
    # Paper 0 has 2 pairs, both lost; paper 1 has 2 pairs won; papers 2 and 3 judge one label only.
    nan = np.nan
    truth = [[1, 0, 0], [1, 0, 0], [1, nan, nan], [nan, 0, nan]]
    score = [[0, 1, 1], [1, 0, 0], [5, 5, 5], [6, 6, 6]]
    assert of_all(judge(truth, score))["within_auc"] == 0.5


def test_referred_share_and_counting_by_decision():
    judged = judge([[1, 0], [0, np.nan]], [[1, 0], [1, 1]], referred=[[True, False], [False, True]])
    figures = of_all(judged)
    assert figures["referred"] == 1 / 3
    assert figures["hamming_loss"] == 1 / 3


def test_midranks_share_ties_and_follow_weights():
    score = np.array([[1.0], [1.0], [5.0]])
    ranks = midranks(score, np.array([[1, 1, 1], [2, 1, 0.0]]))[:, :, 0]
    assert ranks.tolist() == [[1, 1, 2.5], [1.5, 1.5, 3]]


# Oracles


@pytest.mark.parametrize("ties", [True, False])
def test_label_metrics_agree_with_scikit_learn(ties):
    generator = np.random.default_rng(4)
    for _ in range(20):
        judged = random_case(generator, ties=ties)
        figures = of_labels(judged)
        for label in range(4):
            truth, score, yes = judged.truth[:, label], judged.score[:, label], judged.decided[:, label]
            expected = {
                "precision": oracle.precision_score(truth, yes),
                "recall": oracle.recall_score(truth, yes),
                "f1": oracle.f1_score(truth, yes),
                "specificity": oracle.recall_score(1 - truth, ~yes),
                "kappa": oracle.cohen_kappa_score(truth, yes),
                "mcc": oracle.matthews_corrcoef(truth, yes),
                "roc_auc": oracle.roc_auc_score(truth, score),
                "average_precision": oracle.average_precision_score(truth, score),
                "brier": oracle.brier_score_loss(truth, score),
            }
            assert {name: value[label] for name, value in figures.items()} == pytest.approx(expected)


def test_pooled_metrics_agree_with_scikit_learn():
    generator = np.random.default_rng(5)
    for _ in range(20):
        judged = random_case(generator)
        truth, yes = judged.truth, judged.decided.astype(float)
        figures = of_all(judged)
        expected = {
            "across_auc": oracle.roc_auc_score(truth, judged.score, average="macro"),
            "macro_f1": oracle.f1_score(truth, yes, average="macro"),
            "micro_f1": oracle.f1_score(truth, yes, average="micro"),
            "macro_average_precision": oracle.average_precision_score(truth, judged.score, average="macro"),
            "kappa": oracle.cohen_kappa_score(truth.ravel(), yes.ravel()),
            "subset_accuracy": oracle.accuracy_score(truth, yes),
            "hamming_loss": oracle.hamming_loss(truth, yes),
            "referred": judged.referred.mean(),
        }
        assert {name: figures[name] for name in expected} == pytest.approx(expected)


def of_one_label(truth, score, yes):
    """Return the metrics of a label computed by scikit-learn; NaN if a metric is undefined."""
    undefined = {"zero_division": np.nan}
    both = len(np.unique(truth)) == 2
    says_both = len(np.unique(yes)) == 2
    same = len({*truth, *yes.astype(float)}) == 1
    return {
        "precision": oracle.precision_score(truth, yes, **undefined),
        "recall": oracle.recall_score(truth, yes, **undefined),
        "f1": oracle.f1_score(truth, yes, **undefined),
        "specificity": oracle.recall_score(1 - truth, ~yes, **undefined),
        "kappa": np.nan if same else oracle.cohen_kappa_score(truth, yes, labels=[0, 1]),
        # scikit-learn returns 0 if all codes or all decisions are equal, where the formula divides by 0.
        "mcc": oracle.matthews_corrcoef(truth, yes) if both and says_both else np.nan,
        "roc_auc": oracle.roc_auc_score(truth, score) if both else np.nan,
        "average_precision": oracle.average_precision_score(truth, score) if truth.any() else np.nan,
        "brier": float(np.mean((truth - score) ** 2)),
    }


@pytest.mark.parametrize("truth", ["all", "none", "one", "some"])
@pytest.mark.parametrize("said", ["all", "none", "one", "some"])
@pytest.mark.parametrize("missing", [0, 0.4])
def test_corner_cases_agree_with_scikit_learn(truth, said, missing):
    generator = np.random.default_rng(10)

    def column(kind):
        values = {"all": np.ones(30), "none": np.zeros(30), "one": np.eye(1, 30, 7)[0]}
        return values.get(kind, (generator.random(30) < 0.4).astype(float))

    codes, score, yes = column(truth), np.round(generator.random(30), 1), column(said).astype(bool)
    gone = generator.random(30) < missing
    gone[[7, 8]] = False
    judged = judge(np.where(gone, np.nan, codes)[:, None], score[:, None], score[:, None], yes[:, None])
    figures = {name: value[0] for name, value in of_labels(judged).items()}
    expected = of_one_label(codes[~gone], score[~gone], yes[~gone])
    assert figures == pytest.approx(expected, nan_ok=True)
    pooled = of_all(judged)
    shared = {
        "macro_f1": "f1",
        "micro_f1": "f1",
        "across_auc": "roc_auc",
        "macro_average_precision": "average_precision",
    }
    for name, same in {**shared, "kappa": "kappa"}.items():
        assert pooled[name] == pytest.approx(expected[same], nan_ok=True), name
    assert pooled["hamming_loss"] == pytest.approx(oracle.hamming_loss(codes[~gone], yes[~gone]))
    assert pooled["subset_accuracy"] == pytest.approx(oracle.accuracy_score(codes[~gone], yes[~gone]))


def test_pooled_metrics_of_partly_judged_papers_agree_with_scikit_learn():
    generator = np.random.default_rng(11)
    for _ in range(20):
        judged = random_case(generator)
        judged.truth[generator.random(judged.truth.shape) < 0.3] = np.nan
        seen = ~np.isnan(judged.truth)
        truth, yes = judged.truth[seen], judged.decided[seen]
        columns = [
            of_one_label(*(part[seen[:, label], label] for part in (judged.truth, judged.score, judged.decided)))
            for label in range(4)
        ]
        sure = ~judged.referred[seen]
        expected = {
            "micro_f1": oracle.f1_score(truth, yes),
            "kappa": oracle.cohen_kappa_score(truth, yes),
            "hamming_loss": oracle.hamming_loss(truth, yes),
            "macro_f1": np.mean([column["f1"] for column in columns]),
            "across_auc": np.mean([column["roc_auc"] for column in columns]),
            "macro_average_precision": np.mean([column["average_precision"] for column in columns]),
            "yes_right": oracle.precision_score(truth[sure], yes[sure]),
            "no_right": oracle.precision_score(1 - truth[sure], ~yes[sure]),
            "referred": judged.referred[seen].mean(),
        }
        figures = of_all(judged)
        assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_brier_agrees_with_scikit_learn_on_partly_judged_papers():
    judged = random_case(np.random.default_rng(12))
    judged.truth[4:9, 2] = np.nan
    seen = ~np.isnan(judged.truth[:, 2])
    expected = oracle.brier_score_loss(judged.truth[seen, 2], judged.probability[seen, 2])
    assert of_labels(judged)["brier"][2] == pytest.approx(expected)


def test_example_f1_agrees_with_scikit_learn():
    judged = random_case(np.random.default_rng(13), papers=40)
    carry = judged.truth.any(axis=1)
    truth, yes = judged.truth[carry], judged.decided[carry].astype(float)
    precision, recall = (
        score(truth, yes, average="samples", zero_division=0) for score in (oracle.precision_score, oracle.recall_score)
    )
    expected = 2 * precision * recall / (precision + recall)
    assert example_f1(judged, as_it_is(judged.truth))[0] == pytest.approx(expected)


def test_pooled_alpha_agrees_with_the_krippendorff_package():
    import krippendorff

    judged = random_case(np.random.default_rng(6))
    truth = judged.truth.copy()
    truth[3:7, 1] = np.nan
    codes = np.stack([truth.ravel(), judged.decided.ravel()])
    expected = krippendorff.alpha(reliability_data=codes, level_of_measurement="nominal")
    assert of_all(judge(truth, judged.score))["alpha"] == pytest.approx(expected)


def test_within_equals_a_count_of_pairs():
    from scipy.stats import rankdata

    generator = np.random.default_rng(7)
    for _ in range(10):
        judged = random_case(generator)
        ranks = rankdata(judged.score, axis=0)
        won, pairs = 0.0, 0
        for paper, codes in enumerate(judged.truth):
            for up in np.flatnonzero(codes == 1):
                for down in np.flatnonzero(codes == 0):
                    won += np.heaviside(ranks[paper, up] - ranks[paper, down], 0.5)
                    pairs += 1
        assert of_all(judged)["within_auc"] == pytest.approx(won / pairs)


def test_weights_have_the_effect_of_repeated_papers():
    generator = np.random.default_rng(8)
    judged = random_case(generator)
    judged.truth[4, 2] = np.nan
    weights = generator.multinomial(25, np.full(25, 1 / 25), size=5).astype(float)
    weights[:, :2] += 1
    samples = Resamples(weights, judged.truth[None])
    labels, pooled = label_figures(judged, samples), pooled_figures(judged, samples)
    for row, weight in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(25), weight)
        repeated = Judged(
            **{name: array[rows] for name, array in vars(judged).items()},
        )
        for name, value in of_labels(repeated).items():
            np.testing.assert_allclose(labels[name][row], value, atol=1e-12, err_msg=name)
        for name, value in of_all(repeated).items():
            np.testing.assert_allclose(pooled[name][row], value, atol=1e-12, err_msg=name)


def test_permuting_the_truth_has_the_effect_of_moved_codes():
    generator = np.random.default_rng(9)
    judged = random_case(generator)
    orders = generator.permuted(np.tile(np.arange(25), (4, 1)), axis=1)
    stacked = pooled_figures(judged, Resamples(np.ones((1, 25)), judged.truth[orders]))
    for row, order in enumerate(orders):
        moved = Judged(**{**vars(judged), "truth": judged.truth[order]})
        for name, value in of_all(moved).items():
            assert stacked[name][row] == pytest.approx(value), name


def test_within_needs_a_paper_with_both_codes():
    judged = judge([[1, 1], [0, 0]], [[0.9, 0.1], [0.1, 0.9]])
    assert np.isnan(within_auc(judged, as_it_is(judged.truth))[0])
