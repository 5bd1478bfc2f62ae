"""Test that a run deletes the temporary files of killed processes, and no other files."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mechtag.core.files import replacing, write_text
from mechtag.core.temporary import temporary_folder
from mechtag.pipeline.export.tagged import writing
from tests.support.paths import ROOT

_WRITING = """
import sys
from mechtag.core.files import replacing
with replacing(sys.argv[1]) as part:
    part.write_text("from the other process")
    print("ready", flush=True)
    sys.stdin.readline()
"""
_EXPORTING = """
import sys
from pathlib import Path
from mechtag.core.records import Record
from mechtag.pipeline.export import sorting
from mechtag.pipeline.export.tagged import writing
sorting._RUN = 2
def stop(number):
    print("ready", flush=True)
    sys.stdin.readline()
with writing({"xlsx": Path(sys.argv[1])}, [("relevant", "Relevant")], {}) as add:
    for number in range(8):
        add(Record(record_id=f"text:{number}", title=f"Title {number}"), {})
    from openpyxl.writer.excel import ExcelWriter
    ExcelWriter.write_data = stop
"""


@contextmanager
def _other_process(script: str, path: Path, folder: Path | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run a script in another process, and yield the process when it is about to finish a file."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder or path.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", script, path], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process


def _kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_the_next_run_deletes_the_files_of_a_killed_one(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with _other_process(_WRITING, path) as process:
        _kill(process)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    write_text(tmp_path / "another.csv", "new")
    assert {one.name for one in tmp_path.iterdir()} == {"out.csv", "another.csv"}


def test_an_export_that_was_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "out" / "review.xlsx"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with _other_process(_EXPORTING, path, temporary) as process:
        _kill(process)
    assert list(path.parent.iterdir())
    with writing({"xlsx": path}, [("relevant", "Relevant")], {}):
        pass
    assert list(path.parent.iterdir()) == [path]
    assert list(temporary.iterdir()) == []


def test_the_files_of_a_running_process_stay(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with _other_process(_WRITING, path) as process:
        write_text(path, "from this process")
        assert path.read_text() == "from this process"
        process.communicate("go on\n")
    assert process.returncode == 0
    assert path.read_text() == "from the other process"
    assert list(tmp_path.iterdir()) == [path]


def test_only_folders_of_killed_processes_are_deleted(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    kept = [elsewhere / "files" / "mine", elsewhere / "lock"]
    kept += [
        tmp_path / name for name in (".mechtag-notes/lock", ".mechtag-abcdefgh/mine", ".mechtag-bcdefghi", ".mine")
    ]
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    (tmp_path / ".mechtag-cdefghij").symlink_to(elsewhere, target_is_directory=True)
    (tmp_path / ".mechtag-defghijk").mkdir()  # left by a process that was killed before it locked the folder
    with temporary_folder(tmp_path) as folder:
        assert list(folder.iterdir()) == []
        assert not (tmp_path / ".mechtag-defghijk").exists()
    assert all(file.read_text() == "mine" for file in kept)
    assert (tmp_path / ".mechtag-cdefghij").is_symlink()
    assert not folder.exists()


def test_a_folder_that_vanishes_before_it_is_locked_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mechtag.core import temporary

    lock, tries = temporary._lock, []

    def vanish(file, *, wait):
        tries.append(Path(file.name))
        if len(tries) == 1:
            temporary._delete(Path(file.name).parent)
        return lock(file, wait=wait)

    monkeypatch.setattr(temporary, "_lock", vanish)
    with temporary_folder(tmp_path) as folder:
        assert folder.parent == tries[1].parent != tries[0].parent
    assert list(tmp_path.iterdir()) == []


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_text(path, "text")
    assert path.read_text() == "text"


def test_a_file_that_is_not_written_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError, match=r"out\.csv"), replacing(path):
        pass
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]
