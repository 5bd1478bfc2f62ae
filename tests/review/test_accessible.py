"""Test every page in a browser: axe-core finds no fault, nothing is too wide, and everything works by keyboard."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select

from mechtag.core.records import Record
from mechtag.review.acts import Stamp, utc_now
from mechtag.review.full_texts import READ
from mechtag.review.jobs import accuracy, exporting, full_texts
from mechtag.review.jobs.importing import JOBS
from mechtag.review.jobs.worker import do_next
from mechtag.review.store import schema
from mechtag.review.store.changes import save_changes
from mechtag.review.workspace import Workspace, write_fact
from mechtag.training.retraining.explain_changes import Change
from tests.support.chromium import MARKS, chromium
from tests.support.review_browser import watch
from tests.support.review_live import KEY, Served
from tests.support.review_site import Browser as Client
from tests.support.review_site import add_person, make_review, papers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = MARKS

LONG = Record(
    record_id="text:long",
    title="A randomised trial of supercalifragilisticexpialidocious" * 4 + " and of its discontents" * 12,
    abstract="BACKGROUND: Apples grow in many orchards. " + "Pears were pressed by people who did not know why. " * 40,
    authors=tuple(f"Author-with-a-very-long-name {number}" for number in range(9)),
    journal="Journal of Journals" * 8,
    keywords=tuple(f"term {number}" for number in range(40)),
    year=2020,
    doi="10.1/" + "long" * 30,
)
EMPTY = Record(record_id="text:empty", title="A paper without an abstract")
# Finds elements that extend beyond the right edge of the window, even if the window does not scroll.
OUTSIDE = """() => [...document.querySelectorAll("main *, header *")].filter((element) =>
    element.checkVisibility() && !element.closest(".scroll, .hidden, svg, dialog")
    && element.getBoundingClientRect().right > innerWidth + 1).map((element) => element.outerHTML.slice(0, 120))"""
# Finds controls that are too small for a finger, except links in running text.
SMALL = """() => [...document.querySelectorAll("button, select, input:not([type=hidden]), summary, nav a")].filter(
    (element) => {
        const box = element.getBoundingClientRect();
        const label = element.closest("label");
        return element.checkVisibility() && !(label && label.getBoundingClientRect().height >= 24)
            && (box.width < 24 || box.height < 24);
    }).map((element) => element.outerHTML.slice(0, 120))"""

#: Pages by name.
PAGES: Mapping[str, str] = {
    "home": "/",
    "import": "/import",
    "import read": "/import/2",
    "import added": "/import/1",
    "duplicates": "/duplicates",
    "joined": "/duplicates/groups",
    "screen": "/screen?record=2",
    "screen, long text": "/screen?record=5",
    "screen, no abstract": "/screen?record=6",
    "screen, decided": "/screen?record=1",
    "code": "/code?record=3",
    "code, finished": "/code?record=1",
    "code, long text": "/code?record=5",
    "reconcile": "/reconcile",
    "reconcile, coding": "/reconcile/coding",
    "conflict": "/reconcile/screen/4",
    "conflict, coding": "/reconcile/code/1",
    "conflict, votes": "/reconcile/code/1?votes=1",
    "records": "/records",
    "record": "/records/1",
    "record, long text": "/records/5",
    "decisions": "/decisions",
    "activity": "/activity",
    "learn": "/learn",
    "learn, what changes": "/learn/changes",
    "import a project": "/merge",
    "import a project, read": "/merge/902",
    "import a project, added": "/merge/903",
    "import a project, refused": "/merge/905",
    "accuracy": "/accuracy",
    "import codes": "/codings",
    "abstracts": "/abstracts",
    "full texts": "/full-texts",
    "full texts, record of a file": "/full-texts/2?words=orchard",
    "full text": "/records/1/text",
    "code by full text": "/full-text?record=1",
    "code by full text, nothing left": "/full-text",
    "conflict, full text": "/reconcile/full-text/1",
    "exercise": "/exercise",
    "matrix": "/matrix",
    "roles": "/roles",
    "flow": "/flow",
    "codebook": "/codebook",
    "codebook, edit": "/codebook/edit",
    "export": "/export",
    "team": "/team",
    "settings": "/settings",
    "keys": "/keys",
    "jobs": "/jobs",
    "missing": "/nothing",
    "refused": "/reconcile/nothing",
}


def fill(workspace: Workspace) -> None:
    """Let three people screen, code, disagree and comment, so that every page has something to show."""
    acts = workspace.acts
    ann, bob = add_person(workspace, "Ann", "coder"), add_person(workspace, "Bob", "adjudicator")
    acts.change_plan(Stamp(1), "exclusion_reasons", ["Wrong population", "Wrong topic"])
    acts.change_plan(Stamp(1), "reasons", "optional")
    acts.change_plan(Stamp(1), "roles", True)
    acts.change_plan(Stamp(1), "words_for", ["apple*"])
    acts.change_plan(Stamp(1), "words_against", ["weather"])
    for record in (1, 3, 5):
        for coder in (1, ann):
            acts.decide(Stamp(coder), record, 1)
    for coder in (1, ann):
        acts.decide(Stamp(coder), 8, 0)
    for coder, value in ((1, 1), (ann, 0)):
        acts.decide(Stamp(coder), 4, value)
    acts.decide(Stamp(bob), 7, None, refer=True)
    for coder, apple in ((1, 1), (ann, 0)):
        acts.code(Stamp(coder), 1, "apple", apple)
        acts.code(Stamp(coder), 1, "pear", 1)
        acts.mark(Stamp(coder), 1, "pear", [1])
        acts.role(Stamp(coder), 1, "pear", 1, "context")
        acts.link(Stamp(coder), 1, "pear", 1, "context", 1)
        acts.role(Stamp(coder), 1, "pear", 2, "outcome")
        acts.commit(Stamp(coder), 1)
    acts.mark(Stamp(1), 3, "apple", [0])
    attach_files(workspace)
    for coder, apple in ((1, 1), (ann, 0)):
        acts.code(Stamp(coder), 1, "apple", apple, stage="full-text")
        acts.mark(Stamp(coder), 1, "pear", [1], stage="full-text")
        acts.commit(Stamp(coder), 1, stage="full-text")
    acts.tag(Stamp(1), 1, "to discuss")
    acts.note(Stamp(ann), 1, "I was not sure about the first sentence.")
    acts.comment(Stamp(bob), 1, "See the protocol, page 3.")
    with workspace.store.write() as connection:
        write_fact(connection, "model_id", "m")
        write_fact(
            connection,
            "model",
            {"model_id": "m", "from_definitions": True, "shipped": False, "papers": None, "at": utc_now()},
        )
        rows = [
            {"model_id": "m", "record": 1, "label": label, "probability": p, "decision": d, "sentences": s}
            for label, p, d, s in (("apple", 0.1, "no", "[]"), ("pear", 0.6, "refer", "[1]"))
        ]
        connection.execute(insert(schema.suggestion), rows)


def train_and_merge(workspace: Workspace) -> None:
    """Store the results of a training, and of imports of other projects."""
    word = "supercalifragilisticexpialidocious"
    reasons = {f"the record has a different text in the copy, {word}{word}": 2}
    left_out = [(f"doi:10.1/{word}{word}{word}", "Ann", next(iter(reasons)))] * 2
    lacks = {"left_out": left_out, "reasons": reasons, "all_left_out": 2}
    people = {"2": {"name": "Ann", "acts": 3, "account": 2}, "7": {"name": word, "acts": 1, "account": None}}
    read = {"people": people, "acts": 4, "records": 2, **lacks}
    learned = {"outcome": "adopted", "tagged": 7, "compared": 0, "papers": 3, "reasons": []}
    rows = [
        (901, "learn", "done", {}, learned, ""),
        (902, "read_project", "done", {"token": "a"}, read, ""),
        (903, "read_project", "done", {"token": "b"}, read, ""),
        (904, "add_project", "done", {"of": 903}, {"added": 4, **lacks}, ""),
        (905, "read_project", "failed", {"token": "c"}, {}, "this zip is damaged; ask the sender for a new zip"),
    ]
    with workspace.store.write() as connection:
        for number, kind, state, arguments, result, message in rows:
            texts = {"arguments": json.dumps(arguments), "result": json.dumps(result), "message": message}
            values = {"id": number, "kind": kind, "state": state, "asked": utc_now(), "ended": utc_now(), **texts}
            connection.execute(insert(schema.job).values(values))
        numbers = select(schema.need.c.record).where(schema.need.c.state == "settled", schema.need.c.stage == "screen")
        names = select(schema.record.c.record_id).where(schema.record.c.id.in_(numbers))
        settled = list(connection.execute(names).scalars())
    save_changes(
        workspace.store,
        901,
        [
            Change(name, "", label, "no", "refer", (0.21, 0.3, 0.3, 0.5), "sentences", f"mainly {word * 3}")
            for name in settled
            for label in ("apple", "pear")
        ],
    )


def export(records: Sequence[Record]) -> bytes:
    """Return records as a RIS file."""
    lines = []
    for record in records:
        lines += ["TY  - JOUR", f"TI  - {record.title}", f"AB  - {record.abstract}", f"PY  - {record.year or ''}"]
        lines += [f"DO  - {record.doi or ''}", f"JO  - {record.journal or ''}"]
        lines += [
            *(f"AU  - {name}" for name in record.authors),
            *(f"KW  - {word}" for word in record.keywords),
            "ER  - ",
            "",
        ]
    return "\n".join(lines).encode()


def import_files(workspace: Workspace) -> None:
    """Import records with a duplicate and an uncertain pair, and read a second file with a fault."""
    twin = Record(record_id="text:1", title="Orchards in the north and their keepers", authors=("Ash, Ann",), year=2020)
    records = [*papers(4), LONG, EMPTY, *papers(12)[5:], twin, twin, twin.model_copy(update={"year": 2021})]
    owner = Client(workspace, 1)
    files = (
        ("first.ris", export(records)),
        ("a-file-with-quite-a-long-name_2026-11-29.ris", export([EMPTY]) + b"TY  - JOUR\nER  - \n"),
    )
    for number, file in enumerate(files, start=1):
        data = {"csrf": owner.csrf, "client_id": str(uuid.uuid4())}
        owner.client.post("/import", data=data, files=[("files", file)])
        work(workspace)
        if number == 1:
            owner.post("/import/1", act="add")
            work(workspace)


def attach_files(workspace: Workspace) -> None:
    """Upload three files: the full text of the first record, that of an unknown paper, and a damaged file."""
    owner = Client(workspace, 1)
    body = "Leaders shared apples. Nobody asked why the pears were pressed. " * 20
    pages = "".join(f"<h2>{heading}</h2><p>{body}</p>" for heading in ("Introduction", "Results", "Discussion"))
    files = [
        ("files", ("a-file-with-quite-a-long-name_of_a_paper_2026.html", f"<html><h1>One</h1>{pages}</html>".encode())),
        ("files", ("other.html", f"<html><h1>Another paper</h1>{pages}</html>".encode())),
        ("files", ("damaged.pdf", b"%PDF-1.7 cut off")),
    ]
    owner.client.post("/full-texts", data={"csrf": owner.csrf, "client_id": str(uuid.uuid4())}, files=files)
    work(workspace)
    owner.post("/full-texts/1", record=1)


def work(workspace: Workspace) -> None:
    """Run all waiting jobs; those that need a model do nothing."""
    nothing = dict.fromkeys(("rank", "tag"), lambda *_: {})
    while do_next(
        workspace,
        {**JOBS, **nothing, READ: full_texts.read, accuracy.KIND: accuracy.run, exporting.KIND: exporting.run},
    ):
        pass


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a review that has something to show on each page."""
    folder = tmp_path_factory.mktemp("site")
    workspace = make_review(folder, [])
    import_files(workspace)
    fill(workspace)
    train_and_merge(workspace)
    owner = Client(workspace, 1)
    owner.post("/accuracy")
    owner.post("/export", name="codings")
    work(workspace)
    with Served(workspace) as server:
        yield server.address


def axe(page: Page) -> list[str]:
    """Return the violations of WCAG 2.0 to 2.2, levels A and AA, that axe-core finds on a page."""
    from axe_playwright_python.sync_playwright import Axe

    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}}).response["violations"]
    return [f"{fault['id']}: {node['html'][:150]}" for fault in found for node in fault["nodes"][:3]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_can_be_used_by_all(browser: Browser, site: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    trouble = watch(context, site)
    page = context.new_page()
    page.goto(f"{site}/start?key={KEY}")
    page.click("text=Continue as Owen")
    page.locator(".person").wait_for()
    faults: dict[str, list[str]] = {}
    for name, address in PAGES.items():
        page.goto(site + address)
        page.evaluate("document.querySelectorAll('main details').forEach((element) => { element.open = true; })")
        found = axe(page)
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"{wide} pixels wide")
        found += [f"outside: {html}" for html in page.evaluate(OUTSIDE)]
        found += [f"small: {html}" for html in page.evaluate(SMALL)]
        if page.locator("h1").count() != 1:
            found.append("not one h1")
        if found:
            faults[name] = found
    page.goto(f"{site}/")
    page.click("header summary")
    if found := page.evaluate(OUTSIDE):
        faults["menu"] = found
    context.close()
    assert faults == {}
    missing = [f"{site}{PAGES[name]}" for name in ("missing", "refused")]
    assert [each for each in trouble if not any(address in each for address in missing)] == []
