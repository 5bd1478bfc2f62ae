"""Measure how strongly the agreement of each field suggests that two records are of the same paper.

The results are for comparison with the weights in `mechtag.pipeline.dedupe.evidence`. Pairs of records that share a
blocking key are counted on the labelled sets and on the two generated sets. For each level of agreement, the binary
logarithm of a ratio is computed: the frequency of the level among pairs of one paper, divided by its frequency among
pairs of different papers. Pairs with the same DOI, and pairs of a paper and a notice such as an erratum, are excluded.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import LABELLED, labelled, made, made_faulty, write_rows
from mechtag.core.records import Record
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.clustering import candidates
from mechtag.pipeline.dedupe.comparable import ComparableFields, comparable_fields
from mechtag.pipeline.dedupe.evidence import ENOUGH, everybody
from mechtag.pipeline.dedupe.field_agreement import compare_fields, compare_titles, same_abstract, same_pages
from mechtag.pipeline.reading.ingest import ingest

COMMAND = "python -m benchmarks.dedupe_weights"
_SEED, _PAPERS = 2021, 4000
_TEXT = (ROOT / "benchmarks/dedupe_weights.md").read_text(encoding="utf-8")
_AGREES = {True: "agrees", False: "differs", None: "unknown"}


def levels(left: ComparableFields, right: ComparableFields, settings: DedupeSettings) -> Iterator[tuple[str, str]]:
    """Compare two records: yield the name of each field, and its level of agreement, such as ``differs``."""
    title = compare_titles(left, right, settings.title_similarity)
    found = compare_fields(left, right, title)
    same = "stock" if left.stock else "very short" if left.recurring else "telling" if left.telling else "short"
    yield "title", f"same, {same}" if title == "same" else title or "differs"
    yield "authors", "all agree" if found.authors and everybody(left, right) else _AGREES[found.authors]
    yield "pages", "range agrees" if found.page and same_pages(left, right) else _AGREES[found.page]
    for name in ("journal", "volume", "issue"):
        yield name, _AGREES[getattr(found, name)]
    yield "year", "unknown" if found.years is None else ("same", "next", "other")[min(found.years, 2)]
    if left.abstract and right.abstract:
        yield "abstract", "agrees" if same_abstract(left, right) else "differs"


def _sets() -> Iterator[tuple[Sequence[Record], Sequence[str]]]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "records.csv"
        for name in LABELLED:
            rows, groups = labelled(name)
            write_rows(source, rows)
            yield ingest([source]).records, groups
    yield made(_SEED, _PAPERS)
    records, groups, _ = made_faulty(_SEED, _PAPERS)
    yield records, groups


def main() -> None:
    """Count how often each level of agreement occurs in all data sets, and publish the resulting weights."""
    settings = DedupeSettings()
    counts: dict[bool, Counter[tuple[str, str]]] = {True: Counter(), False: Counter()}
    totals: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for records, groups in _sets():
        order = sorted(range(len(records)), key=lambda index: comparable_fields(records[index]).title)
        items = [comparable_fields(records[index]) for index in order]
        for left, right in candidates(items, range(len(items)), settings.window):
            one, other = items[left], items[right]
            if one.notice != other.notice or (one.doi and one.doi == other.doi):
                continue
            same = groups[order[left]] == groups[order[right]]
            for field, level in levels(one, other, settings):
                counts[same][field, level] += 1
                totals[same][field] += 1
    results = []
    for field, level in sorted(counts[True].keys() | counts[False].keys()):
        if level == "unknown":
            continue
        shares = [(counts[same][field, level] + 0.5) / (totals[same][field] + 1) for same in (True, False)]
        results += [
            result(level, field, "one paper", counts[True][field, level]),
            result(level, field, "different papers", counts[False][field, level]),
            result(level, field, "log2 of the ratio", math.log2(shares[0] / shares[1])),
        ]
    publish("dedupe_weights", COMMAND, results, _TEXT.format(enough=ENOUGH), versions=("rapidfuzz",))


if __name__ == "__main__":
    main()
