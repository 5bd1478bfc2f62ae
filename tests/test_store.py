"""Tables between stages."""

from pathlib import Path

import pytest

from pipeline import store
from pipeline.store import read_records, write_records
from tests.papers import record


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
