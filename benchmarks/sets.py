"""Provide records with known duplicates: three labelled sets, and sets that are generated from real records.

The true group of a record is an id of the paper that the record describes.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corrupt import change, corrupt, near_miss
from benchmarks.faults import FAULTS, faulty, library
from benchmarks.publish import ROOT
from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing
from mechtag.core.records import Record, normalise_title
from mechtag.pipeline.dedupe.dedupe import fullness
from mechtag.pipeline.reading.ingest import ingest

BENCH = Path(os.environ.get("MECHTAG_BENCH", ROOT.parent / "shared/bench"))
LABELLED = ("digital_work", "cytology_screening", "diabetes")
# Reviews whose titles and abstracts the generated set uses.
_SCREENED = ("ace", "nudging", "virus", "wilson", "oud_2018", "jeyaraman_2020", "menon_2022")
# Numbers of further records of a paper, and their probabilities.
_COPIES, _SHARES = (0, 1, 2, 3), (0.5, 0.3, 0.15, 0.05)
_NEAR_MISSES = 0.25
# Titles of notices, which count as separate papers.
NOTICE = re.compile(r"\W*(?:erratum|errata|corrigend(?:um|a)|corrections?|retraction)\b", re.I)

# Columns that all systems read; 'number' is the issue, as in BibTeX.
COLUMNS = (
    *("ID", "ENTRYTYPE", "title", "author", "year", "journal", "booktitle"),
    *("volume", "number", "pages", "abstract", "doi"),
)
Rows = list[dict[str, Any]]


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write records as a CSV table that all compared deduplication systems can read, with rows numbered from 1."""
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows({**row, "ID": number} for number, row in enumerate(rows, start=1))


def row(record: Record) -> dict[str, Any]:
    """Return a record as a row of the table that `write_rows` writes, keyed by column name."""
    return {
        **{"ENTRYTYPE": record.type, "title": record.title, "author": " and ".join(record.authors)},
        **{"year": record.year, "journal": record.journal, "volume": record.volume, "number": record.issue},
        **{"pages": record.pages, "abstract": record.abstract, "doi": record.doi},
    }


def read_table(path: Path) -> Rows:
    """Return the rows of a CSV file, which may be gzip-compressed; raise `MechtagError` if the file is missing."""
    if not path.is_file():
        raise MechtagError(f"{path}: no such file; set MECHTAG_BENCH to the folder of the benchmark data")
    csv.field_size_limit(2**31 - 1)
    opened = gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(newline="")
    with opened as file:
        return list(csv.DictReader(file))


def _split_authors(cell: str) -> str:
    """Convert a list of authors such as 'Adeli K.Lewis G. F.' to the format 'Adeli, K. and Lewis, G. F.'."""
    names = re.split(r"(?<=\.)(?=[^\W\d_]{2})", cell)
    return " and ".join(re.sub(r" (?=(?:[^\W\d_]\.[ -]?)+$)", ", ", name.strip(), count=1) for name in names)


def labelled(name: str) -> tuple[Rows, list[str]]:
    """Return the rows of a labelled set and, for each row, the id of the paper that it describes (its true group).

    In the set ``diabetes``, the names of the authors are separated, and every record has the type ``article``. The rows
    of the other sets are unchanged.
    """
    folder = BENCH / "dedupe" / name
    if name == "diabetes":
        rows = read_table(folder / "diabetes_records_with_group.csv.gz")
        kinds = {"ENTRYTYPE": "article"}
        named: Rows = [{**kinds, **row, "author": _split_authors(row["author"])} for row in rows]
        return named, [row["group"] for row in rows]
    groups = {
        member: f"group {number}"
        for number, row in enumerate(read_table(folder / "merged_record_ids.csv"))
        for member in str(row["merged_ids"]).split(";")
    }
    rows = read_table(folder / "records_pre_merged.csv")
    return rows, [groups.get(row["ID"], str(row["ID"])) for row in rows]


def _frames() -> list[Record]:
    """Return the most complete record of each paper in the medical sets, ``cytology_screening`` and ``diabetes``.

    Only records with at least two authors, a journal, pages and a year are returned.
    """
    frames = []
    for name in ("cytology_screening", "diabetes"):
        rows, groups = labelled(name)
        with tempfile.TemporaryDirectory() as folder:
            write_rows(Path(folder) / "records.csv", rows)
            records = ingest([folder]).records
        found: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            found[groups[record.source_index - 1]].append(record.model_copy(update={"raw": ()}))
        frames += [max(found[group], key=fullness) for group in sorted(found)]
    return [frame for frame in frames if len(frame.authors) > 1 and frame.journal and frame.pages and frame.year]


def papers() -> list[Record]:
    """Return one record per paper: papers of the sets ``cytology_screening`` and ``diabetes``, and invented papers.

    An invented paper has the title and abstract of a record of the screening benchmark, a new DOI and new pages, and
    the authors, journal and year of a paper of these sets.
    """
    frames = _frames()
    found = {normalise_title(frame.title): frame for frame in frames}
    screened = [paper for name in _SCREENED for paper in read_table(BENCH / "screening" / f"{name}.csv.gz")]
    for number, paper in enumerate(screened):
        frame = frames[number % len(frames)]
        place = {"pages": f"{number + 1}-{number + 9}", "doi": f"10.5555/paper.{number}"}
        found.setdefault(
            normalise_title(paper["title"]), change(frame, **place, title=paper["title"], abstract=paper["abstract"])
        )
    return [record for title, record in found.items() if title.count(" ") > 2]


def made(seed: int, count: int) -> tuple[list[Record], list[str]]:
    """Generate records with known duplicates from real papers.

    Returns
    -------
    records : list of Record
    groups : list of str
        Id of the paper that each record describes, which is the true group of the record.
    """
    rng = np.random.default_rng(seed)
    base = papers()
    chosen = [base[index] for index in rng.permutation(len(base))[:count]]
    records = list(_with_copies(chosen, rng))
    order = rng.permutation(len(records))
    return [records[index][0] for index in order], [records[index][1] for index in order]


def _with_copies(chosen: Sequence[Record], rng: np.random.Generator) -> Iterator[tuple[Record, str]]:
    for number, paper in enumerate(chosen):
        yield paper, f"paper {number}"
        for _ in range(int(rng.choice(_COPIES, p=_SHARES))):
            yield corrupt(paper, rng), f"paper {number}"
        if rng.random() < _NEAR_MISSES:
            yield near_miss(paper, rng), f"near miss {number}"


def made_faulty(seed: int, count: int) -> tuple[list[Record], list[str], list[str]]:
    """Generate records of papers, copies with one fault each (see `benchmarks.faults`), and records of similar papers.

    Returns
    -------
    records : list of Record
        Records in random order.
    groups : list of str
        Id of the paper that each record describes, which is the true group of the record.
    names : list of str
        Name of the fault of each record; empty for records without a fault.
    """
    rng = np.random.default_rng(seed)
    base = [paper for paper in papers() if not NOTICE.match(paper.title)]
    found: list[tuple[Record, str, str]] = []
    for number, index in enumerate(rng.permutation(len(base))[:count]):
        paper, fault = base[index], FAULTS[number % len(FAULTS)]
        found.append((library(paper, rng), f"paper {number}", ""))
        found.append((faulty(paper, fault, rng), f"paper {number}", fault.__name__.strip("_")))
        if rng.random() < _NEAR_MISSES:
            found.append((near_miss(paper, rng), f"near miss {number}", ""))
    shuffled = [found[index] for index in rng.permutation(len(found))]
    return [item[0] for item in shuffled], [item[1] for item in shuffled], [item[2] for item in shuffled]
