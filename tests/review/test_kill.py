"""Test killed processes: confirmed decisions are stored exactly once, and the worker ends with the server."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select, text

from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from tests.support.paths import ROOT
from tests.support.reviews import check_replay, open_review

KILLS = 50
RECORDS = 40

# Writes decisions, numbered from a given number, and prints the number and ``seq`` of each once it is confirmed. Every
# seventh act is an undo, and every eleventh is sent twice.
WRITER = """
import sys
from pathlib import Path
from mechtag.review.acts import Acts, Stamp
from mechtag.review.store.engine import Store
from tests.support.reviews import CODEBOOK
acts, number = Acts(Store(Path(sys.argv[1])), CODEBOOK), int(sys.argv[2])
while True:
    stamp = Stamp(number % 2 + 1, f"act {number}")
    for _ in range(2 if number % 11 == 0 else 1):
        if number % 7 == 0:
            acts.undo(stamp)
            seq = 0
        else:
            seq = acts.decide(stamp, number % %d + 1, number // 3 % 2)
    print(number, seq, flush=True)
    number += 1
""".replace("%d", str(RECORDS))


def confirmed_until_killed(path: Path, number: int, patience: float) -> dict[int, int]:
    """Let a process write, kill it after ``patience`` seconds, and return the ``seq`` of confirmed acts by number."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(number)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    first = writer.stdout.readline()
    time.sleep(patience)
    writer.kill()
    rest, _ = writer.communicate()
    # The last line may be cut.
    lines = (first + rest).split("\n")[:-1]
    return {int(line.split()[0]): int(line.split()[1]) for line in lines}


@pytest.mark.slow
def test_nothing_confirmed_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite3"
    open_review(path, RECORDS).store.close()
    rng = random.Random(1)
    confirmed = dict[int, int]()
    for _ in range(KILLS):
        # The browser sends the decision that was not confirmed again.
        confirmed |= confirmed_until_killed(path, max(confirmed, default=0) + 1, rng.uniform(0, 0.3))
        store = Store(path)
        with store.read() as connection:
            assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
            table = schema.event
            rows = connection.execute(select(table.c.client_id, table.c.seq).order_by(table.c.seq)).all()
        written = {int(row.client_id.removeprefix("act ")): row.seq for row in rows}
        assert max(Counter(row.client_id for row in rows).values()) == 1
        assert {number: written[number] for number in confirmed if number % 7} == {
            number: seq for number, seq in confirmed.items() if number % 7
        }
        assert set(confirmed) <= set(written)
        # At most one more act is stored: the one that was being confirmed.
        assert len(set(written) - set(confirmed)) <= 1
        check_replay(store)
        store.close()
    assert len(confirmed) > KILLS


# Starts a process that ends when this one ends.
PARENT = """
import os, subprocess, sys
CHILD = '''
import os, sys
from mechtag.review.jobs.worker import end_with
print(os.getpid(), flush=True)
end_with(int(sys.argv[1]))
'''
subprocess.run([sys.executable, "-c", CHILD, str(os.getpid())])
"""


def test_the_worker_ends_when_the_server_is_killed_in_the_middle_of_a_job() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    try:
        # The output is closed only when the last process that can write to it has ended.
        parent.communicate(timeout=30)
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
