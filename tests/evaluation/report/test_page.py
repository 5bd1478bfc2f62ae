"""Test the report in a browser: no requests, no errors, keyboard access, colour schemes, screen widths and printing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import MARKS, chromium
from tests.support.reports import finished, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

__all__ = ["finished"]  # a fixture, which pytest finds by its name here

pytestmark = MARKS

# Elements that can be reached by keyboard.
REACHABLE = """() => [...document.querySelectorAll("a[href], button, summary, [tabindex='0']")]
    .filter((element) => element.checkVisibility() && !element.disabled)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(finished: Path) -> str:
    write(finished)
    return (finished / "report.html").as_uri()


@pytest.fixture
def opened(browser: Browser) -> Iterator[tuple[BrowserContext, list[str]]]:
    """Yield an offline browser, and a list of its errors and of all requests except the one for the page itself."""
    context = browser.new_context(offline=True)
    trouble: list[str] = []
    context.on("console", lambda message: trouble.append(f"console: {message.text}"))
    context.on("weberror", lambda error: trouble.append(f"error: {error.error}"))
    asked: list[str] = []

    def refuse(route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1 and route.request.url.startswith("file:"):
            route.continue_()
        else:
            trouble.append(f"request: {route.request.url}")
            route.abort()

    context.route("**/*", refuse)
    yield context, trouble
    context.close()


def load(context: BrowserContext, address: str, width: int, scheme: str = "light") -> Page:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_makes_no_requests_fits_the_screen_and_is_accessible(
    opened: tuple[BrowserContext, list[str]], address: str, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context, trouble = opened
    page = load(context, address, width, scheme)
    page.click("#open-all")
    for details in page.query_selector_all("details"):
        details.evaluate("(element) => { element.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 22, 26)"}[scheme]
    found = Axe().run(page).response["violations"]
    grave = [
        f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in found if fault["impact"] in ("serious", "critical")
    ]
    assert grave == []
    assert trouble == []
    # No element overflows the page: wider elements are in a region that scrolls.
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main *, header *, nav *")].filter((element) =>
            !element.closest(".scroll, .hidden, svg, pre") && element.getBoundingClientRect().right > innerWidth + 1
        ).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_every_control_is_reached_by_keyboard(opened: tuple[BrowserContext, list[str]], address: str) -> None:
    context, trouble = opened
    page = load(context, address, 1280)
    count = page.evaluate(f"({REACHABLE})().length")
    assert count > 60
    reached: list[int] = []
    for _ in range(count):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"({REACHABLE})().indexOf(document.activeElement)"))
        if len(reached) == 1:
            skip = page.evaluate("document.activeElement.getBoundingClientRect().left")
            assert skip >= 0, "the skip link must be visible when it has the focus"
    assert reached == list(range(count))
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert trouble == []


def test_evidence_opens_and_closes_by_keyboard(opened: tuple[BrowserContext, list[str]], address: str) -> None:
    context, trouble = opened
    page = load(context, address, 390)
    cell = page.locator("button[aria-controls]").nth(7)
    quotes = page.locator(f"[id='{cell.get_attribute('aria-controls')}']")
    assert not quotes.is_visible()
    for key, opens in (("Enter", True), ("Space", False), ("Space", True)):
        cell.focus()
        page.keyboard.press(key)
        assert quotes.is_visible() == opens
        assert cell.get_attribute("aria-expanded") == str(opens).lower()
    assert "Sentence 2 pests." in quotes.inner_text()
    box = quotes.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.click("#open-all")
    assert page.locator(".quotes:visible").count() == page.locator(".quotes").count() > 40
    page.click("#close-all")
    assert page.locator(".quotes:visible").count() == 0
    assert trouble == []


def test_nothing_is_hidden_without_script_or_on_paper(
    browser: Browser, opened: tuple[BrowserContext, list[str]], address: str
) -> None:
    plain = browser.new_context(java_script_enabled=False)
    page = load(plain, address, 1280)
    assert page.locator(".quotes:visible").count() == page.locator(".quotes").count() > 40
    plain.close()

    context, trouble = opened
    page = load(context, address, 1280)
    assert page.locator("details:not([open])").count() > 5
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("#open-all").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 5
    assert len(page.pdf()) > 50_000
    assert trouble == []


@pytest.mark.parametrize("width", [688, 711])
def test_tables_fit_a4_and_letter(opened: tuple[BrowserContext, list[str]], address: str, width: int) -> None:
    context, trouble = opened
    page = load(context, address, width)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    # Everything fits within the margins of a portrait page, except the matrix, which is printed in landscape.
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main table, main svg, main pre")].filter((element) =>
            !element.closest(".wide") && element.getBoundingClientRect().right > innerWidth + 1
        ).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    assert page.evaluate("getComputedStyle(document.querySelector('.screen')).display") == "none"
    assert page.evaluate("getComputedStyle(document.querySelector('.print')).display") == "block"
    assert trouble == []
