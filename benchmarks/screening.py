"""Compare the reading orders of mechtag and ASReview 3 on finished reviews, from the same known records."""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import os
import sqlite3
import subprocess
import tempfile
import venv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import BENCH
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.settings import EncoderSettings
from mechtag.models.encoder import TransformerEncoder, locate_encoder
from mechtag.pipeline.screening.search import Ranker, encode_cached
from mechtag.pipeline.screening.simulation import Labels, Order, draw_priors, reading_order, screening_figures

COMMAND = "python -m benchmarks.screening"
# Versions of the same review are grouped: nagtegaal_2019 is nudging before cleaning.
GROUPS = (
    *(("ace",), ("jeyaraman_2020",), ("menon_2022",), ("nagtegaal_2019", "nudging")),
    *(("oud_2018",), ("virus",), ("wilson",)),
)
REVIEWS = tuple(name for group in GROUPS for name in group)
SEED = 2021
WORK = ROOT / "data/work/benchmarks/screening"
_ASREVIEW = "asreview==3.0.8"
_TEXT = (ROOT / "benchmarks/screening.md").read_text(encoding="utf-8")
# Records that mechtag reads between two rankings. ASReview ranks after each record, which is an advantage for
# it but takes several times as long.
_BATCH = 5
_BOOTSTRAP = 10_000
_NAMES = {
    "loss": "loss",
    "wss_95": "WSS@95",
    "mean_time_to_discovery": "mean time to discovery",
    "recall_10": "recall at 10%",
}
Figures = dict[str, float]


@cache
def review(name: str) -> tuple[tuple[str, ...], tuple[str, ...], Labels]:
    """Return the titles, abstracts and labels of a review's records."""
    path = BENCH / "screening" / f"{name}.csv.gz"
    if not path.is_file():
        raise MechtagError(f"{path}: no such file; MECHTAG_BENCH names the folder of the benchmark data")
    csv.field_size_limit(2**31 - 1)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([int(row["label"]) for row in rows])
    return tuple(row["title"] for row in rows), tuple(row["abstract"] for row in rows), labels


def priors(name: str, run: int) -> Order:
    """Return the rows of the records that both systems know beforehand, one relevant and one irrelevant."""
    return draw_priors(review(name)[2], np.random.default_rng((SEED, run)))


@cache
def ranker(name: str) -> Ranker:
    """Return a ranker for a review; vectors are computed once and cached."""
    settings = EncoderSettings()
    source = locate_encoder(settings.name, revision=settings.revision)

    def load() -> TransformerEncoder:
        import torch

        torch.set_num_threads(1)
        return TransformerEncoder(source, max_tokens=settings.max_tokens, batch_tokens=settings.batch_tokens)

    titles, abstracts, _ = review(name)
    texts = [f"{title}\n{abstract}".strip() for title, abstract in zip(titles, abstracts, strict=True)]
    vectors = encode_cached(load, f"{source.sha256}/{settings.max_tokens}", texts, WORK / f"{name}.vectors.npz")
    return Ranker(texts, vectors)


def _mechtag(name: str, run: int) -> list[int]:
    order = reading_order(ranker(name), review(name)[2], priors(name, run), batch=_BATCH)
    return [int(row) for row in order]


@cache
def _asreview_command() -> str:
    """Return the ASReview command: from MECHTAG_ASREVIEW, or from an environment that the first call sets up."""
    named = os.environ.get("MECHTAG_ASREVIEW")
    if named:
        return named
    folder = ROOT / "data/work/benchmarks/asreview3"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run((folder / "bin/python", "-m", "pip", "install", "--quiet", _ASREVIEW), check=True)
        (folder / "ready").touch()
    return str(folder / "bin/asreview")


def _asreview(name: str, run: int) -> list[int]:
    """Run ``asreview simulate`` with its default model, and return the reading order up to the last relevant record."""
    titles, abstracts, labels = review(name)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "review.csv", Path(folder) / "review.asreview"
        with source.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("title", "abstract", "included"))
            writer.writerows(zip(titles, abstracts, labels, strict=True))
        known = [str(row) for row in priors(name, run)]
        words = ("simulate", str(source), "--prior-idx", *known, "--seed", str(run), "-o", str(target))
        subprocess.run((_asreview_command(), *words), check=True, capture_output=True)
        with zipfile.ZipFile(target) as project:
            project.extract("results.db", folder)
        with sqlite3.connect(Path(folder) / "results.db") as database:
            read = [int(row) for (row,) in database.execute("SELECT record_id FROM results ORDER BY rowid")]
    if labels[read].sum() != labels.sum():
        raise MechtagError(f"{name}: ASReview found {labels[read].sum()} of {labels.sum()} relevant records")
    seen = set(read)
    return read + [row for row in range(len(labels)) if row not in seen]


SYSTEMS: dict[str, Callable[[str, int], list[int]]] = {"mechtag": _mechtag, "ASReview 3": _asreview}


def _fingerprint(system: str) -> str:
    """Return a hash of everything on which a reading order depends, so that outdated orders are not reused."""
    if system != "mechtag":
        return _ASREVIEW.replace("==", "-")
    code = (ROOT / "pipeline/screening/search.py").read_bytes()
    return f"mechtag-{hashlib.sha256(code).hexdigest()[:12]}-{_BATCH}"


def order_of(system: str, name: str, run: int) -> Order:
    """Return the rows of a review in the reading order of a system, starting with the priors; orders are cached."""
    path = WORK / _fingerprint(system) / f"{name}-{run}.json"
    if not path.exists():
        write_json(path, {"order": SYSTEMS[system](name, run)})
        print(f"{system}: {name}, run {run}", flush=True)  # noqa: T201
    return np.array(read_json(path)["order"], dtype=np.int64)


def _figures(system: str, name: str, runs: int) -> list[Figures]:
    labels = review(name)[2]
    return [asdict(screening_figures(labels[order_of(system, name, run)[2:]])) for run in range(runs)]


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean over reviews; versions of one review are drawn together."""
    places = {name: place for place, name in enumerate(REVIEWS)}
    groups = [[places[name] for name in group] for group in GROUPS]
    generator = np.random.default_rng(SEED)
    means = []
    for drawn in generator.integers(len(groups), size=(_BOOTSTRAP, len(groups))):
        rows = [row for group in drawn for row in groups[group]]
        means.append(values[rows].mean())
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _results(runs: int) -> Iterator[dict[str, Any]]:
    mean: dict[tuple[str, str], NDArray[np.float64]] = {}
    for name in REVIEWS:
        for system in SYSTEMS:
            figures = _figures(system, name, runs)
            for key, shown in _NAMES.items():
                value = float(np.mean([run[key] for run in figures]))
                mean[system, key] = np.append(mean.get((system, key), np.empty(0)), value)
                yield result(name, system, shown, value, runs=runs)
    for system in SYSTEMS:
        for key, shown in _NAMES.items():
            values = mean[system, key]
            yield result("mean of the reviews", system, shown, float(values.mean()), _interval(values), runs)
    for key, shown in _NAMES.items():
        difference = mean["mechtag", key] - mean["ASReview 3", key]
        yield result("mean of the reviews", "difference", shown, float(difference.mean()), _interval(difference), runs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what has not been run yet, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="draws of the two records known beforehand")
    parser.add_argument("--only", choices=SYSTEMS, help="run this system, and publish nothing")
    chosen = parser.parse_args(arguments)
    if chosen.only:
        for run in range(chosen.runs):
            for name in REVIEWS:
                order_of(chosen.only, name, run)
        return
    versions = ("scikit-learn", "transformers", "torch", _ASREVIEW.replace("==", " "))
    publish("screening", f"{COMMAND} --runs {chosen.runs}", list(_results(chosen.runs)), _TEXT, versions=versions)


if __name__ == "__main__":
    main()
