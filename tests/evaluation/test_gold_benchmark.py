"""Test the evaluation on a toy gold standard: names and values of metrics, and faults in the input."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from mechtag.core.errors import MechtagError
from mechtag.evaluation.coded_records import CodedSet
from mechtag.evaluation.coders import DIFFER
from mechtag.evaluation.gold_benchmark import evaluate, text_basis
from mechtag.evaluation.report.accuracy_table import accuracy_markdown
from mechtag.evaluation.resampling import corrected_interval, draw_resamples
from mechtag.pipeline.annotations.gold_table import gold_standard
from tests.support.gold import LABELS, SETTINGS, predict, record, system

FIGURE = {"value", "ci_low", "ci_high", "p_value"}
POOLED = {
    "across_auc",
    "within_auc",
    "macro_f1",
    "micro_f1",
    "macro_average_precision",
    "kappa",
    "alpha",
    "subset_accuracy",
    "yes_right",
    "no_right",
    "hamming_loss",
    "referred",
}


def numbers(data):
    if isinstance(data, dict):
        return [number for value in data.values() for number in numbers(value)]
    if isinstance(data, list):
        return [number for value in data for number in numbers(value)]
    return [data] if isinstance(data, float) else []


def test_keys_of_the_metrics_file(metrics):
    assert list(metrics) == [
        "coverage",
        "transfer",
        "leave_one_out",
        "baselines",
        "coded_records",
        "relevance",
        "agreement",
        "gold_standard",
        "resampling",
    ]
    assert metrics["coverage"] == {"abstract": 1, "synopsis": 5, "title_only": 1, "none": 1}
    for section in (metrics["transfer"], metrics["leave_one_out"], metrics["baselines"]["all_positive"]):
        assert section["papers"] == 7
        assert set(section["pooled"]) == POOLED
        assert all(set(figure) == FIGURE for figure in section["pooled"].values())
        permuted = {name for name, figure in section["pooled"].items() if figure["p_value"] is not None}
        assert permuted == {"across_auc", "within_auc", "macro_f1", "micro_f1", "kappa"}
    assert metrics["transfer"]["coverage_risk"][-1]["risk"] == pytest.approx(
        metrics["transfer"]["pooled"]["hamming_loss"]["value"], abs=1e-6
    )
    assert list(metrics["transfer"]["labels"]) == list(LABELS)
    of_baseline = metrics["baselines"]["all_positive"]["labels"]
    assert list(of_baseline) == list(LABELS)
    assert all(set(own) == {"f1", "roc_auc"} and set(own["f1"]) == FIGURE for own in of_baseline.values())


def test_numbers_are_finite_and_the_same_seed_gives_the_same_file(metrics, gold, systems, coded):
    again = evaluate(LABELS, gold, systems, SETTINGS, np.random.default_rng(2), coded=coded).content()
    text = json.dumps(metrics, allow_nan=False)
    assert json.dumps(again) == text
    assert len(numbers(metrics)) > 200
    assert all(math.isfinite(number) for number in numbers(metrics))
    other = evaluate(LABELS, gold, systems, SETTINGS, np.random.default_rng(5), coded=coded).content()
    assert all(other[name] != metrics[name] for name in ("transfer", "coded_records", "relevance"))


def test_figures_are_those_of_the_papers_with_a_record(gold, systems):
    unjudged = ("doi:10.1234/p3", "hard_money")
    systems["transfer"] = [
        predict(*unjudged, 0.5) if (row.record_id, row.label) == unjudged else row for row in systems["transfer"]
    ]
    metrics = evaluate(LABELS, gold, systems, SETTINGS, np.random.default_rng(2)).content()
    label = metrics["transfer"]["labels"]["hard_money"]
    # p3 is not judged and p7 has no record.
    assert (label["papers"], label["support"], sum(label["confusion"].values())) == (6, 4, 6)
    rows = {row.record_id: row for row in systems["transfer"] if row.label == "hard_money"}
    human = dict(zip(gold.matrix.keys, gold.matrix.values("hard_money"), strict=True))
    said = {key: rows[one.record_id].probability >= 0.5 for key, one in gold.records.items()}
    assert label["confusion"]["tp"] == sum(said[key] and human[key] == 1 for key in said)
    assert label["confusion"]["fp"] == sum(said[key] and human[key] == 0 for key in said)
    assert label["referred"] == sum(rows[f"doi:10.1234/{key}"].decision == "refer" for key in said if key != "p3")


def test_too_few_positives_give_a_note_instead_of_a_number(metrics):
    label = metrics["transfer"]["labels"]["rare"]
    assert label["note"] == "too few: 1 of 7 have the label; metrics need 2"
    assert label["roc_auc"] == {"value": None, "ci_low": None, "ci_high": None, "p_value": None}
    assert label["support"] == 1


def test_shares_of_papers_have_the_interval_of_their_counts(metrics):
    def wilson(hits, papers):
        return stats.binomtest(hits, papers).proportion_ci(method="wilson")

    for label in ("trust", "hard_money"):
        figures = metrics["leave_one_out"]["labels"][label]
        tp, fp, fn, tn = (figures["confusion"][name] for name in ("tp", "fp", "fn", "tn"))
        expected = {
            "precision": wilson(tp, tp + fp),
            "recall": wilson(tp, tp + fn),
            "specificity": wilson(tn, tn + fp),
            # F1 is 2 s / (1 + s), where s is the share of papers with both among papers with either.
            "f1": [2 * share / (1 + share) for share in wilson(tp, tp + fp + fn)],
        }
        found = {name: (figures[name]["ci_low"], figures[name]["ci_high"]) for name in expected}
        assert {name: pytest.approx(tuple(ends), abs=1e-6) for name, ends in expected.items()} == found


def test_undefined_figures_have_a_reason_and_dropped_resamples_are_counted(gold, systems):
    never = [row.model_copy(update={"decision": "no"}) for row in systems["leave_one_out"]]
    metrics = evaluate(LABELS, gold, {"transfer": never}, SETTINGS, np.random.default_rng(2)).content()
    label = metrics["transfer"]["labels"]["trust"]
    assert label["precision"]["value"] is None
    assert label["undefined"]["precision"] == "the label was suggested for no paper"
    assert metrics["transfer"]["dropped_resamples"]["across_auc"] > 0
    assert "coded_records" not in metrics
    assert metrics["baselines"] == {}


def test_tagging_everything_is_at_chance(metrics):
    pooled = metrics["baselines"]["all_positive"]["pooled"]
    for name, chance in (("across_auc", 0.5), ("within_auc", 0.5), ("kappa", 0.0)):
        assert (pooled[name]["value"], pooled[name]["p_value"]) == (chance, 1.0)


def test_coded_records_and_relevance(metrics):
    coded, relevance = metrics["coded_records"], metrics["relevance"]
    assert (coded["records"], coded["relevant"], coded["sentences"]["sentences"]) == (8, 5, 16)
    assert coded["documents"]["pooled"].keys() == POOLED
    assert set(coded["sentences"]["pooled"]) == {"macro_average_precision", "across_auc"}
    assert coded["sentences"]["labels"]["trust"]["support"] == 3
    assert set(coded["evidence"]) >= {"papers_and_labels", "precision_at_1", "average_precision", "chance"}
    assert coded["evidence"]["papers_and_labels"] > 0
    assert relevance["coded_records"]["support"] == 5
    assert relevance["baselines"]["tfidf_svm"]["roc_auc"]["value"] != relevance["coded_records"]["roc_auc"]["value"]


def test_intervals_of_sentences_draw_whole_records(metrics, coded):
    generator = np.random.default_rng(2)
    draw_resamples(7, SETTINGS.bootstrap, SETTINGS.permutations, generator)
    weights = draw_resamples(8, SETTINGS.bootstrap, SETTINGS.permutations, generator).weights
    truth = np.array([("trust" in names) for one in coded.records for names in one.sentence_labels])
    score = np.array([row.score for row in coded.sentences if row.label == "trust"])
    values = []
    for weight in weights.astype(int):
        rows = [2 * record + n for record, times in enumerate(weight) for _ in range(times) for n in (0, 1)]
        if truth[rows].any():
            values.append(average_precision_score(truth[rows], score[rows]))
    found = metrics["coded_records"]["sentences"]["labels"]["trust"]["average_precision"]
    low, high, _ = corrected_interval(found["value"], np.array(values), 8)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((low, high), abs=1e-5)


def test_sentences_that_were_not_judged_for_a_label_are_not_counted(gold, systems, coded):
    records = [
        one.model_copy(update={"sentences_not_judged": ("trust",) if place in (4, 5) else ("other",)})
        for place, one in enumerate(coded.records)
    ]
    found = evaluate(
        LABELS, gold, systems, SETTINGS, np.random.default_rng(2), coded=replace(coded, records=records, second=())
    ).content()["coded_records"]
    labels = found["sentences"]["labels"]
    assert (found["sentences"]["sentences"], labels["trust"]["support"]) == (16, 3)
    assert labels["trust"]["prevalence"] == pytest.approx(3 / 12, abs=1e-6)
    assert found["evidence"]["papers_and_labels"] > 0
    nobody = [one.model_copy(update={"sentences_not_judged": ("trust",)}) for one in coded.records]
    found = evaluate(
        LABELS, gold, systems, SETTINGS, np.random.default_rng(2), coded=replace(coded, records=nobody, second=())
    ).content()["coded_records"]
    assert found["sentences"]["labels"]["trust"]["prevalence"] is None


def test_second_coder_is_compared_with_the_first_and_the_model(metrics, coded):
    agreement = metrics["agreement"]
    assert agreement["records"] == 5
    assert agreement["coders"] == [
        {"name": "c", "kind": "human"},
        {"name": "d", "kind": "human"},
        {"name": "mechtag", "kind": "model"},
    ]
    people, first, second, sentences = agreement["pairs"]
    assert [(pair["a"], pair["b"], pair["kind"], pair["unit"]) for pair in agreement["pairs"]] == [
        ("c", "d", "human-human", "records"),
        ("c", "mechtag", "human-model", "records"),
        ("d", "mechtag", "human-model", "records"),
        ("c", "d", "human-human", "sentences"),
    ]
    # Of 15 codes of 5 records, both coders say yes to 4, only the first to 2, and neither to 9.
    pooled = people["pooled"]
    assert [pooled[name] for name in ("n", "both_yes", "only_a", "only_b", "both_no")] == [15, 4, 2, 0, 9]
    expected = (13 / 15 * 225 - (6 * 4 + 9 * 11)) / (225 - (6 * 4 + 9 * 11))
    assert pooled["cohen_kappa"]["value"] == pytest.approx(expected, abs=1e-6)
    assert people["labels"]["relevant"]["agreement"]["value"] == 1
    assert people["labels"]["rare"]["note"] == "too few: 1 item coded yes by at least one coder; metrics need 2"
    assert people["labels"]["rare"]["cohen_kappa"]["value"] is None
    assert sentences["pooled"]["n"] == 10 * 3
    assert sentences["pooled"]["cohen_kappa"]["value"] == 1
    # The model is compared on the same records.
    said = {(row.record_id, row.label): row.probability >= 0.5 for row in coded.documents}
    both = sum(said[one.record.record_id, label] for one in coded.records[:5] for label in one.labels)
    assert (first["pooled"]["n"], first["pooled"]["both_yes"]) == (15, both)
    assert second["labels"]["relevant"]["n"] == 5
    assert set(agreement["all"]) == {"humans", "with_model"}
    differ = [(found["key"], found["label"]) for found in agreement["adjudicate"] if found["reason"] == DIFFER]
    assert sorted(differ) == [("c2", "hard_money"), ("c3", "rare")]
    assert {found["key"] for found in agreement["gold"]} <= {f"p{number}" for number in range(7)}


def test_one_coder_is_compared_only_with_the_model(gold, systems, coded):
    alone = CodedSet(coded.records, coded.documents, coded.sentences)
    agreement = evaluate(LABELS, gold, systems, SETTINGS, np.random.default_rng(2), coded=alone).content()["agreement"]
    assert agreement["records"] == 8
    assert [(pair["a"], pair["b"]) for pair in agreement["pairs"]] == [("c", "mechtag")]
    assert set(agreement["all"]) == {"with_model"}


def test_each_coder_of_a_table_is_compared(gold, systems, coded):
    rows = [row for one in coded.records for row in one.codings(LABELS, "relevant")]
    table = [row.model_copy(update={"coder": name}) for name in ("x", "y", "z") for row in rows]
    whole = [one.model_copy(update={"sentence_labels": None}) for one in coded.records]
    several = CodedSet(whole, coded.documents, coded.sentences, table=table)
    agreement = evaluate(LABELS, gold, systems, SETTINGS, np.random.default_rng(2), coded=several).content()[
        "agreement"
    ]
    assert [one["name"] for one in agreement["coders"]] == ["x", "y", "z", "mechtag"]
    assert agreement["all"]["humans"]["fleiss_kappa"]["value"] == 1
    # The file of a second coder adds a coder; the others have no codes of sentences to compare.
    more = CodedSet(whole, coded.documents, coded.sentences, second=coded.second, table=table)
    agreement = evaluate(LABELS, gold, systems, SETTINGS, np.random.default_rng(2), coded=more).content()["agreement"]
    assert [one["name"] for one in agreement["coders"]] == ["x", "y", "z", "d", "mechtag"]
    assert {pair["unit"] for pair in agreement["pairs"]} == {"records"}


def test_rank_of_gold_papers_among_irrelevant_records(gold, systems, coded):
    irrelevant = {one.record.record_id for one in coded.records if not one.relevant}
    fixed = dict(zip(sorted(irrelevant), (0.9, 0.6, 0.2), strict=True))
    coded.documents[:] = [
        row.model_copy(update={"score": fixed[row.record_id]}) if row.record_id in fixed else row
        for row in coded.documents
    ]
    probabilities = dict(
        zip((f"doi:10.1234/p{n}" for n in range(7)), (0.95, 0.9, 0.7, 0.55, 0.35, 0.1, 0.0), strict=True)
    )
    transfer = [row for row in systems["transfer"] if row.label != "relevant"]
    transfer += [predict(record_id, "relevant", value) for record_id, value in probabilities.items()]
    found = evaluate(LABELS, gold, {"transfer": transfer}, SETTINGS, np.random.default_rng(2), coded=coded).content()
    assert found["relevance"]["gold"] == {
        "included": 8,
        "papers": 7,
        "kept": 4,
        "yes": 3,
        "refer": 1,
        "no": 3,
        "irrelevant_records": 3,
        "median_rank": 3.0,
        "ranks": {"p0": 1, "p1": 2, "p2": 2, "p3": 3, "p4": 3, "p5": 4, "p6": 4},
    }


def test_faults_are_counted_in_the_table(metrics):
    found = metrics["gold_standard"]
    assert found["column_sums"] == {
        "trust": {"counted": 5, "printed": 5},
        "hard_money": {"counted": 5, "printed": 9},
        "rare": {"counted": 1, "printed": None},
    }
    assert found["without_label"] == ["p3"]
    assert found["expected_empty"] == {"other": ["p1"]}
    assert found["other_columns"] == ["other"]
    assert found["faults"] == [
        "hard money: the table ticks 5 papers, the text of the publication counts 9; the table is used as it is.",
        "1 paper (p3) has none of the labels; it counts as 0 for every label that was judged.",
        "other: 1 paper (p1) is ticked, though the text says none.",
    ]


def test_a_gold_standard_without_notes(gold):
    bare = gold_standard(gold.matrix, gold.records.values())
    found = evaluate(
        LABELS, bare, {"transfer": system(gold, np.random.default_rng(1))}, SETTINGS, np.random.default_rng(2)
    )
    assert found.gold_standard is not None
    assert len(found.gold_standard.faults) == 1
    assert "p3" in accuracy_markdown(found)


def test_text_basis_of_a_paper():
    assert text_basis(None) == "none"
    assert text_basis(record("p1", "", "title-only")) == "title_only"
    assert text_basis(record("p1", "The  synopsis.", synopsis="The synopsis.")) == "synopsis"
    assert text_basis(record("p1", "Another text.", synopsis="The synopsis.")) == "abstract"
    assert text_basis(record("p1", "Fetched.", "title-only")) == "abstract"


def test_gold_records_that_do_not_match_are_refused(gold):
    with pytest.raises(MechtagError, match=r"none of its 8 papers matches a record"):
        gold_standard(gold.matrix, [record("p99")])
    twin = record("p1").model_copy(update={"record_id": "another"})
    with pytest.raises(MechtagError, match=r"'p1' matches two records: record 2 of gold\.jsonl and record 2 of gold"):
        gold_standard(gold.matrix, [record("p1"), twin])


def test_predictions_that_do_not_match_are_refused(gold, systems):
    def run(rows, name="transfer"):
        evaluate(LABELS, gold, {name: rows}, SETTINGS, np.random.default_rng(1))

    rows = systems["leave_one_out"]
    with pytest.raises(
        MechtagError,
        match=r"predictions of transfer: there is no prediction of label 'trust' for record doi:10\.1234/p0",
    ):
        run(rows[1:])
    with pytest.raises(MechtagError, match=r"record doi:10\.1234/p0, label 'trust': there are two predictions"):
        run([*rows, rows[0]])
    with pytest.raises(MechtagError, match="score nan is not a finite number"):
        run([rows[0].model_copy(update={"score": math.nan}), *rows[1:]])
    with pytest.raises(MechtagError, match="is 'needs review', but its probability or threshold is missing"):
        run([rows[0].model_copy(update={"decision": "refer", "probability": None}), *rows[1:]])
    with pytest.raises(MechtagError, match="expected predictions named transfer or leave_one_out, found tfidf"):
        run(rows, "tfidf")


def test_second_coder_must_have_coded_the_same(gold, systems, coded):
    for change, message in [
        ({"key": "x"}, "no coded record has the key 'x'"),
        (
            {"sentence_labels": ((),)},
            "record with the key 'c0' has 1 sentence, but the coded record with this key has 2",
        ),
    ]:
        second = [coded.second[0].model_copy(update=change)]
        wrong = CodedSet(coded.records, coded.documents, coded.sentences, second=second)
        with pytest.raises(MechtagError, match=message):
            evaluate(LABELS, gold, systems, SETTINGS, np.random.default_rng(1), coded=wrong)


def test_papers_coded_as_irrelevant_do_not_count_as_lost(gold, systems, coded):
    matrix = gold.matrix
    rows = [
        replace(row, cells={**row.cells, "relevant": "0" if row.cells["key"] in ("p0", "p1") else "1"})
        for row in matrix.rows
    ]
    with_relevance = replace(gold, matrix=replace(matrix, columns=(*matrix.columns, "relevant"), rows=tuple(rows)))
    found = evaluate(LABELS, with_relevance, systems, SETTINGS, np.random.default_rng(2), coded=coded).content()
    relevance = found["relevance"]["gold"]
    assert (relevance["included"], set(relevance["ranks"]) & {"p0", "p1"}) == (6, set())
    assert relevance["papers"] == relevance["kept"] + relevance["no"]
