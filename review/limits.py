"""Limit the number of tries in a period, per account and per network address, to slow down guessing."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mechtag.review.acts import Refused


@dataclass
class Limit:
    """Counts tries under names, such as accounts, and refuses more than ``most`` tries under a name in ``seconds``.

    Tries are counted in this process only. After some time, tries are allowed again, so nobody is locked out
    permanently.
    """

    most: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _tries: dict[str, deque[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str) -> None:
        """Count one try under a name.

        Raises
        ------
        Refused
            If there were too many tries. The error has status 429, and its message says how long to wait.
        """
        now = self.clock()
        with self._lock:
            for known in [known for known, tries in self._tries.items() if tries[-1] <= now - self.seconds]:
                del self._tries[known]
            tries = self._tries.setdefault(name, deque())
            while tries and tries[0] <= now - self.seconds:
                tries.popleft()
            if len(tries) >= self.most:
                wait = math.ceil(tries[0] + self.seconds - now)
                raise Refused(f"too many tries; wait {_duration(wait)} and try again", 429)
            tries.append(now)

    def forget(self, name: str) -> None:
        """Forget the tries under a name, after a try has succeeded."""
        with self._lock:
            self._tries.pop(name, None)


def _duration(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} {'second' if seconds == 1 else 'seconds'}"
    return f"{math.ceil(seconds / 60)} minutes"


@dataclass(frozen=True)
class Limits:
    """All limits on tries and requests.

    Attributes
    ----------
    account, address
        Limits on sign-ins, per account and per network address.
    invitation
        Limit on tries of invitation links, per network address.
    decisions, uploads, searches
        Limits on forms that write, on uploads and on searches, per session.
    """

    account: Limit = field(default_factory=lambda: Limit(5, 900))
    address: Limit = field(default_factory=lambda: Limit(20, 900))
    invitation: Limit = field(default_factory=lambda: Limit(10, 60))
    decisions: Limit = field(default_factory=lambda: Limit(20, 1))
    uploads: Limit = field(default_factory=lambda: Limit(10, 3600))
    searches: Limit = field(default_factory=lambda: Limit(5, 1))
