"""Test deduplication on data sets with known duplicates, and how the benchmark counts errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corrupt import NEAR_MISSES, corrupt
from benchmarks.dedupe import Counts, by_field, count, errata_apart
from benchmarks.faults import FAULTS, Fault, faulty
from benchmarks.publish import publish, result
from benchmarks.sets import BENCH, labelled, made, made_faulty, write_rows
from mechtag.core.records import Record
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.reading.ingest import ingest
from tests.support.papers import TEXT, record

needs_bench = pytest.mark.skipif(
    not (BENCH / "dedupe").is_dir(), reason=f"{BENCH}/dedupe is missing; set MECHTAG_BENCH to the benchmark data"
)


def test_right_wrong_and_missed_records_are_counted() -> None:
    groups = ["a", "a", "a", "b", "c", "c"]
    assert count(groups, {1, 4, 5}) == Counts(right=3, wrong=0, missed=0)
    assert count(groups, {1, 2, 4, 5, 6}) == Counts(right=1, wrong=0, missed=2)
    # No record of b or c is kept: removing one record of each is wrong, removing the other record of c is right.
    assert count(groups, {1}) == Counts(right=3, wrong=2, missed=0)


def test_errata_are_separate_papers() -> None:
    titles = ["Care in teams", "Erratum to - Care in teams", "[Correction] Care in teams", "Correctional care"]
    assert errata_apart(titles, ["a", "a", "a", "b"]) == ["a", "a, erratum", "a, erratum", "b"]


@needs_bench
@pytest.mark.parametrize(("name", "missed"), [("digital_work", 2), ("cytology_screening", 1), ("diabetes", 0)])
def test_labelled_sets(name: str, missed: int, tmp_path: Path) -> None:
    rows, groups = labelled(name)
    write_rows(tmp_path / "records.csv", rows)
    found = dedupe(ingest([tmp_path / "records.csv"]).records, DedupeSettings())
    counts = count(groups, {paper.source_index for paper in found.unique})
    assert counts.wrong == 0
    assert counts.missed <= missed
    assert counts.right + counts.missed == len(groups) - len(set(groups))
    apart = count(errata_apart([row["title"] for row in rows], groups), {paper.source_index for paper in found.unique})
    assert apart.wrong == 0
    assert apart.missed <= min(missed, 1)


@needs_bench
def test_made_up_set() -> None:
    records, groups = made(7, 1000)
    again, _ = made(7, 1000)
    assert records == again
    numbered = [one.model_copy(update={"source_index": number}) for number, one in enumerate(records, start=1)]
    counts = count(groups, {paper.source_index for paper in dedupe(numbered, DedupeSettings()).unique})
    assert counts.wrong == 0
    assert counts.missed < 0.02 * counts.right


@needs_bench
def test_copies_with_one_fault() -> None:
    records, groups, names = made_faulty(7, 1000)
    numbered = [one.model_copy(update={"source_index": number}) for number, one in enumerate(records, start=1)]
    found = dedupe(numbered, DedupeSettings())
    assert [group for group in found.groups if len({groups[one.source_index - 1] for one in group.members}) > 1] == []
    counts = count(groups, {paper.source_index for paper in found.unique})
    assert counts.wrong == 0
    assert counts.missed < 0.02 * counts.right
    assert sum(map(bool, names)) == 1000


@pytest.mark.parametrize("fault", FAULTS, ids=lambda make: make.__name__)
def test_one_fault_in_an_otherwise_complete_article(fault: Fault) -> None:
    paper = record(1, abstract=TEXT)
    rng = np.random.default_rng(3)
    copies = [faulty(paper, fault, rng).model_copy(update={"source_index": 2}) for _ in range(20)]
    assert sum(dedupe([paper, copy], DedupeSettings()).duplicates for copy in copies) == 20


def test_found_copies_are_counted_by_field() -> None:
    groups, names = ["a", "a", "b", "b", "c", "c"], ["", "title_cut", "", "title_section", "", "issue_wrong"]
    assert by_field(groups, names, {1, 3, 4, 5}) == {"issue": (1, 1), "title": (1, 2)}
    assert by_field(groups, [], {1}) == {}


@pytest.mark.parametrize("look_alike", NEAR_MISSES, ids=lambda make: make.__name__)
def test_look_alikes_stay_apart(look_alike: object) -> None:
    paper = record(1, doi="10.5555/paper", abstract=TEXT)
    assert callable(look_alike)
    for seed in range(20):
        other: Record = look_alike(paper, np.random.default_rng(seed)).model_copy(update={"source_index": 2})
        assert other.title != paper.title or other.journal != paper.journal or other.pages != paper.pages
        assert dedupe([paper, other], DedupeSettings()).duplicates == 0


def test_most_copies_are_found() -> None:
    paper = record(1, doi="10.5555/paper", abstract=TEXT)
    rng = np.random.default_rng(1)
    copies = [corrupt(paper, rng).model_copy(update={"source_index": number}) for number in range(2, 102)]
    assert len({copy.model_copy(update={"source_index": 0}) for copy in copies}) > 50
    found = dedupe([paper, *copies], DedupeSettings())
    assert len(found.unique) <= 3


def test_data_sets_with_different_metrics_have_separate_tables(tmp_path: Path) -> None:
    told = [("one", "recall", 0.5), ("two", "seconds", 12), ("three", "recall", 0.00006), ("two", "recalls", 3)]
    publish(
        "one", "run one", [result(data, "ours", metric, value) for data, metric, value in told], "## One", docs=tmp_path
    )
    rows = [line for line in (tmp_path / "benchmarks.md").read_text().splitlines() if line.startswith("| ")]
    assert rows == [
        "| data | system | recall |",
        "| one | ours | 0.500 |",
        "| three | ours | 6e-05 |",
        "| data | system | seconds | recalls |",
        "| two | ours | 12 | 3 |",
    ]


def test_publishing_replaces_only_the_section_of_the_benchmark(tmp_path: Path) -> None:
    publish("one", "run one", [result("data", "ours", "recall", 0.5, (0.25, 0.75))], "## One", docs=tmp_path)
    publish("two", "run two", [result("data", "ours", "seconds", 12)], "## Two", docs=tmp_path)
    publish("one", "run one", [result("data", "ours", "recall", 0.75)], "## One anew", docs=tmp_path)
    page = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## One anew", "## Two"]
    assert ("| data | ours | 0.750 |" in page, "0.500" in page, "| data | ours | 12 |" in page) == (True, False, True)
    content = json.loads((tmp_path / "benchmarks/one.json").read_text(encoding="utf-8"))
    assert content["results"] == [
        {
            **{"dataset": "data", "system": "ours", "metric": "recall", "value": 0.75},
            **{"ci_low": None, "ci_high": None, "runs": 1},
        }
    ]
    assert set(content) == {"command", "commit", "machine", "versions", "results"}
