"""Test that records are unchanged after they are written to a Parquet file and read from it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mechtag.core import parquet as slices
from mechtag.core import parquet as store
from mechtag.core.errors import MechtagError
from mechtag.core.parquet import RecordTable, read_records, write_records
from tests.support.papers import record


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_records_come_back_as_they_were(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BATCH", batch)
    raw = (
        ("TI", "A title"),
        ("TI", "a title"),
        ("authors", ["Roe, R.", {"family": "Doe"}]),
        ("year", 2017),
        ("X", None),
    )
    records = [record(number, title="A title", abstract="Text", raw=raw) for number in range(1, 8)]
    write_records(tmp_path / "records.parquet", records)
    assert read_records(tmp_path / "records.parquet") == records
    write_records(tmp_path / "none.parquet", [])
    assert read_records(tmp_path / "none.parquet") == []


@pytest.mark.parametrize("group", [7, 100])
def test_slices_of_a_table_equal_slices_of_the_list(
    group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "BATCH", 5)
    monkeypatch.setattr(store, "BATCH", group)
    records = [record(number, title=f"Title {number}") for number in range(1, 24)]
    write_records(tmp_path / "records.parquet", records)
    with RecordTable(tmp_path / "records.parquet", "records.parquet") as table:
        assert table.count == len(records)
        for start in range(25):
            for stop in range(26):
                assert table.read(start, stop) == records[start:stop]
        assert [row["title"] for row in table.rows(["title"])] == [record.title for record in records]


def test_a_bad_row_is_reported_with_its_number_in_the_whole_table(tmp_path: Path) -> None:
    rows = [record(number).model_dump() | {"title": None if number == 7 else "T", "raw": "[]"} for number in range(10)]
    pq.write_table(pa.Table.from_pylist(rows, schema=store.RECORDS), tmp_path / "records.parquet")
    with (
        RecordTable(tmp_path / "records.parquet", "records.parquet") as table,
        pytest.raises(MechtagError, match=r"^records\.parquet: row 8: the value in column 'title' is invalid"),
    ):
        table.read(5, 10)
