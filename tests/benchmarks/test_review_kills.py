"""Test the benchmark that kills the processes of the review page, with few kills."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from benchmarks import review_kills
from benchmarks.publish import result
from mechtag.review.imports import ADD, FILES
from mechtag.review.jobs import fetching, merging
from mechtag.review.jobs.worker import jobs
from mechtag.review.store import schema
from mechtag.review.workspace import add_job
from tests.support.toy import tiny_bert

pytestmark = pytest.mark.slow


def test_the_web_process_is_killed(tmp_path: Path) -> None:
    found = review_kills.kill_web(tmp_path, 2, 500, random.Random(1))
    assert found["kills"] == 2
    assert found["decisions confirmed"] > 0
    assert {name: number for name, number in found.items() if name not in ("kills", *_SENT)} == {
        "confirmed and lost": 0,
        "doubled": 0,
        "checks of the database that failed": 0,
        "events in which the text log differs": 0,
    }


_SENT = ("decisions sent", "decisions confirmed")


def test_the_worker_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the worker in the first job of a review and in the jobs that merge a copy of it.

    The benchmark itself kills the worker in jobs of every kind.
    """
    monkeypatch.setattr(review_kills, "STEPS", (*review_kills.STEPS[:2], *review_kills.STEPS[-3:]))
    words = "the village worked apple pear stone tree grew well lay there . year was text speaks of is about fruit"
    (tmp_path / "encoder").mkdir()
    encoder = tiny_bert(tmp_path / "encoder", words.split())
    killed = []
    for found in review_kills.kill_worker(tmp_path, 1, str(encoder), random.Random(1), (ADD, *merging.JOBS)):
        assert (found.killed, found.differing) == (1, []), found.kind
        killed.append(found.kind)
    assert killed == [ADD, *merging.JOBS]


def test_the_worker_stops_if_its_job_ends_before_the_kill(tmp_path: Path) -> None:
    """A worker that does not stop would run other jobs, which change the results to compare."""
    workspace = review_kills.prepare(tmp_path / "review", "fast")
    with workspace.store.write() as connection:
        add_job(connection, FILES, review_kills.OWNER)
    begun = time.monotonic()
    # The kill would come after 80 seconds.
    assert review_kills.kill_during(workspace, FILES, 1, 600, random.Random(1)) == 0
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("changed", "differing"), [({"added": 2}, {"job"}), ({"model_id": "b"}, set()), ({"found": {"at": "noon"}}, set())]
)
def test_results_of_jobs_are_compared_without_times_and_ids_of_models(
    tmp_path: Path, changed: dict[str, object], differing: set[str]
) -> None:
    left = []
    for found in (_RESULT, {**_RESULT, **changed}):
        workspace = review_kills.prepare(tmp_path / "review", "fast")
        with workspace.store.write() as connection:
            number = add_job(connection, ADD, review_kills.OWNER)
            done = update(schema.job).where(schema.job.c.id == number)
            connection.execute(done.values(state="done", result=json.dumps(found)))
        left.append(review_kills.left_by(workspace))
        workspace.store.close()
    assert {name for name in left[0] if left[0][name] != left[1][name]} == differing


_RESULT = {"added": 1, "model_id": "a", "found": {"at": "night"}}


def test_results_that_were_not_measured_again_keep_their_commit() -> None:
    found = [result("job add", "worker", name, 1) for name in ("runs", "kills")]
    assert review_kills.origins(found) == ""
    kept = [{**each, "commit": "1234567"} for each in (*found, result("job rank", "worker", "runs", 1))]
    assert review_kills.origins([*kept, result("job tag", "worker", "runs", 1)]) == (
        "Measured at commit 1234567: job add, job rank."
    )


def test_every_kind_of_job_is_killed() -> None:
    # Fetching is left out, because it needs web services.
    assert {kind for kind, _ in review_kills.STEPS} == jobs().keys() - {fetching.KIND}
