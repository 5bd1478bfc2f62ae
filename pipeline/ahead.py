"""Work done ahead, in a process of its own, while its results are used."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from pipeline.errors import MechtagError

ItemT = TypeVar("ItemT")

_ITEM, _END, _ERROR = range(3)


@contextmanager
def ahead(what: str, make: Callable[..., Iterator[ItemT]], *arguments: Any) -> Iterator[Iterator[ItemT]]:
    """Run an iterator in another process, which makes the next item while this one is used.

    It is a process and not a thread because Python code in a thread would hold up the
    encoder. It waits until an item is taken before it makes the one after the next, and
    ends with the context, or when this process is killed.

    Parameters
    ----------
    what
        What the process does, for messages.
    make, *arguments
        A function of a module, and what it is called with there.

    Yields
    ------
    iterator
        The same items in the same order.

    Raises
    ------
    MechtagError
        The process was killed. An error that ``make`` raises is raised here, when its item is asked for.
    """
    # A fresh process: one that is forked would share locks with threads that it does not have.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(there, make, arguments), name=what, daemon=True)
    process.start()
    there.close()
    try:
        yield _items(what, process, here)
    finally:
        here.close()
        process.terminate()
        process.join()


def _items(what: str, process: multiprocessing.process.BaseProcess, connection: Connection) -> Iterator[Any]:
    while True:
        try:
            kind, item = connection.recv()
        except EOFError:
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


def _work(connection: Connection, make: Callable[..., Iterator[Any]], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C goes to both processes; the other one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        try:
            for item in make(*arguments):
                connection.send((_ITEM, item))
            connection.send((_END, None))
        except BrokenPipeError:
            raise
        except Exception as error:
            connection.send((_ERROR, error))
    except BrokenPipeError:
        pass  # The other process is gone, and nobody waits for the items.
