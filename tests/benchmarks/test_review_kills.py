"""The benchmark that kills the processes of the review page, with few kills."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import review_kills
from mechtag.review.jobs import fetching
from mechtag.review.jobs.worker import jobs
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
    """The first jobs of a review, and the import of a copy; the command kills the worker in jobs of every kind."""
    monkeypatch.setattr(review_kills, "STEPS", (*review_kills.STEPS[:2], *review_kills.STEPS[-3:]))
    words = "the village worked apple pear stone tree grew well lay there . year was text speaks of is about fruit"
    (tmp_path / "encoder").mkdir()
    encoder = tiny_bert(tmp_path / "encoder", words.split())
    for found in review_kills.kill_worker(tmp_path, 1, str(encoder), random.Random(1)):
        assert (found.killed, found.differing) == (1, []), found.kind


def test_every_kind_of_job_is_killed() -> None:
    # Fetching needs web services; their answers are kept.
    assert {kind for kind, _ in review_kills.STEPS} == jobs().keys() - {fetching.KIND}
