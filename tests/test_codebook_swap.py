"""Test that every stage runs with another codebook and other annotations, and that the code names no label."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mechtag.core.codebook import load_codebook
from mechtag.core.parquet import read_predictions
from mechtag.core.settings import Settings
from mechtag.pipeline.annotations.coding_table import data_hashes
from tests.support.command import call
from tests.support.garden import CODEBOOK, LABELS, Sentences, by_sentence, carried, export, json_lines, papers
from tests.support.paths import ROOT


def as_a_whole(folder: Path, found: list[Sentences]) -> dict[str, str]:
    """Write papers that are coded only as a whole, as JSON lines, and return the settings for training."""
    return json_lines(folder, found, lambda sentences: [{"text": text} for text, _ in sentences])


def table_of_codings(folder: Path, found: list[Sentences]) -> dict[str, str]:
    """Write a table of codings by two coders, with one label not judged, and return the settings for training."""
    export(folder / "texts.jsonl", found, 0)
    assert call("ingest", folder / "texts.jsonl", "-o", folder / "texts.parquet")[0] == 0
    path = folder / "codings.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "coder", "label", "value", "basis"])
        for number, sentences in enumerate(found):
            for coder in ("one", "two"):
                for label in LABELS:
                    value = "" if number == 5 and label == "shade" else int(label in carried(sentences))
                    writer.writerow([f"p{number}", coder, label, value, "abstract"])
    return {"records": str(path), "texts": str(folder / "texts.parquet")}


def settings(folder: Path, codebook: Path, train: dict[str, str]) -> Path:
    params = folder / "params.yaml"
    content = {
        "codebook": str(codebook),
        "train": {**train, "exemplars": "", "folds": 3},
        "evaluate": {
            "gold": str(folder / "gold.csv"),
            "second_coder": "",
            "baseline_query": "vegetable / garden",
            "bootstrap": 100,
            "permutations": 100,
        },
    }
    params.write_text(yaml.safe_dump(content), encoding="utf-8")
    return params


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the MLflow runs of all tests, because creating a database takes longest."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.slow
@pytest.mark.parametrize("annotate", [by_sentence, table_of_codings, as_a_whole])
def test_all_stages_run_with_another_codebook(
    annotate: Callable[[Path, list[Sentences]], dict[str, str]],
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    codebook = tmp_path / "codebook.yaml"
    codebook.write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    known, new = papers(48, seed=1), papers(16, seed=2)
    params = settings(tmp_path, codebook, annotate(tmp_path, known))
    status, _, message = call("train", "-o", "model", "--out-of-fold", "oof", "--project", params.parent)
    assert status == 0, message

    export(tmp_path / "new.jsonl", new, 100)
    status, _, message = call("tag", "new.jsonl", "-o", "tagged", "--model", "model", "--project", params.parent)
    assert status == 0, message
    rows = read_predictions(tmp_path / "tagged/predictions.parquet")
    assert {row.label for row in rows} == {"about_gardens", *LABELS}
    # All coded papers are relevant, so no paper may be tagged as irrelevant.
    assert {row.decision for row in rows if row.label == "about_gardens"} == {"yes"}
    header = (tmp_path / "tagged/tagged.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert all(f"{label['name']}: probability" in header for label in CODEBOOK["labels"])

    (tmp_path / "gold.csv").write_text(
        "\n".join(
            [",".join(["key", *LABELS])]
            + [
                ",".join([f"p{number}", *(str(int(label in carried(sentences))) for label in LABELS)])
                for number, sentences in enumerate(new, start=100)
            ]
        ),
        encoding="utf-8",
    )
    assert call("sentences", "tagged/records.parquet", "-o", "sentences.parquet", "--project", params.parent)[0] == 0
    status, _, message = call(
        *("baselines", "tagged/records.parquet", "sentences.parquet", "-o", "baselines", "--project", params.parent)
    )
    assert status == 0, message
    made = {path.stem for path in Path("baselines").iterdir()}
    assert "vegetable_garden_cosine" in made
    assert "relevance_tfidf_svm" not in made
    status, _, message = call(
        *(
            "evaluate",
            "tagged/predictions.parquet",
            "gold.csv",
            "-o",
            "reports/metrics.json",
            "--project",
            params.parent,
        ),
        *("--baselines", "baselines", "--out-of-fold", "oof"),
    )
    assert status == 0, message
    metrics = json.loads(Path("reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics["transfer"]["pooled"]["across_auc"]["value"] > 0.9
    assert list(metrics["transfer"]["labels"]) == list(LABELS)
    assert "no paper" not in metrics["relevance"]["coded_records"]["undefined"]["roc_auc"]
    assert metrics["relevance"]["coded_records"]["roc_auc"]["value"] is None
    coded = metrics["coded_records"]
    assert ("sentences" in coded) == (annotate is by_sentence)
    assert coded["documents"]["labels"]["shade"]["papers"] == (47 if annotate is table_of_codings else 48)
    status, _, message = call(
        *("report", "reports/metrics.json", "-o", "accuracy.md", "-o", "report.html", "--project", params.parent)
    )
    assert status == 0, message
    shown = Path("accuracy.md").read_text(encoding="utf-8")
    assert all(f"| {label['name']} |" in shown for label in CODEBOOK["labels"])
    page = Path("report.html").read_text(encoding="utf-8")
    assert all(f">{label['name']}<" in page for label in CODEBOOK["labels"])
    assert "No model folder was named" in page


def test_texts_that_are_not_read_are_not_hashed_as_data_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "coded.jsonl").write_text("{}", encoding="utf-8")
    (tmp_path / "codings.csv").write_text("", encoding="utf-8")
    for records, read in (("coded.jsonl", False), ("codings.csv", True)):
        texts = tmp_path / "texts.parquet"
        train = {"records": str(tmp_path / records), "exemplars": "", "texts": str(texts), "added": str(tmp_path / "a")}
        chosen = Settings.model_validate({"train": train})
        if read:
            texts.write_text("", encoding="utf-8")
        assert set(data_hashes(chosen)) == ({records, "texts.parquet"} if read else {records})


def test_no_label_of_the_shipped_codebook_is_in_the_code() -> None:
    keys = load_codebook(ROOT / "data/annotated/codebook.yaml").keys
    pattern = re.compile("|".join(keys))
    sources = [
        path
        for folder in ("mechtag", "core", "models", "pipeline", "training", "evaluation")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    assert len(sources) > 40
    assert [str(path) for path in sources if pattern.search(path.read_text(encoding="utf-8"))] == []
