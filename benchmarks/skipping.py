"""Measure how much faster mechtag tags records if it skips the labels of irrelevant records.

    python -m benchmarks.skipping [--before FOLDER]

``FOLDER`` is a checkout of an earlier version, with a model trained by that version (``make run``); the earlier
version tags the same records. Each variant runs three times as a separate command, in turn with the others; the median
time is reported. Of the records, 90% are irrelevant: real abstracts from the screening benchmark. The others are
invented abstracts in journal style.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import BENCH, read_table
from benchmarks.variants import load_ground
from mechtag.core.codebook import load_codebook
from mechtag.core.parquet import write_records
from mechtag.core.records import Record
from mechtag.models.tagger import GLANCE_SHARE, GLANCE_WORDS
from mechtag.models.text import beginning
from mechtag.pipeline.annotations.coded_records import read_coded
from mechtag.pipeline.reading.text.cleaning import clean_record
from mechtag.training.heads import calibrate, fit_folds, score_folds, score_wholes

RECORDS, RELEVANT, RUNS = 700, 70, 3
_REVIEWS = ("nagtegaal_2019", "nudging", "oud_2018", "wilson", "ace", "virus", "menon_2022")
TEXT = """## Searches with mostly irrelevant records

700 records are tagged, nine in ten of which are real abstracts on other subjects. The table shows the seconds from
the start of the command to its end, including start-up, and the records per second. *all labels* is `--score-all`;
*default* skips the labels of records whose relevance is a clear no, most of them after the first {words} words of
their text. The earlier version scored every sentence of every record.

The errors caused by reading only the first words are counted on the coded records; each record is judged by a model
that learned from the other folds. *called no* is the number of relevant records that are wrongly called irrelevant,
and *irrelevant settled* the share of irrelevant records whose first words were enough.
"""


def search() -> list[Record]:
    """Return the records to tag, in which relevant records are spread evenly among irrelevant records."""
    keys = load_codebook(ROOT / "data/annotated/codebook.yaml").keys
    coded = read_coded(ROOT / "data/annotated/coded/journal_style.jsonl", keys)
    relevant = [record.record for record in coded if record.relevant][:RELEVANT]
    each = -(-(RECORDS - RELEVANT) // len(_REVIEWS))
    others = [
        clean_record(Record(record_id=f"{name}-{number}", title=row["title"], abstract=row["abstract"]))
        for name in _REVIEWS
        for number, row in enumerate(read_table(BENCH / "screening" / f"{name}.csv.gz")[:each])
    ][: RECORDS - RELEVANT]
    step = len(others) // len(relevant)
    return [
        record for number, one in enumerate(relevant) for record in (one, *others[number * step : (number + 1) * step])
    ]


def first_words() -> list[dict[str, Any]]:
    """Count the relevant records that are lost if clearly irrelevant records are recognised by their first words.

    The decisions are out of fold, and are compared with decisions from whole texts.
    """
    ground = load_ground()
    corpus, settings, seed = ground.corpus, ground.settings.train, ground.settings.seed
    everything, fold = np.ones(corpus.n_documents, dtype=bool), ground.deal(seed)
    fitted = fit_folds(corpus, ground.frozen, fold, everything, settings, seed)
    found = score_folds(corpus, fold, fitted).documents
    calibration = calibrate(corpus, found, everything, settings)
    starts = [beginning(text, GLANCE_WORDS) for text in corpus.whole_texts]
    begun = replace(corpus, whole_texts=tuple(starts), wholes=ground.encoder.encode(starts))
    by_words = np.full(corpus.n_documents, np.nan)
    for held_out, (_, heads) in enumerate(fitted):
        by_words[fold == held_out] = score_wholes(begun, heads, fold == held_out)
    low = calibration.low[0]
    no = calibration.relevance(found[:, 0]) < low
    settled = calibration.relevance(by_words) < GLANCE_SHARE * low
    relevant = corpus.document_targets[:, 0] == 1
    return [
        result("coded records", name, metric, value)
        for name, metric, value in (
            ("whole text", "relevant records", int(relevant.sum())),
            ("whole text", "called no", int((no & relevant).sum())),
            ("first words first", "relevant records", int(relevant.sum())),
            ("first words first", "called no", int(((no | settled) & relevant).sum())),
            ("first words first", "irrelevant settled", float(settled[~relevant].mean())),
        )
    ]


def seconds(checkout: Path, table: Path, output: Path, options: Sequence[str]) -> float:
    """Tag the records in a table with the mechtag in ``checkout``, and return the time in seconds."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mechtag", "tag", str(table), "-o", str(output), *options],
        cwd=checkout,
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - begun


def main() -> None:
    """Measure how long tagging takes in each variant, and publish the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--before", type=Path, help="checkout of an earlier version, with its model")
    before = parser.parse_args().before
    ways: dict[str, tuple[Path, tuple[str, ...]]] = {"default": (ROOT, ()), "all labels": (ROOT, ("--score-all",))}
    if before:
        ways["earlier version"] = (before.resolve(), ())
    times: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        records = search()
        table = Path(folder) / "search.parquet"
        write_records(table, records)
        for run in range(RUNS):
            for name, (checkout, options) in ways.items():
                times[name].append(seconds(checkout, table, Path(folder) / f"{name}-{run}", options))
    medians = {name: statistics.median(own) for name, own in times.items()}
    found = []
    for name, median in medians.items():
        values = {"seconds": median, "records a second": len(records) / median}
        if before:
            values["times as fast as the earlier version"] = medians["earlier version"] / median
        found += [result("nine in ten irrelevant", name, metric, value, runs=RUNS) for metric, value in values.items()]
    found += first_words()
    text = TEXT.format(words=GLANCE_WORDS)
    publish("skipping", "python -m benchmarks.skipping", found, text, versions=("torch", "transformers"))


if __name__ == "__main__":
    main()
