"""Work done ahead, in a process of its own, while its results are used."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from mechtag.core.errors import MechtagError

# Runs a function of a module, called with arguments, and gives the items that it gives, in their order.
Runner = Callable[..., Iterator[Any]]

_ITEM, _END, _ERROR = range(3)


@contextmanager
def ahead(what: str, prepare: Callable[..., None], *arguments: Any) -> Iterator[Runner]:
    """Start another process, in which iterators make their next item while this one is used.

    It is a process and not a thread because Python code in a thread would hold up the
    encoder. It waits until an item is taken before it makes the one after the next, and
    ends with the context, or when this process is killed.

    Parameters
    ----------
    what
        What the process does, for messages.
    prepare, *arguments
        A function of a module, and what it is called with there, at once: it loads what will be needed.

    Yields
    ------
    Runner
        Its items raise `MechtagError` if the process was killed. An error of ``prepare``, or of
        the function that is run, is raised here, when the item is asked for.
    """
    # A fresh process: one that is forked would share locks with threads that it does not have.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, prepare, arguments), name=what, daemon=True)
    with _ctrl_c_held_back():
        process.start()
    there.close()

    def run(make: Callable[..., Iterator[Any]], *its_arguments: Any) -> Iterator[Any]:
        with suppress(ConnectionError):  # told when the first item is asked for
            here.send((make, its_arguments))
        return _items(what, process, here)

    try:
        yield run
    finally:
        here.close()
        process.terminate()
        process.join()


def directly(make: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
    """Run an iterator in this process; a `Runner`."""
    return make(*arguments)


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Let processes be born deaf to Ctrl-C, which goes to all of a terminal's: this one decides."""
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
                f"the process that {what} ended early (exit status {process.exitcode}); "
                "the machine may be short of memory. Go on with --resume"
            ) from None
        if kind == _END:
            return
        if kind == _ERROR:
            raise item
        yield item


def _work(connection: Connection, prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ConnectionError):  # The other process is gone, and nobody waits for the items.
        for message in _messages(connection, prepare, arguments):
            connection.send(message)


def _messages(
    connection: Connection, prepare: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[tuple[int, Any]]:
    """Give what is to be sent; an error while it is sent is none of those that are caught here."""
    try:
        prepare(*arguments)
        while True:
            make, its_arguments = connection.recv()
            for item in make(*its_arguments):
                yield _ITEM, item
            yield _END, None
    except Exception as error:
        yield _ERROR, error
