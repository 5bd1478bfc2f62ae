"""Interface through which a workflow reports notes and progress to its caller."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext


class Reporter:
    """Receives notes and progress; this base class ignores them."""

    def note(self, message: str) -> None:
        """Receive a message that the user should know but that does not stop the workflow."""

    def progress(self, what: str, total: int, *, done: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """Start a step.

        Parameters
        ----------
        what, total
            Name of the step, and its number of items.
        done
            Number of items that an earlier run finished.

        Returns
        -------
        context manager
            Yields a function that is called with the number of items finished since its last call.
        """
        return nullcontext(lambda _: None)


SILENT = Reporter()
