"""Test reconciliation: people settle conflicts on a page that shows who said what only on request."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import select

from mechtag.review.acts import Refused, Stamp
from mechtag.review.codebooks import save
from mechtag.review.store import schema
from mechtag.review.store.conflicts import DOUBTED_CODES
from mechtag.review.workspace import Workspace, write_fact
from tests.support.review_site import Browser, add_person, make_review, texts
from tests.support.reviews import check_replay


@pytest.fixture
def lead(review: Workspace) -> Browser:
    return Browser(review, add_person(review, "Lea", "adjudicator"))


def final(review: Workspace, record: int) -> dict[tuple[str, str], tuple[int | None, str]]:
    """Return the value and origin of each final code of a record, by stage and label."""
    with review.store.read() as connection:
        rows = connection.execute(select(schema.final).where(schema.final.c.record == record))
        return {(row.stage, row.label): (row.value, row.how) for row in rows}


def test_a_screening_conflict_is_settled_blind_and_the_votes_stay(
    review: Workspace, ann: int, bob: int, lead: Browser
) -> None:
    review.acts.decide(Stamp(ann), 2, 1)
    review.acts.decide(Stamp(bob), 2, 0)
    assert "Screening conflicts (1)" in texts(lead.get("/reconcile"))
    page = texts(lead.get("/reconcile/screen/2"))
    assert "Ann" not in page.replace("Ash, Ann", "")
    assert "Bob" not in page
    shown = texts(lead.get("/reconcile/screen/2?votes=1"))
    assert "A Ann: include" in shown
    assert "B Bob: exclude" in shown
    answer = lead.post("/reconcile/screen/2/settle", label="edible", answer="yes")
    assert (answer.status_code, answer.url.path) == (200, "/reconcile/screening")
    assert final(review, 2) == {("screen", "edible"): (1, "adjudicated")}
    with review.store.read() as connection:
        votes = connection.execute(select(schema.current.c.coder, schema.current.c.value)).all()
        jobs = connection.execute(select(schema.job.c.kind)).scalars().all()
    assert sorted(map(tuple, votes)) == [(ann, 1), (bob, 0)]
    assert jobs == ["tag"]  # The record is included, so it needs suggestions.
    assert "Settled (1)" in texts(lead.get("/reconcile"))
    assert 'href="/reconcile/screen/2?list=settled"' in lead.get("/reconcile/settled")


def test_only_the_labels_in_conflict_are_settled_one_after_the_other(
    review: Workspace, ann: int, bob: int, lead: Browser
) -> None:
    for coder, apple, pear in ((ann, 1, 0), (bob, 0, 0)):
        review.acts.code(Stamp(coder), 1, "apple", apple)
        review.acts.code(Stamp(coder), 1, "pear", pear)
        review.acts.commit(Stamp(coder), 1)
    page = lead.get("/reconcile/code/1")
    assert 'name="label" value="apple"' in page
    assert 'name="label" value="pear"' not in page
    refused = lead.post("/reconcile/code/1/settle", label="apple", answer="yes")
    assert (refused.status_code, "enter a reason for the final code" in refused.text.casefold()) == (422, True)
    lead.post("/reconcile/code/1/settle", label="apple", answer="yes", why="Orchards are apples.", sentence=["0"])
    assert final(review, 1) == {("code", "apple"): (1, "adjudicated"), ("code", "pear"): (0, "agreed")}
    with review.store.read() as connection:
        marked = connection.execute(
            select(schema.final.c.sentences).where(schema.final.c.label == "apple")
        ).scalar_one()
    assert marked == "[0]"


def test_a_record_sent_back_is_open_to_its_coder_again(review: Workspace, ann: int, bob: int, lead: Browser) -> None:
    review.acts.decide(Stamp(ann), 1, 1)
    review.acts.decide(Stamp(bob), 1, 0)
    answer = lead.post("/reconcile/screen/1/reopen", coder=ann, message="Look at the population.")
    assert answer.status_code == 200
    assert "Screening conflicts (0)" in texts(lead.get("/reconcile"))
    assert "Paper 1" in Browser(review, ann).get("/screen")


def test_comments_are_kept_in_order_and_escaped(review: Workspace, ann: int, bob: int, lead: Browser) -> None:
    review.acts.decide(Stamp(ann), 1, 1)
    review.acts.decide(Stamp(bob), 1, 0)
    lead.post("/reconcile/screen/1/comment", text="First <script>alert(1)</script>")
    page = lead.post("/reconcile/screen/1/comment", text="Second").text
    assert "<script>alert" not in page
    assert page.index("First &lt;script&gt;") < page.index("Second")


def test_codes_that_the_model_contradicts_are_a_list_of_their_own(
    review: Workspace, ann: int, bob: int, lead: Browser
) -> None:
    for record in (1, 2, 3):
        for coder in (ann, bob):
            review.acts.decide(Stamp(coder), record, int(record < 3))
    for coder in (ann, bob):
        review.acts.code(Stamp(coder), 1, "apple", 1)
        review.acts.commit(Stamp(coder), 1, open_labels=True)
    assert "Model disagrees (0)" in texts(lead.get("/reconcile"))
    doubted = [("doi:10.1/3", "edible", 0), ("doi:10.1/1", "apple", 1), ("doi:10.1/2", "edible", 0)]
    with review.store.write() as connection:
        rows = [{"record_id": record, "label": label, "value": value} for record, label, value in doubted]
        write_fact(connection, DOUBTED_CODES, rows)
    # The code of record 2 has changed since the model disagreed, so the record is not listed.
    page = lead.get("/reconcile/model")
    assert "Model disagrees (2)" in texts(page)
    assert re.findall(r'href="(/reconcile/\w+/\d)\?list=model"', page) == ["/reconcile/screen/3", "/reconcile/code/1"]
    first = lead.get("/reconcile/screen/3?list=model")
    assert 'href="/reconcile/code/1?list=model" data-key="j"' in first
    assert "Exclude" in texts(first)
    following = lead.post("/reconcile/screen/3/settle?list=model", label="edible", answer="no")
    assert following.url.path == "/reconcile/code/1"
    assert 'name="label" value="apple"' in following.text
    assert 'name="label" value="pear"' not in following.text
    last = lead.post("/reconcile/code/1/settle?list=model", label="apple", answer="no", why="Only pears.")
    assert (last.url.path, "Model disagrees (0)" in texts(last.text)) == ("/reconcile/model", True)
    assert final(review, 1)["code", "apple"] == (0, "adjudicated")


def test_coders_do_not_reach_the_page(review: Workspace, ann: int) -> None:
    browser = Browser(review, ann)
    for address in ("/reconcile", "/reconcile/coding", "/reconcile/screen/1", "/reconcile/screen/1?votes=1"):
        assert browser.client.get(address).status_code == 403
    assert browser.post("/reconcile/screen/1/settle", label="edible", answer="yes").status_code == 403


def test_the_lists_can_be_filtered_by_label_and_coder(review: Workspace, ann: int, bob: int, lead: Browser) -> None:
    cay = add_person(review, "Cay", "coder")
    for record, second, label in ((1, bob, "apple"), (2, cay, "pear")):
        for coder, value in ((ann, 1), (second, 0)):
            for key in ("apple", "pear"):
                review.acts.code(Stamp(coder), record, key, value if key == label else 0)
            review.acts.commit(Stamp(coder), record)
    assert "Paper 1 " in texts(lead.get("/reconcile/coding"))
    assert "Paper 1 " not in texts(lead.get("/reconcile/coding?label=pear"))
    assert "Paper 2 " in texts(lead.get("/reconcile/coding?label=pear"))
    assert "Paper 2 " not in texts(lead.get(f"/reconcile/coding?coder={bob}"))


def test_a_label_left_open_by_one_coder_is_found_under_its_label(
    review: Workspace, ann: int, bob: int, lead: Browser
) -> None:
    for coder in (ann, bob):
        review.acts.code(Stamp(coder), 1, "apple", 1)
    review.acts.code(Stamp(ann), 1, "pear", 1)
    for coder in (ann, bob):
        review.acts.commit(Stamp(coder), 1, open_labels=True)
    assert "Paper 1 " in texts(lead.get("/reconcile/coding?label=pear"))
    assert "Paper 1 " not in texts(lead.get("/reconcile/coding?label=apple"))
    page = lead.get("/reconcile/code/1")
    assert 'name="label" value="pear"' in page
    assert 'name="label" value="apple"' not in page


def test_a_conflict_between_two_copies_of_a_paper_names_both_coders(
    review: Workspace, ann: int, bob: int, lead: Browser
) -> None:
    review.acts.decide(Stamp(ann), 1, 1)
    review.acts.decide(Stamp(bob), 2, 0)
    review.acts.note(Stamp(bob), 2, "A note on the copy")
    for coder, record, sentence in ((ann, 1, 0), (bob, 2, 1)):
        review.acts.mark(Stamp(coder), record, "apple", [sentence])
        review.acts.code(Stamp(coder), record, "pear", sentence)
        review.acts.commit(Stamp(coder), record)
    review.acts.join(Stamp(ann), 2, 1)
    for person in (ann, bob):
        assert "Paper 1 " in texts(lead.get(f"/reconcile/screening?coder={person}"))
    for address in ("/reconcile/screen/1?votes=1", "/reconcile/screen/2?votes=1"):
        page = lead.get(address)
        for person in (ann, bob):
            assert f'<option value="{person}">' in page
        assert "A note on the copy" in texts(page)
        assert 'name="label" value="edible"' in page
    # Coding is reconciled once screening has included the paper.
    assert "Coding conflicts (0)" in texts(lead.get("/reconcile"))
    lead.post("/reconcile/screen/1/settle", label="edible", answer="yes")
    # Bob marked a sentence of the duplicate, so it is not marked in the paper.
    page = lead.get("/reconcile/code/1?votes=1")
    assert re.findall(r'<li id="s(\d)">[^<]*<span class="letter">(\w)</span>', page) == [("0", "A")]
    assert "B Bob: yes" in texts(page)
    lead.post("/reconcile/screen/2/settle", label="edible", answer="yes")
    assert "Include" not in texts(lead.get("/reconcile/screen/2"))
    assert "settled by an adjudicator" in texts(lead.get("/reconcile/screen/2"))


@pytest.mark.slow
def test_a_long_list_has_pages_and_an_order_to_go_through(tmp_path: Path) -> None:
    review = make_review(tmp_path / "long", 120)
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    cay = add_person(review, "Cay", "coder")
    for record in range(1, 121):
        review.acts.decide(Stamp(ann), record, 1)
        review.acts.decide(Stamp(cay if record == 7 else bob), record, 0)
    lead = Browser(review, 1)
    page = lead.get("/reconcile/screening")
    assert "1 to 50 of 120 are shown" in texts(page)
    last = lead.get("/reconcile/screening?list=screening&start=100")
    assert "101 to 120 of 120 are shown" in texts(last)
    assert "Paper 101 " in texts(last)
    filtered = texts(lead.get(f"/reconcile/screening?coder={bob}&start=100"))
    assert "101 to 119 of 119 are shown" in filtered
    query = f"list=screening&coder={bob}"
    middle = lead.get(f"/reconcile/screen/60?{query}").replace("&amp;", "&")
    assert f'href="/reconcile/screen/59?{query}"' in middle
    assert f'href="/reconcile/screen/61?{query}"' in middle
    # Record 7 is not among Bob's, so it is passed over.
    answer = lead.post(f"/reconcile/screen/6/settle?{query}", label="edible", answer="yes")
    assert str(answer.url).endswith(f"/reconcile/screen/8?{query}")
    # After the last one comes the first.
    answer = lead.post(f"/reconcile/screen/120/settle?{query}", label="edible", answer="yes")
    assert str(answer.url).endswith(f"/reconcile/screen/1?{query}")


def test_a_label_that_was_retired_needs_no_settling(review: Workspace, ann: int, bob: int, lead: Browser) -> None:
    for coder, apple, refer in ((ann, 1, False), (bob, None, True)):
        review.acts.code(Stamp(coder), 1, "apple", apple, refer=refer)
        review.acts.code(Stamp(coder), 1, "pear", 0)
        review.acts.commit(Stamp(coder), 1)
    assert "Referred at coding (1)" in texts(lead.get("/reconcile"))
    book = review.codebook
    apple, pear = book.labels
    save(review, Stamp(1), book.model_copy(update={"labels": (pear,)}), [])
    assert "Referred at coding (0)" in texts(lead.get("/reconcile"))
    assert final(review, 1) == {("code", "pear"): (0, "agreed")}
    save(review, Stamp(1), book.model_copy(update={"labels": (pear, apple)}), [])
    assert "Referred at coding (1)" in texts(lead.get("/reconcile"))
    check_replay(review.store)


def test_a_record_excluded_after_coding_began_is_neither_coded_nor_reconciled(
    review: Workspace, ann: int, bob: int, lead: Browser
) -> None:
    for coder in (ann, bob):
        review.acts.decide(Stamp(coder), 1, 1)
    for label in ("apple", "pear"):
        review.acts.code(Stamp(ann), 1, label, 1)
    review.acts.commit(Stamp(ann), 1)
    other = Browser(review, bob)
    assert "1 record to code" in texts(other.get("/"))
    for coder in (ann, bob):
        review.acts.decide(Stamp(coder), 1, 0)
    assert "0 records to code" in texts(other.get("/"))
    assert "Nothing left to code for you now" in texts(other.get("/code"))
    with pytest.raises(Refused, match="this record is not included, so there is nothing to settle"):
        review.acts.settle(Stamp(1), 1, "code", "apple", 1, why="x")
    for coder in (ann, bob):
        review.acts.decide(Stamp(coder), 1, 1)
    assert "1 record to code" in texts(other.get("/"))
    assert "Paper 1" in texts(other.get("/code"))
    with pytest.raises(Refused, match="this record is not included or has no full text, so there is nothing to settle"):
        review.acts.settle(Stamp(1), 1, "full-text", "apple", 1, why="x")


def test_the_coder_reads_why_a_record_came_back(review: Workspace, ann: int, bob: int, lead: Browser) -> None:
    for coder, value in ((ann, 1), (bob, 0)):
        review.acts.decide(Stamp(coder), 1, value)
    lead.post("/reconcile/screen/1/reopen", coder=ann, message="Look at the <population>.")
    browser = Browser(review, ann)
    assert "Lea: Look at the <population>." in texts(browser.get("/"))
    assert "Lea sent this record back to you" in texts(browser.get("/screen?record=1"))
    assert "Look at the &lt;population&gt;." in browser.get("/screen?record=1")
    for other in (Browser(review, bob), lead):
        assert "Sent back to you" not in other.get("/")
        assert "sent this record back" not in other.get("/screen?record=1")
    review.acts.decide(Stamp(ann), 1, 0)
    assert "Sent back to you" not in browser.get("/")
    assert "sent this record back" not in browser.get("/screen?record=1")


def test_coded_records_come_back_with_the_last_message(review: Workspace, ann: int, bob: int, lead: Browser) -> None:
    for message in ("First", "Second"):
        for label in ("apple", "pear"):
            review.acts.code(Stamp(ann), 1, label, 1)
        review.acts.commit(Stamp(ann), 1)
        lead.post("/reconcile/code/1/reopen", coder=ann, message=message)
    browser = Browser(review, ann)
    page = texts(browser.get("/"))
    assert ("Lea: Second" in page, "First" in page) == (True, False)
    assert "Second" in browser.get("/code?record=1")
    review.acts.code(Stamp(bob), 1, "apple", 1)
    assert "Sent back to you" not in Browser(review, bob).get("/")


def test_a_record_that_was_sent_back_by_mistake_did_not_come_back(review: Workspace, ann: int, lead: Browser) -> None:
    for label in ("apple", "pear"):
        review.acts.code(Stamp(ann), 1, label, 1)
    review.acts.commit(Stamp(ann), 1)
    lead.post("/reconcile/code/1/reopen", coder=ann, message="Look again.")
    browser = Browser(review, ann)
    assert "Sent back to you" in browser.get("/")
    lead.post("/undo")
    review.acts.undo(Stamp(ann))  # her record is a draft again, but not because of the message
    assert "Sent back to you" not in browser.get("/")


def test_coders_are_offered_no_page_that_they_cannot_open(review: Workspace, ann: int, lead: Browser) -> None:
    for browser in (Browser(review, ann), lead, Browser(review, 1)):
        # These two pages are linked although blinded coders cannot open them: they explain why.
        links = set(re.findall(r'<a href="(/[a-z]+)"', browser.get("/"))) - {"/accuracy", "/matrix"}
        assert {address: browser.client.get(address).status_code for address in links} == dict.fromkeys(links, 200)
    assert 'href="/reconcile"' not in Browser(review, ann).get("/")


def test_agreed_codes_with_different_evidence_or_reasons_are_listed(
    review: Workspace, ann: int, bob: int, lead: Browser
) -> None:
    review.acts.change_plan(Stamp(1), "exclusion_reasons", ["Topic", "Year"])
    for record, sentences in ((1, ([0], [1])), (2, ([0], [0, 1])), (3, ([0], []))):
        for coder, marked in zip((ann, bob), sentences, strict=True):
            review.acts.code(Stamp(coder), record, "apple", 1)
            review.acts.mark(Stamp(coder), record, "apple", marked)
            review.acts.code(Stamp(coder), record, "pear", 0)
            review.acts.commit(Stamp(coder), record)
    for coder, reason in ((ann, "Topic"), (bob, "Year")):
        review.acts.decide(Stamp(coder), 4, 0, reason=reason)
    page = texts(lead.get("/reconcile/evidence"))
    assert "Differ in reasons (1)" in page
    assert "Differ in evidence (1)" in page
    assert ("Paper 1 " in page, "Paper 2 " in page, "Paper 3 " in page) == (True, False, False)
    assert "Paper 1 " in texts(lead.get(f"/reconcile/evidence?label=apple&coder={bob}"))
    assert "Paper 1 " not in texts(lead.get("/reconcile/evidence?label=pear"))
    assert 'name="label" value="apple"' in lead.get("/reconcile/code/1?list=evidence")
    assert 'name="label" value="apple"' not in lead.get("/reconcile/code/1")
    lead.post("/reconcile/code/1/settle?list=evidence", label="apple", answer="yes", why="Better.", sentence=["1"])
    lead.post("/reconcile/screen/4/settle?list=reasons", label="edible", answer="no", reason="Year")
    page = texts(lead.get("/reconcile/reasons"))
    assert ("Differ in reasons (0)" in page, "Differ in evidence (0)" in page) == (True, True)
    assert final(review, 1)["code", "apple"] == (1, "adjudicated")
    with review.store.read() as connection:
        table = schema.final
        reason = connection.execute(select(table.c.reason).where(table.c.record == 4)).scalar_one()
    assert reason == "Year"


def test_reasons_of_withdrawn_people_do_not_differ(review: Workspace, ann: int, bob: int, lead: Browser) -> None:
    review.acts.change_plan(Stamp(1), "exclusion_reasons", ["Topic", "Year"])
    cay = add_person(review, "Cay", "coder")
    for coder, reason in ((cay, "Year"), (ann, "Topic"), (bob, "Topic")):
        review.acts.decide(Stamp(coder), 4, 0, reason=reason)
    assert "Differ in reasons (1)" in texts(lead.get("/reconcile"))
    review.acts.change_account(Stamp(1), cay, state="withdrawn")
    assert "Differ in reasons (0)" in texts(lead.get("/reconcile"))


def test_a_coder_writes_to_the_adjudicator_the_team_or_nobody(
    review: Workspace, ann: int, bob: int, lead: Browser
) -> None:
    browser = Browser(review, ann)
    for audience in ("adjudicator", "team", "me"):
        browser.post("/note", record=1, audience=audience, text=f"For {audience}.", back="/screen?record=1")
    page = browser.get("/screen?record=1")
    for audience in ("adjudicator", "team", "me"):
        assert f'name="audience" value="{audience}"' in page
        assert re.search(rf'<textarea id="note-{audience}"[^>]*>For {audience}\.</textarea>', page)
    for coder, value in ((ann, 1), (bob, 0)):
        review.acts.decide(Stamp(coder), 1, value)
    shown = texts(lead.get("/reconcile/screen/1"))
    assert ("For adjudicator." in shown, "For team." in shown, "For me." in shown) == (True, True, False)
    assert "For adjudicator." not in texts(Browser(review, bob).get("/screen?record=1"))


def test_with_the_votes_in_view_one_of_them_is_taken_with_its_sentences(
    review: Workspace, ann: int, bob: int, lead: Browser
) -> None:
    for coder, marked in ((ann, [0, 2]), (bob, [])):
        review.acts.code(Stamp(coder), 1, "apple", int(coder == ann))
        review.acts.mark(Stamp(coder), 1, "apple", marked)
        review.acts.code(Stamp(coder), 1, "pear", 0)
        review.acts.commit(Stamp(coder), 1)
    assert 'name="take"' not in lead.get("/reconcile/code/1")
    page = texts(lead.get("/reconcile/code/1?votes=1"))
    assert "Take A's code and sentences A Take B's code X" in page
    fields = {"label": "apple", "why": "Ann is right."}
    for wrong in ({"take": "A"}, {"take": "C", "votes": 1}):
        answer = lead.post("/reconcile/code/1/settle", **fields, **wrong)
        assert (answer.status_code, "this code cannot become final" in answer.text.casefold()) == (409, True)
    lead.post("/reconcile/code/1/settle", take="A", votes=1, **fields)
    assert final(review, 1)["code", "apple"] == (1, "adjudicated")
    with review.store.read() as connection:
        table = schema.final
        marked = connection.execute(select(table.c.sentences).where(table.c.label == "apple")).scalar_one()
    assert marked == "[0, 2]"
