"""Access web services: settings, the list of requests for a dry run, and messages about unanswered requests."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_text
from mechtag.core.words import counted
from mechtag.pipeline.fetch.cache import NAME, Cache
from mechtag.pipeline.fetch.gaps import SERVICES
from mechtag.pipeline.fetch.transport import Clock, Transport, check_email
from mechtag.workflows.reporter import Reporter

_SHOWN, _SHOWN_URL = 5, 300
_GITIGNORE = f"""# Fetched abstracts and full texts belong to their publishers. Do not publish them.
/records.parquet
/fulltexts.parquet
/fetched.csv
/candidates.csv
/attached.csv
/unmatched.csv
/rejected.jsonl
/fulltexts/
/{NAME}*
"""


@dataclass(frozen=True)
class Access:
    """Settings for requests to web services.

    Attributes
    ----------
    email
        E-mail address of the user, which is sent to the services. It may be empty only if nothing is sent.
    offline
        Whether to send nothing, and use only earlier answers.
    refresh
        Whether to ignore earlier answers, and send all requests again.
    addresses
        Addresses to use instead of the usual addresses of services, keyed by the name of the service.
    clock
        Clock that measures waiting times; tests use a simulated clock.
    """

    email: str = ""
    offline: bool = False
    refresh: bool = False
    addresses: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)

    def check(self) -> None:
        """Raise an error if requests would be sent, but the user's e-mail address is missing or invalid."""
        if not self.offline:
            check_email(self.email)

    def connect(self, cache: Cache, reporter: Reporter, *, dry: bool = False) -> Transport:
        """Return the `Transport` that sends the requests of one run; if ``dry`` is set, no requests are sent."""
        return Transport(
            cache,
            self.email,
            keys=_keys(),
            addresses=self.addresses,
            offline=self.offline or dry,
            refresh=self.refresh,
            note=reporter.note,
            clock=self.clock,
        )


def _keys() -> dict[str, str]:
    """Return the API keys that the user set in environment variables, keyed by the name of the service."""
    found = {name: os.environ.get(service.key_variable, "") for name, service in SERVICES.items()}
    return {name: key.strip() for name, key in found.items() if key.strip()}


def ignore_in_git(folder: Path) -> None:
    """Write a ``.gitignore`` that excludes fetched files, unless the folder already has a ``.gitignore``."""
    path = folder / ".gitignore"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, _GITIGNORE)


def plan(transport: Transport) -> Iterator[str]:
    """Yield lines of text that describe the requests that a run without ``--dry-run`` would send.

    The lines list the hosts, the number and cost of the requests to each host, and the first URLs.
    """
    requests = {
        f"{transport.url(request)}{request.body and ' '}{request.body}": request for request in transport.unsent
    }
    hosts, costs = Counter[str](), defaultdict[str, float](float)
    for url, request in requests.items():
        host = urlsplit(url).hostname or ""
        hosts[host] += 1
        costs[host] += request.cost
    if not requests:
        yield "nothing would be sent: the records lack nothing, or all requests have been answered before"
        return
    yield (
        f"at most {counted(len(requests), 'request')} would be sent; a record is asked for at the next service only if "
        "it still lacks something"
    )
    for host, count in hosts.items():
        yield f"  {host}: {counted(count, 'request')}, estimated cost {costs[host]:.4f} USD"
    yield "the first URLs, without your key and e-mail address:"
    for url in list(requests)[:_SHOWN]:
        yield f"  {url[:_SHOWN_URL]}{'...' if len(url) > _SHOWN_URL else ''}"


def unanswered(transport: Transport) -> Iterator[str]:
    """Yield messages about requests that were not sent or not answered."""
    if transport.unsent:
        yield (
            f"{counted(len(transport.unsent), 'request')} could not be answered from earlier runs, so the results "
            "lack their answers; run the command again online"
        )
    for failure in transport.failures[:_SHOWN]:
        yield f"no usable answer from {failure.service}: {failure.reason} ({failure.url[:_SHOWN_URL]})"
    if len(transport.failures) > _SHOWN:
        yield f"and {counted(len(transport.failures) - _SHOWN, 'more request')} without an answer"
    for label, pause in transport.paused.items():
        if pause.until is None:
            yield (
                f"no more requests were sent to {label}: {pause.reason}. Requests not sent: {transport.skipped[label]}"
                ". Run the command again later"
            )


def refuse_unfinished(transport: Transport) -> None:
    """Raise an error if requests were not sent because a service asked for a long pause."""
    waiting = {label: pause for label, pause in transport.paused.items() if pause.until is not None}
    if waiting:
        reasons = "; ".join(f"{label}: {pause.reason}" for label, pause in waiting.items())
        skipped = sum(transport.skipped[label] for label in waiting)
        raise MechtagError(
            f"{reasons}. Requests not sent: {skipped}. After the stated time, run the same command again; it sends "
            "only the requests that were not answered"
        )
