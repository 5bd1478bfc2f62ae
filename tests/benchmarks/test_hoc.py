"""Test the benchmark on the Hallmarks of Cancer corpus: metrics, thresholds, data splits, the plot and training."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from benchmarks.hallmarks import CODEBOOK, SHOTS, load_hallmarks, split
from benchmarks.hoc import mean_interval
from benchmarks.peers import choose_thresholds, score_decisions
from benchmarks.sets import BENCH
from mechtag.core.parquet import read_predictions
from mechtag.evaluation.metrics import Resamples, as_it_is, example_f1
from mechtag.evaluation.report.svg import line_chart
from tests.support.command import call

needs_data = pytest.mark.skipif(
    not BENCH.is_dir(), reason=f"{BENCH} is missing; set MECHTAG_BENCH to the benchmark data"
)


def test_example_based_f1_of_a_case_worked_by_hand() -> None:
    targets = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)
    decided = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]], dtype=bool)
    judged = score_decisions(decided, targets)
    # The three papers with a label have precision 1, 0, 0 and recall 1/2, 0, 0; the means are 1/3 and 1/6.
    expected = 2 * (1 / 3) * (1 / 6) / (1 / 3 + 1 / 6)
    assert example_f1(judged, as_it_is(judged.truth)) == pytest.approx([expected])
    drawn_twice = Resamples(np.array([[3.0, 1, 0, 1]]), judged.truth[None])
    # Of the drawn papers, four have a label; their mean precision is 3/4, their mean recall 3/8.
    assert example_f1(judged, drawn_twice) == pytest.approx([2 * 0.75 * 0.375 / 1.125])


def test_labels_that_were_not_judged_do_not_count() -> None:
    judged = score_decisions(np.array([[True, True]]), np.array([[True, False]]))
    judged.truth[0, 1] = np.nan
    assert example_f1(judged, as_it_is(judged.truth)) == [1.0]


def test_example_based_f1_is_zero_without_suggestions() -> None:
    judged = score_decisions(np.array([[False, False]]), np.array([[True, False]]))
    assert example_f1(judged, as_it_is(judged.truth)) == [0.0]


def test_thresholds_are_found_if_all_probabilities_are_below_one_half() -> None:
    chances = np.array([[0.3, 0.1], [0.1, 0.2]])
    thresholds, score = choose_thresholds(chances, np.eye(2, dtype=bool))
    assert score == 1.0
    assert ((chances >= thresholds) == np.eye(2, dtype=bool)).all()


def test_thresholds_maximise_the_metric() -> None:
    targets = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool)
    apart = np.array([[0.3, 0.7], [0.3, 0.7], [0.1, 0.9], [0.1, 0.9]])
    thresholds, score = choose_thresholds(apart, targets)
    assert score == 1.0
    np.testing.assert_array_equal(apart >= thresholds, targets)


def test_interval_uses_students_t() -> None:
    mean, interval = mean_interval([0.8, 0.9])
    assert mean == pytest.approx(0.85)
    assert interval == pytest.approx((0.85 - 12.706 * 0.05, 0.85 + 12.706 * 0.05), abs=1e-4)
    assert mean_interval([0.8]) == (0.8, None)


def test_splits_do_not_overlap_and_few_shots_come_from_the_first_part() -> None:
    generator = np.random.default_rng(1)
    targets = generator.random((400, 4)) < [0.05, 0.1, 0.3, 0.6]
    whole = split(targets, 2021)
    assert [len(part) for part in (whole.learnt, whole.valid, whole.held)] == [280, 40, 80]
    assert sorted(np.concatenate([whole.known, whole.held])) == list(range(400))
    for shots in SHOTS:
        task = split(targets, 2021, shots)
        np.testing.assert_array_equal(task.held, whole.held)
        assert len(set(task.known)) == len(task.known)
        assert set(task.known) <= set(whole.learnt)
        least = np.minimum(shots, targets[whole.learnt].sum(axis=0))
        assert (targets[task.known].sum(axis=0) >= least).all()
    assert not np.array_equal(split(targets, 2022).held, whole.held)


def test_chart_is_readable_without_colour_and_by_screen_readers() -> None:
    lines = {"ours": [(8, 0.5), (16, 0.7)], "theirs <1>": [(8, 0.5), (16, 0.695)]}
    chart = line_chart(lines, title="F1 & shots", description="Two lines.", x_name="shots", y_name="F1")
    root = ElementTree.fromstring(chart)
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert [root.findtext(f"{space}{name}") for name in ("title", "desc")] == ["F1 & shots", "Two lines."]
    drawn = [path for path in root.iter(f"{space}path") if path.get("stroke-dasharray") and "L" in path.get("d", "")]
    assert len({path.get("stroke-dasharray") for path in drawn}) == len(drawn) == 2
    markers = [path.get("d") for path in root.iter(f"{space}path") if path.get("transform")]
    assert len(set(markers)) == 2
    texts = [text.text for text in root.iter(f"{space}text")]
    assert {"ours", "theirs <1>", "8", "16", "0.5", "0.7"} <= set(texts)
    heights = [float(text.get("y", 0)) for text in root.iter(f"{space}text") if text.text in lines]
    assert abs(heights[0] - heights[1]) >= 14


@needs_data
def test_corpus_is_that_of_the_published_comparisons() -> None:
    hallmarks = load_hallmarks()
    assert hallmarks.targets.shape == (1580, 10)
    of_sentences = [
        [any(key in labels for labels in coded.sentence_labels or ()) for key in hallmarks.codebook.keys]
        for coded in hallmarks.documents
    ]
    np.testing.assert_array_equal(of_sentences, hallmarks.targets)
    assert sum(len(coded.document.sentences) for coded in hallmarks.documents) == 14919


@needs_data
@pytest.mark.slow
def test_command_line_trains_on_hallmarks_coded_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    hallmarks = load_hallmarks()
    rows = [
        {
            "key": coded.record_id,
            "pmid": coded.record_id.removeprefix("pmid:"),
            "title": coded.document.sentences[0],
            "relevant": True,
            "labels": [key for key, code in coded.codes.items() if code],
            "sentences": [{"text": sentence} for sentence in coded.document.sentences],
            "coder": "corpus",
            "basis": "abstract",
            "codebook": hallmarks.codebook.name,
        }
        for coded in hallmarks.documents[:240]
    ]
    (tmp_path / "coded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    params = {"codebook": str(CODEBOOK), "train": {"records": "coded.jsonl", "exemplars": "", "folds": 3}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    status, _, message = call("train", "-o", "model", "--out-of-fold", "oof")
    assert status == 0, message
    found = {
        (row.record_id, row.label): row.probability >= row.threshold
        for row in read_predictions(tmp_path / "oof/documents.parquet")
        if row.probability is not None and row.threshold is not None
    }
    ids = [f"pmid:{row['pmid'].lstrip('0')}" for row in rows]
    decided = np.array([[found[record_id, key] for key in hallmarks.codebook.keys] for record_id in ids])
    judged = score_decisions(decided, hallmarks.targets[:240])
    # Chance is about 0.3; a model trained on 240 abstracts reaches well above 0.6.
    assert example_f1(judged, as_it_is(judged.truth))[0] > 0.6
