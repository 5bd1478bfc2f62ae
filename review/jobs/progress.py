"""Stop a job that somebody has cancelled, and store the progress of a job so that pages can show it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select, update

from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.workspace import STOPPING
from mechtag.workflows.reporter import Reporter

#: Kind of the jobs that the worker runs before all other jobs.
FIRST = "rank"
# Smallest time between two updates of the progress in the database, in seconds.
_PAUSE = 0.5


class Cancelled(Exception):
    """Raised at the next step of a job that somebody has cancelled."""


@dataclass
class Progress:
    """Stores the progress of a job in the database.

    Parameters
    ----------
    job
        Number of the job.
    done, total
        Number of finished items, and number of all items, of the current step. If the number of all items is not known,
        ``total`` is ``0``.
    message
        Description of the current step.
    noted
        Time of the last update of the database, in seconds of the monotonic clock.
    can_be_cancelled
        Whether the methods raise `Cancelled` if somebody has cancelled the job. A job sets this to ``False`` before its
        last steps, which must be completed together.
    """

    store: Store
    job: int
    done: int = 0
    total: int = 0
    message: str = ""
    noted: float = 0.0
    can_be_cancelled: bool = True

    def start(self, total: int, message: str) -> None:
        """Store that the next step of the job begins.

        Parameters
        ----------
        total
            Number of items of the step; ``0`` if it is not known.
        message
            Description of the step.

        Raises
        ------
        Cancelled
            If somebody has cancelled the job.
        """
        self.done, self.total, self.message = 0, total, message
        self._note()

    def advance(self, number: int) -> None:
        """Store that ``number`` further items of the current step are finished.

        At most twice per second, the method also checks whether somebody has cancelled the job.

        Raises
        ------
        Cancelled
            If somebody has cancelled the job.
        """
        self.done += number
        if time.monotonic() - self.noted > _PAUSE:
            self._note()

    def must_give_way(self) -> bool:
        """Return whether a ranking is waiting.

        If a ranking is waiting, a long job should end early, because rankings come first.
        """
        table = schema.job
        with self.store.read() as connection:
            waiting = select(table.c.id).where(table.c.kind == FIRST, table.c.state == "waiting")
            return connection.execute(waiting).first() is not None

    def _note(self) -> None:
        self.noted = time.monotonic()
        values = {"done": self.done, "total": self.total, "message": self.message}
        job = schema.job
        with self.store.write() as connection:
            noted = update(job).where(job.c.id == self.job).values(values).returning(job.c.state)
            state = connection.execute(noted).scalar()
        if state == STOPPING and self.can_be_cancelled:
            raise Cancelled


class JobReporter(Reporter):
    """Reports the progress of a workflow as the progress of the job that runs the workflow.

    Notes of the workflow are ignored.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def progress(self, what: str, total: int, *, done: int = 0) -> Iterator[Callable[[int], None]]:
        """Show the progress of a step of the workflow; see `Reporter.progress`."""
        self._progress.start(total, what.capitalize())
        self._progress.advance(done)
        yield self._progress.advance
