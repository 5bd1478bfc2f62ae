"""Test that reviewers can measure accuracy on PDFs of the papers of Table 2."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import mechtag.models.model_folder
from mechtag.core.codebook import load_codebook
from mechtag.core.files import read_json
from mechtag.models.model_folder import Model
from mechtag.models.windows import WindowCalibration
from tests.support.batches import toy_model
from tests.support.command import call
from tests.support.paths import ROOT
from tests.support.pdfs import BODY, write_paper

RECORDS, TABLE = ROOT / "data/raw/gold_records.jsonl", ROOT / "data/annotated/table2.csv"
# The papers that are free to read.
FREE = (
    "asakawa-2017 atkinson-2002 benzer-2015 carroll-2015 dayan-2019 grenier-2011 karam-2017 klinga-2016 ling-2012 "
    "nicholson-2018 payne-2019 rosen-2011 shaw-2011 stuart-2012"
).split()


def done(*words: object) -> str:
    status, printed, message = call(*words)
    assert status == 0, message
    return printed + message


def load(*_: object, **__: object) -> Model:
    """Return a toy model for the shipped codebook that can tag full texts."""
    model = toy_model(codebook=load_codebook(ROOT / "data/annotated/codebook.yaml"))
    labels = len(model.tagger.codebook.keys)
    long = WindowCalibration(5, np.full(labels, -0.1), np.full((6, labels), 0.2), np.full((6, labels), 0.8))
    return replace(model, tagger=replace(model.tagger, long=long))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project in which the papers of Table 2 were tagged; the papers that are free to read have a PDF."""
    folder = tmp_path_factory.mktemp("project")
    settings = {
        "codebook": str(ROOT / "data/annotated/codebook.yaml"),
        "evaluate": {"gold": str(TABLE), "second_coder": "", "bootstrap": 100, "permutations": 100},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    entries = [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]
    assert set(FREE) <= {entry["key"] for entry in entries}
    for number, entry in enumerate(entry for entry in entries if entry["key"] in FREE):
        doi = [f"https://doi.org/{entry['doi']}"] if entry.get("doi") else []
        references = [f"{other['title']}. Leadership and leadership." for other in entries[:3]]
        lines = [f"{number} leaders of teams led with leadership. {BODY}"] * (1 + number)
        name = f"download {number}.pdf"
        write_paper(folder / "pdfs" / name, entry["title"], *doi, references=references, body=" ".join(lines))
    attached = done("attach", folder / "pdfs", "--records", RECORDS, "-o", folder / "fulltexts")
    assert "14 files read: 14 attached" in attached
    texts = folder / "fulltexts/fulltexts.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mechtag.models.model_folder, "load_model", load)
        words = ("--full-texts", texts, "--score-all", "-o", folder / "tagged", "--model", folder / "toy")
        done("tag", RECORDS, *words, "--project", folder)
    return folder


def evaluate(folder: Path, output: Path, *options: object) -> str:
    words = ("evaluate", folder / "tagged/predictions.parquet", TABLE, "-o", output / "metrics.json")
    return done(*words, "--model", folder / "toy", "--project", folder, *options)


def report(folder: Path, output: Path) -> tuple[str, str]:
    """Write the accuracy report and the accuracy table; return the terminal output and the HTML of the report."""
    words = ("report", output / "metrics.json", "-o", output / "accuracy.md", "-o", output / "report.html")
    printed = done(*words, "--model", folder / "toy", "--project", folder)
    return " ".join(printed.split()), (output / "report.html").read_text(encoding="utf-8")


def test_pdfs_of_table_2_are_measured_by_basis(folder: Path, tmp_path: Path) -> None:
    assert "also contains predictions based on full texts, which are not evaluated" in evaluate(folder, tmp_path)
    alone = read_json(tmp_path / "metrics.json")
    evaluate(folder, tmp_path, "--full-texts", folder / "fulltexts/fulltexts.parquet")
    metrics = read_json(tmp_path / "metrics.json")
    found = metrics.pop("by_full_text")
    assert metrics == alone
    assert set(found["coverage"]["by_paper"]) == set(FREE)
    assert (found["coverage"]["papers"], found["full_text"]["papers"], found["paired"]["papers"]) == (36, 14, 14)
    assert found["best_available"]["papers"] == metrics["transfer"]["papers"] == 34
    windows = [paper["windows"] for paper in found["coverage"]["by_paper"].values()]
    assert len(set(windows)) > 5
    assert all(paper["query_words"] > 0 for paper in found["coverage"]["by_paper"].values())
    few = [label for label, own in found["full_text"]["labels"].items() if own["support"] < 5]
    assert "wider_view" in few
    assert all(found["full_text"]["labels"][label]["note"].startswith("too few") for label in few)
    assert read_json(tmp_path / "headline.json")["gold, papers with full text"] == 14
    with (tmp_path / "full_text/predictions_vs_table2.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["key"] for row in rows if row["text"] == "full text"} == set(FREE)
    assert any(re.search(r"\(p\. \d\)", row["evidence"]) for row in rows)
    assert (tmp_path / "full_text/plots/roc.csv").exists()


def test_reports_state_the_results_of_full_texts(folder: Path, tmp_path: Path) -> None:
    evaluate(folder, tmp_path, "--full-texts", folder / "fulltexts/fulltexts.parquet")
    printed, page = report(folder, tmp_path)
    shown = {
        "terminal": printed,
        "table": (tmp_path / "accuracy.md").read_text(encoding="utf-8"),
        "page": " ".join(re.sub(r"<[^>]*>", "", page.split('id="full-texts"')[1].split("</section>")[0]).split()),
    }
    for name, text in shown.items():
        assert "14 of the 36 papers of the gold standard have a full text; 14 of them have an abstract" in text, name
        assert "not a random sample of all papers" in text, name
        assert "14 papers have both an abstract and a full text: too few to say which is better" in text, name
        assert "number of windows alone" in text, name
        assert "Best available text: 14 papers by their full text, and the other 20 by their abstract or title." in text
        assert "asakawa-2017" in text, name
    metrics = read_json(tmp_path / "metrics.json")
    compared = 0
    for path, kind, text in re.findall(r'data-metric="(by_full_text/[^"]*)" data-as="([^"]*)">([^<]*)<', page):
        value = metrics
        for part in path.split("/"):
            value = value[part]
        if kind == "number" and value is not None:
            assert abs(float(text.replace("−", "-")) - float(value)) <= 0.005000001, path
            compared += 1
        elif kind == "count":
            assert text == str(value), path
    assert compared > 100
    section = page.split('id="full-texts"')[1].split("</section>")[0]
    for table in re.findall(r'<table class="numbers">.*?</table>', section, re.DOTALL):
        body = re.sub(r'<span data-metric="[^"]*" data-as="[\w ]+">[^<]*</span>', "", table.split("<tbody>")[1])
        cells = re.sub(r"<th.*?</th>", "", body, flags=re.DOTALL)
        assert not re.search(r"\d", re.sub(r"<[^>]*>", "", cells)), table


def test_metrics_without_full_texts_are_shown_as_before(folder: Path, tmp_path: Path) -> None:
    evaluate(folder, tmp_path)
    printed, page = report(folder, tmp_path)
    assert "full-texts" not in page
    assert "Best available" not in printed
