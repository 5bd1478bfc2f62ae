"""Define web services, the requests to them, and their answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

T = TypeVar("T")

# Status codes of services that cannot read a request, for example because it is too long or one DOI of many is invalid.
_NOT_READABLE = frozenset((400, 413, 414))


@dataclass(frozen=True)
class Service:
    """A web service.

    Attributes
    ----------
    name
        Name of the service on the command line and in tables.
    label
        Name of the service in messages.
    address
        Start of the URLs of the service; empty for the sites of publishers, whose requests contain the whole URL.
    rate, keyed_rate
        Maximum number of requests per second, without a key and with one.
    key_variable
        Environment variable that contains the user's key; empty if the service has no keys.
    key_parameter, key_header
        Parameter or header by which the key is sent.
    email_parameter
        Parameter by which the e-mail address is sent in addition to the header ``User-Agent``.
    """

    name: str
    label: str
    address: str
    rate: float
    keyed_rate: float = 0.0
    key_variable: str = ""
    key_parameter: str = ""
    key_header: str = ""
    email_parameter: str = ""


class UselessAnswer(ValueError):
    """An answer that cannot be used, and that would be the same if the request were sent again."""


def readable_json(body: bytes) -> Any:
    """Return the content of an answer in JSON.

    Raises
    ------
    ValueError
        If the answer is not a JSON object or list, or reports an error.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the answer is not JSON, or is cut off") from None
    if not isinstance(content, dict | list):
        raise ValueError("the answer is neither a JSON object nor a list")
    if isinstance(content, dict) and (fault := content.get("error") or content.get("errMsg")):
        raise ValueError(f"the answer reports an error: {str(fault)[:100]}")
    return content


class Request(NamedTuple):
    """A request to a service, without the user's key and e-mail address.

    Attributes
    ----------
    path
        Path below the address of the service, in which special characters are already quoted.
    parameters
        Names and values that follow the path.
    body
        JSON text to send; the request is a POST request if it is not empty.
    check
        Function that raises `ValueError` if an answer cannot be read, for example because it is cut off. The request is
        then sent again, unless the error is a `UselessAnswer`.
    cost
        Price of the request in US dollars.
    """

    service: Service
    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    body: str = ""
    check: Callable[[bytes], object] = readable_json
    cost: float = 0.0

    def url(self, address: str) -> str:
        """Return the URL of the request, given the address of the service."""
        query = urlencode(self.parameters, quote_via=quote, safe=":/|,")
        return f"{address}{self.path}" + (f"?{query}" if query else "")


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    Attributes
    ----------
    status
        Status code of HTTP.
    url
        URL of the request, without key and e-mail address.
    time
        Time of the answer in seconds since 1970.
    """

    status: int
    url: str
    body: bytes
    time: float

    @property
    def found(self) -> bool:
        """Return whether the service found what was asked for."""
        return self.status < 300

    @property
    def unreadable(self) -> bool:
        """Return whether the service could not read the request."""
        return self.status in _NOT_READABLE

    def json(self) -> Any:
        """Return the content of the answer, which must be JSON."""
        return readable_json(self.body)


#: Function that sends a request and returns the answer; ``None`` if there is none.
Ask = Callable[[Request], Answer | None]


def ask_for_all(items: Sequence[T], make: Callable[[Sequence[T]], Request], ask: Ask) -> Iterator[Answer]:
    """Ask for many items in one request, and yield the answers in which something was found.

    If the service cannot read the request, each half of the items is asked for separately, so that one strange item
    does not affect the others.
    """
    answer = ask(make(items))
    if answer and answer.found:
        yield answer
    elif answer and answer.unreadable and len(items) > 1:
        middle = len(items) // 2
        yield from ask_for_all(items[:middle], make, ask)
        yield from ask_for_all(items[middle:], make, ask)
