"""Compare the review page with ASReview LAB 3: start-up time, time per decision, memory, losses after ``kill -9``."""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import psutil
from sqlalchemy import select

from benchmarks.publish import ROOT, publish, result
from benchmarks.review import Coder
from benchmarks.screening import review, search
from benchmarks.stopping_pairs import create_review, keep_vectors
from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.review.acts import Stamp
from mechtag.review.jobs import ranking
from mechtag.review.store import schema
from mechtag.review.store.accounts import add_account
from mechtag.review.store.records import add_records
from mechtag.review.workspace import add_job, last_job

COMMAND = "python -m benchmarks.review_peer"
WORK = ROOT / "data/work/benchmarks/review_peer"
RECORDS = 2000
_REVIEW = "virus"
_TEXT = (ROOT / "benchmarks/review_peer.md").read_text(encoding="utf-8")
_PORTS = (8804, 8805)
#: Time from one decision to the next, in seconds.
PACE = 0.5
# Decisions before each kill.
_BEFORE_KILL = 5
_PATIENCE = 3600.0


def _wait(ready: Callable[[], bool]) -> float:
    """Wait until a condition holds, and return the number of seconds waited."""
    begun = time.perf_counter()
    while True:
        with suppress(httpx.TransportError):
            if ready():
                return time.perf_counter() - begun
        if time.perf_counter() - begun > _PATIENCE:
            raise MechtagError(
                f"the server of mechtag or ASReview LAB was not ready within {_PATIENCE:g} seconds; start it by hand "
                "to see its errors"
            )
        time.sleep(0.02)


def _records() -> tuple[list[tuple[str, str]], list[int], list[int]]:
    """Return records of a finished review, their labels, and the rows of two records that are known in advance.

    Returns
    -------
    texts : list of (title, abstract)
    labels : list of int
        1 for relevant, 0 for irrelevant.
    known : list of int
        Row of a relevant record and row of an irrelevant record.
    """
    titles, abstracts, labels = review(_REVIEW)
    known = [labels[:RECORDS].tolist().index(value) for value in (1, 0)]
    texts = [(title or "Untitled", abstract) for title, abstract in zip(titles, abstracts, strict=True)]
    return texts[:RECORDS], labels[:RECORDS].tolist(), known


class System(Protocol):
    """A system in which one person screens records over HTTP; records are numbered from 0."""

    name: str
    confirmed: dict[int, int]

    def prepare(self) -> None:
        """Create the project with one relevant and one irrelevant known record, and wait for the first ranking."""
        ...

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server of the project."""
        ...

    def first(self) -> bool:
        """Request the first record to decide on, and return whether it arrived."""
        ...

    def decide(self) -> float:
        """Decide on the current record; return the seconds until the next record has arrived."""
        ...

    def stored(self) -> dict[int, int]:
        """Return the decisions that are stored on disk, keyed by the number of the record."""
        ...


class Mechtag:
    """The review page of mechtag; one person decides on each record and sees no suggestions."""

    name = "mechtag"

    def __init__(self) -> None:
        self.folder = WORK / "mechtag"
        self.confirmed: dict[int, int] = {}
        self.labels = _records()[1]
        self.address = f"http://127.0.0.1:{_PORTS[0]}"

    def prepare(self) -> None:
        """Create the project with one relevant and one irrelevant known record, and wait for the first ranking."""
        texts, labels, known = _records()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.workspace = create_review(self.folder, _REVIEW)
        rows = [Record(record_id=f"row:{row}", title=text[0], abstract=text[1]) for row, text in enumerate(texts)]
        with self.workspace.store.write() as connection:
            add_records(connection, rows, (), 1, {})
            self.person = add_account(connection, "Ann", "owner")
        self.workspace.acts.change_plan(Stamp(self.person), "coders_screen", 1)
        for row in known:
            self.workspace.acts.decide(Stamp(self.person), row + 1, labels[row])
            self.confirmed[row] = labels[row]
        with self.workspace.store.write() as connection:
            add_job(connection, ranking.KIND, None)
        keep_vectors(self.workspace, _REVIEW)
        process = self.launch()
        _wait(self._ranked)
        process.send_signal(signal.SIGINT)
        process.wait()

    def _ranked(self) -> bool:
        with self.workspace.store.read() as connection:
            job = last_job(connection, ranking.KIND, done=True)
        return job is not None

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server of the project."""
        root = str(self.workspace.project.root)
        command = [sys.executable, "-m", "mechtag", "review", root, "--no-browser", "--port", str(_PORTS[0])]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=environment)

    def first(self) -> bool:
        """Request the first record to decide on, and return whether it arrived."""
        httpx.get(self.address, timeout=60)
        self.coder = Coder(self.workspace, self.address, self.person)
        return 'action="/screen/decide"' in self.coder.page

    def decide(self) -> float:
        """Decide on the current record; return the seconds until the next record has arrived."""
        row = self.coder.record - 1
        label = self.labels[row]
        taken = self.coder.decide("include" if label else "exclude")
        self.confirmed[row] = label
        return taken

    def stored(self) -> dict[int, int]:
        """Return the decisions that are stored on disk, keyed by the number of the record."""
        table = schema.final
        with self.workspace.store.read() as connection:
            rows = connection.execute(select(table.c.record, table.c.value).where(table.c.stage == "screen")).all()
        return {row.record - 1: row.value for row in rows}


class ASReview:
    """ASReview LAB without authentication and with its default model, which is retrained after each decision."""

    name = "ASReview LAB"

    def __init__(self, python: Path) -> None:
        self.python = python
        self.folder = WORK / "asreview"
        self.confirmed: dict[int, int] = {}
        self.labels = _records()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{_PORTS[1]}", timeout=60)
        self.project = ""

    def prepare(self) -> None:
        """Create the project with one relevant and one irrelevant known record, and wait for the first ranking."""
        texts, labels, known = _records()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        path = self.folder / "records.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("title", "abstract", "included"))
            for row, text in enumerate(texts):
                writer.writerow((*text, labels[row] if row in known else ""))
        self.confirmed = {row: labels[row] for row in known}
        process = self.launch()
        _wait(lambda: self.client.get("/api/projects").is_success)
        with path.open("rb") as file:
            answer = self.client.post(
                "/api/projects/create", data={"mode": "oracle"}, files={"file": ("records.csv", file, "text/csv")}
            )
        answer.raise_for_status()
        self.project = answer.json()["id"]
        form = {"status": "review", "trigger_model": "1"}
        self.client.put(f"/api/projects/{self.project}/review", data=form).raise_for_status()
        _wait(self.first)
        # After SIGTERM, the server sometimes kept running without its child process.
        _kill(process)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server of the project."""
        command = [str(self.python), "-m", "asreview", "lab", "--no-browser", "--skip-update-check"]
        environment = {**os.environ, "ASREVIEW_PATH": str(self.folder / "projects"), "PYTHONPATH": ""}
        return subprocess.Popen(
            [*command, "--port", str(_PORTS[1])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def first(self) -> bool:
        """Request the first record to decide on, and return whether it arrived."""
        return self._next()

    def _next(self) -> bool:
        answer = self.client.get(f"/api/projects/{self.project}/get_record")
        self.shown = answer.json().get("result") if answer.is_success else None
        return self.shown is not None

    def decide(self) -> float:
        """Decide on the current record; return the seconds until the next record has arrived."""
        assert self.shown is not None
        row = int(self.shown["record_id"])
        label = self.labels[row]
        form = {"record_id": str(row), "label": str(label), "tags": "[]", "retrain_model": "1"}
        begun = time.perf_counter()
        self.client.post(f"/api/projects/{self.project}/record/{row}", data=form).raise_for_status()
        self.confirmed[row] = label
        if not self._next():
            raise MechtagError(
                "ASReview LAB returned no further record to decide on; start its server by hand to see its errors"
            )
        return time.perf_counter() - begun

    def stored(self) -> dict[int, int]:
        """Return the decisions that are stored on disk, keyed by the number of the record."""
        (path,) = (self.folder / "projects").rglob("results.db")
        with sqlite3.connect(path) as database:
            rows = database.execute("SELECT record_id, label FROM results WHERE label IS NOT NULL").fetchall()
        return {int(row): int(label) for row, label in rows}


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    server = psutil.Process(process.pid)
    return [server, *server.children(recursive=True)]


def _memory(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Return the memory of a server, and of the server with its child processes, in MB (2^20 bytes).

    A page of memory that several processes share is divided among these processes.
    """
    sizes = [each.memory_full_info().pss / 2**20 for each in _family(process)]
    return sizes[0], sum(sizes)


def _kill(process: subprocess.Popen[bytes]) -> int:
    """Kill a server; kill child processes that still run ten seconds later, and return the number of the latter."""
    rest = _family(process)[1:]
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(rest, timeout=10)
    for each in left:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    return len(left)


def measure(system: System, decisions: int, kills: int) -> dict[str, float]:
    """Measure a system: start-up time, time per decision, memory, and confirmed decisions that are lost after kills."""
    system.prepare()
    starts, times, lost, left = list[float](), list[float](), 0, 0
    for turn in range(kills + 1):
        begun = time.perf_counter()
        process = system.launch()
        _wait(system.first)
        starts.append(time.perf_counter() - begun)
        for _ in range(_BEFORE_KILL if turn else decisions):
            taken = system.decide()
            if not turn:
                times.append(1000 * taken)
                time.sleep(max(0.0, PACE - taken))
        if not turn:
            server, everything = _memory(process)
        left += _kill(process)
        stored = system.stored()
        lost += sum(stored.get(row) != label for row, label in system.confirmed.items())
    found = {"launch to first record (s)": float(np.median(starts))}
    found |= {
        f"decision, {name} (ms)": float(np.percentile(times, share)) for name, share in (("median", 50), ("p95", 95))
    }
    found |= {"server (MB)": server, "all processes (MB)": everything}
    kept = {"kills": len(starts), "confirmed decisions": len(system.confirmed), "lost": lost, "processes left": left}
    return found | kept


def main() -> None:
    """Measure mechtag's review page and ASReview LAB, and publish the results unless ``--no-publish`` is set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", type=Path, help="Python of an environment in which ASReview 3 is installed")
    parser.add_argument("--decisions", type=int, default=200, help="decisions that are timed")
    parser.add_argument(
        "--kills", type=int, default=20, help=f"further starts, each ended by kill -9 after {_BEFORE_KILL} decisions"
    )
    parser.add_argument("--no-publish", action="store_true", help="print the results only")
    chosen = parser.parse_args()
    show = "import importlib.metadata as m; print(m.version('asreview'))"
    version = subprocess.run([chosen.python, "-c", show], check=True, capture_output=True, text=True).stdout.strip()
    search(_REVIEW)  # computes the vectors if they are missing
    systems: list[System] = [Mechtag(), ASReview(chosen.python)]
    results = list[dict[str, Any]]()
    for system in systems:
        found = measure(system, chosen.decisions, chosen.kills)
        sys.stdout.write(f"{system.name}: {json.dumps(found)}\n")
        results += [result(f"{RECORDS:,} records", system.name, metric, value) for metric, value in found.items()]
    if not chosen.no_publish:
        versions = ("starlette", "uvicorn", f"asreview {version}")
        publish(
            "review_peer",
            f"{COMMAND} PYTHON --decisions {chosen.decisions} --kills {chosen.kills}",
            results,
            _TEXT,
            versions=versions,
        )


if __name__ == "__main__":
    main()
