"""Full texts in the review page: attached to records, read by page, and coded apart from the abstracts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from starlette.responses import Response

from mechtag.review.acts import Refused, Stamp
from mechtag.review.codings import coders_codings, final_codings
from mechtag.review.full_texts import READ, list_files
from mechtag.review.jobs import full_texts
from mechtag.review.jobs.worker import do_next
from mechtag.review.store import schema
from mechtag.review.store.events import project_events
from mechtag.review.store.queue import count_states
from mechtag.review.store.readings import read_reading
from mechtag.review.store.records import read_entry
from mechtag.review.workspace import Workspace, write_fact
from tests.support.pdfs import write_paper
from tests.support.review_site import Browser, add_person, look, make_review, papers, texts

OWEN = 1
MODEL = "0123456789ab"


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """A review of four records, the first two of which are included, each by one person."""
    records = papers(4)
    records[1] = records[1].model_copy(update={"title": "How pears are pressed in the large cities of the north"})
    workspace = make_review(tmp_path, records, coders_screen=1, coders_code=2, mode_code="after")
    for record in (1, 2):
        workspace.acts.decide(Stamp(OWEN), record, 1)
    return workspace


def pdf(tmp_path: Path, title: str, *lines: str, name: str = "a.pdf", body: str = "") -> tuple[str, bytes]:
    """Make a PDF of four pages."""
    text = body or "Leaders of the orchards shared their apples. Nobody else spoke of pears. " * 30
    path = write_paper(tmp_path / "made" / name, title, *lines, body=text, references=("Elm E. A cited paper. 2001.",))
    return name, path.read_bytes()


def work(review: Workspace) -> None:
    """Read all files that were uploaded."""
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


def coded(review: Workspace, coder: int, *, apple: int, pear: int = 0) -> None:
    """Code the first record by its full text."""
    stamp = look(review, coder, 1, "full-text")
    acts = review.acts
    acts.code(stamp, 1, "apple", apple, stage="full-text")
    acts.code(Stamp(coder), 1, "pear", pear, stage="full-text")
    acts.mark(Stamp(coder), 1, "apple", [3] if apple else [], stage="full-text")
    acts.commit(Stamp(coder), 1, stage="full-text")


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
    # Only a title of thirty letters identifies a paper, and 10.1/1 is not a DOI.
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
    # The worker ended after the file was read, but before the file was attached.
    with review.store.read() as connection:
        before = connection.execute(select(table)).one()
        assert len(project_events(connection, "attach")) == 1
    with review.store.write() as connection:
        connection.execute(update(schema.job).where(schema.job.c.kind == READ).values(state="waiting"))
    work(review)
    with review.store.read() as connection:
        assert connection.execute(select(table)).one() == before
        assert len(project_events(connection, "attach")) == 1


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
    assert "<h2>Results</h2>" in page
    assert "Page 2" in texts(page)
    assert "A cited paper" not in page
    answer = browser.client.get("/full-texts/of/1")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.content.startswith(b"%PDF")
    assert browser.client.get("/records/3/text").status_code == 404


@pytest.fixture
def with_text(review: Workspace, tmp_path: Path) -> Workspace:
    """The review, with a full text of its first record."""
    browser = Browser(review, OWEN)
    bring(review, browser, pdf(tmp_path, "Something short", name="s.pdf"))
    browser.post("/full-texts/1", record=1)
    return review


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
    with pytest.raises(Refused, match="coded by its full text, and the codes refer to sentences"):
        review.acts.detach(Stamp(OWEN), 1)
    bring(review, Browser(review, OWEN), pdf(tmp_path, "Another short one", name="t.pdf"))
    with pytest.raises(Refused, match="coded by its full text"):
        review.acts.attach(Stamp(OWEN), 1, 2, "person")


def test_only_what_exists_can_be_attached_or_coded(with_text: Workspace) -> None:
    acts = with_text.acts
    with pytest.raises(Refused, match="no such file"):
        acts.attach(Stamp(OWEN), 2, 9, "person")
    with pytest.raises(Refused, match="attached to a record already"):
        acts.attach(Stamp(OWEN), 2, 1, "person")
    with pytest.raises(Refused, match="no file is attached"):
        acts.detach(Stamp(OWEN), 2)
    with pytest.raises(Refused, match="no full text is attached to this record"):
        acts.code(Stamp(OWEN), 2, "apple", 1, stage="full-text")
    with pytest.raises(Refused, match=r"the full text has \d+ sentences"):
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
    assert "mechtag points to it for Apple" in page
    assert "mechtag says" not in texts(browser.get("/code?record=1"))
