"""Test the job that stores the model's suggestions in the database, with a model built from definitions alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from mechtag.review import order
from mechtag.review.acts import Stamp
from mechtag.review.jobs import tagging
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.tagging import Tagging, ask_if_included
from mechtag.review.store import schema
from mechtag.review.store.readings import abstract_of
from mechtag.review.store.records import read_entry
from mechtag.review.workspace import Workspace, add_job, read_fact
from tests.support.review_site import CODEBOOK, NOW, Browser, add_person, make_review, papers
from tests.support.toy import tiny_bert

OWEN = 1


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Make a review of six records with a tiny encoder: 1 is included, 2 is excluded, and the others are unread."""
    workspace = make_review(tmp_path, 6, coders_screen=1)
    texts = [text for record in papers(6) for text in (record.title, record.abstract)]
    definitions = [CODEBOOK["relevance"]["definition"], *(label["definition"] for label in CODEBOOK["labels"])]  # type: ignore[index]
    (tmp_path / "encoder").mkdir()
    words = " ".join([*texts, *definitions]).lower().replace(".", " .").split()
    params = workspace.project.root / "params.yaml"
    encoder = tiny_bert(tmp_path / "encoder", words, size=8)
    params.write_text(params.read_text().replace("name: fast", f"name: {encoder}"))
    workspace.acts.decide(Stamp(OWEN), 1, 1)
    workspace.acts.decide(Stamp(OWEN), 2, 0)
    return workspace.again()


def run(review: Workspace, job: Tagging | None = None) -> dict[str, object]:
    with review.store.write() as connection:
        number = add_job(connection, tagging.KIND, None)
    return (job or Tagging())(review, {}, Progress(review.store, number))


def tagged(review: Workspace) -> dict[int, set[str]]:
    table = schema.suggestion
    found: dict[int, set[str]] = {}
    with review.store.read() as connection:
        for row in connection.execute(select(table)):
            found.setdefault(row.record, set()).add(row.label)
    return found


def test_included_and_unread_records_get_suggestions_for_each_label(review: Workspace) -> None:
    result = run(review)
    assert result["records"] == 5
    assert tagged(review) == {record: {"edible", "apple", "pear"} for record in (1, 3, 4, 5, 6)}
    with review.store.read() as connection:
        assert read_fact(connection, "model_id") == result["model_id"]
        model = read_fact(connection, "model")
        assert model["from_definitions"] is True
        assert model["papers"] is None
        entry = read_entry(connection, 1)
        assert entry is not None
        rows = connection.execute(select(schema.suggestion)).all()
    pointed = [number for row in rows for number in json.loads(row.sentences)]
    assert pointed
    assert set(pointed) <= set(range(len(entry.sentences)))
    assert all(row.sentences == "[]" for row in rows if row.decision == "no")


def test_what_has_suggestions_is_not_tagged_again(review: Workspace) -> None:
    run(review)
    assert run(review)["records"] == 0
    with review.store.write() as connection:
        connection.execute(delete(schema.suggestion).where(schema.suggestion.c.record == 4))
    assert run(review)["records"] == 1
    assert 4 in tagged(review)


def test_the_job_gives_way_to_an_order_of_reading_and_goes_on_later(
    review: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tagging, "_ROWS", 3)  # one record at a time
    given = iter([False, False, True])
    monkeypatch.setattr(Progress, "must_give_way", lambda _: next(given))
    job = Tagging()
    result = run(review, job)
    assert result == {"records": 2, "model_id": result["model_id"], "continues": True}
    assert list(tagged(review)) == [1, 3]  # the included record first
    with review.store.read() as connection:
        assert read_fact(connection, "model_id") is None
        waiting = select(schema.job.c.id).where(schema.job.c.kind == "tag", schema.job.c.state == "waiting")
        assert connection.execute(waiting).all()
    monkeypatch.setattr(Progress, "must_give_way", lambda _: False)
    assert run(review, job)["records"] == 3


def test_an_order_that_waits_is_noticed(review: Workspace) -> None:
    progress = Progress(review.store, 0)
    assert not progress.must_give_way()
    with review.store.write() as connection:
        add_job(connection, "rank", None)
    assert progress.must_give_way()


def test_suggestions_of_an_earlier_model_are_used_until_the_new_ones_are_there(
    review: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(review)["model_id"]
    book = review.project.root / "codebook.yaml"
    book.write_text(book.read_text().replace("speaks of apples", "speaks of orchards"))
    monkeypatch.setattr(Progress, "must_give_way", lambda _: True)
    changed = review.again()
    assert run(changed)["model_id"] != first
    with review.store.read() as connection:
        assert read_fact(connection, "model_id") == first
    monkeypatch.setattr(Progress, "must_give_way", lambda _: False)
    second = run(changed)["model_id"]
    with review.store.read() as connection:
        assert read_fact(connection, "model_id") == second
        assert set(connection.execute(select(schema.suggestion.c.model_id)).scalars()) == {second}


def test_a_record_that_becomes_included_asks_for_suggestions(review: Workspace) -> None:
    def asked(record: int) -> bool:
        with review.store.write() as connection:
            connection.execute(delete(schema.job))
            ask_if_included(connection, record, OWEN)
            return connection.execute(select(schema.job.c.kind)).scalars().all() == ["tag"]

    assert asked(1)
    assert not asked(2)
    run(review)
    assert not asked(1)


def test_undoing_redoing_and_sending_back_ask_for_what_decisions_ask_for(tmp_path: Path) -> None:
    review = make_review(tmp_path, 4, coders_screen=1)
    with review.store.write() as connection:
        numbers = range(1, 5)
        order.add_ranking(connection, "screen", numbers, strategy="sample", at=NOW, learned_from=0, seed=0)
    browser = Browser(review, OWEN)

    def asked(address: str, **fields: object) -> set[str]:
        with review.store.write() as connection:
            connection.execute(delete(schema.job))
        assert browser.post(address, **fields).status_code == 200
        with review.store.read() as connection:
            return set(connection.execute(select(schema.job.c.kind)).scalars())

    assert asked("/screen/decide", record=1, answer="include") == {"rank", "tag"}
    assert asked("/undo") == {"rank"}
    assert asked("/redo") == {"rank", "tag"}
    assert asked("/reconcile/screen/1/reopen", coder=OWEN) == {"rank"}
    assert asked("/undo") == {"rank", "tag"}
    # An answer for a label changes neither the order nor what is included.
    assert asked("/code/answer", record=1, label="apple", answer="yes") == set()
    review.acts.change_plan(Stamp(OWEN), "coders_screen", 2)
    assert asked("/undo") == {"tag"}
    person = add_person(review, "Ann", "coder")
    assert asked("/team/change", account=person, role="coder", state="active") == set()
    assert asked("/team/change", account=person, role="coder", state="withdrawn") == {"rank"}


def test_an_abstract_that_was_corrected_is_split_and_tagged_again(review: Workspace) -> None:
    run(review)
    review.acts.edit_record(Stamp(OWEN), 1, "abstract", "Pears were grown. Pears were sold.")
    with review.store.read() as connection:
        entry = read_entry(connection, 1)
        assert entry is not None
        assert entry.sentences == ()
    assert run(review)["records"] == 1
    with review.store.read() as connection:
        entry = read_entry(connection, 1)
        assert entry is not None
        assert [abstract_of(entry).sentence(number) for number in (0, 1)] == ["Pears were grown.", "Pears were sold."]
