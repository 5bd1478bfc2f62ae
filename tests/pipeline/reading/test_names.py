"""Test names of files and archive members: equal names, names that are not UTF-8, and names with control characters."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mechtag.core.parquet import read_records, write_records
from mechtag.core.printable import printable
from mechtag.pipeline.reading import build_record
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.tagged import Entry, Format

_RIS = "TY  - JOUR\nTI  - One\nER  - \n"


def test_members_of_one_shown_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.ris", "./a.ris", "x/../a.ris"):
            archive.writestr(name, _RIS)
    names = [source.file for source in ingest([tmp_path / "a.zip"]).sources]
    assert len(set(names)) == 3


def test_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a\xff\x1b[31m.ris")
    path.write_text(_RIS)
    found = ingest([path])
    assert found.records[0].source_file == r"a\udcff\x1b[31m.ris"
    write_records(tmp_path / "a.parquet", found.records)
    assert read_records(tmp_path / "a.parquet")[0].source_file == r"a\udcff\x1b[31m.ris"


def test_control_characters() -> None:
    assert printable("a\x1b[2J\r\u202eb\tc\nd\udcff é") == "a\\x1b[2J\\r\\u202eb\tc\nd\\udcff é"


def test_running_out_of_memory_is_not_the_fault_of_a_record() -> None:
    def clean(fields: object) -> dict[str, object]:
        raise MemoryError("full")

    form = Format("a", lambda source: True, lambda source: iter(()), clean)
    with pytest.raises(MemoryError, match="full"):
        build_record.build(form, Entry(1, 1, [("TI", "One")]), "a.ris")


@pytest.mark.parametrize("text", ["\x1b[2Jnothing known", "a\u202ecod", "a\x9b31m, b\r"])
def test_no_command_prints_control_characters(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a\x1b[31m.csv"
    path.write_text(f"{text},b\n1,2\n", encoding="utf-8", newline="")
    command = [sys.executable, "-m", "mechtag", "ingest", str(path), "-o", str(tmp_path / "a.parquet")]
    done = subprocess.run(command, capture_output=True, check=False)
    out = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert out.startswith("mechtag: ")
    assert not set("\x1b\u202e\x9b\r") & set(out)
