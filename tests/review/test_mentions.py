"""Test mentions: a comment or note with @name is on that person's project page once it cannot unblind the person."""

from __future__ import annotations

import re

import pytest

from mechtag.review.acts import Refused, Stamp
from mechtag.review.mentions import names
from mechtag.review.store.events import alive_comments
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, texts

OWEN = 1


@pytest.mark.parametrize(
    ("text", "named"),
    [("@Ann, look", True), ("look, @ann", True), ("@Anna", False), ("Ann", False), ("@ Ann", False), ("@Ann B.", True)],
)
def test_a_name_after_an_at_sign(text: str, named: bool) -> None:
    assert names(text, "Ann") == named
    assert not names(text, "A.n")


def test_comments_and_notes_reach_the_person_until_they_are_done(review: Workspace, ann: int, bob: int) -> None:
    review.acts.decide(Stamp(ann), 1, 1)
    review.acts.decide(Stamp(bob), 1, 0)
    review.acts.comment(Stamp(OWEN), 1, "@Ann Is this <b>fruit</b>?")
    review.acts.note(Stamp(bob), 1, "@ann I am not sure", "adjudicator")
    review.acts.note(Stamp(bob), 1, "@ann to myself", "me")
    review.acts.comment(Stamp(ann), 1, "@Ann my own")
    browser = Browser(review, ann)
    page = browser.get("/")
    assert "&lt;b&gt;fruit" in page
    shown = texts(page)
    assert ("I am not sure" in shown, "to myself" in shown, "my own" in shown) == (True, False, False)
    assert "Mentions of you" not in Browser(review, bob).get("/")
    numbers = re.findall(r'name="mention" value="(\d+)"', page)
    assert len(numbers) == 2
    after = texts(browser.post("/mentions", mention=numbers[1]).text)
    assert ("Is this" in after, "I am not sure" in after) == (False, True)
    # Taking an entry off the list cannot be undone, so undo takes back the comment made before.
    browser.post("/undo")
    assert "Is this" not in texts(browser.get("/"))
    with review.store.read() as connection:
        assert [row.value["text"] for row in alive_comments(connection, 1)] == ["@Ann Is this <b>fruit</b>?"]
    review.acts.note(Stamp(bob), 1, "@Ann still not sure", "adjudicator")
    again = texts(browser.get("/"))
    assert ("I am not sure" in again, "still not sure" in again) == (False, True)
    review.acts.undo(Stamp(OWEN))
    with pytest.raises(Refused, match="this comment or note does not exist"):
        review.acts.read_mention(Stamp(ann), 1)


def test_a_mention_waits_until_its_reader_has_judged_the_record(review: Workspace, ann: int, bob: int) -> None:
    review.acts.note(Stamp(bob), 1, "@Ann clearly out, see the methods", "team")
    browser = Browser(review, ann)
    assert "clearly out" not in browser.get("/")
    review.acts.decide(Stamp(ann), 1, 1)
    assert "clearly out" in browser.get("/")
