"""Measure the time and peak memory of a command, which runs in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mechtag.core.errors import MechtagError


@dataclass(frozen=True)
class Cost:
    """The cost of a command: wall time and processor time in seconds, and peak memory in megabytes (10^6 bytes)."""

    seconds: float
    megabytes: float
    processor_seconds: float


def run(command: Sequence[str], folder: Path | None = None) -> Cost:
    """Run a command in a folder (by default, the current folder), wait until it ends, and return its cost.

    Raises
    ------
    MechtagError
        If the command failed; the message contains the end of its standard error.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder)
    assert process.stderr is not None
    with process.stderr as pipe:
        said = pipe.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise MechtagError(f"the command '{' '.join(command)}' failed with status {process.returncode}: {said[-2000:]}")
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, usage.ru_maxrss * unit / 1e6, usage.ru_utime + usage.ru_stime)
