"""Test the pages *Screen* and *Code* in a browser: keys, focus, accessibility, and decisions without a server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from sqlalchemy import func, insert, select

from mechtag.review.acts import Stamp
from mechtag.review.store import schema
from mechtag.review.store.accounts import add_account
from mechtag.review.workspace import Workspace, write_fact
from tests.support.chromium import MARKS, chromium
from tests.support.review_live import KEY, Served
from tests.support.review_site import CODEBOOK, make_review

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = MARKS

OWEN = 1
FOCUSED = "document.activeElement.tagName + ' ' + document.activeElement.id"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Make a review of eight records: the first two are included, and record 1 has suggestions."""
    workspace = make_review(tmp_path, 8, coders_screen=1, coders_code=1)
    for record in (1, 2):
        workspace.acts.decide(Stamp(OWEN), record, 1)
    with workspace.store.write() as connection:
        for label, decision, probability, marks in (("apple", "yes", 0.71, "[0, 2]"), ("pear", "refer", 0.45, "[1]")):
            values = {"model_id": "m1", "record": 1, "label": label, "probability": probability}
            connection.execute(insert(schema.suggestion).values(**values, decision=decision, sentences=marks))
        write_fact(connection, "model_id", "m1")
        model = {"model_id": "m1", "from_definitions": True, "shipped": False, "papers": None, "at": None}
        write_fact(connection, "model", model)
    return workspace


@pytest.fixture
def served(review: Workspace) -> Iterator[Served]:
    with Served(review) as server:
        yield server


Opener = Callable[..., "Page"]


@pytest.fixture
def opened(browser: Browser, served: Served) -> Iterator[Opener]:
    """Return a function that opens an address as the owner. Console messages fail the test unless ``noisy``."""
    trouble: list[str] = []
    contexts = []

    def open_page(address: str, width: int = 1280, scheme: str = "light", noisy: bool = False) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        if not noisy:
            page.on("console", lambda message: trouble.append(message.text))
            page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto(f"{served.address}/start?key={KEY}")
        page.goto(served.address + address)
        page.wait_for_timeout(200)  # keys pressed right after a page appears are ignored
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


def test_a_changed_key_works_and_the_old_one_does_not(opened: Opener, review: Workspace) -> None:
    page = opened("/keys")
    page.select_option("#action", "include")
    page.fill("#key", "x")
    page.keyboard.press("Enter")
    page.get_by_text("(changed)").wait_for()
    page.goto(page.url.replace("/keys", "/screen?record=3"))
    page.wait_for_timeout(200)
    page.keyboard.press("?")
    assert "X\tInclude the record" in page.inner_text("dialog")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.keyboard.press("x")
    page.locator("#said", has_text="Included").wait_for()
    assert decisions(review) == {3: 1}


def decisions(review: Workspace) -> dict[int, int | None]:
    table = schema.current
    with review.store.read() as connection:
        rows = connection.execute(select(table.c.record, table.c.value).where(table.c.stage == "screen"))
        return {record: value for record, value in rows if record > 2}


def wait_for(page: Page, heading: str) -> None:
    page.locator("h1", has_text=heading).wait_for(timeout=20_000)
    page.wait_for_timeout(200)


def test_screening_by_keys(opened: Opener, review: Workspace) -> None:
    page = opened("/screen")
    assert page.evaluate(FOCUSED) == "H1 "
    page.keyboard.press("1")
    wait_for(page, "Paper 4")
    page.keyboard.press("2")
    wait_for(page, "Paper 5")
    assert page.evaluate(FOCUSED) == "H1 "
    assert "Excluded" in page.inner_text("#said")
    assert page.inner_text("#saved") == "All saved"
    assert decisions(review) == {3: 1, 4: 0}
    assert page.inner_text("#announcer") == "Excluded"
    page.keyboard.press("u")
    wait_for(page, "Paper 4")
    assert decisions(review) == {3: 1}
    assert page.inner_text("#announcer") == page.inner_text("#said") == "Undone: excluded"
    page.keyboard.press("Shift+U")
    page.wait_for_selector("#announcer:has-text('Redone: excluded')")


def test_two_keys_open_a_page_and_the_criteria_stay_as_they_were_left(opened: Opener) -> None:
    page = opened("/screen")
    assert page.is_visible("#criteria[open]")
    page.keyboard.press("c")
    page.wait_for_selector("#criteria:not([open])")
    page.keyboard.press("2")
    wait_for(page, "Paper 4")
    assert not page.is_visible("#criteria[open]")
    page.keyboard.press("g")
    page.keyboard.press("x")  # no page has this key after g, so neither key does anything
    page.keyboard.press("c")
    page.wait_for_selector("#criteria[open]")
    page.keyboard.press("g")
    page.keyboard.press("c")
    wait_for(page, "Paper 1")
    assert page.url.endswith("/code")


def test_a_reason_for_the_exclusion_is_chosen_by_a_digit(opened: Opener, review: Workspace) -> None:
    review.acts.change_plan(Stamp(OWEN), "reasons", "required")
    review.acts.change_plan(Stamp(OWEN), "exclusion_reasons", ["Wrong population", "Wrong topic", "No study", "Other"])
    page = opened("/screen")
    page.keyboard.press("4")  # the keys of the reasons do nothing until the reasons are shown
    page.keyboard.press("2")
    page.wait_for_selector("[data-panel][open]")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-panel]:not([open])")
    assert decisions(review) == {}
    page.wait_for_timeout(200)  # a key pressed right after the page appears is ignored
    page.keyboard.press("2")
    page.wait_for_selector("[data-panel][open]")
    page.wait_for_timeout(200)
    page.keyboard.press("2")
    wait_for(page, "Paper 4")
    page.keyboard.press("1")
    wait_for(page, "Paper 5")
    assert decisions(review) == {3: 0, 4: 1}
    with review.store.read() as connection:
        reasons = connection.execute(select(schema.current.c.reason).where(schema.current.c.record == 3)).scalars()
        assert list(reasons) == ["Wrong topic"]


def test_a_key_that_is_held_down_counts_once(opened: Opener, review: Workspace) -> None:
    page = opened("/screen")
    page.keyboard.down("1")
    for _ in range(20):
        page.keyboard.down("1")  # Playwright repeats a key that is held down
        page.wait_for_timeout(30)
    page.keyboard.up("1")
    wait_for(page, "Paper 4")
    assert decisions(review) == {3: 1}


def test_enter_on_a_fresh_record_and_a_double_click_decide_nothing_unseen(opened: Opener, review: Workspace) -> None:
    page = opened("/screen")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert decisions(review) == {}
    page.dblclick("button[value=include]")
    wait_for(page, "Paper 4")
    page.wait_for_timeout(300)
    assert decisions(review) == {3: 1}


def test_a_decision_waits_while_the_server_is_away_and_is_sent_once(
    opened: Opener, review: Workspace, served: Served
) -> None:
    page = opened("/screen", noisy=True)
    served.stop()
    page.keyboard.press("1")
    page.locator("#saved", has_text="1 decision not saved").wait_for()
    kept = page.evaluate("JSON.stringify(localStorage)")
    assert "Apples" not in kept
    assert "Paper" not in kept
    assert "csrf" not in kept
    page.keyboard.press("2")  # the page takes no other decision on this record
    page.wait_for_timeout(300)
    served.start()
    wait_for(page, "Paper 4")
    assert page.inner_text("#saved") == "All saved"
    assert decisions(review) == {3: 1}
    assert page.evaluate("Object.values(localStorage).every((each) => each === '[]')")


def test_a_reload_sends_what_waits_even_with_a_new_session(opened: Opener, review: Workspace, served: Served) -> None:
    page = opened("/screen", noisy=True)
    served.stop()
    page.keyboard.press("2")
    page.locator("#saved", has_text="1 decision not saved").wait_for()
    page.goto("about:blank")
    served.start()
    page.context.clear_cookies()
    page.goto(f"{served.address}/start?key={KEY}")
    page.goto(f"{served.address}/screen")
    wait_for(page, "Paper 4")
    assert decisions(review) == {3: 0}


def test_with_three_decisions_waiting_the_page_takes_no_more(opened: Opener, review: Workspace, served: Served) -> None:
    page = opened("/screen", noisy=True)
    pages = [page, page.context.new_page(), page.context.new_page(), page.context.new_page()]
    for number, each in enumerate(pages[1:], start=4):
        each.goto(f"{served.address}/screen?record={number}")
    page.wait_for_timeout(200)
    served.stop()
    for number, each in enumerate(pages[:3], start=1):
        each.keyboard.press("1")
        each.locator("#saved", has_text=f"{number} decision").wait_for()
    pages[3].keyboard.press("1")
    pages[3].wait_for_timeout(500)
    assert len(json.loads(page.evaluate("Object.values(localStorage)[0]"))) == 3
    assert "You cannot make further decisions until these are saved" in pages[2].inner_text("#saved")
    served.start()
    for _ in range(60):
        if len(decisions(review)) == 3:
            break
        page.wait_for_timeout(250)
    assert decisions(review) == {3: 1, 4: 1, 5: 1}


def test_coding_by_keys(opened: Opener, review: Workspace) -> None:
    page = opened("/code")
    for key in ("j", "Space"):
        page.keyboard.press(key)
    page.wait_for_selector("#s-0[aria-pressed=true]")
    assert page.evaluate(FOCUSED) == "BUTTON s-0"
    assert page.is_checked("#yes-apple")
    page.keyboard.press("m")
    letter = page.locator("#s-0 .letter")
    letter.filter(has_text="A −").wait_for()
    # The second key comes while the first sign is being sent; pressing the key of a set sign removes it.
    page.keyboard.press("q")
    page.keyboard.press("q")
    letter.filter(has_text=re.compile("^A$")).wait_for()
    page.wait_for_timeout(300)
    page.select_option("#sign-apple-0", "present")
    letter.filter(has_text="A +").wait_for()
    page.keyboard.press("Escape")
    page.focus("#s-0")
    page.keyboard.press("]")
    assert page.get_attribute("#s-0", "aria-pressed") == "false"
    assert page.inner_text("#said") == "Pear is chosen"
    # The second key comes while the first answer is being sent.
    page.keyboard.press("3")
    page.keyboard.press("2")
    page.wait_for_selector("#no-pear:checked")
    page.wait_for_timeout(300)
    page.keyboard.press(";")
    page.keyboard.press("a")
    assert page.inner_text("#said") == "Apple is chosen"
    page.keyboard.press("i")
    assert page.is_visible("#label-apple details[open]")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#accept-apple, #reject-apple, .suggestion")
    table = schema.current
    with review.store.read() as connection:
        rows = connection.execute(
            select(table.c.label, table.c.value, table.c.sentences, table.c.signs).where(table.c.stage == "code")
        )
        assert sorted(rows.all()) == [("apple", 1, "[0]", '{"0": "present"}'), ("pear", 0, "[]", "{}")]
    page.wait_for_timeout(200)
    # Only the sentences to which mechtag points for the chosen label are outlined.
    pointed = 'Array.from(document.querySelectorAll(".pointed"), (line) => line.id)'
    assert page.evaluate(pointed) == ["s-0", "s-2"]
    page.keyboard.press("]")
    assert page.evaluate(pointed) == ["s-1"]
    page.keyboard.press("Control+Enter")
    wait_for(page, "Paper 2")


def test_names_of_roles_may_have_any_characters(opened: Opener, review: Workspace) -> None:
    review.acts.change_plan(Stamp(OWEN), "roles", True)
    names = ("A | B", "<i>Who</i>")
    roles = [{"key": f"role_{n}", "name": name, "definition": "A role."} for n, name in enumerate(names, start=1)]
    book = Path(review.project.settings.codebook)
    book.write_text(yaml.safe_dump({**CODEBOOK, "roles": roles}), encoding="utf-8")
    page = opened("/code")
    for key in ("j", "r"):
        page.keyboard.press(key)
    assert page.inner_text("#said") == "Press the number of a role: 1 A | B, 2 <i>Who</i>"
    page.keyboard.press("2")
    page.wait_for_selector("#role-apple-0-role_2[aria-pressed=true]")
    for key in ("r", "3"):  # There is no third role.
        page.keyboard.press(key)
    assert page.locator("#role-apple-0-role_2[aria-pressed=true]").count() == 1


def test_roles_are_coded_by_keys_and_linked_by_buttons(opened: Opener, review: Workspace) -> None:
    review.acts.change_plan(Stamp(OWEN), "roles", True)
    page = opened("/code")
    for key in ("j", "r"):
        page.keyboard.press(key)
    assert page.inner_text("#said") == "Press the number of a role: 1 Context, 2 Resource, 3 Reasoning, 4 Outcome"
    page.keyboard.press("1")
    page.wait_for_selector("#role-apple-0-context[aria-pressed=true]")
    assert page.evaluate(FOCUSED) == "BUTTON s-0"
    assert page.is_checked("#yes-apple"), "the number meant the role"
    for key in ("r", "4"):
        page.keyboard.press(key)
    page.wait_for_selector("#role-apple-0-outcome[aria-pressed=true]")
    page.wait_for_timeout(200)
    for key in ("r", "1"):
        page.keyboard.press(key)
    page.wait_for_selector("#role-apple-0-context[aria-pressed=false]")
    page.focus("#link-apple-0-outcome-1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#link-apple-0-outcome-1[aria-pressed=true]")
    assert page.evaluate(FOCUSED) == "BUTTON link-apple-0-outcome-1"
    page.click("#role-apple-0-reasoning")
    page.wait_for_selector("#role-apple-0-reasoning[aria-pressed=true]")
    table = schema.current
    with review.store.read() as connection:
        (row,) = connection.execute(select(table.c.roles).where(table.c.stage == "code", table.c.label == "apple"))
    assert json.loads(row.roles) == {"0": {"outcome": [1], "reasoning": []}}


def test_rest_no_is_two_steps(opened: Opener, review: Workspace) -> None:
    page = opened("/code")
    page.keyboard.press("Shift+N")
    page.wait_for_selector("#rest[open]")
    assert "Apple, Pear" in page.inner_text("#rest")
    table = schema.current
    with review.store.read() as connection:
        assert connection.execute(select(func.count()).where(table.c.stage == "code")).scalar() == 0
    page.keyboard.press("Enter")
    page.wait_for_selector("#no-pear:checked")


def test_the_dialog_of_keys_opens_and_closes_by_keys(opened: Opener) -> None:
    page = opened("/code")
    page.keyboard.press("?")
    assert page.is_visible("dialog#keys[open]")
    assert "Finish the record, and go to the next one" in page.inner_text("dialog")
    page.keyboard.press("2")  # an open dialog keeps keys from deciding
    page.keyboard.press("Escape")
    assert not page.is_visible("dialog#keys")
    assert not page.is_checked("#no-apple")


def _states(review: Workspace) -> dict[str, Callable[[], str]]:
    """Return the states of *Screen* and *Code* to test, by name. Each function prepares one and returns its address."""
    acts = review.acts

    def mode(name: str) -> None:
        for stage in ("screen", "code"):
            acts.change_plan(Stamp(OWEN), f"mode_{stage}", name)

    def screen_with_reasons() -> str:
        acts.change_plan(Stamp(OWEN), "reasons", "optional")
        acts.change_plan(Stamp(OWEN), "exclusion_reasons", ["wrong population"])
        acts.change_plan(Stamp(OWEN), "words_for", ["apple*"])
        return "/screen"

    def marked() -> str:
        acts.mark(Stamp(OWEN), 1, "apple", [0])
        return "/code?record=1"

    def assisted() -> str:
        mode("assisted")
        return "/code?record=1"

    def committed() -> str:
        mode("after")
        acts.code(Stamp(OWEN), 1, "pear", 0)
        acts.commit(Stamp(OWEN), 1)
        return "/code?record=1"

    def nothing_left() -> str:
        acts.code(Stamp(OWEN), 2, "pear", 0)
        acts.commit(Stamp(OWEN), 2, open_labels=True)
        return "/code"

    return {
        "screen": lambda: "/screen",
        "reasons and words": screen_with_reasons,
        "decided": lambda: "/screen?record=1",
        "fresh": lambda: "/code?record=1",
        "marked": marked,
        "assisted": assisted,
        "committed": committed,
        "nothing left": nothing_left,
        "decisions": lambda: "/decisions",
        "keys": lambda: "/keys",
    }


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (1280, "dark"), (390, "light")])
def test_every_state_of_screen_and_code_is_accessible_and_fits(
    opened: Opener, review: Workspace, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = opened("/screen", width, scheme)
    origin = page.url.removesuffix("/screen")
    for name, lead in _states(review).items():
        page.goto(origin + lead())
        for details in page.query_selector_all("main details"):
            details.evaluate("(element) => { element.open = true; }")
        violations = Axe().run(page).response["violations"]
        assert [f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in violations] == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        page.keyboard.press("?")
        if page.is_visible("dialog#keys"):
            assert Axe().run(page, "dialog#keys").response["violations"] == [], name
            page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [1280, 390])
def test_controls_of_an_export_lie_apart_and_a_box_is_next_to_its_text(
    review: Workspace, opened: Opener, width: int
) -> None:
    review.acts.change_plan(Stamp(OWEN), "coders_screen", 2)
    with review.store.write() as connection:
        ann = add_account(connection, "Ann", "coder")
    # With a single active person, the start address signs this person in without asking.
    review.acts.change_account(Stamp(OWEN), ann, state="left")
    review.acts.decide(Stamp(ann), 3, 1)
    page = opened("/export", width)
    box = page.locator("input[name=everything]").first.evaluate(
        """(input) => {
            const range = document.createRange();
            range.selectNodeContents(input.parentElement);
            const text = [...range.getClientRects()].at(-1), own = input.getBoundingClientRect();
            const next = input.form.querySelector("button").getBoundingClientRect();
            return [text.left - own.right, own.top < text.bottom, next.left - text.right, next.top - text.bottom];
        }"""
    )
    assert box[0] >= 0
    assert max(box[2:]) >= 8
    form = page.locator("select[name=format]").first.evaluate(
        """(select) => {
            const own = select.getBoundingClientRect();
            const next = select.form.querySelector("button").getBoundingClientRect();
            return [next.left - own.right, next.top - own.bottom];
        }"""
    )
    assert max(form) >= 8
