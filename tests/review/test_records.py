"""Test the search for records by words and filters, and that it shows nobody what is hidden from them."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import select, update

from mechtag.core.records import Record
from mechtag.review.acts import Stamp
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, make_review, papers, texts


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    others = [
        Record(record_id="pmid:7", title="Œuvres 100% <b>bold</b>", abstract="Café AND table", year=2015, pmid="7"),
        Record(record_id="text:8", title='A "quoted" title', authors=("O'Neil, Ann_Lee",), year=2019, journal="J One"),
    ]
    return make_review(tmp_path, [*papers(3), *others])


@pytest.fixture
def ann(review: Workspace) -> Browser:
    return Browser(review, add_person(review, "Ann", "coder"))


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("", 5),
        ("orchard pears", 3),
        ('"grow in orchard 2"', 1),
        ("cafe", 1),
        ("AND", 1),
        ("NOT OR NEAR(", 0),
        ('"', 0),
        ("title:x * ^", 0),
        ("author:o'neil", 1),
        ('author:"o\'neil, ann"', 1),
        ("author:ann%lee", 0),
        ("doi:10.1/2", 1),
        ("year:2019-2020", 4),
        ("year:2015", 1),
        ("year:-2016", 1),
        ("year:2019- orchard", 3),
        ("pmid:7", 1),
    ],
)
def test_words_phrases_and_conditions(ann: Browser, words: str, count: int) -> None:
    page = texts(ann.client.get("/records", params={"words": words}).text)
    assert f" {count} {'record' if count == 1 else 'records'} " in page


def test_titles_are_escaped(ann: Browser) -> None:
    page = ann.get("/records?words=bold")
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>bold" not in page + ann.get("/records/4")


def test_a_blinded_coder_sees_own_decisions_only(review: Workspace, ann: Browser) -> None:
    bob = add_person(review, "Bob", "coder")
    review.acts.decide(Stamp(bob), 1, 0)
    review.acts.note(Stamp(bob), 1, "canary note")
    ann.post("/screen/decide", record=1, answer="include")
    lead = Browser(review, 1)
    for address in ("/records", "/records/1", "/activity", "/activity.csv"):
        seen = texts(ann.get(address))
        assert ("conflict" in seen, "canary" in seen, "Bob excluded" in seen) == (False, False, False), address
    # A filter that is hidden from a coder does nothing if it is in the address.
    assert " 5 records" in texts(ann.get("/records?screen=conflict"))
    assert " 1 record " in texts(ann.get("/records?mine=include"))
    assert " 1 record " in texts(lead.get("/records?screen=conflict"))
    history = texts(lead.get("/records/1"))
    assert "Bob excluded" in history
    assert "canary note" in history
    review.acts.change_plan(Stamp(1), "unblinded", True)
    assert "Bob excluded" in texts(ann.get("/records/1"))


def test_a_note_for_oneself_is_shown_to_nobody_else(review: Workspace, ann: Browser) -> None:
    bob = add_person(review, "Bob", "coder")
    review.acts.note(Stamp(bob), 1, "private thought", "me")
    assert "private thought" not in Browser(review, 1).get("/records/1") + Browser(review, 1).get("/activity.csv")
    assert "private thought" in Browser(review, bob).get("/records/1")


def test_pages_of_fifty(tmp_path: Path) -> None:
    review = make_review(tmp_path, papers(120))
    browser = Browser(review, 1)
    address, seen = "/records?words=orchard", list[str]()
    while address:
        page = browser.get(address)
        assert "120 records" in texts(page)
        seen += re.findall(r'<th scope="row"><a [^>]+>([^<]+)</a>', page)
        following = re.search(r'<a class="button" href="([^"]+)">Next', page)
        address = unescape(following[1]) if following else ""
    assert seen == [f"Paper {number}" for number in range(1, 121)]


def test_tags_and_corrections(review: Workspace, ann: Browser) -> None:
    ann.post("/records/5/edit", field="abstract", text="=cmd()|' /C calc'!A0 An abstract.")
    assert "An abstract." in ann.get("/records/5")
    ann.post("/records/5/tag", tag="  to  discuss ")
    assert " 1 record " in texts(ann.get("/records?tag=to+discuss"))
    ann.post("/records/5/tag", tag="to discuss", off="1")
    assert " 0 records " in texts(ann.get("/records?tag=to+discuss"))
    assert ann.post("/records/5/tag", tag=" ").status_code == 422
    assert ann.client.get("/records/99").status_code == 404


def test_next_to_a_record_to_judge_are_the_persons_own_tags_alone(review: Workspace, ann: Browser) -> None:
    review.acts.tag(Stamp(1), 1, "canary")
    review.acts.tag(Stamp(2), 1, "trial")
    review.acts.tag(Stamp(1), 1, "trial")
    form = ann.get("/screen?record=1").partition("<h2>Tags</h2>")[2].partition("<datalist")[0]
    assert ("Remove<" in form, ">trial <" in form, "canary" in form) == (True, True, False)
    added = ann.post("/records/1/tag", tag="pilot", back="/screen?record=1")
    assert (added.url.path, ">pilot <" in added.text) == ("/screen", True)
    for elsewhere in ("//evil.example", "/\\evil.example", "https://evil.example", ""):
        assert ann.post("/records/1/tag", tag="pilot", back=elsewhere).url.path == "/records/1"
    ann.post("/undo")
    assert "pilot" in ann.get("/records/1")


def test_tags_of_others_are_hidden_until_the_person_has_judged_the_record(review: Workspace, ann: Browser) -> None:
    """One tag is on a record that Ann can judge, the other on a record on which two people have already agreed."""
    for number, tag in ((1, "canary"), (2, "known")):
        review.acts.tag(Stamp(1), number, tag)
    for coder in (1, add_person(review, "Bob", "coder")):
        review.acts.decide(Stamp(coder), 2, 0)

    def seen(person: Browser) -> list[bool]:
        # The tag may be proposed, but not with the record.
        record = person.get("/records/1").partition("<datalist")[0]
        table = person.get("/records").partition('<details class="card"><summary>Tag')[0]
        found = "/records/1" in person.get("/records?tag=canary")
        return ["canary" in page for page in (record, table, person.get("/activity"))] + [found]

    owen, lea = Browser(review, 1), Browser(review, add_person(review, "Lea", "adjudicator"))
    assert [seen(person) for person in (owen, ann, lea)] == [[True] * 4, [False] * 4, [False] * 4]
    assert ("known" in ann.get("/records"), "/records/2" in ann.get("/records?tag=known")) == (True, True)
    assert "the tag known" in ann.get("/activity")
    ann.post("/records/tag", all="1", tag="canary", new_tag="mine")
    assert "mine" not in ann.get("/records/1").partition("<datalist")[0]
    review.acts.decide(Stamp(2), 1, 0)
    review.acts.change_plan(Stamp(1), "unblinded", True)
    assert [seen(person) for person in (owen, ann, lea)] == [[True] * 4] * 3


def test_one_decision_is_listed_in_the_singular(review: Workspace, ann: Browser) -> None:
    review.acts.decide(Stamp(2), 1, 1)
    assert "Your last decision Record" in texts(ann.get("/decisions"))
    review.acts.decide(Stamp(2), 2, 1)
    assert "Your last 2 decisions, the latest first" in texts(ann.get("/decisions"))


def test_several_records_are_tagged_and_undone_together(
    review: Workspace, ann: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tagged() -> list[str]:
        return re.findall(r'<a href="/records/(\d+)"', ann.get("/records?tag=pilot"))

    page = ann.post("/records/tag", record=["1", "3"], new_tag=" pilot ", back="/records?tag=pilot")
    assert (page.url.query, tagged()) == (b"tag=pilot", ["1", "3"])
    ann.post("/undo")
    assert tagged() == []
    ann.post("/redo")
    assert tagged() == ["1", "3"]
    ann.post("/records/tag", all="1", words="orchard", new_tag="pilot")
    assert tagged() == re.findall(r'<a href="/records/(\d+)"', ann.get("/records?words=orchard"))
    ann.post("/undo")
    assert tagged() == ["1", "3"]
    # Nor does a hidden filter restrict which records are tagged.
    review.acts.decide(Stamp(1), 1, 1)
    ann.post("/records/tag", all="1", screen="waiting", new_tag="all")
    assert " 5 records " in texts(ann.get("/records?tag=all"))
    assert ann.post("/records/tag", new_tag="pilot").status_code == 422
    assert ann.post("/records/tag", record=["1", "99"], new_tag="lost").status_code == 404
    assert "lost" not in ann.get("/records")
    monkeypatch.setattr("mechtag.review.pages.records._MOST_TAGGED", 2)
    refused = ann.post("/records/tag", all="1", new_tag="pilot")
    assert (refused.status_code, "narrow the search" in refused.text) == (422, True)


def test_formulas_in_the_downloaded_log_are_text(review: Workspace, ann: Browser) -> None:
    ann.post("/records/1/tag", tag="=1+1")
    review.acts.comment(Stamp(1), 1, "@SUM(A1)")
    lines = Browser(review, 1).get("/activity.csv").splitlines()
    assert not any(cell.startswith(("=", "@", "+")) for line in lines for cell in line.split(","))


def test_undoing_and_redoing_a_new_abstract_asks_for_new_suggestions(review: Workspace, ann: Browser) -> None:
    def asked() -> int:
        with review.store.write() as connection:
            waiting = connection.execute(select(schema.job).where(schema.job.c.state == "waiting")).all()
            connection.execute(update(schema.job).values(state="done"))
        return [row.kind for row in waiting].count("tag")

    ann.post("/records/5/edit", field="abstract", text="Apples.")
    assert asked() == 1
    for act in ("/undo", "/redo"):
        answer = ann.post(act)
        assert (answer.url.path, asked()) == ("/records/5", 1)


def test_what_the_worker_and_the_server_did_is_described_in_words(review: Workspace) -> None:
    ids = {"model_id": "new-1", "former_id": "old-1"}
    for kind, content in (
        ("train", {"papers": 40, "outcome": "kept", **ids}),
        ("promote", ids),
        ("import", {"batch": 1, "unique": 1200}),
        ("import", {"batch": 1, "undone": True}),
        ("sample_drawn", {"records": 55, "read": 105, "seed": 0}),
    ):
        review.acts.log(Stamp(1), kind, content)
    page = texts(Browser(review, 1).get("/activity"))
    for sentence in (
        "trained a model on 40 papers; the old model stays, because the new one may be worse",
        "put the new model new-1 into use, in place of old-1",
        "added 1,200 records",
        "undid an import",
        "drew a random sample of 55 unread records, after 105 had been read",
    ):
        assert f"Owen {sentence}" in page


def test_pages_do_not_describe_the_acts_of_others_as_undone(review: Workspace, ann: Browser) -> None:
    review.acts.decide(Stamp(1), 1, 1)
    review.acts.decide(Stamp(2), 2, 0)
    with review.store.read() as connection:
        events = connection.execute(
            select(schema.event.c.coder, schema.event.c.seq).where(schema.event.c.kind == "code")
        )
        numbers = {coder: seq for coder, seq in events}
    assert "Undone" not in texts(ann.get(f"/records/2?act={numbers[2]}"))
    Browser(review, 1).post("/undo")
    ann.post("/undo")
    assert "Undone: excluded" in texts(ann.get(f"/records/2?act={numbers[2]}"))
    for number in (numbers[1], 0, 9999, "x"):
        assert "Undone" not in texts(ann.get(f"/records/2?act={number}"))


def test_undone_acts_are_marked_in_the_activity(review: Workspace, ann: Browser) -> None:
    review.acts.decide(Stamp(1), 1, 1)
    ann.post("/screen/decide", record=1, answer="include")
    ann.post("/undo")
    page = texts(Browser(review, 1).get("/activity"))
    assert "Ann included; " not in page
    assert "Ann included ( record 1 ) (undone)" in page
    assert "Ann undid the last action" in page
