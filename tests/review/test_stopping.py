"""Test when screening may stop: all records of a random sample have final decisions, and the owner decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from mechtag.pipeline.screening.search import Search
from mechtag.review.acts import Stamp
from mechtag.review.jobs import ranking as job
from mechtag.review.jobs.progress import Progress
from mechtag.review.store import schema
from mechtag.review.store.events import is_stopped
from mechtag.review.store.records import add_records
from mechtag.review.workspace import Workspace, add_job, read_fact
from tests.support.review_site import Browser, add_person, copy_review, make_review, papers, texts

ANN, BOB = 2, 3
RELEVANT = range(1, 6)
PLAN = {"coders_screen": 2, "recall": 0.8, "confidence": 0.8, "rerank_after": 100}


class Ranking(job.Ranking):
    """The ranking job, with made-up vectors instead of an encoder."""

    def _prepare(self, workspace: Workspace, progress: Progress) -> None:
        if self._search is None:
            with workspace.store.read() as connection:
                self._numbers = sorted(connection.execute(select(schema.record.c.id)).scalars())
            vectors = np.eye(len(self._numbers), dtype=np.float32)
            self._search = Search([], [f"word{number}" for number in self._numbers], vectors, vectors[0])


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    return make_review(tmp_path, papers(160), **PLAN)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    review = make_review(tmp_path_factory.mktemp("stopping"), papers(160), **PLAN)
    assert (add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")) == (ANN, BOB)
    read(review, ANN, BOB, records=range(1, 106))
    return review


@pytest.fixture
def half_read(prepared: Workspace, tmp_path: Path) -> Workspace:
    """Return a review in which Ann and Bob have screened the first 105 records."""
    return copy_review(prepared, tmp_path)


def order_again(review: Workspace) -> dict[str, object]:
    """Run the ranking job, and return what the stopping rule says."""
    with review.store.write() as connection:
        number = add_job(connection, job.KIND, None)
    Ranking()(review, {}, Progress(review.store, number))
    with review.store.write() as connection:
        connection.execute(update(schema.job).values(state="done"))
        found: dict[str, object] = read_fact(connection, job.FACT)
        return found


def read(review: Workspace, *coders: int, records: range) -> None:
    """Let people screen records in order, all correctly."""
    for record in records:
        for coder in coders:
            review.acts.decide(Stamp(coder), record, int(record in RELEVANT))


def test_the_sample_is_drawn_from_what_is_not_final_and_gaps_hold_it_up(review: Workspace) -> None:
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    read(review, ann, records=range(1, 161))
    assert order_again(review) == {"read": 0, "relevant": 0, "stop": False}
    read(review, bob, records=range(1, 106))
    found = order_again(review)
    sample = found["sample"]
    assert isinstance(sample, list)
    assert (sorted(sample), found["read_of_sample"], found["stop"]) == (list(range(106, 161)), 0, False)
    activity = texts(Browser(review, 1).get("/activity"))
    assert activity.count("Owen drew a random sample of 55 unread records, after 105 had been read") == 1
    # Bob differs on the second record of the sample, so only the first counts, although the third is settled.
    for place, record in enumerate(sample[:3]):
        review.acts.decide(Stamp(bob), record, int(place == 1))
    assert order_again(review)["read_of_sample"] == 1
    lead = add_person(review, "Lea", "adjudicator")
    review.acts.settle(Stamp(lead), sample[1], "screen", "edible", 0)
    assert order_again(review)["read_of_sample"] == 3
    assert texts(Browser(review, 1).get("/activity?kind=sample_drawn")).count("drew a random sample") == 1
    page = texts(Browser(review, bob).get("/screen"))
    assert f"Paper {sample[3]}" in page
    assert "records cannot be put aside" in page
    refused = Browser(review, bob).post("/screen/skip", record=sample[3])
    assert (refused.status_code, "no longer be random" in refused.text) == (409, True)


def test_the_owner_stops_and_goes_on(half_read: Workspace) -> None:
    review, ann, bob = half_read, ANN, BOB
    sample = order_again(review)["sample"]
    assert isinstance(sample, list)
    owner = Browser(review, 1)
    assert "Reason, because the target is not reached" in texts(owner.get("/"))
    assert owner.post("/stop").status_code == 422
    for record in sample[:45]:
        for coder in (ann, bob):
            review.acts.decide(Stamp(coder), record, 0)
    found = order_again(review)
    assert found["stop"] is True
    assert "The target is reached" in texts(owner.get("/"))
    assert Browser(review, ann).post("/stop").status_code == 403
    owner.post("/stop")
    assert "Screening has been stopped" in texts(Browser(review, bob).get("/screen"))
    assert owner.post("/stop").status_code == 409
    owner.post("/resume")
    assert "Screening has been stopped" not in texts(Browser(review, bob).get("/screen"))
    owner.post("/stop")
    review.acts.log(Stamp(1), "import", {"wave": 2})
    with review.store.read() as connection:
        assert not is_stopped(connection)


@pytest.mark.slow
def test_a_decision_that_is_open_again_holds_the_sample_up(half_read: Workspace) -> None:
    review, ann, bob = half_read, ANN, BOB
    sample = order_again(review)["sample"]
    assert isinstance(sample, list)
    review.acts.undo(Stamp(bob))
    for record in sample[:45]:
        for coder in (ann, bob):
            review.acts.decide(Stamp(coder), record, 0)
    found = order_again(review)
    assert (found["sample"], found["open_again"], found["stop"]) == (sample, 1, False)
    assert "1 record had a final decision when the random sample was drawn" in texts(Browser(review, 1).get("/"))
    assert "Paper 105" in texts(Browser(review, bob).get("/screen"))
    review.acts.decide(Stamp(bob), 105, 0)
    found = order_again(review)
    assert (found["sample"], found["open_again"], found["stop"]) == (sample, 0, True)


def test_imported_records_void_a_sample_and_are_read_by_rank_first(half_read: Workspace) -> None:
    review, ann, bob = half_read, ANN, BOB
    assert "sample" in order_again(review)
    with review.store.write() as connection:
        add_records(connection, papers(265)[160:], (), 2, {})
    review.acts.log(Stamp(1), "import", {"wave": 2})
    assert "sample" not in order_again(review)
    read(review, ann, bob, records=range(106, 206))
    found = order_again(review)["sample"]
    assert isinstance(found, list)
    assert sorted(found) == list(range(206, 266))


def test_a_duplicate_is_not_in_the_sample(half_read: Workspace) -> None:
    review = half_read
    review.acts.join(Stamp(1), 160, 1)
    sample = order_again(review)["sample"]
    assert isinstance(sample, list)
    assert sorted(sample) == list(range(106, 160))
    review.acts.join(Stamp(1), sample[0], sample[1])
    assert order_again(review)["sample"] == sample[1:]


def test_each_vote_counts_for_the_next_ranking_and_each_act_for_the_sample(review: Workspace) -> None:
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    lead = add_person(review, "Lea", "adjudicator")
    read(review, ann, records=range(1, 161))
    order_again(review)
    page = Browser(review, bob)
    read(review, bob, records=range(1, 100))
    page.post("/screen/skip", record=150)
    assert waiting(review) == 0
    page.post("/screen/decide", record=100, answer="exclude")
    assert waiting(review) == 1
    read(review, bob, records=range(101, 106))
    sample = order_again(review)["sample"]
    assert isinstance(sample, list)
    page.post("/screen/decide", record=sample[0], answer="include")
    assert waiting(review) == 1
    order_again(review)
    Browser(review, lead).post(f"/reconcile/screen/{sample[0]}/settle", label="edible", answer="no")
    assert waiting(review) == 1


def waiting(review: Workspace) -> int:
    """Return the number of ranking jobs that wait for the worker."""
    table = schema.job
    with review.store.read() as connection:
        query = select(table.c.id).where(table.c.kind == job.KIND, table.c.state == "waiting")
        return len(connection.execute(query).all())
