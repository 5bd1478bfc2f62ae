"""Measure how the time and memory of ``mechtag export`` grow with the number of records.

``python -m benchmarks.export_scale --sizes 10000 100000`` exports the decisions on invented records. For each number of
records and each format, it prints the elapsed seconds, the processor seconds, the peak memory and the size of the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.full_text_speed import sentences
from benchmarks.measure import Cost, run
from benchmarks.publish import ROOT
from mechtag.core.codebook import Codebook
from mechtag.core.files import replacing
from mechtag.core.parquet import PREDICTIONS, write_records, write_rows
from mechtag.core.records import Decision, Evidence, Prediction, Record
from mechtag.core.temporary import temporary_folder
from mechtag.project import open_project

FORMATS = ("csv", "ris", "xlsx")
_SIZES = (10_000, 100_000)
_SEED = 2021
# Number of different sentences in all abstracts, of sentences per abstract, and of quotations per label.
_SENTENCES, _LENGTH, _QUOTED = 5_000, 9, 3
# Lowest probability for each decision.
_BOUNDS: tuple[tuple[float, Decision], ...] = ((0.85, "yes"), (0.75, "refer"), (0, "no"))


def invent(count: int, codebook: Codebook) -> Iterator[tuple[Record, list[Prediction]]]:
    """Yield invented records, each with its predictions for relevance and every label.

    Each call with the same arguments yields the same records and predictions.
    """
    rng = np.random.default_rng(_SEED)
    known = list(islice(sentences(_SENTENCES), _SENTENCES))
    for number in range(count):
        own = [known[place] for place in rng.integers(len(known), size=_LENGTH)]
        title, abstract, year = own[0].rstrip("."), " ".join(own), int(rng.integers(1990, 2027))
        author, journal = f"Author{rng.integers(count)}, A.", f"Journal of Invention {rng.integers(500)}"
        fields = {"TY": "JOUR", "TI": title, "AU": author, "PY": str(year), "JO": journal, "AB": abstract}
        record = Record(
            record_id=f"text:{number:016x}",
            title=title,
            abstract=abstract,
            authors=(author,),
            year=year,
            journal=journal,
            source_file="invented.ris",
            source_index=number + 1,
            raw=tuple(fields.items()),
        )
        ends = np.cumsum([len(text) + 1 for text in own]) - 1
        yield record, [_predict(record, key, own, ends.tolist(), rng) for key in codebook.all_keys]


def _predict(
    record: Record, label: str, own: Sequence[str], ends: Sequence[int], rng: np.random.Generator
) -> Prediction:
    probability = float(rng.random())
    evidence = tuple(
        Evidence(sentence=at, start=ends[at] - len(own[at]), end=ends[at], text=own[at], score=float(rng.random()))
        for at in rng.choice(len(own), size=_QUOTED, replace=False).tolist()
    )
    return Prediction(
        record_id=record.record_id,
        label=label,
        score=probability,
        probability=probability,
        threshold=_BOUNDS[0][0],
        decision=next(decision for bound, decision in _BOUNDS if probability >= bound),
        evidence=evidence,
        model_id="invented-model",
    )


def write_tagged(folder: Path, count: int, codebook: Codebook) -> None:
    """Write invented records and predictions to a folder, as ``mechtag tag`` does."""
    write_records(folder / "records.parquet", (record for record, _ in invent(count, codebook)))
    rows = (row.model_dump() for _, predictions in invent(count, codebook) for row in predictions)
    with replacing(folder / "predictions.parquet") as part, part.open("wb") as file:
        write_rows(file, rows, PREDICTIONS)


def measure(folder: Path, to: str) -> tuple[Cost, int]:
    """Export the decisions in a folder as a user would; return time and memory, and the size of the file in bytes."""
    path = folder / f"exported.{to}"
    words = ("export", str(folder), "--to", to, "-o", str(path), "--project", str(ROOT))
    cost = run((sys.executable, "-m", "mechtag", *words))
    return cost, path.stat().st_size


def main() -> None:
    """Run the measurement for each number of records and each format, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(_SIZES), help="numbers of records")
    parser.add_argument("--to", choices=FORMATS, nargs="+", default=list(FORMATS), help="formats")
    asked = parser.parse_args()
    codebook = open_project(ROOT).codebook
    for count in asked.sizes:
        with temporary_folder() as folder:
            write_tagged(folder, count, codebook)
            for to in asked.to:
                cost, size = measure(folder, to)
                sys.stdout.write(
                    f"{count:,} records to {to}: {cost.seconds:,.0f} s, {cost.processor_seconds:,.0f} s of processor "
                    f"time, {cost.megabytes:,.0f} MB at the peak, a file of {size / 1e6:,.1f} MB\n"
                )


if __name__ == "__main__":
    main()
