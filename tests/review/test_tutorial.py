"""Test the tutorial: each section is followed in a browser, which must show what the section names.

``MECHTAG_PICTURES=docs/images python -m pytest -m slow tests/review/test_tutorial.py`` takes its pictures again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import MARKS, chromium
from tests.support.paths import ROOT, UPDATE
from tests.support.review_browser import Visitor, served, wait_for_worker, watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = MARKS

TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")


@dataclass
class Reader(Visitor):
    """A visitor who follows the tutorial and collects the texts of the pages and the pictures taken in a section."""

    pictures: Path
    seen: str = ""
    taken: list[str] = field(default_factory=list)

    def look(self, picture: str | None = None) -> str:
        """Remember the text of the page, take a picture if a name for it is given, and return the text."""
        self.page.wait_for_load_state("networkidle")
        said = " ".join(self.page.inner_text("body").split())
        self.seen += f" {said}"
        if picture is not None:
            self.page.screenshot(path=self.pictures / f"{picture}.png")
            self.taken.append(picture)
        return said


def sections() -> dict[int, str]:
    """Return the texts of the numbered sections of the tutorial, by number."""
    found = re.split(r"^## (\d)\. ", TUTORIAL, flags=re.M)
    return {int(number): text for number, text in zip(found[1::2], found[2::2], strict=True)}


def named(text: str, pattern: str) -> list[str]:
    """Return all matches of a pattern in the text of a section, outside its command blocks."""
    return re.findall(pattern, re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def check(reader: Reader, number: int) -> None:
    """Check that the pages showed all words in bold of a section, and that its pictures were taken."""
    text = sections()[number]
    words = named(text, r"\*\*(.+?)\*\*")
    assert words
    assert [word for word in words if word.casefold() not in reader.seen.casefold()] == []
    assert named(text, r"!\[[^\]]{20,}\]\(images/(\w+)\.png\)") == reader.taken
    reader.seen, reader.taken = "", []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def page_of(browser: Browser, address: str) -> tuple[Page, list[str]]:
    """Return a new page, and a list that collects the problems that the browser reports."""
    context = browser.new_context(viewport={"width": 1120, "height": 720})
    trouble = watch(context, address)
    return context.new_page(), trouble


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return the folder for the pictures: ``MECHTAG_PICTURES`` if it is set, or else a temporary one."""
    folder = ROOT / os.environ["MECHTAG_PICTURES"] if "MECHTAG_PICTURES" in os.environ else tmp_path
    folder.mkdir(exist_ok=True)
    return folder


def test_the_pictures_of_the_tutorial_are_there() -> None:
    pictures = re.findall(r"\((images/\w+\.png)\)", TUTORIAL)
    assert pictures == list(dict.fromkeys(pictures))
    assert {f"images/{path.name}" for path in (ROOT / "docs/images").iterdir()} == set(pictures)


def test_the_example_is_screened_coded_and_exported(browser: Browser, tmp_path: Path, pictures: Path) -> None:
    with served(tmp_path / "mechtag-demo", tmp_path / "log.txt", "--demo") as address:
        page, trouble = page_of(browser, address)
        reader = Reader(page, address, pictures)
        page.goto(address)
        reader.look("home")
        check(reader, 1)
        screen(reader)
        check(reader, 2)
        wait_for_worker(reader)
        code(reader)
        check(reader, 3)
        reader.press("Control+Enter", until=".suggestion")
        page.evaluate("scrollTo(0, 0)")
        assert "You have finished this record" in reader.look("suggestions")
        record = page.get_attribute("[data-record]", "data-record")
        reader.press("Control+Enter", until=f"[data-record]:not([data-record='{record}'])")
        check(reader, 4)
        export(reader)
        check(reader, 5)
        assert trouble == []
        page.context.close()


def screen(reader: Reader) -> None:
    """Screen four records, and correct one of the decisions with undo."""
    reader.page.click("text=Screen >> nth=0")
    reader.page.locator("h1[data-focus]").wait_for()
    reader.look("screen")
    for key in ("1", "1", "1", "u", "2", "1"):
        number = reader.page.get_attribute("h1", "data-focus")
        reader.press(key, until=f"h1[data-focus]:not([data-focus='{number}'])")
        reader.page.locator("h1:focus").wait_for()
    assert "Screened 4" in reader.look()


def code(reader: Reader) -> None:
    """Answer yes for the first label and mark a sentence for it; answer no for all other labels."""
    page = reader.page
    reader.open("/")
    page.click("nav >> text=Code")
    page.locator("[data-record]").wait_for()
    first = page.locator("[id^=label-]").first.get_attribute("id")
    reader.press("1", until=f"#{first} input[value=yes]:checked")
    page.keyboard.press("j")
    page.keyboard.press("Space")
    page.locator(f"#{first} .evidence").wait_for()
    page.evaluate("scrollTo(0, 0)")
    reader.look("code")
    reader.press("Shift+N", until="#rest button:focus")
    reader.look()
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.keyboard.press("Enter")
    page.locator("#rest").wait_for(state="detached")


def export(reader: Reader) -> None:
    """Create the file of codes, and download it."""
    page = reader.page
    page.click("summary:has-text('Menu')")
    reader.look()
    page.click("details[open] >> text=Export")
    page.locator("h1", has_text="Export").wait_for()
    reader.look()
    reader.submit(page.locator("button", has_text="Create codings.csv"))
    wait_for_worker(reader)
    reader.open("/export")
    reader.look("export")
    with page.expect_download() as found:
        page.click(".card:has-text('codings.csv') a[download]")
    assert b"inspiring_intent" in Path(found.value.path()).read_bytes()


def test_a_new_review_is_started(browser: Browser, tmp_path: Path, pictures: Path) -> None:
    with served(tmp_path / "my-review", tmp_path / "log.txt") as address:
        page, trouble = page_of(browser, address)
        reader = Reader(page, address, pictures)
        page.goto(address)
        page.fill("#name", "Leading integrated care")
        page.fill("#person", "Ann")
        reader.look("new")
        page.click("text=Create the review")
        page.locator("h1", has_text="Import records").wait_for()
        page.set_input_files("#files", UPDATE)
        reader.look()
        page.click("text=Read the files")
        page.locator("h1", has_text="Read: 30 records").wait_for()
        reader.look("import")
        page.click("text=Add 30 records")
        page.locator("h1", has_text="new records").wait_for()
        reader.open("/duplicates")
        reader.look()
        check(reader, 6)
        assert trouble == []
        page.context.close()
