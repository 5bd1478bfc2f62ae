"""Test that models trained on papers coded as a whole, without codes of sentences, can tag full texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from openpyxl import load_workbook

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.parquet import read_predictions, write_full_texts, write_records
from mechtag.core.records import ABSTRACTS_ALONE, Record
from mechtag.core.settings import Settings
from mechtag.models.model_folder import load_model, read_config
from mechtag.pipeline.fulltext.reading import read_full_text
from mechtag.training.train import save_model, train
from tests.support.command import call
from tests.support.pdfs import write_paper
from tests.support.toy import fruit_project

TITLE = "A study of fruit in the gardens of a large village"
SAID = "The apple and the apple of the garden were pressed for people."


def project_of(folder: Path, fruit: Codebook, papers: int) -> Settings:
    """Create a project with a full text to tag, and a model trained on ``papers`` papers coded as a whole."""
    settings = fruit_project(folder, fruit)
    path = Path(settings.train.records)
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][:papers]
    for row in rows:
        row["sentences"] = [{"text": sentence["text"]} for sentence in row["sentences"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    content = settings.model_dump(mode="json", exclude_defaults=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    save_model(train(settings, fruit), folder / "models/trained")
    record = Record(record_id="text:a", title=TITLE, abstract="The village and the garden. People pressed fruit.")
    write_records(folder / "records.parquet", [record])
    file = write_paper(folder / "a.pdf", TITLE, body=f"{'People of the year and the town. ' * 40}{SAID} ")
    full_text = read_full_text(file, "a.pdf").full_text.model_copy(update={"record_id": record.record_id})
    write_full_texts(folder / "fulltexts.parquet", [full_text])
    return settings


def tag(folder: Path) -> str:
    words = ("tag", folder / "records.parquet", "--full-texts", folder / "fulltexts.parquet", "-o", folder / "out")
    status, _, message = call(*words, "--score-all", "--project", folder)
    assert status == 0, message
    return message


def test_full_texts_are_tagged_by_models_trained_on_whole_papers(tmp_path: Path, fruit: Codebook) -> None:
    project_of(tmp_path, fruit, papers=40)
    model = load_model(tmp_path / "models/trained")
    assert model.tagger.long is not None
    assert not model.config.model_id.startswith(ABSTRACTS_ALONE)
    message = tag(tmp_path)
    assert "needs review, because" not in message
    rows = {row.label: row for row in read_predictions(tmp_path / "out/predictions.parquet", "full-text")}
    assert SAID in [one.text for one in rows["apple"].evidence]


def test_with_too_few_papers_every_output_says_that_labels_need_review(tmp_path: Path, fruit: Codebook) -> None:
    project_of(tmp_path, fruit, papers=8)
    model_id = read_config(tmp_path / "models/trained").model_id
    assert model_id.startswith(ABSTRACTS_ALONE)
    assert "Every label in full texts needs review, because the coded records are too few" in tag(tmp_path)
    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    assert any(note.startswith("Every label in full texts needs review") for note in summary["notes"])
    rows = {row.label: row for row in read_predictions(tmp_path / "out/predictions.parquet", "full-text")}
    assert {rows[label].decision for label in fruit.keys} == {"refer"}
    assert rows["apple"].evidence
    with (tmp_path / "out/tagged.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["model"] for row in csv.DictReader(file)] == [model_id]
    assert "every label in full texts needs review" in (tmp_path / "out/tagged.ris").read_text(encoding="utf-8")
    book = load_workbook(tmp_path / "out/review.xlsx")
    guide = [str(cell.value) for sheet in book for row in sheet.iter_rows() for cell in row]
    assert any(f"'{ABSTRACTS_ALONE}...' decides labels in abstracts only" in text for text in guide)


def test_models_of_earlier_versions_without_the_mark_are_loaded(tmp_path: Path, fruit: Codebook) -> None:
    project_of(tmp_path, fruit, papers=8)
    path = tmp_path / "models/trained/config.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f'"{ABSTRACTS_ALONE}', '"'), encoding="utf-8")
    assert not load_model(tmp_path / "models/trained").config.model_id.startswith(ABSTRACTS_ALONE)
    path.write_text(text.replace('"seed": ', '"seed": 1'), encoding="utf-8")
    with pytest.raises(MechtagError, match="do not belong together"):
        load_model(tmp_path / "models/trained")
