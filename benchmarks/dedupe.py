"""Compare how well mechtag, bib-dedupe, splink and ASReview deduplicate.

Errors are counted as in BibDedupe's benchmark. A system should keep exactly one record of each paper. Each additional
record counts as missed. If the system removes all records of a paper, this counts as one wrong removal.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.faults import FAULTS
from benchmarks.measure import Cost, run
from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import LABELLED, NOTICE, labelled, made, made_faulty, row, write_rows

COMMAND = "python -m benchmarks.dedupe"
# The last ASReview version with built-in deduplication; it needs an older pandas than mechtag.
_ASREVIEW = "asreview==1.6.6"
_ENVIRONMENT = ROOT / "data/work/benchmarks/asreview"
_ASREVIEW_CODE = """
import sys
from asreview import ASReviewData
ASReviewData.from_file(sys.argv[1]).drop_duplicates()[["ID"]].to_csv(sys.argv[2], index=False)
"""
_SEED, _PAPERS = 2021, 4000
_TEXT = (ROOT / "benchmarks/dedupe.md").read_text(encoding="utf-8")


class Counts(NamedTuple):
    """Counts of the correct, wrong and missed removals of duplicates by a system.

    Attributes
    ----------
    right
        Number of records that were removed correctly.
    wrong
        Number of papers whose records were all removed.
    missed
        Number of records that were kept, but should have been removed.
    """

    right: int
    wrong: int
    missed: int


def count(groups: Sequence[str], kept: set[int]) -> Counts:
    """Count the correct, wrong and missed removals of a system.

    Parameters
    ----------
    groups
        Paper that each record describes.
    kept
        Numbers of the records that the system kept, counted from 1.
    """
    sizes = Counter(groups)
    left = Counter(groups[number - 1] for number in kept)
    wrong = sum(left[group] == 0 for group in sizes)
    missed = sum(max(left[group] - 1, 0) for group in sizes)
    return Counts(len(groups) - len(sizes) - missed, wrong, missed)


def errata_apart(titles: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return the group of each record, so that errata, corrections and retractions are separate from their papers.

    They are recognised by their titles.
    """
    return [f"{group}, erratum" if NOTICE.match(title) else group for title, group in zip(titles, groups, strict=True)]


def by_field(groups: Sequence[str], names: Sequence[str], kept: set[int]) -> dict[str, tuple[int, int]]:
    """Count the records with a fault in each field, and how many of them a system recognised as duplicates.

    Parameters
    ----------
    groups
        Paper that each record describes.
    names
        Name of the fault of each record, which begins with the name of the affected field; empty for records without a
        fault.
    kept
        Numbers of the records that the system kept, counted from 1.

    Returns
    -------
    dict
        Number of recognised records and number of all records with a fault in the field, keyed by the field.
    """
    left = Counter(groups[number - 1] for number in kept)
    fields = Counter(name.split("_")[0] for name in names if name)
    found = (
        Counter(name.split("_")[0] for group, name in zip(groups, names, strict=True) if name and left[group] < 2)
        if names
        else Counter[str]()
    )
    return {field: (found[field], fields[field]) for field in sorted(fields)}


def _mechtag(source: Path, target: Path) -> None:
    from mechtag.core.settings import DedupeSettings
    from mechtag.pipeline.dedupe.dedupe import dedupe
    from mechtag.pipeline.reading.ingest import ingest

    found = dedupe(ingest([source]).records, DedupeSettings())
    _write_kept(target, [record.source_index for record in found.unique])


def _bib_dedupe(source: Path, target: Path) -> None:
    import pandas as pd
    from bib_dedupe.bib_dedupe import block, cluster, match, prep

    records = pd.read_csv(source, dtype=str, keep_default_na=False)
    matched = match(block(prep(records)))
    gone = {member for group in cluster(matched) for member in sorted(group)[1:]}
    _write_kept(target, [int(name) for name in records["ID"] if name not in gone])


def _splink(source: Path, target: Path) -> None:
    from benchmarks.splink_peer import find

    _write_kept(target, find(source))


def _write_kept(target: Path, numbers: Sequence[int]) -> None:
    target.write_text("ID\n" + "".join(f"{number}\n" for number in numbers), encoding="utf-8")


_WORKERS = {"mechtag": _mechtag, "bib-dedupe": _bib_dedupe, "splink": _splink}


def _asreview() -> str:
    """Return the path of a Python interpreter with ASReview, which the first call installs."""
    python = _ENVIRONMENT / "bin/python"
    ready = _ENVIRONMENT / "ready"
    if not ready.exists():
        venv.create(_ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run((python, "-m", "pip", "install", "--quiet", _ASREVIEW), check=True)
        ready.touch()
    return str(python)


def _run(system: str, source: Path, target: Path) -> Cost:
    if system == "ASReview":
        # bib-dedupe writes a cache to the working directory.
        return run((_asreview(), "-c", _ASREVIEW_CODE, str(source), str(target)), source.parent)
    return run((sys.executable, "-m", "benchmarks.dedupe", "--worker", system, str(source), str(target)))


def _kept(target: Path) -> set[int]:
    csv.field_size_limit(2**31 - 1)
    with target.open(encoding="utf-8", newline="") as file:
        return {int(found["ID"]) for found in csv.DictReader(file)}


def _share(hits: int, of: int) -> tuple[float, tuple[float, float]]:
    from scipy.stats import binomtest  # Imported here, so that the workers do not load it.

    interval = binomtest(hits, of).proportion_ci(method="wilson")
    return hits / of, (float(interval.low), float(interval.high))


def _figures(dataset: str, system: str, counts: Counts) -> list[dict[str, Any]]:
    precision = _share(counts.right, counts.right + counts.wrong)
    recall = _share(counts.right, counts.right + counts.missed)
    figures = [result(dataset, system, name, value) for name, value in counts._asdict().items()]
    return [*figures, result(dataset, system, "precision", *precision), result(dataset, system, "recall", *recall)]


def main() -> None:
    """Run all systems on all sets, and publish the results."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "records.csv", Path(folder) / "kept.csv"
        for dataset in (*LABELLED, "made", "faults"):
            names: list[str] = []
            if dataset == "made":
                records, groups = made(_SEED, _PAPERS)
                rows = list(map(row, records))
            elif dataset == "faults":
                records, groups, names = made_faulty(_SEED, _PAPERS)
                rows = list(map(row, records))
            else:
                rows, groups = labelled(dataset)
            write_rows(source, rows)
            apart = errata_apart([row["title"] for row in rows], groups)
            otherwise = []
            for system in (*_WORKERS, "ASReview"):
                cost = _run(system, source, target)
                kept = _kept(target)
                results += _figures(dataset, system, count(groups, kept))
                results.append(result(dataset, system, "seconds", cost.seconds))
                results.append(result(dataset, system, "MB", cost.megabytes))
                for fault, (found, all_of_them) in by_field(groups, names, kept).items():
                    otherwise.append(result(f"fault in {fault}", system, "found", found))
                    otherwise.append(result(f"fault in {fault}", system, "of", all_of_them))
                if len(set(apart)) > len(set(groups)):
                    otherwise += _figures(f"{dataset}, errata apart", system, count(apart, kept))
            results += otherwise
    versions = ("rapidfuzz", "bib-dedupe", "splink", "duckdb", _ASREVIEW.replace("==", " "))
    publish("dedupe", COMMAND, results, _TEXT.format(papers=_PAPERS, faults=len(FAULTS)), versions=versions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=3, metavar=("SYSTEM", "SOURCE", "TARGET"), help="used by the benchmark")
    arguments = parser.parse_args()
    if arguments.worker:
        name, *paths = arguments.worker
        _WORKERS[name](*map(Path, paths))
    else:
        main()
