"""Test that no page shows a coder what is hidden: words that occur nowhere else are looked for on every page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from mechtag.review import order
from mechtag.review.acts import Stamp, utc_now
from mechtag.review.jobs import exporting
from mechtag.review.jobs.worker import do_next
from mechtag.review.sight import hidden_places
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace, write_fact
from tests.support.review_pages import walk, without_ids, without_times
from tests.support.review_site import Browser, add_person, make_review
from tests.support.review_texts import attach_texts

OWEN, ANN, BEN = 1, 2, 3
# Values that occur nowhere else, so that a page that contains one of them shows codes of others.
SUGGESTED = "0.7391"
NOTE_FOR_BEN, NOTE_FOR_ADJUDICATOR = "canary-note-to-self", "canary-note-to-adjudicator"
REASON = "canary-reason"
WHY = "canary-why"
# Only examples of labels are in this element.
EXAMPLE = "<q>"


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Return a review in which Owen and Ben included record 1, Ben coded it, and Ben alone excluded record 2."""
    workspace = make_review(tmp_path, 4, exclusion_reasons=(REASON,), reasons="optional")
    assert (add_person(workspace, "Ann", "coder"), add_person(workspace, "Ben", "coder")) == (ANN, BEN)
    acts = workspace.acts
    for coder in (OWEN, BEN):
        acts.decide(Stamp(coder), 1, 1)
    acts.decide(Stamp(BEN), 2, 0, reason=REASON)
    acts.note(Stamp(BEN), 1, NOTE_FOR_BEN, "me")
    acts.note(Stamp(BEN), 1, NOTE_FOR_ADJUDICATOR, "adjudicator")
    acts.mark(Stamp(BEN), 1, "apple", [0])
    acts.code(Stamp(BEN), 1, "pear", 0)
    acts.commit(Stamp(BEN), 1)
    acts.exemplify(Stamp(BEN), 1, "apple", 0)
    with workspace.store.write() as connection:
        for record in (1, 2, 3):
            for label in ("edible", "apple", "pear"):
                values = {"model_id": "m1", "record": record, "label": label, "probability": float(SUGGESTED)}
                values |= {"decision": "yes", "sentences": json.dumps([2])}
                connection.execute(insert(schema.suggestion).values(values))
        write_fact(connection, "model_id", "m1")
        model = {"model_id": "m1", "from_definitions": False, "shipped": False, "papers": 40, "at": None}
        write_fact(connection, "model", model)
    return workspace


def found(pages: dict[str, str], *canaries: str) -> list[tuple[str, str]]:
    return [(address, canary) for address, page in pages.items() for canary in canaries if canary in page]


SHOWN_SUGGESTIONS = ("mechtag says", "mechtag points", "mechtag cannot", "0.74<", SUGGESTED, "Accept: yes")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["off", "blind", "after"])
def test_a_blinded_coder_sees_no_suggestion_on_any_page(review: Workspace, mode: str) -> None:
    for stage in ("screen", "code"):
        review.acts.change_plan(Stamp(OWEN), f"mode_{stage}", mode)
    pages = walk(Browser(review, ANN))
    assert found(pages, *SHOWN_SUGGESTIONS) == []


@pytest.mark.slow
def test_an_audited_record_shows_no_suggestion(review: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechtag.review.sight.is_audited", lambda *_: True)
    for stage in ("screen", "code"):
        review.acts.change_plan(Stamp(OWEN), f"mode_{stage}", "assisted")
    assert found(walk(Browser(review, ANN)), *SHOWN_SUGGESTIONS) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["off", "blind", "after", "assisted"])
def test_a_coder_sees_neither_codes_nor_notes_of_others_on_any_page(review: Workspace, mode: str) -> None:
    for stage in ("screen", "code"):
        review.acts.change_plan(Stamp(OWEN), f"mode_{stage}", mode)
    browser = Browser(review, ANN)
    pages = walk(browser)
    assert found(pages, NOTE_FOR_BEN, NOTE_FOR_ADJUDICATOR, EXAMPLE) == []
    code, screen = pages["/code?record=1"], pages["/screen?record=2"]
    assert "checked" not in code
    assert 'aria-pressed="true"' not in code
    assert "Ben" not in code
    assert "Ben" not in screen
    assert "You excluded" not in screen


@pytest.mark.slow
def test_what_others_did_to_a_record_makes_no_difference_to_any_page_of_it(review: Workspace) -> None:
    """The pages of record 1, which Ben has coded, stay the same when his codes are reversed."""

    browser = Browser(review, ANN)

    def pages() -> dict[str, str]:
        kept = {}
        for address, page in walk(browser).items():
            if "record=1" in address or address.startswith(("/records", "/record")):
                kept[address] = page
        return kept

    review.acts.change_plan(Stamp(OWEN), "mode_code", "blind")
    before = pages()
    with review.store.write() as connection:
        table = schema.current
        turned = update(table).where(table.c.coder == BEN, table.c.stage == "code")
        connection.execute(turned.values(value=1 - table.c.value, sentences="[1, 2]"))
        connection.execute(update(table).where(table.c.coder == BEN, table.c.record == 2).values(value=1, reason=None))
    after = pages()
    assert before.keys() == after.keys()
    different = [address for address in before if without_ids(before[address]) != without_ids(after[address])]
    assert different == []


@pytest.mark.slow
def test_no_page_of_a_coder_shows_whether_others_agreed(tmp_path: Path) -> None:
    """Ann excluded two records and coded one; her pages are the same whether Ben agreed or disagreed."""
    seen = []
    for agrees in (True, False):
        workspace = make_review(tmp_path / str(agrees), 5, mode_code="blind")
        ann, ben = add_person(workspace, "Ann", "coder"), add_person(workspace, "Ben", "coder")
        acts = workspace.acts
        for record, value in ((1, 1), (2, 0), (3, 0)):
            acts.decide(Stamp(ann), record, value)
            acts.decide(Stamp(ben), record, value if agrees or record == 1 else 1 - value)
        with workspace.store.write() as connection:
            learned_from = 3 if agrees else 1
            ranked = {"strategy": "relevance", "at": utc_now(), "learned_from": learned_from, "seed": 0}
            order.add_ranking(connection, "screen", range(1, 6), **ranked)
        assert f"learned from {learned_from} decision" in Browser(workspace, OWEN).get("/screen")
        attach_texts(workspace, [1])
        for stage in ("code", "full-text"):
            for coder, value in ((ann, 1), (ben, int(agrees))):
                acts.code(Stamp(coder), 1, "apple", value, stage=stage)
                acts.commit(Stamp(coder), 1, open_labels=True, stage=stage)
        browser = Browser(workspace, ann)
        for name in ("codings", "decisions"):
            browser.post("/export", name=name)
        while do_next(workspace, {exporting.KIND: exporting.run}):
            pass
        seen.append({address: without_times(without_ids(page)) for address, page in walk(browser).items()})
        (made,) = re.findall(r"/export/\d+", browser.get("/export"))
        seen[-1][made] = browser.client.get(made).text
    assert seen[0][made].count("Ann") > 4
    assert [address for address in seen[0] if seen[0][address] != seen[1][address]] == []


@pytest.mark.slow
def test_after_the_commit_the_suggestions_are_there(review: Workspace) -> None:
    """If a page showed a suggestion, the search through all pages would find it."""
    browser = Browser(review, ANN)
    review.acts.mark(Stamp(ANN), 1, "apple", [0])
    review.acts.commit(Stamp(ANN), 1, open_labels=True)
    assert found(walk(browser), *SHOWN_SUGGESTIONS)


@pytest.mark.slow
def test_a_lead_who_can_still_judge_a_record_does_not_see_what_others_said(review: Workspace) -> None:
    """Owen has screened record 1 but not record 2, and has coded neither."""
    review.acts.comment(Stamp(BEN), 2, "canary-comment")
    review.acts.change_plan(Stamp(OWEN), "roles", True)
    review.acts.role(Stamp(BEN), 1, "apple", 1, "reasoning")
    review.acts.link(Stamp(BEN), 1, "apple", 1, "reasoning", 1)
    review.acts.sign(Stamp(BEN), 1, "apple", 1, "absent")
    owner = Browser(review, OWEN)
    hidden = ("Ben excluded", f"excluded ({REASON})", "canary-comment", "Ben coded", "Ben marked", "Ben finished")
    hidden += ("Ben chose", EXAMPLE, "Ben gave", "Ben linked")
    pages = walk(owner)
    assert found(pages, *hidden) == []
    assert "Ben included" in pages["/activity"]
    for address in ("/reconcile/screen/2?votes=1", "/reconcile/code/1?votes=1"):
        page = owner.get(address)
        assert "the codes of others are not shown" in page
        assert found({address: page}, *hidden, "A Ben", ">Ben</option>") == []
    verbs = ("excluded", "coded", "marked", "finished", "chose", "gave", "linked")
    assert found({"": owner.get("/activity.csv")}, "canary-comment", *verbs) == []
    review.acts.decide(Stamp(OWEN), 2, 0)
    assert "Ben excluded (canary-reason)" in owner.get("/records/2")


@pytest.mark.parametrize("how", ["withdrawn", "conflict"])
def test_codes_stay_hidden_from_a_lead_while_the_screening_of_the_record_is_open_again(
    tmp_path: Path, how: str
) -> None:
    """Ben has coded a record, Ann's inclusion of it no longer counts, and Owen may have to code it later."""
    review = make_review(tmp_path, 4)
    ann, ben = add_person(review, "Ann", "coder"), add_person(review, "Ben", "coder")
    acts = review.acts
    for coder in (ann, ben):
        acts.decide(Stamp(coder), 1, 1)
    acts.code(Stamp(ben), 1, "apple", 1)
    acts.note(Stamp(ben), 1, "@Owen canary-note")
    acts.commit(Stamp(ben), 1, open_labels=True)
    owner, said = Browser(review, OWEN), ("Ben coded", "Ben finished", "canary-note")

    def shown() -> list[tuple[str, str]]:
        addresses = ("/", "/activity", "/activity.csv", "/records/1", "/reconcile/code/1?votes=1", "/codebook")
        return found({address: owner.get(address) for address in addresses}, *said)

    assert shown() == []
    if how == "withdrawn":
        acts.change_account(Stamp(OWEN), ann, state="withdrawn")
    else:
        acts.decide(Stamp(ann), 1, 0)
    assert shown() == []
    assert "you may have to code the record later" in owner.get("/reconcile/code/1?votes=1")
    with review.store.read() as connection:
        assert hidden_places(connection, OWEN) >= {(1, "code")}
    if how == "withdrawn":
        acts.decide(Stamp(OWEN), 1, 1)
    else:
        acts.settle(Stamp(OWEN), 1, "screen", "edible", 1, why="fruit")
    assert shown() == []
    acts.code(Stamp(OWEN), 1, "apple", 0)
    acts.commit(Stamp(OWEN), 1, open_labels=True)
    assert {canary for _, canary in shown()} == set(said)


def test_a_settled_record_is_unblinded_for_its_stage_only(review: Workspace) -> None:
    ann, owner = Browser(review, ANN), Browser(review, OWEN)
    early = owner.post("/reconcile/code/1/unblind")
    assert (early.status_code, "not settled yet" in early.text) == (409, True)
    assert "Unblind this record" in owner.get("/reconcile/screen/1")
    assert "Ben included" not in ann.get("/records/1")
    owner.post("/reconcile/screen/1/unblind")
    page = ann.get("/records/1")
    assert "Ben included" in page
    assert found({"": page}, "Ben coded", "Ben finished", NOTE_FOR_ADJUDICATOR) == []
    assert "Ben excluded" not in ann.get("/records/2")
    assert "everyone&#39;s codes of the record at screening" in ann.get("/activity")
    assert owner.post("/reconcile/screen/1/unblind").status_code == 409
    # Undo skips the unblinding and tries to undo Owen's act before it.
    assert "later work of Ben depends on it" in owner.post("/undo").text
    assert "Ben included" in ann.get("/records/1")
    # Ann's decision after unblinding is not independent.
    sight = re.findall(r'name="sight" value="(\d+)"', ann.get("/screen?record=1"))[0]
    review.acts.decide(Stamp(ANN, sight=int(sight)), 1, 1)
    with review.store.read() as connection:
        table = schema.current
        shown = connection.execute(
            select(table.c.others_shown).where(table.c.coder == ANN, table.c.stage == "screen")
        ).scalar_one()
    assert shown == 1
