"""Test that a cancelled job leaves nothing half done and can be started again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from mechtag.review.acts import Stamp
from mechtag.review.jobs import codings, importing
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.worker import do_next, jobs
from mechtag.review.journal import Journal
from mechtag.review.pages.jobs import STARTED_ON
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace, add_job
from tests.support.review_imports import JOBS, OWNER, TITLES, bring, look, ris, upload, work
from tests.support.review_site import Browser, add_person, make_review, texts
from tests.support.reviews import check_replay

SECOND = ris(TITLES[0], "Figs at sea", "Orchards of the north and their keepers", "Quinces in the south")
KNOWN = {**JOBS, **codings.JOBS, "tag": JOBS["rank"]}


@pytest.fixture
def review(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr("mechtag.review.jobs.progress._PAUSE", -1.0)  # each step is noted
    monkeypatch.setattr("mechtag.review.jobs.importing.AT_ONCE", 1)
    return make_review(tmp_path, [])


@pytest.fixture
def owner(review: Workspace) -> Browser:
    return Browser(review, OWNER)


def cancel(browser: Browser, job: int) -> int:
    return browser.post(f"/jobs/{job}/cancel").status_code


def last(review: Workspace) -> Any:
    """Return the latest job that a person asked for."""
    job = schema.job
    with review.store.read() as connection:
        query = select(job).where(job.c.asked_by.is_not(None)).order_by(job.c.id.desc()).limit(1)
        return connection.execute(query).one()


def calling(function: Callable[..., Any], then: Callable[[], object], at: int = 1) -> Callable[..., Any]:
    """Wrap ``function`` so that ``then`` is called after its call number ``at``."""
    calls = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        found = function(*args, **kwargs)
        if calls == at:
            then()
        return found

    return called


def state_of(review: Workspace) -> dict[str, object]:
    """Return the rows of records, duplicates and queues in the review, and the paths of its uploads and tables."""
    found: dict[str, object] = {}
    with review.store.read() as connection:
        for table in (schema.record, schema.copy, schema.pair, schema.need, schema.queue):
            found[table.name] = sorted(map(str, connection.execute(select(table)).all()))
    root = review.project.root
    places = [root / "data/raw", review.folder / "uploads", *root.glob("data/*.*")]
    files = [path for place in places for path in (place, *place.rglob("*")) if path.is_file()]
    found["files"] = sorted(str(path.relative_to(root)) for path in files)
    check_replay(review.store)
    return found


def test_work_that_has_not_begun_ends_at_once(review: Workspace, owner: Browser) -> None:
    number = int(upload(owner, ("a.ris", ris(*TITLES))).url.path.rsplit("/", 1)[-1])
    page = owner.get("/jobs")
    assert 'action="/jobs/1/cancel"' in page
    assert cancel(owner, 1) == 200
    assert last(review).state == "cancelled"
    assert 'action="/jobs/1/cancel"' not in owner.get("/jobs")
    work(review)
    assert look(review, number).state == "reading"
    page = texts(owner.get(f"/import/{number}"))
    assert "This work was cancelled before it began; you can start it again" in page
    assert "Owen cancelled work in the background: Read the files" in texts(owner.get("/activity"))
    owner.post(f"/import/{number}", act="read")
    work(review)
    assert look(review, number).state == "read"


@pytest.mark.parametrize(
    ("job", "method", "at"),
    [("read", "start", 1), ("add", "start", 1), ("add", "start", 2), ("add", "advance", 2), ("add", "start", 3)],
)
def test_an_import_that_is_cancelled_leaves_nothing_and_can_be_started_again(
    review: Workspace, owner: Browser, monkeypatch: pytest.MonkeyPatch, job: str, method: str, at: int
) -> None:
    bring(review, owner, ("a.ris", ris(*TITLES)))
    number = int(upload(owner, ("b.ris", SECOND)).url.path.rsplit("/", 1)[-1])
    if job == "add":
        work(review)
        owner.post(f"/import/{number}", act="add")
    before = state_of(review)
    with monkeypatch.context() as patch:
        stop = calling(getattr(Progress, method), lambda: cancel(owner, last(review).id), at)
        patch.setattr(Progress, method, stop)
        do_next(review, JOBS)
    assert last(review).state == "cancelled"
    work(review)
    assert state_of(review) == before
    assert look(review, number).state == ("reading" if job == "read" else "read")
    page = texts(owner.get(f"/import/{number}"))
    assert "The import stopped" in page
    assert "This work was cancelled before it was finished; you can start it again" in page
    if job == "read":
        owner.post(f"/import/{number}", act="read")
        work(review)
    owner.post(f"/import/{number}", act="add")
    work(review)
    assert look(review, number).result == {"read": 4, "unique": 3, "duplicates": 1, "pairs": 0}
    check_replay(review.store)


def test_an_import_whose_last_steps_have_begun_is_finished(
    review: Workspace, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = int(upload(owner, ("b.ris", SECOND)).url.path.rsplit("/", 1)[-1])
    work(review)
    owner.post(f"/import/{number}", act="add")
    with monkeypatch.context() as patch:
        patch.setattr(importing, "_log", calling(importing._log, lambda: cancel(owner, last(review).id)))
        do_next(review, JOBS)
    assert (last(review).state, look(review, number).state) == ("done", "added")


def test_records_that_people_have_worked_on_stay(
    review: Workspace, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = int(upload(owner, ("a.ris", ris(*TITLES))).url.path.rsplit("/", 1)[-1])
    work(review)
    owner.post(f"/import/{number}", act="add")

    def decide_and_cancel() -> None:
        review.acts.decide(Stamp(OWNER), 1, 1)
        cancel(owner, last(review).id)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", calling(Progress.advance, decide_and_cancel, at=2))
        do_next(review, JOBS)
    assert (last(review).state, look(review, number).state) == ("cancelled", "adding")
    owner.post(f"/import/{number}", act="add")
    work(review)
    assert look(review, number).state == "added"
    with review.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(schema.record)).scalar_one() == len(TITLES)
        assert connection.execute(select(schema.current.c.value)).scalars().all() == [1]


@pytest.mark.slow
def test_the_removal_of_an_import_can_be_cancelled(
    review: Workspace, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = bring(review, owner, ("a.ris", ris(*TITLES)))
    before = state_of(review)
    owner.post(f"/import/{number}", act="undo")
    with monkeypatch.context() as patch:
        again = Workspace.again
        patch.setattr(Workspace, "again", calling(again, lambda: cancel(owner, last(review).id)))
        do_next(review, JOBS)
    assert (last(review).state, look(review, number).state) == ("cancelled", "added")
    assert state_of(review) == before


def test_work_whose_worker_is_killed_while_it_is_cancelled_is_taken_back(
    review: Workspace, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(review, owner, ("a.ris", ris(*TITLES)))
    number = int(upload(owner, ("b.ris", SECOND)).url.path.rsplit("/", 1)[-1])
    work(review)
    before = state_of(review)
    owner.post(f"/import/{number}", act="add")

    def killed() -> None:
        cancel(owner, last(review).id)
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", calling(Progress.advance, killed, at=2))
        with pytest.raises(KeyboardInterrupt, match="killed"):
            do_next(review, JOBS)
    assert last(review).state == "stopping"
    work(review)
    assert last(review).state == "cancelled"
    assert state_of(review) == before


def test_work_that_was_interrupted_is_taken_back_when_it_is_cancelled(
    review: Workspace, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A waiting job may have been started before, by a worker that was killed."""
    number = int(upload(owner, ("b.ris", SECOND)).url.path.rsplit("/", 1)[-1])
    work(review)
    owner.post(f"/import/{number}", act="add")

    def killed() -> None:
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", calling(Progress.advance, killed, at=2))
        with pytest.raises(KeyboardInterrupt, match="killed"):
            do_next(review, JOBS)
    with review.store.write() as connection:  # as a worker does when it starts
        connection.execute(update(schema.job).where(schema.job.c.state == "running").values(state="waiting"))
    cancel(owner, last(review).id)
    assert last(review).state == "stopping"
    work(review)
    with review.store.read() as connection:
        assert connection.execute(select(schema.record.c.id)).all() == []


def test_codes_that_were_added_until_the_import_was_cancelled_are_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mechtag.review.jobs.progress._PAUSE", -1.0)
    monkeypatch.setattr("mechtag.review.jobs.codings._RECORDS", 1)
    review = make_review(tmp_path, 4)
    owner = Browser(review, OWNER)
    rows = "".join(f"doi:10.1/{number},Zoe,edible,1,abstract,,\n" for number in (1, 2, 3))
    content = f"record_id,coder,label,value,basis,date,evidence\n{rows}".encode()
    data = {"csrf": owner.csrf, "client_id": "x", "coder": "Zoe", "basis": "abstract"}
    address = owner.client.post("/codings", data=data, files=[("files", ("codes.csv", content))]).url.path
    work_all(review)
    owner.post(address, act="add", **{"person-0": "new"})
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", calling(Progress.advance, lambda: cancel(owner, last(review).id)))
        do_next(review, KNOWN)
    assert last(review).state == "cancelled"
    assert decided(review) == 0
    page = texts(owner.get(address))
    assert "This work was cancelled before it was finished" in page
    owner.post(address, act="add", **{"person-0": "new"})
    work_all(review)
    assert decided(review) == 3
    assert "Added: 3 codes" in texts(owner.get(address))
    check_replay(review.store)


def work_all(review: Workspace) -> None:
    while do_next(review, KNOWN):
        pass


def decided(review: Workspace) -> int:
    with review.store.read() as connection:
        return connection.execute(select(func.count()).select_from(schema.current)).scalar_one()


def test_who_may_cancel_what(review: Workspace, owner: Browser) -> None:
    coder = Browser(review, add_person(review, "Ann", "coder"))
    upload(owner, ("a.ris", ris(*TITLES)))
    reading = last(review).id
    assert cancel(coder, reading) == 409
    assert "/cancel" not in coder.get("/jobs")
    owner.post("/export", name="codings")
    assert cancel(coder, last(review).id) == 409
    coder.post("/export", name="codings")
    own = last(review).id
    assert f'action="/jobs/{own}/cancel"' in coder.get("/jobs")
    assert cancel(coder, own) == 200
    with review.store.write() as connection:
        ranking = add_job(connection, "rank", None)
    assert cancel(owner, ranking) == 409
    assert cancel(owner, 999) == 404
    work(review)
    assert cancel(owner, reading) == 409
    assert "has already ended" in texts(owner.post(f"/jobs/{reading}/cancel").text)


@pytest.mark.parametrize("started", [None, "2026-11-29T12:00:00.000+00:00"])
def test_no_file_keeps_the_address_of_a_person_who_cancels(
    review: Workspace, owner: Browser, started: str | None
) -> None:
    with review.store.write() as connection:
        number = add_job(connection, "fetch_abstracts", OWNER, coder=OWNER, email="owen@example.org")
        connection.execute(update(schema.job).values(started=started))
    cancel(owner, number)
    work(review)
    Journal(review).flush()
    assert last(review).state == "cancelled"
    assert "example.org" not in (review.folder / "log/jobs.jsonl").read_text()


def test_every_kind_that_can_be_cancelled_exists() -> None:
    assert STARTED_ON.keys() <= jobs().keys()
    assert jobs().keys() - STARTED_ON.keys() == {"rank", "tag", "files", "roll_back", "add_project", "remove_project"}
