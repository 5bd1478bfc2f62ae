"""Define web services, the requests to them, and their answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

T = TypeVar("T")

# Status codes of services that cannot read a request, for example because it is too long or one DOI of many is invalid.
_NOT_READABLE = frozenset((400, 413, 414))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


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
        Beginning of all URLs of the service; ``""`` for the sites of publishers, whose requests contain the whole URL.
    rate
        Maximum number of requests per second without a key.
    keyed_rate
        Maximum number of requests per second with a key.
    key_variable
        Environment variable that contains the user's key; ``""`` if the service has no keys.
    key_parameter
        Name of the query parameter that contains the key.
    key_header
        Name of the header that contains the key.
    key_scheme
        Word before the key in the header, such as ``Bearer``.
    email_parameter
        Name of the query parameter that contains the e-mail address. The address is also sent in the header
        ``User-Agent``.
    own
        Whether the user chose the service, such as the endpoint of a language model. For such a service, no e-mail
        address is sent, no redirect is followed, and only successful answers are used again.
    """

    name: str
    label: str
    address: str
    rate: float
    keyed_rate: float = 0.0
    key_variable: str = ""
    key_parameter: str = ""
    key_header: str = ""
    key_scheme: str = ""
    email_parameter: str = ""
    own: bool = False


class UselessAnswer(ValueError):
    """Raised for an answer that cannot be used, and that would be the same if the request were sent again."""


def readable_json(body: bytes) -> Any:
    """Return the JSON object or list in the body of an answer.

    Each unpaired surrogate, which no other format can hold, becomes a question mark.

    Raises
    ------
    ValueError
        If the body is not a JSON object or list, or if it reports an error.
    """
    try:
        content = json.loads(body)
        if _SURROGATE.search(body):
            content = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        raise ValueError("the service's answer is not in JSON format, or is cut off; try again later") from None
    if not isinstance(content, dict | list):
        raise ValueError("the service's answer is neither a JSON object nor a JSON list; try again later")
    if isinstance(content, dict) and (fault := content.get("error") or content.get("errMsg")):
        raise ValueError(f"the service reported an error: {str(fault)[:100]}")
    return content


def message_in(body: bytes) -> str:
    """Return the error message in the body of an answer, on one line; ``""`` if there is no message.

    A message is found if the body is plain text, or JSON that contains a message. A web page contains no message.
    Characters that a terminal could interpret are replaced by spaces.
    """
    text = body.decode("utf-8", errors="replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        found: Any = "" if text.lstrip().startswith(("<", "{", "[")) else text
    else:
        found = content
        # OpenAI: {"error": {"message": ...}}; others: {"message": ...}, {"detail": [{"msg": ...}]} or [{"error": ...}].
        for names in (("error",), ("message", "detail"), ("msg",)):
            found = found[0] if isinstance(found, list) and found else found
            if isinstance(found, dict):
                found = next((found[name] for name in names if found.get(name)), found)
        found = found if isinstance(found, str) else ""
    return " ".join("".join(char if char.isprintable() else " " for char in found).split())


class Request(NamedTuple):
    """A request to a service, without the user's key and e-mail address.

    Attributes
    ----------
    path
        Path below the address of the service; special characters are already percent-encoded.
    parameters
        Names and values of the query string.
    body
        JSON text to send in a POST request; ``""`` for a GET request.
    check
        Function that raises `ValueError` if an answer cannot be read, for example because it is cut off. After this
        error, the request is sent again. After a `UselessAnswer`, it is not.
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
        """Return the URL of the request; ``address`` is the address of the service."""
        query = urlencode(self.parameters, quote_via=quote, safe=":/|,")
        return f"{address}{self.path}" + (f"?{query}" if query else "")


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    Attributes
    ----------
    status
        HTTP status code.
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
        """Return whether the request succeeded (status code below 300)."""
        return self.status < 300

    @property
    def unreadable(self) -> bool:
        """Return whether the service rejected the request as malformed or too long (status code 400, 413 or 414)."""
        return self.status in _NOT_READABLE

    def json(self) -> Any:
        """Return the content of the answer, which is a JSON object or list.

        Raises
        ------
        ValueError
            If the answer is not a JSON object or list, or if it reports an error.
        """
        return readable_json(self.body)


#: Function that sends a request and returns the answer, or ``None`` if there is no answer.
Ask = Callable[[Request], Answer | None]


def ask_for_all(items: Sequence[T], make: Callable[[Sequence[T]], Request], ask: Ask) -> Iterator[Answer]:
    """Ask a service about many items, such as DOIs, in one request, and yield the successful answers.

    If the service rejects a request as malformed or too long, its items are divided into two requests. One invalid item
    therefore does not affect the others.

    Parameters
    ----------
    make
        Function that creates the request for some of the items.
    ask
        Function that sends a request and returns its answer.
    """
    answer = ask(make(items))
    if answer and answer.found:
        yield answer
    elif answer and answer.unreadable and len(items) > 1:
        middle = len(items) // 2
        yield from ask_for_all(items[:middle], make, ask)
        yield from ask_for_all(items[middle:], make, ask)
