"""Test file names that are not valid UTF-8, which Linux file systems allow."""

import os
from pathlib import Path

import pytest

from mechtag.core.files import read_json, write_json, write_text
from mechtag.core.parquet import read_records, write_records
from mechtag.core.records import Record
from mechtag.pipeline.tagging.storage import locate

_NAME = os.fsdecode(b"Z\xfcrich")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / _NAME
    try:
        found.mkdir()
    except OSError:
        pytest.skip("this file system allows only UTF-8")
    return found


def test_json_returns_the_same_name_and_text_shows_it(folder: Path) -> None:
    write_json(folder / "a.json", {"path": str(folder)})
    assert read_json(folder / "a.json") == {"path": str(folder)}
    write_text(folder / "a.txt", _NAME)
    assert (folder / "a.txt").read_text() == "Z\\udcfcrich"


def test_parquet_tables_are_written_and_read(folder: Path) -> None:
    record = Record(record_id="text:1", title="One")
    write_records(folder / f"{_NAME}.parquet", [record])
    assert [found.title for found in read_records(folder / f"{_NAME}.parquet")] == ["One"]


def test_storage_reads_and_writes(folder: Path) -> None:
    place = locate(folder) / f"{_NAME}.json"
    assert not place.exists()
    place.write(b"{}")
    assert (place.exists(), place.read(), place.open().read()) == (True, b"{}", b"{}")
    assert locate(folder).names() == {f"{_NAME}.json"}
    place.delete()
    assert not place.exists()
