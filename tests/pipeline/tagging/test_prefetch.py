"""Test the process that prepares work ahead: order of the items, errors, unexpected end, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mechtag.core.errors import MechtagError
from mechtag.pipeline.tagging.prefetch import directly, prefetch
from tests.support.paths import ROOT


def get_ready(log: Path | None = None, fails: bool = False) -> None:
    if log:
        log.write_text(str(os.getpid()))
    if fails:
        raise MechtagError("no such thing to load")


def count(stop: int, fails: bool = False) -> Iterator[tuple[int, int]]:
    for number in range(stop):
        yield number, os.getpid()
    if fails:
        raise MechtagError("nothing after these")


def die() -> Iterator[int]:
    yield 1
    os._exit(7)


def cut_short() -> Iterator[int]:
    raise EOFError("the file ends too soon")
    yield 1


def interrupted() -> Iterator[int]:
    os.kill(os.getpid(), signal.SIGINT)
    yield 1


def test_items_come_in_order_from_one_other_process(tmp_path: Path) -> None:
    with prefetch("counts", get_ready, tmp_path / "pid") as run:
        first, second = list(run(count, 3)), list(run(count, 2))
    assert [number for number, _ in first] == [0, 1, 2]
    assert [number for number, _ in second] == [0, 1]
    process = int((tmp_path / "pid").read_text())
    assert {place for _, place in first + second} == {process}
    assert process != os.getpid()
    assert not psutil.pid_exists(process)


def test_an_error_comes_after_the_items_before_it() -> None:
    with prefetch("counts", get_ready) as run:
        items = run(count, 2, True)
        assert [next(items)[0], next(items)[0]] == [0, 1]
        with pytest.raises(MechtagError, match="nothing after these"):
            next(items)


def test_an_error_during_preparation_is_raised_at_the_first_item() -> None:
    with prefetch("counts", get_ready, None, True) as run, pytest.raises(MechtagError, match="no such thing to load"):
        next(run(count, 1))


def test_an_error_of_a_type_that_connections_raise_is_passed_on() -> None:
    with prefetch("counts", get_ready) as run, pytest.raises(EOFError, match="the file ends too soon"):
        next(run(cut_short))


def test_the_death_of_the_process_is_reported() -> None:
    with prefetch("counts", get_ready) as run:
        items = run(die)
        assert next(items) == 1
        with pytest.raises(
            MechtagError, match=r"process that counts ended unexpectedly \(exit status 7\).* continue the run"
        ):
            next(items)


def test_ctrl_c_is_left_to_the_other_process() -> None:
    with prefetch("counts", get_ready) as run:
        assert list(run(interrupted)) == [1]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_directly_works_in_this_process() -> None:
    assert list(directly(count, 1)) == [(0, os.getpid())]


@pytest.mark.slow
def test_what_it_imports_to_cut_sentences_is_light() -> None:
    code = (
        "import sys, mechtag.pipeline.tagging.start, mechtag.pipeline.reading.text.sentences;"
        "from mechtag.core.settings import SentenceSettings;"
        "mechtag.pipeline.reading.text.sentences.prepare(SentenceSettings());"
        "print({'sklearn', 'mechtag.models.model_folder', 'openvino'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
