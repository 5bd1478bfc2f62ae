"""Measure tagging of large numbers of records: speed, memory, resuming after a kill, and the engine Ray.

The time that tagging all of PubMed would take is estimated from the results.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import BENCH, read_table
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json, write_text
from mechtag.core.parquet import read_predictions, write_records
from mechtag.core.records import Record

COMMAND = "python -m benchmarks.batch"
_SCREENING = BENCH / "screening"
WORK = ROOT / "data/work/benchmarks/batch"
RECORDS = (10_000, 100_000)
KILLS = 20
PUBMED = 40_000_000
_SEED = 2021
# Proportion of the words of an abstract that are replaced.
_CHANGED = 0.1
# Runs to be killed are smaller and have smaller chunks, so that a kill may occur at any stage of a run.
_KILLED_RECORDS, _KILLED_CHUNK = 600, 30
_POLL = 0.1
_TEXT = (ROOT / "benchmarks/batch.md").read_text(encoding="utf-8")


def _papers() -> list[tuple[str, str]]:
    """Return the titles and abstracts of the screening sets."""
    paths = sorted(_SCREENING.glob("*.csv.gz"))
    if not paths:
        raise MechtagError(
            f"{_SCREENING}: no screening sets found; set MECHTAG_BENCH to the folder of the benchmark data"
        )
    return [(row["title"], row["abstract"]) for path in paths for row in read_table(path)]


def invent(count: int, seed: int) -> Iterator[Record]:
    """Yield ``count`` invented records, which are real papers with some words of the abstract replaced at random.

    If there are fewer papers than records, papers are used repeatedly, each time with different replacements.
    """
    papers, rng = _papers(), np.random.default_rng(seed)
    words = [word for _, abstract in papers[:500] for word in abstract.split()]
    for number in range(count):
        title, abstract = papers[number % len(papers)]
        text = abstract.split()
        for place in np.flatnonzero(rng.random(len(text)) < _CHANGED):
            text[place] = words[rng.integers(len(words))]
        yield Record(record_id=f"bench:{number}", title=title or "Untitled", abstract=" ".join(text))


def _table(count: int) -> Path:
    path = WORK / f"records_{count}.parquet"
    if not path.exists():
        write_records(path, invent(count, _SEED))
    return path


def _project(chunk: int | None = None) -> Path:
    """Write a project folder with the settings of the repository, and return its path.

    ``chunk`` overrides the number of records per chunk.
    """
    settings = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    settings["codebook"] = str(ROOT / settings["codebook"])
    if chunk:
        settings["tag"]["chunk_records"] = chunk
    folder = WORK / f"project_{chunk or 'default'}"
    write_text(folder / "params.yaml", yaml.safe_dump(settings))
    return folder


def _start(records: Path, output: Path, *more: object, chunk: int | None = None) -> subprocess.Popen[bytes]:
    where = ("--project", _project(chunk), "--model", ROOT / "models/trained")
    words = ("tag", records, "-o", output, *where, "--runtime", "auto", *more)
    with (WORK / "log.txt").open("ab") as log:
        return subprocess.Popen((sys.executable, "-m", "mechtag", *map(str, words)), cwd=ROOT, stdout=log, stderr=log)


def _tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        own = psutil.Process(process.pid)
        return [own, *own.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # ended, or a zombie process
        return ""


def _memory(processes: Sequence[psutil.Process]) -> int:
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _wait(process: subprocess.Popen[bytes], begun: float) -> dict[str, float]:
    """Wait until a tagging run ends; return its duration in seconds and the peak memory of its processes in megabytes.

    ``begun`` is the value of `time.perf_counter` when the run started.
    """
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory(_tree(process)))
        time.sleep(_POLL)
    if process.returncode:
        raise MechtagError(
            f"a tagging run failed with status {process.returncode}; its messages are in {WORK / 'log.txt'}"
        )
    return {"seconds": time.perf_counter() - begun, "megabytes": peak / 1e6}


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def _kept(name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the metrics that an earlier run saved, or measure and save them."""
    path = WORK / f"{name}.json"
    if not path.exists():
        sys.stderr.write(f"{name}\n")
        write_json(path, measure())
    return read_json(path)


def uninterrupted(count: int, chunk: int | None = None) -> dict[str, Any]:
    """Tag ``count`` records on this machine in one run without interruption.

    The results include hashes of the output files, with which interrupted runs are compared.
    """
    output = WORK / f"whole_{count}"
    shutil.rmtree(output, ignore_errors=True)
    records, begun = _table(count), time.perf_counter()
    cost = _wait(_start(records, output, chunk=chunk), begun)
    return {**cost, "outputs": _hashes(output)}


def killed(number: int, count: int, whole: dict[str, Any]) -> dict[str, Any]:
    """Kill a tagging run at a random moment, resume it, and compare its outputs with those of an uninterrupted run.

    Parameters
    ----------
    number
        Number of the repetition; it is part of the seed with which the moment is drawn.
    whole
        Results of `uninterrupted`.
    """
    output = WORK / "killed"
    shutil.rmtree(output, ignore_errors=True)
    process = _start(_table(count), output, chunk=_KILLED_CHUNK)
    time.sleep(np.random.default_rng([_SEED, number]).uniform(0, whole["seconds"]))
    process.send_signal(signal.SIGKILL)
    process.wait()
    parts = len(list((output / "parts").glob("*.parquet")))
    _wait(_start(_table(count), output, "--resume", chunk=_KILLED_CHUNK), time.perf_counter())
    return {"parts_at_kill": parts, "identical": _hashes(output) == whole["outputs"]}


def with_ray(count: int, workers: int, whole: Path, *, kill: bool = False) -> dict[str, Any]:
    """Tag ``count`` records with the engine Ray, and compare the outputs with those of the local engine.

    Parameters
    ----------
    whole
        Output folder of a run with the local engine.
    kill
        Whether to kill a Ray worker during the run.
    """
    output = WORK / "ray"
    shutil.rmtree(output, ignore_errors=True)
    records, begun = _table(count), time.perf_counter()
    process = _start(records, output, "--engine", "ray", "--workers", workers)
    deaths = 0
    while kill and not deaths and process.poll() is None:
        time.sleep(_POLL)
        if (output / "parts/predictions-00001.json").exists():
            at_work = [each for each in _tree(process) if "ray::MapWorker" in _command(each)]
            if at_work:
                at_work[0].kill()
                deaths = 1
    cost = _wait(process, begun)
    if kill and not deaths:
        raise MechtagError(
            f"the run with {count:,} records ended before a Ray worker could be killed; "
            "pass larger numbers to --records"
        )
    same = _hashes(output) == _hashes(whole)
    pairs = list(
        zip(
            read_predictions(output / "predictions.parquet"),
            read_predictions(whole / "predictions.parquet"),
            strict=True,
        )
    )
    return {
        **cost,
        "killed": deaths,
        "identical_files": same,
        "changed_decisions": sum(
            (a.record_id, a.label, a.decision) != (b.record_id, b.label, b.decision) for a, b in pairs
        ),
        "probability_difference": max(abs((a.probability or 0) - (b.probability or 0)) for a, b in pairs),
    }


def _scale(sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    for count in sizes:
        found = _kept(f"scale_{count}", lambda count=count: uninterrupted(count))  # type: ignore[misc]
        dataset = f"{count:,} records"
        yield result(dataset, "local", "seconds", found["seconds"])
        yield result(dataset, "local", "records/s", count / found["seconds"])
        yield result(dataset, "local", "MB at the peak", found["megabytes"])


def _kills(count: int, kills: int) -> Iterator[dict[str, Any]]:
    whole = _kept(f"whole_{count}_in_{_KILLED_CHUNK}", lambda: uninterrupted(count, _KILLED_CHUNK))
    runs = [
        _kept(f"kill_{count}_{number}", lambda number=number: killed(number, count, whole))  # type: ignore[misc]
        for number in range(kills)
    ]
    dataset = f"{count:,} records, {len(runs)} runs killed"
    yield result(dataset, "local", "same outputs", sum(run["identical"] for run in runs), runs=len(runs))


def _with_ray(count: int) -> Iterator[dict[str, Any]]:
    for name, workers, kill in (("1 worker", 1, False), ("2 workers", 2, False), ("2 workers, one killed", 2, True)):
        found = _kept(
            f"ray_{count}_{workers}{'_killed' * kill}",
            lambda workers=workers, kill=kill: with_ray(count, workers, WORK / f"whole_{count}", kill=kill),  # type: ignore[misc]
        )
        dataset = f"{count:,} records"
        yield result(dataset, f"Ray, {name}", "seconds", found["seconds"])
        yield result(dataset, f"Ray, {name}", "records/s", count / found["seconds"])
        yield result(dataset, f"Ray, {name}", "workers killed", found["killed"])
        yield result(dataset, f"Ray, {name}", "changed decisions", found["changed_decisions"])
        yield result(dataset, f"Ray, {name}", "largest difference", found["probability_difference"])


def _estimate(results: Sequence[dict[str, Any]], cores: int, price: float) -> Iterator[dict[str, Any]]:
    rate = [found["value"] for found in results if (found["system"], found["metric"]) == ("local", "records/s")][-1]
    hours = PUBMED / (rate / cores) / 3600
    dataset = f"{PUBMED:,} records (estimate)"
    yield result(dataset, "from the local rate", "core-hours", hours)
    yield result(dataset, "from the local rate", f"cost at {price:g} a core-hour", hours * price)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurements that have not been run yet, and publish the results."""
    published = "results are published only with the default"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=RECORDS, help="numbers of records; " + published)
    parser.add_argument("--kills", type=int, default=KILLS, help="number of runs to kill; " + published)
    parser.add_argument("--price", type=float, default=0.05, help="price of a core-hour, in any currency")
    parser.add_argument("--anew", action="store_true", help="repeat finished measurements")
    chosen = parser.parse_args(arguments)
    if chosen.anew:
        shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    sizes = sorted(chosen.records)
    results = list(_scale(sizes))
    results += _with_ray(sizes[0])
    results += _kills(min(_KILLED_RECORDS, sizes[0]), chosen.kills)
    results += _estimate(results, len(os.sched_getaffinity(0)), chosen.price)
    for found in results:
        sys.stderr.write("{dataset}: {system}: {metric} {value:.6g}\n".format(**found))
    if (tuple(sizes), chosen.kills) == (RECORDS, KILLS):
        publish("batch", COMMAND, results, _TEXT, versions=("openvino", "torch", "spacy", "ray", "pyarrow"))


if __name__ == "__main__":
    main()
