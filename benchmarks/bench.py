"""Measure the tagging speed of this machine, in records per second and as a proportion of the peak throughput.

``python -m benchmarks.bench --runtime auto`` tags search exports (by default, the coded records) and prints
the results.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.peak import encoder_work, matrix_peak
from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.core.settings import SentenceSettings, TagSettings
from mechtag.models.model_folder import Model, load_model
from mechtag.models.runtimes.choice import RUNTIMES, Runtime
from mechtag.pipeline.annotations.coded_records import read_coded
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.predict import predict
from mechtag.project import open_project

COMMAND = "python -m benchmarks.bench"


@dataclass(frozen=True)
class Speed:
    """The results of a measurement; speeds and proportions are medians of several runs.

    Attributes
    ----------
    sentences
        Number of different sentences, including titles.
    tokens
        Number of tokens in these sentences.
    records_per_second
        Records tagged per second, from records in memory to predictions.
    tokens_per_second
        Tokens that the encoder alone processes per second.
    peak
        Operations per second that matrix multiplication reaches on this machine, with the runtime's number format.
    share
        Operations per second of the encoder, as a proportion of ``peak``.
    splitting
        Proportion of the tagging time that is spent on splitting abstracts into sentences.
    megabytes
        Peak memory of the process, in units of 10^6 bytes.
    """

    runtime: Runtime
    records: int
    sentences: int
    tokens: int
    records_per_second: float
    tokens_per_second: float
    peak: float
    share: float
    splitting: float
    megabytes: float


def varied(records: Sequence[Record], count: int, rng: np.random.Generator) -> Iterator[Record]:
    """Yield ``count`` records by repeating the given records, each time with about one word in twenty omitted."""
    for number in range(count):
        base = records[number % len(records)]
        words = base.abstract.split()
        kept = rng.random(len(words)) >= 0.05
        abstract = " ".join(word for word, keep in zip(words, kept, strict=True) if keep)
        yield base.model_copy(update={"record_id": f"text:{number}", "abstract": abstract})


def peak_memory() -> float:
    """Return the peak memory of this process in megabytes (10^6 bytes), or NaN if the system does not report it."""
    status = Path("/proc/self/status")
    if status.is_file():  # On Linux, getrusage may return the peak of the parent process.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii", errors="replace"))
        return int(found[1]) * 1024 / 1e6 if found else float("nan")
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def bench(
    model: Model,
    records: Sequence[Record],
    sentences: SentenceSettings,
    tag: TagSettings,
    *,
    repeats: int = 3,
) -> Speed:
    """Tag records several times, and measure the speed.

    Raises
    ------
    MechtagError
        If there are no records, or `benchmarks.peak` cannot measure this encoder or machine.
    """
    if not records:
        raise MechtagError("the sources contain no records; pass an export that contains records")
    tagger = model.tagger
    list(split(islice(records, 20), sentences))  # libraries are loaded before the clock runs
    units: list[str] = []
    splitting, whole, encoding = [], [], []
    for _ in range(repeats):
        begun = time.perf_counter()
        found = list(split(records, sentences))
        splitting.append(time.perf_counter() - begun)
        predict(tagger, model.config.model_id, records, found, evidence_sentences=tag.evidence_sentences)
        whole.append(time.perf_counter() - begun)
        units = list(dict.fromkeys([record.title for record in records] + [sentence.text for sentence in found]))
        begun = time.perf_counter()
        tagger.encoder.encode(units)
        encoding.append(time.perf_counter() - begun)
    memory = peak_memory()
    reference = model.reference()
    lengths = [len(ids) for ids in reference.tokens(units)]
    peak = matrix_peak(model.choice.runtime, tag.threads)
    return Speed(
        runtime=model.choice.runtime,
        records=len(records),
        sentences=len(units),
        tokens=sum(lengths),
        records_per_second=len(records) / float(np.median(whole)),
        tokens_per_second=sum(lengths) / float(np.median(encoding)),
        peak=peak,
        share=encoder_work(reference, lengths) / float(np.median(encoding)) / peak,
        splitting=float(np.median(splitting) / np.median(whole)),
        megabytes=memory,
    )


def main(words: Sequence[str] | None = None) -> None:
    """Run the measurement that the command line specifies, and print the results."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument(
        "sources", nargs="*", type=Path, metavar="SRC", help="search exports to measure with; default: coded records"
    )
    parser.add_argument("--records", type=int, default=500, help="number of records to tag (default: 500)")
    parser.add_argument("--repeats", type=int, default=3, help="number of runs; the median is reported (default: 3)")
    parser.add_argument("--model", type=Path, help="model folder (default: the model of the project)")
    parser.add_argument("--runtime", choices=RUNTIMES, help="runtime of the encoder (default: tag.runtime)")
    parser.add_argument("--threads", type=int, help="encoder threads; 0: one per core (default: tag.threads)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--project", type=Path, help="folder of the review (default: the nearest one)")
    chosen = parser.parse_args(words)
    project = open_project(chosen.project)
    settings, codebook = project.settings, project.codebook
    tagging = settings.tag.chosen(chosen.runtime, chosen.threads)
    model = load_model(chosen.model or project.model, codebook, runtime=tagging.runtime, threads=tagging.threads)
    sys.stderr.write(f"runtime {model.choice.reason}\n")
    if chosen.sources:
        records = list(ingest(chosen.sources).records)[: chosen.records]
    else:
        coded = [item.record for item in read_coded(settings.train.records, codebook.keys)]
        records = list(varied(coded, chosen.records, np.random.default_rng(settings.seed)))
    speed = bench(model, records, settings.sentences, tagging, repeats=chosen.repeats)
    if chosen.json:
        sys.stdout.write(json.dumps(asdict(speed), indent=2) + "\n")
        return
    sys.stdout.write(
        f"{speed.records:,} records, {speed.sentences:,} different sentences and titles, {speed.tokens:,} tokens\n"
        f"  records a second:   {speed.records_per_second:10,.1f}   from records to predictions\n"
        f"  tokens a second:    {speed.tokens_per_second:10,.0f}   the encoder alone\n"
        f"  of the matrix peak: {speed.share:10.0%}   which is {speed.peak / 1e9:,.0f} billion operations a second\n"
        f"  splitting text:  {speed.splitting:10.1%}   of the time\n"
        f"  peak memory:        {speed.megabytes:10,.0f}   MB\n"
    )


if __name__ == "__main__":
    main()
