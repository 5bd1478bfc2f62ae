"""Test the benchmark of large exports, and that a workbook of many records needs little memory."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from benchmarks.export_scale import invent, measure, write_tagged
from mechtag.core.parquet import read_predictions, read_records
from mechtag.project import open_project
from tests.support.paths import ROOT

BOOK = open_project(ROOT).codebook


def test_invented_papers_are_the_same_each_time(tmp_path: Path) -> None:
    write_tagged(tmp_path, 30, BOOK)
    (records, predictions) = zip(*islice(invent(30, BOOK), 30), strict=True)
    assert read_records(tmp_path / "records.parquet") == list(records)
    assert read_predictions(tmp_path / "predictions.parquet") == [row for own in predictions for row in own]
    assert {row.decision for own in predictions for row in own} == {"yes", "refer", "no"}
    for record, own in zip(records, predictions, strict=True):
        assert all(record.abstract[one.start : one.end] == one.text for row in own for one in row.evidence)


@pytest.mark.slow
def test_memory_of_a_workbook_hardly_grows_with_the_number_of_records(tmp_path: Path) -> None:
    peaks = []
    for count in (5_000, 10_000):
        (tmp_path / str(count)).mkdir()
        write_tagged(tmp_path / str(count), count, BOOK)
        peaks.append(measure(tmp_path / str(count), "xlsx")[0].megabytes)
    # All records and predictions in memory would take 50 kB per record.
    assert 1e3 * (peaks[1] - peaks[0]) / 5_000 < 10
