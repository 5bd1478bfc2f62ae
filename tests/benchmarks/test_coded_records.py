"""Test the benchmark on the coded records, with toy papers and cases worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.calibrations import decide_both_ways
from benchmarks.coded_records import (
    DECIDES,
    GAIN,
    REFERENCE,
    Sample,
    Table,
    decision_figures,
    keep,
    label_run_figures,
    relevance_figures,
)
from benchmarks.variants import (
    FEATURES,
    RELEVANCE,
    SHIPPED_POOLING,
    SHIPPED_RELEVANCE,
    Ground,
    half_coded,
    out_of_fold,
    pooled,
    relevance_out_of_fold,
    zero_shot,
)
from mechtag.core.codebook import Codebook
from mechtag.core.settings import Settings, TrainSettings
from mechtag.pipeline.annotations.coded_records import Exemplar
from mechtag.training.heads import held_out_scores
from tests.support.toy import WordEncoder, fruit_documents


@pytest.fixture
def ground(fruit: Codebook) -> Ground:
    documents = [replace(coded, hard=None if coded.relevant else True, source="fruit") for coded in fruit_documents()]
    # The sentence is split at the semicolon.
    first = documents[0].document
    documents[0] = replace(documents[0], document=replace(first, sentences=("a stone; a wall", *first.sentences[1:])))
    exemplars = [
        Exemplar(id="e1", text="an apple; a garden", labels=("apple",)),
        Exemplar(id="e2", text="a pear", labels=("pear",)),
    ]
    settings = Settings(train=TrainSettings(folds=4))
    return Ground(settings, fruit, WordEncoder(), documents, exemplars)


def test_the_shipped_method_is_scored_as_in_training(ground: Ground) -> None:
    corpus, fold, train = ground.corpus, ground.deal(1), ground.settings.train
    parts = out_of_fold(ground, corpus, ground.frozen, fold, 1)
    expected = held_out_scores(corpus, ground.frozen, fold, np.ones(len(fold), dtype=bool), train, 1)
    n_units = sum(len(coded.document.units) for coded in ground.documents)
    np.testing.assert_allclose(parts["both"].documents, expected.documents)
    np.testing.assert_allclose(parts["both"].units, expected.units[:n_units])
    assert len(parts["both"].texts) == n_units + 1
    relevance = relevance_out_of_fold(ground, RELEVANCE[SHIPPED_RELEVANCE], fold)
    np.testing.assert_allclose(relevance, expected.documents[:, 0])
    ways = pooled(ground, parts["both"].texts, fold)
    np.testing.assert_allclose(ways[SHIPPED_POOLING], expected.documents[:, 1:])


def test_the_parts_of_the_score_add_up(ground: Ground) -> None:
    fold = ground.deal(1)
    parts = out_of_fold(ground, ground.corpus, ground.frozen, fold, 1)
    own = ground.corpus.document[: len(parts["both"].texts)]
    rest = (parts["vectors"].texts + parts["words"].texts - parts["both"].texts)[:, 1:]
    for held_out in np.unique(fold):
        # The difference is the intercept, which both terms include.
        np.testing.assert_allclose(np.ptp(rest[fold[own] == held_out], axis=0), 0, atol=1e-9)


@pytest.mark.slow
def test_every_method_scores_every_paper(ground: Ground) -> None:
    fold = ground.deal(1)
    for way in RELEVANCE.values():
        assert roc_auc_score(ground.corpus.document_targets[:, 0], relevance_out_of_fold(ground, way, fold)) > 0.9
    corpora = [changed(ground) for changed in FEATURES.values()]
    corpora += [half_coded(ground, 1, whole=whole) for whole in (True, False)]
    runs = [out_of_fold(ground, corpus, ground.frozen, fold, 1)["both"] for corpus in corpora]
    for run in (*runs, zero_shot(ground)):
        assert np.isfinite(run.documents).all()
        assert run.units.shape == (len(ground.sentences[1]), 4)


def test_pooling_by_hand(ground: Ground) -> None:
    texts = np.zeros((int(ground.corpus.lengths.sum()), 4))
    rows = ground.corpus.rows_by_document()[1]
    texts[rows, 1] = np.arange(len(rows))
    found = pooled(ground, texts, ground.deal(1))
    assert found["maximum"][1, 0] == len(rows) - 1
    assert found["mean of the two best"][1, 0] == len(rows) - 1.5
    assert found["mean"][1, 0] == pytest.approx((len(rows) - 1) / 2)


def test_half_of_the_codes_are_hidden_from_training(ground: Ground) -> None:
    whole, nothing = half_coded(ground, 1, whole=True), half_coded(ground, 1, whole=False)
    coded = ~np.isnan(ground.corpus.unit_targets[:, 1])
    left = ~np.isnan(whole.unit_targets[:, 1])
    assert 0.2 < left.sum() / coded.sum() < 0.8
    np.testing.assert_array_equal(whole.document_targets, ground.corpus.document_targets)
    assert np.isnan(nothing.document_targets[:, 1]).sum() > np.isnan(whole.document_targets[:, 1]).sum()
    exemplars = ground.corpus.document == -1
    np.testing.assert_array_equal(left[exemplars], coded[exemplars])


def test_metrics_equal_those_of_scikit_learn(ground: Ground) -> None:
    run = out_of_fold(ground, ground.corpus, ground.frozen, ground.deal(1), 1)["vectors"]
    everything = Sample(np.ones(len(ground.documents), dtype=bool), 1)
    codes, _ = ground.sentences
    coded = ~np.isnan(codes[:, 1])
    precisions = [
        average_precision_score(codes[coded, label], np.maximum(run.units[coded, label], -1e9)) for label in (1, 2)
    ]
    found = label_run_figures(ground, everything, run)
    assert found[DECIDES][0] == pytest.approx(np.mean(precisions))  # no sentence is about plums
    relevant = ground.corpus.document_targets[:, 0]
    assert found["across"][0] == pytest.approx(
        np.mean(
            [
                roc_auc_score(ground.corpus.document_targets[relevant == 1, label], run.documents[relevant == 1, label])
                for label in (1, 2)
            ]
        )
    )
    scores = np.arange(len(relevant)) % 7.0
    assert relevance_figures(ground, everything, scores)["AUC, hard"][0] == pytest.approx(
        roc_auc_score(relevant, scores)
    )


def test_thresholds_are_learned_on_the_other_folds() -> None:
    scores = np.array([1.0, 2, 3, 1, 2, 9])
    fold = np.array([0, 0, 0, 1, 1, 1])
    relevant = np.array([False, True, True, False, False, True])
    # The threshold of each fold is between the lowest relevant score and the next lower one in the other fold.
    np.testing.assert_array_equal(keep(scores, relevant, fold, 1.0), [False, False, False, False, True, True])


def test_both_decision_methods_agree_where_relevance_is_certain(ground: Ground) -> None:
    fold = ground.deal(1)
    scores = out_of_fold(ground, ground.corpus, ground.frozen, fold, 1)["both"].documents.copy()
    relevant = ground.corpus.document_targets[:, 0] == 1
    scores[:, 0] = np.where(relevant, 1e4, -1e4)
    one, other = decide_both_ways(ground.corpus, scores, fold, ground.settings.train).values()
    np.testing.assert_array_equal(one, other)
    assert set(one[~relevant].ravel()) == {"no"}
    assert {"yes", "no"} <= set(one[relevant].ravel())


def test_decisions_by_hand(ground: Ground) -> None:
    papers = np.zeros(len(ground.documents), dtype=bool)
    papers[[0, 1, 2]] = True  # a stone, an apple, a pear
    decided = np.full((len(papers), 3), "no", dtype="<U5")
    decided[0, 0], decided[1, 0], decided[2, 0] = "yes", "yes", "refer"
    found = decision_figures(ground, Sample(papers, 1), decided)
    assert [values[0] for values in found.values()] == [1 / 2, 1 / 2, 1 / 6]


def test_the_rule_accepts_large_and_significant_gains() -> None:
    table = Table()
    spread = np.linspace(0, 0.001, 41)
    for name, gain in (
        (REFERENCE, 0.0),
        ("better", 0.02),
        ("a little better", 0.005),
        ("without definitions", -0.005),
        ("without exemplars", -0.02),
    ):
        table.add("labels, all records", name, {DECIDES: 0.5 + gain + spread * (name != REFERENCE)}, 40)
    unsure = np.append(0.52, np.linspace(0.4, 0.6, 40))
    table.add("labels, all records", "unsure", {DECIDES: unsure}, 40)
    assert table.outcome() == (
        "Outcome: the rule adopts better (+0.020) beyond what is shipped. Less than 0.01 is lost without definitions "
        "(-0.005)."
    )
    gains = {row["system"]: row["value"] for row in table.results() if row["metric"] == GAIN}
    assert gains["better"] == pytest.approx(0.02)
    assert REFERENCE not in gains
