"""Test the metrics of each set of coded records against independent computations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, cohen_kappa_score, roc_auc_score

from mechtag.evaluation.coded_records import CodedSet
from mechtag.evaluation.gold_benchmark import evaluate
from mechtag.evaluation.record_sets import sets_section
from tests.support.gold import LABELS, SET_SETTINGS, random_sets

SHARES = ("kept", "lost", "yes_right", "hard_yes", "easy_yes")


@pytest.fixture(scope="module")
def coded() -> CodedSet:
    return random_sets({"a": (8, 0, 0, 9), "b": (7, 6, 5, 0), "c": (2, 1, 0, 1), "d": (0, 0, 0, 3)})


@pytest.fixture(scope="module")
def found(coded: CodedSet) -> dict:
    return sets_section(coded, LABELS, "relevant", SET_SETTINGS, np.random.default_rng(0))


def rows(coded: CodedSet, name: str, label: str = "relevant") -> list:
    by_id = {(row.record_id, row.label): row for row in coded.documents}
    return [(record, by_id[record.record.record_id, label]) for record in coded.records if record.set_name == name]


def test_each_set_is_counted_and_described(found: dict, coded: CodedSet) -> None:
    assert list(found) == ["a", "b", "c", "d"]
    counts = {
        name: [own[key] for key in ("title", "texts", "records", "relevant", "hard")] for name, own in found.items()
    }
    assert counts == {
        "a": ["First ones", "synopses", 17, 8, None],
        "b": ["Made up", "invented", 18, 7, 6],
        "c": ["c", "unknown", 4, 2, 1],
        "d": ["d", "unknown", 3, 0, None],
    }
    assert coded.texts() == {"synopses": 17, "invented": 18, "unknown": 7}


def test_ranking_of_relevance_against_hard_and_easy_records(found: dict, coded: CodedSet) -> None:
    own = rows(coded, "b")
    for name, others in (("roc_auc", (True, False)), ("roc_auc_hard", (True,)), ("roc_auc_easy", (False,))):
        used = [(row.relevant, said.score) for row, said in own if row.relevant or row.hard in others]
        assert found["b"]["relevance"][name]["value"] == pytest.approx(
            roc_auc_score(*zip(*used, strict=True)), abs=1e-6
        )
        assert found["b"]["relevance"][name]["ci_low"] < found["b"]["relevance"][name]["ci_high"]


def test_decisions_of_relevance(found: dict, coded: CodedSet) -> None:
    own = [(row.relevant, row.hard, said.decision) for row, said in rows(coded, "b")]
    relevant = [said for is_relevant, _, said in own if is_relevant]
    yes = [is_relevant for is_relevant, _, said in own if said == "yes"]
    hard, easy = (
        [said for is_relevant, kind, said in own if not is_relevant and kind is value] for value in (True, False)
    )
    counts = {
        "kept": (len(relevant) - relevant.count("no"), len(relevant)),
        "lost": (relevant.count("no"), len(relevant)),
        "yes_right": (sum(yes), len(yes)),
        "hard_yes": (hard.count("yes"), len(hard)),
        "easy_yes": (easy.count("yes"), len(easy)),
    }
    figures = found["b"]["relevance"]
    for name, (hits, papers) in counts.items():
        wilson = stats.binomtest(hits, papers).proportion_ci(method="wilson")
        assert figures[name]["value"] == pytest.approx(hits / papers, abs=1e-6), name
        assert (figures[name]["ci_low"], figures[name]["ci_high"]) == pytest.approx(tuple(wilson), abs=1e-6)
    # The toy data must contain all three decisions.
    assert {"yes", "refer", "no"} == {said for *_, said in own}
    for kind, said in (("relevant", relevant), ("hard", hard), ("irrelevant", hard + easy)):
        assert figures["decisions"][kind] == {word: said.count(word) for word in ("yes", "refer", "no")}


def test_sets_without_hard_records_have_a_reason_instead_of_metrics(found: dict) -> None:
    figures = found["a"]["relevance"]
    for name in ("roc_auc_hard", "roc_auc_easy", "hard_yes", "easy_yes"):
        assert figures[name] == {"value": None, "ci_low": None, "ci_high": None, "p_value": None}
        assert figures["undefined"][name] == "it is not recorded which records are hard"
    assert figures["roc_auc"]["value"] is not None
    assert figures["kept"]["value"] is not None


def test_too_few_papers_are_noted(found: dict) -> None:
    figures = found["c"]["relevance"]
    assert figures["undefined"]["roc_auc"] == "too few: 2 relevant records; the metric needs 3"
    assert figures["undefined"]["hard_yes"] == "too few: 1 hard irrelevant records; the metric needs 3"
    assert all(figures[name]["value"] is None for name in ("roc_auc", "roc_auc_hard", *SHARES) if name != "yes_right")
    mechanisms = found["c"]["mechanisms"]
    assert mechanisms["papers"] == 2
    assert mechanisms["undefined"]["kappa"] == "too few: 2 relevant records; the metric needs 3"
    assert "too few: 1 item coded yes by at least one coder" in found["c"]["second_coder"]["relevance"]["note"]


@pytest.mark.parametrize(("name", "papers"), [("a", 8), ("b", 7)])
def test_mechanisms_are_judged_on_relevant_papers(found: dict, coded: CodedSet, name: str, papers: int) -> None:
    figures = found[name]["mechanisms"]
    human, said, score = [], [], []
    for label in LABELS:
        own = [(label in row.labels, answer) for row, answer in rows(coded, name, label) if row.relevant]
        human.append([code for code, _ in own])
        said.append([answer.decision for _, answer in own])
        score.append([answer.score for _, answer in own])
    codes, decisions, scores = np.array(human), np.array(said), np.array(score)
    assert figures["papers"] == codes.shape[1] == papers
    # A label that needs review counts by its threshold in kappa, and is not counted as lost in ``kept``.
    assert ((decisions == "refer") & codes & (scores < 0.5)).any()
    across = np.mean([roc_auc_score(*pair) for pair in zip(codes, scores, strict=True)])
    assert figures["across_auc"]["value"] == pytest.approx(across, abs=1e-6)
    suggested = np.where(decisions == "refer", scores >= 0.5, decisions == "yes")
    kappa = cohen_kappa_score(codes.ravel(), suggested.ravel())
    assert figures["kappa"]["value"] == pytest.approx(kappa, abs=1e-6)
    assert figures["yes_right"]["value"] == pytest.approx(codes[decisions == "yes"].mean(), abs=1e-6)
    assert figures["yes_found"]["value"] == pytest.approx((decisions[codes] == "yes").mean(), abs=1e-6)
    assert figures["kept"]["value"] == pytest.approx((decisions[codes] != "no").mean(), abs=1e-6)


def test_sentences_and_their_evidence_are_those_of_the_set(found: dict, coded: CodedSet) -> None:
    score = {(row.record_id, row.label): row.score for row in coded.sentences}
    own = [record for record in coded.records if record.set_name == "b"]
    precision, first = [], []
    for label in LABELS:
        codes = [label in names for record in own for names in record.sentence_labels]
        scores = [score[f"{record.record.record_id}#{number}", label] for record in own for number in (0, 1)]
        precision.append(average_precision_score(codes, scores))
        for record in own:
            if label in record.labels:
                top = max((0, 1), key=lambda number: score[f"{record.record.record_id}#{number}", label])
                first.append(label in record.sentence_labels[top])
    assert found["b"]["sentences"]["sentences"] == 36
    assert found["b"]["sentences"]["macro_average_precision"]["value"] == pytest.approx(np.mean(precision), abs=1e-6)
    assert found["b"]["evidence"]["papers_and_labels"] == len(first)
    assert found["b"]["evidence"]["precision_at_1"]["value"] == pytest.approx(np.mean(first), abs=1e-6)
    none = found["d"]["evidence"]
    assert none["papers_and_labels"] == 0
    assert none["undefined"]["precision_at_1"] == "too few: 0 papers and labels; the metric needs 3"


def test_the_second_coder_of_each_set(found: dict, coded: CodedSet) -> None:
    for name in ("a", "b"):
        own = {record.key: record for record in coded.records if record.set_name == name}
        again = [codes for codes in coded.second if codes.key in own]
        papers, sentences, relevance = [], [], []
        for codes in again:
            first = own[codes.key]
            relevance.append((first.relevant, codes.relevant))
            papers += [(label in first.labels, label in codes.labels) for label in LABELS]
            for one, two in zip(first.sentence_labels, codes.sentence_labels, strict=True):
                sentences += [(label in one, label in two) for label in LABELS]
        agreement = found[name]["second_coder"]
        assert agreement["records"] == agreement["relevance"]["n"] == len(again)
        for key, pairs in (("relevance", relevance), ("papers", papers), ("sentences", sentences)):
            assert agreement[key]["n"] == len(pairs)
            expected = cohen_kappa_score(*zip(*pairs, strict=True))
            assert agreement[key]["cohen_kappa"]["value"] == pytest.approx(expected, abs=1e-6), (name, key)


def test_records_added_by_retraining_are_a_separate_set(coded: CodedSet) -> None:
    added = coded.records[-1].model_copy(update={"added": True, "set_name": "added"})
    found = sets_section(
        replace(coded, records=[*coded.records[:-1], added]), LABELS, "relevant", SET_SETTINGS, np.random.default_rng(0)
    )
    assert [found["added"][key] for key in ("title", "texts", "records")] == ["added by mechtag retrain", "unknown", 1]
    assert found["d"]["records"] == 2


def test_figures_over_all_sets_do_not_depend_on_how_they_are_divided(gold, systems, coded: CodedSet) -> None:
    together = replace(
        coded, records=[record.model_copy(update={"set_name": "one"}) for record in coded.records], about={}
    )
    divided, whole = (
        evaluate(LABELS, gold, systems, SET_SETTINGS, np.random.default_rng(2), coded=each).content()
        for each in (coded, together)
    )
    for metrics in (divided, whole):
        metrics["coded_records"].pop("sets")
        metrics["coded_records"].pop("texts")
        metrics["agreement"].pop("texts")
    assert divided == whole


def test_one_set_has_the_figures_of_all_records(coded: CodedSet, gold, systems) -> None:
    one = replace(coded, records=[record for record in coded.records if record.set_name == "b"], second=())
    metrics = evaluate(LABELS, gold, systems, SET_SETTINGS, np.random.default_rng(2), coded=one).content()
    own, whole = metrics["coded_records"]["sets"]["b"], metrics["coded_records"]
    assert own["relevance"]["roc_auc"]["value"] == metrics["relevance"]["coded_records"]["roc_auc"]["value"]
    for name in ("macro_average_precision", "across_auc", "within_auc"):
        assert own["documents"][name]["value"] == whole["documents"]["pooled"][name]["value"]
    assert own["evidence"]["precision_at_1"]["value"] == whole["evidence"]["precision_at_1"]["value"]
