"""Test full texts on the review page: attached to records, read page by page, and coded separately from abstracts."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update
from starlette.responses import Response

from mechtag.core.records import Record
from mechtag.pipeline.fulltext import isolated
from mechtag.review import full_texts as uploads
from mechtag.review.acts import Refused, Stamp
from mechtag.review.codings import coders_codings, final_codings
from mechtag.review.full_texts import READ, list_files
from mechtag.review.import_log import write_imports
from mechtag.review.imports import File
from mechtag.review.jobs import full_texts, importing
from mechtag.review.jobs.worker import do_next
from mechtag.review.plan import STAGES
from mechtag.review.roles import PlacedPassage, read_role_passages
from mechtag.review.store import schema
from mechtag.review.store.conflicts import DOUBTED, DOUBTED_CODES, Selection, count_selected
from mechtag.review.store.events import project_events, read_events
from mechtag.review.store.queue import count_states
from mechtag.review.store.readings import attached_file, read_reading
from mechtag.review.store.records import add_records, read_entry
from mechtag.review.store.state import Rules, derive
from mechtag.review.workspace import Workspace, write_fact
from tests.support.pdfs import write_paper
from tests.support.review_site import Browser, add_person, copy_review, look, make_review, papers, texts

OWEN = 1
MODEL = "0123456789ab"


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    """Read all files in one process, because starting a process takes longer than reading a file."""
    with isolated.IsolatedReader() as reader, pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolated, "IsolatedReader", lambda: nullcontext(reader))
        yield


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    return begun(tmp_path)


def begun(folder: Path) -> Workspace:
    """Make a review of four records, the first two of which are included."""
    records = papers(4)
    records[1] = records[1].model_copy(update={"title": "How pears are pressed in the large cities of the north"})
    workspace = make_review(folder, records, coders_screen=1, coders_code=2, mode_code="after")
    for record in (1, 2):
        workspace.acts.decide(Stamp(OWEN), record, 1)
    return workspace


def pdf(tmp_path: Path, title: str, *lines: str, name: str = "a.pdf", body: str = "") -> tuple[str, bytes]:
    """Make a PDF of several pages, and return its file name and content."""
    text = body or "Leaders of the orchards shared their apples. Nobody else spoke of pears. " * 30
    path = write_paper(tmp_path / "made" / name, title, *lines, body=text, references=("Elm E. A cited paper. 2001.",))
    return name, path.read_bytes()


def work(review: Workspace) -> None:
    """Let the worker read all uploaded files."""
    idle = {kind: lambda workspace, arguments, progress: {} for kind in ("rank", "tag", "files")}
    while do_next(review, {READ: full_texts.read, **idle}):
        pass


def send(browser: Browser, *files: tuple[str, bytes]) -> Response:
    sent = [("files", (name, io.BytesIO(content))) for name, content in files]
    return browser.client.post("/full-texts", data={"csrf": browser.csrf, "client_id": "x"}, files=sent)


def bring(review: Workspace, browser: Browser, *files: tuple[str, bytes]) -> None:
    assert send(browser, *files).status_code == 200
    work(review)


def states(review: Workspace) -> dict[str, int]:
    with review.store.read() as connection:
        return {name: number for name, number in count_states(connection, "full-text").items() if number}


def coded(review: Workspace, coder: int, *, apple: int, pear: int = 0, record: int = 1, sentence: int = 3) -> None:
    """Code a record from its full text, and finish it."""
    stamp = look(review, coder, record, "full-text")
    acts = review.acts
    acts.code(stamp, record, "apple", apple, stage="full-text")
    acts.code(Stamp(coder), record, "pear", pear, stage="full-text")
    acts.mark(Stamp(coder), record, "apple", [sentence] if apple else [], stage="full-text")
    acts.commit(Stamp(coder), record, stage="full-text")


def attach_by_hand(review: Workspace, tmp_path: Path, record: int, name: str = "s.pdf") -> int:
    """Upload a file that matches no record, attach it to a record, and return the number of the file."""
    browser = Browser(review, OWEN)
    bring(review, browser, pdf(tmp_path, f"Something short {name}", name=name))
    with review.store.read() as connection:
        number = max(file.id for file in list_files(connection))
    assert browser.post(f"/full-texts/{number}", record=record).status_code == 200
    return number


def test_each_file_is_attached_or_listed_with_its_reason(review: Workspace, tmp_path: Path) -> None:
    browser = Browser(review, OWEN)
    bring(
        review,
        browser,
        pdf(tmp_path, "Paper 1", "doi:10.1234/1", "https://doi.org/10.1/1", name="x1.pdf"),
        pdf(tmp_path, "How pears are pressed in the large cities of the north", name="x2.pdf"),
        pdf(tmp_path, "A paper of nobody in this review at all", name="x3.pdf"),
        ("broken.pdf", b"%PDF-1.4 cut off"),
    )
    with review.store.read() as connection:
        files = {file.name: file for file in list_files(connection)}
    assert {name: file.attached for name, file in files.items()} == {
        "x1.pdf": False,
        "x2.pdf": True,
        "x3.pdf": False,
        "broken.pdf": False,
    }
    # A title identifies a paper only from thirty letters on, and 10.1/1 is not a DOI.
    assert (files["x2.pdf"].record, files["x2.pdf"].found_by) == (2, "title")
    assert files["x2.pdf"].pages > 1
    page = texts(browser.get("/full-texts"))
    assert "4 files = 1 attached + 2 without a record + 1 not readable" in page
    assert "1 of 2 included records has a full text" in page
    assert "neither an identifier nor the title of any record" in page
    assert "broken.pdf cannot be read as a PDF, because it is damaged or cut off; download it again" in page
    assert states(review) == {"open": 1}


def test_a_file_is_read_once_and_an_interrupted_job_goes_on(review: Workspace, tmp_path: Path) -> None:
    browser = Browser(review, OWEN)
    one = pdf(tmp_path, "How pears are pressed in the large cities of the north", name="x2.pdf")
    assert "x2-again.pdf was uploaded before, as x2.pdf" in texts(send(browser, one, ("x2-again.pdf", one[1])).text)
    table = schema.full_text
    work(review)
    # The worker was killed after the file was attached, but before suggestions were requested.
    job = schema.job
    with review.store.read() as connection:
        before = connection.execute(select(table)).one()
        assert len(project_events(connection, "attach")) == 1
    with review.store.write() as connection:
        connection.execute(delete(job).where(job.c.kind == "tag"))
        connection.execute(update(job).where(job.c.kind == READ).values(state="waiting", result="{}"))
    work(review)
    with review.store.read() as connection:
        assert connection.execute(select(table)).one() == before
        assert len(project_events(connection, "attach")) == 1
        results = dict(connection.execute(select(job.c.kind, job.c.result).where(job.c.kind.in_((READ, "tag")))).all())
    assert {kind: json.loads(text) for kind, text in results.items()} == {READ: {"files": 1, "attached": 1}, "tag": {}}


def test_the_better_of_two_files_of_a_record_is_attached(review: Workspace, tmp_path: Path) -> None:
    title = "How pears are pressed in the large cities of the north"
    body = "<p>" + "Leaders shared their pears with everybody. " * 40 + "</p>"
    jats = (
        f"<article><front><article-meta><title-group><article-title>{title}</article-title></title-group>"
        f"</article-meta></front><body><sec><title>Results</title>{body}</sec></body></article>"
    )
    bring(review, Browser(review, OWEN), pdf(tmp_path, title, name="p.pdf"), ("p.xml", jats.encode()))
    with review.store.read() as connection:
        files = {file.name: file for file in list_files(connection)}
    assert files["p.xml"].attached
    assert not files["p.pdf"].attached
    assert files["p.pdf"].reason == "A different file, p.xml, is attached to this record."


def test_a_person_finds_the_record_of_a_file_and_takes_it_back(review: Workspace, tmp_path: Path) -> None:
    browser = Browser(review, add_person(review, "Ann", "coder"))
    bring(review, browser, pdf(tmp_path, "Something short", name="s.pdf"))
    page = browser.get("/full-texts/1?words=orchard")
    assert "Something short" in texts(page)
    assert "Attach to this record : Paper 1" in texts(page)
    assert "s.pdf" in texts(browser.post("/full-texts/1", record=1).text)
    with review.store.read() as connection:
        (file,) = list_files(connection)
    assert (file.attached, file.record, file.found_by) == (True, 1, "person")
    assert browser.post("/full-texts/of/1/detach").status_code == 200
    assert states(review) == {}
    assert browser.post("/full-texts/1").status_code == 422


def test_the_text_is_read_by_section_and_page_and_nothing_in_it_is_markup(review: Workspace, tmp_path: Path) -> None:
    browser = Browser(review, OWEN)
    body = 'Leaders shared <b>apples</b> & "pears" with all of their teams in the orchard. ' * 40
    bring(review, browser, pdf(tmp_path, "A title that is not in the review", name="s.pdf", body=body))
    browser.post("/full-texts/1", record=1)
    page = browser.get("/records/1/text")
    assert "<b>apples" not in page
    assert 'Leaders shared <b>apples</b> & "pears"' in texts(page.replace("&lt;", "LT").replace("&gt;", "GT")).replace(
        "LT", "<"
    ).replace("GT", ">")
    assert re.search(r'<h2 id="section-\d+" tabindex="-1">Results</h2>', page)
    assert "Page 2" in texts(page)
    assert "A cited paper" not in page
    answer = browser.client.get("/full-texts/of/1")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.content.startswith(b"%PDF")
    assert browser.client.get("/records/3/text").status_code == 404


@pytest.fixture(scope="module")
def attached(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("attached")
    review = begun(folder)
    browser = Browser(review, OWEN)
    bring(review, browser, pdf(folder, "Something short", name="s.pdf"))
    browser.post("/full-texts/1", record=1)
    return review


@pytest.fixture
def with_text(attached: Workspace, tmp_path: Path) -> Workspace:
    """Return a review in which record 1 has a full text."""
    return copy_review(attached, tmp_path)


def test_codes_by_full_text_are_kept_apart_from_those_by_abstract(with_text: Workspace) -> None:
    review = with_text
    ann, bob = (add_person(review, name, "coder") for name in ("Ann", "Bob"))
    browser = Browser(review, ann)
    page = browser.get("/full-text?record=1")
    assert "Full text, one sentence per line" in texts(page)
    assert 'action="/full-text/answer"' in page
    assert 'action="/code/' not in page
    for label, given in (("apple", "yes"), ("pear", "no")):
        answer = browser.post("/full-text/answer", record=1, label=label, answer=given)
        assert answer.status_code == 200, texts(answer.text)
    browser.post("/full-text/mark", record=1, label="apple", sentence=3)
    browser.post("/full-text/done", record=1)
    coded(review, bob, apple=1)
    assert states(review) == {"settled": 1}
    with review.store.read() as connection:
        assert count_states(connection, "code")["open"] == 2
        entry = read_entry(connection, 1)
        assert entry is not None
        quote = read_reading(connection, entry, "full-text").sentence(3)
        found = [row for row in final_codings(connection) if row.label == "apple"]
        mine = [row for row in coders_codings(connection, coder=ann) if row.label == "apple"]
    assert quote not in entry.abstract
    for (row,) in (found, mine):
        assert (row.basis, row.evidence, row.sentences) == ("full-text", quote, (3,))
    assert review.store.rebuild() == []


def test_a_long_text_has_headings_and_no_boxes_for_each_sentence_and_label(with_text: Workspace) -> None:
    browser = Browser(with_text, OWEN)
    page = browser.get("/full-text?record=1")
    assert re.search(r'<h3 class="section" id="section-(\d+)">Results</h3>', page)
    assert 'type="checkbox" name="sentence"' not in page
    # Without script, the buttons of the sentences mark them, and an answer does not remove the marks.
    answer = browser.post("/full-text/mark", record=1, label="apple", sentence=3)
    assert answer.history[0].headers["location"] == "/full-text?record=1&label=apple#s-3"
    browser.post("/full-text/answer", record=1, label="apple", answer="yes")
    assert ", marked for Apple" in texts(browser.get("/full-text?record=1"))
    assert 'type="checkbox" name="sentence"' in browser.get("/code?record=1")


def test_the_page_goes_back_to_the_text_by_which_a_person_coded_last(with_text: Workspace) -> None:
    browser = Browser(with_text, OWEN)
    assert browser.client.get("/code").url.path == "/code"
    assert browser.client.get("/full-text").url.path == "/full-text"
    assert browser.client.get("/code").url.path == "/full-text"
    assert browser.client.get("/code?basis=abstract").url.path == "/code"
    assert browser.client.get("/code").url.path == "/code"


def test_conflicts_of_full_texts_are_a_list_of_their_own(with_text: Workspace) -> None:
    review = with_text
    coded(review, add_person(review, "Ann", "coder"), apple=1)
    coded(review, add_person(review, "Bob", "coder"), apple=0)
    browser = Browser(review, OWEN)
    assert "Full-text conflicts (1)" in texts(browser.get("/reconcile/full-text"))
    page = texts(browser.get("/reconcile/full-text/1"))
    assert "Full-text coding" in page
    assert "Leaders of the orchards shared their apples." in page
    answer = browser.post("/reconcile/full-text/1/settle", label="apple", answer="yes", why="Page 1", sentence=3)
    assert answer.status_code == 200
    assert states(review) == {"settled": 1}


def test_a_blinded_coder_does_not_see_what_another_marked_in_the_text(with_text: Workspace) -> None:
    review = with_text
    coded(review, add_person(review, "Ann", "coder"), apple=1)
    bob = Browser(review, add_person(review, "Bob", "coder"))
    for address in ("/records/1/text", "/full-text?record=1", "/full-texts", "/records/1"):
        assert '<mark class="for">' not in bob.get(address), address
        assert ", marked for Apple" not in texts(bob.get(address)), address
    assert ", marked for Apple" in texts(Browser(review, 2).get("/full-text?record=1"))
    own = Browser(review, 2).get("/records/1/text")
    assert own.count('<mark class="for">') == 1


def test_a_text_by_which_somebody_coded_stays(with_text: Workspace, tmp_path: Path) -> None:
    review = with_text
    coded(review, OWEN, apple=1)
    with pytest.raises(Refused, match="because the record has been coded from it"):
        review.acts.detach(Stamp(OWEN), 1)
    bring(review, Browser(review, OWEN), pdf(tmp_path, "Another short one", name="t.pdf"))
    with pytest.raises(Refused, match="has been coded from it"):
        review.acts.attach(Stamp(OWEN), 1, 2, "person")


def test_only_what_exists_can_be_attached_or_coded(with_text: Workspace) -> None:
    acts = with_text.acts
    with pytest.raises(Refused, match="this file does not exist or could not be read"):
        acts.attach(Stamp(OWEN), 2, 9, "person")
    with pytest.raises(Refused, match="already attached to a record"):
        acts.attach(Stamp(OWEN), 2, 1, "person")
    with pytest.raises(Refused, match="no full text is attached"):
        acts.detach(Stamp(OWEN), 2)
    with pytest.raises(Refused, match="no full text is attached to this record"):
        acts.code(Stamp(OWEN), 2, "apple", 1, stage="full-text")
    with pytest.raises(Refused, match=r"the full text has only \d+ sentences"):
        acts.mark(Stamp(OWEN), 1, "apple", [10_000], stage="full-text")
    with pytest.raises(Refused, match="not coded at the stage 'screen'"):
        acts.code(Stamp(OWEN), 1, "apple", 1, stage="screen")


def test_a_record_that_is_not_included_is_not_coded_by_its_text(review: Workspace, tmp_path: Path) -> None:
    browser = Browser(review, OWEN)
    bring(review, browser, pdf(tmp_path, "Something short", name="s.pdf"))
    browser.post("/full-texts/1", record=3)
    assert states(review) == {}
    assert browser.client.get("/full-text?record=3").status_code == 409
    review.acts.decide(Stamp(OWEN), 3, 1)
    assert states(review) == {"open": 1}


def test_suggestions_for_the_text_point_to_its_sentences_and_follow_the_mode(with_text: Workspace) -> None:
    review = with_text
    ann = add_person(review, "Ann", "coder")
    own = {"model_id": MODEL, "record": 1, "label": "apple", "probability": 0.9}
    with review.store.write() as connection:
        rows = [
            {**own, "stage": "full-text", "decision": "yes", "sentences": json.dumps([5])},
            {**own, "stage": "code", "decision": "no", "sentences": "[]"},
        ]
        connection.execute(insert(schema.suggestion), rows)
        write_fact(connection, "model_id", MODEL)
    browser = Browser(review, ann)
    assert "mechtag says" not in texts(browser.get("/full-text?record=1"))
    coded(review, ann, apple=0)
    page = texts(browser.get("/full-text?record=1"))
    assert "You said no; mechtag says: yes" in page
    assert "suggested by mechtag for Apple" in page
    assert "mechtag says" not in texts(browser.get("/code?record=1"))


def test_what_was_saved_before_a_full_disk_is_read(
    review: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, saved = Browser(review, OWEN), uploads.save_file

    def save(file: File, place: Path, largest: int, advice: str) -> tuple[int, str]:
        if file.name == "b.txt":
            raise OSError(28, "No space left on device")
        return saved(file, place, largest, advice)

    monkeypatch.setattr(uploads, "save_file", save)
    monkeypatch.setattr(uploads, "LARGEST", 2_000)
    text = ("a.txt", b"How pears are pressed in the large cities of the north\n\nLeaders shared their pears.")
    answer = send(browser, text, ("large.txt", b"x" * 3_000), ("b.txt", b"b"))
    assert answer.status_code == 507
    assert "The files could not be saved (No space left on device)" in texts(answer.text)
    work(review)
    with review.store.read() as connection:
        assert [(file.name, file.state) for file in list_files(connection)] == [("a.txt", "read")]
    assert [path.name for path in (review.folder / "full-texts").iterdir()] == ["1"]
    answer = send(browser, ("large.txt", b"x" * 3_000), ("c.txt", b"A text of three words"))
    assert answer.status_code == 200
    assert "large.txt is too large; the limit is 0 MB per file; lower the resolution of its pictures" in texts(
        answer.text
    )
    assert "+ 1 not read yet" in texts(answer.text)


def test_two_uploads_at_once_do_not_share_a_folder(review: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, saved = Browser(review, OWEN), uploads.save_file
    others = [File("other.txt", io.BytesIO(b"A text of somebody else"))]

    def save(file: File, place: Path, largest: int, advice: str) -> tuple[int, str]:
        if others:
            uploads.take_files(review, OWEN, [others.pop()])
        return saved(file, place, largest, advice)

    monkeypatch.setattr(uploads, "save_file", save)
    assert send(browser, ("own.txt", b"A text of one's own")).status_code == 200
    found = {path.name for path in (review.folder / "full-texts").glob("*/*")}
    assert found == {"other.txt", "own.txt"}
    with review.store.read() as connection:
        assert {file.id: file.name for file in list_files(connection)} == {1: "own.txt", 2: "other.txt"}


def test_a_file_that_found_no_record_is_read_again_if_it_is_uploaded_again(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    broken = ("broken.pdf", b"%PDF-1.4 cut off")
    text = ("a.txt", b"How quinces are dried in the large cities of the south\n\nLeaders shared their quinces.")
    bring(review, browser, broken, text)
    with review.store.write() as connection:
        title = "How quinces are dried in the large cities of the south"
        connection.execute(update(schema.record).where(schema.record.c.id == 3).values(title=title))
    next((review.folder / "full-texts").glob("*/a.txt")).unlink()
    bring(review, browser, broken, ("b.txt", text[1]))
    with review.store.read() as connection:
        files = {file.name: file for file in list_files(connection)}
    assert files["broken.pdf"].state == "rejected"
    assert (files["a.txt"].record, files["a.txt"].attached) == (3, True)
    assert "b.txt was uploaded before, as a.txt" in texts(send(browser, ("b.txt", text[1])).text)
    assert browser.client.get("/full-texts/of/3").content == text[1]
    # A person detaches the file, and it is uploaded again.
    browser.post("/full-texts/of/3/detach")
    bring(review, browser, text)
    with review.store.read() as connection:
        assert [file.name for file in list_files(connection) if file.attached] == ["a.txt"]


def test_cancelled_reading_keeps_what_was_read(
    review: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mechtag.review.jobs.progress._PAUSE", -1.0)
    browser = Browser(review, OWEN)
    title = b"How pears are pressed in the large cities of the north"
    assert send(browser, ("a.txt", title), ("b.txt", b"A second text")).status_code == 200
    values = full_texts._read_values

    def read(*args: object) -> dict[str, object]:
        assert "2 files = 0 attached + 0 without a record + 0 not readable + 2 not read yet" in texts(
            browser.get("/full-texts")
        )
        assert browser.post("/jobs/1/cancel").status_code == 200
        return values(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(full_texts, "_read_values", read)
    work(review)
    with review.store.read() as connection:
        assert connection.execute(select(schema.job.c.state).where(schema.job.c.id == 1)).scalar() == "cancelled"
        assert {file.name: file.attached for file in list_files(connection)} == {"a.txt": True, "b.txt": False}
    page = texts(browser.get("/full-texts"))
    assert "Reading was stopped before 1 file was read. Choose it again: b.txt" in page
    monkeypatch.undo()
    bring(review, browser, ("b.txt", b"A second text"))
    assert "2 files = 1 attached + 1 without a record + 0 not readable." in texts(browser.get("/full-texts"))


def test_a_file_of_a_duplicate_is_the_text_of_its_paper(review: Workspace, tmp_path: Path) -> None:
    number = attach_by_hand(review, tmp_path, 3)
    title = "How pears are pressed in the large cities of the north"
    review.acts.join(Stamp(OWEN), 3, into=2)
    assert states(review) == {"open": 1}
    bring(review, Browser(review, OWEN), pdf(tmp_path, title, name="late.pdf"))
    with review.store.read() as connection:
        files = {file.name: file for file in list_files(connection)}
        attached = attached_file(connection, 2)
    assert attached.id == number
    assert files["late.pdf"].reason == "A different file, s.pdf, is attached to this record."


def text_of(review: Workspace, record: int) -> str:
    """Return the name of the file that is the full text of a record."""
    with review.store.read() as connection:
        return str(attached_file(connection, record).name)


def evidence_of(review: Workspace, record: int) -> list[int]:
    """Return the numbers of the evidence sentences of a record's final full-text code for apple."""
    final = schema.final
    wanted = (final.c.record == record, final.c.stage == "full-text", final.c.label == "apple")
    with review.store.read() as connection:
        return list(json.loads(connection.execute(select(final.c.sentences).where(*wanted)).scalar_one()))


def test_joining_and_parting_records_leaves_the_text_under_the_codes(review: Workspace, tmp_path: Path) -> None:
    for record, name in ((1, "s.pdf"), (2, "t.pdf")):
        attach_by_hand(review, tmp_path, record, name)
    people = [add_person(review, name, "coder") for name in ("Ann", "Bob")]
    for coder in people:
        coded(review, coder, apple=1, record=2)
    review.acts.join(Stamp(OWEN), 2, into=1)
    # The first record has a file of its own, but nobody has coded it.
    assert text_of(review, 1) == text_of(review, 2) == "t.pdf"
    assert evidence_of(review, 1) == [3]
    page = texts(Browser(review, OWEN).get("/records/1/text"))
    assert "t.pdf" in page
    assert page.count("Apple") == 1
    review.acts.split(Stamp(OWEN), 2)
    assert (text_of(review, 1), text_of(review, 2)) == ("s.pdf", "t.pdf")
    assert evidence_of(review, 2) == [3]
    review.acts.undo(Stamp(OWEN))
    assert evidence_of(review, 1) == [3]
    assert review.store.rebuild() == []


def test_the_evidence_of_a_duplicate_counts_if_both_are_read_by_its_file(review: Workspace, tmp_path: Path) -> None:
    attach_by_hand(review, tmp_path, 2)
    ann, bob = (add_person(review, name, "coder") for name in ("Ann", "Bob"))
    coded(review, ann, apple=1, record=2)
    review.acts.join(Stamp(OWEN), 2, into=1)
    coded(review, bob, apple=0, sentence=4)
    # The sentence marked in the duplicate is in the text that is shown, so it can be taken with the code.
    page = Browser(review, OWEN).get("/reconcile/full-text/1?votes=1")
    assert "Ann: yes, sentence 4" in texts(page)
    assert "Take A's code and sentences" in texts(page)
    review.acts.code(Stamp(bob), 1, "apple", 1, stage="full-text")
    review.acts.mark(Stamp(bob), 1, "apple", [4], stage="full-text")
    assert evidence_of(review, 1) == [3, 4]
    with review.store.read() as connection:
        (final,) = (row for row in final_codings(connection) if row.label == "apple" and row.basis == "full-text")
        reading = read_reading(connection, read_entry(connection, 1), "full-text")
    assert final.evidence == f"{reading.sentence(3)} […] {reading.sentence(4)}"


def test_marks_in_a_file_that_was_parted_are_not_shown_in_another(review: Workspace, tmp_path: Path) -> None:
    for record, name in ((3, "s.pdf"), (4, "t.pdf")):
        attach_by_hand(review, tmp_path, record, name)
        review.acts.join(Stamp(OWEN), record, into=1)
    people = [add_person(review, name, "coder") for name in ("Ann", "Bob")]
    for coder in people:
        coded(review, coder, apple=1)
    assert (text_of(review, 1), evidence_of(review, 1)) == ("s.pdf", [3])
    review.acts.split(Stamp(OWEN), 3)
    # The codes still count, but sentence 3 of the other file is a different one.
    assert (text_of(review, 1), evidence_of(review, 1)) == ("t.pdf", [])
    page = Browser(review, people[0]).get("/full-text?record=1")
    assert (
        "You coded this record with a different file, s.pdf. Sentences that you marked in that file are not shown here."
        in texts(page)
    )
    assert 'aria-pressed="true"' not in page
    review.acts.commit(Stamp(people[0]), 1, stage="full-text", all_sentences=True)
    with review.store.read() as connection:
        one, other = (row for row in coders_codings(connection) if (row.label, row.basis) == ("apple", "full-text"))
        reading = read_reading(connection, read_entry(connection, 3), "full-text")
    # The person finished the record with the new text, without marking a sentence.
    assert (one.sentences, one.sentences_complete) == ((), True)
    assert (other.sentences, other.evidence) == ((3,), reading.sentence(3))
    review.acts.undo(Stamp(people[0]))
    review.acts.undo(Stamp(OWEN))
    assert (text_of(review, 1), evidence_of(review, 1)) == ("s.pdf", [3])
    assert "You coded this record with a different file" not in texts(
        Browser(review, people[0]).get("/full-text?record=1")
    )


def test_roles_in_a_file_that_was_parted_keep_their_words(review: Workspace, tmp_path: Path) -> None:
    review.acts.change_plan(Stamp(OWEN), "roles", True)
    for record, name in ((3, "s.pdf"), (4, "t.pdf")):
        attach_by_hand(review, tmp_path, record, name)
        review.acts.join(Stamp(OWEN), record, into=1)
    coded(review, OWEN, apple=1)
    review.acts.role(Stamp(OWEN), 1, "apple", 3, "context", stage="full-text")

    def placed() -> tuple[PlacedPassage, str]:
        with review.store.read() as connection:
            (found,) = read_role_passages(connection, review.codebook)
            return found, read_reading(connection, read_entry(connection, 3), "full-text").sentence(3)

    before, words = placed()
    assert (before.sentence, before.passage.text) == (3, words)
    assert before.passage.start is not None
    assert f"not linked Owen, full text Paper 1 {words}" in texts(Browser(review, OWEN).get("/roles"))
    review.acts.split(Stamp(OWEN), 3)
    after, _ = placed()
    assert (after.record, after.sentence, after.passage.start, after.passage.text) == (1, None, None, words)


@pytest.mark.parametrize("order", [(3, 4), (4, 3)])
def test_the_text_of_three_joined_records_with_two_files_does_not_change_under_codes(
    review: Workspace, tmp_path: Path, order: tuple[int, int]
) -> None:
    """Ann coded record 3 from its file before Bob coded record 4 from another file; record 1 has no file."""
    for record, name in ((4, "t.pdf"), (3, "s.pdf")):
        attach_by_hand(review, tmp_path, record, name)
    ann, bob = (add_person(review, name, "coder") for name in ("Ann", "Bob"))
    coded(review, ann, apple=1, record=3)
    coded(review, bob, apple=1, record=4, sentence=4)
    for record in order:
        review.acts.join(Stamp(OWEN), record, into=1)
    # The text is the one that was coded first, whatever was joined first; only marks in this text count.
    assert {text_of(review, record) for record in (1, 3, 4)} == {"s.pdf"}
    assert evidence_of(review, 1) == [3]
    # Later codes, splits and undo do not change it either.
    cay = add_person(review, "Cay", "coder")
    coded(review, cay, apple=1, sentence=5)
    review.acts.split(Stamp(OWEN), 4)
    assert (text_of(review, 1), text_of(review, 4), evidence_of(review, 1)) == ("s.pdf", "t.pdf", [3, 5])
    review.acts.undo(Stamp(OWEN))
    assert (text_of(review, 1), evidence_of(review, 1)) == ("s.pdf", [3, 5])
    with pytest.raises(Refused, match="has been coded from it"):
        review.acts.detach(Stamp(OWEN), 3)
    assert review.store.rebuild() == []


def test_events_of_earlier_versions_do_not_name_the_text(review: Workspace, tmp_path: Path) -> None:
    attach_by_hand(review, tmp_path, 2)
    coded(review, OWEN, apple=1, record=2)
    review.acts.join(Stamp(OWEN), 2, into=1)
    coded(review, add_person(review, "Ann", "coder"), apple=1)
    attach = schema.event.c.record.in_((1, 2))
    with review.store.read() as connection:
        events = read_events(connection, attach)
        rules = Rules({stage: 1 for stage in STAGES})
    assert any("text" in event.value for event in events)
    older = [
        replace(event, value={key: value for key, value in event.value.items() if key != "text"}) for event in events
    ]
    assert derive(older, 1, rules) == derive(events, 1, rules)


@pytest.mark.slow
def test_a_file_without_a_record_is_deleted_after_a_question(review: Workspace, tmp_path: Path) -> None:
    browser = Browser(review, add_person(review, "Ann", "coder"))
    attach_by_hand(review, tmp_path, 1)
    wrong = pdf(tmp_path, "A paper of nobody in this review at all", name="wrong.pdf")
    bring(review, browser, wrong, ("broken.pdf", b"%PDF-1.4 cut off"))
    write_imports(review)
    log, folder = review.folder / "log", review.folder / "full-texts"
    assert len(list(log.glob("full-text-*.jsonl"))) == 3
    page = browser.get("/full-texts")
    assert re.findall(r'href="(/full-texts/\d/delete)"', page) == ["/full-texts/2/delete", "/full-texts/3/delete"]
    question = browser.get("/full-texts/2/delete")
    assert "Delete wrong.pdf?" in question
    assert (folder / "2").is_dir(), "nothing is deleted before the answer"
    for number in (2, 3):
        assert browser.post(f"/full-texts/{number}/delete").status_code == 200
    assert [path.name for path in folder.iterdir()] == ["1"]
    assert [path.name for path in log.glob("full-text-*.jsonl")] == ["full-text-1.jsonl"]
    assert "1 file = 1 attached + 0 without a record + 0 not readable." in texts(browser.get("/full-texts"))
    assert "deleted the file broken.pdf" in texts(browser.get("/activity"))
    # A deleted file can be uploaded again.
    bring(review, browser, wrong)
    assert "2 files = 1 attached + 1 without a record" in texts(browser.get("/full-texts"))


def test_a_file_that_is_attached_or_being_read_is_not_deleted(
    review: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(review, OWEN)
    attach_by_hand(review, tmp_path, 1)
    send(browser, ("a.txt", b"A text that is being read"))
    for number, said in (
        (1, "attached to a record; detach"),
        (2, "is being read; wait until it has been read"),
        (9, "it may have been deleted"),
    ):
        answer = browser.post(f"/full-texts/{number}/delete")
        assert answer.status_code in (404, 409)
        assert said in texts(answer.text)
    assert browser.client.get("/full-texts/1/delete").status_code == 409
    work(review)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("mechtag.review.full_texts.shutil.rmtree", refuse)
        assert "cannot be deleted (Permission denied)" in texts(browser.post("/full-texts/2/delete").text)
    assert (review.folder / "full-texts/2/a.txt").is_file()
    assert "a.txt" in texts(browser.get("/full-texts"))
    # A file that another process wrote to the log after the deletion is removed.
    browser.post("/full-texts/2/delete")
    log = review.folder / "log/full-text-2.jsonl"
    log.write_text("{}\n", encoding="utf-8")
    write_imports(review)
    assert not log.exists()


def test_a_record_whose_text_went_with_a_separated_record_is_not_handed_out(review: Workspace, tmp_path: Path) -> None:
    attach_by_hand(review, tmp_path, 3)
    review.acts.join(Stamp(OWEN), 3, into=1)
    coded(review, OWEN, apple=1)
    assert states(review) == {"waiting": 1}
    review.acts.split(Stamp(OWEN), 3)
    assert states(review) == {}
    bring(review, Browser(review, OWEN), pdf(tmp_path, "Another short one", name="t.pdf"))
    with pytest.raises(Refused, match="has been coded from it"):
        review.acts.attach(Stamp(OWEN), 1, 2, "person")
    with review.store.read() as connection:
        assert [row.sentences for row in coders_codings(connection) if row.label == "apple"] == [(3,)]
    review.acts.undo(Stamp(OWEN))
    assert states(review) == {"waiting": 1}
    assert review.store.rebuild() == []


def suggest(review: Workspace, record: int, *stages: str) -> None:
    """Store the suggestion yes for apple at each of the given stages, as the worker does."""
    own = {"model_id": MODEL, "record": record, "label": "apple", "probability": 0.9, "decision": "yes"}
    with review.store.write() as connection:
        connection.execute(insert(schema.suggestion), [{**own, "stage": stage, "sentences": "[0]"} for stage in stages])
        write_fact(connection, "model_id", MODEL)


def test_suggestions_for_a_text_go_with_it(with_text: Workspace, tmp_path: Path) -> None:
    review, table = with_text, schema.suggestion
    suggest(review, 1, "code", "full-text")
    attach_by_hand(review, tmp_path, 1, "t.pdf")
    with review.store.read() as connection:
        assert connection.execute(select(table.c.stage)).scalars().all() == ["code"]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_model_that_leaves_full_texts_to_people_says_so(with_text: Workspace, leaves: bool) -> None:
    review = with_text
    suggest(review, 1, "code", "full-text")
    review.acts.change_plan(Stamp(OWEN), "mode_code", "assisted")
    model = {"model_id": MODEL, "from_definitions": False, "leaves_full_texts": leaves, "papers": 9, "at": None}
    with review.store.write() as connection:
        write_fact(connection, "model", {**model, "shipped": False})
    said = "The model does not decide on labels in full texts, because it has learned from too few codes"
    browser = Browser(review, OWEN)
    assert (said in texts(browser.get("/full-text?record=1"))) == leaves
    assert said not in texts(browser.get("/code?record=1"))


def test_a_record_with_a_text_is_tagged_once_it_is_included(review: Workspace, tmp_path: Path) -> None:
    attach_by_hand(review, tmp_path, 3)
    suggest(review, 3, "code")
    work(review)
    Browser(review, OWEN).post("/screen/decide", record=3, answer="include")
    with review.store.read() as connection:
        job = schema.job
        waiting = connection.execute(select(job.c.kind).where(job.c.state == "waiting")).scalars().all()
    assert "tag" in waiting


def test_a_suggestion_seen_for_the_abstract_counts_for_the_codes_by_full_text(with_text: Workspace) -> None:
    review = with_text
    suggest(review, 1, "code")
    ann, bob = (add_person(review, name, "coder") for name in ("Ann", "Bob"))
    for coder in (ann, bob):
        review.acts.code(look(review, coder, 1), 1, "apple", 1)
        review.acts.commit(Stamp(coder), 1, open_labels=True)
    browser = Browser(review, ann)
    assert "mechtag says" in texts(browser.get("/code?record=1"))
    for coder in (ann, bob):
        own = Browser(review, coder)
        page = own.get("/full-text?record=1")
        sight = re.findall(r'name="sight" value="(\d+)"', page)[0]
        assert own.post("/full-text/answer", record=1, label="apple", answer="yes", sight=sight).status_code == 200
        own.post("/full-text/done", record=1, open_labels=1)
    with review.store.read() as connection:
        found = {row.coder: row.assisted for row in coders_codings(connection) if row.basis == "full-text"}
    assert found == {"Ann": True, "Bob": False}
    assert "; a suggestion had been shown before" in texts(browser.get("/records/1"))


def test_marks_in_the_full_text_do_not_keep_people_from_adding_the_abstract(with_text: Workspace) -> None:
    coded(with_text, OWEN, apple=1)
    with_text.acts.edit_record(Stamp(OWEN), 1, "abstract", "An abstract that was missing.")


def test_the_list_of_a_coder_has_what_was_coded_by_full_text(with_text: Workspace) -> None:
    coded(with_text, OWEN, apple=1)
    page = Browser(with_text, OWEN).get("/decisions")
    assert '<a href="/full-text?record=1">' in page
    assert '<a href="/code?record=1">' not in page
    assert "full text finished 2 of 2" in texts(page)


def test_a_removed_record_is_no_longer_proposed_for_a_file(review: Workspace) -> None:
    with review.store.write() as connection:
        add_records(connection, [Record(record_id="doi:10.1/9", title="Paper 9")], (), 2, {})
        values = {"sha256": "x", "name": "x.pdf", "at": "", "coder": OWEN, "state": "read", "record": 5}
        connection.execute(insert(schema.full_text).values(**values, reason="Perhaps.", found_by="title"))
        importing._remove(connection, 2)
        assert connection.execute(select(schema.full_text.c.record)).scalar() is None


@pytest.mark.slow
def test_the_model_is_not_said_to_disagree_with_codes_by_full_text(with_text: Workspace) -> None:
    for name in ("Ann", "Bob"):
        coded(with_text, add_person(with_text, name, "coder"), apple=1)
    with with_text.store.write() as connection:
        write_fact(connection, DOUBTED_CODES, [{"record_id": "doi:10.1/1", "label": "apple", "value": 1}])
        assert count_selected(connection, Selection(DOUBTED)) == 0


def by_abstract(review: Workspace, coder: int, record: int, *, apple: int, pear: int) -> None:
    """Code a record from its abstract, and finish it."""
    review.acts.code(look(review, coder, record), record, "apple", apple)
    review.acts.code(Stamp(coder), record, "pear", pear)
    review.acts.commit(Stamp(coder), record)


def test_records_are_listed_by_the_state_of_full_text_coding(with_text: Workspace) -> None:
    review = with_text
    ann, bob = (add_person(review, name, "coder") for name in ("Ann", "Bob"))
    coded(review, ann, apple=1)
    coded(review, bob, apple=0, pear=1)
    owner, coder = Browser(review, OWEN), Browser(review, bob)
    page = owner.get("/records")
    assert ('name="full_text"' in page, '<th scope="col">Full-text coding</th>' in page) == (True, True)
    assert "included settled not begun in conflict" in texts(page)
    assert " 1 record " in texts(owner.get("/records?full_text=conflict"))
    assert " 0 records " in texts(owner.get("/records?full_text=settled"))
    # A blinded coder sees neither the column nor the filter, and the filter does nothing if it is in the address.
    hidden = coder.get("/records?full_text=conflict")
    assert ("Full-text coding" in hidden, "in conflict" in hidden) == (False, False)
    assert " 4 records " in texts(hidden)


def test_records_are_not_listed_by_full_text_coding_if_there_is_nothing_to_code(review: Workspace) -> None:
    page = Browser(review, OWEN).get("/records")
    assert '<th scope="col">Coding</th>' in page
    assert "Full-text coding" not in page


def test_the_labels_of_a_record_are_those_by_its_full_text_if_there_are_any(with_text: Workspace) -> None:
    review = with_text
    people = [add_person(review, name, "coder") for name in ("Ann", "Bob")]
    for coder in people:
        by_abstract(review, coder, 1, apple=0, pear=1)
        by_abstract(review, coder, 2, apple=0, pear=1)
    owner = Browser(review, OWEN)

    def found(label: str) -> list[str]:
        return re.findall(r'<th scope="row"><a href="/records/(\d+)"', owner.get(f"/records?label={label}"))

    assert (found("apple"), found("pear")) == ([], ["1", "2"])
    coded(review, people[0], apple=1)
    assert (found("apple"), found("pear")) == ([], ["1", "2"])
    coded(review, people[1], apple=1)
    assert (found("apple"), found("pear")) == (["1"], ["2"])
    row = texts(owner.get("/records?label=apple").partition("<tbody>")[2].partition("</tbody>")[0])
    assert row.endswith("settled settled Apple")


def test_the_matrix_shows_the_codes_by_one_text(with_text: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    review = with_text
    people = [add_person(review, name, "coder") for name in ("Ann", "Bob")]
    owner = Browser(review, OWEN)
    empty = owner.get("/matrix?basis=full-text")
    assert "No paper has been coded from its full text yet" in texts(empty)
    assert '<a href="/matrix?basis=full-text" aria-current="page">Full text</a>' in empty
    for coder in people:
        for record in (1, 2):
            by_abstract(review, coder, record, apple=0, pear=1)
        coded(review, coder, apple=1)
    page, other = owner.get("/matrix?basis=full-text"), owner.get("/matrix")
    assert "1 paper has been coded from the full text by at least one person" in texts(page)
    assert ("Apple 1 0 0 0 0" in texts(page), "Pear 0 1 0 0 0" in texts(page)) == (True, True)
    assert "2 papers have been coded by at least one person" in texts(other)
    assert '<a href="/matrix?basis=abstract" aria-current="page">Abstract</a>' in other
    # The link to the next part of the table keeps the choice of text.
    monkeypatch.setattr("mechtag.review.pages.matrix._PAGE", 1)
    assert 'href="/matrix?basis=full-text&amp;after=0"' in owner.get("/matrix?basis=full-text&after=1")


def test_the_matrix_has_no_choice_of_text_if_there_are_no_full_texts(review: Workspace) -> None:
    assert "basis=full-text" not in Browser(review, OWEN).get("/matrix")


def test_the_flow_says_how_many_included_records_have_a_full_text(with_text: Workspace, tmp_path: Path) -> None:
    review = with_text
    owner = Browser(review, OWEN)
    # A full text of a record that is not included is not counted.
    attach_by_hand(review, tmp_path, 3, "t.pdf")
    page = owner.get("/flow")
    assert "2 included records, 1 of them has a full text attached." in texts(page)
    assert page.count('aria-describedby="with-text"') == 2
    # The count does not fill in the fields.
    assert re.search(r'name="reports.sought" inputmode="numeric" value=""', page)
    review.acts.decide(Stamp(OWEN), 3, 1)
    assert "3 included records, 2 of them have a full text attached." in texts(owner.get("/flow"))


def other_text(browser: Browser, address: str) -> str:
    """Follow the link from a coding page to the other text; return the path and the record that it leads to."""
    (link,) = re.findall(r'<a href="(/(?:code|full-text)\?[^"]*)">(?:Abstract|Full text)', browser.get(address))
    shown = browser.client.get(unescape(link))
    (record,) = re.findall(r'data-record="(\d+)"', shown.text) or [""]
    assert browser.client.get("/code").url.path == shown.url.path, "the choice is not remembered"
    return f"{shown.url.path} {record}".strip()


def test_the_other_text_is_that_of_the_same_record_if_it_can_be_coded(with_text: Workspace, tmp_path: Path) -> None:
    review = with_text
    title = "How pears are pressed in the large cities of the north"
    bring(review, Browser(review, OWEN), pdf(tmp_path, title, name="x2.pdf"))
    ann, bob, eve = (add_person(review, name, "coder") for name in ("Ann", "Bob", "Eve"))
    browser = Browser(review, ann)
    # The link leads to the same record, not to the next one in the order.
    assert other_text(browser, "/code?record=2") == "/full-text 2"
    assert other_text(browser, "/full-text?record=2") == "/code 2"
    # Ann can look at her own codes again; Eve does not get a record that two others have finished.
    coded(review, ann, apple=1)
    assert other_text(browser, "/code?record=1") == "/full-text 1"
    coded(review, bob, apple=1)
    assert other_text(browser, "/code?record=1") == "/full-text 1"
    assert other_text(Browser(review, eve), "/code?record=1") == "/full-text 2"


def test_the_other_text_is_the_next_one_if_the_record_has_none(with_text: Workspace) -> None:
    assert other_text(Browser(with_text, OWEN), "/code?record=2") == "/full-text 1"


def test_a_text_on_the_screens_of_others_is_not_handed_out(with_text: Workspace) -> None:
    review = with_text
    review.acts.change_plan(Stamp(OWEN), "coders_code", 1)
    ann, bob = (add_person(review, name, "coder") for name in ("Ann", "Bob"))
    assert 'data-record="1"' in Browser(review, ann).get("/full-text")
    assert other_text(Browser(review, bob), "/code?record=1") == "/full-text"
