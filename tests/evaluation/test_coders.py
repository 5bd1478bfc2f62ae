"""Test how coders are compared with each other and with the model, and which codes to settle first."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.parquet import write_predictions, write_records
from mechtag.core.records import Coding, Prediction, Record
from mechtag.evaluation.coders import (
    CONTRADICTED,
    DIFFER,
    Coders,
    agreement_section,
    coders_of,
    confident_errors,
    disagreement,
    to_adjudicate,
    with_model,
)
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import draw_resamples
from tests.support.command import call
from tests.support.paths import ROOT

NAN = np.nan
LABELS = ("relevant", "a", "b")


def coding(record, coder, label, value, key=None):
    return Coding(record_id=record, key=key, coder=coder, label=label, value=value, basis="abstract")


def coders(codes, probability=None, model=False, labels=LABELS):
    codes = np.array(codes, float)
    records = tuple(f"r{number}" for number in range(codes.shape[1]))
    names = tuple("xyz"[: len(codes)])
    shape = codes.shape[1:]
    found = np.full(shape, NAN) if probability is None else np.array(probability, float)
    return Coders(names, model, records, tuple(None for _ in records), labels, codes, found)


def random_coders(generator, people=3, records=40, missing=0.2):
    true = generator.random((records, 3)) < 0.4
    codes = np.where(generator.random((people, records, 3)) < 0.8, true, ~true).astype(float)
    codes[generator.random(codes.shape) < missing] = NAN
    return coders(codes)


def prediction(record, label, probability):
    decision = "yes" if probability >= 0.5 else "no"
    return Prediction(
        record_id=record,
        label=label,
        score=probability,
        probability=probability,
        threshold=0.5,
        decision=decision,
        model_id="toy",
    )


def test_a_record_is_found_by_id_and_by_key():
    rows = [coding("r1", "x", "a", 1, key="k"), coding(None, "y", "a", 0, key="k"), coding(None, "y", "b", 1, key="l")]
    found = coders_of(rows, LABELS, "codes.csv", {"l": "r2"})
    assert (found.names, found.records, found.keys) == (("x", "y"), ("r1", "r2"), ("k", "l"))
    np.testing.assert_array_equal(found.codes[:, 0, 1], [1, 0])
    np.testing.assert_array_equal(found.codes[:, 1], [[NAN, NAN, NAN], [NAN, NAN, 1]])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [coding("r1", "x", "a", 1, key="k"), coding(None, "x", "a", 0, key="k")],
            r"codes\.csv: coder x coded label 'a' twice for record r1, with different values",
        ),
        (
            [
                coding("r1", "x", "a", 1, key="k"),
                coding("r2", "x", "a", 0, key="k"),
                coding(None, "y", "a", 1, key="k"),
            ],
            r"codes\.csv: the key 'k' belongs to two records; fill in 'record_id' in the rows with this key",
        ),
        (
            [coding("r1", "mechtag", "a", 1)],
            r"codes\.csv: the coder name 'mechtag' is reserved for the model; rename this coder",
        ),
    ],
)
def test_codings_that_cannot_be_told_apart_are_refused(rows, message):
    with pytest.raises(MechtagError, match=message):
        coders_of(rows, LABELS, "codes.csv")


def test_records_of_one_coder_are_left_out_where_others_have_several():
    found = coders([[[1, 1, 0], [1, 0, 0]], [[NAN, NAN, NAN], [1, NAN, NAN]]])
    assert found.of_several().records == ("r1",)
    alone = coders([[[1, 1, 0], [1, 0, 0]]])
    assert alone.of_several() is alone


def test_the_model_is_one_more_coder_and_must_know_every_record():
    people = coders([[[1, 1, 0], [0, 0, 0]]])
    rows = [prediction(f"r{n}", label, 0.25 + n / 2) for n in (0, 1) for label in LABELS]
    found = with_model(people, System("toy", rows))
    assert (found.names, found.people) == (("x", "mechtag"), 1)
    np.testing.assert_array_equal(found.codes[1], [[0, 0, 0], [1, 1, 1]])
    np.testing.assert_array_equal(found.probability, [[0.25] * 3, [0.75] * 3])
    with pytest.raises(MechtagError, match="predictions of toy: there is no prediction of label 'b' for record r1"):
        with_model(people, System("toy", rows[:-1]))


def test_records_of_one_coder_do_not_count_in_the_agreement_of_all():
    both, one_only = [[1, 1, 0], [0, 0, 0], [1, 0, 0]], [[1, 1, 0]] * 7
    found = coders([both + one_only, both + [[NAN, NAN, 0]] * 7])
    draws = draw_resamples(10, 50, 0, np.random.default_rng(2))
    labels = agreement_section(found, "relevant", draws, 2)["all"]["humans"]["labels"]
    assert [labels[label]["n"] for label in LABELS] == [3, 3, 10]
    assert labels["relevant"]["krippendorff_alpha"]["value"] == 1
    # Eight records have label a, but seven of them were judged by one coder only.
    assert labels["a"]["note"].startswith("too few: 1 item coded yes")


def test_pairs_agree_with_scikit_learn_on_codes_of_both():
    found = random_coders(np.random.default_rng(1))
    section = agreement_section(found, "relevant", draw_resamples(40, 50, 0, np.random.default_rng(2)), 1)
    assert [(pair["a"], pair["b"]) for pair in section["pairs"]] == [("x", "y"), ("x", "z"), ("y", "z")]
    for pair in section["pairs"]:
        first, second = (found.codes[found.names.index(pair[side])] for side in "ab")
        both = ~np.isnan(first) & ~np.isnan(second)
        for column, label in enumerate(LABELS):
            seen = both[:, column]
            assert pair["labels"][label]["n"] == seen.sum()
            expected = cohen_kappa_score(first[seen, column], second[seen, column])
            assert pair["labels"][label]["cohen_kappa"]["value"] == pytest.approx(expected, abs=1e-6)
            counted = [pair["labels"][label][cell] for cell in ("both_yes", "only_a", "only_b", "both_no")]
            table = [((first == i) & (second == j))[:, column].sum() for i, j in ((1, 1), (1, 0), (0, 1), (0, 0))]
            assert counted == table
        # The pooled metrics exclude relevance.
        seen = both[:, 1:]
        expected = cohen_kappa_score(first[:, 1:][seen], second[:, 1:][seen])
        assert pair["pooled"]["n"] == seen.sum()
        assert pair["pooled"]["cohen_kappa"]["value"] == pytest.approx(expected, abs=1e-6)
        assert pair["pooled"]["cohen_kappa"]["ci_low"] < expected < pair["pooled"]["cohen_kappa"]["ci_high"]


def test_intervals_draw_whole_records():
    # Two labels with the same codes are no more evidence than one.
    generator = np.random.default_rng(3)
    one = (generator.random((2, 50, 1)) < 0.5).astype(float)
    draws = draw_resamples(50, 200, 0, generator)
    single = agreement_section(coders(one, labels=("a",)), "", draws, 1)["pairs"][0]["pooled"]
    double = agreement_section(coders(np.repeat(one, 2, axis=2), labels=("a", "b")), "", draws, 1)["pairs"][0]["pooled"]
    assert double["n"] == 2 * single["n"]
    assert double["cohen_kappa"] == single["cohen_kappa"]


def test_coders_without_a_common_record_are_not_compared():
    apart = coders([[[1, 1, 0], [NAN] * 3], [[NAN] * 3, [1, 0, 0]]])
    section = agreement_section(apart, "relevant", draw_resamples(2, 20, 0, np.random.default_rng(1)), 1)
    assert section["pairs"] == []
    assert section["all"]["humans"]["fleiss_kappa"]["value"] is None
    assert section["all"]["humans"]["undefined"]["gwet_ac1"] == "no item was judged by two coders"


def test_too_few_codes_and_undefined_metrics_are_noted():
    same = coders([[[1, 0, 0]] * 6, [[1, 0, 1]] * 6])
    (pair,) = agreement_section(same, "relevant", draw_resamples(6, 20, 0, np.random.default_rng(1)), 5)["pairs"]
    assert pair["labels"]["a"]["note"] == "too few: 0 items coded yes by at least one coder; metrics need 5"
    assert pair["labels"]["a"]["agreement"] == {"value": None, "ci_low": None, "ci_high": None}
    assert pair["labels"]["relevant"]["gwet_ac1"]["value"] == 1
    assert "all codes are the same" in pair["labels"]["relevant"]["undefined"]["cohen_kappa"]
    json.dumps(pair, allow_nan=False)


# What to settle first


def test_confident_errors_by_hand():
    # The mean probability of yes is 0.55 for the yes codes, and that of no is 0.645 for the no codes.
    code = np.array([1, 1, 1, 1, 0, 0, 0, 0, NAN])
    probability = np.array([0.9, 0.8, 0.4, 0.1, 0.65, 0.52, 0.15, 0.1, 0.99])
    np.testing.assert_allclose(confident_errors(code, probability), [0, 0, 0, 0.9, 0.65, 0, 0, 0, 0])


@pytest.mark.parametrize("code", [[1, 1], [0, 0], [NAN, NAN]])
def test_codes_are_not_doubted_if_all_are_equal(code):
    assert confident_errors(np.array(code, float), np.array([0.01, 0.99])).tolist() == [0, 0]


def test_without_probabilities_nothing_is_doubted():
    assert confident_errors(np.array([1.0, 0.0]), np.array([NAN, NAN])).tolist() == [0, 0]


def test_disagreement_is_the_share_of_pairs():
    codes = np.array([[1, 1, 1, 1], [1, 0, 0, NAN], [1, 1, NAN, NAN]])
    assert disagreement(codes).tolist() == [0, 2 / 3, 1, 0]


def test_planted_errors_are_found():
    generator = np.random.default_rng(5)
    true = generator.random(400) < 0.3
    probability = np.clip(np.where(true, 0.8, 0.15) + generator.normal(0, 0.1, 400), 0.01, 0.99)
    wrong = generator.choice(400, 20, replace=False)
    code = true.astype(float)
    code[wrong] = 1 - code[wrong]
    found = set(np.flatnonzero(confident_errors(code, probability)))
    # The threshold is a mean, so about half of the errors are found, and hardly any correct codes.
    assert len(found & set(wrong)) >= 8
    assert len(found - set(wrong)) <= 1


def test_codes_to_settle_are_ordered():
    # Coders disagree on a in r0, and on a and b in r1; in r2, both code a as no, but the model is sure of yes.
    people = [
        [[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 1]],
        [[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 1]],
    ]
    probability = [[0.9, 0.5, 0.2], [0.9, 0.5, 0.5], [0.9, 0.95, 0.2], [0.9, 0.9, 0.2], [0.9, 0.1, 0.8]]
    found = to_adjudicate(coders(people, probability), 1)
    assert [(one["record_id"], one["label"], one["reason"], one["score"]) for one in found] == [
        ("r1", "a", DIFFER, 1.0),
        ("r1", "b", DIFFER, 1.0),
        ("r0", "a", DIFFER, 1.0),
        ("r2", "a", CONTRADICTED, 0.95),
    ]
    assert found[0]["codes"] == {"x": 1, "y": 0}
    assert found[3]["probability"] == 0.95
    # Codes of rare labels are not doubted because of the model, but coders may still disagree on them.
    assert [one["reason"] for one in to_adjudicate(coders(people, probability), 99)] == [DIFFER] * 3


# The command


@pytest.fixture
def table(tmp_path):
    """Write codings by three coders, with some codes missing, and predictions for their records; return the codings."""
    labels = load_codebook(ROOT / "data/annotated/codebook.yaml").all_keys
    generator = np.random.default_rng(1)
    lines = ["key,record_id,coder,label,value,basis"]
    predictions = []
    for number in range(12):
        for place, label in enumerate(labels):
            code = int(generator.random() < 0.5)
            predictions.append(prediction(f"doi:10.1234/{number}", label, 0.2 + 0.6 * code))
            for coder in ("ann", "bob", "cy"):
                value = "" if coder == "cy" and (number + place) % 4 == 0 else code ^ (generator.random() < 0.2)
                # The rows of one coder contain only the key.
                record_id = "" if coder == "bob" else f"doi:10.1234/{number}"
                lines.append(f"k{number},{record_id},{coder},{label},{value},abstract")
    path = tmp_path / "codings.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    write_predictions(tmp_path / "predictions.parquet", predictions)
    return path


def agreement(table, *words):
    output = table.with_name("agreement.json")
    settings = ("--project", ROOT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        status, printed, message = call("agreement", table, "-o", output, *settings, *words)
    return status, printed, message, json.loads(output.read_text()) if output.exists() else None


def test_command_compares_people_and_the_model(table):
    status, printed, message, found = agreement(table, "--predictions", table.with_name("predictions.parquet"))
    assert status == 0, message
    assert found["records"] == 12
    assert [(pair["a"], pair["b"], pair["kind"]) for pair in found["pairs"]] == [
        ("ann", "bob", "human-human"),
        ("ann", "cy", "human-human"),
        ("bob", "cy", "human-human"),
        ("ann", "mechtag", "human-model"),
        ("bob", "mechtag", "human-model"),
        ("cy", "mechtag", "human-model"),
    ]
    kappa = found["pairs"][0]["pooled"]["cohen_kappa"]["value"]
    assert f"{kappa:.2f}" in printed
    assert "Codes to resolve first" in printed
    # Six pairs of coders are too many for columns of a terminal, so Fleiss' kappa is shown.
    assert "Fleiss' kappa of each label" in printed
    assert f"{found['all']['with_model']['labels']['wider_view']['fleiss_kappa']['value']:.2f}" in printed
    assert found["all"]["humans"]["fleiss_kappa"]["value"] != found["all"]["with_model"]["fleiss_kappa"]["value"]
    assert {one["reason"] for one in found["adjudicate"]} <= {DIFFER, CONTRADICTED}


def test_command_with_people_alone(table):
    status, _, message, found = agreement(table)
    assert status == 0, message
    assert [coder["kind"] for coder in found["coders"]] == ["human"] * 3
    assert set(found["all"]) == {"humans"}


def test_command_finds_ids_by_key_in_the_records(table):
    text = table.read_text(encoding="utf-8")
    for number in range(12):
        text = text.replace(f"doi:10.1234/{number},", ",")
    table.write_text(text, encoding="utf-8")
    words = ("--predictions", table.with_name("predictions.parquet"))
    status, _, message, _ = agreement(table, *words)
    assert (status, "no prediction of label 'relevant' for record k0" in message) == (1, True)
    records = [
        Record(record_id=f"doi:10.1234/{number}", title="T", raw=(("key", f"k{number}"),)) for number in range(12)
    ]
    write_records(table.with_name("records.parquet"), records)
    status, _, message, found = agreement(table, *words)
    assert status == 0, message
    assert found["adjudicate"][0]["key"].startswith("k")


def test_command_needs_two_coders(table):
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(line for line in lines if ",bob," not in line and ",cy," not in line), encoding="utf-8")
    status, _, message, found = agreement(table)
    assert (status, found) == (1, None)
    assert "the only coder is ann; agreement requires two coders" in message


def test_a_repeated_code_counts_once() -> None:
    twice = [coding("r1", "x", "a", 1, key="k"), coding(None, "x", "a", 1, key="k")]
    found = coders_of(twice, ("r", "a"), "codes.csv")
    assert (found.names, found.codes[0, 0, 1]) == (("x",), 1)
