"""Test annotations in several files: which are read, in which order, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.settings import Settings
from mechtag.pipeline.annotations.coded_records import files_of, read_about, read_coded, read_codes
from mechtag.pipeline.annotations.coding_table import data_hashes, read_annotations
from mechtag.pipeline.reading.text.headings import find_headings, heading_name
from mechtag.training.dataset import coded_documents
from tests.support.paths import ROOT

LABELS = ("trust", "money")


def line(key: str, title: str, **other: Any) -> dict[str, Any]:
    """Return a coded record as a row of a file of annotations."""
    row = {"key": key, "title": title, "relevant": True, "mechanisms": ["trust"], "coder": "c", "basis": "abstract"}
    return {**row, "sentences": [{"text": "One.", "mechanisms": ["trust"]}], "codebook": "toy", **other}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_folder_is_all_its_files_in_alphabetical_order(tmp_path: Path) -> None:
    write(tmp_path / "c/b.jsonl", line("3", "Third"))
    write(tmp_path / "c/a.jsonl", line("1", "First"), line("2", "Second", hard=False))
    write(tmp_path / "c/._a.jsonl", {"not": "a record"})
    (tmp_path / "c/notes.txt").write_text("not annotations", encoding="utf-8")
    coded = read_coded(tmp_path / "c", LABELS)
    assert [(row.key, row.record.source_file, row.record.source_index, row.set_name) for row in coded] == [
        ("1", "a.jsonl", 1, "a"),
        ("2", "a.jsonl", 2, "a"),
        ("3", "b.jsonl", 1, "b"),
    ]
    assert [row.hard for row in coded] == [None, False, None]
    assert coded == [row for name in "ab" for row in read_coded(tmp_path / f"c/{name}.jsonl", LABELS)]
    assert [document.source for document in coded_documents(coded, LABELS)] == ["a", "a", "b"]


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match=r"contains no \*\.jsonl file \(expected coded records"):
        read_coded(tmp_path, LABELS)
    with pytest.raises(MechtagError, match=r"contains no \*\.jsonl file \(expected codes"):
        read_codes(tmp_path, LABELS)
    write(tmp_path / "a.jsonl", line("1", "First"))
    (tmp_path / "codes.csv").write_text("record_id,coder,label,value,basis\n", encoding="utf-8")
    with pytest.raises(MechtagError, match=r"codes\.csv would be ignored; move these tables elsewhere"):
        read_coded(tmp_path, LABELS)


def test_the_name_of_the_set_that_retraining_adds_is_reserved(tmp_path: Path) -> None:
    write(tmp_path / "added.jsonl", line("1", "First"))
    with pytest.raises(
        MechtagError, match=r"the name added\.jsonl is reserved for records that 'mechtag retrain' adds"
    ):
        files_of(tmp_path, "coded records")


def test_a_paper_in_two_files_is_refused_with_both_places(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", line("0", "Other"), line("1", "The same title"))
    write(tmp_path / "b.jsonl", line("2", "The Same Title."))
    with pytest.raises(
        MechtagError, match=r"b\.jsonl: line 1: 'text:\w+' already occurs on line 2 of .*a\.jsonl; keep"
    ):
        read_coded(tmp_path, LABELS)


def test_a_record_that_a_further_coder_coded_in_two_files_is_refused(tmp_path: Path) -> None:
    codes = {"key": "1", "relevant": True, "mechanisms": [], "coder": "d", "basis": "abstract", "codebook": "toy"}
    write(tmp_path / "a.jsonl", codes, {**codes, "key": "2"})
    assert [row.key for row in read_codes(tmp_path, LABELS)] == ["1", "2"]
    write(tmp_path / "b.jsonl", codes)
    with pytest.raises(MechtagError, match=r"b\.jsonl: line 1: '1' already occurs on line 1 of .*a\.jsonl"):
        read_codes(tmp_path, LABELS)


@pytest.mark.parametrize("hard", [1, "yes"])
def test_hard_must_be_a_boolean(tmp_path: Path, hard: object) -> None:
    with pytest.raises(MechtagError, match="hard: Input should be a valid boolean"):
        read_coded(write(tmp_path / "a.jsonl", line("1", "First", hard=hard)), LABELS)


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("", ""),
        ("METHODS:", "methods"),
        ("RESULTS.", "results"),
        ("Purpose –", "purpose"),
        ("Research limitations/implications -", "research limitations/implications"),
        ("Design / methodology / approach —", "design/methodology/approach"),
        ("[Main  outcome measures]", "main outcome measures"),
        ("Aims, objectives, theory or methods:", "aims, objectives, theory or methods"),
    ],
)
def test_sections_are_named_as_headings_in_abstracts_are(tmp_path: Path, printed: str, name: str) -> None:
    sentences = [{"text": "One.", "section": printed, "mechanisms": ["trust"]}, {"text": "Two.", "mechanisms": []}]
    (coded,) = read_coded(write(tmp_path / "a.jsonl", line("1", "First", sentences=sentences)), LABELS)
    assert [sentence.section for sentence in coded.sentences] == [name, ""]
    assert coded.record.abstract == "One. Two."


@pytest.mark.parametrize("printed", ["METHODS:", "Purpose –", "Design/methodology/approach –", "CONCLUSIONS.", "Aim:"])
def test_a_printed_section_has_the_name_that_the_heading_has_in_running_text(printed: str) -> None:
    (heading,) = find_headings(f"{printed} We asked 20 managers.")
    assert heading.name == heading_name(printed)


def test_what_files_hold_is_described_in_about(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", line("1", "First"))
    write(tmp_path / "b.jsonl", line("2", "Second"))
    assert read_about(tmp_path, "records") == {"a": ("a", "unknown"), "b": ("b", "unknown")}
    (tmp_path / "about.yaml").write_text("b: {title: Made-up ones, texts: invented}\n", encoding="utf-8")
    assert read_about(tmp_path, "records") == {"a": ("a", "unknown"), "b": ("Made-up ones", "invented")}
    # The description also applies if only one file of the folder is read.
    assert read_about(tmp_path / "b.jsonl", "records") == {"b": ("Made-up ones", "invented")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: {title: A, texts: novels}",
            r"about\.yaml: a\.texts: Input should be 'synopses', 'invented' or 'published'",
        ),
        ("a: {title: A}", r"about\.yaml: a\.texts: Field required"),
        ("a: {title: A, texts: invented, colour: red}", r"about\.yaml: a\.colour: unknown key"),
        (
            "c: {title: A, texts: invented}",
            r"about\.yaml: these names match no .* in the folder: 'c'; .*files found: a",
        ),
        ("- a", r"file descriptions must be a mapping"),
    ],
)
def test_faulty_descriptions_are_refused(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "a.jsonl", line("1", "First"))
    (tmp_path / "about.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(MechtagError, match=message):
        read_about(tmp_path, "records")


def test_training_reads_the_folder_and_names_each_file(tmp_path: Path) -> None:
    write(tmp_path / "c/b.jsonl", line("2", "Second"))
    write(tmp_path / "c/a.jsonl", line("1", "First"))
    train = {"records": str(tmp_path / "c"), "exemplars": "", "added": str(tmp_path / "added")}
    settings = Settings.model_validate({"train": train})
    assert [row.key for row in read_annotations(settings, LABELS, "relevant")] == ["1", "2"]
    before = data_hashes(settings)
    assert list(before) == ["c/a.jsonl", "c/b.jsonl"]
    # A model does not learn from the names of files in reports, so the hashes stay the same.
    (tmp_path / "c/about.yaml").write_text("a: {title: A, texts: invented}\n", encoding="utf-8")
    assert data_hashes(settings) == before
    write(tmp_path / "c/b.jsonl", line("2", "Another"))
    assert {name for name, value in data_hashes(settings).items() if value != before[name]} == {"c/b.jsonl"}
    alone = Settings.model_validate({"train": {**train, "records": str(tmp_path / "c/a.jsonl")}})
    assert data_hashes(alone) == {"a.jsonl": before["c/a.jsonl"]}


def test_a_table_of_codings_is_one_set(tmp_path: Path) -> None:
    from mechtag.core.parquet import write_records
    from mechtag.core.records import Record

    records = [
        Record(record_id=f"text:{name}", title=f"Paper {name}", abstract="One.", source_file=f"{name}.ris")
        for name in "ab"
    ]
    write_records(tmp_path / "records.parquet", records)
    rows = [f"text:{name},c,trust,1,abstract" for name in "ab"]
    (tmp_path / "codes.csv").write_text("\n".join(["record_id,coder,label,value,basis", *rows]), encoding="utf-8")
    train = {"records": str(tmp_path / "codes.csv"), "texts": str(tmp_path / "records.parquet"), "added": "none"}
    coded = read_annotations(Settings.model_validate({"train": train}), LABELS, "relevant")
    assert [(row.set_name, row.hard) for row in coded] == [("codes", None)] * 2


def test_the_shipped_settings_name_the_shipped_folders() -> None:
    settings = Settings()
    labels = load_codebook(ROOT / settings.codebook).keys
    assert [path.stem for path in files_of(ROOT / settings.train.records, "")] == [
        "coded_records",
        "coded_records_2",
        "journal_style",
    ]
    assert {texts for _, texts in read_about(ROOT / settings.train.records, "").values()} == {"synopses", "invented"}
    second = {row.key for row in read_codes(ROOT / settings.evaluate.second_coder, labels)}
    assert second <= {row.key for row in read_coded(ROOT / settings.train.records, labels)}
