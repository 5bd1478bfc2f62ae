"""Record the progress of a job, so that pages can show it, and end a job that somebody has cancelled."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select, update

from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.workspace import STOPPING

#: Kind of the jobs that come before all others.
FIRST = "rank"
# Time between two notes, in seconds.
_PAUSE = 0.5


class Cancelled(Exception):
    """Raised in a job that somebody has cancelled, at its next step."""


@dataclass
class Progress:
    """Records the progress of a job in the database.

    Parameters
    ----------
    store
    job
        Number of the job.
    can_be_cancelled
        Whether the methods raise `Cancelled` if somebody has cancelled the job. A job sets this to false before the
        last steps, which belong together.
    """

    store: Store
    job: int
    done: int = 0
    total: int = 0
    message: str = ""
    noted: float = 0.0
    can_be_cancelled: bool = True

    def start(self, total: int, message: str) -> None:
        """Record that a step of the job begins.

        Parameters
        ----------
        total, message
            Number of items of the step (0 if not known), and description of the step.

        Raises
        ------
        Cancelled
            If somebody has cancelled the job.
        """
        self.done, self.total, self.message = 0, total, message
        self._note()

    def advance(self, number: int) -> None:
        """Record that ``number`` further items of the step are done.

        Raises
        ------
        Cancelled
            If somebody has cancelled the job; this is checked about twice per second.
        """
        self.done += number
        if time.monotonic() - self.noted > _PAUSE:
            self._note()

    def must_give_way(self) -> bool:
        """Return whether a job with priority over all others is waiting."""
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
