"""Test ``mechtag next``, which selects papers to code from a tagged search, and reads the filled-in table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from mechtag.core.parquet import write_predictions, write_records
from mechtag.core.records import Coding, Prediction, Record
from mechtag.pipeline.annotations.versions import Additions, append_history, write_additions
from tests.support.command import call

CODEBOOK = {
    "name": "gardens",
    "relevance": {"key": "about_gardens", "definition": "Growing food at home."},
    "labels": [
        {"key": "watering", "name": "Watering", "definition": "Plants are given water."},
        {"key": "pests", "name": "Pests", "definition": "Slugs or beetles eat the plants."},
    ],
}
COUNT = 12


@pytest.fixture
def review(tmp_path: Path) -> Path:
    """Return a project with a tagged search and no codes: paper 0 probably has the first label, paper 1 the second."""
    (tmp_path / "codebook.yaml").write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    train = {"records": "coded.jsonl", "added": "added"}
    settings = yaml.safe_dump({"codebook": "codebook.yaml", "train": train})
    (tmp_path / "params.yaml").write_text(settings, encoding="utf-8")
    tagged = tmp_path / "tagged"
    tagged.mkdir()
    records = [
        Record(record_id=f"doi:10.5555/{number}", doi=f"10.5555/{number}", title=f"Notes from the garden, {number}")
        for number in range(COUNT)
    ]
    write_records(tagged / "records.parquet", records)
    chances = {"watering": {0: 0.9, 2: 0.5}, "pests": {1: 0.8, 2: 0.5}}
    write_predictions(
        tagged / "predictions.parquet",
        [
            Prediction(
                record_id=record.record_id,
                label=label,
                score=0.0,
                probability=0.9 * given,
                given_relevant=None if label == "about_gardens" else given,
                decision="refer",
                model_id="definitions-1",
            )
            for number, record in enumerate(records)
            for label in ("about_gardens", "watering", "pests")
            for given in [chances.get(label, {}).get(number, 0.01) if label != "about_gardens" else 1.0]
        ],
    )
    return tmp_path


def code(review: Path, number: int, labels: list[str]) -> None:
    """Add a coded paper of an earlier review, whose key differs from the ids of the search."""
    row = {
        "key": f"garden-{number}",
        "title": f"Notes from the garden, {number}",
        "doi": f"10.5555/{number}",
        "relevant": True,
        "labels": labels,
        "sentences": [{"text": "We visited some plots."}],
        "coder": "one",
        "basis": "abstract",
        "codebook": "gardens",
    }
    with (review / "coded.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_without_any_code(review: Path) -> None:
    status, output, message = call("next", review / "tagged", "-n", 5, "-o", review / "next.csv", "--project", review)
    assert status == 0, message
    assert "Coded so far: 0 papers, 0 of them in this search of 12" in output
    assert "Labels without a coded paper: Watering, Pests" in output
    assert "To code next: 5 papers (4 for labels with few examples, 1 drawn at random)" in output
    rows = table(review / "next.csv")
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[0]["record_id"] == "doi:10.5555/0"
    assert rows[0]["why"] == "few examples of Watering (0 coded papers); probability for this paper: 0.81"
    assert rows[1]["record_id"] == "doi:10.5555/1"
    assert rows[4]["why"] == "drawn at random"


def test_codes_of_the_project_count(review: Path) -> None:
    code(review, 1, ["watering"])
    code(review, 99, ["watering"])  # a paper of a different search
    status, output, message = call("next", review / "tagged", "-n", 50, "-o", review / "next.csv", "--project", review)
    assert status == 0, message
    assert "Coded so far: 2 papers, 1 of them in this search of 12" in output
    assert "Labels without a coded paper: Pests" in output
    rows = table(review / "next.csv")
    assert len(rows) == COUNT - 1
    assert "doi:10.5555/1" not in [row["record_id"] for row in rows]
    assert rows[0]["why"].startswith("few examples of Pests (0 coded papers)")


def test_codes_of_a_retraining_that_promoted_no_model_count(review: Path) -> None:
    """Nobody has to code these papers again, because the next retraining uses their codes."""
    code(review, 1, ["watering"])
    paper = Record(record_id="doi:10.5555/0", doi="10.5555/0", title="Notes from the garden, 0")
    codes = [
        Coding(record_id=paper.record_id, coder="Ann", label=label, value=1, basis="abstract")
        for label in ("about_gardens", "watering")
    ]
    version = write_additions(review / "added", Additions(tuple(codes), (paper,)))
    append_history(review / "added", {"event": "2 not promoted", "version": version, "champion": "1", "reasons": []})
    status, output, message = call("next", review / "tagged", "-n", 50, "-o", review / "next.csv", "--project", review)
    assert status == 0, message
    assert "Coded so far: 2 papers, 2 of them in this search of 12" in output
    assert "doi:10.5555/0" not in [row["record_id"] for row in table(review / "next.csv")]
    described = call("status", "--project", review)[1]
    assert (
        "Codes:     1 record coded, 1 of them relevant; 1 more record coded, which the next retraining will use, "
        "because the last one did not promote its model\n"
    ) in described


def test_the_filled_in_table_is_read_back_and_never_overwritten(review: Path) -> None:
    words = ("next", review / "tagged", "-n", 3, "-o", review / "next.csv", "--project", review)
    assert call(*words)[0] == call(*words)[0] == 0
    rows = table(review / "next.csv")
    rows[0].update({"decision": "yes", "Watering: your code": "1", "Pests: your code": "0"})
    with (review / "next.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    status, _, message = call(*words)
    assert status == 1
    assert "would delete 1 decision that a person filled in" in message
    records = review / "tagged/records.parquet"
    status, _, message = call(
        *("codings", review / "next.csv", "--records", records, "-o", review / "codings.csv", "--project", review),
        *("--coder", "Ann", "--basis", "abstract"),
    )
    assert status == 0, message
    codes = {row["label"]: row["value"] for row in table(review / "codings.csv")}
    assert codes == {"about_gardens": "1", "watering": "1", "pests": "0"}


def test_predictions_for_other_records(review: Path) -> None:
    records = [Record(record_id="doi:10.5555/elsewhere", title="Notes from elsewhere")]
    write_records(review / "tagged/records.parquet", records)
    status, _, message = call("next", review / "tagged", "-o", review / "next.csv", "--project", review)
    assert status == 1
    assert "predictions are missing for these labels: about_gardens, watering, pests" in message


def test_mistakes_are_explained(review: Path) -> None:
    words = ("next", review / "tagged", "--project", review, "-o")
    assert "must end in .csv" in call(*words, review / "next.xlsx")[2]
    assert "no such file" in call("next", review / "elsewhere", "-o", review / "next.csv", "--project", review)[2]
    for wrong in (review, review / "tagged/predictions.parquet"):
        message = call("next", wrong, "-o", review / "next.csv", "--project", review)[2]
        assert "predictions.parquet is missing; pass the folder that was the output of 'mechtag tag'" in message
    for number in range(COUNT):
        code(review, number, [])
    assert "all 12 papers of this search are coded" in call(*words, review / "next.csv")[2]
    other = {**CODEBOOK, "labels": [*CODEBOOK["labels"], {"key": "shade", "name": "Shade", "definition": "Walls."}]}
    (review / "codebook.yaml").write_text(yaml.safe_dump(other), encoding="utf-8")
    assert "predictions are missing for these labels: shade" in call(*words, review / "next.csv")[2]
