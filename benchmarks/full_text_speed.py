"""Measure how long full texts take to tag, and whether memory grows with their number.

``python -m benchmarks.full_text_speed --runtime fp32`` tags 50, 100 and 200 papers of 300 sentences, each number of
papers in a separate process. It prints the elapsed seconds, the processor seconds and the peak memory. Each sentence
joins halves of two sentences of the coded records, so that no sentence occurs twice. If there is no trained model, a
model that knows only the definitions of the codebook is used. This model takes as long as a trained model, apart from
the scores of words, which only a trained model computes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.publish import ROOT, publish, result
from mechtag.core.full_text import FullText, Quality, Section
from mechtag.core.parquet import write_full_texts, write_records
from mechtag.core.records import Record
from mechtag.core.temporary import temporary_folder
from mechtag.models.runtimes.choice import RUNTIMES
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.project import open_project
from mechtag.training.train import define, save_model
from mechtag.workflows.tag import tag

COMMAND = "python -m benchmarks.full_text_speed --publish"
COUNTS, SENTENCES, SEED = (50, 100, 200), 300, 2021
_SECTIONS = ("results", "discussion", "conclusion")
_QUALITY = Quality(pages=0, chars=0, scanned_pages=0, ocr_pages=0, references_cut=True, headings=3, letters_share=0.9)
TEXT = """## Tagging full texts

`mechtag tag --full-texts` tags invented papers of 300 sentences. The time runs from the start of the command's work
to the last table, including loading the model. The sentences are composed of halves of sentences of the coded
records; none occurs twice. Processor time is the sum over all threads. The aim is less than 120 seconds for 100
papers on two cores with nothing else running, and memory that does not grow with the number of papers.
"""


def sentences(count: int) -> Iterator[str]:
    """Yield ``count`` different sentences, each of which joins halves of two sentences of the coded records."""
    project = open_project(ROOT)
    codebook = project.codebook
    coded = read_annotations(project.settings, codebook.keys, codebook.relevance.key)
    known = [own.text.split() for record in coded for own in record.sentences if record.relevant]
    generator = np.random.default_rng(SEED)
    seen = set[str]()
    while len(seen) < count:
        first, second = (known[row] for row in generator.integers(len(known), size=2))
        made = " ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])
        made = made[:1].upper() + made[1:].rstrip(".?!") + "."
        if made not in seen:
            seen.add(made)
            yield made


def write_papers(folder: Path, count: int) -> None:
    """Write a table of ``count`` records with short abstracts, and a table of their invented full texts."""
    given = sentences(count * (SENTENCES + 5))
    records, texts = [], []
    for number in range(count):
        abstract = " ".join(next(given) for _ in range(5))
        records.append(Record(record_id=f"text:{number}", title=f"Leading in place {number}", abstract=abstract))
        parts, sections, start = [], [], 0
        for kind in _SECTIONS:
            body = " ".join(next(given) for _ in range(SENTENCES // len(_SECTIONS))) + "\n\n"
            sections.append(Section(kind=kind, title="", level=1, start=start, end=start + len(body)))
            start += len(body)
            parts.append(body)
        texts.append(
            FullText(
                record_id=f"text:{number}",
                text="".join(parts),
                sections=tuple(sections),
                pages=(),
                source_file=f"{number}.pdf",
                format="pdf",
                sha256="0",
                reader="made up",
                quality=_QUALITY,
            )
        )
    write_records(folder / "records.parquet", records)
    write_full_texts(folder / "fulltexts.parquet", texts)


def measure(folder: Path, model: Path, runtime: str) -> dict[str, float]:
    """Tag the papers in a folder, and return the elapsed seconds, the processor seconds and the peak memory in MB."""
    started = time.perf_counter()
    tag(
        open_project(ROOT),
        [str(folder / "records.parquet")],
        str(folder / "out"),
        model=model,
        full_texts=folder / "fulltexts.parquet",
        runtime=runtime,  # type: ignore[arg-type]
        score_all=True,
    )
    seconds = time.perf_counter() - started
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "seconds": seconds,
        "seconds of processor time": sum(one.ru_utime + one.ru_stime for one in used),
        "peak memory, MB": used[0].ru_maxrss / 1000,
    }


def main() -> None:
    """Run the measurement for each number of papers in a separate process, and print or publish the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", choices=RUNTIMES, default="fp32")
    parser.add_argument("--papers", type=int, nargs="+", default=list(COUNTS), help="numbers of papers")
    parser.add_argument("--publish", action="store_true", help="write the figures to docs/benchmarks")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        own, model = asked.measure
        sys.stdout.write(json.dumps(measure(own, model, asked.runtime)))
        return
    rows = []
    with temporary_folder() as folder:
        project = open_project(ROOT)
        model = project.model
        if not (model / "config.json").exists():
            model = folder / "model"
            save_model(define(project.settings, project.codebook), model)
        # The first run, which is not counted, exports the encoder.
        for run, count in enumerate((1, *asked.papers)):
            own = folder / str(run)
            own.mkdir()
            write_papers(own, count)
            words = [sys.executable, "-m", __spec__.name, "--runtime", asked.runtime, "--measure", str(own), str(model)]
            done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found = json.loads(done.stdout.splitlines()[-1])
            if not run:
                continue
            print(f"{count} papers:", *(f"{name} {value:.1f}" for name, value in found.items()), sep=", ")  # noqa: T201
            rows += [result(f"{count} papers", f"mechtag, {asked.runtime}", *pair) for pair in found.items()]
    if asked.publish:
        publish("full_text_speed", COMMAND, rows, TEXT, versions=("torch", "openvino"))


if __name__ == "__main__":
    main()
