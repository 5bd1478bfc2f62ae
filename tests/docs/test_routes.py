"""Test that the README alone is enough for each of the three main tasks, starting from an empty folder."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mechtag import project
from mechtag.project import create_project, shipped_codebook
from tests.support.command import call
from tests.support.documents import blocks, expanded, parts
from tests.support.paths import ROOT
from tests.support.reader import CODEBOOK, coded, matrix, papers, rayyan, ris, table

pytestmark = pytest.mark.slow


def commands(heading: str) -> list[str]:
    """Return the commands of the first block below a heading of the README."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = lines.index(f"## {heading}") + 1
    return next(block for block in blocks("README.md") if block.line > start).commands


def follow(lines: list[str]) -> str:
    """Run commands one after the other, and return their output."""
    told = ""
    for words in (words for line in lines for words in parts(line)):
        if words[0] == "cd":
            os.chdir(words[1])
            continue
        assert words[0] == "mechtag"
        status, output, message = call(*expanded(words)[1:])
        told += output + message
        assert status == 0, f"{' '.join(words)}: {output}{message}"
    return told


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which becomes the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Train a small model, use it and its codebook in place of the shipped ones, and yield their folder."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "book.yaml").write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    made = create_project(folder / "project", folder / "book.yaml")
    coded(made.root / "data/annotated/coded.jsonl", papers(48, 8))
    params = yaml.safe_load((made.root / "params.yaml").read_text(encoding="utf-8"))
    params["train"] |= {"records": "data/annotated/coded.jsonl", "texts": "", "folds": 3}
    (made.root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        assert call("train", "--project", made.root)[0] == 0
        (folder / "shipped").mkdir()
        shutil.copy(folder / "book.yaml", folder / "shipped/codebook.yaml")
        shutil.copytree(made.own_model, folder / "shipped/model")
        patch.setattr(project, "SHIPPED", folder / "shipped")
        patch.setattr(project, "_SHIPPED_CODEBOOK", folder / "shipped/codebook.yaml")
        shipped_codebook.cache_clear()
        yield folder
    shipped_codebook.cache_clear()


def test_tag_search_results(installed: Path, folder: Path) -> None:
    """One command is enough, and no file needs to be edited."""
    ris(folder / "my_export.ris", papers(24, 1))
    table(folder / "another.csv", ["Title", "Abstract"], [(one.title, one.abstract) for one in papers(12, 2)])
    route = [
        line for block in blocks("README.md") for line in block.commands if line.startswith("mechtag tag my_export.ris")
    ]
    assert len(route) == 1
    told = follow(route)
    assert "note: no project found; using the codebook and model that come with mechtag" in told
    assert {"tagged.csv", "tagged.ris", "review.xlsx", "summary.json"} <= {
        path.name for path in (folder / "out").iterdir()
    }


def test_train_on_own_codes_and_retrain_on_more(folder: Path) -> None:
    """Training takes seven commands and one copied file, retraining takes two commands; no file needs to be edited."""
    (folder / "my_codebook.yaml").write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    rayyan(folder / "articles.csv", papers(48, 1))
    follow(commands("One folder per review")[:1])
    rest = commands("Use your own codebook and annotations")
    ris(folder / "my-review/data/raw/my_export.ris", papers(48, 1))
    assert [line.split()[0] for line in rest] == ["cd"] + ["mechtag"] * 5

    # If --unticked is forgotten, both commands report it, and no model is trained.
    forgotten = [line.replace("--unticked no", "") for line in rest]
    told = follow(forgotten[:4])
    assert "Labels coded yes, but never no: trust, funding." in told
    status, _, message = call("train")
    assert status == 1
    assert "2 of 2 labels are coded yes, but never no" in message
    assert not (folder / "my-review/models/trained/config.json").exists()

    follow(rest[3:])
    with (folder / "my-review/data/tagged/tagged.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == 48

    rayyan(folder / "more.csv", papers(24, 5))
    ris(folder / "my-review/screened.ris", papers(24, 5))
    words = ["../more.csv", "--records", "screened.ris", "-o", "codings.csv", "--basis", "abstract", "--unticked", "no"]
    assert call("codings", *words)[0] == 0
    retrain = next(line for line in commands("Learn from more annotations") if "--records" in line)
    assert "model" in follow([retrain])


def test_measure_accuracy(installed: Path, folder: Path) -> None:
    """Three commands are enough; the gold standard is a workbook instead of a CSV file."""
    # With the default threshold, the invented papers would count as paraphrases of each other.
    shutil.copy(installed / "book.yaml", folder)
    params = {"codebook": "book.yaml", "retrain": {"paraphrase": 1.0}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    found = papers(24, 6)
    ris(folder / "my_papers.ris", found)
    matrix(folder / "my_codes.xlsx", found)
    route = commands("Measure accuracy against your own codes")
    assert len(route) == 3
    told = follow([line.replace("my_codes.csv", "my_codes.xlsx") for line in route])
    assert "reports/report.html: report written" in told
    assert "<html" in (folder / "reports/report.html").read_text(encoding="utf-8")


def test_a_forgotten_project_is_reported_before_anything_is_written(installed: Path, folder: Path) -> None:
    different = CODEBOOK | {"labels": [{"key": "leadership", "name": "Leadership", "definition": "Somebody leads."}]}
    (folder / "own.yaml").write_text(yaml.safe_dump(different), encoding="utf-8")
    follow(["mechtag init my-review --codebook own.yaml"])
    ris(folder / "my_export.ris", papers(12, 1))
    (folder / "matrix.csv").write_text("key,leadership\n1-0,1\n", encoding="utf-8")
    words = ["matrix.csv", "--records", "my_export.ris", "-o", "codings.csv", "--basis", "abstract", "--coder", "us"]
    status, _, message = call("codings", *words)
    assert status == 1
    assert "no project found" in message or "'leadership'" in message
    assert not (folder / "codings.csv").exists()
    assert call("codings", *words, "--project", "my-review")[0] == 0
    status, _, message = call("train")
    assert (status, "no project found" in message, "--project" in message) == (1, True, True)
