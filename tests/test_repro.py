"""Test that `make run` leaves the working tree clean although numbers differ between processors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

STAGES = """\
stages:
  train:
    cmd: echo $MACHINE > model.txt && cat data.txt >> model.txt
    deps: [data.txt]
    outs: [model.txt]
  report:
    cmd: cp model.txt report.txt
    deps: [model.txt]
    outs: [report.txt]
"""


def run(folder: Path, machine: str, *command: str) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MACHINE": machine,
        **{f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a repository whose ``dvc.lock`` was committed on another machine, "a"."""
    origin = tmp_path / "origin"
    origin.mkdir()
    run(origin, "a", "git", "init", "--quiet")
    run(origin, "a", "dvc", "init", "--quiet")
    shutil.copy(ROOT / ".dvc/repro", origin / ".dvc")
    (origin / "dvc.yaml").write_text(STAGES, encoding="utf-8")
    (origin / "data.txt").write_text("first\n", encoding="utf-8")
    (origin / ".gitignore").write_text("/model.txt\n/report.txt\n", encoding="utf-8")
    run(origin, "a", "dvc", "repro")
    run(origin, "a", "git", "add", "--all")
    run(origin, "a", "git", "commit", "--quiet", "-m", "first")
    run(tmp_path, "b", "git", "clone", "--quiet", str(origin), "clone")
    return tmp_path / "clone"


def test_the_working_tree_stays_clean_and_a_second_run_does_nothing(clone: Path) -> None:
    assert "Running stage" in run(clone, "b", ".dvc/repro")
    assert (clone / "report.txt").read_text(encoding="utf-8") == "b\nfirst\n"
    assert run(clone, "b", "git", "status", "--short") == ""
    again = run(clone, "b", ".dvc/repro")
    assert "Running stage" not in again
    assert "is cached" not in again
    (clone / "data.txt").write_text("second\n", encoding="utf-8")
    assert "Running stage" in run(clone, "b", ".dvc/repro")
    assert (clone / "report.txt").read_text(encoding="utf-8") == "b\nsecond\n"
    assert run(clone, "b", "git", "status", "--short") == " M data.txt\n"


def test_a_killed_run_is_continued_and_a_lock_of_the_user_is_kept(clone: Path) -> None:
    run(clone, "b", "dvc", "repro", "train")
    changed = (clone / "dvc.lock").read_text(encoding="utf-8")
    run(clone, "b", ".dvc/repro", "train")
    assert (clone / "dvc.lock").read_text(encoding="utf-8") == changed, "the user's own change was discarded"
    (clone / ".dvc/tmp/lock-started").touch()
    report = run(clone, "b", ".dvc/repro")
    assert "Running stage 'report'" in report
    assert "Running stage 'train'" not in report
    assert run(clone, "b", "git", "status", "--short") == ""


def test_make_runs_the_pipeline_in_this_way() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\t.dvc/repro\n" in makefile
    assert "/dvc repro" not in makefile


def test_make_run_ends_with_the_accuracy_table_and_where_the_files_lie() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nrun:")[2].partition("\n\n")[0].splitlines()
    commands = [line.strip() for line in recipe[1:]]
    last = [command for command in commands if not command.startswith("@echo")][-1]
    assert last == "$(BIN)/mechtag report"
    assert commands.index(last) < min(place for place, command in enumerate(commands) if command.startswith("@echo"))
