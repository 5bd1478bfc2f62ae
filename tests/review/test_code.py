"""Test the page on which records are coded: answers, sentences, suggestions by mode, and two open windows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from mechtag.review.acts import Stamp
from mechtag.review.render import reference_type
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace, write_fact
from tests.support.review_site import Browser, add_person, make_review, texts

OWEN = 1


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Return a review with two included records, to be coded by one person, and suggestions for the first record."""
    workspace = make_review(tmp_path, 3, coders_screen=1, coders_code=1)
    for record in (1, 2):
        workspace.acts.decide(Stamp(OWEN), record, 1)
    suggest(workspace, 1, apple=("yes", 0.71, "[0, 2]"), pear=("no", 0.1, "[]"))
    return workspace


def suggest(workspace: Workspace, record: int, **labels: tuple[str, float, str]) -> None:
    with workspace.store.write() as connection:
        for label, (decision, probability, sentences) in labels.items():
            values = {"model_id": "m1", "record": record, "label": label}
            values |= {"decision": decision, "probability": probability, "sentences": sentences}
            connection.execute(insert(schema.suggestion).values(values))
        write_fact(connection, "model_id", "m1")
        write_fact(
            connection,
            "model",
            {"model_id": "m1", "from_definitions": False, "shipped": False, "papers": 40, "at": None},
        )


def field(page: str, name: str) -> str:
    """Return the value of the first hidden field named ``name``."""
    return re.search(rf'name="{name}" value="([^"]*)"', page)[1]  # type: ignore[index]


def send(browser: Browser, page: str, address: str, **fields: object) -> Any:
    """Send a form of the page to ``address``, with the page's hidden fields; return the response."""
    known = {name: field(page, name) for name in ("record", "sight", "based_on")}
    return browser.post(address, **known, **fields)


def codes(workspace: Workspace, record: int = 1) -> dict[str, Any]:
    table = schema.current
    with workspace.store.read() as connection:
        rows = connection.execute(select(table).where(table.c.record == record, table.c.stage == "code")).all()
    return {row.label: row for row in rows}


def test_a_fresh_record_has_no_answer_and_no_suggestion(review: Workspace) -> None:
    page = Browser(review, OWEN).get("/code")
    assert texts(page).count("Paper 1") == 1
    assert "checked" not in page
    assert "mechtag says" not in page
    assert "Suggestions after you finish a record" in page
    assert [name for name in re.findall(r'<h2 id="name-(\w+)"', page)] == ["apple", "pear"]


def test_marking_a_sentence_sets_yes_and_marking_it_again_removes_the_mark(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/mark", label="apple", sentence=0).text
    assert (codes(review)["apple"].value, codes(review)["apple"].sentences) == (1, "[0]")
    assert 'id="yes-apple" checked' in page
    assert "Sentence 1, marked for Apple : " in texts(page).replace(":", " :")
    assert 'id="s-0" aria-pressed="true"' in page
    page = send(browser, page, "/code/mark", label="apple", sentence=0).text
    assert (codes(review)["apple"].value, codes(review)["apple"].sentences) == (1, "[]")
    assert 'id="s-0" aria-pressed="false"' in page


def test_a_sign_is_set_changed_and_removed_and_goes_with_the_mark(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = browser.get("/code")
    assert "says it is" not in page
    page = send(browser, page, "/code/sign", label="apple", sentence=1, sign="absent").text
    row = codes(review)["apple"]
    assert (row.value, row.sentences, row.signs) == (1, "[1]", '{"1": "absent"}')
    assert "Sentence 2, marked for Apple (absent) : " in texts(page).replace(":", " :")
    assert '<select name="sign" id="sign-apple-1"><option value=""></option><option>present</option>' in page
    assert "<option selected>absent</option>" in page
    page = send(browser, page, "/code/sign", label="apple", sentence=1, sign="unclear").text
    assert codes(review)["apple"].signs == '{"1": "unclear"}'
    page = send(browser, page, "/code/mark", label="apple", sentence=0).text
    assert codes(review)["apple"].signs == '{"1": "unclear"}'
    page = send(browser, page, "/code/sign", label="apple", sentence=1, sign="").text
    assert (codes(review)["apple"].sentences, codes(review)["apple"].signs) == ("[0, 1]", "{}")
    undone = browser.post("/undo").text
    assert codes(review)["apple"].signs == '{"1": "unclear"}'
    assert "Undone: removed the sign of sentence 2 for Apple" in texts(undone)
    assert "Redone: removed the sign of sentence 2 for Apple" in texts(browser.post("/redo").text)
    browser.post("/undo")
    page = send(browser, browser.get("/code?record=1"), "/code/mark", label="apple", sentence=1).text
    page = send(browser, page, "/code/mark", label="apple", sentence=1).text
    assert codes(review)["apple"].signs == "{}"
    history = browser.get("/records/1")
    assert "gave sentence 2 the sign &#39;absent&#39; for Apple" in history
    assert "removed the sign of sentence 2 for Apple" in history


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"sentence": 1, "sign": "good"}, "Choose both a sentence and a sign"),
        ({"sign": "absent"}, "Choose both a sentence and a sign"),
        ({"sentence": 1, "sign": ""}, "This sentence is not marked for the label"),
        ({"sentence": 7, "sign": "absent"}, "The abstract has only 3 sentences"),
    ],
)
def test_an_impossible_sign_is_refused(review: Workspace, form: dict[str, object], message: str) -> None:
    browser = Browser(review, OWEN)
    assert message in texts(send(browser, browser.get("/code"), "/code/sign", label="apple", **form).text)
    assert codes(review) == {}


def test_two_windows_show_the_signs(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    old = browser.get("/code")
    send(browser, old, "/code/sign", label="apple", sentence=0, sign="absent")
    response = send(browser, old, "/code/sign", label="apple", sentence=1, sign="present")
    assert response.status_code == 409
    assert "Apple yes; sentence 1 (absent)" in texts(response.text)
    assert "This window contains: Apple: sentence 2 present" in texts(response.text)


def test_a_mark_is_kept_when_another_label_is_answered(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/mark", label="apple", sentence=1).text
    page = send(browser, page, "/code/answer", label="pear", answer="refer").text
    assert codes(review)["apple"].sentences == "[1]"
    assert codes(review)["pear"].refer == 1
    assert not codes(review)["apple"].committed


def test_the_form_that_works_without_script_sets_answer_and_sentences_at_once(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = browser.get("/code")
    assert re.findall(r'<noscript>.*?name="sentence" value="0"', page, re.S)
    form = {"label": "apple", "answer": "yes", "sentences_too": "1", "sentence": ["0", "2"]}
    page = send(browser, page, "/code/answer", **form).text
    assert (codes(review)["apple"].value, codes(review)["apple"].sentences) == (1, "[0, 2]")
    page = send(browser, page, "/code/answer", **{**form, "answer": "no", "sentence": []}).text
    assert (codes(review)["apple"].value, codes(review)["apple"].sentences) == (0, "[]")


def test_rest_no_names_the_labels_before_it_sets_them(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/answer", label="apple", answer="yes").text
    assert "This answers no for Pear." in texts(page)
    send(browser, page, "/code/rest", rest=re.findall(r'name="rest" value="(\w+)"', page))
    assert (codes(review)["apple"].value, codes(review)["pear"].value) == (1, 0)
    assert codes(review)["pear"].complete == 1


def test_done_lists_open_labels_and_finishes_with_them_only_on_request(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/answer", label="apple", answer="yes").text
    page = send(browser, page, "/code/done").text
    assert "1 label is open Pear" in texts(page)
    assert not codes(review)["apple"].committed
    send(browser, page, "/code/done", open_labels="1")
    assert codes(review)["apple"].committed == 1
    assert "pear" not in codes(review)


def test_a_record_without_any_answer_is_not_finished(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/done").text
    assert "Answer at least one label" in page
    assert "open_labels" not in page
    response = send(browser, page, "/code/done", open_labels="1")
    assert response.status_code == 422
    assert "Paper 1" in browser.get("/code")


def test_after_the_commit_suggestions_are_shown_and_a_revision_is_assisted(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/answer", label="apple", answer="no").text
    page = send(browser, page, "/code/answer", label="pear", answer="no").text
    page = send(browser, page, "/code/done").text
    text = texts(page)
    assert (
        "You said no; mechtag says: yes, 0.71 (of 100 such records about 71 would be coded so), for sentence 1 , 3"
        in text
    )
    assert "You said no; mechtag says: no, 0.90 (of 100 such records about 90 would be coded so)" in text
    assert "Keep your no" in text
    assert "Change to yes" in text
    assert text.index("Apple") < text.index("Pear")
    page = send(browser, page, "/code/suggestion", label="apple", answer="accept", sentence=["0", "2"]).text
    apple = codes(review)["apple"]
    assert (apple.value, apple.sentences, apple.assisted) == (1, "[0, 2]", 1)
    assert (apple.first_value, apple.first_assisted) == (0, 0)
    assert "You have answered this suggestion" in page


def test_a_suggestion_names_the_sentences_that_say_that_something_is_lacking(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/answer", label="apple", answer="no").text
    assert "Evidence of absence" not in send(browser, page, "/code/done", open_labels="1").text
    with review.store.write() as connection:
        record = schema.record
        changed = func.replace(record.c.abstract, "The weather was", "No weather  was")
        connection.execute(update(record).where(record.c.id == 1).values(abstract=changed))
    text = texts(browser.get("/code?record=1"))
    assert "for sentence 1 , 3 . The wording suggests “absent” (something is lacking or weak): sentence 3 ." in text


def test_a_kept_answer_is_written_down_too(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/answer", label="apple", answer="no").text
    page = send(browser, page, "/code/done", open_labels="1").text
    page = send(browser, page, "/code/suggestion", label="apple", answer="reject").text
    assert codes(review)["apple"].value == 0
    assert "Keep your no" not in page
    assert "Accept: no" in page  # pear, which was not judged


def test_a_rejected_no_becomes_yes(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/answer", label="apple", answer="no").text
    page = send(browser, page, "/code/done", open_labels="1").text
    send(browser, page, "/code/suggestion", label="pear", answer="reject")
    assert codes(review)["pear"].value == 1


def test_undo_names_the_parts_of_an_action(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    send(browser, browser.get("/code"), "/code/mark", label="apple", sentence=0)
    assert "Undone: coded Apple: yes; marked sentence 1 for Apple" in texts(browser.post("/undo").text)
    send(browser, browser.get("/code?record=1"), "/code/rest", rest=["apple", "pear"])
    page = texts(browser.post("/undo").text)
    evidence = "marked no sentence for Apple, after reading all sentences"
    assert f"Undone: coded Apple: no; {evidence}; coded Pear: no; and 1 more" in page


def test_what_was_seen_stays_seen_after_undo(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/answer", label="apple", answer="no").text
    send(browser, page, "/code/done", open_labels="1")
    browser.post("/undo")
    page = browser.get("/code")
    assert "mechtag says" not in page
    send(browser, page, "/code/answer", label="apple", answer="yes")
    assert codes(review)["apple"].assisted == 1


@pytest.mark.parametrize("mode", ["off", "blind"])
def test_modes_without_suggestions_never_show_any(review: Workspace, mode: str) -> None:
    review.acts.change_plan(Stamp(OWEN), "mode_code", mode)
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/answer", label="apple", answer="no").text
    page = send(browser, page, "/code/done", open_labels="1").text
    assert "Paper 2" in page
    assert "mechtag says" not in browser.get("/code?record=1")


def test_in_the_assisted_mode_suggestions_are_shown_from_the_start(
    review: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mechtag.review.sight.is_audited", lambda record_id, *_: record_id == "doi:10.1/2")
    review.acts.change_plan(Stamp(OWEN), "mode_code", "assisted")
    suggest(review, 2, apple=("yes", 0.9, "[0]"))
    browser = Browser(review, OWEN)
    page = browser.get("/code")
    assert "mechtag says: yes, 0.71" in texts(page)
    assert "checked" not in page
    assert "suggested by mechtag for Apple" in page
    page = send(browser, page, "/code/suggestion", label="apple", answer="accept", sentence=["0", "2"]).text
    assert (codes(review)["apple"].value, codes(review)["apple"].assisted) == (1, 1)
    audited = browser.get("/code?record=2")
    assert "No suggestion for this record" in audited
    assert "mechtag says" not in audited
    send(browser, audited, "/code/answer", label="apple", answer="yes")
    assert codes(review, 2)["apple"].assisted == 0


def test_a_model_that_cannot_tell_has_no_accept(review: Workspace) -> None:
    suggest(review, 2, apple=("refer", 0.5, "[0]"))
    review.acts.change_plan(Stamp(OWEN), "mode_code", "assisted")
    browser = Browser(review, OWEN)
    page = browser.get("/code?record=2")
    assert "mechtag is not sure: 0.50 (of 100 such records about 50 would be coded yes)" in texts(page)
    assert "Accept" not in page
    assert send(browser, page, "/code/suggestion", label="apple", answer="accept").status_code == 422


def test_a_model_from_definitions_is_called_rough(review: Workspace) -> None:
    with review.store.write() as connection:
        write_fact(
            connection,
            "model",
            {"model_id": "m1", "from_definitions": True, "shipped": False, "papers": None, "at": None},
        )
    review.acts.change_plan(Stamp(OWEN), "mode_code", "assisted")
    text = texts(Browser(review, OWEN).get("/code?record=1"))
    assert "would be coded so; this is a rough estimate, because the model was made from the definitions alone)" in text


def test_two_windows_show_both_versions_and_the_person_chooses(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    old = browser.get("/code")
    send(browser, old, "/code/answer", label="apple", answer="no")
    response = send(browser, old, "/code/answer", label="apple", answer="yes")
    assert response.status_code == 409
    text = texts(response.text)
    assert "Saved now Code Answer Apple no Pear no answer" in text
    assert "This window contains: Apple: yes" in text
    assert codes(review)["apple"].value == 0
    form = {name: field(response.text, name) for name in ("record", "label", "answer", "based_on")}
    assert browser.post("/code/answer", **form).status_code == 200
    assert codes(review)["apple"].value == 1


def test_two_windows_name_the_answer_to_a_suggestion_in_words(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/answer", label="apple", answer="no").text
    old = send(browser, page, "/code/done", open_labels="1").text
    send(browser, old, "/code/answer", label="apple", answer="yes")
    for answer, words in (("refer", "needs review"), ("accept", "accept the suggestion")):
        response = send(browser, old, "/code/suggestion", label="apple", answer=answer)
        assert f"This window contains: Apple: {words} Save" in texts(response.text)


def test_two_windows_of_screening_do_too(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    old = browser.get("/screen?record=3")
    send(browser, old, "/screen/decide", answer="exclude")
    response = send(browser, old, "/screen/decide", answer="include")
    assert response.status_code == 409
    assert "Decision excluded" in texts(response.text)
    assert "This window contains: included" in texts(response.text)


def test_a_record_that_is_not_included_is_not_coded(review: Workspace) -> None:
    response = Browser(review, OWEN).client.get("/code?record=3")
    assert response.status_code == 409
    assert "has not been included" in response.text


def test_drafts_are_listed_and_others_do_not_see_them(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    send(browser, browser.get("/code"), "/code/answer", label="apple", answer="yes")
    assert 'href="/code?record=1"' in browser.get("/decisions")
    ann = Browser(review, add_person(review, "Ann", "coder"))
    assert "/code?record=1" not in ann.get("/decisions")


def test_showing_the_same_again_writes_no_second_row(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    assert field(browser.get("/code"), "sight") == field(browser.get("/code"), "sight")


def test_the_type_of_a_reference_is_shown_in_words() -> None:
    assert [reference_type(kind) for kind in ("JOUR", "chap", "Review")] == [
        "Journal article",
        "Book chapter",
        "Review",
    ]
