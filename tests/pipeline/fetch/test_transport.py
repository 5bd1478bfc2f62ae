"""Test requests to services: limits, repeats, stored answers, and which information about the user is sent."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.pipeline.fetch import transport as module
from mechtag.pipeline.fetch.cache import NAME, Cache
from mechtag.pipeline.fetch.requests import Request, Service, UselessAnswer, ask_for_all
from mechtag.pipeline.fetch.transport import Transport, check_email
from tests.support.services import EMAIL, KEY, PAPERS, FakeClock, FakeServices, Reply

SERVICE = Service(
    "crossref", "Crossref", "https://api.example.org", rate=5, email_parameter="mailto", key_parameter="api_key"
)
FILES = Service("files", "files", "", rate=1)
Connect = Callable[..., Transport]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def services(clock: FakeClock) -> Iterator[FakeServices]:
    with FakeServices(clock).serving() as serving:
        yield serving


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / NAME) as opened:
        yield opened


@pytest.fixture
def connect(services: FakeServices, cache: Cache, clock: FakeClock) -> Iterator[Connect]:
    made: list[Transport] = []

    def connect(**options: object) -> Transport:
        given = {"email": EMAIL, "addresses": services.addresses, "clock": clock, "jitter": lambda: 1.0, **options}
        made.append(Transport(cache, **given))  # type: ignore[arg-type]
        return made[-1]

    yield connect
    for each in made:
        each.__exit__(None, None, None)


def work(number: int = 0) -> Request:
    return Request(SERVICE, f"/works/{PAPERS[number].doi}")


def test_an_answer_is_kept_and_not_asked_for_again(connect: Connect, services: FakeServices, clock: FakeClock) -> None:
    first = connect().ask(work())
    assert first is not None
    assert first.json()["message"]["title"] == [PAPERS[0].title]
    clock.time += 400 * 24 * 3600
    assert connect().ask(work()) == first
    assert services.count("crossref") == 1
    assert connect(refresh=True).ask(work()) != first
    assert services.count("crossref") == 2


def test_an_empty_answer_is_kept_for_thirty_days(connect: Connect, services: FakeServices, clock: FakeClock) -> None:
    request = Request(SERVICE, "/works/10.5555/none")
    for days, expected in ((0, 1), (29, 1), (31, 2)):
        start, clock.time = clock.time, clock.time + days * 24 * 3600
        answer = connect().ask(request)
        assert answer is not None
        assert not answer.found
        assert services.count("crossref") == expected
        clock.time = start + days


def test_offline_nothing_is_sent_and_what_is_missing_is_listed(
    connect: Connect, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = connect().ask(work(0))

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    offline = connect(offline=True, email="")
    assert offline.ask(work(0)) == known
    assert offline.ask(work(1)) is None
    assert offline.unsent == [work(1)]
    assert services.count("crossref") == 1


@pytest.mark.parametrize(
    "email", ["", "me", "me@localhost", "me@example.org\nX-Key: 1", "me @example.org", "é@example.org"]
)
def test_nothing_is_sent_without_an_address(cache: Cache, email: str) -> None:
    with pytest.raises(MechtagError, match="e-mail address"):
        Transport(cache, email)
    check_email("first.last+tag@mail.example.ac.uk")


def test_the_request_says_who_asks(connect: Connect, services: FakeServices) -> None:
    connect(keys={"crossref": KEY}).ask(work())
    (asked,) = services.asked
    assert asked.query == {"mailto": EMAIL, "api_key": KEY}
    assert asked.headers["user-agent"].startswith("mechtag/")
    assert asked.headers["user-agent"].endswith(f"(mailto:{EMAIL})")


def test_a_key_may_go_into_a_header(connect: Connect, services: FakeServices) -> None:
    keyed = replace(SERVICE, key_parameter="", key_header="x-api-key")
    connect(keys={"crossref": KEY}).ask(work()._replace(service=keyed))
    assert services.asked[0].headers["x-api-key"] == KEY
    assert services.asked[0].query == {"mailto": EMAIL}


@pytest.mark.parametrize(("rate", "keyed", "key"), [(5, 0, False), (2.5, 9, False), (2.5, 9, True), (0.9, 0, False)])
def test_requests_per_second_stay_within_the_limit(
    tmp_path: Path, clock: FakeClock, rate: float, keyed: float, key: bool
) -> None:
    service = replace(SERVICE, rate=rate, keyed_rate=keyed)
    # Ask for 500 records without opening 500 connections or writing a file.
    times: list[float] = []
    with pytest.MonkeyPatch.context() as patch, Cache(tmp_path / "none", read_only=True) as cache:

        def send(self: Transport, request: Request, url: str) -> tuple[int, dict[str, str], bytes]:
            times.append(clock.time)
            clock.time += 0.01 * (len(times) % 7)
            return 200, {}, b"{}"

        patch.setattr(Transport, "_send", send)
        transport = Transport(cache, EMAIL, keys={"crossref": KEY} if key else {}, clock=clock)
        for number in range(500):
            assert transport.ask(Request(service, f"/works/{number}")) is not None
    allowed = keyed if key else rate
    for start in times:
        assert sum(start <= time < start + 1 for time in times) <= max(1, -(-allowed // 1))
    assert len(times) == 500


def test_a_service_can_ask_for_fewer_requests(connect: Connect, services: FakeServices, clock: FakeClock) -> None:
    headers = {"x-rate-limit-limit": "2", "x-rate-limit-interval": "1s"}
    services.faults["crossref"].append(Reply(b"{}", headers=headers))
    transport = connect()
    for number in range(4):
        transport.ask(work(number))
    assert clock.waits == pytest.approx([0.2, 0.5, 0.5])
    # A higher limit than ours changes nothing.
    services.faults["crossref"].append(Reply(b"{}", headers=headers | {"x-rate-limit-limit": "50"}))
    for number in range(4, 6):
        transport.ask(work(number))
    assert clock.waits[-1] == pytest.approx(0.5)


def test_one_request_at_a_time(connect: Connect, services: FakeServices) -> None:
    open_now: list[int] = []

    def check(_: object) -> None:
        open_now.append(len(services.asked) - len(services.answered))

    services.before = check
    transport = connect()
    for number in range(5):
        transport.ask(work(number))
    assert open_now == [1] * 5


BAD_JSON = Reply(b'{"message": {"title": ["How le')
CUT_GZIP = Reply(gzip.compress(json.dumps({"message": {}}).encode() * 9)[:-20], headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("faults", "waits"),
    [
        ([Reply(status=429)], [1]),
        ([Reply(status=429, headers={"Retry-After": "7"})], [7]),
        ([Reply(status=503, headers={"Retry-After": "120"})], [120]),
        ([Reply(status=500), Reply(status=500)], [1, 2]),
        (
            [Reply(status=502), Reply(status=503), Reply(status=504), Reply(status=500), Reply(status=429)],
            [1, 2, 4, 8, 16],
        ),
        ([BAD_JSON], [1]),
        ([CUT_GZIP], [1]),
        ([Reply(b"not gzip", headers={"Content-Encoding": "gzip"})], [1]),
        ([Reply(b'{"message": {}}' * 9, cut=True)], [1]),
        ([Reply(b"<html>Maintenance</html>")], [1]),
        ([Reply(b'{"error": "try again"}')], [1]),
        ([Reply(b'"text"')], [1]),
    ],
    ids=lambda value: "",
)
def test_a_fault_is_waited_for_and_the_request_repeated(
    connect: Connect, services: FakeServices, clock: FakeClock, faults: list[Reply], waits: list[float]
) -> None:
    services.faults["crossref"].extend(faults)
    transport = connect()
    answer = transport.ask(work())
    assert answer is not None
    assert answer.json()["message"]["title"] == [PAPERS[0].title]
    assert clock.waits == waits
    assert services.count("crossref") == transport.sent == len(faults) + 1
    assert transport.failures == []


def test_retry_after_may_be_a_date(connect: Connect, services: FakeServices, clock: FakeClock) -> None:
    for seconds in (90, -90):
        when = format_datetime(datetime.fromtimestamp(clock.time + seconds, UTC), usegmt=True)
        services.faults["crossref"].append(Reply(status=429, headers={"Retry-After": when}))
    services.faults["crossref"].append(Reply(status=429, headers={"Retry-After": "tomorrow"}))
    assert connect().ask(work()) is not None
    # A date in the past asks for no pause; then only the rate limits requests.
    assert clock.waits == pytest.approx([90, 0, 0.2, 4])


def test_the_latest_possible_date_is_a_long_pause(connect: Connect, services: FakeServices) -> None:
    when = "Fri, 31 Dec 9999 23:59:59 -2300"
    services.faults["crossref"].append(Reply(status=429, headers={"Retry-After": when}))
    transport = connect()
    assert transport.ask(work()) is None
    assert "asked to wait until" in transport.paused["Crossref"].reason


def test_the_pause_is_random_up_to_a_minute(connect: Connect, services: FakeServices, clock: FakeClock) -> None:
    services.faults["crossref"].extend([Reply(status=500)] * 6)
    assert connect(jitter=lambda: 0.5).ask(work()) is None
    assert clock.waits == [0.5, 1, 2, 4, 8]
    assert module._LONGEST == 60


def test_a_service_that_does_not_answer_in_time_is_asked_again(
    connect: Connect, services: FakeServices, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ", 0.05)
    services.faults["crossref"].append(Reply(b"{}", late=0.2))
    assert connect().ask(work()) is not None
    assert clock.waits == [1]


def test_a_service_that_is_not_there(connect: Connect, clock: FakeClock) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    transport = connect(addresses={"crossref": address})
    assert transport.ask(work()) is None
    assert clock.waits == [1, 2, 4, 8, 16]
    assert transport.failures[0].reason == "the connection failed (ConnectError)"


def test_a_long_pause_is_not_waited_for(connect: Connect, services: FakeServices, clock: FakeClock) -> None:
    services.faults["crossref"].append(Reply(status=429, headers={"Retry-After": "7200"}))
    transport = connect()
    assert transport.ask(work(0)) is None
    assert transport.ask(work(1)) is None
    assert clock.waits == []
    assert services.count("crossref") == 1
    assert transport.paused["Crossref"].until == clock.time + 7200
    assert "2025-11-24 18:00 UTC" in transport.paused["Crossref"].reason
    assert transport.skipped["Crossref"] == 2


def test_after_five_failures_in_a_row_a_service_is_put_aside(connect: Connect, services: FakeServices) -> None:
    transport = connect()
    services.faults["crossref"].extend([Reply(status=401)] * 4)
    for number in range(5):
        transport.ask(work(number))
    assert "Crossref" not in transport.paused  # The fifth request was answered.
    services.faults["crossref"].extend([Reply(status=403)] * 9)
    for number in range(5, 12):
        assert (transport.ask(work(number)) is None) == (number > 9)
    assert services.count("crossref") == 10
    assert transport.skipped["Crossref"] == 2
    other = Service("openalex", "OpenAlex", "https://api.example.com", rate=5)
    assert transport.ask(Request(other, f"/works/doi:{PAPERS[2].doi}")) is not None


def test_a_wrong_request_is_not_repeated_and_says_nothing_of_the_service(
    connect: Connect, services: FakeServices, clock: FakeClock
) -> None:
    services.faults["crossref"].extend([Reply(status=400)] * 7)
    transport = connect()
    for number in range(7):
        answer = transport.ask(work(number))
        assert answer is not None
        assert answer.unreadable
    assert transport.paused == {}
    assert len(clock.waits) == 6  # between requests
    assert transport.ask(work(0)) is not None
    assert services.count("crossref") == 7


def test_one_strange_item_does_not_spoil_the_others(connect: Connect, services: FakeServices) -> None:
    def ask_for(some: list[int]) -> Request:
        if 5 in some:
            services.faults["crossref"].append(Reply(status=400))
        return Request(SERVICE, "/works", (("filter", ",".join(f"doi:{PAPERS[number].doi}" for number in some)),))

    answers = list(ask_for_all(list(range(8)), ask_for, connect().ask))  # type: ignore[arg-type]
    titles = [item["title"][0] for answer in answers for item in answer.json()["message"]["items"]]
    assert titles == [paper.title for paper in PAPERS[:8] if paper.number != 5]


def test_a_large_answer_is_refused(
    connect: Connect, services: FakeServices, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.LARGEST == 50_000_000
    monkeypatch.setattr(module, "LARGEST", 1_000_000)
    bomb = gzip.compress(b" " * 1_200_000)
    for reply in (Reply(b" " * 1_200_000), Reply(bomb, headers={"Content-Encoding": "gzip"})):
        services.faults["crossref"].append(reply)
        transport = connect()
        assert transport.ask(work()) is None
        assert transport.failures[0].reason == "the service's answer is larger than 1 MB, so it was not read"
    assert clock.waits == []
    assert len(bomb) < 10_000


def test_redirects_stay_at_the_site(connect: Connect, services: FakeServices, monkeypatch: pytest.MonkeyPatch) -> None:
    services.faults["crossref"].append(Reply(status=301, headers={"Location": f"/crossref/works/{PAPERS[3].doi}"}))
    answer = connect().ask(work())
    assert answer is not None
    assert answer.json()["message"]["title"] == [PAPERS[3].title]
    for location, reason in (
        ("https://evil.example.net/works", "redirects the request to a different site, evil.example.net"),
        (f"http://localhost:{services.port}/crossref/works", "redirects the request to a different site, localhost"),
        ("file:///etc/passwd", "redirects the request to a different site, without a name"),
        ("https://[", "redirects the request to a different site, without a name"),
    ):
        services.faults["crossref"].append(Reply(status=302, headers={"Location": location}))
        transport = connect()
        assert transport.ask(work(1)) is None
        assert transport.failures[0].reason == f"the service {reason}, which was not opened"
    services.faults["crossref"].extend([Reply(status=302, headers={"Location": "/crossref/works/1"})] * 6)
    transport = connect()
    assert transport.ask(work(1)) is None
    assert (
        transport.failures[0].reason
        == "the service redirects the request more than 5 times, so mechtag gave up; try again later"
    )


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("example.org", "www.example.org", True),
        ("www.example.org", "files.example.org", True),
        ("example.org", "badexample.org", False),
        ("a.ac.uk", "b.ac.uk", False),
        ("example.org", "", False),
    ],
)
def test_sites(left: str, right: str, same: bool) -> None:
    assert module._same_site(left, right) is same
    assert module._same_site(right, left) is same


@pytest.mark.parametrize(
    "url", ["http://example.org/a.pdf", "ftp://example.org/a.pdf", "//example.org/a.pdf", "http://[/"]
)
def test_only_https_is_spoken_with_other_computers(connect: Connect, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    transport = connect()
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert transport.ask(Request(FILES, url)) is None
    assert "does not begin with https" in transport.failures[0].reason


def test_cookies_are_not_sent_back(connect: Connect, services: FakeServices) -> None:
    services.faults["crossref"].append(Reply(b"{}", headers={"Set-Cookie": "visitor=1; Path=/"}))
    transport = connect()
    for number in range(2):
        transport.ask(work(number))
    assert services.count("crossref") == 2
    assert all("cookie" not in asked.headers for asked in services.asked)


def test_a_useless_answer_is_kept_so_that_it_is_not_asked_for_again(connect: Connect, services: FakeServices) -> None:
    def check(body: bytes) -> None:
        raise UselessAnswer("the answer is not a PDF")

    request = Request(FILES, services.address("files/1.pdf"), check=check)
    services.files["/1.pdf"] = Reply(b"<html>")
    transport = connect()
    for _ in range(2):
        answer = transport.ask(request)
        assert answer is not None
        assert not answer.found
    assert services.count("files") == 1
    assert [failure.reason for failure in transport.failures] == ["the answer is not a PDF"]


def test_key_and_address_are_in_nothing_but_the_request(
    connect: Connect, services: FakeServices, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    echo = json.dumps({"message": {"request": f"?mailto={EMAIL}&quoted=reviewer%40example.org&api_key={KEY}"}})
    services.faults["crossref"].extend([Reply(echo.encode()), Reply(json.dumps({"error": f"bad key {KEY}"}).encode())])
    services.faults["crossref"].extend([Reply(json.dumps({"error": f"bad key {KEY}"}).encode())] * 5)
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        transport = connect(keys={"crossref": KEY}, note=said.append)
        transport.ask(work(0))
        transport.ask(work(1))
    assert len(transport.failures) == 1
    texts = [caplog.text, *said, repr(transport.failures), repr(transport.paused)]
    everything = "\n".join(texts).encode() + (tmp_path / NAME).read_bytes()
    answer = connect(offline=True).ask(work(0))
    assert answer is not None
    assert b"request" in answer.body
    everything += answer.body
    for secret in (EMAIL, "reviewer%40example.org", KEY):
        assert secret.encode() not in everything
        assert secret in str(services.asked) or "%40" in secret


def test_a_cache_that_is_damaged_or_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(
        MechtagError, match=r"bad\.sqlite: the stored answers of web services cannot be read.*delete the file"
    ):
        Cache(tmp_path / "bad.sqlite")
    with Cache(tmp_path / "old.sqlite") as old:
        old._database.execute("PRAGMA user_version = 7")
    with pytest.raises(MechtagError, match="the file has format 7, but this version of mechtag reads format 1"):
        Cache(tmp_path / "old.sqlite")
    with closing(sqlite3.connect(tmp_path / "foreign.sqlite")) as foreign:
        foreign.execute("CREATE TABLE bookmark (url TEXT)")
    before = (tmp_path / "foreign.sqlite").read_bytes()
    with pytest.raises(MechtagError, match=r"foreign\.sqlite: .* it is the database of a different program"):
        Cache(tmp_path / "foreign.sqlite")
    assert (tmp_path / "foreign.sqlite").read_bytes() == before


def test_reading_only_creates_no_file(tmp_path: Path) -> None:
    with Cache(tmp_path / NAME, read_only=True) as cache:
        assert cache.get("GET", 0) is None
    assert list(tmp_path.iterdir()) == []


OWN = Service("crossref", "my server", "", rate=5, key_header="Authorization", key_scheme="Bearer", own=True)


def test_a_service_of_the_user_gets_no_email_address_and_its_errors_are_not_stored(
    services: FakeServices, cache: Cache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    service = replace(OWN, address=services.address("crossref"))
    with Transport(cache, None, keys={"crossref": KEY}, clock=clock, patience=7, proxies=False) as transport:
        request = Request(service, f"/works/{PAPERS[0].doi}")
        for status in (404, 400, 307):
            services.faults["crossref"].append(Reply(status=status, headers={"Location": "/crossref/works/x"}))
            answer = transport.ask(request)
            assert answer is not None
            assert (answer.status, answer.found) == (status, False)
            assert transport.failures[-1].reason.startswith(f"the service answered with status {status}")
            assert transport.known(request) is None
        assert len(services.asked) == 3
        answer = transport.ask(request)
        assert answer is not None
        assert answer.found
        assert transport.known(request) == answer
    assert {asked.headers["authorization"] for asked in services.asked} == {f"Bearer {KEY}"}
    assert "mailto" not in services.asked[0].headers["user-agent"]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_the_first_stored_answer_counts_if_two_runs_ask_a_service_of_the_user(
    services: FakeServices, cache: Cache, clock: FakeClock, is_damaged: bool
) -> None:
    """A language model may answer differently each time, so both runs must use the answer that was stored first."""
    services.faults["crossref"] += [Reply(b'{"number": 1}'), Reply(b'{"number": 2}')]
    service = replace(OWN, address=services.address("crossref"))
    with Transport(cache, None, clock=clock) as first, Transport(cache, None, clock=clock) as second:
        plain = Request(service, "/works/x")

        def meanwhile(body: bytes) -> None:
            other = second.ask(plain)
            assert other is not None
            assert other.json() == {"number": 2}
            if is_damaged:
                cache._database.execute("UPDATE answer SET body = x'00'")

        answer = first.ask(plain._replace(check=meanwhile))
        assert answer is not None
        assert answer.json() == {"number": 1 if is_damaged else 2}
        assert first.known(plain) == second.known(plain) == answer
