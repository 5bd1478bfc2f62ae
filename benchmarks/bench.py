"""How fast this machine tags."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.peak import encoder_work, matrix_peak
from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.core.settings import SentenceSettings, TagSettings
from mechtag.models.model_folder import Model
from mechtag.models.runtimes.choice import Runtime
from mechtag.pipeline.tagging.predict import predict
from mechtag.pipeline.text.sentences import split


@dataclass(frozen=True)
class Speed:
    """What was measured, the median of several runs.

    Attributes
    ----------
    sentences, tokens
        With titles, and without repetitions.
    records_per_second
        From records in memory to predictions.
    tokens_per_second, peak, share
        The encoder alone; the operations a second that matrix products reach on this machine
        in the same arithmetic; and which share of them the encoder reaches.
    splitting
        Share of the time that goes into cutting abstracts into sentences.
    megabytes
        The most memory the process has held, 10^6 bytes.
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
    """Give as many records as wanted: those given, again and again, each time with a word left out here and there."""
    for number in range(count):
        base = records[number % len(records)]
        words = base.abstract.split()
        kept = rng.random(len(words)) >= 0.05
        abstract = " ".join(word for word, keep in zip(words, kept, strict=True) if keep)
        yield base.model_copy(update={"record_id": f"text:{number}", "abstract": abstract})


def peak_memory() -> float:
    """Give the most memory this process has held, in megabytes (10^6 bytes); NaN where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, whose getrusage counts the process that started this one too
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
    """Tag records several times, and measure.

    Raises
    ------
    MechtagError
        There is no record; or as `benchmarks.peak`.
    """
    if not records:
        raise MechtagError("no record to measure with; name an export that has some")
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
