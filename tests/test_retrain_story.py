"""Test retraining as reviewers use it: new annotations are imported, tried, accepted or rejected, and rolled back.

The papers are invented and about gardens, and their codes follow from their words.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from mechtag.core.parquet import read_predictions
from mechtag.models.model_folder import load_model, read_config
from mechtag.pipeline.annotations.versions import list_versions, read_additions, read_history, version_in_use
from mechtag.project import open_project
from mechtag.workflows.retrain import Retraining
from tests.support.command import call
from tests.support.garden import CODEBOOK, LABELS, Sentences, by_sentence, carried, export, papers, title
from tests.support.paths import ROOT
from tests.support.reports import Page, said, value_at

ADDED = Path("data/annotated/added")
METRICS = Path("reports/metrics.json")
HEADER = ["key", "coder", "label", "value", "basis"]
Codes = Callable[[int, str, str], int]


def codings(path: Path, found: list[Sentences], start: int, value: Codes) -> None:
    """Write a table of codings by two coders, who judge every label of every paper."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(len(found)):
            for coder in ("ann", "bob"):
                for label in LABELS:
                    writer.writerow([f"p{start + number}", coder, label, value(number, coder, label), "abstract"])


def bibliography(number: int) -> dict[str, Any]:
    return {"title": title(number), "authors": [f"Gardener{number}, Ada"], "year": 2000 + number % 20}


def screened(path: Path, found: list[Sentences], start: int) -> None:
    """Write the export of a search, in which papers with an even number have a DOI."""
    export(path, found, start)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows, start=start):
        row |= bibliography(number) | ({} if number % 2 else {"doi": f"10.5555/garden.{number}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rayyan(path: Path, found: list[Sentences], start: int) -> None:
    """Write a Rayyan export with one member, Ann, who included all papers and set a label for each code."""
    with (ROOT / "tests/fixtures/codings/rayyan.csv").open(encoding="utf-8", newline="") as file:
        columns = csv.DictReader(file).fieldnames or []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for number, sentences in enumerate(found, start=start):
            labels = ",".join(label.capitalize() for label in carried(sentences))
            notes = 'Imported from Ovid | RAYYAN-INCLUSION: {"Ann"=>"Included"}'
            known = bibliography(number)
            writer.writerow(
                {
                    "key": f"rayyan-{number}",
                    "title": known["title"],
                    "year": known["year"],
                    "authors": known["authors"][0],
                    "abstract": " ".join(text for text, _ in sentences),
                    "doi": "" if number % 2 else f"10.5555/garden.{number}",
                    "notes": f"{notes} | RAYYAN-LABELS: {labels}" if labels else notes,
                }
            )


def ticked(path: Path, codes: list[list[str]], start: int) -> None:
    """Write a table of papers by labels in which Bob ticked the labels of each paper."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "paper", "coder", *(label.capitalize() for label in LABELS)])
        for number, carries in enumerate(codes, start=start):
            paper = f"Gardener{number} ({bibliography(number)['year']})"
            writer.writerow([f"p{number}", paper, "Bob", *("✓" if label in carries else "" for label in LABELS)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a few coded papers, papers to tag, and papers to test on."""
    (tmp_path / "data/annotated").mkdir(parents=True)
    (tmp_path / "codebook.yaml").write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    by_sentence(tmp_path, papers(24, seed=1))
    export(tmp_path / "update.jsonl", papers(12, seed=3), 200)
    gold = papers(16, seed=4)
    export(tmp_path / "test.jsonl", gold, 300)
    matrix = [["key", *LABELS]]
    matrix += [
        [f"p{number}", *(str(int(label in carried(paper))) for label in LABELS)]
        for number, paper in enumerate(gold, start=300)
    ]
    (tmp_path / "gold.csv").write_text("".join(",".join(row) + "\n" for row in matrix), encoding="utf-8")
    content = {
        "codebook": "codebook.yaml",
        "sources": {"gold": "test.jsonl", "update": "update.jsonl"},
        "train": {"records": "coded.jsonl", "exemplars": "", "folds": 3},
        "evaluate": {
            "gold": "gold.csv",
            "second_coder": "",
            "baseline_query": "",
            "bootstrap": 100,
            "permutations": 100,
        },
        # The papers consist of the same few sentences, so they would all count as paraphrases.
        "retrain": {
            "test_records": "test.jsonl",
            "paraphrase": 1.0,
            "margins": {"across_auc": 0.1, "kappa": 0.2},
            "bootstrap": 200,
        },
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def done(*words: object) -> str:
    status, out, message = call(*words)
    assert status == 0, message
    return out + message


def model_files(folder: Path = Path("models/trained")) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "mlflow_run.json"}


def aliases() -> dict[str, str]:
    """Return the id of the model to which each alias of the MLflow registry points."""
    client = MlflowClient()
    found = client.get_registered_model("mechtag").aliases
    return {alias: client.get_model_version("mechtag", number).tags["model_id"] for alias, number in found.items()}


@pytest.mark.slow
def test_codes_are_imported_learned_from_and_rolled_back(here: Path) -> None:
    done("train")
    first = read_config("models/trained").model_id
    before = model_files()

    # Two people code twenty papers, each in a different program, and differ on one label of one paper.
    new = papers(20, seed=2)
    screened(here / "new.jsonl", new, 100)
    rayyan(here / "articles.csv", new, 100)
    ticks = [carried(sentences) for sentences in new]
    assert "pests" in ticks[3]
    ticks[3] = [label for label in ticks[3] if label != "pests"]
    ticked(here / "table.csv", ticks, 100)
    done("ingest", "new.jsonl", "-o", "new.parquet")
    told = done(
        *("codings", "articles.csv", "table.csv", "--records", "new.parquet", "-o", "coded/codings.csv"),
        *("--basis", "abstract", "--unticked", "no"),
    )
    assert "40 read = 40 matched (10 by DOI, 10 by title, 20 by key) + 0 without codes + 0 unmatched" in told
    assert rows_of(here / "coded/unmatched.csv") == rows_of(here / "coded/conflicts.csv") == []
    (differ,) = rows_of(here / "coded/disagreements.csv")
    assert (differ["title"], differ["label"], differ["yes"], differ["no"]) == (title(103), "pests", "Ann", "Bob")
    coded = {(row["key"], row["coder"], row["label"]): row["value"] for row in rows_of(here / "coded/codings.csv")}
    expected = {(f"p{number}", "Ann", "about_gardens"): "1" for number in range(100, 120)}
    for coder, carries in (("Ann", [carried(sentences) for sentences in new]), ("Bob", ticks)):
        for number in range(20):
            expected |= {(f"p{100 + number}", coder, label): str(int(label in carries[number])) for label in LABELS}
    assert coded == expected

    # A model is trained on these codes, compared with the model in use, and replaces it.
    told = done("retrain", "coded/codings.csv", "--records", "new.parquet")
    second = read_config("models/trained").model_id
    assert second != first
    (version,) = list_versions(ADDED)
    assert f"model {second} is now in use" in told
    assert "140 new codes, 0 corrected, 0 known, 0 set aside" in told
    assert (version_in_use(ADDED), aliases()) == (version, {"champion": second, "previous": first})
    learnt = read_additions(ADDED)
    assert (len(learnt.records), {coding.coder for coding in learnt.codings}) == (20, {"Ann", "Bob"})
    compared = json.loads((Path("reports/retrain") / version / "comparison.json").read_text(encoding="utf-8"))
    assert (compared["champion"], compared["challenger"], compared["promoted"]) == (first, second, True)
    assert (compared["papers that are new"], compared["papers"].keys()) == (
        20,
        {"all papers", "earlier papers", "new papers"},
    )
    across = next(row for row in compared["papers"]["all papers"] if row["figure"] == "across_auc")
    assert across["difference"] == pytest.approx(across["challenger"] - across["champion"])
    assert across["ci_low"] <= across["difference"] <= across["ci_high"]

    # Its accuracy on papers that neither model was trained on is measured and reported.
    done("tag", "test.jsonl", "-o", "tagged")
    done(
        *("evaluate", "tagged/predictions.parquet", "gold.csv", "--out-of-fold", "data/work/train", "-o", METRICS),
        # The similarity is estimated, so papers of the same few sentences may exceed the limit.
        "--allow-training-papers",
    )
    done("report", METRICS, "-o", "reports/report.html", "--summary", "tagged/summary.json")
    metrics = json.loads(METRICS.read_text(encoding="utf-8"))
    assert metrics["transfer"]["model_id"] == second
    assert metrics["transfer"]["pooled"]["across_auc"]["value"] > 0.9
    assert metrics["coded_records"]["documents"]["labels"]["pests"]["papers"] == 43  # one of 44 has two different codes
    page = Page(Path("reports/report.html").read_text(encoding="utf-8"))
    assert second in page.text
    assert first not in page.text
    shown = [(own, words) for _, own, words in page.elements if "data-metric" in own]
    for own, words in shown:
        values = [value_at(metrics, path) for path in str(own["data-metric"]).split("+")]
        assert "".join(words) == said(str(own["data-as"]), values), own
    wanted = {f"transfer/labels/{label}/{count}" for label in LABELS for count in ("support", "roc_auc/value")}
    assert wanted <= {path for own, _ in shown for path in str(own["data-metric"]).split("+")}

    # A rollback restores the model, its predictions, its annotations, and the aliases of the registry.
    told = done("retrain", "--rollback")
    assert f"model {first} is in use again" in told
    assert model_files() == before
    assert (version_in_use(ADDED), aliases()) == ("", {"champion": first})
    # If a rollback was killed before it updated the registry, this is done later.
    versions = MlflowClient().search_model_versions(f"name = 'mechtag' and tag.model_id = '{second}'")
    MlflowClient().set_registered_model_alias("mechtag", "champion", versions[0].version)
    Retraining(open_project()).update_registry()
    assert aliases() == {"champion": first}
    assert len({row.record_id for row in read_predictions("data/work/train/documents.parquet")}) == 24
    assert [row["event"].split()[1] for row in read_history(ADDED)] == ["promoted", "back"]
    status, _, message = call("retrain", "--rollback")
    assert (status, "no earlier model to roll back to" in message) == (1, True)
    assert version in done("retrain", "--history")


@pytest.mark.slow
def test_leaks_and_harmful_codes_are_not_learned_from(here: Path) -> None:
    done("train")
    first = read_config("models/trained").model_id
    before = model_files()

    # A test paper from another database: nothing is learned or written.
    tests = json.loads((here / "test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    (here / "leak.jsonl").write_text(json.dumps({**tests, "key": "x1"}) + "\n", encoding="utf-8")
    (here / "leak.csv").write_text(",".join(HEADER) + "\nx1,ann,pests,1,abstract\n", encoding="utf-8")
    status, _, message = call("retrain", "leak.csv", "--records", "leak.jsonl")
    assert (status, list_versions(ADDED), model_files()) == (1, [], before)
    assert f"({tests['title']}): same record id as test paper: {tests['title']}" in message

    # Twenty papers, coded by two people who differ on one label of one paper.
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
    assert f"model {second} is now in use" in told
    assert "120 new codes, 0 corrected, 0 known, 1 set aside" in told
    assert version_in_use(ADDED) == version
    assert second != first
    # Training again on the data in use gives the same model that was promoted.
    promoted = model_files()
    done("train", "-o", "again", "--out-of-fold", "again-oof")
    assert model_files(Path("again")) == promoted
    rows = read_predictions("data/work/train/documents.parquet")
    assert rows == read_predictions("again-oof/documents.parquet")
    assert len({row.record_id for row in rows}) == 44
    data = load_model("models/trained").config.data
    assert f"{version}/codings.jsonl" in data

    report = Path("reports/retrain") / version
    changes = rows_of(report / "changes.csv")
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

    # Codes that contradict the texts make a model worse, so the model in use is kept.
    wrong = papers(20, seed=5)
    export(here / "wrong.jsonl", wrong, 400)
    codings(here / "wrong.csv", wrong, 400, lambda number, _, label: int(label not in carried(wrong[number])))
    told = done("retrain", "wrong.csv", "--records", "wrong.jsonl")
    assert "was not promoted" in told
    assert model_files() == promoted
    assert version_in_use(ADDED) == version
    assert aliases() == {"champion": second, "previous": first}

    done("retrain", "--rollback")
    assert (version_in_use(ADDED), aliases()) == ("", {"champion": first})
    events = [row["event"] for row in read_history(ADDED)]
    assert [event.split()[1] for event in events] == ["promoted", "not", "back"]
    listed = done("retrain", "--history")
    assert all(name in listed for name in list_versions(ADDED))
    # The promoted model can be restored from its codings, without the harmful ones.
    told = done("retrain", "new.csv", "--records", "new.jsonl")
    assert read_config("models/trained").model_id == second
    assert len(read_additions(ADDED, version_in_use(ADDED)).records) == 20

    # If a definition changes, the codes of its label are stale, and a new model is tried as usual.
    changed = json.loads(json.dumps(CODEBOOK))
    changed["labels"][0]["definition"] = "Water reaches the plants."
    (here / "codebook.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
    told = done("retrain")
    version = list_versions(ADDED)[-1]
    stale = rows_of(Path("reports/retrain") / version / "stale.csv")
    assert {row["label"] for row in stale} == {"watering"}
    assert len(stale) == 24 + 2 * 20
    assert f"{len(stale)} codes were assigned under earlier definitions" in told
    compared = json.loads((Path("reports/retrain") / version / "comparison.json").read_text(encoding="utf-8"))
    assert (compared["codebook changed"], compared["papers that are new"]) == (True, 0)
