"""Compare the reading orders of mechtag and ASReview 3 on finished reviews; both start from the same known records.

A second order of mechtag, which starts without known records from a definition of relevance, is also measured.
"""

from __future__ import annotations

import argparse
import ast
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
from mechtag.pipeline.screening.search import Search, encode_cached
from mechtag.pipeline.screening.simulation import Labels, Order, draw_priors, reading_order, screening_figures

COMMAND = "python -m benchmarks.screening"
# Versions of the same review are grouped: nagtegaal_2019 is nudging before cleaning.
GROUPS = (
    *(("ace",), ("jeyaraman_2020",), ("menon_2022",), ("nagtegaal_2019", "nudging")),
    *(("oud_2018",), ("virus",), ("wilson",)),
)
REVIEWS = tuple(name for group in GROUPS for name in group)
# Title of each published review, which serves as the definition of relevance for a start without known records.
_NUDGING = "Nudging healthcare professionals towards evidence-based medicine: a systematic scoping review"
DEFINITIONS = {
    "ace": "Drug class review on angiotensin converting enzyme inhibitors",
    "jeyaraman_2020": "Does the source of mesenchymal stem cell have an effect in the management of osteoarthritis of "
    "the knee? Meta-analysis of randomized controlled trials",
    "menon_2022": "The methodological rigour of systematic reviews in environmental health",
    "nagtegaal_2019": _NUDGING,
    "nudging": _NUDGING,
    "oud_2018": "Specialized psychotherapies for adults with borderline personality disorder: a systematic review and "
    "meta-analysis",
    "virus": "Virus metagenomics in farm animals: a systematic review",
    "wilson": "Comparative effectiveness of common therapies for Wilson disease: a systematic review and meta-analysis "
    "of controlled studies",
}
SEED = 2021
#: Folder of vectors and reading orders, which take long to compute.
WORK = Path(os.environ.get("MECHTAG_BENCH_WORK", ROOT / "data/work/benchmarks")) / "screening"
_ASREVIEW = "asreview==3.0.8"
_TEXT = (ROOT / "benchmarks/screening.md").read_text(encoding="utf-8")
# Records that each system reads between two rankings, which is the default of `mechtag simulate`. Ranking after each
# record takes ten times as long.
_BATCH = 10
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
    """Return the titles, abstracts and labels (1 for relevant, 0 for irrelevant) of a review's records.

    Raises
    ------
    MechtagError
        If the file of the review is missing.
    """
    path = BENCH / "screening" / f"{name}.csv.gz"
    if not path.is_file():
        raise MechtagError(f"{path}: no such file; set MECHTAG_BENCH to the folder of the benchmark data")
    csv.field_size_limit(2**31 - 1)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([int(row["label"]) for row in rows])
    return tuple(row["title"] for row in rows), tuple(row["abstract"] for row in rows), labels


def priors(name: str, run: int) -> Order:
    """Return the rows of the two known records from which all systems start: a relevant and an irrelevant record.

    Each repetition (``run``) of a review has different known records.
    """
    return draw_priors(review(name)[2], np.random.default_rng((SEED, run)))


@cache
def search(name: str) -> Search:
    """Return the records of a review, prepared for ranking; their vectors are cached."""
    settings = EncoderSettings()
    source = locate_encoder(settings.name, revision=settings.revision)

    def load() -> TransformerEncoder:
        import torch

        torch.set_num_threads(1)
        return TransformerEncoder(source, max_tokens=settings.max_tokens, batch_tokens=settings.batch_tokens)

    titles, abstracts, _ = review(name)
    texts = [f"{title}\n{abstract}".strip() for title, abstract in zip(titles, abstracts, strict=True)]
    encoder_id = f"{source.sha256}/{settings.max_tokens}"
    vectors = encode_cached(load, encoder_id, [*texts, DEFINITIONS[name]], WORK / f"{name}.vectors.npz")
    return Search([], texts, vectors[:-1], vectors[-1])


def _mechtag(name: str, run: int) -> list[int]:
    order = reading_order(search(name).ranker, review(name)[2], priors(name, run), batch=_BATCH)
    return [int(row) for row in order]


def _from_definition(name: str, _: int) -> list[int]:
    nothing_known = np.empty(0, dtype=np.int64)
    order = reading_order(search(name), review(name)[2], nothing_known, batch=_BATCH)
    return [int(row) for row in order]


@cache
def _asreview_command() -> str:
    """Return the path of the command ``asreview``.

    The environment variable ``MECHTAG_ASREVIEW`` sets the path. Without it, ASReview is installed in a separate
    environment on first use.
    """
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
    """Run ``asreview simulate`` with its default model, and return the reading order as row numbers.

    The simulation ends at the last relevant record. The other records follow in the order of the file.

    Raises
    ------
    MechtagError
        If the simulation did not find all relevant records.
    """
    titles, abstracts, labels = review(name)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "review.csv", Path(folder) / "review.asreview"
        with source.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("title", "abstract", "included"))
            writer.writerows(zip(titles, abstracts, labels, strict=True))
        known = [str(row) for row in priors(name, run)]
        words = ("simulate", str(source), "--prior-idx", *known, "--seed", str(run), "--n-query", str(_BATCH))
        # ASReview writes a cache into the working directory.
        command = (_asreview_command(), *words, "-o", str(target))
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        with zipfile.ZipFile(target) as project:
            project.extract("results.db", folder)
        with sqlite3.connect(Path(folder) / "results.db") as database:
            read = [int(row) for (row,) in database.execute("SELECT record_id FROM results ORDER BY rowid")]
    if labels[read].sum() != labels.sum():
        raise MechtagError(
            f"review {name}: the simulation by ASReview found {labels[read].sum()} of {labels.sum()} relevant records "
            f"instead of all; check that the command 'asreview' is that of {_ASREVIEW}"
        )
    seen = set(read)
    return read + [row for row in range(len(labels)) if row not in seen]


_COLD = "mechtag, from the definition"
SYSTEMS: dict[str, Callable[[str, int], list[int]]] = {
    "mechtag": _mechtag,
    "ASReview 3": _asreview,
    _COLD: _from_definition,
}


def _fingerprint(system: str) -> str:
    """Return the name of the folder with a system's reading orders, so that outdated reading orders are not reused.

    The name contains the version of ASReview, or a hash of the code of mechtag's ranker, without comments and
    docstrings.
    """
    if system == "ASReview 3":
        return f"{_ASREVIEW.replace('==', '-')}-{_BATCH}"
    tree = ast.parse((ROOT / "pipeline/screening/search.py").read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    start = "cold" if system == _COLD else "known"
    return f"mechtag-{hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]}-{start}-{_BATCH}"


def order_of(system: str, name: str, run: int) -> Order:
    """Return the row numbers of a review's records in the order in which a system would have people read the records.

    The known records come first. Each repetition (``run``) has different known records. Orders are cached.
    """
    path = WORK / _fingerprint(system) / f"{name}-{run}.json"
    if not path.exists():
        write_json(path, {"order": SYSTEMS[system](name, run)})
        print(f"{system}: {name}, run {run}", flush=True)  # noqa: T201
    return np.array(read_json(path)["order"], dtype=np.int64)


def _figures(system: str, name: str, runs: int) -> list[Figures]:
    """Return the metrics of a system on a review, one set per run.

    The order that starts from a definition of relevance does not depend on the known records, so it has only one run.
    """
    labels = review(name)[2]
    if system == _COLD:
        return [asdict(screening_figures(labels[order_of(system, name, 0)]))]
    return [asdict(screening_figures(labels[order_of(system, name, run)[2:]])) for run in range(runs)]


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean over reviews.

    Reviews are resampled, and runs are resampled within each drawn review. Versions of the same review are drawn
    together.

    Parameters
    ----------
    values
        Metric of each review and run, shape (n_reviews, n_runs).
    """
    places = {name: place for place, name in enumerate(REVIEWS)}
    groups = [[places[name] for name in group] for group in GROUPS]
    generator = np.random.default_rng(SEED)
    means = []
    for drawn in generator.integers(len(groups), size=(_BOOTSTRAP, len(groups))):
        rows = [row for group in drawn for row in groups[group]]
        runs = generator.integers(values.shape[1], size=(len(rows), values.shape[1]))
        means.append(values[np.array(rows)[:, None], runs].mean())
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _results(runs: int) -> Iterator[dict[str, Any]]:
    found = {system: {name: _figures(system, name, runs) for name in REVIEWS} for system in SYSTEMS}
    for name in REVIEWS:
        for system in SYSTEMS:
            for key, shown in _NAMES.items():
                figures = [run[key] for run in found[system][name]]
                yield result(name, system, shown, float(np.mean(figures)), runs=len(figures))
    for key, shown in _NAMES.items():
        tables = {system: np.array([[run[key] for run in found[system][name]] for name in REVIEWS]) for system in found}
        tables["difference"] = tables["mechtag"] - tables["ASReview 3"]
        for system, table in tables.items():
            mean, interval = float(table.mean()), _interval(table)
            yield result("mean of the reviews", system, shown, mean, interval, table.shape[1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the reading orders that are not cached yet; publish the results unless ``--only`` is set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="draws of the two records known beforehand")
    parser.add_argument("--only", choices=SYSTEMS, help="run this system, and publish nothing")
    chosen = parser.parse_args(arguments)
    if chosen.only:
        for run in range(1 if chosen.only == _COLD else chosen.runs):
            for name in REVIEWS:
                order_of(chosen.only, name, run)
        return
    versions = ("scikit-learn", "transformers", "torch", _ASREVIEW.replace("==", " "))
    publish("screening", f"{COMMAND} --runs {chosen.runs}", list(_results(chosen.runs)), _TEXT, versions=versions)


if __name__ == "__main__":
    main()
