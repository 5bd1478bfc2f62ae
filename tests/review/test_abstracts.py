"""Test that missing abstracts are fetched when a person asks for them, here from servers on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from mechtag.project import open_project
from mechtag.review.acts import Acts
from mechtag.review.jobs import fetching
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.worker import do_next
from mechtag.review.store import schema
from mechtag.review.store.records import read_entry
from mechtag.review.workspace import Workspace, last_job
from mechtag.workflows.web_access import Access
from tests.support.review_site import Browser, add_person, make_review, texts
from tests.support.services import PAPERS, FakeClock, FakeServices, Reply

OWEN = 1
EMAIL = "owen@example.org"


@pytest.fixture
def services() -> Iterator[FakeServices]:
    with FakeServices().serving() as found:
        yield found


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Return a review of four papers that the services know, one with an abstract, and one that they do not know."""
    known = [paper.record() for paper in PAPERS[:4]]
    known[0] = known[0].model_copy(update={"abstract": "It has one."})
    unknown = known[3].model_copy(
        update={"record_id": "text:x", "title": "A paper that no service has ever heard of", "doi": None, "pmid": None}
    )
    return make_review(tmp_path, [*known, unknown])


def fetch(review: Workspace, services: FakeServices) -> dict[str, object]:
    """Run the jobs that were asked for, and return the result of the one that fetches abstracts."""
    access = Access(email=EMAIL, addresses=services.addresses, clock=FakeClock())

    def run(workspace: Workspace, arguments: dict[str, object], progress: Progress) -> dict[str, object]:
        assert arguments.get("email", EMAIL) == EMAIL  # The address is deleted after the services have been asked.
        return fetching.fetch(workspace, arguments, progress, access)

    idle = {kind: lambda workspace, arguments, progress: {} for kind in ("rank", "tag", "files")}
    while do_next(review, {fetching.KIND: run, **idle}):
        pass
    with review.store.read() as connection:
        job = last_job(connection, fetching.KIND)
    assert job.state == "done", job.message
    found: dict[str, object] = json.loads(job.result)
    return found


def abstracts(review: Workspace) -> list[str]:
    with review.store.read() as connection:
        return [entry.abstract for number in range(1, 6) if (entry := read_entry(connection, number)) is not None]


def test_missing_abstracts_are_added_with_their_source_and_taken_back_together(
    review: Workspace, services: FakeServices
) -> None:
    browser = Browser(review, OWEN)
    page = texts(browser.get("/abstracts"))
    assert "4 records have no abstract. 3 of them have a DOI or a PubMed id" in page
    assert "4 records have no abstract: fetch abstracts" in texts(browser.get("/import"))
    assert not services.asked
    browser.post("/abstracts", email=EMAIL)
    found = fetch(review, services)
    assert found == {
        "asked": 4,
        "added": {"Europe PMC": 1, "OpenAlex": 1, "Crossref": 1},
        "doubtful": 0,
        "unanswered": [],
    }
    before = ["It has one.", "", "", "", ""]
    now = abstracts(review)
    assert now[0] == "It has one."
    assert [paper.title.split()[-1] in text for paper, text in zip(PAPERS[1:4], now[1:4], strict=True)] == [True] * 3
    assert now[4] == ""
    page = texts(browser.get("/abstracts"))
    assert "Services were asked for 4 abstracts: 3 added (Europe PMC 1, OpenAlex 1, Crossref 1), 1 not found." in page
    assert "added the abstract from Europe PMC" in texts(browser.get("/activity"))
    browser.post("/undo")
    assert abstracts(review) == before
    browser.post("/redo")
    assert abstracts(review) == now


def test_nothing_is_asked_twice_and_no_file_keeps_the_address(review: Workspace, services: FakeServices) -> None:
    browser = Browser(review, OWEN)
    for _ in range(2):
        browser.post("/abstracts", email=EMAIL)
        fetch(review, services)
    lines = [asked.line for asked in services.asked]
    assert len(lines) == len(set(lines))
    with review.store.read() as connection:
        assert EMAIL not in str(connection.execute(select(schema.job)).all())
    for path in review.folder.rglob("*"):
        if path.is_file() and "sqlite3" not in path.name:
            assert EMAIL.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("last", [1, 3])
def test_an_interrupted_job_says_what_it_added_before(
    review: Workspace, services: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """The worker is killed after it has added the first of three abstracts, or the last."""
    Browser(review, OWEN).post("/abstracts", email=EMAIL)
    shutil.copytree(review.project.root, tmp_path / "same")
    whole = fetch(Workspace.open(open_project(tmp_path / "same")), services)
    edit, calls = Acts.edit_record, 0

    def dies(*given: Any, **named: Any) -> int:
        nonlocal calls
        calls += 1
        number = edit(*given, **named)
        if calls == last:
            raise KeyboardInterrupt("killed")
        return number

    with monkeypatch.context() as patch:
        patch.setattr(Acts, "edit_record", dies)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            fetch(review, services)
    job = schema.job
    with review.store.write() as connection:  # as a worker does when it starts
        connection.execute(update(job).where(job.c.state == "running").values(state="waiting"))
    assert fetch(review, services) == whole
    assert whole["asked"] == 4
    with review.store.read() as connection:
        assert last_job(connection, "tag") is not None


def test_a_service_that_does_not_answer_is_named(review: Workspace, services: FakeServices) -> None:
    services.faults["openalex"].extend([Reply(status=404)] * 50)
    services.faults["crossref"].extend([Reply(b"<html>busy</html>", status=503)] * 100)
    Browser(review, OWEN).post("/abstracts", email=EMAIL)
    found = fetch(review, services)
    assert found["added"] == {"Europe PMC": 1}
    assert "Crossref" in str(found["unanswered"])
    assert "Crossref" in texts(Browser(review, OWEN).get("/abstracts"))


def test_an_address_is_needed_and_a_lead_has_to_ask(review: Workspace, services: FakeServices) -> None:
    browser = Browser(review, OWEN)
    for email in ("", "owen", "owen@"):
        answer = browser.post("/abstracts", email=email)
        assert answer.status_code == 422
        assert "enter a valid e-mail address" in texts(answer.text).lower()
    coder = Browser(review, add_person(review, "Ann", "coder"))
    assert coder.post("/abstracts", email=EMAIL).status_code == 403
    with review.store.read() as connection:
        assert last_job(connection, fetching.KIND) is None
    assert not services.asked


def test_an_abstract_whose_sentences_somebody_marked_meanwhile_stays(
    review: Workspace, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mechtag.review.acts import Stamp
    from mechtag.review.jobs.splitting import split_abstracts

    def answer(_: object) -> None:
        if not abstracts(review)[1]:
            review.acts.edit_record(Stamp(OWEN), 2, "abstract", "A person typed this. It is better.")
            split_abstracts(review, Progress(review.store, 1))
            review.acts.decide(Stamp(OWEN), 2, 1)
            review.acts.mark(Stamp(OWEN), 2, "apple", [0])

    services.before = answer
    Browser(review, OWEN).post("/abstracts", email=EMAIL)
    found = fetch(review, services)
    assert abstracts(review)[1] == "A person typed this. It is better."
    assert "Europe PMC" not in str(found["added"])
