"""Test the exports of a review: they are complete, readable elsewhere, safe to open, and respect blinding."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import openpyxl
import pytest
import rispy

from mechtag.core.records import Record
from mechtag.core.settings import DedupeSettings, SentenceSettings
from mechtag.pipeline.annotations.coding_table import read_codings
from mechtag.pipeline.annotations.gold_table import load_matrix
from mechtag.pipeline.annotations.imports.codebook_file import read_codebook_file
from mechtag.pipeline.annotations.imports.importer import read_codings_from
from mechtag.pipeline.reading.ingest import read_sources
from mechtag.pipeline.reading.text.sentences import split
from mechtag.review.acts import Stamp
from mechtag.review.codebooks import save
from mechtag.review.jobs.exporting import BY_NAME, EXPORTS
from mechtag.review.jobs.worker import do_next, jobs
from mechtag.review.passwords import hash_password
from mechtag.review.store.accounts import add_account
from mechtag.review.workspace import Workspace
from mechtag.workflows.export import FORMATS
from tests.support.hostile import hostile_records
from tests.support.review_site import Browser, add_person, copy_review, make_review, papers, texts

HOSTILE = Record(
    record_id="text:bad",
    title='=HYPERLINK("http://evil.example")',
    abstract="Apples\nER  - \nTY  - BOOK\n@SUM(1) again. Pears.",
    authors=("+1, =2",),
    year=2020,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    review = make_review(tmp_path_factory.mktemp("exports"), [*papers(3), HOSTILE], exclusion_reasons=["Wrong topic"])
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "=Bob", "coder")
    for coder in (ann, bob):
        review.acts.decide(Stamp(coder), 1, 1)
        review.acts.decide(Stamp(coder), 2, 0, reason="Wrong topic")
        review.acts.decide(Stamp(coder), 4, 1)
        for record in (1, 4):
            review.acts.code(Stamp(coder), record, "apple", 1)
            review.acts.mark(Stamp(coder), record, "apple", [0])
            review.acts.code(Stamp(coder), record, "pear", 0)
            review.acts.commit(Stamp(coder), record)
    review.acts.decide(Stamp(ann), 3, 1)
    review.acts.note(Stamp(ann), 1, "+note")
    return review


@pytest.fixture
def review(prepared: Workspace, tmp_path: Path) -> Workspace:
    return copy_review(prepared, tmp_path)


def made(review: Workspace, browser: Browser, name: str, everything: str | None = "1", **form: str) -> bytes:
    """Create an export and return its content; by default, the box that includes everything is ticked."""
    assert browser.post("/export", name=name, everything=everything, **form).status_code == 200
    assert do_next(review, jobs())
    page = browser.get("/export")
    address = page.split("data-nothing")[0].split(f'value="{name}"')[1].split('href="')[1].split('"')[0]
    return browser.client.get(address).content


def test_the_codes_come_back(review: Workspace, tmp_path: Path) -> None:
    (tmp_path / "codings.csv").write_bytes(made(review, Browser(review, 1), "codings"))
    rows = read_codings(tmp_path / "codings.csv", ("edible", "apple", "pear"))
    assert {row.coder for row in rows} == {"Ann", "=Bob", "final"}
    assert [row.sentences for row in rows if row.label == "apple"] == [(0,)] * 6
    assert len([row for row in rows if row.coder == "final"]) == 7


def test_the_table_of_decisions_is_the_same_in_both_formats(review: Workspace) -> None:
    browser = Browser(review, 1)
    text = made(review, browser, "decisions").decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["decision"] for row in table] == ["included", "excluded", "", "included"]
    assert [row["reason"] for row in table] == ["", "Wrong topic", "", ""]
    assert (table[0]["Apple"], table[0]["Apple: evidence"], table[0]["Pear"]) == (
        "yes",
        "Apples grow in orchard 1.",
        "no",
    )
    assert (table[2]["Ann"], table[2]["'=Bob"], table[0]["notes"]) == ("included", "", "Ann: +note")
    assert table[3]["title"].startswith("'=HYPERLINK")
    book = openpyxl.load_workbook(io.BytesIO(made(review, browser, "workbook")))
    cells = [["" if cell is None else str(cell) for cell in row] for row in book["Decisions"].values]
    assert cells == [list(table[0]), *(list(row.values()) for row in table)]
    assert not any(cell.data_type == "f" for row in book["Decisions"].iter_rows() for cell in row)


def test_what_was_said_about_a_copy_is_in_the_row_of_its_paper(review: Workspace) -> None:
    bob = 3
    review.acts.decide(Stamp(bob), 3, 0, reason="Wrong topic")
    review.acts.note(Stamp(bob), 3, "On the copy")
    review.acts.tag(Stamp(bob), 3, "trial")
    review.acts.join(Stamp(1), 3, 1)
    browser = Browser(review, 1)
    table = list(csv.DictReader(io.StringIO(made(review, browser, "decisions").decode("utf-8-sig"))))
    assert [row["record_id"] for row in table] == ["doi:10.1/1", "doi:10.1/2", "text:bad"]
    assert (table[0]["Ann"], table[0]["'=Bob"]) == ("included", "included; excluded")
    assert (table[0]["tags"], table[0]["notes"]) == ("trial", "Ann: +note | =Bob: On the copy")


def test_decisions_of_withdrawn_people_are_left_out_of_the_table(review: Workspace) -> None:
    """Cay decided on record 3 like Ann, which would have settled it, and alone on nothing else."""
    cay = add_person(review, "Cay", "coder")
    review.acts.decide(Stamp(cay), 3, 1)

    def column(name: str) -> list[str | None]:
        rows = csv.DictReader(io.StringIO(made(review, Browser(review, 1), "decisions").decode("utf-8-sig")))
        return [row.get(name) for row in rows]

    assert (column("Cay"), column("decision")[2]) == (["", "", "included", ""], "included")
    review.acts.change_account(Stamp(1), cay, state="withdrawn")
    assert (column("Cay"), column("decision")[2]) == ([None] * 4, "")


def test_a_matrix_can_be_a_gold_standard(review: Workspace, tmp_path: Path) -> None:
    (tmp_path / "gold.csv").write_bytes(made(review, Browser(review, 1), "matrix"))
    matrix = load_matrix(tmp_path / "gold.csv")
    assert (len(matrix.keys), matrix.values("apple"), matrix.values("pear")) == (2, (1, 1), (0, 0))


@pytest.mark.parametrize("name", ["matrix", "table", "programs"])
def test_codes_of_a_retired_label_are_left_out(review: Workspace, name: str) -> None:
    book = review.codebook
    save(review, Stamp(1), book.model_copy(update={"labels": book.labels[1:]}), [])
    form = {"table": "md", "programs": "asreview"}.get(name)
    text = made(review, Browser(review, 1), name, **({} if form is None else {"format": form})).decode()
    assert "pear" in text.casefold()
    assert "paper,apple" not in text
    assert "| Apple" not in text
    assert "_apple" not in text


def test_keywords_of_a_retired_label_are_left_out(review: Workspace) -> None:
    user, book = Browser(review, 1), review.codebook
    assert "mechtag:apple" in made(review, user, "included").decode()
    save(review, Stamp(1), book.model_copy(update={"labels": book.labels[1:]}), [])
    text = made(review, user, "included").decode()
    assert "mechtag:included" in text
    assert "mechtag:apple" not in text


@pytest.mark.parametrize(
    ("form", "file"), [(one.name, one.file) for one in BY_NAME["programs"].formats if one.name != "qdc"]
)
def test_final_codes_come_back_from_the_formats_of_other_programs(
    review: Workspace, tmp_path: Path, form: str, file: str
) -> None:
    path = tmp_path / file
    path.write_bytes(made(review, Browser(review, 1), "programs", format=form))
    given = {"coder": "final", "basis": "abstract", "unticked": "no"}
    found = read_codings_from([path], [*papers(3), HOSTILE], review.codebook, DedupeSettings(), **given)  # type: ignore[arg-type]
    evidence = {"apple": "Apples grow in orchard 1."}
    assert {(row.record_id, row.label, row.value, row.coder) for row in found.codings} == {
        *(
            (paper, label, value, "final")
            for paper in ("doi:10.1/1", "text:bad")
            for label, value in (("edible", 1), ("apple", 1), ("pear", 0))
        ),
        ("doi:10.1/2", "edible", 0, "final"),
    }
    assert {
        row.label: row.evidence for row in found.codings if row.evidence and row.record_id == "doi:10.1/1"
    } == evidence


def test_the_page_offers_what_the_command_offers(review: Workspace) -> None:
    """On the page, csv and matrix are separate exports; the command's other formats are choices of one export."""
    offered = {one.name for one in BY_NAME["programs"].formats}
    assert offered == set(FORMATS) - {"csv", "matrix"}
    page = Browser(review, 1).get("/export")
    assert all(f'value="{name}"' in page for name in (*offered, "codings", "matrix", "table"))


@pytest.mark.slow
def test_forty_papers_with_hostile_titles_come_back_from_all_formats_of_the_page(tmp_path: Path) -> None:
    records = hostile_records()
    review = make_review(tmp_path, records)
    coders = [add_person(review, name, "coder") for name in ("Ann", "Bob <b>")]
    for coder in coders:
        for number in range(1, len(records) + 1):
            review.acts.decide(Stamp(coder), number, 1)
            review.acts.code(Stamp(coder), number, "apple", number % 2)
            review.acts.code(Stamp(coder), number, "pear", 0)
            if number % 2:
                review.acts.mark(Stamp(coder), number, "apple", [1])
            review.acts.commit(Stamp(coder), number)
    wanted = {
        (record.record_id, label, value)
        for number, record in enumerate(records, start=1)
        for label, value in (("edible", 1), ("apple", number % 2), ("pear", 0))
    }
    sentences = {one.record_id: one.text for one in split(records, SentenceSettings()) if one.sentence == 1}
    browser = Browser(review, 1)
    for form in (one for one in BY_NAME["programs"].formats if one.name != "qdc"):
        path = tmp_path / form.file
        path.write_bytes(made(review, browser, "programs", format=form.name))
        given = {"coder": "final", "basis": "abstract", "unticked": "no"}
        found = read_codings_from([path], records, review.codebook, DedupeSettings(), **given)  # type: ignore[arg-type]
        assert {(row.record_id, row.label, row.value) for row in found.codings} == wanted, form.name
        # The formats may change only white space.
        quotes = {row.record_id: " ".join(row.evidence.split()) for row in found.codings if row.evidence}
        marked = {record.record_id: sentences[record.record_id] for record in records[::2]}
        assert quotes == {name: " ".join(text.split()) for name, text in marked.items()}, form.name


@pytest.mark.parametrize("form", [one.name for one in BY_NAME["table"].formats])
def test_a_table_for_the_paper_in_a_format_of_choice(review: Workspace, form: str) -> None:
    browser = Browser(review, 1)
    data = made(review, browser, "table", format=form)
    assert data.startswith(b"PK") == (form in ("docx", "xlsx"))
    assert f"Download table.{form}" in texts(browser.get("/export"))
    assert browser.post("/export", name="table", format="exe").status_code == 404
    assert browser.post("/export", name="table").status_code == 404


def test_the_codebook_alone(review: Workspace, tmp_path: Path) -> None:
    (tmp_path / "book.qdc").write_bytes(made(review, Browser(review, 1), "programs", format="qdc"))
    assert read_codebook_file(tmp_path / "book.qdc", relevance="Fruit.").keys[1:] == ("apple", "pear")


@pytest.mark.parametrize(("name", "titles"), [("included", 2), ("excluded", 1), ("all", 4)])
def test_references_are_read_by_others_and_by_us(review: Workspace, tmp_path: Path, name: str, titles: int) -> None:
    path = tmp_path / f"{name}.ris"
    path.write_bytes(made(review, Browser(review, 1), name))
    ours = read_sources([path], lambda note: pytest.fail(note))
    with path.open(encoding="utf-8") as file:
        theirs = rispy.load(file)
    assert len(ours) == len(theirs) == titles
    keywords = {row["title"]: row.get("keywords", []) for row in theirs}
    if name != "excluded":
        assert keywords["Paper 1"] == ["mechtag:included", "mechtag:apple"]
    if name != "included":
        assert keywords["Paper 2"] == ["mechtag:excluded", "mechtag:reason=Wrong topic"]


def test_an_archive_of_the_project_has_the_log_but_no_secrets(review: Workspace) -> None:
    with review.store.write() as connection:
        add_account(connection, "Ivy", "coder", hash_password("correct horse battery staple"))
    data = made(review, Browser(review, 1), "project")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
        content = b"".join(archive.read(name) for name in names)
    assert {"review/params.yaml", "review/codebook.yaml"} <= names
    assert any(name.startswith("review/data/review/log/events-") for name in names)
    assert not any("sqlite3" in name or "exported" in name for name in names)
    assert b"argon2" not in content
    events = made(review, Browser(review, 1), "events").decode().splitlines()
    assert [json.loads(line)["seq"] for line in events] == list(range(1, len(events) + 1))


def test_a_blinded_coder_exports_own_codes_only(review: Workspace, tmp_path: Path) -> None:
    ann = Browser(review, 2)
    page = texts(ann.get("/export"))
    assert "you can export only your own codes" in page
    assert "decisions.csv" not in page
    for export in EXPORTS:
        if not export.open_to_blinded:
            assert ann.post("/export", name=export.name).status_code == 403
    (tmp_path / "codings.csv").write_bytes(made(review, ann, "codings"))
    assert {row.coder for row in read_codings(tmp_path / "codings.csv", ("edible", "apple", "pear"))} == {"Ann"}
    made(review, Browser(review, 1), "decisions")
    address = [part.split('"')[0] for part in Browser(review, 1).get("/export").split('href="/export/')[1:]]
    statuses = {ann.client.get(f"/export/{number}").status_code for number in address}
    assert statuses <= {403, 404}


def test_a_missing_file_is_made_again(review: Workspace) -> None:
    browser = Browser(review, 1)
    made(review, browser, "matrix")
    made(review, browser, "matrix")
    answer = browser.client.get("/export/1")
    assert (answer.status_code, "when a newer file was created" in answer.text) == (404, True)
    assert browser.post("/export", name="nothing").status_code == 404


def test_leads_stay_blind_to_what_they_can_still_judge(review: Workspace, tmp_path: Path) -> None:
    """Owen has judged nothing. Ann has included record 3; the other records are settled."""
    owen = Browser(review, 1)
    review.acts.note(Stamp(2), 3, "canary-note")
    review.acts.tag(Stamp(2), 3, "canary-tag")
    review.acts.tag(Stamp(2), 1, "known-tag")
    review.acts.mark(Stamp(2), 1, "pear", [1])
    page = texts(owen.get("/export"))
    assert "leaves other people's codes of records that you can still judge out" in page
    (tmp_path / "codings.csv").write_bytes(made(review, owen, "codings", None))
    rows = read_codings(tmp_path / "codings.csv", ("edible", "apple", "pear"))
    assert ({row.record_id for row in rows}, len(rows)) == ({"doi:10.1/1", "doi:10.1/2", "text:bad"}, 21)
    table = list(csv.DictReader(io.StringIO(made(review, owen, "decisions", None).decode("utf-8-sig"))))
    assert [row["Ann"] for row in table] == ["included", "excluded", "", "included"]
    assert "canary-note" not in str(table)
    assert [row["tags"] for row in table] == ["known-tag", "", "", ""]
    about_3 = [json.loads(line) for line in made(review, owen, "events", None).decode().splitlines()]
    assert [row["kind"] for row in about_3 if row["record"] == "doi:10.1/3"] == []
    everything = [json.loads(line) for line in made(review, owen, "events").decode().splitlines()]
    assert [row["kind"] for row in everything if row["record"] == "doi:10.1/3"] == ["code", "note", "tag"]
    assert len(about_3) + 4 == len(everything)  # the fourth is the event of the export before
    answer = owen.post("/export", name="project")
    assert (answer.status_code, "tick the box to confirm" in texts(answer.text)) == (422, True)
    assert b"canary-note" in made(review, owen, "events")
    activity = texts(owen.get("/activity"))
    assert "Owen exported events, with what others said about records still to judge" in activity
    # Those who have judged the record get everything, without having to tick a box.
    review.acts.decide(Stamp(1), 3, 1)
    assert "leaves other people's codes" not in texts(owen.get("/export"))
    assert b"canary-note" in made(review, owen, "events", None)
    (tmp_path / "codings.csv").write_bytes(made(review, owen, "codings", None))
    rows = read_codings(tmp_path / "codings.csv", ("edible", "apple", "pear"))
    assert {row.coder for row in rows if row.record_id == "doi:10.1/3"} == {"Ann", "Owen", "final"}


def test_a_lead_does_not_download_what_another_lead_may_see(review: Workspace) -> None:
    lea = Browser(review, add_person(review, "Lea", "adjudicator"))
    review.acts.decide(Stamp(4), 3, 1)
    assert b"doi:10.1/3" in made(review, lea, "codings", None)
    owen = Browser(review, 1)
    assert owen.client.get("/export/1").status_code == 403
    assert "Download codings.csv" not in owen.get("/export")
    assert "Download codings.csv" in lea.get("/export")
    made(review, lea, "matrix", None)
    assert "Download matrix.csv" in owen.get("/export")


def test_the_project_does_not_contain_the_words_of_a_person(review: Workspace) -> None:
    ann = Browser(review, 2)
    ann.post("/words/own", own="canary*")
    ann.post("/keys/choose", set="rayyan")
    with zipfile.ZipFile(io.BytesIO(made(review, Browser(review, 1), "project"))) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    assert [name for name, text in content.items() if b"canary" in text] == []
    (facts,) = (json.loads(text) for name, text in content.items() if name.endswith("/facts.json"))
    assert facts["keys of 2"] == {"set": "rayyan", "own": {}}
