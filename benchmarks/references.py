"""Read public reference files with mechtag; report what was read, and how often records of the same paper agree."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.publish import ROOT, provenance, result
from benchmarks.sets import BENCH
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_json, write_text
from mechtag.core.records import Record, normalise_title
from mechtag.pipeline.reading.ingest import ingest

COMMAND = "python -m benchmarks.references"
SYSTEMS = "citation_file_formatting"
_LIBRARIES = ("bibtexparser", "pylatexenc", "defusedxml", "openpyxl", "pyarrow")
# Notes about the files, not exports.
_ABOUT = frozenset(("SOURCE.txt", "README.md"))
_COMPARED = ("title", "year", "doi", "first author")
_START, _END = "<!-- files -->\n", "<!-- /files -->\n"


@dataclass(frozen=True)
class Outcome:
    """The outcome of reading a file.

    Attributes
    ----------
    dataset, file
        Name of the data set (a folder that contains the file), and name of the file.
    rejected
        Number of rejected entries.
    reasons
        Reasons why entries were rejected, each with the number of entries.
    refused
        Reason why the file was not read; ``""`` if it was read.
    """

    dataset: str
    file: str
    format: str = ""
    records: tuple[Record, ...] = ()
    rejected: int = 0
    reasons: tuple[tuple[str, int], ...] = ()
    refused: str = ""


def files(folder: Path) -> list[Path]:
    """Return the paths of all reference files in a folder and its subfolders.

    Raises
    ------
    MechtagError
        If the folder is missing.
    """
    if not folder.is_dir():
        raise MechtagError(f"{folder}: no such folder; set MECHTAG_BENCH to the folder of the benchmark data")
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _ABOUT)


def read(path: Path, folder: Path) -> Outcome:
    """Read one file with mechtag; return its records and rejections, or the reason why the file was refused."""
    dataset = path.relative_to(folder).parts[0]
    try:
        found = ingest([path])
    except MechtagError as error:
        reason = str(error).removeprefix(f"{path}: ").split(". Export the records in a format")[0]
        return Outcome(dataset, path.name, refused=reason)
    reasons = Counter(item.reason for item in found.rejected)
    formats = " and ".join(dict.fromkeys(source.format for source in found.sources))
    return Outcome(dataset, path.name, formats, found.records, len(found.rejected), tuple(sorted(reasons.items())))


@dataclass(frozen=True)
class Pair:
    """Two records of the same paper in different files."""

    files: tuple[str, str]
    records: tuple[Record, Record]

    def differs(self) -> Iterator[str]:
        """Yield the fields in which the two records differ; a field that only one record has is not a difference."""
        for name in _COMPARED:
            first, second = (_value(record, name) for record in self.records)
            if first and second and first != second:
                yield name


def _value(record: Record, name: str) -> object:
    """Return the value of a field, normalised for comparison.

    The value of ``first author`` is the last word of the first author's family name.
    """
    if name == "title":
        return normalise_title(record.title)
    if name == "first author":
        return (normalise_title(record.authors[0].split(",")[0]).split() or [""])[-1] if record.authors else ""
    return getattr(record, name)


def pairs(outcomes: Sequence[Outcome]) -> list[Pair]:
    """Return all pairs of records in different files that have the same DOI or the same title."""
    found: dict[object, list[tuple[str, Record]]] = defaultdict(list)
    for outcome in outcomes:
        for record in outcome.records:
            for key in filter(None, (record.doi, _value(record, "title"))):
                found[key].append((outcome.file, record))
    joined = {}
    for same in found.values():
        for (one, first), (other, second) in combinations(same, 2):
            if one != other:
                joined[id(first), id(second)] = Pair((one, other), (first, second))
    return list(joined.values())


def agreement(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Compare the records of each file with records of the same papers in other files.

    For each file and field, the results are the number of pairs of records in which both records have the field, and
    the proportion of these pairs that agree.
    """
    found = pairs(outcomes)
    results = []
    for outcome in outcomes:
        own = [pair for pair in found if outcome.file in pair.files]
        for name in _COMPARED:
            both = [pair for pair in own if all(_value(record, name) for record in pair.records)]
            if both:
                same = sum(name not in pair.differs() for pair in both)
                results.append(result(SYSTEMS, outcome.file, f"{name} agrees", same / len(both)))
                results.append(result(SYSTEMS, outcome.file, f"{name} compared", len(both)))
    return results


def _row(outcome: Outcome) -> str:
    if outcome.refused:
        told = outcome.refused if len(outcome.refused) < 200 else outcome.refused[:200] + " ..."
        return f"| {outcome.dataset} | {outcome.file} | | | | refused: {_cell(told)} |"
    reasons = "; ".join(f"{count} {reason}" for reason, count in outcome.reasons)
    counts = f"{len(outcome.records)} | {outcome.rejected}"
    return f"| {outcome.dataset} | {outcome.file} | {outcome.format} | {counts} | {_cell(reasons)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _summary(outcomes: Sequence[Outcome]) -> str:
    found = pairs([outcome for outcome in outcomes if outcome.dataset == SYSTEMS])
    differences = Counter(name for pair in found for name in pair.differs())
    told = ", ".join(f"{name} {differences[name]}" for name in _COMPARED)
    read_ = [outcome for outcome in outcomes if not outcome.refused]
    entries = sum(len(outcome.records) + outcome.rejected for outcome in read_)
    return (
        f"{len(read_)} of {len(outcomes)} files are read, with {entries:,} entries; "
        f"{sum(outcome.rejected for outcome in read_)} of these are rejected. {len(found):,} pairs are one paper from "
        f"two systems (matched by DOI or title); number of pairs that differ in each field: {told}."
    )


def publish(outcomes: Sequence[Outcome], docs: Path) -> None:
    """Write the results to ``benchmarks/references.json`` and to the table in ``formats.md``, in the folder ``docs``.

    Raises
    ------
    MechtagError
        If ``formats.md`` lacks one of the lines between which the table is written.
    """
    results = []
    for outcome in outcomes:
        figures = {"read": len(outcome.records) + outcome.rejected, "rejected": outcome.rejected}
        figures["refused"] = int(bool(outcome.refused))
        results += [result(outcome.dataset, outcome.file, metric, value) for metric, value in figures.items()]
    results += agreement([outcome for outcome in outcomes if outcome.dataset == SYSTEMS])
    write_json(docs / "benchmarks" / "references.json", {**provenance(COMMAND, _LIBRARIES), "results": results})
    page = docs / "formats.md"
    text = page.read_text(encoding="utf-8")
    if _START not in text or _END not in text:
        raise MechtagError(
            f"{page}: the line {_START.strip()} or {_END.strip()} is missing; restore both lines, "
            "because the table is written between them"
        )
    lines = [
        _summary(outcomes),
        "",
        "| data | file | format | records | rejected | why |",
        "|---|---|---|---:|---:|---|",
        *map(_row, outcomes),
    ]
    above, below = text.split(_START)[0], text.split(_END)[1]
    write_text(page, above + _START + "\n".join(lines) + "\n" + _END + below)


def main() -> None:
    """Read all public files of references with mechtag, and publish the outcomes."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs", help="folder to which the results are written; default: docs"
    )
    docs = parser.parse_args().docs
    folder = BENCH / "references"
    publish([read(path, folder) for path in files(folder)], docs)


if __name__ == "__main__":
    main()
