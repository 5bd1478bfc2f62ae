"""Test that papers are ranked by the label definitions if a review has no codes, and that all outputs say so."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from openpyxl import load_workbook

from mechtag import project
from mechtag.core.errors import MechtagError
from mechtag.core.parquet import read_predictions, read_records, write_full_texts
from mechtag.core.records import DEFINITIONS_ALONE
from mechtag.models.model_folder import CONFIG, load_model, pack, read_config, with_model_id
from mechtag.pipeline.fulltext.reading import read_full_text
from mechtag.project import create_project, open_project
from mechtag.training.train import define, save_model
from mechtag.workflows.define import usable_model
from tests.support.command import call
from tests.support.pdfs import write_paper

_CODEBOOK = """\
name: gardens
relevance: {definition: People take part in a community garden.}
labels:
  - {key: social, name: Meeting people, definition: Gardeners make friends and meet their neighbours.}
  - {key: food, name: Growing food, definition: Gardeners harvest vegetables and eat more of them.}
"""
_PAPERS = (
    ("Friends on the plot", "Members of the garden made friends. They met neighbours whom they had not known."),
    ("Harvest on the plot", "Members of the garden grew vegetables. Households ate more beans and lettuce."),
    ("Alloy fatigue", "Nickel alloys were loaded until cracks grew. Temperature changed the rate of growth."),
)


@pytest.fixture
def review(tmp_path: Path) -> Path:
    """Return a project with its own codebook and a search, but no codes."""
    (tmp_path / "book.yaml").write_text(_CODEBOOK, encoding="utf-8")
    root = create_project(tmp_path / "review", tmp_path / "book.yaml").root
    entries = (f"TY  - JOUR\nTI  - {title}\nAB  - {abstract}\nER  - \n" for title, abstract in _PAPERS)
    (root / "data/raw/search.ris").write_text("\n".join(entries), encoding="utf-8")
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_papers_are_ranked_by_the_definitions_and_every_output_says_so(review: Path) -> None:
    status, _, message = call("tag", review / "data/raw", "-o", review / "out", "--project", review)
    assert status == 0, message
    assert "definitions of the codebook alone" in message
    rows = rows_of(review / "out/tagged.csv")
    assert rows[-1]["title"] == "Alloy fatigue"
    first = max(rows, key=lambda row: float(row["Meeting people: probability"]))
    assert first["title"] == "Friends on the plot"
    assert "friends" in first["Meeting people: evidence"].split("”")[0]
    assert max(rows, key=lambda row: float(row["Growing food: probability"]))["title"] == "Harvest on the plot"
    assert {row["Relevant: decision"] for row in rows} == {"refer"}
    assert all(row["model"].startswith(DEFINITIONS_ALONE) for row in rows)
    summary = json.loads((review / "out/summary.json").read_text(encoding="utf-8"))
    assert "definitions of the codebook alone" in summary["notes"][-1]
    assert (review / "out/tagged.ris").read_text(encoding="utf-8").count("definitions of the codebook alone") == 3
    sheet = load_workbook(review / "out/review.xlsx")["Review"]
    names = [cell.value for cell in sheet[1]]
    assert str(sheet.cell(2, 1 + names.index("model")).value).startswith(DEFINITIONS_ALONE)


def test_full_texts_are_searched_by_the_definitions_with_every_decision_left_to_people(review: Path) -> None:
    assert call("ingest", review / "data/raw/search.ris", "-o", review / "records.parquet")[0] == 0
    record = next(one for one in read_records(review / "records.parquet") if one.title == "Alloy fatigue")
    told = "Members of the plot make friends and meet their neighbours."
    body = "Alloys were cooled slowly in the furnace. " * 60
    path = write_paper(review / "a.pdf", record.title, body=f"{body}{told} {body}")
    text = read_full_text(path, "a.pdf").full_text.model_copy(update={"record_id": record.record_id})
    write_full_texts(review / "fulltexts.parquet", [text])
    words = ("tag", review / "records.parquet", "--full-texts", review / "fulltexts.parquet", "-o", review / "out")
    status, _, message = call(*words, "--project", review)
    assert status == 0, message
    assert "even rougher than those in abstracts" in message
    rows = {row.label: row for row in read_predictions(review / "out/predictions.parquet", "full-text")}
    assert {row.record_id for row in rows.values()} == {record.record_id}
    assert {row.decision for row in rows.values()} == {"refer"}
    best = rows["social"].evidence[0]
    place = text.text.index(told)
    page = next(page for page in text.pages if page.start <= best.start < page.end)
    assert (best.text, text.text[best.start : best.end]) == (told, told)
    assert best.start >= place
    assert best.page == page.label != "1"
    assert (rows["social"].probability or 0) > (rows["food"].probability or 0)


def test_a_model_that_cannot_tag_full_texts_is_made_again(review: Path) -> None:
    opened = open_project(review)
    defined = define(opened.settings, opened.codebook)
    old = replace(defined.tagger, long=None)
    config = with_model_id(defined.config.model_copy(update={"window": None}), pack(old))
    save_model(replace(defined, tagger=old, config=config), opened.own_model)
    assert load_model(opened.own_model).tagger.long is None
    found = load_model(usable_model(opened))
    assert found.config.from_definitions
    assert found.tagger.long is not None


def test_the_mark_of_a_model_from_definitions_cannot_be_removed(review: Path) -> None:
    folder = usable_model(open_project(review))
    path = folder / CONFIG
    text = path.read_text(encoding="utf-8")
    assert f'"{DEFINITIONS_ALONE}' in text
    path.write_text(text.replace(f'"{DEFINITIONS_ALONE}', '"'), encoding="utf-8")
    with pytest.raises(MechtagError, match="do not belong together"):
        load_model(folder)


def test_the_model_is_made_again_if_the_codebook_changes(review: Path) -> None:
    model = usable_model(open_project(review))
    first = read_config(model)
    assert first.from_definitions
    assert read_config(usable_model(open_project(review))).model_id == first.model_id
    book = review / "codebook.yaml"
    book.write_text(book.read_text(encoding="utf-8").replace("make friends", "make many friends"), encoding="utf-8")
    assert read_config(usable_model(open_project(review))).model_id != first.model_id


def test_codes_that_no_model_has_learned_from_are_reported(review: Path) -> None:
    usable_model(open_project(review))
    (review / "data/annotated/codings.csv").write_text("record_id,coder,label,value\n", encoding="utf-8")
    status, _, message = call("tag", review / "data/raw", "-o", review / "out", "--project", review)
    assert status == 0
    assert "records have been coded, but no model has been trained on them" in message


def write_codes(review: Path, social: str) -> None:
    assert call("ingest", review / "data/raw", "-o", review / "data/unique.parquet")[0] == 0
    record = read_records(review / "data/unique.parquet")[0].record_id
    rows = (f"{record},Ann,{label},{value},abstract" for label, value in (("social", social), ("food", "1")))
    text = "\n".join(("record_id,coder,label,value,basis", *rows))
    (review / "data/annotated/codings.csv").write_text(text, encoding="utf-8")


def test_codes_without_a_model_are_not_ignored(review: Path) -> None:
    write_codes(review, social="0")
    status, _, message = call("tag", review / "data/raw", "-o", review / "out", "--project", review)
    assert status == 1
    assert "run 'mechtag train' first" in message


def test_codes_that_no_model_can_learn_from_yet_do_not_prevent_tagging(review: Path) -> None:
    write_codes(review, social="")
    assert "food (1 record)" in call("train", "--project", review)[2]
    status, _, message = call("tag", review / "data/raw", "-o", review / "out", "--project", review)
    assert status == 0, message
    assert "no model can be trained on these codes yet: 1 of 2 labels are coded yes, but never no: food" in message
    assert read_config(review / "models/trained").from_definitions


def test_only_the_top_of_a_ranking_is_tagged(review: Path) -> None:
    """Records judged relevant come first, those judged irrelevant are left out, and others follow in table order."""
    assert call("tag", review / "data/raw", "-o", review / "out", "--project", review)[0] == 0
    ranked = review / "out/tagged.csv"
    records = (review / "out/records.parquet").rename(review / "records.parquet")
    words = ("tag", records, "--project", review, "--ranking", ranked)
    first, second, third = (row["title"] for row in rows_of(ranked))

    status, output, message = call(*words, "--top", 2, "-o", review / "top")
    assert status == 0, message
    assert f"note: 2 of 3 records are tagged, chosen from the top of {ranked}" in message
    assert "2 records to screen" in output
    assert [row["title"] for row in rows_of(review / "top/tagged.csv")] == [first, second]
    assert json.loads((review / "top/summary.json").read_text(encoding="utf-8"))["duplicates"] is None

    rows = rows_of(ranked)
    rows[0]["decision"], rows[2]["decision"] = "no", "yes"
    with ranked.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for count, titles in ((1, {third}), (5, {second, third})):
        folder = review / f"top-{count}"
        assert call(*words, "--top", count, "-o", folder)[0] == 0
        assert {row["title"] for row in rows_of(folder / "tagged.csv")} == titles

    status, _, message = call(*words, "--top", 1, "-o", review / "out")
    assert (status, "this command reads it" in message) == (1, True)
    status, _, message = call(*words[:1], review / "data/raw/search.ris", *words[1:], "--top", 1, "-o", review / "two")
    assert (status, "only with one local file of records" in message) == (1, True)
    assert call("tag", records, "--top", 1, "-o", review / "two")[0] == 2
    (review / "no.csv").write_text("record_id,decision\n" + "".join(f"{row['record_id']},no\n" for row in rows))
    status, _, message = call(*words[:-1], review / "no.csv", "--top", 1, "-o", review / "two")
    assert (status, "every record in this table has been judged irrelevant" in message) == (1, True)


def test_a_clone_that_has_not_trained_the_shipped_model_starts_from_the_definitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "SHIPPED", tmp_path / "empty")
    review = create_project(tmp_path / "review")
    assert not review.uses_shipped_model
    assert usable_model(review) == review.own_model
    assert read_config(review.own_model).from_definitions
