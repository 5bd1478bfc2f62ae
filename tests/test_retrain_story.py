"""Retraining as reviewers live through it: new annotations come in, are tried, taken or not, and given back.

Gardens again, as in `test_codebook_swap`: codes follow from the words of invented papers.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from models.artifact import load_model, read_config
from pipeline.store import read_predictions
from pipeline.versions import list_versions, read_additions, read_history, version_in_use
from tests.test_cli import call
from tests.test_codebook_swap import CODEBOOK, LABELS, by_sentence, carried, export, papers

ADDED = Path("data/annotated/added")
HEADER = ["key", "coder", "label", "value", "basis"]
Codes = Callable[[int, str, str], int]


def codings(path: Path, found: list[list[tuple[str, list[str]]]], start: int, value: Codes) -> None:
    """The coding contract: two coders, who judge every label of every paper."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(len(found)):
            for coder in ("ann", "bob"):
                for label in LABELS:
                    writer.writerow([f"p{start + number}", coder, label, value(number, coder, label), "abstract"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose model has learnt from a few papers, with papers to tag and papers to test on."""
    folder = tmp_path_factory.mktemp("story")
    (folder / "data/annotated").mkdir(parents=True)
    (folder / "codebook.yaml").write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    by_sentence(folder, papers(24, seed=1))
    export(folder / "update.jsonl", papers(12, seed=3), 200)
    export(folder / "test.jsonl", papers(8, seed=4), 300)
    content = {
        "codebook": "codebook.yaml",
        "sources": {"gold": "test.jsonl", "update": "update.jsonl"},
        "train": {"records": "coded.jsonl", "exemplars": "", "folds": 3},
        # Papers made of the same few sentences are all alike.
        "retrain": {
            "test_records": "test.jsonl",
            "paraphrase": 1.0,
            "margins": {"across_auc": 0.1, "kappa": 0.2},
            "bootstrap": 200,
        },
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    return project


def done(*words: object) -> str:
    status, out, message = call(*words)
    assert status == 0, message
    return out + message


def model_files(folder: Path = Path("models/trained")) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "mlflow_run.json"}


def alias(name: str) -> str:
    from mlflow import MlflowClient

    return str(MlflowClient().get_model_version_by_alias("mechtag", name).tags["model_id"])


@pytest.mark.slow
def test_the_story(here: Path) -> None:
    from mlflow.exceptions import MlflowException

    done("train")
    first = read_config("models/trained").model_id
    before = model_files()

    # A paper that accuracy is measured on, from another database: nothing is learnt or written.
    tests = json.loads((here / "test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    (here / "leak.jsonl").write_text(json.dumps({**tests, "key": "x1"}) + "\n", encoding="utf-8")
    (here / "leak.csv").write_text(",".join(HEADER) + "\nx1,ann,pests,1,abstract\n", encoding="utf-8")
    status, _, message = call("retrain", "leak.csv", "--records", "leak.jsonl")
    assert (status, list_versions(ADDED), model_files()) == (1, [], before)
    assert f"({tests['title']}): same record id as test paper: {tests['title']}" in message

    # Twenty papers, coded by two people who differ on one label of one of them.
    new = papers(20, seed=2)
    export(here / "new.jsonl", new, 100)
    codings(
        here / "new.csv",
        new,
        100,
        lambda number, coder, label: (
            int(label in carried(new[number])) ^ (number == 3 and coder == "bob" and label == "pests")
        ),
    )
    told = done(
        "retrain", "new.csv", "leak.csv", "--records", "new.jsonl", "--records", "leak.jsonl", "--leave-out-leaks"
    )
    second = read_config("models/trained").model_id
    (version,) = list_versions(ADDED)
    assert f"model {second} is in use now" in told
    assert "120 codes new, 0 corrected, 0 known, 1 set aside" in told
    assert version_in_use(ADDED) == version
    assert second != first
    # Training anew from the data that are in use now gives the very model that was promoted.
    promoted = model_files()
    done("train", "-o", "again", "--out-of-fold", "again-oof")
    assert model_files(Path("again")) == promoted
    rows = read_predictions("data/work/train/documents.parquet")
    assert rows == read_predictions("again-oof/documents.parquet")
    assert len({row.record_id for row in rows}) == 44
    data = load_model("models/trained").config.data
    assert f"{version}/codings.jsonl" in data

    report = Path("reports/retrain") / version
    compared = json.loads((report / "comparison.json").read_text(encoding="utf-8"))
    assert (compared["papers"].keys(), compared["promoted"]) == ({"all papers", "earlier papers", "new papers"}, True)
    figures = {row["figure"]: row for row in compared["papers"]["all papers"]}
    across = figures["across_auc"]
    assert across["difference"] == pytest.approx(across["challenger"] - across["champion"])
    assert across["ci_low"] <= across["difference"] <= across["ci_high"]
    assert (alias("champion"), alias("previous")) == (second, first)
    with (report / "changes.csv").open(encoding="utf-8-sig", newline="") as file:
        changes = list(csv.DictReader(file))
    tagged = {row: [] for row in ("old", "new")}
    for name, model in (("old", Path("models/kept") / first / "model"), ("new", Path("models/trained"))):
        done("tag", "update.jsonl", "-o", name, "--model", model)
        tagged[name] = read_predictions(f"{name}/predictions.parquet")
    flips = {
        (old.record_id, old.label, old.decision, new.decision)
        for old, new in zip(tagged["old"], tagged["new"], strict=True)
        if old.decision != new.decision
    }
    assert {(row["record_id"], row["label"], row["before"], row["after"]) for row in changes} == flips

    # Codes that say the contrary of the text do harm; the model in use stays as it is.
    wrong = papers(20, seed=5)
    export(here / "wrong.jsonl", wrong, 400)
    codings(here / "wrong.csv", wrong, 400, lambda number, _, label: int(label not in carried(wrong[number])))
    told = done("retrain", "wrong.csv", "--records", "wrong.jsonl")
    assert "was not promoted" in told
    assert model_files() == promoted
    assert version_in_use(ADDED) == version
    assert alias("champion") == second

    told = done("retrain", "--rollback")
    assert f"model {first} is in use again" in told
    assert model_files() == before
    assert (version_in_use(ADDED), alias("champion")) == ("", first)
    with pytest.raises(MlflowException, match="alias previous not found"):
        alias("previous")
    assert len({row.record_id for row in read_predictions("data/work/train/documents.parquet")}) == 24
    status, _, message = call("retrain", "--rollback")
    assert (status, "no former one to go back to" in message) == (1, True)
    events = [row["event"] for row in read_history(ADDED)]
    assert [event.split()[1] for event in events] == ["promoted", "not", "back"]
    listed = done("retrain", "--history")
    assert all(name in listed for name in list_versions(ADDED))
    # What was promoted is still there to be taken up again, without the codings that did harm.
    told = done("retrain", "new.csv", "--records", "new.jsonl")
    assert read_config("models/trained").model_id == second
    assert len(read_additions(ADDED, version_in_use(ADDED)).records) == 20

    # Another definition: codes of that label went stale, and the model is tried like any other.
    changed = json.loads(json.dumps(CODEBOOK))
    changed["labels"][0]["definition"] = "Water reaches the plants."
    (here / "codebook.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
    told = done("retrain")
    version = list_versions(ADDED)[-1]
    with (Path("reports/retrain") / version / "stale.csv").open(encoding="utf-8-sig", newline="") as file:
        stale = list(csv.DictReader(file))
    assert {row["label"] for row in stale} == {"watering"}
    assert len(stale) == 24 + 2 * 20
    assert f"{len(stale)} codes were given under other definitions" in told
    compared = json.loads((Path("reports/retrain") / version / "comparison.json").read_text(encoding="utf-8"))
    assert (compared["codebook changed"], compared["papers that are new"]) == (True, 0)
