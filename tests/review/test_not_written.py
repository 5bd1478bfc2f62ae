"""Test full disks, read-only folders and locked databases: nothing is half saved, and the page says what to do."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import OperationalError

from mechtag.review.acts import Acts, Stamp
from mechtag.review.jobs import worker
from mechtag.review.jobs.worker import do_next
from mechtag.review.server import _back_up
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, make_review, texts
from tests.support.reviews import check_replay

OWEN = 1


@contextmanager
def limited(review: Workspace, pragma: str) -> Iterator[None]:
    """Run a PRAGMA on every new connection to the database until the block ends, for example to limit its size."""

    def limit(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute(pragma)

    engine = review.store._engine
    engine.dispose()
    event.listen(engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(engine, "connect", limit)
        engine.dispose()


def decisions(review: Workspace) -> int:
    with review.store.read() as connection:
        return int(connection.execute(select(func.count()).where(schema.event.c.kind == "code")).scalar_one())


def send(browser: Browser, record: int) -> tuple[int, str]:
    """Send the decision to include a record; its id depends only on the record, so repeated sending counts once."""
    response = browser.post("/screen/decide", client_id=f"decision {record}", record=record, answer="include")
    return response.status_code, texts(response.text)


@pytest.fixture
def review(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr("mechtag.review.limits.Limit.count", lambda *_: None)
    return make_review(tmp_path, 60, coders_screen=1)


@pytest.mark.slow
def test_a_full_disk(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    browser.client.headers["HX-Request"] = "true"
    with review.store.read() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    with limited(review, f"PRAGMA max_page_count = {pages + 3}"):
        record, status = 0, 200
        while status == 200:
            record += 1
            status, page = send(browser, record)
        assert status == 507
        assert (
            "not saved, because the disk of the computer that runs mechtag is full. Free some space on this disk"
            in page
        )
        assert decisions(review) == record - 1 > 0
    check_replay(review.store)
    for number in range(1, record + 1):  # as a browser does that got no answer
        assert send(browser, number)[0] == 200
    assert decisions(review) == record
    check_replay(review.store)


def test_a_folder_without_permission_to_write(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    with limited(review, "PRAGMA query_only = ON"):
        status, page = send(browser, 1)
        assert (status, decisions(review)) == (503, 0)
        assert "mechtag may not write to the folder of the review" in page
    assert (send(browser, 1)[0], decisions(review)) == (200, 1)


def test_a_database_that_a_different_program_keeps_locked(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    with limited(review, "PRAGMA busy_timeout = 10"):
        other = sqlite3.connect(review.store.path)
        other.execute("BEGIN IMMEDIATE")
        status, page = send(browser, 1)
        other.close()
        assert (status, decisions(review)) == (503, 0)
        assert "a different program keeps the database locked" in page
        assert (send(browser, 1)[0], decisions(review)) == (200, 1)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk of the computer that runs mechtag is full; free some space there, then start this"),
        (errno.EACCES, "mechtag may not write to a folder of the review; allow it to write there, then start this"),
    ],
)
def test_work_that_cannot_write_a_file_says_so_and_can_be_started_again(
    review: Workspace, number: int, said: str
) -> None:
    tries = 0

    def export(*_: Any) -> dict[str, Any]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError(number, "not written")
        return {}

    Browser(review, OWEN).post("/export", name="codings")
    do_next(review, {"export": export})
    assert said in texts(Browser(review, OWEN).get("/export"))
    Browser(review, OWEN).post("/export", name="codings")
    do_next(review, {"export": export})
    with review.store.read() as connection:
        states = connection.execute(select(schema.job.c.state).order_by(schema.job.c.id)).scalars().all()
    assert states == ["failed", "done"]


def test_work_in_the_background_waits_while_the_database_cannot_be_written(
    review: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker repeats the job until the database can be written, and reports the problem once."""
    parent, calls = 7, 0

    def export(*_: Any) -> dict[str, Any]:
        nonlocal parent, calls
        calls += 1
        if calls < 3:
            raise OperationalError("", None, sqlite3.OperationalError("database or disk is full"))
        parent = 8  # the server has ended, and so does the worker
        return {}

    monkeypatch.setattr(worker, "jobs", lambda: {"export": export})
    monkeypatch.setattr(worker, "end_with", lambda _: None)
    monkeypatch.setattr(worker, "_LOOK", 0.0)
    monkeypatch.setattr("os.nice", lambda _: None)
    monkeypatch.setattr("os.getppid", lambda: parent)
    Browser(review, OWEN).post("/export", name="codings")
    worker.work(review.project.root, 7)
    with review.store.read() as connection:
        assert connection.execute(select(schema.job.c.state)).scalars().all() == ["done"]
    assert capsys.readouterr().err.count("the folder of the review (database or disk is full)") == 1


def test_a_failed_backup_of_the_database_is_reported(review: Workspace) -> None:
    said: list[str] = []
    (review.folder / "backups").write_text("This is not a folder.")
    _back_up(review, said.append)
    assert "the daily backup of the database could not be created" in said[0]


def test_a_clock_that_is_set_back(review: Workspace) -> None:
    """Events keep the order in which they were written, whatever the clock said."""
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    for value, hours in ((1, 0), (0, -1)):
        moment = (now + timedelta(hours=hours)).isoformat(timespec="milliseconds")
        Acts(review.store, review.codebook, lambda moment=moment: moment).decide(Stamp(OWEN), 1, value)  # type: ignore[misc]
    check_replay(review.store)
    with review.store.read() as connection:
        assert connection.execute(select(schema.current.c.value)).scalars().all() == [0]
    assert review.acts.undo(Stamp(OWEN))[1] == 1
    with review.store.read() as connection:
        assert connection.execute(select(schema.current.c.value)).scalars().all() == [1]
