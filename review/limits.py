"""Limit how often something can be tried per account, network address or session, to slow down attacks."""

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
    """A limit on the number of tries: at most ``most`` tries in ``seconds`` seconds.

    Tries are counted separately for each name, such as the name of an account. They are counted in this process only.
    Nobody is locked out permanently, because old tries no longer count.
    """

    most: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _tries: dict[str, deque[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str) -> None:
        """Count one try, such as an attempt to sign in.

        Parameters
        ----------
        name
            Name for which the try is counted, such as the name of an account.

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
                raise Refused(f"too many attempts; wait {_duration(wait)}, then try again", 429)
            tries.append(now)

    def forget(self, name: str) -> None:
        """Set the number of tries for a name to zero, after a try has succeeded."""
        with self._lock:
            self._tries.pop(name, None)


def _duration(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} {'second' if seconds == 1 else 'seconds'}"
    return f"{math.ceil(seconds / 60)} minutes"


@dataclass(frozen=True)
class Limits:
    """Limits on how often people may try to sign in, open invitation links and send forms.

    Attributes
    ----------
    account
        Limit on attempts to sign in, per account.
    address
        Limit on attempts to sign in, per network address.
    invitation
        Limit on attempts to open an invitation link, per network address.
    decisions
        Limit on forms that are sent, per session.
    """

    account: Limit = field(default_factory=lambda: Limit(5, 900))
    address: Limit = field(default_factory=lambda: Limit(20, 900))
    invitation: Limit = field(default_factory=lambda: Limit(10, 60))
    decisions: Limit = field(default_factory=lambda: Limit(20, 1))
