"""Measure the review page under load: time per decision, memory, start-up time and search time with many records."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from sqlalchemy import delete, insert

from benchmarks.batch import invent
from benchmarks.publish import ROOT, publish, result
from mechtag.project import create_project
from mechtag.review import access, order
from mechtag.review.acts import utc_now
from mechtag.review.jobs import ranking
from mechtag.review.store import schema
from mechtag.review.store.accounts import add_account
from mechtag.review.store.events import Act, Draft, append
from mechtag.review.store.records import add_records
from mechtag.review.workspace import Workspace, write_fact

COMMAND = "python -m benchmarks.review"
WORK = ROOT / "data/work/benchmarks/review"
RECORDS = 100_000
#: Proportion of the records on which decisions are made before the measurement.
DECIDED = 0.1
CODERS = ("Ann", "Bob")
PER_SECOND = 4
_SEED = 2021
# Number of suggestions that are written in one transaction, as the worker does.
_ROWS = 100
_TEXT = (ROOT / "benchmarks/review.md").read_text(encoding="utf-8")


def prepare(folder: Path, count: int) -> Workspace:
    """Create a project with ``count`` records and two people who have both decided on the same tenth of the records."""
    shutil.rmtree(folder, ignore_errors=True)
    workspace = Workspace.open(create_project(folder))
    records = list(invent(count, _SEED))
    with workspace.store.write() as connection:
        add_records(connection, records, (), 1, {})
        for stage in ("screen", "code"):
            numbers = range(1, count + 1)
            order.add_ranking(connection, stage, numbers, strategy="random", at=utc_now(), learned_from=count, seed=0)
        people = [add_account(connection, name, "owner") for name in CODERS]
        relevance = workspace.codebook.relevance.key
        for number in range(1, int(DECIDED * count) + 1):
            value = {"v": int(number % 10 == 0), "refer": False, "reason": None}
            for person in people:
                draft = Draft("code", number, "screen", relevance, value)
                append(connection, Act(person, str(uuid.uuid4()), utc_now(), [draft]))
        # The records are not ranked while times are measured.
        write_fact(connection, ranking.SEEN, sys.maxsize)
    return workspace


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """Return a context manager that runs a server for the review page while its block runs.

    The context manager yields the address of the review page, the server process, and the seconds from the start of
    the process to the first page.
    """
    log = folder.parent / "server.txt"
    command = [sys.executable, "-m", "mechtag", "review", str(folder), "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    begun = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while (found := re.search(r"review page: (\S+)/start\?key=(\S+)", log.read_text())) is None:
                if process.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.01)
            address = found[1]
            while True:
                try:
                    httpx.get(f"{address}/start", params={"key": found[2]}, follow_redirects=True, timeout=60)
                    break
                except httpx.ConnectError:
                    time.sleep(0.01)
            yield address, psutil.Process(process.pid), time.perf_counter() - begun
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


class Coder:
    """A simulated browser of one person; it sends the requests that the script of the page would send."""

    def __init__(self, workspace: Workspace, address: str, account: int) -> None:
        with workspace.store.write() as connection:
            token = access.open_session(connection, account)
        cookie = f"mechtag-{address.rsplit(':', 1)[1]}"
        self.client = httpx.Client(base_url=address, cookies={cookie: token}, timeout=60)
        self.page = self.client.get("/screen").text

    @property
    def record(self) -> int:
        """Return the number of the record that the page shows."""
        return int(self._field("record"))

    def decide(self, answer: str = "exclude") -> float:
        """Send a decision on the record that the page shows; return the seconds until the next record has arrived."""
        fields = {name: self._field(name) for name in ("csrf", "record", "sight", "based_on")}
        data = {**fields, "client_id": str(uuid.uuid4()), "seconds": "3", "answer": answer}
        headers = {"HX-Request": "true", "Origin": str(self.client.base_url).rstrip("/")}
        begun = time.perf_counter()
        response = self.client.post("/screen/decide", data=data, headers=headers)
        taken = time.perf_counter() - begun
        response.raise_for_status()
        self.page = response.text
        return taken

    def _field(self, name: str) -> str:
        form = self.page.split('action="/screen/decide"', 1)[1]
        found = re.search(rf'name="{name}" value="([^"]*)"', form)
        assert found is not None, name
        return found[1]

    def look(self, address: str, **query: str) -> float:
        """Load a page; return the seconds until it has arrived."""
        begun = time.perf_counter()
        self.client.get(address, params=query).raise_for_status()
        return time.perf_counter() - begun


def decide(coder: Coder, decisions: int) -> list[float]:
    """Make decisions at a steady pace; return, for each decision, the seconds until the next record has arrived."""
    found, begun = [], time.perf_counter()
    for number in range(decisions):
        time.sleep(max(0.0, begun + number / PER_SECOND - time.perf_counter()))
        found.append(coder.decide())
    return found


@contextmanager
def writing(workspace: Workspace, count: int) -> Iterator[None]:
    """Return a context manager that runs `write_suggestions` in a separate process while its block runs."""
    command = [sys.executable, "-m", "benchmarks.review", "--write-suggestions", str(workspace.project.root)]
    process = subprocess.Popen([*command, "--records", str(count)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    time.sleep(3)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def write_suggestions(folder: Path, count: int) -> None:
    """Write invented suggestions for the records, in small transactions and without pauses, to imitate a busy worker.

    Matrix products between the transactions imitate the computation of suggestions.
    """
    from mechtag.project import open_project

    os.nice(10)
    workspace = Workspace.open(open_project(folder))
    labels = workspace.codebook.all_keys
    rng = np.random.default_rng(_SEED)
    with workspace.store.write() as connection:
        connection.execute(delete(schema.suggestion))
    for start in range(1, count, max(1, _ROWS // len(labels))):
        numbers = range(start, min(start + max(1, _ROWS // len(labels)), count + 1))
        rng.normal(size=(400, 400)) @ rng.normal(size=(400, 400))
        rows = [
            {"model_id": "m", "record": number, "label": label, "probability": 0.5, "decision": "no", "sentences": "[]"}
            for number in numbers
            for label in labels
        ]
        with workspace.store.write() as connection:
            connection.execute(insert(schema.suggestion), rows)


def percentiles(times: Sequence[float]) -> dict[str, float]:
    """Return the 50th, 95th and 99th percentiles, in milliseconds, of times in seconds."""
    return {f"p{share} (ms)": 1000 * float(np.percentile(times, share)) for share in (50, 95, 99)}


def measure(workspace: Workspace, count: int, decisions: int) -> list[dict[str, Any]]:
    """Run the server of a review, decide on records and load pages; return the times and the memory of the server."""
    data = f"{count:,} records"
    rows: list[tuple[str, dict[str, float]]] = []
    with served(workspace.project.root) as (address, process, start):
        coders = [Coder(workspace, address, number) for number in (1, 2)]
        with ThreadPoolExecutor(2) as pool:
            for name in ("idle", "writing"):
                if name == "idle":
                    times = list(pool.map(lambda coder: decide(coder, decisions), coders))
                else:
                    with writing(workspace, count):
                        times = list(pool.map(lambda coder: decide(coder, decisions), coders))
                rows.append((f"decision and next record, worker {name}", percentiles(list(chain(*times)))))
        for name, address, query in (
            ("records page, by state", "/records", {"screen": "open"}),
            ("search of two words", "/records", {"words": "health care"}),
            ("project page", "/", {}),
        ):
            taken = []
            for _ in range(20):
                taken.append(coders[0].look(address, **query))
                time.sleep(0.25)
            rows.append((name, percentiles(taken)))
        memory = process.memory_info().rss / 2**20
    rows.append(("web process", {"memory (MB)": memory, "start to first page (s)": start}))
    # The load shows whether other programs ran on the machine.
    rows.append(("machine", {"load average, 15 minutes": os.getloadavg()[2]}))
    return [result(data, system, metric, value) for system, found in rows for metric, value in found.items()]


def main() -> None:
    """Measure the review page under load, and publish the results unless ``--no-publish`` is set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, help="number of records")
    parser.add_argument("--decisions", type=int, default=240, help="decisions per person in each measurement")
    parser.add_argument("--no-publish", action="store_true", help="print the results only")
    parser.add_argument("--write-suggestions", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.write_suggestions:
        write_suggestions(chosen.write_suggestions, chosen.records)
        return
    workspace = prepare(WORK / "project", chosen.records)
    results = measure(workspace, chosen.records, chosen.decisions)
    for row in results:
        sys.stdout.write(f"{row['system']}: {row['metric']} {row['value']:.1f}\n")
    if not chosen.no_publish:
        publish("review", COMMAND, results, _TEXT, versions=("starlette", "uvicorn", "sqlalchemy"))


if __name__ == "__main__":
    main()
