"""Define the interface through which a workflow reports notes and progress to its caller."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext


class Reporter:
    """Receives notes and progress from a workflow. This base class ignores both; subclasses show them to users."""

    def note(self, message: str) -> None:
        """Receive a message that the user should see, but that does not stop the workflow."""

    def progress(self, what: str, total: int, *, done: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """Start a step, and return a context manager that receives its progress.

        Parameters
        ----------
        what, total
            Name of the step, and number of its items.
        done
            Number of items that an earlier run has already finished.

        Returns
        -------
        context manager
            Yields a function that is called with the number of items finished since its last call.
        """
        return nullcontext(lambda _: None)


SILENT = Reporter()
