"""Test training on final codes: a new model replaces the model in use only where that is safe."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import write_records
from mechtag.core.records import Coding, Record
from mechtag.models.model_folder import read_config
from mechtag.review.acts import Acts, Stamp
from mechtag.review.codebooks import save
from mechtag.review.jobs import learning
from mechtag.review.jobs.worker import do_next, jobs
from mechtag.review.sight import show
from mechtag.review.store import schema
from mechtag.review.store.records import read_entry
from mechtag.review.workspace import Workspace, add_job
from mechtag.workflows.learn import judged_by, write_codes
from tests.support.gold import coded_record
from tests.support.review_site import NOW, Browser, look, make_review, texts
from tests.support.review_texts import attach_texts
from tests.support.toy import tiny_bert

FRUIT = ("apple", "pear")


def paper(number: int) -> Record:
    """Return a paper about apples, pears, both or stones, depending on its number."""
    kinds = [("apple",), ("pear",), ("apple", "pear"), ()][number % 4]
    words = [f"The {kind} tree grew well." for kind in kinds] or ["The stone lay there."]
    text = " ".join(["The village worked.", *words, f"The year was {number % 7}."])
    return Record(record_id=f"doi:10.1/{number:03}", title=f"Village {number}", abstract=text, year=2000 + number)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    words = (
        "the village worked apple pear stone tree grew well lay there year was text speaks of is about fruit".split()
    )
    return tiny_bert(folder, [*words, ".", *map(str, range(10))])


@pytest.fixture
def review(tmp_path: Path, encoder: Path) -> Workspace:
    records = [paper(number) for number in range(48)]
    made = make_review(tmp_path, records, coders_screen=1, coders_code=1)
    root = made.project.root
    params = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(params.replace("name: fast", f"name: {encoder}"), encoding="utf-8")
    write_records(root / "data/unique.parquet", records)
    return Workspace(made.again().project, made.store)


def code(review: Workspace, numbers: range, *, assisted: bool = False) -> None:
    """Screen and code papers correctly. With ``assisted``, the coder may have seen suggestions."""
    for number in numbers:
        abstract = paper(number).abstract
        carried = [fruit for fruit in FRUIT if fruit in abstract]
        stamps = []
        for stage in ("screen", "code"):
            with review.store.write() as connection:
                entry = read_entry(connection, number + 1)
                assert entry is not None
                sight = show(connection, entry, 1, stage, labels=FRUIT, at=NOW, model_id=None)
            stamps.append(Stamp(1, sight=None if assisted else sight.id))
        review.acts.decide(Stamp(1, sight=stamps[0].sight), number + 1, int(bool(carried)))
        for fruit in FRUIT if carried else ():
            review.acts.code(Stamp(1, sight=stamps[1].sight), number + 1, fruit, int(fruit in carried))
        if carried:
            review.acts.commit(Stamp(1, sight=stamps[1].sight), number + 1)


def learn(review: Workspace, owner: Browser) -> str:
    """Train a model from the page, and return the text of the page afterwards."""
    assert owner.post("/learn").status_code == 200
    known = jobs()
    while do_next(review, known):
        pass
    return texts(owner.get("/learn"))


def test_without_codes_there_is_nothing_to_learn(review: Workspace) -> None:
    owner = Browser(review, 1)
    page = owner.get("/learn")
    assert "There are no final codes yet" in page
    assert " disabled>Learn" in page
    assert "can be computed once the model has been trained" in page
    with review.store.write() as connection:
        add_job(connection, "learn", 1, coder=1)
    do_next(review, jobs())
    assert "no abstract has a final code (yes or no); screen" in texts(owner.get("/learn"))


def test_codes_that_the_model_cannot_learn_from_are_named(review: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, refusal = Browser(review, 1), "no abstract has a final code (yes or no)"
    by_full_text = Coding(
        record_id=paper(0).record_id, coder="final", label=FRUIT[0], value=1, basis="full-text", assisted=False
    )
    with monkeypatch.context() as patch:
        patch.setattr(learning, "final_codings", lambda *_, **__: [by_full_text])
        assert f"{refusal}; screen or code more records first" in learn(review, owner)
    review.acts.change_plan(Stamp(1), "learn_from_assisted", False)
    assert f"{refusal} that was given without a suggestion in view; screen or code more" in learn(review, owner)


@pytest.mark.slow
def test_the_first_codes_replace_the_definitions_and_later_ones_are_compared(review: Workspace) -> None:
    owner = Browser(review, 1)
    code(review, range(16))
    assert "The new model is in use." in learn(review, owner)
    own = review.project.own_model
    first = read_config(own).model_id
    activity = texts(owner.get("/activity"))
    assert "Owen trained a model on 16 papers" in activity
    assert f"Owen put the new model {first} into use" in activity
    assert not first.startswith("definitions-")
    assert "Nothing changed" in learn(review, owner)
    owner.post("/accuracy")
    known = jobs()
    while do_next(review, known):
        pass
    page = texts(owner.get("/accuracy"))
    assert "16 papers, each judged by a model that was not trained on it" in page
    assert "Across papers: a paper with the label ranks above one without" in page
    assert "Can the probabilities of the model be trusted?" in page
    assert "Proportion of yes by predicted probability" in page
    assert "Compute the learning curve" in texts(owner.get("/learn"))
    owner.post("/learn/curve")
    while do_next(review, known):
        pass
    page = texts(owner.get("/learn"))
    assert "16 papers, each judged by a model that was trained on some of the other papers" in page
    assert "Accuracy by number of training papers" in page
    code(review, range(16, 48))
    page = learn(review, owner)
    outcome = "The new model is in use." if read_config(own).model_id != first else "The old model stays in use."
    assert outcome in page
    assert "On 48 papers that neither model had learned from" in page
    assert "Comparison of the two models" in page
    owner.post("/learn/back")
    while do_next(review, jobs()):
        pass
    if outcome == "The new model is in use.":
        assert read_config(own).model_id == first
        assert "The previous model is in use again." in texts(owner.get("/learn"))


def suggestions(review: Workspace) -> dict[tuple[str, str], tuple[str, float]]:
    """Let the worker tag records, and return the decision and probability of each suggestion, by record and label."""
    with review.store.write() as connection:
        add_job(connection, "tag", 1)
    while do_next(review, jobs()):
        pass
    table, record = schema.suggestion, schema.record
    query = select(record.c.record_id, table).join(record, record.c.id == table.c.record)
    with review.store.read() as connection:
        rows = connection.execute(query).all()
    return {(row.record_id, row.label): (row.decision, round(row.probability, 4)) for row in rows}


def test_the_list_of_changes_is_what_suggestions_change_to(review: Workspace) -> None:
    code(review, range(16))
    before = suggestions(review)
    owner = Browser(review, 1)
    page = learn(review, owner)
    after = suggestions(review)
    expected = {
        key: (*before[key], *after[key]) for key in before.keys() & after.keys() if before[key][0] != after[key][0]
    }
    table, record = schema.change, schema.record
    with review.store.read() as connection:
        rows = connection.execute(
            select(record.c.record_id, table).join(record, record.c.id == table.c.record).order_by(table.c.number)
        ).all()
        job = schema.job
        last = connection.execute(select(job.c.id).where(job.c.kind == "learn")).scalar_one()
    found = {
        (row.record_id, row.label): (
            *(row.before, round(row.probability_before, 4)),
            *(row.after, round(row.probability_after, 4)),
        )
        for row in rows
    }
    assert expected
    assert found == expected
    assert {row.job for row in rows} == {last}
    records = len({row.record_id for row in rows})
    assert f"What changes: {len(rows)} suggestions on {records} records." in page
    coded = {paper(number).record_id for number in range(16)}
    shown = owner.get("/learn/changes")
    while next_page := re.search(r'href="(/learn/changes\?after=\d+)"', shown.rpartition("Changed suggestions")[2]):
        shown += owner.get(next_page[1])
    for row in rows:
        assert (f'href="/records/{row.record}"' in shown) == (row.record_id in coded), row
    reasons = [" ".join(row.why.split())[1:60] for row in rows if row.record_id in coded]
    assert reasons
    assert [reason for reason in reasons if reason not in texts(shown)] == []


@pytest.mark.slow
def test_codes_that_may_have_copied_the_model_decide_nothing(review: Workspace) -> None:
    owner = Browser(review, 1)
    code(review, range(12))
    learn(review, owner)
    first = read_config(review.project.own_model).model_id
    code(review, range(12, 48), assisted=True)
    page = learn(review, owner)
    assert "Too few papers to compare the models; the old model stays in use." in page
    assert "12 papers have independent codes; 30 are needed" in page
    owner.post("/learn/curve")
    do_next(review, jobs())
    assert "12 papers, each judged by a model that was trained on some" in texts(owner.get("/learn"))
    assert read_config(review.project.own_model).model_id == first


def test_models_are_compared_with_first_codes_and_only_with_independent_ones(tmp_path: Path) -> None:
    """A revised code counts as first given; a label without an independent code counts as not judged."""
    generator = np.random.default_rng(0)
    coded = [coded_record(number, ("apple", "pear") if number < 3 else (), generator) for number in range(5)]
    names = [row.record.record_id for row in coded]
    given = [
        (0, "edible", 1),
        (0, "apple", 0),
        (1, "edible", 1),
        (1, "pear", 1),
        (2, "apple", 1),
        (3, "edible", 0),
        (4, "edible", 1),
    ]
    independent = [
        Coding(record_id=names[number], coder="final", label=label, value=value, basis="abstract")
        for number, label, value in given
    ]
    found = judged_by(independent, coded, make_review(tmp_path).codebook)
    assert [row.record.record_id for row in found] == [names[0], names[1], names[3], names[4]]
    assert [(row.relevant, row.code("apple"), row.code("pear")) for row in found] == [
        (True, 0, None),
        (True, None, 1),
        (False, None, None),
        (True, None, None),
    ]


def test_codes_that_somebody_else_wrote_are_not_overwritten(review: Workspace) -> None:
    owner = Browser(review, 1)
    code(review, range(12))
    table = review.project.root / "data/annotated/codings.csv"
    table.write_text("mine", encoding="utf-8")
    assert "was not written by the review page" in learn(review, owner)
    assert table.read_text(encoding="utf-8") == "mine"


def test_a_rollback_that_is_interrupted_gives_up_one_model_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = make_review(tmp_path)
    review.project.own_model.mkdir(parents=True)
    models, registry = ["first", "second", "third"], list[str]()

    class Retraining:
        def __init__(self, *_: object) -> None: ...

        def roll_back(self) -> list[str]:
            models.pop()
            raise KeyboardInterrupt("killed")

        def update_registry(self) -> None:
            registry.append(models[-1])

    monkeypatch.setattr("mechtag.workflows.retrain.Retraining", Retraining)
    monkeypatch.setattr("mechtag.models.model_folder.read_config", lambda _: SimpleNamespace(model_id=models[-1]))
    Browser(review, 1).post("/learn/back")
    known = {"roll_back": learning.roll_back}
    with pytest.raises(KeyboardInterrupt, match="killed"):
        do_next(review, known)
    with review.store.write() as connection:  # as a worker does when it starts
        connection.execute(update(schema.job).where(schema.job.c.state == "running").values(state="waiting"))
    do_next(review, known)
    assert (models, registry) == (["first", "second"], ["second"])
    with review.store.read() as connection:
        job = schema.job
        rows = connection.execute(select(job.c.state, job.c.result).where(job.c.kind == "roll_back")).all()
    assert [tuple(row) for row in rows] == [("done", '{"reasons": ["model second is in use again"]}')]


@pytest.mark.parametrize("killed_at", ["write_fact", "log"])
def test_training_that_is_interrupted_after_the_new_model_is_in_use_has_the_same_result(
    review: Workspace, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    owner = Browser(review, 1)
    code(review, range(24))
    original, whole = learning.learn, dict[str, Any]()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:

        def then_killed(*given: object, **named: object) -> object:
            found = original(*given, **named)  # type: ignore[arg-type]
            whole.update(json.loads(json.dumps(asdict(found))))
            patch.setattr(*((learning, "write_fact") if killed_at == "write_fact" else (Acts, "log")), killed)
            return found

        patch.setattr(learning, "learn", then_killed)
        owner.post("/learn")
        with pytest.raises(KeyboardInterrupt, match="killed"):
            do_next(review, jobs())
    with review.store.write() as connection:  # as a worker does when it starts
        connection.execute(update(schema.job).where(schema.job.c.state == "running").values(state="waiting"))
    while do_next(review, jobs()):
        pass
    former, new = whole["former_id"], whole["model_id"]
    assert read_config(review.project.own_model).model_id == new != former
    with review.store.read() as connection:
        event = schema.event
        logged = select(event.c.kind, event.c.value).where(event.c.kind.in_(("train", "promote")))
        rows = connection.execute(logged.order_by(event.c.seq)).all()
        job = schema.job
        result = json.loads(connection.execute(select(job.c.result).where(job.c.kind == learning.KIND)).scalar_one())
    assert {**result, **whole} == result
    assert (whole["outcome"], whole["compared"]) == ("adopted", 24)
    (trained, promoted) = (json.loads(row.value) for row in rows)
    assert [row.kind for row in rows] == ["train", "promote"]
    assert promoted == {"model_id": new, "former_id": former}
    assert {**whole, **trained} == whole


def test_a_table_of_codes_that_a_killed_run_wrote_is_not_refused(review: Workspace) -> None:
    codings = [Coding(record_id="doi:10.1/1", coder="final", label="apple", value=1, basis="abstract")]
    sha256 = write_codes(review.project, codings, None)
    assert write_codes(review.project, codings, None) == sha256
    with pytest.raises(MechtagError, match="was not written by the review page"):
        write_codes(review.project, [*codings, codings[0].model_copy(update={"label": "pear"})], None)


def test_the_page_counts_the_codes_from_which_the_model_learns(review: Workspace) -> None:
    owner = Browser(review, 1)
    code(review, range(4))
    attach_texts(review, [1])
    for fruit in FRUIT:
        review.acts.code(look(review, 1, 1, "full-text"), 1, fruit, 1, stage="full-text")
    review.acts.commit(look(review, 1, 1, "full-text"), 1, stage="full-text")
    assert "Learn from 10 codes" in texts(owner.get("/learn")), "4 decisions, and 2 codes for each of 3 papers"
    with review.store.write() as connection:
        current = schema.current
        seen = update(current).where(current.c.record == 2, current.c.label == "apple", current.c.stage == "code")
        connection.execute(seen.values(assisted=1))
    assert "Learn from 10 codes" in texts(owner.get("/learn"))
    review.acts.change_plan(Stamp(1), "learn_from_assisted", False)
    assert "Learn from 9 codes" in texts(owner.get("/learn"))
    book = review.codebook
    save(review, Stamp(1), book.model_copy(update={"labels": book.labels[1:]}), [])
    assert "Learn from 7 codes" in texts(owner.get("/learn"))
