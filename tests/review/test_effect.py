"""Test how *Accuracy* measures the effect of suggestions: it compares codes given with and without them in view."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert

from mechtag.review.acts import Stamp
from mechtag.review.codebooks import save
from mechtag.review.codings import independent_codings
from mechtag.review.jobs import accuracy, effect
from mechtag.review.jobs.effect import effects
from mechtag.review.jobs.worker import do_next
from mechtag.review.sight import is_audited
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.workspace import Workspace, write_fact
from tests.support.review_site import Browser, add_person, look, make_review, papers, texts

RECORDS = 28
LEAST = 10


def suggest(review: Workspace, decisions: dict[tuple[int, str], str]) -> None:
    """Store suggestions of a model, as the worker does."""
    with review.store.write() as connection:
        write_fact(connection, "model_id", "m")
        rows = [
            {"model_id": "m", "record": record, "label": label, "probability": 0.5, "decision": said, "sentences": "[]"}
            for (record, label), said in decisions.items()
        ]
        connection.execute(insert(schema.suggestion), rows)


@pytest.fixture(autouse=True)
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the number of codes that a comparison requires, to keep the tests fast."""
    monkeypatch.setattr(effect, "LEAST", LEAST)


def audited(review: Workspace) -> set[int]:
    with review.store.read() as connection:
        plan = read_plan(connection)
    return {record for record in range(1, RECORDS + 1) if is_audited(f"doi:10.1/{record}", plan, review.seed)}


@pytest.fixture(scope="module")
def assisted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Make a review in the mode ``assisted``, whose coder accepts each suggestion that she sees for apple."""
    review = make_review(
        tmp_path_factory.mktemp("effect"), papers(RECORDS), mode_code="assisted", audit_share=0.5, coders_code=1
    )
    said = {(record, "apple"): "yes" if record % 2 else "no" for record in range(1, RECORDS + 1)}
    suggest(review, said | {(record, "pear"): "refer" for record in range(1, RECORDS + 1)})
    ann = add_person(review, "Ann", "coder")
    hidden = audited(review)
    for record in range(1, RECORDS + 1):
        sight = look(review, ann, record).sight
        review.acts.code(Stamp(ann, sight=sight), record, "apple", 0 if record in hidden else record % 2)
        if record < 5:
            review.acts.code(Stamp(ann, sight=sight), record, "pear", 1)
        review.acts.commit(Stamp(ann, sight=sight), record, open_labels=True)
    return review


def test_suggestions_in_view_are_compared_to_the_audit_sample(assisted: Workspace) -> None:
    found = effects(assisted, [])
    hidden = audited(assisted)
    row = found["assisted"]["labels"]["apple"]
    assert (row["n_without"], row["n_with"]) == (len(hidden), RECORDS - len(hidden))
    even = sum(record % 2 == 0 for record in hidden) / len(hidden)
    odd = sum(record % 2 for record in range(1, RECORDS + 1) if record not in hidden) / (RECORDS - len(hidden))
    assert row["agreement_without"]["value"] == pytest.approx(even, abs=1e-6)
    assert row["agreement_with"]["value"] == 1
    assert row["yes_change"]["value"] == pytest.approx(odd, abs=1e-6)
    assert row["agreement_change"]["ci_low"] > 0
    # The model suggests neither yes nor no for pear, so coders cannot follow it.
    assert found["assisted"]["labels"]["pear"]["note"].startswith("too few: 0 codes")
    assert found["after"] is None


def test_codes_with_a_suggestion_in_view_are_in_no_main_figure(assisted: Workspace) -> None:
    hidden = audited(assisted)
    with assisted.store.read() as connection:
        rows = independent_codings(connection)
    assert {row.record_id for row in rows} == {f"doi:10.1/{record}" for record in hidden}


def test_the_page_shows_the_effect(assisted: Workspace) -> None:
    browser = Browser(assisted, 1)
    browser.post("/accuracy")
    do_next(assisted, {accuracy.KIND: accuracy.run})
    page = texts(browser.get("/accuracy"))
    assert "a random sample of the records is shown without suggestions" in page
    assert "too few: 0 codes without a suggestion and 0 with one; a comparison needs 10 of each" in page
    assert "1.00 (0." in page


def test_revisions_are_compared_to_the_codes_as_first_given(tmp_path: Path) -> None:
    review = make_review(tmp_path, papers(12), mode_code="after", coders_code=1)
    suggest(review, {(record, "apple"): "yes" for record in range(1, 13)})
    ann = add_person(review, "Ann", "coder")
    for record in range(1, 13):
        sight = look(review, ann, record).sight
        review.acts.code(Stamp(ann, sight=sight), record, "apple", record % 2)
        review.acts.commit(Stamp(ann, sight=sight), record, open_labels=True)
        after = look(review, ann, record)
        if record in (2, 4, 6):
            review.acts.code(after, record, "apple", 1)
        elif record == 1:
            review.acts.code(after, record, "apple", None, refer=True)
    found = effects(review, [])
    row = found["after"]["labels"]["apple"]
    assert (row["n_without"], row["n_with"], found["after"]["changed"], found["after"]["towards"]) == (12, 12, 4, 3)
    assert row["agreement_without"]["value"] == 0.5
    assert row["agreement_with"]["value"] == pytest.approx((6 + 3 - 1) / 12, abs=1e-6)
    assert found["assisted"] is None
    # The model is compared with the first codes; leaving out the changed codes would flatter it.
    with review.store.read() as connection:
        values = {row.record_id: row.value for row in independent_codings(connection) if row.label == "apple"}
    assert values == {f"doi:10.1/{record}": record % 2 for record in range(2, 13)}


def test_revisions_of_a_retired_label_are_not_counted(tmp_path: Path) -> None:
    review = make_review(tmp_path, papers(12), mode_code="after", coders_code=1)
    suggest(review, {(record, label): "yes" for record in range(1, 13) for label in ("apple", "pear")})
    ann = add_person(review, "Ann", "coder")
    for record in range(1, 13):
        sight = look(review, ann, record).sight
        for label in ("apple", "pear"):
            review.acts.code(Stamp(ann, sight=sight), record, label, 0)
        review.acts.commit(Stamp(ann, sight=sight), record, open_labels=True)
        after = look(review, ann, record)
        review.acts.code(after, record, "pear", 1)
        if record < 4:
            review.acts.code(look(review, ann, record), record, "apple", 1)
    assert effects(review, [])["after"]["changed"] == 15
    book = review.codebook
    save(
        review, Stamp(1), book.model_copy(update={"labels": tuple(one for one in book.labels if one.key != "pear")}), []
    )
    found = effects(review, [])["after"]
    assert (found["all"]["n_with"], found["changed"], found["towards"]) == (12, 3, 3)
