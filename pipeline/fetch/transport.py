"""Send requests to web services at a limited rate, and send them again after failures.

Answers that are already in a cache are taken from the cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

import mechtag
from mechtag.core.errors import MechtagError
from mechtag.core.hosts import is_this_machine
from mechtag.pipeline.fetch.cache import Cache
from mechtag.pipeline.fetch.requests import Answer, Request, Service, UselessAnswer, message_in

if TYPE_CHECKING:
    import httpx

#: Maximum size in bytes of an answer, after decompression.
LARGEST = 50_000_000
_CONNECT, _READ, _WHOLE = 10, 60, 600  # Limits of time in seconds: for a connection, a piece of an answer, an answer.
_RETRIES, _SHORTEST, _LONGEST = 5, 1.0, 60.0
_RETRIED = frozenset((429, 500, 502, 503, 504))
_ABSENT, _USELESS = frozenset((404, 410)), 404
# Status codes that mean that the service rejects all requests of this user, for example because of a wrong key.
_REJECTED = frozenset((401, 402, 403, 422))
# Status under which answers that cannot be used are kept.
_UNUSABLE = 200
_REDIRECTS, _MOST_REDIRECTS = frozenset((301, 302, 303, 307, 308)), 5
# If a service asks for a longer pause, it is not asked again in this run.
_LONGEST_PAUSE = 600
# Longer pauses would end after the last date that can be shown.
_LONGEST_STATED = 1e9
_FAILURES = 5
# Pauses of more seconds are announced to the user, who would otherwise not know why nothing happens.
_NOTICED = 10
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_INTERVAL = re.compile(r"(\d{1,6})([smh]?)")
# Shorter texts may occur in answers by chance, and no service has such short keys.
_SHORTEST_SECRET = 6
# Maximum number of characters that are shown of the message with which a service reports an error.
_LONGEST_MESSAGE = 300
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,9}")


class Clock:
    """The clock of this computer; tests replace it with a simulated clock."""

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        return time.time()

    def elapsed(self) -> float:
        """Return the seconds since a fixed time in the past; a change of the computer's clock has no effect."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""
        time.sleep(seconds)


class Failure(NamedTuple):
    """A request that failed.

    Attributes
    ----------
    service
        Name of the service, or host of the publisher's website.
    url
        URL of the request, without key and e-mail address.
    reason
        Reason why the request failed.
    """

    service: str
    url: str
    reason: str


class Pause(NamedTuple):
    """A service to which no more requests are sent in this run: the reason, and how long the service asked to wait.

    Attributes
    ----------
    until
        Time, in seconds since 1970, before which the service does not want new requests. ``None`` if the service stated
        no time.
    """

    reason: str
    until: float | None = None


class _Refused(Exception):
    """Raised if mechtag refuses a request or an answer, such as a redirect to a different site."""


class _Bucket:
    """Limits the rate of requests to one service or host."""

    # A token bucket that holds one token, so requests never come in bursts.
    def __init__(self, rate: float, clock: Clock) -> None:
        self.rate, self._clock, self._next = rate, clock, 0.0

    def wait(self) -> None:
        now = self._clock.elapsed()
        if self._next > now:
            self._clock.sleep(self._next - now)
        self._next = max(now, self._next) + 1 / self.rate


def check_email(email: str) -> None:
    """Check the e-mail address of the user.

    Raises
    ------
    MechtagError
        If the text is empty, or is not an e-mail address.
    """
    if not email:
        raise MechtagError(
            "no request was sent, because the services ask for an e-mail address at which they can reach you; specify "
            "your address",
            options="--email YOU@EXAMPLE.ORG; --dry-run shows the requests and needs no address",
        )
    if not _EMAIL.fullmatch(email):
        raise MechtagError("the e-mail address is not valid; write it like name@example.org", options="--email")


class Transport:
    """Sends requests to services; if the cache already contains the answer, no request is sent.

    Requests are sent one after the other, because some services allow only one request at a time.

    Parameters
    ----------
    cache
        Answers to earlier requests. New answers are added to the cache.
    email
        E-mail address of the user. It is sent to all services that the user did not choose (see `Service.own`). It
        may be ``""`` if ``offline`` is set, and ``None`` if the user chose all services.
    keys
        The user's keys, keyed by the name of the service.
    addresses
        Addresses to use instead of `Service.address`, keyed by the name of the service.
    offline
        If true, no request is sent. Requests that the cache cannot answer are added to ``unsent``.
    refresh
        Whether cached answers from before this run are ignored.
    note
        Function that is called with a message before each long pause.
    patience
        Maximum time in seconds to wait for the next piece of an answer; ``None`` for the default.
    proxies
        Whether the proxies in the environment variables are used.

    Attributes
    ----------
    unsent
        Requests that were not sent because ``offline`` is set.
    failures
        Requests that were sent but failed.
    paused
        Reason why no more requests are sent to a service or website, keyed by the label of the service or by the host
        of the website.
    skipped
        Number of requests that were not sent to each paused service or website, with the same keys as ``paused``.
    sent
        Number of requests that were sent, including repeated requests.
    """

    def __init__(
        self,
        cache: Cache,
        email: str | None = "",
        *,
        keys: Mapping[str, str] | None = None,
        addresses: Mapping[str, str] | None = None,
        offline: bool = False,
        refresh: bool = False,
        note: Callable[[str], None] = lambda _: None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
        patience: float | None = None,
        proxies: bool = True,
    ) -> None:
        if not offline and email is not None:
            check_email(email)
        self._cache, self._email, self._note = cache, email or "", note
        self._patience, self._proxies = patience or _READ, proxies
        self._keys, self._addresses = dict(keys or {}), dict(addresses or {})
        self._offline = offline
        self._clock, self._jitter = clock or Clock(), jitter
        self._earliest = self._clock.now() if refresh else 0.0
        self._buckets: dict[str, _Bucket] = {}
        self._in_a_row: Counter[str] = Counter()
        self._client: httpx.Client | None = None
        self.unsent: list[Request] = []
        self.failures: list[Failure] = []
        self.paused: dict[str, Pause] = {}
        self.skipped: Counter[str] = Counter()
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._client:
            self._client.close()

    def has_key(self, service: Service) -> bool:
        """Return whether the user has a key for a service."""
        return service.name in self._keys

    def url(self, request: Request) -> str:
        """Return the URL of a request, without the key and the e-mail address."""
        return request.url(self._addresses.get(request.service.name, request.service.address))

    def ask(self, request: Request, again: Callable[[Answer], bool] = lambda _: True) -> Answer | None:
        """Return the answer to a request, from the cache or from the service.

        The answer may be negative: its status code then states that nothing was found, or that the service rejected the
        request. Return ``None`` if the request was not sent, or if no readable answer arrived.

        Parameters
        ----------
        again
            Function that receives an unusable answer, and returns whether to send the request again. If the answer was
            incomplete, its body is empty. The function is called only for services that the user chose
            (`Service.own`). For all other services, and by default, the request is sent again.
        """
        if known := self.known(request):
            return known
        url = self.url(request)
        if self._offline:
            self.unsent.append(request)
            return None
        label = self._label(request, url)
        if label in self.paused:
            self.skipped[label] += 1
            return None
        answer = self._send_with_retries(request, url, label, again)
        if answer and (answer.found or (not request.service.own and (answer.status in _ABSENT or answer.unreadable))):
            key, name = self._key(request), request.service.name
            if request.service.own:
                # A run at the same time may have stored an answer since; then both use that one.
                self._cache.put(key, name, answer, replace=False)
                if known := self.known(request):
                    return known
            self._cache.put(key, name, answer)
        return answer

    def known(self, request: Request) -> Answer | None:
        """Return the answer to a request from the cache; ``None`` if there is no answer.

        If ``refresh`` is set, answers from before this run are ignored.
        """
        known = self._cache.get(self._key(request), self._clock.now())
        return known if known and known.time >= self._earliest else None

    def unusable(self, request: Request) -> list[Answer]:
        """Return the stored unusable answers to a request, from this run and from earlier runs.

        Unusable answers are stored only for services that the user chose (`Service.own`).
        """
        found: list[Answer] = []
        while answer := self._cache.get(f"{self._key(request)} unusable {len(found)}", self._clock.now()):
            found.append(answer)
        return found

    def _may_retry(self, request: Request, body: bytes, again: Callable[[Answer], bool]) -> bool:
        """Return whether to retry after an unusable answer. If the user chose the service, also store the answer."""
        if not request.service.own:
            return True
        answer = Answer(_UNUSABLE, self.url(request), body, self._clock.now())
        # The user may be billed for this answer, too.
        key = f"{self._key(request)} unusable {len(self.unusable(request))}"
        self._cache.put(key, request.service.name, answer)
        return again(answer)

    def _key(self, request: Request) -> str:
        digest = hashlib.sha256(request.body.encode()).hexdigest()
        return f"{'POST' if request.body else 'GET'} {self.url(request)} {digest}"

    def _label(self, request: Request, url: str) -> str:
        """Return the label of the service; if the request is for a file on a website, return the host in ``url``."""
        return request.service.label if request.service.address else _host(url)

    def _send_with_retries(
        self, request: Request, url: str, label: str, again: Callable[[Answer], bool]
    ) -> Answer | None:
        import httpx

        reason = ""
        for attempt in range(_RETRIES + 1):
            pause = self._jitter() * min(_LONGEST, _SHORTEST * 2**attempt)
            self._bucket(request.service, label).wait()
            self.sent += 1
            try:
                status, headers, body = self._send(request, url)
            except _Refused as refused:
                self._fail(label, url, str(refused))
                return None
            except (httpx.TransportError, httpx.DecodingError, httpx.InvalidURL) as error:
                # The text of the error may contain the whole URL, including the key.
                reason = f"the connection failed ({type(error).__name__})"
                if isinstance(error, httpx.TimeoutException):
                    reason = "the service did not answer in time"
                # The service may have computed an answer, unless the request did not reach it.
                if not isinstance(
                    error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL
                ) and not self._may_retry(request, b"", again):
                    self._fail(label, url, reason, False)
                    return None
            else:
                self._slow_down(request.service, label, headers)
                if status < 300:
                    # Before the check, because its message may contain a part of a key.
                    body = self._without_secrets(request, body)
                    try:
                        request.check(body)
                    except UselessAnswer as fault:
                        self._fail(label, url, str(fault))
                        return Answer(_USELESS, url, b"", self._clock.now())
                    except ValueError as fault:
                        # A service may repeat the request in its message.
                        reason = self._printable(str(fault))
                        if not self._may_retry(request, body, again):
                            self._fail(label, url, reason, False)
                            return None
                    else:
                        self._in_a_row[label] = 0
                        return Answer(status, url, body, self._clock.now())
                elif status in _RETRIED:
                    reason = f"the service answered with status {status}{self._message(request, body)}"
                    if (asked := self._retry_after(headers)) is not None:
                        pause = asked
                elif status in _ABSENT and not request.service.own:
                    self._in_a_row[label] = 0
                    return Answer(status, url, b"", self._clock.now())
                else:
                    moved = ", a redirect, which is not followed" if status in _REDIRECTS else ""
                    said = "" if moved else self._message(request, body)
                    reason = f"the service answered with status {status}{moved}{said}"
                    self._fail(label, url, reason, bool(moved) or status in (_REJECTED | _ABSENT))
                    return Answer(status, url, b"", self._clock.now())
            if pause > _LONGEST_PAUSE:
                until = self._clock.now() + pause
                self.paused[label] = Pause(f"{reason}, and asked to wait until {_shown(until)}", until)
                self.skipped[label] += 1
                return None
            if attempt < _RETRIES:
                if pause > _NOTICED:
                    self._note(f"note: the next request to {label} is sent in {pause:.0f} s: {reason}")
                self._clock.sleep(pause)
        self._fail(label, url, reason)
        return None

    def _fail(self, label: str, url: str, reason: str, counts: bool = True) -> None:
        """Store a failed request; after several failures in a row, stop sending requests to the service."""
        self.failures.append(Failure(label, url, self._printable(reason)))
        # A failure that does not count is only recorded.
        self._in_a_row[label] += counts
        if self._in_a_row[label] >= _FAILURES:
            self.paused[label] = Pause(f"{_FAILURES} requests in a row failed; for the last, {self._printable(reason)}")

    def _bucket(self, service: Service, label: str) -> _Bucket:
        rate = service.keyed_rate if service.keyed_rate and self.has_key(service) else service.rate
        return self._buckets.setdefault(label, _Bucket(rate, self._clock))

    def _slow_down(self, service: Service, label: str, headers: Mapping[str, str]) -> None:
        """Reduce the request rate to the limit in the headers of an answer, if this limit is lower."""
        limit, interval = headers.get("x-rate-limit-limit", ""), headers.get("x-rate-limit-interval", "")
        period = _INTERVAL.fullmatch(interval.strip())
        if period and int(period[1]) and limit.strip().isdecimal() and int(limit):
            bucket = self._bucket(service, label)
            bucket.rate = min(bucket.rate, int(limit) / (int(period[1]) * _SECONDS[period[2]]))

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        """Return the pause in seconds that the header Retry-After states; ``None`` if it is missing or invalid."""
        value = headers.get("retry-after", "").strip()
        if re.fullmatch(r"\d{1,9}", value):
            return float(value)
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        pause = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - self._clock.now()
        return min(max(0.0, pause), _LONGEST_STATED)

    def _connected(self) -> httpx.Client:
        if self._client is None:
            import httpx

            # These libraries write whole URLs, including keys, to logs.
            for name in ("httpx", "httpcore"):
                logging.getLogger(name).setLevel(logging.WARNING)
            agent = f"mechtag/{mechtag.__version__}{f' (mailto:{self._email})' if self._email else ''}"
            self._client = httpx.Client(
                timeout=httpx.Timeout(self._patience, connect=_CONNECT),
                headers={"User-Agent": agent},
                follow_redirects=False,
                trust_env=self._proxies,
            )
            self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return self._client

    def _send(self, request: Request, url: str) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request once, and return the status code, the headers and the body of the answer."""
        import httpx

        service, started = request.service, self._clock.elapsed()
        secrets = [(service.email_parameter, self._email), (service.key_parameter, self._keys.get(service.name, ""))]
        query = urlencode([(name, value) for name, value in secrets if name and value])
        place = url + (("&" if "?" in url else "?") + query if query else "")
        headers = {"Content-Type": "application/json"} if request.body else {}
        if service.key_header and self.has_key(service):
            headers[service.key_header] = f"{service.key_scheme} {self._keys[service.name]}".lstrip()
        for _ in range(_MOST_REDIRECTS + 1):
            _refuse_insecure(place)
            method = "POST" if request.body else "GET"
            with self._connected().stream(method, place, headers=headers, content=request.body or None) as response:
                if response.status_code in _REDIRECTS and not service.own:
                    place = _redirected(place, response.headers.get("location", ""))
                    continue
                chunks, size = [], 0
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    if size > LARGEST:
                        raise _Refused(
                            f"the service's answer is larger than {LARGEST // 1_000_000} MB, so it was not read"
                        )
                    if self._clock.elapsed() - started > max(_WHOLE, self._patience):
                        raise httpx.ReadTimeout("too slow")
                    chunks.append(chunk)
                return response.status_code, response.headers, b"".join(chunks)
        raise _Refused(
            f"the service redirects the request more than {_MOST_REDIRECTS} times, so mechtag gave up; try again later"
        )

    def _secrets(self) -> Sequence[str]:
        plain = [secret for secret in (self._email, *self._keys.values()) if len(secret) >= _SHORTEST_SECRET]
        written = [json.dumps(secret)[1:-1] for secret in plain]
        escaped = [*written, *(secret.replace("/", r"\/") for secret in written)]
        return list(dict.fromkeys([*plain, *(quote(secret, safe="") for secret in plain), *escaped]))

    def _without_secrets(self, request: Request, body: bytes) -> bytes:
        """Remove the user's keys and e-mail address from the body of an answer."""
        # The service may quote the request. A full text from a publisher, whose service has no address, is not changed:
        # the user may be an author of the paper.
        if request.service.address:
            for secret in self._secrets():
                body = body.replace(secret.encode(), b"")
        return body

    def _message(self, request: Request, body: bytes) -> str:
        """Return the error message in an answer, preceded by a colon; ``""`` if there is no message to show."""
        # If mechtag chose the service, the user cannot change the request to which the message refers.
        said = self._printable(message_in(body)) if request.service.own else ""
        return f": {said[:_LONGEST_MESSAGE]}{'...' if len(said) > _LONGEST_MESSAGE else ''}" if said else ""

    def _printable(self, reason: str) -> str:
        for secret in self._secrets():
            reason = reason.replace(secret, "...")
        return reason


def _shown(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # an incomplete IPv6 address
        return ""


def _refuse_insecure(url: str) -> None:
    if not (url.startswith("https://") or (url.startswith("http://") and is_this_machine(_host(url)))):
        raise _Refused("no request was sent, because the address of the request does not begin with https")


def _redirected(place: str, location: str) -> str:
    """Return the URL to which a redirect leads; raise `_Refused` if this URL is on a different site."""
    try:
        target = urljoin(place, location)
    except ValueError:
        target = ""
    if not _same_site(_host(place), _host(target)):
        site = _host(target) or "without a name"
        raise _Refused(f"the service redirects the request to a different site, {site}, which was not opened")
    return target


def _same_site(left: str, right: str) -> bool:
    """Return whether two host names are equal or one is a subdomain of the other, ignoring a leading ``www.``."""
    one, other = (host.removeprefix("www.") for host in (left, right))
    return bool(one and other) and (one == other or one.endswith(f".{other}") or other.endswith(f".{one}"))
