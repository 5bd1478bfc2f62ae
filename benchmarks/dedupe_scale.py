"""Measure how the time and memory of ``mechtag ingest`` and ``mechtag dedupe`` grow with the number of records."""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.corrupt import change, corrupt, near_miss
from benchmarks.dedupe import count as count_groups
from benchmarks.measure import run
from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import COLUMNS, papers, row
from mechtag.core.files import read_json, replacing
from mechtag.core.records import Record

COMMAND = "python -m benchmarks.dedupe_scale"
SIZES = (10_000, 100_000, 1_000_000)
_SEED = 2021
# Proportions of the records that are new papers, copies of an earlier paper, and papers that resemble an earlier paper.
_KINDS, _SHARES = ("paper", "copy", "near miss"), (0.7, 0.25, 0.05)
_TEXT = (ROOT / "benchmarks/dedupe_scale.md").read_text(encoding="utf-8")


def _invent(base: list[Record], number: int, rng: np.random.Generator) -> Record:
    """Return an invented paper: its title joins halves of two real titles, and its year, pages and DOI are random.

    The abstract, the journal and the authors are from real papers.
    """
    first, second, frame = (base[index] for index in rng.integers(len(base), size=3))
    front, back = first.title.split(), second.title.split()
    title = " ".join(front[: (len(front) + 1) // 2] + back[len(back) // 2 :])
    authors = list(frame.authors)
    rng.shuffle(authors)
    start = int(rng.integers(1, 3000))
    return change(
        frame,
        title=title,
        abstract=second.abstract,
        authors=tuple(authors),
        year=int(rng.integers(1990, 2027)),
        volume=str(rng.integers(1, 200)),
        issue=str(rng.integers(1, 13)),
        pages=f"{start}-{start + int(rng.integers(2, 15))}",
        doi=f"10.5555/scale.{number}" if rng.random() < 0.8 else None,
    )


def generate(count: int, seed: int) -> Iterator[tuple[Record, str]]:
    """Yield generated records, each with the name of the paper that it describes.

    Copies of a paper come later than the paper, at random positions.
    """
    rng = np.random.default_rng(seed)
    base = papers()
    recent: list[tuple[Record, str]] = []
    for number in range(count):
        kind = rng.choice(_KINDS, p=_SHARES) if recent else "paper"
        if kind == "paper":
            made = _invent(base, number, rng), f"paper {number}"
            if len(recent) < 10_000:
                recent.append(made)
            else:
                recent[rng.integers(len(recent))] = made
        else:
            place = int(rng.integers(len(recent)))
            paper, name = recent[place]
            made = corrupt(paper, rng), name
            if kind == "near miss":
                # At most one per paper: two replies to one paper could be the same reply.
                made = near_miss(paper, rng), f"near miss {number}"
                recent[place] = recent[-1]
                recent.pop()
        yield made


def write_csv(path: Path, count: int, seed: int) -> dict[int, str]:
    """Write generated records as CSV; return the paper that each row describes, keyed by the row number (from 1)."""
    groups = {}
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for number, (record, group) in enumerate(generate(count, seed), start=1):
            groups[number] = group
            writer.writerow({**row(record), "ID": number})
    return groups


def measure(count: int, folder: Path) -> list[dict[str, Any]]:
    """Run ``mechtag ingest`` and ``mechtag dedupe`` as a user would, and return time, memory and counts of errors."""
    source, records, unique = folder / "records.csv", folder / "records.parquet", folder / "unique.parquet"
    groups = write_csv(source, count, _SEED)
    dataset = f"{count:,} records"
    results = []
    for stage, command in (
        ("ingest", ("ingest", str(source), "-o", str(records))),
        ("dedupe", ("dedupe", str(records), "-o", str(unique))),
    ):
        cost = run((sys.executable, "-m", "mechtag", *command))
        growth = 1e6 * cost.seconds / (count * math.log2(count))
        results += [
            result(dataset, stage, "seconds", cost.seconds),
            result(dataset, stage, "MB", cost.megabytes),
            result(dataset, stage, "microseconds / (n log2 n)", growth),
            result(dataset, stage, "kB a record", 1e3 * cost.megabytes / count),
        ]
    read = read_json(folder / "ingest.json")
    assert read["read"] == read["kept"] + read["rejected"] == count, read
    kept = set(pq.read_table(unique, columns=["source_index"])["source_index"].to_pylist())
    counts = count_groups([groups[number] for number in range(1, count + 1)], kept)
    results += [result(dataset, "dedupe", name, value) for name, value in counts._asdict().items()]
    return results


def main() -> None:
    """Run the measurement for each number of records, and publish the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=SIZES,
        help="numbers of records; results are published only with the default",
    )
    sizes = parser.parse_args().sizes
    results = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(count, Path(folder))
        for figure in found:
            sys.stderr.write("{dataset}: {system}: {metric} {value:.6g}\n".format(**figure))
        results += found
    if tuple(sizes) == SIZES:
        publish("dedupe_scale", COMMAND, results, _TEXT, versions=("rapidfuzz", "pydantic", "pyarrow"))


if __name__ == "__main__":
    main()
