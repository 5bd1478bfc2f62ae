"""Test lost connections, hanging servers and ended sessions.

No decision is lost or doubled, and the page says what happens.
"""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import psutil
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import OperationalError

from benchmarks.review import served
from mechtag.review import access
from mechtag.review.acts import Acts, Stamp
from mechtag.review.passwords import hash_password
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace
from tests.support.chromium import MARKS, chromium
from tests.support.review_live import KEY, Served
from tests.support.review_site import add_person, make_review

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = MARKS

OWEN = 1
PASSWORD = "zwölf Äpfel im Korb"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    return make_review(tmp_path, 8, coders_screen=1, coders_code=1)


def judged(review: Workspace) -> list[tuple[int, str]]:
    """Return the record number and the kind of each decision and note in the log, in order."""
    event = schema.event
    with review.store.read() as connection:
        rows = connection.execute(
            select(event.c.record, event.c.kind, event.c.value)
            .where(event.c.kind.in_(("code", "note")))
            .order_by(event.c.seq)
        )
        return [(row.record, row.kind) for row in rows]


def open_page(browser: Browser, review: Workspace, address: str) -> Page:
    """Open the page *Screen*, signed in as the owner, on a server that runs in its own process."""
    with review.store.write() as connection:
        token = access.open_session(connection, OWEN)
    context = browser.new_context()
    cookie = f"mechtag-{address.rsplit(':', 1)[1]}"
    context.add_cookies([{"name": cookie, "value": token, "url": address}])
    page = context.new_page()
    page.goto(f"{address}/screen")
    page.locator("h1", has_text="Paper 1").wait_for()
    page.wait_for_timeout(300)
    return page


@pytest.fixture
def process(review: Workspace, tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    with served(review.project.root) as (address, process, _):
        try:
            yield address, process
        finally:
            process.send_signal(signal.SIGCONT)


def test_a_decision_waits_while_the_server_hangs(
    browser: Browser, review: Workspace, process: tuple[str, psutil.Process]
) -> None:
    address, server = process
    page = open_page(browser, review, address)
    server.send_signal(signal.SIGSTOP)
    page.keyboard.press("1")
    page.locator("#saved", has_text="Saving").wait_for()
    page.locator("#saved", has_text="1 decision not saved yet, trying again").wait_for(timeout=20_000)
    # The page takes no other decision on this record, and sends this one again until it is answered.
    page.keyboard.press("2")
    page.wait_for_timeout(3000)
    server.send_signal(signal.SIGCONT)
    page.locator("h1", has_text="Paper 2").wait_for(timeout=20_000)
    page.locator("#saved", has_text="All saved").wait_for()
    page.wait_for_timeout(300)
    page.keyboard.press("2")
    page.locator("h1", has_text="Paper 3").wait_for(timeout=20_000)
    assert judged(review) == [(1, "code"), (2, "code")]
    page.context.close()


def test_a_page_that_is_closed_before_the_answer_leaves_the_decision_in_the_browser(
    browser: Browser, review: Workspace, process: tuple[str, psutil.Process]
) -> None:
    address, server = process
    page = open_page(browser, review, address)
    server.send_signal(signal.SIGSTOP)
    page.keyboard.press("1")
    page.locator("#saved", has_text="Saving").wait_for()
    page.goto("about:blank")
    server.send_signal(signal.SIGCONT)
    page.goto(f"{address}/records")
    page.locator("#saved", has_text="All saved").wait_for()
    page.wait_for_function("Object.values(localStorage).every((each) => each === '[]')")
    assert judged(review) == [(1, "code")]
    page.context.close()


def test_a_note_that_cannot_be_sent_stays_on_the_page(browser: Browser, review: Workspace) -> None:
    with Served(review) as server:
        page = browser.new_page()
        page.goto(f"{server.address}/start?key={KEY}")
        page.goto(f"{server.address}/screen")
        page.locator("summary", has_text="Note").first.click()
        page.fill("textarea[name=text]", "A long note")
        server.stop()
        page.locator("form[action='/note'] button").first.click()
        page.locator("#saved", has_text="mechtag does not answer. Nothing was saved; try again.").wait_for()
        assert page.input_value("textarea[name=text]") == "A long note"
        server.start()
        page.locator("form[action='/note'] button").first.click()
        page.locator("#saved", has_text="All saved").wait_for()
        assert judged(review) == [(1, "note")]
        page.context.close()


def test_without_script_a_form_can_be_sent_again(browser: Browser, review: Workspace) -> None:
    with Served(review) as server:
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(f"{server.address}/start?key={KEY}")
        page.goto(f"{server.address}/screen")
        page.locator("summary", has_text="Note").first.click()
        page.fill("textarea[name=text]", "A long note")
        server.stop()
        page.click("button[value=include]")
        page.wait_for_url("chrome-error://**")
        server.start()
        # Back: the form is there, with what was typed. Nothing has been decided yet.
        page.go_back()
        assert page.input_value("textarea[name=text]") == "A long note"
        assert judged(review) == []
        page.click("button[value=include]")
        page.locator("h1", has_text="Paper 2").wait_for()
        server.stop()
        page.click("button[value=exclude]")
        page.wait_for_url("chrome-error://**")
        server.start()
        # Reload: the browser sends the form again.
        page.reload()
        page.locator("h1", has_text="Paper 3").wait_for()
        assert judged(review) == [(1, "code"), (2, "code")]
        page.context.close()


def end_sessions(review: Workspace) -> None:
    with review.store.write() as connection:
        connection.execute(delete(schema.session))


def set_password(review: Workspace) -> None:
    with review.store.write() as connection:
        connection.execute(update(schema.account).values(password=hash_password(PASSWORD)))


def sign_in(page: Page) -> None:
    page.fill("#name", "Owen")
    page.fill("#password", PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def wait_until_sent(page: Page) -> None:
    page.locator("#saved", has_text="All saved").wait_for()
    page.wait_for_function("Object.values(localStorage).every((each) => each === '[]')")


def test_a_decision_without_a_session_is_saved_after_signing_in(browser: Browser, review: Workspace) -> None:
    set_password(review)
    with Served(review, team=True) as server:
        page = open_page(browser, review, server.address)
        end_sessions(review)
        page.keyboard.press("1")
        page.locator("#saved", has_text="You are signed out, and 1 decision is not saved yet.").wait_for()
        # The decision waits to be sent, so the page takes no other decision on this record.
        page.keyboard.press("2")
        page.reload()
        sign_in(page)
        wait_until_sent(page)
        assert judged(review) == [(1, "code")]
        page.context.close()


def test_a_decision_that_waits_when_the_session_ends_is_saved_after_signing_in(
    browser: Browser, review: Workspace
) -> None:
    set_password(review)
    with Served(review, team=True) as server:
        page = open_page(browser, review, server.address)
        server.stop()
        page.keyboard.press("2")
        page.locator("#saved", has_text="1 decision not saved yet").wait_for()
        end_sessions(review)
        server.start()
        page.locator("#saved", has_text="You are signed out, and 1 decision is not saved yet.").wait_for()
        page.reload()
        sign_in(page)
        wait_until_sent(page)
        assert judged(review) == [(1, "code")]
        page.context.close()


def test_a_decision_without_a_session_is_saved_after_the_start_address_is_opened(
    browser: Browser, review: Workspace
) -> None:
    with Served(review) as server:
        page = open_page(browser, review, server.address)
        end_sessions(review)
        page.keyboard.press("1")
        page.locator("#saved", has_text="You are signed out, and 1 decision is not saved yet.").wait_for()
        page.goto(f"{server.address}/start?key={KEY}")
        wait_until_sent(page)
        assert judged(review) == [(1, "code")]
        page.context.close()


@pytest.mark.parametrize("team", [True, False])
def test_a_note_without_a_session_stays_on_the_page(browser: Browser, review: Workspace, team: bool) -> None:
    with Served(review, team=team) as server:
        page = open_page(browser, review, server.address)
        page.fill("form[action='/note'] textarea >> nth=0", "A long note")
        end_sessions(review)
        page.locator("form[action='/note'] button").first.click()
        page.locator("#saved", has_text="You are signed out, so nothing was saved.").wait_for()
        assert page.input_value("form[action='/note'] textarea >> nth=0") == "A long note"
        assert judged(review) == []
        page.context.close()


@pytest.mark.parametrize("form", ["note", "tag"])
def test_a_text_that_is_refused_stays_on_the_page(browser: Browser, review: Workspace, form: str) -> None:
    field, longest = ("textarea[name=text]", 100_000) if form == "note" else ("input[name=tag]", 80)
    with Served(review) as server:
        page = open_page(browser, review, server.address)
        own = f"form[action$='/{form}']:has({field}:not([type])) >> nth=0"
        page.locator(own).locator(field).evaluate("(each) => { each.removeAttribute('maxlength'); }")
        page.locator(own).locator(field).fill("x" * (longest + 1), force=True)
        page.locator(own).evaluate("(each) => each.requestSubmit()")
        page.locator("#saved", has_text=f"Not saved. The {form} has {longest + 1:,} characters").wait_for()
        assert len(page.locator(own).locator(field).input_value()) == longest + 1
        page.locator(own).locator(field).fill("y" * longest, force=True)
        page.locator(own).evaluate("(each) => each.requestSubmit()")
        page.locator("#saved", has_text="All saved").wait_for()
        page.context.close()


def test_a_note_that_does_not_fit_on_the_disk_stays_on_the_page(
    browser: Browser, review: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = sqlite3.OperationalError("database or disk is full")
    fault.sqlite_errorname = "SQLITE_FULL"
    with Served(review) as server:
        page = open_page(browser, review, server.address)
        note = page.locator("form[action='/note'] textarea >> nth=0")
        note.fill("A long note", force=True)
        with monkeypatch.context() as patch:
            patch.setattr(Acts, "note", Mock(side_effect=OperationalError("", {}, fault)))
            page.locator("form[action='/note'] >> nth=0").evaluate("(each) => each.requestSubmit()")
            page.locator("#saved", has_text="Not saved. Your last entry was not saved, because the disk").wait_for()
        assert note.input_value() == "A long note"
        page.locator("form[action='/note'] >> nth=0").evaluate("(each) => each.requestSubmit()")
        page.locator("#saved", has_text="All saved").wait_for()
        assert judged(review) == [(1, "note")]
        page.context.close()


def test_a_waiting_decision_that_is_refused_is_sent_again_after_a_reload(browser: Browser, review: Workspace) -> None:
    with Served(review) as server:
        add_person(review, "Petra", "owner")
        page = open_page(browser, review, server.address)
        server.stop()
        page.keyboard.press("1")
        page.locator("#saved", has_text="1 decision not saved yet").wait_for()
        review.acts.change_account(Stamp(OWEN), OWEN, role="observer")
        server.start()
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.method))
        said = page.locator(
            "#saved", has_text="1 decision is not saved. Your role (observer) does not allow this action"
        )
        said.wait_for()
        assert "When you reload the page, mechtag tries again." in said.inner_text()
        sent.clear()
        page.wait_for_timeout(2500)
        assert sent == []
        review.acts.change_account(Stamp(2), OWEN, role="owner")
        page.reload()
        wait_until_sent(page)
        assert judged(review) == [(1, "code")]
        page.context.close()
