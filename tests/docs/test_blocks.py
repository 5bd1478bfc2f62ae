"""Test that the code blocks of each page run in order, and that the commands not run have valid names and options."""

from __future__ import annotations

import ast
import csv
import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import openpyxl
import pytest
import yaml
from typer.main import get_command

from mechtag.cli.main import app
from mechtag.pipeline.annotations.imports.label_names import read_map
from tests.support.command import call
from tests.support.documents import NEEDS, PAGES, Block, blocks, expanded, parts
from tests.support.language_model import FakeLanguageModel
from tests.support.paths import ROOT
from tests.support.reader import reader_files, reader_project

LANGUAGES = {"sh", "console", "python", "yaml", "json", "text"}
EVERY = [block for page in PAGES for block in blocks(page)]
# Run by tests/test_published.py and tests/docs/test_first_review.py.
ELSEWHERE = ("data/README.md", "docs/first-review.md")
RUN = [
    page
    for page in PAGES
    if page not in ELSEWHERE
    and any(set(one.commands) - set(one.not_run) or one.language == "python" for one in blocks(page))
]
PARSED = [(block, command) for block in EVERY if block.page not in ELSEWHERE for command in block.not_run]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the project folder of a reader, with a trained model."""
    folder = tmp_path_factory.mktemp("reader")
    reader_files(folder)
    reader_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        done("mechtag", "train")
    return folder


@pytest.fixture
def here(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "reader"
    shutil.copytree(project, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    return folder


def done(*words: str) -> str:
    status, output, message = call(*words[1:])
    assert status == 0, f"{' '.join(words)}: {output}{message}"
    return output + message


def decide(path: Path) -> None:
    """Fill in the missing decisions on the first eight records of a table."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:8]:
        row["decision"] = row["decision"] or str(int("boards" in row["title"]))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def measured(folder: Path) -> None:
    done("mechtag", "tag", "my_papers.ris", "-o", "out/gold", "--score-all")
    done("mechtag", "evaluate", "out/gold/predictions.parquet", "my_codes.csv", "-o", "reports/metrics.json")


def reviewed(folder: Path) -> None:
    """Tag the search, and fill in decisions on eight records in the workbook."""
    done("mechtag", "tag", "my_export.ris", "-o", "out")
    book = openpyxl.load_workbook(folder / "out/review.xlsx")
    sheet = book["Review"]
    names = [cell.value for cell in sheet[1]]
    decision, title = names.index("decision") + 1, names.index("title") + 1
    for row in range(2, 10):
        sheet.cell(row, decision).value = "yes" if "boards" in str(sheet.cell(row, title).value) else "no"
    book.save(folder / "out/review.xlsx")


def deduplicated(folder: Path) -> None:
    """Copy the unique records to ``data/unique.parquet``, where the page expects them."""
    shutil.copy(folder / "unique.parquet", folder / "data/unique.parquet")


def trained_again(folder: Path) -> None:
    """Copy the trained model to ``models/accurate``, where the page expects a model trained with the larger encoder."""
    shutil.copytree(folder / "models/trained", folder / "models/accurate")


# What a reader has done before reading the page.
BEFORE: dict[str, Callable[[Path], None]] = {
    "docs/annotations.md": deduplicated,
    "docs/encoders.md": trained_again,
    "docs/report.md": measured,
    "docs/review.md": reviewed,
    "docs/tracking.md": measured,
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Yield the URL of a fake language model, which replaces the endpoint named in the pages."""
    with FakeLanguageModel().serving() as model:
        yield model.url


def run_shell(block: Block, endpoint: str) -> None:
    for command in block.commands:
        if command in block.not_run:
            continue
        for words in parts(command):
            if words[0] == "cd":
                os.chdir(words[1])
                continue
            assert words[0] == "mechtag", f"{block}: {command}"
            done(*(word.replace("http://127.0.0.1:8080/v1", endpoint) for word in expanded(words)))
            if words[1] == "init":
                shutil.copy("my_export.ris", f"{words[2]}/data/raw")
            if words[1] == "next" or (words[1] == "rank" and "--labels" not in words):
                decide(Path(words[words.index("-o") + 1]))


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_a_page_run_in_order(
    page: str, here: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    BEFORE.get(page, lambda _: None)(here)
    names: dict[str, Any] = {}
    for block in blocks(page):
        monkeypatch.chdir(here)
        if block.language in ("sh", "console"):
            run_shell(block, endpoint)
        elif block.language == "python" and NEEDS not in block.text:
            # A label of the shipped codebook.
            exec(compile(block.text.replace("creating_conditions", "trust"), str(block), "exec"), names)


@pytest.mark.parametrize("block", EVERY, ids=str)
def test_every_block_says_what_it_is(block: Block) -> None:
    assert block.language in LANGUAGES, f"{block}: name the language after the fence: {', '.join(sorted(LANGUAGES))}"
    if block.language == "python":
        ast.parse(block.text)
    if block.language == "yaml":
        assert isinstance(yaml.safe_load(block.text), dict)


@pytest.mark.parametrize(("block", "command"), PARSED, ids=lambda value: str(value)[:60])
def test_a_command_that_is_not_run_has_names_and_options_that_exist(block: Block, command: str) -> None:
    for words in parts(command):
        if words[0] == "mechtag":
            get_command(app).commands[words[1]].make_context(words[1], words[2:])  # type: ignore[attr-defined]
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        elif words[0] == "dvc":
            from dvc.cli import parse_args

            parse_args([word for word in words[1:] if word != "|"][: words.index("|") - 1 if "|" in words else None])
        elif words[0] == "mlflow":
            from mlflow.cli import cli

            context, rest = cli, words[1:]
            while hasattr(context, "commands"):
                context, rest = context.get_command(click.Context(context), rest[0]), rest[1:]
            options = {option for parameter in context.params for option in parameter.opts}
            assert {word for word in rest if re.match("--?[a-z]", word)} <= options
        elif words[0].endswith("python") and words[1:2] == ["-m"]:
            assert importlib.util.find_spec(words[2]) is not None


def test_the_example_of_a_map_file_is_valid(tmp_path: Path) -> None:
    (block,) = (one for one in blocks("docs/annotations.md") if one.language == "yaml")
    (tmp_path / "map.yaml").write_text(block.text, encoding="utf-8")
    assert read_map(tmp_path / "map.yaml").labels["No trust found"] == "not trust"
