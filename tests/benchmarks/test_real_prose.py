"""Test the counts of the benchmark on real abstracts, with made-up data."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.real_prose import TOTAL, called_relevant, kinds, read_sets, shares
from mechtag.core.errors import MechtagError
from mechtag.core.records import Decision, Prediction, Record


def row(record_id: str, label: str, decision: Decision, probability: float = 0.5) -> Prediction:
    return Prediction(
        record_id=record_id,
        label=label,
        score=0.0,
        probability=probability,
        threshold=0.5,
        decision=decision,
        model_id="m",
    )


def decisions(record_id: str, relevance: Decision, *labels: Decision, probability: float = 0.5) -> list[Prediction]:
    first = row(record_id, "edible", relevance, probability)
    return [first, *(row(record_id, f"label {number}", one) for number, one in enumerate(labels))]


DECIDED = {
    "one": [
        *decisions("one:0", "yes", "yes", "refer", probability=0.7),
        *decisions("one:1", "no", "no", "no"),
        *decisions("one:2", "refer", "refer", "no"),
        *decisions("one:3", "no", "no", "no"),
    ],
    "two": decisions("two:0", "yes", "yes", "yes", probability=0.9),
    "none": [],
}


def test_shares_of_each_set_and_of_all() -> None:
    found: dict[str, dict[str, Any]] = {}
    for one in shares(DECIDED, "edible"):
        found.setdefault(one["dataset"], {})[one["metric"]] = one["value"]
    names = ("abstracts", "relevant", "relevance to people", "labels yes", "labels to people")
    assert {name: tuple(own[key] for key in names) for name, own in found.items()} == {
        "one": (4, 1 / 4, 1 / 4, 1 / 8, 2 / 8),
        "two": (1, 1, 0, 1, 0),
        "none": (0, 0, 0, 0, 0),
        TOTAL: (5, 2 / 5, 1 / 5, 3 / 10, 2 / 10),
    }


def test_abstracts_tagged_relevant_are_listed_by_probability() -> None:
    records = {
        "one": [Record(record_id=f"one:{number}", title=f"Title {number}") for number in range(4)],
        "two": [Record(record_id="two:0", title="", abstract="Without a title.")],
        "none": [],
    }
    assert called_relevant(records, DECIDED, "edible") == [
        ("two", 0.9, "Without a title.", "label 0, label 1"),
        ("one", 0.7, "Title 0", "label 0"),
    ]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8")
    with opened as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_each_record_with_an_abstract_is_read_once(tmp_path: Path) -> None:
    write(
        tmp_path / "screening/b.csv.gz",
        [
            {"title": "One", "abstract": "It rained.", "label": "1"},
            {"title": "Two", "abstract": "It <i>snowed</i>. © 2019 Elsevier Ltd.", "label": "0"},
            {"title": "Three", "abstract": " ", "label": "0"},
        ],
    )
    write(tmp_path / "screening/a.csv.gz", [{"title": "Uno", "abstract": "it rained", "label": "0"}])
    write(tmp_path / "multilabel/hoc_documents.csv.gz", [{"title": "", "abstract": "It hailed."}])
    (tmp_path / "references/deep/er").mkdir(parents=True)
    lines = [{"title": "Four", "abstract": "The sun shone."}, {"title": "Five", "abstract": "It snowed."}]
    (tmp_path / "references/deep/er/some.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (tmp_path / "references/deep/other.bin").write_bytes(b"\x00\x01")
    found = {name: [(one.title, one.abstract) for one in records] for name, records in read_sets(tmp_path)}
    assert found == {
        "a": [("Uno", "it rained")],
        "b": [("Two", "It snowed.")],
        "hoc_documents": [("", "It hailed.")],
        "references": [("Four", "The sun shone.")],
    }


def test_missing_data_are_reported(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="nowhere: no such folder; set MECHTAG_BENCH to the folder"):
        list(read_sets(tmp_path / "nowhere"))


def test_kinds_are_shown_only_for_the_model_that_was_checked(tmp_path: Path) -> None:
    path = tmp_path / "kinds.md"
    assert kinds("abc", path) == "The abstracts that model abc calls relevant have not been read and sorted by kind."
    path.write_text("model abc\n\n| kind | papers |\n|---|---:|\n| teams | 3 |\n", encoding="utf-8")
    assert kinds("abc", path).startswith("| kind | papers |")
    assert "have not been read" in kinds("abcd", path)
