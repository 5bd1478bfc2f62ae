"""How a workflow tells its caller how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext


class Reporter:
    """Receives notes and progress; this one ignores them."""

    def note(self, message: str) -> None:
        """Receive something that the user should know and that stops nothing."""

    def progress(self, what: str, total: int, *, done: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a step.

        Parameters
        ----------
        what, total
            Name of the step, and how many items it has.
        done
            How many of them an earlier run finished.

        Returns
        -------
        context manager
            Yields a function that is called with the number of items finished since its last call.
        """
        return nullcontext(lambda _: None)


SILENT = Reporter()
