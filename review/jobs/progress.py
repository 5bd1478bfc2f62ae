"""Record the progress of a job, so that pages can show it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select, update

from mechtag.review.store import schema
from mechtag.review.store.engine import Store

#: Kind of the jobs that come before all others.
FIRST = "rank"
# Time between two notes, in seconds.
_PAUSE = 0.5


@dataclass
class Progress:
    """Records the progress of a job in the database.

    Parameters
    ----------
    store
    job
        Number of the job.
    """

    store: Store
    job: int
    done: int = 0
    total: int = 0
    message: str = ""
    noted: float = 0.0

    def start(self, total: int, message: str) -> None:
        """Record that a step of the job begins."""
        self.done, self.total, self.message = 0, total, message
        self._note()

    def advance(self, number: int) -> None:
        """Record that a number of items of the step are done."""
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
        with self.store.write() as connection:
            connection.execute(update(schema.job).where(schema.job.c.id == self.job).values(values))
