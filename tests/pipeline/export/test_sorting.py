"""Test sorting on disk, and that writing a longer table takes no more memory."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mechtag.core.records import Prediction, Record
from mechtag.pipeline.export import sorting
from mechtag.pipeline.export.tagged import NAMES, writing


@pytest.mark.parametrize("count", [0, 1, 7, 8, 200])
def test_rows_are_returned_in_order(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "_RUN", 7)
    monkeypatch.setattr(sorting, "_FILES", 3)
    rng = np.random.default_rng(count)
    # Few keys, so that the second column decides, and text that is not ASCII.
    rows = [[float(rng.choice([-0.1 - 0.2, 0.0, 1e-17])), f"é{number}\ud800\n", [None, 1]] for number in range(count)]
    rng.shuffle(rows)
    with sorting.sorting(tmp_path / "new") as sorter:
        for row in rows:
            sorter.add(row)
        assert list(sorter.sorted()) == sorted(rows)
    assert list((tmp_path / "new").iterdir()) == []


def test_nothing_is_left_of_a_sorting_that_failed(tmp_path: Path) -> None:
    def fail() -> None:
        with sorting.sorting(tmp_path) as sorter:
            sorter.add([1])
            list(sorter.sorted())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("form", NAMES)
def test_exporters_need_no_more_memory_for_more_records(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorting, "_RUN", 20)

    def peak(count: int) -> int:
        tracemalloc.start()
        with writing({form: tmp_path / form}, [("relevant", "Relevant")], {}) as add:
            for number in range(count):
                record = Record(record_id=f"text:{number}", title=f"{number} {'word ' * 1000}", abstract="A. " * 1000)
                prediction = Prediction(
                    record_id=record.record_id, label="relevant", score=0, probability=0.5, decision="no", model_id="m"
                )
                add(record, {"relevant": prediction})
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(40)  # loads modules, so that they are not counted below
    small, large = peak(100), peak(600)
    # More records need more sorted files that are open at once, each with a buffer and a row.
    assert large < small + 30 * 20_000
    if form == "csv":
        with (tmp_path / form).open(encoding="utf-8-sig", newline="") as file:
            assert len(list(csv.reader(file))) == 601
