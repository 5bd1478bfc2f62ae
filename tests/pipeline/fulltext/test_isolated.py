"""Test that a file that crashes, blocks or overloads its reader is rejected with the reason, and reading continues."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fpdf
import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.records import Rejected
from mechtag.pipeline.fulltext import isolated
from mechtag.pipeline.fulltext.isolated import IsolatedReader, Limits
from mechtag.pipeline.fulltext.reading import ReadFile
from tests.support.paths import ROOT

# A program whose reader of plain text and PDF misbehaves as the file tells it.
HOSTILE = """
import os, sys, time
from types import ModuleType
from mechtag.core.errors import MechtagError
from mechtag.pipeline.fulltext import isolated
from mechtag.pipeline.fulltext.document import Block, Draft

def read(data, name, on_pages=None, recogniser=None):
    if on_pages:
        on_pages(4)
    if b"crash" in data:
        os.abort()
    if b"exit" in data:
        os._exit(0)
    if b"hang" in data:
        time.sleep(600)
    if b"huge" in data:
        bytearray(2 << 30)
    if b"noise" in data:
        os.write(1, b"noise")
        print("noise", flush=True)
    if b"fault" in data:
        raise MechtagError(f"{name} is at fault")
    if b"bug" in data:
        raise ValueError("a bug")
    return Draft([Block(f"process {os.getpid()}")])

module = ModuleType("own")
module.read = read
for name in ("plain", "pdf"):
    sys.modules[f"mechtag.pipeline.fulltext.formats.{name}"] = module
isolated.main()
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(isolated, "_PROGRAM", HOSTILE)
    return tmp_path


@pytest.fixture
def reader(hostile: Path) -> Iterator[IsolatedReader]:
    with IsolatedReader() as found:
        yield found


def answer(reader: IsolatedReader, folder: Path, content: str) -> ReadFile | Rejected:
    path = folder / "paper.txt"
    path.write_text(content, encoding="utf-8")
    return reader.read(path, "paper.txt")


def process(found: ReadFile | Rejected) -> int:
    assert isinstance(found, ReadFile), found
    return int(found.full_text.text.split()[1])


def reason(found: ReadFile | Rejected) -> str:
    assert isinstance(found, Rejected), found
    assert found.file == "paper.txt"
    return found.reason


def test_one_process_reads_many_files(reader: IsolatedReader, tmp_path: Path) -> None:
    first = process(answer(reader, tmp_path, "good"))
    assert first != os.getpid()
    assert process(answer(reader, tmp_path, "noise")) == first
    assert reason(answer(reader, tmp_path, "fault")) == "paper.txt is at fault"
    assert reason(answer(reader, tmp_path, "bug")).startswith("paper.txt could not be read (ValueError: a bug)")
    assert reason(answer(reader, tmp_path, "")).startswith("paper.txt is empty")
    assert process(answer(reader, tmp_path, "good")) == first


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the system cannot limit the memory of a process")
def test_a_file_that_needs_too_much_memory_is_rejected(reader: IsolatedReader, tmp_path: Path) -> None:
    assert reason(answer(reader, tmp_path, "huge")).startswith(
        "paper.txt: reading the file takes more than 1,024 MB of memory"
    )
    assert process(answer(reader, tmp_path, "good"))


@pytest.mark.parametrize("content", ["crash", "exit"])
def test_a_crash_rejects_only_one_file(reader: IsolatedReader, tmp_path: Path, content: str) -> None:
    assert reason(answer(reader, tmp_path, content)).startswith("paper.txt: the program that reads the file crashed")
    assert process(answer(reader, tmp_path, "good"))


def test_a_file_that_takes_too_long_is_rejected(hostile: Path) -> None:
    with IsolatedReader(Limits(seconds=0.2)) as reader:
        assert reason(answer(reader, hostile, "hang")).startswith(
            "paper.txt: reading the file took more than 0 seconds"
        )


def test_a_pdf_has_more_time_the_more_pages_it_has(
    reader: IsolatedReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extended: list[float] = []
    extend = isolated._Deadline.extend
    monkeypatch.setattr(
        isolated._Deadline, "extend", lambda self, seconds: (extended.append(seconds), extend(self, seconds))
    )
    document = fpdf.FPDF()
    for _ in range(4):
        document.add_page()
    (tmp_path / "paper.pdf").write_bytes(bytes(document.output()))
    assert process(reader.read(tmp_path / "paper.pdf", "paper.txt"))
    assert extended == [30, 4 * 0.5]


def test_time_for_pages_is_added(hostile: Path) -> None:
    with IsolatedReader() as reader:
        process(answer(reader, hostile, "good"))
        assert reader._process
        with isolated._Deadline(reader._process, 30) as deadline:
            deadline.extend(2)
            assert deadline.seconds == 32


def test_a_process_that_ended_between_two_files_is_started_again(reader: IsolatedReader, tmp_path: Path) -> None:
    first = process(answer(reader, tmp_path, "good"))
    running = reader._process
    assert running
    running.kill()
    running.wait()
    assert process(answer(reader, tmp_path, "good")) != first


def test_files_that_are_too_large_or_missing_are_rejected(
    reader: IsolatedReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "paper.txt").open("wb") as file:
        file.truncate(200_000_001)
    assert reason(reader.read(tmp_path / "paper.txt", "paper.txt")).startswith("paper.txt has 200 MB, but")
    assert "the file cannot be read: No such file" in reason(reader.read(tmp_path / "gone", "paper.txt"))


def test_a_file_name_may_contain_anything(reader: IsolatedReader, tmp_path: Path) -> None:
    for name in ("=1+1\n.txt", os.fsdecode(b"f\xfchrung.txt")):
        (tmp_path / name).write_bytes(b"good")
        assert process(reader.read(tmp_path / name, "paper.txt"))


def test_nothing_in_the_current_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit", encoding="utf-8")
    (tmp_path / "a.rtf").write_bytes(b"{\\rtf1")
    monkeypatch.chdir(tmp_path)
    with IsolatedReader() as reader:
        assert "is an RTF document" in reader.read(Path("a.rtf"), "a.rtf").reason  # type: ignore[union-attr]


def test_a_process_that_cannot_start_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_PROGRAM", "sys.exit(1)")
    with (
        IsolatedReader() as reader,
        pytest.raises(MechtagError, match=r"could not be started; run '.* -m mechtag\.pipeline\.fulltext\.isolated'"),
    ):
        reader.read(tmp_path / "paper.txt", "paper.txt")


def test_the_process_ends_with_its_parent_even_while_it_reads(hostile: Path) -> None:
    (hostile / "paper.txt").write_bytes(b"hang")
    request = json.dumps({"path": str(hostile / "paper.txt"), "name": "paper.txt"}).encode() + b"\n"
    command, env = [sys.executable, "-c", HOSTILE], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=request, cwd=hostile, env=env, timeout=120, check=False)
    assert done.returncode == 0
