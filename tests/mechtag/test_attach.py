"""Test the command ``attach`` with PDFs like those that a reviewer downloads."""

from __future__ import annotations

import csv
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from mechtag.core.parquet import iterate_full_texts, read_records, write_records
from mechtag.core.records import Record, make_record_id
from tests.support.command import call
from tests.support.pdfs import BODY, write_paper

SETTINGS = ("primary care", "district nursing", "stroke rehabilitation", "mental health", "palliative care")
THEMES = (
    "How leaders build trust across the teams of",
    "Shared decisions about budgets in networks for",
    "What managers do when partners disagree in",
    "Holding the middle between two organisations of",
)
TITLES = [f"{theme} {setting}" for theme in THEMES for setting in SETTINGS]
TWICE = 4  # number of the record with the same title as the previous record


def record(number: int, title: str) -> Record:
    # Every third record has no DOI.
    doi = f"10.5555/lead.{number}" if number % 3 or number == TWICE else None
    authors = (f"Family{number}, Ann",)
    record_id = make_record_id(doi=doi, pmid=None, title=title, year=2000 + number, authors=authors)
    return Record(record_id=record_id, title=title, authors=authors, year=2000 + number, doi=doi)


RECORDS = [record(number, TITLES[number - (number == TWICE)]) for number in range(20)]


def paper(folder: Path, name: str, one: Record) -> Path:
    family = one.authors[0].split(",")[0]
    return write_paper(
        folder / name,
        one.title,
        f"Ann {family}, University of Somewhere",
        f"Received 1 May {one.year}",
        *([f"https://doi.org/{one.doi}"] if one.doi else []),
        # The PDF cites a different paper of the review.
        references=[f"Ann X. {RECORDS[1].title}. 2001. doi:{RECORDS[1].doi}"],
    )


@pytest.fixture
def records(tmp_path: Path) -> Path:
    write_records(tmp_path / "records.parquet", RECORDS)
    return tmp_path / "records.parquet"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def run(*words: object) -> str:
    status, _, message = call("attach", *words)
    assert status == 0, message
    return message


@pytest.mark.slow
def test_renamed_files_are_attached_to_their_records(tmp_path: Path, records: Path) -> None:
    names = [f"download ({number}).pdf" for number in range(20)]
    random.Random(7).shuffle(names)
    for name, one in zip(names, RECORDS, strict=True):
        paper(tmp_path / "pdfs", name, one)
    write_paper(tmp_path / "pdfs/foreign.pdf", "Sediment transport in alpine rivers after floods", "10.5555/other")
    message = run(tmp_path / "pdfs", "--records", records, "-o", tmp_path / "out")
    rows = {row["file"]: row for row in table(tmp_path / "out/attached.csv")}
    [foreign] = table(tmp_path / "out/unmatched.csv")
    assert {row["record_id"]: row["file"] for row in rows.values()} == {
        one.record_id: name for name, one in zip(names, RECORDS, strict=True)
    }
    assert Counter(row["by"] for row in rows.values()) == {"DOI": 13, "title": 6, "title and author": 1}
    assert {row["likeness"] for row in rows.values()} == {"1.0"}
    assert foreign["file"] == "foreign.pdf"
    assert foreign["suggested"] == ""
    assert foreign["reason"].startswith("The beginning of the file contains neither an identifier nor the title")
    assert "21 files read: 20 attached, 0 duplicates of an attached file, 1 unmatched, 0 rejected" in message
    texts = {text.record_id: text for text in iterate_full_texts(tmp_path / "out/fulltexts.parquet")}
    assert texts.keys() == {one.record_id for one in RECORDS}
    for one in RECORDS:
        text = texts[one.record_id]
        assert one.title in " ".join(text.text.split())
        assert BODY.strip() in " ".join(text.text.split())
        assert {"methods", "results", "references"} <= {section.kind for section in text.sections}


def test_a_person_decides_on_uncertain_files(tmp_path: Path) -> None:
    one, two = (Record(record_id=f"text:{year}", title=TITLES[0], authors=("Lee, A",), year=year) for year in (1, 2))
    write_records(tmp_path / "records.parquet", [one, two])
    write_paper(tmp_path / "pdfs/a.pdf", TITLES[0], "A. Lee")
    out = ("--records", tmp_path / "records.parquet", "-o", tmp_path / "out")
    message = run(tmp_path / "pdfs", *out)
    assert "0 of 2 records have a full text" in message
    assert "1 file unmatched, 1 of them with a suggestion; enter the record_id of each file" in message
    [row] = table(tmp_path / "out/unmatched.csv")
    assert (row["suggested"], row["by"], row["likeness"]) == ("text:1; text:2", "title", "1.0")
    assert row["reason"] == "The titles of 2 records are in the beginning of the file."
    filled = (tmp_path / "out/unmatched.csv").read_text(encoding="utf-8").replace("a.pdf,", "a.pdf,text:2", 1)
    (tmp_path / "out/unmatched.csv").write_text(filled, encoding="utf-8")
    status, _, message = call("attach", tmp_path / "pdfs", *out)
    assert status == 1
    assert "would be overwritten, but you entered records in 1 of its rows; rename the file" in message
    (tmp_path / "out/unmatched.csv").rename(tmp_path / "map.csv")
    message = run(tmp_path / "pdfs", *out, "--map", tmp_path / "map.csv")
    assert "1 file read: 1 attached, 0 duplicates of an attached file, 0 unmatched, 0 rejected" in message
    [row] = table(tmp_path / "out/attached.csv")
    assert (row["file"], row["record_id"], row["status"], row["by"]) == ("a.pdf", "text:2", "attached", "map")


def test_hostile_files_are_listed_and_harm_nothing(tmp_path: Path, records: Path) -> None:
    folder = tmp_path / "pdfs"
    paper(folder / "folder.pdf", "=cmd|' \n.pdf", RECORDS[1])
    paper(folder, "copy.pdf", RECORDS[1])
    (folder / "empty.pdf").touch()
    (folder / "damaged.pdf").write_bytes((folder / "copy.pdf").read_bytes()[:900])
    (folder / "loop.pdf").symlink_to("loop.pdf")
    (folder / "up").symlink_to(folder, target_is_directory=True)
    (folder / "link.pdf").symlink_to("copy.pdf")
    (folder / "page.htm").write_bytes(b"<html><title>Log in</title>")
    os.mkfifo(folder / "pipe.pdf")
    (folder / ".hidden.pdf").write_bytes(b"x")
    (folder / "notes.md").write_bytes(b"x")
    message = run(folder, "--records", records, "-o", tmp_path / "out" / "texts.parquet")
    assert "note: some files in the folders are not full texts and were not read: 1 .md" in message
    assert "7 files read: 1 attached, 1 duplicates of an attached file, 0 unmatched, 5 rejected" in message
    first, second = table(tmp_path / "out/attached.csv")
    assert {first["file"], second["file"]} == {"'=cmd|' \\n.pdf", "copy.pdf"}
    assert (first["status"], first["used_instead"]) == ("attached", "")
    assert (second["status"], second["used_instead"]) == ("duplicate", first["file"].removeprefix("'"))
    lines = (tmp_path / "out/rejected.jsonl").read_text(encoding="utf-8").splitlines()
    reasons = {row["file"]: row["reason"] for row in map(json.loads, lines)}
    assert reasons.keys() == {"empty.pdf", "damaged.pdf", "loop.pdf", "page.htm", "pipe.pdf"}
    assert reasons["empty.pdf"].startswith("empty.pdf is empty")
    assert reasons["loop.pdf"].startswith("loop.pdf: the file cannot be read: Too many levels of symbolic links")
    assert reasons["pipe.pdf"].startswith("pipe.pdf is a folder, pipe, socket or device")
    [text] = iterate_full_texts(tmp_path / "out/texts.parquet")
    assert text.record_id == RECORDS[1].record_id


KEPT, PREPRINT, LATER = "doi:10.5555/final", "doi:10.1101/preprint", "Shared work, one budget and three networks"
SAME = f"TY  - JOUR\nTI  - {TITLES[0]}\nAU  - Lee, Ann\nPY  - 2020\nJO  - Journal of Care\nVL  - 3\n"
EXPORT = "ER  -\n\n".join(
    (
        f"{SAME}AB  - Leaders listened to the teams of both services.\n",
        f"{SAME}DO  - 10.5555/final\nL1  - internal-pdf://88/lee.pdf\n",
        f"{SAME}AN  - 7654321 [pmid]\nL1  - storage/AB/copy.pdf\n",
        f"TY  - JOUR\nTI  - {LATER}\nAU  - Osei, Kofi\nPY  - 2021\n",
        "",
    )
)


@pytest.fixture
def merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write an export with three records of one paper, remove the duplicates, and return the ids before deduplication.

    The record that is kept has no DOI in the export; it gets its id from the second record.
    """
    monkeypatch.chdir(tmp_path)
    Path("export.ris").write_text(EXPORT, encoding="utf-8")
    assert call("ingest", "export.ris", "-o", "records.parquet")[0] == 0
    assert call("dedupe", "records.parquet", "-o", "unique.parquet")[0] == 0
    ids = [one.record_id for one in read_records("records.parquet")]
    assert [one.record_id for one in read_records("unique.parquet")] == [KEPT, ids[3]]
    assert len(set(ids[:3])) == 3
    return ids


def test_a_map_may_name_any_record_that_was_merged(merged: list[str]) -> None:
    for number, name in enumerate((*merged[:3], "7654321")):
        # The content of the file does not identify the record.
        write_paper(Path("pdfs/scan.pdf"), "Cover sheet of a library")
        Path("map.csv").write_text(f"file,record_id\nscan.pdf,{name}\n", encoding="utf-8")
        message = run("pdfs", "--records", "unique.parquet", "--map", "map.csv", "-o", f"out{number}")
        [row] = table(Path(f"out{number}/attached.csv"))
        assert (row["record_id"], row["by"]) == (KEPT, "map")
        # The kept record has its own id and the PubMed id of a duplicate.
        is_merged = name in (merged[0], merged[2])
        assert row["merged_record"] == (name if is_merged else "")
        said = f"scan.pdf: you entered {name}, a duplicate that was merged into {KEPT}"
        assert (said in message) == is_merged
        [text] = iterate_full_texts(Path(f"out{number}/fulltexts.parquet"))
        assert text.record_id == KEPT


def test_two_files_of_one_merged_record_are_both_listed(merged: list[str]) -> None:
    write_paper(Path("pdfs/a.pdf"), "Cover sheet of a library")
    write_paper(Path("pdfs/b.pdf"), TITLES[0], "Ann Lee")
    Path("map.csv").write_text(f"file,record_id\na.pdf,{merged[0]}\nb.pdf,{merged[2]}\n", encoding="utf-8")
    message = run("pdfs", "--records", "unique.parquet", "--map", "map.csv", "-o", "out")
    assert "2 files read: 1 attached, 1 duplicates of an attached file, 0 unmatched, 0 rejected" in message
    used, other = table(Path("out/attached.csv"))
    assert (used["file"], used["record_id"], used["merged_record"]) == ("b.pdf", KEPT, merged[2])
    assert (other["file"], other["record_id"], other["merged_record"]) == ("a.pdf", KEPT, merged[0])
    assert other["used_instead"] == "b.pdf"


def test_a_path_in_a_merged_record_leads_to_the_kept_record(merged: list[str]) -> None:
    write_paper(Path("library/storage/AB/copy.pdf"), "Cover sheet of a library")
    message = run("library", "--records", "unique.parquet", "-o", "out")
    [row] = table(Path("out/attached.csv"))
    assert (row["record_id"], row["by"], row["merged_record"]) == (KEPT, "path", merged[2])
    assert f"copy.pdf: the file is named in {merged[2]}, a duplicate that was merged into {KEPT}" in message
    # The content of a file takes precedence over its path.
    write_paper(Path("library/storage/AB/copy.pdf"), LATER, "Kofi Osei")
    Path("later.ris").write_text(EXPORT.replace("PY  - 2021", "PY  - 2021\nDO  - 10.5555/later"), encoding="utf-8")
    assert call("ingest", "later.ris", "-o", "records.parquet")[0] == 0
    assert call("dedupe", "records.parquet", "-o", "unique.parquet")[0] == 0
    write_paper(Path("library/storage/AB/copy.pdf"), LATER, "Kofi Osei", "https://doi.org/10.5555/later")
    run("library", "--records", "unique.parquet", "-o", "out")
    [row] = table(Path("out/unmatched.csv"))
    assert (row["suggested"], row["merged_record"]) == (KEPT, merged[2])
    assert row["reason"] == (
        f"A duplicate of the record, {merged[2]}, names this file, but the file contains the DOI and the title of a "
        "different record, doi:10.5555/later."
    )


def test_the_doi_of_a_merged_record_belongs_to_the_kept_record(tmp_path: Path) -> None:
    one = Record(record_id=KEPT, title=TITLES[0], doi="10.5555/final")
    write_records(tmp_path / "unique.parquet", [one])
    groups = (
        "group,kept,record_id,title,doi\n"
        f"1,yes,{KEPT},{TITLES[0]},10.5555/final\n1,no,{PREPRINT},{TITLES[0]},10.1101/preprint\n"
    )
    write_paper(tmp_path / "pdfs/a.pdf", TITLES[0], "https://doi.org/10.1101/preprint", "Ann Lee")
    write_paper(tmp_path / "pdfs/b.pdf", f"doi:10.1101/preprint {TITLES[0]}", "Ann Lee")
    out = ("--records", tmp_path / "unique.parquet", "-o", tmp_path / "out")
    run(tmp_path / "pdfs", *out)
    # Without the table of groups, the DOI before the title belongs to an unknown paper.
    assert [row["file"] for row in table(tmp_path / "out/unmatched.csv")] == ["b.pdf"]
    (tmp_path / "earlier.csv").write_text(groups, encoding="utf-8")
    run(tmp_path / "pdfs", *out, "--groups", tmp_path / "earlier.csv")
    rows = table(tmp_path / "out/attached.csv")
    assert [(row["record_id"], row["by"]) for row in rows] == [(KEPT, "DOI")] * 2


def test_ids_that_lead_to_no_record_or_to_several_are_refused(tmp_path: Path) -> None:
    records = [Record(record_id=name, title=name) for name in ("doi:10.1/a#1", "doi:10.1/a#2", "text:c")]
    write_records(tmp_path / "unique.parquet", records)
    paper(tmp_path, "a.pdf", RECORDS[1])
    (tmp_path / "groups.csv").write_text(
        "group,kept,record_id,original_id\n"
        "1,yes,doi:10.1/a#1,doi:10.1/a\n1,no,text:x,\n2,yes,gone,\n2,no,text:gone,\n"
        "3,yes,text:b,\n3,no,text:a,\n4,yes,text:c,\n4,no,text:b,\n",
        encoding="utf-8",
    )
    out = (tmp_path / "a.pdf", "--records", tmp_path / "unique.parquet", "-o", tmp_path / "out")
    for name, message in {
        "text:y": "map.csv: line 2: there is no record 'text:y' in this review; enter the record_id of a record",
        "text:gone": "map.csv: line 2: there is no record 'text:gone'",
        "doi:10.1/a": "map.csv: line 2: 'doi:10.1/a' belongs to several records (doi:10.1/a#1, doi:10.1/a#2)",
        "text:x": "",
        "text:a": "",  # merged into a record that was merged later
    }.items():
        (tmp_path / "map.csv").write_text(f"file,record_id\na.pdf,{name}\n", encoding="utf-8")
        status, _, said = call("attach", *out, "--map", tmp_path / "map.csv")
        assert (status, message in said) == (int(bool(message)), True)
    [row] = table(tmp_path / "out/attached.csv")
    assert (row["record_id"], row["merged_record"]) == ("text:c", "text:a")


def test_a_foreign_groups_csv_next_to_the_records_is_named_in_a_note(tmp_path: Path, records: Path) -> None:
    paper(tmp_path, "a.pdf", RECORDS[1])
    for text, reason in (
        ("name,size\nred,3\n", "the column 'group' is missing; restore the column, or run 'mechtag dedupe' again"),
        ("group,kept,record_id\n1,no,a\n", "line 2: group '1' has no row with 'yes' in the column 'kept'"),
    ):
        (tmp_path / "groups.csv").write_text(text, encoding="utf-8")
        message = run(tmp_path / "a.pdf", "--records", records, "-o", tmp_path / "out")
        assert reason in message
        assert "Until the file can be read, the ids and files of merged duplicates are not recognised" in message
        out = ("--records", records, "-o", tmp_path / "out")
        status, _, message = call("attach", tmp_path / "a.pdf", *out, "--groups", tmp_path / "groups.csv")
        assert (status, reason in message) == (1, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.pdf"], "gone.pdf: no such file or folder; check the path"),
        (["empty"], "empty: no full texts were found; expected files in PDF"),
        (["empty", "--map", "no_columns.csv"], "no full texts were found"),
        (["a.pdf", "--map", "no_columns.csv"], "the column 'record_id' is missing"),
        (["a.pdf", "--map", "unknown.csv"], "unknown.csv: line 2: there is no record 'doi:10.1/gone'"),
        (["both", "--map", "name.csv"], "2 files are named a.pdf"),
        (["a.pdf", "--map", "two.csv"], "two.csv: line 3: a different row assigns the file a.pdf"),
    ],
)
def test_invalid_inputs_are_explained(
    tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    paper(tmp_path, "a.pdf", RECORDS[1])
    for name in ("both/x/a.pdf", "both/y/a.pdf"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_bytes(Path("a.pdf").read_bytes())
    for name, lines in {
        "no_columns": ["file", "a.pdf"],
        "unknown": ["file,record_id", "a.pdf,doi:10.1/gone"],
        "name": ["file,record_id", f"a.pdf,{RECORDS[1].record_id}"],
        "two": ["file,record_id", f"a.pdf,{RECORDS[1].record_id}", f"a.pdf,{RECORDS[2].record_id}"],
    }.items():
        Path(f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
    status, _, found = call("attach", *words, "--records", records, "-o", "out")
    assert status == 1
    assert message in found
    assert not Path("out").exists()
