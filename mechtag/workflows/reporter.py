"""Define the interface through which a workflow reports notes and progress to its caller."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext


class Reporter:
    """Receives notes and progress from a workflow. This base class ignores both; subclasses show them to users."""

    def note(self, message: str) -> None:
        """Receive a message that the user should see, but that does not stop the workflow."""

    def progress(self, what: str, total: int, *, done: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """Start a step. The returned context manager yields a function to which the caller reports progress.

        Parameters
        ----------
        what, total
            Name of the step, and number of its items.
        done
            Number of items that an earlier run has already finished.

        Returns
        -------
        context manager
            The function that it yields must be called with the number of items finished since the last call.
        """
        return nullcontext(lambda _: None)


SILENT = Reporter()
