"""Test the page of the codebook: earlier versions are kept, and codes with a changed meaning are found."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import select

from mechtag.core.codebook import load_codebook
from mechtag.project import open_project
from mechtag.review.acts import Refused, Stamp
from mechtag.review.codebooks import compare, parse
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, make_review, texts


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    return make_review(tmp_path, coders_code=1)


def form(page: str) -> dict[str, str]:
    """Return the numbered fields of the form on a page, except those that retire a label."""
    fields = {name: unescape(value) for name, value in re.findall(r'<input[^>]* name="([\w-]+)" value="([^"]*)"', page)}
    areas = re.findall(r'<textarea[^>]* name="([\w-]+)"[^>]*>([^<]*)</textarea>', page)
    fields |= {name: unescape(value) for name, value in areas}
    return {
        name: value for name, value in fields.items() if re.search(r"-\d+$", name) and not name.startswith("retire")
    }


def test_a_new_wording_leaves_codes_valid_and_a_new_meaning_does_not(review: Workspace) -> None:
    ann = add_person(review, "Ann", "coder")
    for label in ("apple", "pear"):
        review.acts.code(Stamp(ann), 1, label, 1)
    review.acts.commit(Stamp(ann), 1)
    owner = Browser(review, 1)
    fields = form(owner.get("/codebook/edit"))
    fields |= {
        "definition-1": "Apples of any kind.",
        "definition-2": "Pears & quinces <b>.",
        "include-1": "cider\n\n juice ",
    }
    check = owner.post("/codebook/edit", action="check", **fields).text
    assert "Did the meaning change?" in check
    assert "&lt;b&gt;" in check
    again = form(check)
    assert again["include-1"] == "cider\njuice"
    asked = owner.post("/codebook/edit", action="save", **again, **{"meaning-apple": "no"}).text
    assert "Did the meaning change?" in asked
    assert review.codebook.labels[0].definition == "The text speaks of apples."
    page = owner.post("/codebook/edit", action="save", **again, **{"meaning-apple": "no", "meaning-pear": "yes"}).text
    assert "Pear, Ann: 1 code, such as Paper 1" in texts(page)
    assert "Apple, Ann" not in texts(page)
    assert review.codebook.labels[0].include == ("cider", "juice")
    assert open_project(review.project.root).codebook == review.codebook
    (kept,) = (review.folder / "codebooks").glob("1-*.yaml")
    assert load_codebook(kept).labels[0].definition == "The text speaks of apples."
    owner.post("/codebook/again", label="pear", coder=ann)
    assert "Pear, Ann" not in texts(owner.get("/codebook"))
    assert "Look at it again" in texts(owner.get("/records/1"))
    review.acts.code(Stamp(ann), 1, "pear", 0)
    review.acts.commit(Stamp(ann), 1)
    assert "Pear, Ann" not in texts(owner.get("/codebook"))


def test_rules_on_absence_are_kept_and_shown_where_people_code(review: Workspace) -> None:
    owner = Browser(review, 1)
    review.acts.code(Stamp(1), 1, "apple", 1)
    before = review.codebook.sha256
    fields = form(owner.get("/codebook/edit")) | {"absence-1": "no apples <b>\n\nrotten apples"}
    again = form(owner.post("/codebook/edit", action="check", **fields).text)
    owner.post("/codebook/edit", action="save", **again, **{"meaning-apple": "no"})
    assert review.codebook.labels[0].absence == ("no apples <b>", "rotten apples")
    assert review.codebook.labels[1].absence == ()
    assert review.codebook.sha256 == before
    assert open_project(review.project.root).codebook == review.codebook
    assert "Absence no apples <b> rotten apples" in texts(owner.get("/codebook"))
    assert "Counts as evidence of absence no apples <b> rotten apples" in texts(owner.get("/code?record=1"))
    assert form(owner.get("/codebook/edit"))["absence-1"] == "no apples <b>\nrotten apples"


def test_labels_are_added_moved_and_retired(review: Workspace) -> None:
    owner = Browser(review, 1)
    page = owner.post("/codebook/edit", action="add", **form(owner.get("/codebook/edit"))).text
    fields = form(page) | {"key-3": "plum", "name-3": "Plum", "definition-3": "Plums."}
    moved = owner.post("/codebook/edit", action="up-3", **fields).text
    assert form(moved)["key-2"] == "plum"
    checked = owner.post("/codebook/edit", action="check", **form(moved), **{"retire-1": "1"}).text
    assert "New labels: Plum" in texts(checked)
    assert "Retired labels: Apple" in texts(checked)
    owner.post("/codebook/edit", action="save", **form(checked))
    assert review.codebook.keys == ("plum", "pear")
    page = owner.get("/codebook")
    assert "Plums." in page
    assert "Owen saved version 2 of the codebook" in texts(owner.get("/activity"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"key-1": "pear"}, "appears more than once"),
        ({"key-1": "No spaces"}, "is not a valid key"),
        ({"definition-2": "  "}, "the text is empty"),
        ({"key-0": "other"}, "the key of relevance must stay"),
    ],
)
def test_faults_are_shown_and_what_was_typed_stays(review: Workspace, change: dict[str, str], fault: str) -> None:
    owner = Browser(review, 1)
    fields = form(owner.get("/codebook/edit")) | {"name-2": "Typed"} | change
    answer = owner.post("/codebook/edit", action="check", **fields)
    assert (answer.status_code, fault in texts(answer.text), 'value="Typed"' in answer.text) == (422, True, True)
    assert review.codebook.keys == ("apple", "pear")


def test_saving_nothing_or_a_meaning_without_a_change_is_refused(review: Workspace) -> None:
    owner = Browser(review, 1)
    answer = owner.post("/codebook/edit", action="save", **form(owner.get("/codebook/edit")))
    assert (answer.status_code, "in the codebook has changed" in answer.text) == (422, True)
    with pytest.raises(Refused, match="the key of relevance must stay"):
        parse(review.codebook, {"relevance": {"key": "other", "definition": "x"}})
    assert not compare(review.codebook, review.codebook)


def test_an_outdated_form_does_not_retire_labels_that_somebody_else_has_added(review: Workspace) -> None:
    ann, ben = Browser(review, 1), Browser(review, add_person(review, "Ben", "owner"))

    def every(page: str) -> dict[str, str]:
        base = re.findall(r'name="based_on_codebook" value="(\w+)"', page)
        return form(page) | ({"based_on_codebook": base[0]} if base else {})

    def post(who: Browser, action: str, fields: dict[str, str], **more: str) -> str:
        return who.client.post("/codebook/edit", data={"csrf": who.csrf, "action": action, **fields, **more}).text

    opened = every(ann.get("/codebook/edit"))
    checked = every(post(ann, "check", opened | {"name-2": "Pears", "retire-1": "1"}))
    plum = {"key-3": "plum", "name-3": "Plum", "definition-3": "The text speaks of plums."}
    post(ben, "save", every(post(ben, "check", every(ben.get("/codebook/edit")) | plum)))
    assert review.codebook.keys == ("apple", "pear", "plum")
    for action, fields in (("save", checked), ("check", opened), ("add", opened)):
        answer = post(ann, action, fields)
        assert "The codebook was changed" in texts(answer)
        assert every(answer)["name-3"] == "Plum"
        assert review.codebook.keys == ("apple", "pear", "plum")
    final = every(post(ann, "check", every(post(ann, "check", opened | {"name-2": "Pears"}))))
    post(ann, "save", final, **{"meaning-pear": "no"})
    assert (review.codebook.keys, review.codebook.names["pear"]) == (("apple", "pear", "plum"), "Pears")


def test_codes_of_a_retired_label_never_count_for_a_label_with_another_meaning(review: Workspace) -> None:
    owner = Browser(review, 1)
    review.acts.decide(Stamp(1), 1, 1)
    for label in ("apple", "pear"):
        review.acts.code(Stamp(1), 1, label, 1)
    review.acts.commit(Stamp(1), 1)

    def edit(**fields: str) -> str:
        entered = form(owner.get("/codebook/edit")) | {name.replace("_", "-"): text for name, text in fields.items()}
        checked = owner.client.post("/codebook/edit", data={"csrf": owner.csrf, "action": "check", **entered}).text
        owner.post("/codebook/edit", action="save", **form(checked))
        return texts(checked)

    edit(retire_2="1")
    assert review.codebook.keys == ("apple",)
    refused = edit(key_2="pear", name_2="Pear", definition_2="The text speaks of pear trees.")
    assert "the key 'pear' belongs to a retired label" in refused
    assert "The text speaks of pears." in refused
    assert review.codebook.keys == ("apple",)
    again = edit(key_2="pear", name_2="Pear", definition_2="The text speaks of pears.")
    assert "Labels that were retired: Pear. Their earlier codes count again." in again
    assert "New labels" not in again
    assert review.codebook.keys == ("apple", "pear")
    with review.store.read() as connection:
        final = connection.execute(select(schema.final.c.label).where(schema.final.c.stage == "code")).scalars().all()
    assert sorted(final) == ["apple", "pear"]


def test_others_read_the_codebook_only(review: Workspace) -> None:
    coder = Browser(review, add_person(review, "Ann", "coder"))
    assert "The text speaks of apples." in coder.get("/codebook")
    assert "Change the codebook" not in coder.get("/codebook")
    assert coder.client.get("/codebook/edit").status_code == 403
    assert coder.post("/codebook/edit", action="save").status_code == 403
