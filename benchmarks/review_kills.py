"""Kill the processes of the review page at random moments; count lost or repeated decisions and differing results."""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from sqlalchemy import delete, func, select, text
from starlette.testclient import TestClient

from benchmarks.publish import ROOT, merge, publish, result
from benchmarks.review import served
from mechtag.core.files import read_json
from mechtag.core.records import Record
from mechtag.project import create_project, open_project
from mechtag.review import access, imports, order
from mechtag.review.acts import Stamp, utc_now
from mechtag.review.app import create_app
from mechtag.review.full_texts import take_files as take_full_texts
from mechtag.review.import_log import write_imports
from mechtag.review.jobs import codings as codings_jobs
from mechtag.review.jobs import exporting, merging, tagging
from mechtag.review.jobs.worker import work
from mechtag.review.journal import Journal
from mechtag.review.restoring import read_log, restore
from mechtag.review.sight import show
from mechtag.review.store import schema
from mechtag.review.store.accounts import add_account
from mechtag.review.store.records import add_records, read_entry
from mechtag.review.workspace import ACTIVE, DATABASE, FOLDER, Workspace, add_job, write_fact

COMMAND = "python -m benchmarks.review_kills"
WORK = ROOT / "data/work/benchmarks/review_kills"
PUBLISHED = ROOT / "docs/benchmarks/review_kills.json"
OWNER, ANN, BOB = 1, 2, 3
_WEB = "web"
RECORDS = 60
#: Number of records that are coded before the first training; models are compared on at least 30.
CODED = 36
_SEED = 2021
_TEXT = (ROOT / "benchmarks/review_kills.md").read_text(encoding="utf-8")
_CODEBOOK = {
    "name": "fruit",
    "relevance": {"key": "edible", "name": "About fruit", "definition": "The text is about fruit that grows on trees."},
    "labels": [
        {"key": "apple", "name": "Apple", "definition": "The text speaks of apples."},
        {"key": "pear", "name": "Pear", "definition": "The text speaks of pears."},
    ],
}
# Seconds after which a job counts as stuck.
_PATIENCE = 600.0
# Seconds between two checks of the jobs; short, so that the worker is killed before it begins a job of another kind.
_PAUSE = 0.005


# A review with work of every kind ------------------------------------------------------------------------------------


def _fruits(number: int) -> tuple[str, ...]:
    return (("apple",), ("pear",), ("apple", "pear"), ())[number % 4]


def _abstract(number: int) -> str:
    words = [f"The {fruit} tree grew well." for fruit in _fruits(number)] or ["The stone lay there."]
    return " ".join(["The village worked.", *words, f"The year was {number % 7}."])


def _ris(numbers: range) -> bytes:
    return "".join(
        f"TY  - JOUR\nTI  - Village {number} and its {' and '.join(_fruits(number)) or 'stone'}\nAU  - Ash, Ann\n"
        f"PY  - {1950 + number}\nAB  - {_abstract(number)}\nDO  - 10.1000/{number}\nER  - \n"
        for number in numbers
    ).encode()


def prepare(root: Path, encoder: str) -> Workspace:
    """Create a project with three people and without records."""
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    book = root.with_suffix(".yaml")
    book.write_text(yaml.safe_dump(_CODEBOOK, sort_keys=False), encoding="utf-8")
    create_project(root, book)
    params = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(params.replace("name: fast", f"name: {encoder}"), encoding="utf-8")
    workspace = Workspace.open(open_project(root))
    with workspace.store.write() as connection:
        for name in ("Owen", "Ann", "Bob"):
            add_account(connection, name, "owner")
    for key in ("coders_screen", "coders_code"):
        workspace.acts.change_plan(Stamp(OWNER), key, 1)
    return workspace


def _upload(workspace: Workspace, *files: tuple[str, bytes]) -> int:
    sent = [imports.File(name, io.BytesIO(content)) for name, content in files]
    return imports.take_files(workspace, OWNER, sent)


def _code(workspace: Workspace, numbers: range) -> None:
    """Screen and code records as Ann, with decisions that follow from the texts of the records.

    ``numbers`` are the numbers at the end of the records' DOIs. Ann sees no suggestions, because models are compared
    only on codes that were assigned without them.
    """
    with workspace.store.read() as connection:
        table = schema.record
        found = connection.execute(select(table.c.id, table.c.doi).where(table.c.doi.is_not(None))).all()
    places = {int(row.doi.partition("/")[2]): row.id for row in found}
    for number in numbers:
        record = places[number]
        workspace.acts.decide(_look(workspace, record, "screen"), record, int(bool(_fruits(number))))
        if _fruits(number):
            for fruit in ("apple", "pear"):
                workspace.acts.code(_look(workspace, record, "code"), record, fruit, int(fruit in _fruits(number)))
            workspace.acts.commit(_look(workspace, record, "code"), record)


def _look(workspace: Workspace, record: int, stage: str) -> Stamp:
    """Show a record to Ann without suggestions, and return the `Stamp` for her decision, which states what she saw."""
    with workspace.store.write() as connection:
        entry = read_entry(connection, record)
        assert entry is not None
        sight = show(connection, entry, ANN, stage, labels=workspace.codebook.keys, at=utc_now(), model_id=None)
    return Stamp(ANN, sight=sight.id)


def _ask(workspace: Workspace, kind: str, **arguments: Any) -> None:
    with workspace.store.write() as connection:
        add_job(connection, kind, OWNER, **arguments)


def _read_codes(workspace: Workspace) -> None:
    token = "kills"
    folder = codings_jobs.folder_of(workspace, token) / "files"
    folder.mkdir(parents=True)
    with workspace.store.read() as connection:
        names = connection.execute(select(schema.record.c.record_id).order_by(schema.record.c.id)).scalars().all()
    rows = [f"{name},Zoe,edible,1,abstract,," for name in names]
    header = "record_id,coder,label,value,basis,date,evidence"
    (folder / "codes.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    _ask(
        workspace, codings_jobs.READ, token=token, coder="Zoe", basis="abstract", unticked=None, labels={}
    )  # as the form does


def _last(workspace: Workspace, kind: str) -> int:
    """Return the number of the latest job of a kind."""
    job = schema.job
    with workspace.store.read() as connection:
        return int(connection.execute(select(func.max(job.c.id)).where(job.c.kind == kind)).scalar_one())


def _exercise(workspace: Workspace) -> None:
    with workspace.store.read() as connection:
        need = schema.need
        open_ones = select(need.c.record).where(need.c.stage == "screen", need.c.state == "open", need.c.have == 0)
        numbers = list(connection.execute(open_ones.order_by(need.c.record).limit(4)).scalars())
    start = workspace.acts.start_exercise(Stamp(OWNER), "screen", numbers, [ANN, BOB])
    for person in (ANN, BOB):
        for number in numbers:
            workspace.acts.decide(Stamp(person), number, number % 2)
    workspace.acts.end_exercise(Stamp(OWNER), keep=True)
    _ask(workspace, "calibrate", exercise=start)


def _full_texts(workspace: Workspace) -> None:
    head = "Village {number} and its apple\n\nhttps://doi.org/10.1000/{number}\n\n"
    pages = [head.format(number=number) + _abstract(number) for number in (4, 8)]
    files = [imports.File(f"{place}.txt", io.BytesIO(page.encode())) for place, page in enumerate(pages)]
    take_full_texts(workspace, OWNER, files)


def _rank(workspace: Workspace) -> None:
    _code(workspace, range(CODED))
    _ask(workspace, "rank")


def _roll_back(workspace: Workspace) -> None:
    """Train a second model, and add a job that restores the first."""
    _code(workspace, range(CODED, CODED + 4))
    _ask(workspace, "learn", coder=OWNER)
    finish(workspace, "learn")
    _ask(workspace, "roll_back", coder=OWNER)


def _remove(workspace: Workspace) -> None:
    _upload(workspace, ("c.ris", _ris(range(RECORDS, RECORDS + 10))))
    finish(workspace, imports.READ)
    imports.ask(workspace, OWNER, 2, imports.ADD)
    finish(workspace, imports.ADD)
    imports.ask(workspace, OWNER, 2, imports.REMOVE)


def _post(workspace: Workspace, address: str, *files: tuple[str, bytes], **fields: str) -> None:
    """Send a form of the review page as the owner."""
    app = create_app(workspace, hosts=frozenset(("testserver",)), start_key=None)
    with workspace.store.write() as connection:
        token = access.open_session(connection, OWNER)
    person = access.person_of(workspace.store, token)
    assert person is not None
    with TestClient(app, cookies={app.state.cookie: token}) as client:
        data = {"csrf": person.csrf, "client_id": str(uuid.uuid4()), **fields}
        client.post(address, data=data, files=[("file", file) for file in files]).raise_for_status()


def _zip(workspace: Workspace) -> Path:
    """Export a review as a project ZIP, and return its path."""
    _ask(workspace, exporting.KIND, name="project", coder=None)
    finish(workspace, exporting.KIND)
    return exporting.folder_of(workspace) / f"project-{_last(workspace, exporting.KIND)}.zip"


def _read_project(workspace: Workspace) -> None:
    """Copy the review, code more records in the copy, with disagreement, and upload the project ZIP of the copy."""
    place = workspace.project.root.with_name("copy")
    shutil.rmtree(place, ignore_errors=True)
    with zipfile.ZipFile(_zip(workspace)) as archive:
        archive.extractall(place)
    root = place / workspace.project.root.name
    restore(root / FOLDER / DATABASE, root / FOLDER / "log", workspace.seed)
    copy = Workspace.open(open_project(root))
    _code(copy, range(CODED + 4, RECORDS))
    with copy.store.read() as connection:
        need = schema.need
        screened = select(need.c.record).where(need.c.stage == "screen", need.c.have == 1)
        numbers = list(connection.execute(screened.order_by(need.c.record).limit(16)).scalars())
    for number in numbers:
        copy.acts.decide(Stamp(BOB), number, number % 2)
        copy.acts.note(Stamp(BOB), number, "Is this about fruit?")
    content = _zip(copy).read_bytes()
    copy.store.close()
    _post(workspace, "/merge", ("copy.zip", content))


def _add_project(workspace: Workspace) -> None:
    people = {f"person-{account}": str(account) for account in (ANN, BOB)}
    _post(workspace, f"/merge/{_last(workspace, merging.READ)}", **people)


#: What people do before each job, in order, with the kind of the job that this leads to.
STEPS: tuple[tuple[str, Callable[[Workspace], object]], ...] = (
    ("read", lambda w: _upload(w, ("a.ris", _ris(range(RECORDS))), ("b.ris", _ris(range(10))))),
    ("add", lambda w: imports.ask(w, OWNER, 1, imports.ADD)),
    ("rank", _rank),
    ("tag", lambda w: _ask(w, "tag")),
    ("learn", lambda w: _ask(w, "learn", coder=OWNER)),
    ("curve", lambda w: _ask(w, "curve")),
    ("accuracy", lambda w: _ask(w, "accuracy")),
    ("roll_back", _roll_back),
    ("calibrate", _exercise),
    ("read_codings", _read_codes),
    (
        "add_codings",
        lambda w: _ask(
            w, codings_jobs.ADD, of=_last(w, codings_jobs.READ), coder=OWNER, token="kills", people={"Zoe": None}
        ),
    ),
    ("remove_codings", lambda w: _ask(w, codings_jobs.REMOVE, of=_last(w, codings_jobs.READ), coder=OWNER)),
    ("read_full_texts", _full_texts),
    ("files", lambda w: _ask(w, "files")),
    ("export", lambda w: _ask(w, "export", name="codings", coder=None)),
    ("remove", _remove),
    (merging.READ, _read_project),
    (merging.ADD, _add_project),
    (merging.REMOVE, lambda w: _post(w, f"/merge/{_last(w, merging.READ)}", act="undo")),
)


# The worker ----------------------------------------------------------------------------------------------------------


def start_worker(root: Path) -> BaseProcess:
    """Start a worker process, as the server does."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=work, args=(root, os.getpid()), daemon=True)
    process.start()
    return process


def _active(workspace: Workspace, *where: Any) -> int:
    job = schema.job
    with workspace.store.read() as connection:
        active = select(func.count()).select_from(job).where(job.c.state.in_(ACTIVE), *where)
        return int(connection.execute(active).scalar_one())


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(
                f"the benchmark stopped, because a job or a decision took more than {_PATIENCE:g} seconds; "
                "run it again while nothing else runs on the machine"
            )
        time.sleep(_PAUSE)


def finish(workspace: Workspace, kind: str) -> None:
    """Run a worker until all jobs of a kind are done; delete the unfinished jobs of other kinds before and after."""
    job = schema.job
    _drop_others(workspace, kind)
    if _active(workspace, job.c.kind == kind):
        process = start_worker(workspace.project.root)
        try:
            _wait(lambda: not _active(workspace, job.c.kind == kind))
        finally:
            _kill(process)
    _drop_others(workspace, kind)


def _drop_others(workspace: Workspace, kind: str) -> None:
    """Delete the unfinished jobs of all other kinds, so that only jobs of one kind are run and compared."""
    job = schema.job
    with workspace.store.write() as connection:
        connection.execute(delete(job).where(job.c.state.in_(ACTIVE), job.c.kind != kind))


def _kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def kill_during(workspace: Workspace, kind: str, kills: int, longest: float, rng: random.Random) -> int:
    """Kill the worker repeatedly while it runs jobs of a kind; return the number of kills.

    Parameters
    ----------
    kind
        Kind of the jobs.
    kills
        Maximum number of kills.
    longest
        Maximum number of seconds from the start of a job to the kill.
    """
    killed, job = 0, schema.job
    running = (job.c.kind == kind, job.c.state == "running")
    while killed < kills and _active(workspace, job.c.kind == kind):
        _drop_others(workspace, kind)
        process = start_worker(workspace.project.root)
        try:
            _wait(lambda: bool(_active(workspace, *running)) or not _active(workspace, job.c.kind == kind))
            end = time.monotonic() + rng.uniform(0, longest)
            while time.monotonic() < end and _active(workspace, job.c.kind == kind):
                time.sleep(_PAUSE)
            killed += bool(_active(workspace, *running))
        finally:
            _kill(process)
    return killed


# What a job leaves ---------------------------------------------------------------------------------------------------

_TIMES = frozenset(("at", "asked", "started", "ended", "created", "seen", "until"))
# Ids of models, which contain the time of the training.
_MODELS = frozenset(("model_id",))


def _timeless(value: Any) -> Any:
    """Return a JSON value from which all times and all ids of models have been removed."""
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in _TIMES | _MODELS}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


def left_by(workspace: Workspace) -> dict[str, Any]:
    """Return the state of the database and the project folder, so that two runs of the same jobs can be compared.

    Times, and ids that contain a time, are left out.
    """
    found: dict[str, Any] = {}
    skipped = {"session", "invitation", "lease", "job", "fact", "place", "tally", "stale", "event", "queue", "ranking"}
    with workspace.store.read() as connection:
        for table in schema.metadata.sorted_tables:
            if table.name not in skipped:
                columns = [column for column in table.c if column.name not in _TIMES | _MODELS | {"suggested"}]
                found[table.name] = sorted(map(repr, connection.execute(select(*columns))))
        event, job = schema.event, schema.job
        rows = connection.execute(
            select(event.c.kind, event.c.record, event.c.coder, event.c.undoes.is_not(None), event.c.value)
        )
        found["event"] = sorted(repr((*row[:-1], _timeless(json.loads(row.value)))) for row in rows)
        # A job that computes suggestions returns how many it computed itself, which no page shows.
        done = connection.execute(
            select(job.c.kind, job.c.result).where(job.c.state == "done", job.c.kind != tagging.KIND)
        )
        found["job"] = sorted(repr((row.kind, _timeless(json.loads(row.result)))) for row in done)
        queue, ranking = schema.queue, schema.ranking
        order = select(ranking.c.stage, ranking.c.strategy, queue.c.position, queue.c.record).where(
            ranking.c.active == 1, ranking.c.id == queue.c.ranking
        )
        found["queue"] = sorted(map(repr, connection.execute(order)))
        failed = connection.execute(select(job.c.message).where(job.c.state == "failed")).scalars()
        found["failed"] = [message.replace(str(workspace.project.root), "") for message in failed]
        wrong = connection.execute(text("PRAGMA integrity_check")).scalar_one()
    found["wrong"] = [wrong] if wrong != "ok" else []
    found["differing tables"] = workspace.store.rebuild()
    root = workspace.project.root
    for path in sorted([*(root / "data").glob("*.*"), *(root / "data/raw").glob("*")]):
        found[str(path.relative_to(root))] = path.read_bytes() if path.suffix in (".csv", ".ris", ".json") else b""
    left = [path for path in root.rglob("*") if ".part" in path.name or path.name.startswith(".mechtag")]
    found["left over"] = [str(path.relative_to(root)) for path in left]
    return found


@dataclass
class Kills:
    """Results of killing the worker during jobs of one kind.

    Attributes
    ----------
    killed
        Number of kills.
    runs
        Number of times that the jobs were run.
    differing
        Names of the results that differ from those of a run without kills.
    """

    kind: str
    killed: int = 0
    runs: int = 0
    differing: list[str] = field(default_factory=list)


def kill_worker(
    folder: Path, kills: int, encoder: str, rng: random.Random, only: Collection[str] = ()
) -> Iterator[Kills]:
    """Run jobs of every kind, once without kills and then with kills, and yield the differences in the results.

    A job may end before it can be killed. The jobs of a kind are therefore repeated from the same starting point until
    the worker was killed ``kills`` times, but at most ``4 * kills`` times.

    Parameters
    ----------
    only
        Kinds of jobs; the jobs of all other kinds are run without kills. By default, the worker is killed during jobs
        of every kind.
    """
    plain = prepare(folder / "plain", encoder)
    for kind, do in STEPS:
        do(plain)
        if only and kind not in only:
            finish(plain, kind)
            continue
        plain.store.close()
        before = folder / "before"
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(plain.project.root, before)
        begun = time.monotonic()
        finish(plain, kind)
        longest = _seconds(plain, kind) or time.monotonic() - begun
        expected, found = left_by(plain), Kills(kind)
        if expected["failed"]:
            raise SystemExit(
                f"the benchmark stopped, because a job of kind '{kind}' failed although the worker was not killed: "
                f"{expected['failed'][-1]}"
            )
        while found.killed < kills and found.runs < 4 * kills:
            found.runs += 1
            root = folder / "killed"
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(before, root)
            workspace = Workspace.open(open_project(root))
            found.killed += kill_during(workspace, kind, kills - found.killed, longest, rng)
            finish(workspace, kind)
            left = left_by(workspace)
            found.differing += [name for name in {**expected, **left} if expected.get(name) != left.get(name)]
            workspace.store.close()
        yield found


def _seconds(workspace: Workspace, kind: str) -> float:
    """Return the duration of the latest job of a kind, in seconds."""
    job = schema.job
    with workspace.store.read() as connection:
        query = select(job.c.started, job.c.ended).where(job.c.kind == kind).order_by(job.c.id.desc()).limit(1)
        row = connection.execute(query).one()
    return (datetime.fromisoformat(row.ended) - datetime.fromisoformat(row.started)).total_seconds()


# The web process -----------------------------------------------------------------------------------------------------


@dataclass
class Reader:
    """A person who decides as fast as the page allows, and whose browser keeps a decision until the server answers.

    Attributes
    ----------
    sent, confirmed
        Ids of the decisions that were sent, and ids of those that the server has confirmed.
    waiting
        Form data of the decision that was sent but is not yet answered; ``None`` if every decision was answered.
    """

    account: int
    sent: set[str] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)
    waiting: dict[str, str] | None = None

    def read(self, workspace: Workspace, address: str, stopped: threading.Event) -> None:
        """Send decisions until the server is killed, ``stopped`` is set, or no record is left."""
        with workspace.store.write() as connection:
            cookies = {f"mechtag-{address.rsplit(':', 1)[1]}": access.open_session(connection, self.account)}
        headers = {"HX-Request": "true", "Origin": address}
        with suppress(httpx.TransportError), httpx.Client(base_url=address, cookies=cookies, timeout=60) as client:
            page = client.get("/screen").text
            while not stopped.is_set():
                form = self.waiting or _form(page)
                if form is None:
                    return
                self.sent.add(form["client_id"])
                self.waiting = form
                answer = client.post("/screen/decide", data={**form, "csrf": _value(page, "csrf")}, headers=headers)
                if answer.status_code == 429:
                    time.sleep(0.2)
                    continue
                # If a decision was stored before the kill, the server calls it outdated or repeats its answer.
                if answer.is_success or answer.status_code == 409:
                    self.confirmed.add(form["client_id"])
                    self.waiting = None
                    page = answer.text if answer.is_success else client.get("/screen").text


def _value(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    return found[1] if found else ""


def _form(page: str) -> dict[str, str] | None:
    """Return the fields of the page's decision form, with a random decision; ``None`` if the page has no such form.

    The fields include the id that the page assigned to the decision.
    """
    _, found, rest = page.partition('action="/screen/decide"')
    if not found:
        return None
    fields = {name: _value(rest, name) for name in ("record", "sight", "based_on", "client_id")}
    return {**fields, "seconds": "1", "answer": random.choice(("include", "exclude"))}


def _wait_for_decisions(readers: Sequence[Reader]) -> None:
    """Wait until the server has confirmed one more decision."""
    before = sum(len(each.confirmed) for each in readers)
    _wait(lambda: sum(len(each.confirmed) for each in readers) > before)


def kill_web(folder: Path, kills: int, records: int, rng: random.Random) -> dict[str, int]:
    """Kill the web process repeatedly while two people decide.

    Returns
    -------
    dict
        Numbers of kills, of decisions that were sent, confirmed, lost although confirmed, and stored twice, of checks
        of the database that failed, and of events that differ between the database and the text log.
    """
    root = folder / "web"
    workspace = prepare(root, "fast")
    with workspace.store.write() as connection:
        rows = [Record(record_id=f"doi:10.1/{n}", title=f"Village {n}", abstract=_abstract(n)) for n in range(records)]
        add_records(connection, rows, (), 1, {})
        for stage in ("screen", "code"):
            numbers = range(1, records + 1)
            order.add_ranking(connection, stage, numbers, strategy="random", at=utc_now(), learned_from=0, seed=0)
        write_fact(connection, "ranked", sys.maxsize)
    readers = [Reader(ANN), Reader(BOB)]
    wrong = 0
    for _ in range(kills):
        with served(root) as (address, process, _):
            stopped = threading.Event()
            threads = [threading.Thread(target=each.read, args=(workspace, address, stopped)) for each in readers]
            for thread in threads:
                thread.start()
            if rng.random() < 0.9:  # else the process may be killed while it starts
                _wait_for_decisions(readers)
            time.sleep(rng.uniform(0, 1.5))
            children = process.children()
            process.send_signal(signal.SIGKILL)
            stopped.set()
            for thread in threads:
                thread.join()
            psutil.wait_procs(children, timeout=30)
        workspace.store.close()
        workspace = Workspace.open(open_project(root))
        with workspace.store.read() as connection:
            wrong += connection.execute(text("PRAGMA integrity_check")).scalar_one() != "ok"
        wrong += bool(workspace.store.rebuild())
    write_imports(workspace)
    Journal(workspace).flush()
    event = schema.event
    with workspace.store.read() as connection:
        written = Counter(connection.execute(select(event.c.client_id).where(event.c.kind == "code")).scalars())
    logged = Counter(row["client_id"] for row in read_log(root / FOLDER / "log") if row["kind"] == "code")
    confirmed = set().union(*(each.confirmed for each in readers))
    return {
        "kills": kills,
        "decisions sent": len(set().union(*(each.sent for each in readers))),
        "decisions confirmed": len(confirmed),
        "confirmed and lost": len(confirmed - written.keys()),
        "doubled": sum(number > 1 for number in written.values()),
        "checks of the database that failed": wrong,
        "events in which the text log differs": len(set(written.items()) ^ set(logged.items())),
    }


def origins(results: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence for each earlier commit that names the results measured at that commit."""
    commits: dict[str, dict[str, None]] = {}
    for found in results:
        if "commit" in found:
            commits.setdefault(found["commit"], {})[found["dataset"]] = None
    return " ".join(f"Measured at commit {commit}: {', '.join(names)}." for commit, names in commits.items())


def main() -> None:
    """Run the benchmark; after each measurement, publish the new results and keep the others that were published."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--web", type=int, default=50, help="kills of the web process")
    parser.add_argument("--worker", type=int, default=20, help="kills of the worker during jobs of each kind")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        choices=(_WEB, *dict(STEPS)),
        help="kill only the web process, or only the worker during jobs of these kinds",
    )
    parser.add_argument("--no-publish", action="store_true", help="print the results only")
    chosen = parser.parse_args()
    rng = random.Random(_SEED)
    published = read_json(PUBLISHED) if PUBLISHED.exists() else {"commit": "", "results": []}
    results = []
    for found in _measure(chosen.only, chosen.web, chosen.worker, rng):
        results += found
        for each in found:
            sys.stdout.write(f"{each['dataset']}: {each['value']} {each['metric']}\n")
        sys.stdout.flush()
        if not chosen.no_publish:
            kept = merge(published, results)
            text = _TEXT.format(origins=origins(kept))
            publish("review_kills", COMMAND, kept, text, versions=("starlette", "uvicorn", "sqlalchemy"))


def _measure(only: Collection[str], web: int, worker: int, rng: random.Random) -> Iterator[list[dict[str, Any]]]:
    """Yield the results for the web process, and then those for each kind of job.

    ``web`` and ``worker`` are numbers of kills. ``only`` selects the web process or kinds of jobs; by default, all are
    measured.
    """
    if not only or _WEB in only:
        yield [result("review", "web process", name, value) for name, value in kill_web(WORK, web, 20_000, rng).items()]
    kinds = [kind for kind, _ in STEPS if kind in only or not only]
    for found in kill_worker(WORK, worker, "fast", rng, kinds) if kinds else ():
        for name in found.differing:
            sys.stdout.write(f"job {found.kind}: {name} differs\n")
        counts = {"kills of the worker": found.killed, "runs": found.runs, "ends that differ": len(found.differing)}
        yield [result(f"job {found.kind}", "worker", name, value) for name, value in counts.items()]


if __name__ == "__main__":
    main()
