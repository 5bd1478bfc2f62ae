"""Test a whole review by two people in a browser, from search exports to the figures and files for the report."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.chromium import MARKS, chromium
from tests.support.review_browser import Visitor, served, wait_for_worker, watch
from tests.support.review_site import CODEBOOK
from tests.support.toy import tiny_bert

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = MARKS

PINS = {"Ann": "2718", "Bob": "3141"}
# The conflict: Ann includes this paper, and Bob excludes it.
DISPUTED = "Harvest 5"
# Number of papers that both code.
CODED = 3
WORDS = "the harvest worked apple pear stone tree grew well lay there year was text speaks of is about fruit".split()


def entry(number: int, *, year: int = 2000, doi: str = "") -> str:
    """Return the RIS entry of a paper about apples, pears, both or stones, depending on its number."""
    kinds = [("apple",), ("pear",), ("apple", "pear"), ()][number % 4]
    words = [f"The {kind} tree grew well." for kind in kinds] or ["The stone lay there."]
    abstract = " ".join(["The harvest worked.", *words, f"The year was {number % 7}."])
    lines = ("TY  - JOUR", f"TI  - {title(number)}", "AU  - Ash, Ann", f"PY  - {year + number}", "JO  - Fruit")
    return "\n".join([*lines, f"AB  - {abstract}", f"DO  - {doi or f'10.1/{number}'}", "ER  - ", "", ""])


def title(number: int) -> str:
    """Return the title of a paper."""
    return f"Harvest {number} and the people of the village that {'many' if number % 2 else 'few'} orchards feed"


# Two papers are in both exports, with the same DOI; a third is an uncertain pair by its title and authors.
FIRST = "".join(entry(number) for number in range(8))
SECOND = "".join(entry(number) for number in (6, 7, 8, 9, 10, 11)) + entry(0, year=2001, doi="10.1/other")
READ, DUPLICATES = 15, 3


class Reviewer(Visitor):
    """The person who is using the computer that Ann and Bob share."""

    def become(self, name: str) -> None:
        """Hand the computer over to a person, who enters their PIN."""
        self.open("/team")
        form = self.page.locator("form[action='/team/switch']").filter(has_text=f"Continue as {name}")
        form.locator("[name=pin]").fill(PINS[name])
        form.get_by_role("button").click()
        self.page.locator(".person", has_text=name).wait_for()

    def make(self, name: str) -> bytes:
        """Create an export, download it, and return its content."""
        self.open("/export")
        self.submit(self.page.locator(f"form:has([name=name][value={name}]) button"))
        wait_for_worker(self)
        self.open("/export")
        link = f".card:has([name=name][value={name}]) a[download]"
        with self.page.expect_download() as found:
            self.page.click(link)
        return Path(found.value.path()).read_bytes()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def test_two_people_carry_out_a_review(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    encoder = tiny_bert(tmp_path / "encoder", [*WORDS, ".", *map(str, range(12))])
    book = tmp_path / "fruit.yaml"
    book.write_text(yaml.safe_dump(CODEBOOK, sort_keys=False), encoding="utf-8")
    folder = tmp_path / "orchards"
    with served(folder, tmp_path / "log.txt") as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        trouble = watch(context, address)
        who = Reviewer(context.new_page(), address)
        create(who, address, book)
        # The settings are read for each job, so the encoder can be replaced by a small one now.
        params = folder / "params.yaml"
        params.write_text(params.read_text().replace("name: fast", f"name: {encoder}"), encoding="utf-8")
        import_exports(who)
        settle_duplicate(who)
        add_bob(who)
        screen(who, "Ann", mistake=True)
        who.become("Bob")
        screen(who, "Bob")
        who.become("Ann")
        reconcile(who)
        code(who, "Ann", {"apple": "1", "pear": "2"})
        who.become("Bob")
        code(who, "Bob", {"apple": "1", "pear": "1"}, revise=True)
        who.become("Ann")
        settle_codes(who)
        learn(who)
        who.open("/accuracy")
        who.submit(who.page.locator("button", has_text="Compute"))
        wait_for_worker(who)
        codings = list(csv.DictReader(io.StringIO(who.make("codings").decode("utf-8-sig"))))
        check(who, codings)
        assert trouble == []
        context.close()
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


def create(who: Reviewer, address: str, book: Path) -> None:
    """Create the project with a codebook from a file."""
    page = who.page
    page.goto(address)
    page.fill("#name", "Orchards")
    page.check("[name=codebook][value=file]")
    page.set_input_files("#file", book)
    page.fill("#person", "Ann")
    page.click("text=Create the review")
    page.locator("h1", has_text="Import records").wait_for()


def import_exports(who: Reviewer) -> None:
    """Import two exports, and wait until the page shows each result."""
    files = [("first.ris", FIRST), ("second.ris", SECOND)]
    who.page.set_input_files(
        "#files", [{"name": name, "mimeType": "text/plain", "buffer": text.encode()} for name, text in files]
    )
    who.page.click("text=Read the files")
    who.page.locator("h1", has_text=f"Read: {READ} records").wait_for()
    assert f"{READ} entries read = {READ} records + 0 not readable" in who.text()
    who.page.click(f"text=Add {READ} records")
    who.page.locator("h1", has_text="new records").wait_for()
    assert f"{READ} entries read = 13 new records + 2 duplicates + 0 not readable" in who.text()


def settle_duplicate(who: Reviewer) -> None:
    """Confirm by keyboard that two records are the same paper."""
    assert "Are these the same paper?" in who.open("/duplicates")
    who.press("s", until="h1:has-text('No pairs to check')")
    assert f"{READ} read = 12 unique + {DUPLICATES} duplicates + 0 not readable" in who.text()


def add_bob(who: Reviewer) -> None:
    """Add Bob to the team, and set Ann's PIN."""
    who.open("/team")
    form = who.page.locator("form[action='/team/add']")
    form.locator("[name=name]").fill("Bob")
    form.locator("[name=pin]").fill(PINS["Bob"])
    form.get_by_role("button").click()
    who.page.locator("th", has_text="Bob").wait_for()
    own = who.page.locator("form[action='/team/password']")
    own.locator("[name=password]").fill(PINS["Ann"])
    # The session gets a new token, so a page that is loaded before the answer cannot send forms.
    with who.page.expect_response(f"{who.root}/team"):
        own.get_by_role("button").click()


def wanted(text: str, name: str, person: str) -> str:
    """Return the key with which a person judges a paper: 1 to include it, 2 to exclude it."""
    about_fruit = "apple" in text or "pear" in text
    return "1" if about_fruit and not (person == "Bob" and name.startswith(DISPUTED)) else "2"


def screen(who: Reviewer, person: str, *, mistake: bool = False) -> None:
    """Screen all records by keyboard. With ``mistake``, press the wrong key on the first record and undo that."""
    page = who.page
    who.open("/screen")
    for judged in range(12):
        assert f"Screened {judged} · about {12 - judged} left" in who.text()
        name, text = page.inner_text("h1"), page.inner_text(".abstract")
        key = wanted(text, name, person)
        number = page.get_attribute("h1", "data-focus")
        if mistake and judged == 0:
            who.press({"1": "2", "2": "1"}[key], until=f"h1:not([data-focus='{number}'])")
            who.press("u", until=f"h1[data-focus='{number}']")
            assert page.inner_text("h1") == name
            assert "Screened 0" in who.text()
        who.press(key, until=f"h1[data-focus]:not([data-focus='{number}'])")
        page.locator("h1:focus").wait_for()
    assert "You have screened 12 records" in who.text()


def reconcile(who: Reviewer) -> None:
    """Settle the conflict at screening without seeing who said what."""
    assert "Screening conflicts (1)" in who.open("/reconcile")
    who.page.click(f".records a:has-text('{DISPUTED}')")
    who.page.locator(".chip", has_text="Blind").wait_for()
    assert "Bob" not in who.text()
    who.press("1", until="h1:has-text('Screening conflicts')")
    assert "Screening conflicts (0)" in who.text()
    wait_for_worker(who)


def code(who: Reviewer, person: str, keys: dict[str, str], *, revise: bool = False) -> None:
    """Code papers by keyboard, and mark a sentence for each yes.

    Suggestions must appear only when a paper is finished. With ``revise``, change a code of the first paper afterwards.
    """
    page = who.page
    who.open("/code")
    for done in range(CODED):
        assert f"Coded {done} ·" in who.text()
        record = page.get_attribute("[data-record]", "data-record")
        assert page.locator(".suggestion").count() == 0
        for place, (label, key) in enumerate(keys.items()):
            if place:
                who.press("]", until=f"#label-{label}[data-chosen]")
            who.press(key, until=f"#label-{label} input[value={'yes' if key == '1' else 'no'}]:checked")
            if key == "1":
                page.click("#s-1")
                page.locator(f"#label-{label} .evidence").wait_for()
        who.press("Control+Enter", until=f"[data-record='{record}'] .suggestion")
        assert page.locator(".suggestion").count() == 2
        assert "You have finished this record" in who.text()
        if revise and done == 0:
            page.click("#label-pear >> text=No")
            page.locator("#label-pear input[value=no]:checked").wait_for()
            page.locator("#saved", has_text="All saved").wait_for()
        who.press("Control+Enter", until=f"h1[data-focus]:not([data-focus^='code/{record}/'])")


def settle_codes(who: Reviewer) -> None:
    """Settle the labels that were coded differently, blind and with a reason for each."""
    who.open("/reconcile/coding")
    assert f"Coding conflicts ({CODED - 1})" in who.text()
    for left in range(CODED - 1, 0, -1):
        who.page.locator(".records a").first.click()
        who.page.locator(".chip", has_text="Blind").wait_for()
        who.page.fill("#why-pear", "The text is not about pears.")
        who.submit(who.page.locator("section:has(#why-pear) button[value=no]"))
        assert f"Coding conflicts ({left - 1})" in who.open("/reconcile/coding")


def learn(who: Reviewer) -> None:
    """Train a model on the final codes."""
    who.open("/learn")
    who.submit(who.page.locator("button", has_text="Learn from"))
    wait_for_worker(who)
    assert "is in use" in who.open("/learn")


def check(who: Reviewer, codings: list[dict[str, str]]) -> None:
    """Compare the numbers on the pages with those computed from the exported codes."""
    said: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in codings:
        said[row["coder"], row["label"]][row["record_id"]] = row["value"]
    final = said["final", "edible"]
    included, excluded = (sum(value == digit for value in final.values()) for digit in "10")
    assert (included, excluded) == (9, 3)
    for person in ("Ann", "Bob"):
        assert len(said[person, "edible"]) == 12
        assert len(said[person, "apple"]) == CODED
        row = who.page.locator("tr", has=who.page.locator("th", has_text=re.compile(f"^{person}$")))
        who.open("/team")
        assert row.locator("td").nth(1).inner_text() == "12"
        assert row.locator("td").nth(2).inner_text() == str(CODED)
    assert f"Screening 0 0 0 0 {included + excluded}" in who.open("/")
    assert f"Coding {included - CODED} 0 0 0 {CODED}" in who.text()
    page = who.open("/learn")
    total = 0
    for label, name in (("edible", "About fruit"), ("apple", "Apple"), ("pear", "Pear")):
        values = list(said["final", label].values())
        total += len(values)
        assert f"{name} {values.count('1')} {values.count('0')}" in page
    assert f"Learn from {total} codes" in page
    page = who.open("/accuracy")
    # Bob revised one code of pears, and the page counts codes as they were first given.
    assert f"Pear 0 0 {CODED} 0 " in page
    for label, name in (("edible", "About fruit"), ("apple", "Apple")):
        ann, bob = said["Ann", label], said["Bob", label]
        table = [sum(ann[key] == a and bob[key] == b for key in ann) for a, b in ("11", "10", "01", "00")]
        assert f"{name} {' '.join(map(str, table))} " in page
        if label == "edible":
            assert f"{kappa(*table):.2f}" in page
    page = who.open("/flow")
    who.page.click("text=The same counts as a table")
    page = who.text()
    for number in (READ, DUPLICATES, included + excluded, included, excluded):
        assert re.search(rf"\b{number}\b", page)
    decisions = list(csv.DictReader(io.StringIO(who.make("decisions").decode("utf-8-sig"))))
    assert {row["record_id"]: row["decision"] for row in decisions} == {
        record: "included" if value == "1" else "excluded" for record, value in final.items()
    }
    assert who.make("included").decode("utf-8").count("TY  - ") == included


def kappa(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Return Cohen's kappa of two people, from how often both, one or neither of them said yes."""
    number = both + only_a + only_b + neither
    observed = (both + neither) / number
    chance = ((both + only_a) * (both + only_b) + (only_b + neither) * (only_a + neither)) / number**2
    return (observed - chance) / (1 - chance)
