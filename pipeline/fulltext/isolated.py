"""Read full texts in a separate process, so that a damaged or hostile file cannot crash mechtag.

The process reads one file after the other. If a file takes too long, the process is killed. After each failure, a new
process is started. Requests and answers are lines of JSON on standard input and output.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from pydantic import ValidationError

import mechtag
from mechtag.core.errors import MechtagError
from mechtag.core.records import Rejected
from mechtag.core.source import readable
from mechtag.pipeline.fulltext import ocr
from mechtag.pipeline.fulltext.document import MOST_PAGES
from mechtag.pipeline.fulltext.ocr import Recogniser
from mechtag.pipeline.fulltext.reading import LARGEST, ReadFile, read_full_text

# Maximum length of an answer; a text of 20 million characters has at most 12 characters of JSON for each.
_LONGEST_ANSWER = 300_000_000
# Seconds that drawing a page may take, in addition to recognising its text.
_DRAWING = 10
# What the process runs. It imports this copy of mechtag, whose folder is the first argument, wherever it was started.
_FIND = "import sys; sys.path.insert(0, sys.argv.pop(1)); import mechtag; del sys.path[0]"
_FOLDER = str(Path(mechtag.__file__).absolute().parents[1])
_PROGRAM = "from mechtag.pipeline.fulltext.isolated import main; main()"


class Limits(NamedTuple):
    """Limits on the time and memory for reading one file.

    Attributes
    ----------
    seconds
        Maximum time for a file, in seconds. For a PDF, ``seconds_per_page`` is added for each page.
    seconds_per_page
        Additional time for each page of a PDF, in seconds.
    memory
        Maximum address space of the process, in bytes. Some operating systems cannot enforce this limit.
    ocr_seconds
        Maximum time, in seconds, for recognising the text of one scanned page.
    """

    seconds: float = 30
    seconds_per_page: float = 0.5
    memory: int = 1 << 30
    ocr_seconds: float = ocr.SECONDS


class IsolatedReader:
    """Reads full texts in a separate process; use it as a context manager, which ends the process on exit.

    Parameters
    ----------
    limits
        Limits on the time and memory for reading one file.
    program
        Path of the program that recognises the text of scanned pages; see `ocr.find_program`. If ``None``, this text is
        not recognised.
    """

    def __init__(self, limits: Limits = Limits(), program: str | None = None) -> None:  # noqa: B008 (immutable)
        self._limits, self._program = limits, program
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> IsolatedReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def read(self, path: Path, name: str) -> ReadFile | Rejected:
        """Read a file and return its content; if it cannot be read, return a `Rejected` with the reason.

        Parameters
        ----------
        path
            Path of the file.
        name
            Name of the file in the result and in the reason.

        Raises
        ------
        MechtagError
            If the process cannot be started.
        """
        process = self._running()
        try:
            return self._read(process, path, name)
        except _Failure as failure:
            self._stop()
            return Rejected(file=name, reason=f"{name}: {failure}")
        except MechtagError as error:
            return Rejected(file=name, reason=str(error))

    def _read(self, process: subprocess.Popen[bytes], path: Path, name: str) -> ReadFile:
        with readable(Path(name)):
            found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise MechtagError(f"{name} is a folder, pipe, socket or device; save its content to a file")
        size = found.st_size
        if size > LARGEST:
            raise MechtagError(
                f"{name} has {size / 1e6:,.0f} MB, but a full text may have at most {LARGEST // 1_000_000} MB; save "
                "the paper alone, without supplements"
            )
        with _Deadline(process, self._limits.seconds) as deadline:
            with contextlib.suppress(OSError):  # the answer is then missing
                _send(process.stdin, {"path": os.path.abspath(path), "name": name})
            answer = self._answer(process, deadline)
            if isinstance(pages := answer.get("pages"), int):
                deadline.extend(self._limits.seconds_per_page * min(pages, MOST_PAGES))
                answer = self._answer(process, deadline)
            while "recognises" in answer and self._program:
                deadline.extend(self._limits.ocr_seconds + _DRAWING)
                answer = self._answer(process, deadline)
        if deadline.passed:  # just after the answer
            self._stop()
        if "fault" in answer:
            raise MechtagError(str(answer["fault"]))
        try:
            return ReadFile.model_validate(answer["read"])
        except (KeyError, ValidationError):
            raise _Failure(_CRASHED) from None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process and self._process.poll() is None:
            return self._process
        self._stop()
        self._process = subprocess.Popen(
            # -P: a module in the current folder must not take the place of an installed one.
            [sys.executable, "-P", "-c", f"{_FIND}\n{_PROGRAM}", _FOLDER, json.dumps([self._limits, self._program])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Numerical libraries reserve address space for each thread.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"},
        )
        if _receive(self._process.stdout) != {"ready": True}:
            self._stop()
            raise MechtagError(
                "the process that reads full texts could not be started; run "
                f"'{sys.executable} -m {__spec__.name}' to see the reason"
            )
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], deadline: _Deadline) -> dict[str, Any]:
        answer = _receive(process.stdout)
        if answer is not None:
            return answer
        if deadline.passed:
            raise _Failure(
                f"reading the file took more than {deadline.seconds:,.0f} seconds, so it was stopped; print the file "
                "to a new PDF, or save it in a different format"
            )
        process.kill()
        if process.wait() == _NO_MEMORY:
            raise _Failure(
                f"reading the file takes more than {self._limits.memory >> 20:,} MB of memory; print the file to a new "
                "PDF, or save it in a different format"
            )
        raise _Failure(_CRASHED)

    def _stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # a request that was not sent
                    if stream:
                        stream.close()
            self._process = None


class _Failure(Exception):
    """Raised if the process that reads a file did not return a usable answer."""


_CRASHED = (
    "the program that reads the file crashed, so the file may be damaged; download it again, or print it to a new PDF"
)
# Exit status of a process that ran out of memory.
_NO_MEMORY = 77


class _Deadline:
    """Context manager that kills a process when a time limit has passed."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.passed = False
        self.seconds = 0.0
        self._process = process
        self._timer: threading.Timer | None = None
        self._first = seconds

    def __enter__(self) -> _Deadline:
        self.extend(self._first)
        return self

    def extend(self, seconds: float) -> None:
        """Add ``seconds`` to the time limit; from now on, the whole time limit is available again."""
        if self._timer:
            self._timer.cancel()
        self.seconds += seconds
        self._timer = threading.Timer(self.seconds, self._kill)
        self._timer.daemon = True
        self._timer.start()

    def _kill(self) -> None:
        self.passed = True
        self._process.kill()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()


def _send(stream: IO[bytes] | None, message: dict[str, Any]) -> None:
    assert stream
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()


def _receive(stream: IO[bytes] | None) -> dict[str, Any] | None:
    """Return the next JSON object from a stream; ``None`` if the stream has ended or the line is not an object."""
    assert stream
    line = stream.readline(_LONGEST_ANSWER)
    try:
        message = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _limit(memory: int) -> None:
    """Limit the memory of this process to ``memory`` bytes, and prevent core dumps."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is already set, or the system has none
            resource.setrlimit(what, (limit, limit))


def _requests() -> queue.Queue[dict[str, Any]]:
    """Start a thread that reads requests from standard input into a queue, and return this queue."""
    found = queue.Queue[dict[str, Any]]()

    def work() -> None:
        for line in sys.stdin.buffer:
            found.put(json.loads(line))
        # Ends the whole process, even if it is reading a file.
        os._exit(0)

    threading.Thread(target=work, daemon=True).start()
    return found


def main() -> None:
    """Run the separate process: read the files that standard input names, and print their content."""
    given, program = json.loads(sys.argv[1]) if len(sys.argv) > 1 else ((), None)
    limits = Limits(*given)
    # A library that prints must not disturb the answers.
    with os.fdopen(os.dup(1), "wb") as answers, open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that started this process ends it
        _limit(limits.memory)
        recogniser = None
        if program:
            recogniser = Recogniser(program, limits.ocr_seconds, lambda: _send(answers, {"recognises": True}))
        requests = _requests()
        _send(answers, {"ready": True})
        while True:
            request = requests.get()
            try:
                _send(answers, _reply(Path(request["path"]), request["name"], answers, recogniser))
            except MemoryError:
                os._exit(_NO_MEMORY)


def _reply(path: Path, name: str, answers: IO[bytes], recogniser: Recogniser | None) -> dict[str, Any]:
    def on_pages(pages: int) -> None:
        _send(answers, {"pages": pages})

    try:
        return {"read": read_full_text(path, name, on_pages, recogniser).model_dump()}
    except MechtagError as error:
        return {"fault": str(error)}
    except MemoryError:
        raise
    except Exception as error:  # whatever a library raises
        return {"fault": f"{name} could not be read ({type(error).__name__}: {error}); it may be damaged"}


if __name__ == "__main__":
    main()
