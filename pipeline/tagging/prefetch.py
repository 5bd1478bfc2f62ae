"""Prefetch the items of an iterator in a separate process."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from mechtag.core.errors import MechtagError

# A function that calls a module-level function with arguments and yields the resulting items in order.
Runner = Callable[..., Iterator[Any]]

_ITEM, _END, _ERROR = range(3)


@contextmanager
def prefetch(what: str, prepare: Callable[..., None], *arguments: Any) -> Iterator[Runner]:
    """Start a process that computes the next item of an iterator while the main process uses the current item.

    The process ends when the context ends, or when the main process is killed.

    Parameters
    ----------
    what
        Task of the process as a verb phrase, such as "splits sentences", for error messages.
    prepare
        Module-level function that the process calls first, to load what the iterator needs.
    *arguments
        Arguments of ``prepare``.

    Yields
    ------
    Runner
        Function that runs an iterator in the process. Errors of ``prepare`` and of the iterator are raised in the main
        process. If the process is killed, `MechtagError` is raised.
    """
    # A thread would not help, because its Python code would block the encoder.
    # Spawn instead of fork, because a forked process inherits locks but not the threads that would release them.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, prepare, arguments), name=what, daemon=True)
    with _sigint_blocked():
        process.start()
    there.close()

    def run(make: Callable[..., Iterator[Any]], *its_arguments: Any) -> Iterator[Any]:
        with suppress(ConnectionError):  # reported when the first item is requested
            here.send((make, its_arguments))
        return _items(what, process, here)

    try:
        yield run
    finally:
        here.close()
        process.terminate()
        process.join()


def directly(make: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
    """Return the iterator ``make(*arguments)``; the iterator runs in the current process, without prefetching."""
    return make(*arguments)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Context manager: start processes with SIGINT blocked, so that they do not react to Ctrl-C."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _items(what: str, process: multiprocessing.process.BaseProcess, connection: Connection) -> Iterator[Any]:
    while True:
        try:
            kind, item = connection.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            raise MechtagError(
                f"the process that {what} ended unexpectedly (exit status {process.exitcode}), "
                "possibly because memory ran out; close other programs and continue the run",
                options="--resume",
            ) from None
        if kind == _END:
            return
        if kind == _ERROR:
            raise item
        yield item


def _work(connection: Connection, prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ConnectionError):  # The parent process has ended, and nothing waits for the items.
        for message in _messages(connection, prepare, arguments):
            connection.send(message)


def _messages(
    connection: Connection, prepare: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[tuple[int, Any]]:
    """Yield messages for the main process: items, the end of a series of items, or an error."""
    try:
        prepare(*arguments)
        while True:
            make, its_arguments = connection.recv()
            for item in make(*its_arguments):
                yield _ITEM, item
            yield _END, None
    except Exception as error:
        yield _ERROR, error
