"""Test that training papers of a model never count as new papers, and that all outputs state what was checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from mechtag.core.codebook import Codebook
from mechtag.core.files import read_json
from mechtag.core.parquet import read_predictions, write_predictions
from mechtag.training import leakage
from mechtag.training.train import save_model, train
from tests.support.command import call
from tests.support.toy import fruit_project

NEW = ("Prices of grain in spring", "Mills along the river", "What farmers make of rain", "Bread in four towns")
UNCHECKED = "Whether any of these papers was used in training could not be checked: "
CLEAN = "None of these papers was used in training."


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, fruit: Codebook) -> Path:
    """Return a project with a trained model, four tagged papers that are new, and two tagged training papers."""
    folder = tmp_path_factory.mktemp("project")
    settings = fruit_project(folder, fruit)
    trained = train(settings, fruit)
    save_model(trained, folder / "models/trained")
    for name, rows_of in (("documents", trained.documents), ("sentences", trained.sentences)):
        write_predictions(folder / f"oof/{name}.parquet", rows_of)
    content = settings.model_dump(mode="json", exclude_defaults=True)
    content["evaluate"] = {"bootstrap": 100, "permutations": 100, "second_coder": ""}
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    titles = [*NEW, "fruit study 1", "fruit study 3"]
    rows = [
        {"key": f"g{number}", "title": title, "abstract": "the apple and the pear of the garden"}
        for number, title in enumerate(titles)
    ]
    (folder / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    status, _, message = call("tag", folder / "gold.jsonl", "-o", folder / "tagged", "--score-all", "--project", folder)
    assert status == 0, message
    return folder


@pytest.fixture(autouse=True)
def no_likeness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set all similarities of texts to 0, because the random weights of the tiny encoder make all texts similar."""
    monkeypatch.setattr(leakage, "likeness", lambda *_: 0.0)


def write_gold(project: Path, papers: int, first: int = 0, notes: dict[str, object] | None = None) -> Path:
    lines = ["key,apple,pear,plum", *(f"g{number},{number % 2},1,0" for number in range(first, papers))]
    (project / "gold.csv").write_text("\n".join(lines), encoding="utf-8")
    (project / "gold.yaml").unlink(missing_ok=True)
    if notes is not None:
        (project / "gold.yaml").write_text(yaml.safe_dump({"source": "Roe (2020)", **notes}), encoding="utf-8")
    return project / "gold.csv"


def evaluate(project: Path, output: Path, *options: object) -> tuple[int, str]:
    words = ("evaluate", project / "tagged/predictions.parquet", project / "gold.csv", "-o", output / "metrics.json")
    status, _, message = call(*words, "--project", project, *options)
    return status, message


def outputs(project: Path, output: Path, model: Path) -> dict[str, str]:
    """Write all texts that describe the metrics, and return them by name."""
    shown = ("--project", project, "--model", model)
    status, _, message = call("methods", output / "metrics.json", "-o", output / "methods.md", *shown)
    assert status == 0, message
    files = ("-o", output / "accuracy.md", "-o", output / "report.html")
    status, printed, message = call("report", output / "metrics.json", *files, *shown)
    assert status == 0, message
    names = ("methods.md", "accuracy.md", "report.html")
    texts = {name: (output / name).read_text(encoding="utf-8") for name in names}
    return {**texts, "terminal": " ".join(printed.split()), "card": (model / "README.md").read_text(encoding="utf-8")}


def test_papers_without_a_record_are_named(project: Path, tmp_path: Path) -> None:
    """A paper whose key is misspelt must not disappear unnoticed."""
    gold = write_gold(project, 4)
    status, message = evaluate(project, tmp_path)
    assert (status, "note:" in message) == (0, False)
    with gold.open("a", encoding="utf-8") as file:
        file.write("\nG9,1,1,0\n")
    status, message = evaluate(project, tmp_path)
    assert status == 0
    assert f"note: {gold}: 1 paper matches none of the tagged records and could not be measured: G9" in message


def test_training_papers_are_refused_and_named(project: Path, tmp_path: Path) -> None:
    write_gold(project, 6)
    status, message = evaluate(project, tmp_path)
    assert status == 1
    assert "2 of 6 papers were or may have been used to train" in message
    assert "g4: same record id as training paper: fruit study 1" in message
    assert "--allow-training-papers" in message
    assert not (tmp_path / "metrics.json").exists()


def test_outputs_say_that_training_papers_were_measured(project: Path, tmp_path: Path) -> None:
    # People cannot declare that papers with the same identifier are different.
    write_gold(project, 6, notes={"not_in_training": {"g5": "it is a different paper"}})
    status, message = evaluate(project, tmp_path, "--allow-training-papers")
    assert status == 0, message
    said = "Of the 6 papers that were measured, 2 were or may have been used in training"
    assert said in message
    found = read_json(tmp_path / "metrics.json")["training_check"]
    assert [paper["key"] for paper in found["papers"]] == ["g4", "g5"]
    texts = outputs(project, tmp_path, project / "models/trained")
    for name, text in texts.items():
        assert said in text, name
        assert CLEAN not in text, name
        assert "Without being trained on any" not in text, name
    assert "model-index" not in texts["card"]
    # No metric of these papers is shown as the accuracy of the model.
    assert "| ranking across papers" not in texts["card"]


def test_only_checked_papers_are_called_new(project: Path, tmp_path: Path) -> None:
    write_gold(project, 4)
    status, message = evaluate(project, tmp_path)
    assert status == 0, message
    assert CLEAN in message
    texts = outputs(project, tmp_path, project / "models/trained")
    for name, text in texts.items():
        assert CLEAN in text, name
    assert "Without being trained on any of these papers" in texts["report.html"]
    assert "model-index" in texts["card"]


def test_an_older_model_folder_cannot_be_checked(project: Path, tmp_path: Path) -> None:
    write_gold(project, 4)
    model = tmp_path / "model"
    shutil.copytree(project / "models/trained", model)
    (model / "papers.safetensors").unlink()
    status, message = evaluate(project, tmp_path, "--model", model)
    assert status == 0, message
    assert UNCHECKED in message
    assert "was written by an earlier version of mechtag" in message
    texts = outputs(project, tmp_path, model)
    for name, text in texts.items():
        assert UNCHECKED in text, name
        assert CLEAN not in text, name
    assert "model-index" not in texts["card"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b'{"format_version": 4}'),
        ("config.json", None),
        ("papers.safetensors", b"damaged"),
    ],
    ids=["not JSON", "other fields", "missing", "damaged list"],
)
def test_a_damaged_model_folder_leaves_no_paths_and_errors_in_published_text(
    project: Path, tmp_path: Path, file: str, content: bytes | None
) -> None:
    write_gold(project, 4)
    model = tmp_path / "model"
    shutil.copytree(project / "models/trained", model)
    if content is None:
        (model / file).unlink()
    else:
        (model / file).write_bytes(content)
    status, message = evaluate(project, tmp_path, "--model", model)
    assert status == 0, message
    assert f"note: {model}" in message
    published = f"{UNCHECKED}the model folder could not be read."
    assert message.count(published) == 1
    stored = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "metrics.json")["training_check"] == {"unchecked": "the model folder could not be read"}
    assert str(tmp_path) not in stored
    assert "pydantic" not in stored


def test_metrics_without_a_check_are_not_said_to_be_checked(project: Path, tmp_path: Path) -> None:
    write_gold(project, 4)
    assert evaluate(project, tmp_path)[0] == 0
    content = read_json(tmp_path / "metrics.json")
    del content["training_check"]
    (tmp_path / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    for name, text in outputs(project, tmp_path, project / "models/trained").items():
        assert UNCHECKED in text, name
        assert CLEAN not in text, name


def test_a_model_other_than_that_of_the_predictions_cannot_be_checked(project: Path, tmp_path: Path) -> None:
    write_gold(project, 4)
    model = tmp_path / "model"
    shutil.copytree(project / "models/trained", model)
    config = read_json(model / "config.json")
    (model / "config.json").write_text(json.dumps(config | {"model_id": "other"}), encoding="utf-8")
    status, message = evaluate(project, tmp_path, "--model", model)
    assert status == 0, message
    assert UNCHECKED + "the predictions were made by" in message


def test_people_can_declare_similar_papers_different(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leakage, "_MIN_UNITS", 1)
    monkeypatch.setattr(leakage, "likeness", lambda *_: 0.9)
    monkeypatch.setattr(leakage, "_likenesses", lambda one, two: np.full((one.shape[1], two.shape[1]), 0.9))
    write_gold(project, 3)
    status, message = evaluate(project, tmp_path)
    assert status == 1
    assert "g0: nearly the same text (similarity 0.90) as training paper" in message
    write_gold(project, 3, notes={"not_in_training": {f"g{number}": "another harvest" for number in range(3)}})
    status, message = evaluate(project, tmp_path)
    assert status == 0, message
    assert f"{CLEAN} People compared the papers" in message
    assert "another harvest" in message


def test_out_of_fold_predictions_of_another_model_are_refused(project: Path, tmp_path: Path) -> None:
    """Otherwise, the text would state that the model was trained on the records of a different model."""
    write_gold(project, 4)
    status, message = evaluate(project, tmp_path, "--out-of-fold", project / "oof")
    assert status == 0, message
    for name in ("documents", "sentences"):
        rows = read_predictions(project / f"oof/{name}.parquet")
        others = [row.model_copy(update={"model_id": "other:out-of-fold"}) for row in rows]
        write_predictions(tmp_path / f"oof/{name}.parquet", others)
    status, message = evaluate(project, tmp_path, "--out-of-fold", tmp_path / "oof")
    assert status == 1
    assert "these out-of-fold predictions belong to model other" in message


def test_train_prints_the_number_of_examples_of_each_label(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mechtag.training.mlflow_runs.log_run", lambda *_: "run")
    options = ("-o", tmp_path / "model", "--out-of-fold", tmp_path / "oof", "--project", project)
    status, _, message = call("train", *options)
    assert status == 0, message
    lines = message.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("label "))
    assert lines[start].split() == "label records yes no not judged out-of-fold ROC AUC".split()
    assert [line.split()[:5] for line in lines[start + 1 : start + 5]] == [
        ["edible", "40", "30", "10", "0"],
        ["apple", "30", "20", "10", "0"],
        ["pear", "30", "20", "10", "0"],
        ["plum", "30", "0", "30", "0"],
    ]
    assert (tmp_path / "model/papers.safetensors").is_file()


def test_training_on_yes_codes_only_is_refused(project: Path, tmp_path: Path) -> None:
    """The codings contain only yes codes, as if imported without stating what an unticked label means."""
    rows = ["record_id,coder,label,value,basis"]
    texts = []
    for number in range(20):
        texts.append(
            {"key": f"t{number}", "title": f"Orchard notes, number {number}", "abstract": "An apple fell. A pear, too."}
        )
        rows += [f"t{number},team,apple,1,abstract"] if number % 2 else [f"t{number},team,pear,1,abstract"]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts), encoding="utf-8")
    assert call("ingest", tmp_path / "texts.jsonl", "-o", tmp_path / "texts.parquet")[0] == 0
    (tmp_path / "codings.csv").write_text("\n".join(rows), encoding="utf-8")
    content = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    content["train"] |= {"records": str(tmp_path / "codings.csv"), "texts": str(tmp_path / "texts.parquet")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    status, _, message = call("train", "--project", tmp_path)
    assert status == 1
    assert "2 of 3 labels are coded yes, but never no: apple (10 records), pear (10 records)" in " ".join(
        message.split()
    )
    assert "mechtag codings --unticked no" in " ".join(message.split())
    assert not (tmp_path / "models/trained").exists()
