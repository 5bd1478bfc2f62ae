"""Test the page on which the plan of the review is changed, and the history of these changes."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import select

from mechtag.review.acts import Stamp
from mechtag.review.pages.settings import GROUPS
from mechtag.review.plan import Plan
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, make_review, texts

STOPPING = {"group": "When screening may stop", "rule": "sample", "recall": "0.95", "confidence": "0.95"}


def plan(review: Workspace) -> Plan:
    with review.store.read() as connection:
        return read_plan(connection)


def test_every_setting_of_the_plan_is_on_the_page(review: Workspace) -> None:
    assert {setting.key for _, group in GROUPS for setting in group} == set(Plan.model_fields)
    page = Browser(review, 1).get("/settings")
    assert all(f'name="{key}"' in page for key in Plan.model_fields)


def test_each_change_is_an_event_and_the_rest_stays(review: Workspace) -> None:
    owner = Browser(review, 1)
    fields = {"reasons": "required", "exclusion_reasons": "Wrong  population\n\nNo leadership\nWrong population"}
    owner.post("/settings", group="Screening", rerank_after="20", words_for="manag*", words_against="", **fields)
    assert plan(review) == Plan(
        reasons="required",
        exclusion_reasons=("Wrong population", "No leadership"),
        words_for=("manag*",),
        rerank_after=20,
    )
    with review.store.read() as connection:
        changes = connection.execute(select(schema.event.c.value).where(schema.event.c.kind == "setting")).all()
    assert len(changes) == 4
    assert "set reasons to required" in texts(owner.get("/activity"))
    assert "Wrong population" in texts(owner.get("/screen"))


def test_a_value_that_is_not_allowed_changes_nothing(review: Workspace) -> None:
    owner = Browser(review, 1)
    for wrong in ({"recall": "1.5"}, {"recall": "much"}, {"rule": "never"}, {"confidence": "nan"}):
        assert owner.post("/settings", **{**STOPPING, "rule": "ranked", **wrong}).status_code == 422
    answer = owner.post("/settings", **{**STOPPING, "rule": "ranked", "recall": "1.5"})
    assert "Recall: this value is not allowed (Input should be less than 1); enter a different value." in answer.text
    assert owner.post("/settings", group="Nothing").status_code == 404
    assert plan(review) == Plan()


def test_a_page_loaded_before_another_change_does_not_reverse_this_change(review: Workspace) -> None:
    owner = Browser(review, 1)
    card = owner.get("/settings").partition('value="Screening"')[2].partition("</form>")[0]
    shown = dict(re.findall(r'<textarea name="(shown-\w+)" hidden>([^<]*)</textarea>', card))
    fields = {name.removeprefix("shown-"): value for name, value in shown.items()}
    assert fields["words_for"] == ""
    review.acts.change_plan(Stamp(1), "words_for", ["manag*"])
    review.acts.change_plan(Stamp(1), "reasons", "required")
    owner.post("/settings", group="Screening", **shown, **fields | {"rerank_after": "20", "reasons": "optional"})
    changed = plan(review)
    assert (changed.words_for, changed.rerank_after) == (("manag*",), 20)
    # A setting that the person changed on the page gets the person's value.
    assert (fields["reasons"], changed.reasons) == ("none", "optional")


def test_the_target_is_changed_midway_only_with_a_reason(review: Workspace) -> None:
    owner = Browser(review, 1)
    owner.post("/settings", **{**STOPPING, "recall": "0.9"})
    assert plan(review).recall == 0.9
    review.acts.decide(Stamp(1), 1, 1)
    refused = owner.post("/settings", **{**STOPPING, "recall": "0.8"})
    assert (refused.status_code, "the recall is no longer guaranteed" in texts(refused.text)) == (422, True)
    owner.post("/settings", **{**STOPPING, "recall": "0.8"}, why="No time left")
    assert plan(review).recall == 0.8
    assert "(No time left)" in texts(owner.get("/activity"))


def test_others_than_the_owner_read_only(review: Workspace) -> None:
    coder = Browser(review, add_person(review, "Ann", "coder"))
    assert "Only an owner" in coder.get("/settings")
    assert '<button class="main">Save' not in coder.get("/settings")
    assert coder.post("/settings", **STOPPING).status_code == 403


def test_two_coders_wanted_reopens_what_one_had_settled(tmp_path: Path) -> None:
    review = make_review(tmp_path, coders_screen=1)
    review.acts.decide(Stamp(1), 1, 1)
    owner = Browser(review, 1)
    owner.post("/settings", group="People", coders_screen="2", coders_code="2", unblinded="false")
    with review.store.read() as connection:
        table = schema.need
        found = connection.execute(
            select(table.c.state, table.c.have).where(table.c.record == 1, table.c.stage == "screen")
        ).one()
    assert tuple(found) == ("waiting", 1)


def test_suggestions_are_computed_for_records_that_a_change_of_plan_includes(review: Workspace) -> None:
    review.acts.decide(Stamp(add_person(review, "Ann", "coder")), 2, 1)
    Browser(review, 1).post("/settings", group="People", coders_screen="1", coders_code="2")
    with review.store.read() as connection:
        assert connection.execute(select(schema.job.c.kind)).scalars().all() == ["tag"]


def test_each_person_chooses_whether_words_are_marked_and_the_choice_is_noted(review: Workspace) -> None:
    ann, bob = (Browser(review, add_person(review, name, "coder")) for name in ("Ann", "Bob"))
    assert "Stop highlighting words" not in ann.get("/screen?record=1")
    review.acts.change_plan(Stamp(1), "words_for", ["apple*"])
    assert '<mark class="for">Apples</mark>' in ann.get("/screen?record=1")
    page = ann.post("/words", back="/screen?record=1", words="off").text
    assert ("Highlight words" in page, ">Apples</mark>" in page) == (True, False)
    assert ">Apples</mark>" not in ann.get("/screen?record=2")
    assert ">Apples</mark>" in bob.get("/screen?record=2")
    with review.store.read() as connection:
        sight = schema.sight
        noted = connection.execute(select(sight.c.coder, sight.c.record, sight.c.highlights).order_by(sight.c.id)).all()
    assert list(map(tuple, noted)) == [(2, 1, 0), (2, 1, 1), (2, 1, 0), (2, 2, 0), (3, 2, 1)]
    assert ">Apples</mark>" in ann.post("/words", back="/screen?record=1", words="on").text
