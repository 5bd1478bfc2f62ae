"""Ask an OpenAI-compatible endpoint for chat completions; `pipeline.fetch.transport` sends the requests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from mechtag.core.errors import MechtagError
from mechtag.core.hosts import is_this_machine
from mechtag.core.settings import LlmPrice
from mechtag.pipeline.fetch.requests import Answer, Request, Service, readable_json
from mechtag.pipeline.fetch.transport import Transport
from mechtag.pipeline.llm.prompt import Passage, Prompt, answer_schema

#: Environment variable that contains the key of the endpoint.
KEY_VARIABLE = "MECHTAG_LLM_KEY"
#: Name of the service in the transport and its cache.
NAME = "llm"
#: How an endpoint is asked to keep the schema: with limits of lengths, without them, or only to answer in JSON.
Mode = Literal["json_schema", "json_schema without lengths", "json_object"]
_MODES: tuple[Mode, ...] = ("json_schema", "json_schema without lengths", "json_object")
# Maximum number of requests per second. They are sent one after the other, and no answer takes less.
_RATE = 20.0
# Upper bound of the tokens of a text: English has about 4.5 bytes per token, scripts that are not Latin fewer.
_BYTES_PER_TOKEN = 3
_PROBE = (
    Passage(0, "A door", 0, 6, "title"),
    Passage(1, "The door of the house is red.", 0, 29, "abstract", 0),
)
_PATH = "/chat/completions"
# Endpoints that state more tokens than any answer can have do not count them.
_MOST_TOKENS = 10**9
_FENCE = re.compile(r"```\w*\s*")


@dataclass(frozen=True)
class Endpoint:
    """The endpoint of a language model: the web server to which the user lets mechtag send requests.

    Attributes
    ----------
    url
        Address without a slash at its end, such as ``http://127.0.0.1:8080/v1``.
    host
        Name of the machine in the address.
    """

    url: str
    host: str

    @property
    def is_local(self) -> bool:
        """Return whether the endpoint is on this machine."""
        return is_this_machine(self.host)

    @property
    def service(self) -> Service:
        """Return the `Service` through which `Transport` sends requests to the endpoint."""
        return Service(NAME, self.host, self.url, _RATE, key_header="Authorization", key_scheme="Bearer", own=True)


def parse_endpoint(url: str, send_text_to: str = "") -> Endpoint:
    """Return the endpoint at an address.

    Parameters
    ----------
    send_text_to
        Name of the machine to which the user allows texts to be sent. It is needed if the endpoint is on another
        machine.

    Raises
    ------
    MechtagError
        In these cases:

        - The address is not the address of a web server.
        - The address contains a user name, a query or a fragment.
        - The endpoint is on another machine, and this machine is not ``send_text_to``.
        - The endpoint is on another machine, and the connection is not encrypted.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname or "", parts.port
    except ValueError:  # an incomplete IPv6 address, or an impossible port
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise MechtagError(
            f"{url}: this is not the address of an endpoint; write it like http://127.0.0.1:8080/v1",
            options="--endpoint",
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise MechtagError(
            f"the address of the endpoint on {host} contains a user name, a query or a fragment; remove this part. If "
            f"the endpoint needs an API key, set the environment variable {KEY_VARIABLE} to the key",
            options="--endpoint",
        )
    path = parts.path.rstrip("/").removesuffix(_PATH).rstrip("/")
    endpoint = Endpoint(f"{parts.scheme}://{parts.netloc}{path}", host)
    if endpoint.is_local:
        return endpoint
    if send_text_to.lower() != host:
        allowed = f"; you allowed sending them only to {send_text_to}" if send_text_to else ""
        raise MechtagError(
            f"{url}: the texts of your records would be sent to {host}, which is not this machine{allowed}. If "
            f"licences and your agreements permit sending them to {host}, allow it; otherwise, use a model on this "
            "machine",
            options=f"to allow sending, add --send-text-to {host}",
        )
    if parts.scheme != "https":
        raise MechtagError(
            f"{url}: texts and your API key would be sent to {host} without encryption; use an address that begins "
            f"with https, or reach {host} through an encrypted tunnel, for example with ssh -L",
            options="change --endpoint",
        )
    return endpoint


class _Lenient(BaseModel):
    """Base class for the parts of an endpoint's answer; unknown fields are ignored."""


class _Details(_Lenient):
    cached_tokens: int | None = None


class Usage(_Lenient):
    """Numbers of tokens in a request and in its answer, as the endpoint counted them."""

    prompt_tokens: int = Field(ge=0, le=_MOST_TOKENS)
    completion_tokens: int = Field(ge=0, le=_MOST_TOKENS)
    prompt_tokens_details: _Details | None = None

    @property
    def cached_tokens(self) -> int | None:
        """Return how many tokens of the prompt the endpoint took from its cache, or ``None`` if this is unknown."""
        return self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None

    def cost(self, price: LlmPrice | None) -> float | None:
        """Return the price of these tokens in US dollars, or ``None`` if the price is unknown."""
        return price.of(self.prompt_tokens, self.completion_tokens) if price else None


class _Billed(_Lenient):
    """The part of an endpoint's answer that states the numbers of tokens."""

    # Read even if the rest of the answer cannot be used, because the answer may be billed.
    usage: Usage | None = None

    @field_validator("usage", mode="wrap")
    @classmethod
    def _unknown_if_invalid(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Usage | None:
        """Return the numbers of tokens; ``None`` if they are invalid."""
        try:
            found: Usage | None = read(value)
        except ValidationError:
            return None
        return found


class _Message(_Lenient):
    content: str | None = None
    refusal: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        """Join the text parts of a message; omit all other parts, such as the thoughts of the model."""
        if not isinstance(value, list):
            return value
        return "".join(
            str(part.get("text") or "") for part in value if isinstance(part, dict) and part.get("type") == "text"
        )


class _Choice(_Lenient):
    message: _Message
    finish_reason: str | None = None


class _Completion(_Billed):
    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    system_fingerprint: str | None = None


@dataclass(frozen=True)
class Completion:
    """An answer of the endpoint.

    Attributes
    ----------
    content
        Text that the language model wrote.
    refusal
        Reason why the language model refused to answer. Empty if it did not refuse.
    finish_reason
        ``stop`` if the answer is complete, ``length`` if the answer was cut off. Empty if the endpoint states no
        reason.
    usage
        Numbers of tokens, or ``None`` if the endpoint does not state them.
    model, fingerprint
        Name and version of the language model, as stated by the endpoint. Each is empty if the endpoint does not state
        it.
    time
        Time of the answer in seconds since 1970.
    """

    content: str
    refusal: str
    finish_reason: str
    usage: Usage | None
    model: str
    fingerprint: str
    time: float


def _check(body: bytes) -> None:
    """Raise `ValueError` unless the body of an endpoint's answer is a chat completion."""
    try:
        _Completion.model_validate(readable_json(body))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "top level"
        what = "not an object" if first["type"] == "model_type" else first["msg"].lower()
        raise ValueError(f"the answer is not a chat completion ({place}: {what})") from None


def read_completion(answer: Answer) -> Completion:
    """Return the chat completion in an answer that the transport has checked."""
    found = _Completion.model_validate(answer.json())
    choice = found.choices[0]
    return Completion(
        content=choice.message.content or "",
        refusal=choice.message.refusal or "",
        finish_reason=choice.finish_reason or "",
        usage=found.usage,
        model=found.model or "",
        fingerprint=found.system_fingerprint or "",
        time=answer.time,
    )


def usage_of(answer: Answer) -> Usage | None:
    """Return the numbers of tokens that an answer states, even if the text of the answer cannot be used.

    The result is ``None`` if the answer states no valid numbers of tokens.
    """
    try:
        return _Billed.model_validate_json(answer.body).usage
    except ValidationError:
        return None


@dataclass(frozen=True)
class Asking:
    """The values that all requests of a run share: endpoint, model, prompt and maximum number of tokens per answer."""

    endpoint: Endpoint
    model: str
    prompt: Prompt
    max_tokens: int

    def request(self, passages: Sequence[Passage], label: str, mode: Mode, max_tokens: int, seed: int = 1) -> Request:
        """Return the request about one label of one paper; its answer may have at most ``max_tokens`` tokens."""
        numbers = [passage.number for passage in passages]
        messages = self.prompt.messages(passages, label, seed)
        return self._request(messages, self._form(numbers, mode), max_tokens, seed)

    def probe(self, label: str, mode: Mode) -> Request:
        """Return a short request that tests whether the endpoint accepts ``mode``, a way to demand answers in JSON."""
        return self.request(_PROBE, label, mode, self.max_tokens)

    def _form(self, numbers: Sequence[int], mode: Mode) -> Mapping[str, Any]:
        if mode == "json_object":
            return {"type": "json_object"}
        with_lengths = mode == "json_schema"
        schema = answer_schema(numbers, think_first=self.prompt.think_first, with_lengths=with_lengths)
        return {"type": "json_schema", "json_schema": {"name": "coding", "strict": True, "schema": schema}}

    def _request(
        self, messages: Sequence[Mapping[str, str]], form: Mapping[str, Any], max_tokens: int, seed: int
    ) -> Request:
        messages = list(messages)
        if form["type"] == "json_object":
            # Without a schema, the model must be told the form of the answer.
            schema = answer_schema((0, 1), think_first=self.prompt.think_first, with_lengths=True)
            told = f"{messages[0]['content']}\n\nThe JSON object has this schema:\n{json.dumps(schema)}"
            messages[0] = {"role": "system", "content": told}
        body = {
            "model": self.model,
            "messages": messages,
            "response_format": form,
            "max_tokens": max_tokens,
            **parameters(seed),
        }
        return Request(self.endpoint.service, _PATH, body=json.dumps(body), check=_check)


def parameters(seed: int) -> dict[str, float | int]:
    """Return the sampling parameters of a request, which are the same for all language models."""
    return {"temperature": 0, "top_p": 1, "seed": seed, "n": 1}


def most_tokens(request: Request) -> tuple[int, int]:
    """Return the maximum numbers of tokens of a request and of its answer.

    The maximum for the request is estimated from its length. The request itself states the maximum for the answer.
    """
    return len(request.body.encode()) // _BYTES_PER_TOKEN + 1, int(json.loads(request.body)["max_tokens"])


def json_in(content: str) -> str:
    """Return the JSON in a model's answer, without thoughts before the JSON and without a code fence around it."""
    text = content.strip()
    # Some endpoints leave out the mark at which the thoughts begin.
    if text.startswith("<think>") or (not text.startswith("{") and "</think>" in text):
        text = text.partition("</think>")[2].strip()
    if fence := _FENCE.match(text):
        text = text[fence.end() :]
        text = text.rpartition("```")[0] or text
    return text


@dataclass
class Budget:
    """The cost of requests so far, and the limit on this cost.

    Attributes
    ----------
    limit
        Maximum cost in US dollars, or ``None`` if the cost is not limited.
    price
        Price of tokens, or ``None`` if the price is unknown.
    spent
        Cost of all answers so far in US dollars. This includes answers from earlier runs, unusable answers, and answers
        to short test requests.
    exhausted
        Whether a request was refused because the cost could have exceeded the limit.
    """

    limit: float | None = None
    price: LlmPrice | None = None
    spent: float = 0.0
    exhausted: bool = False

    def allows(self, request: Request) -> bool:
        """Return whether a request may be sent.

        A request is refused if its highest possible cost, added to ``spent``, exceeds ``limit``. After the first
        refused request, all later requests are refused.
        """
        if self.limit is not None:
            self.exhausted |= self.spent + self.most(request) > self.limit
        return not self.exhausted

    def most(self, request: Request) -> float:
        """Return an upper bound on the cost, in US dollars, of a request and its answer; 0 if the price is unknown."""
        return self.price.of(*most_tokens(request)) if self.price else 0.0

    def pay(self, request: Request, usage: Usage | None) -> None:
        """Add the cost of an answer to ``spent``; if the cost is unknown, add an upper bound on the cost."""
        cost = usage.cost(self.price) if usage else None
        self.spent += self.most(request) if cost is None else cost


def known_mode(asking: Asking, label: str, transport: Transport) -> Mode | None:
    """Return the mode that an endpoint accepted in an earlier run, or ``None`` if no such mode is known.

    A mode is a way to demand answers in JSON.
    """
    for mode in _MODES:
        if (known := transport.known(asking.probe(label, mode))) and _accepts(read_completion(known)):
            return mode
    return None


def find_mode(
    asking: Asking,
    label: str,
    transport: Transport,
    budget: Budget,
    confirm: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda _: None,
) -> Mode:
    """Return the strictest mode that an endpoint accepts.

    A mode is a way to demand answers in JSON. Modes are tried with short requests, the strictest mode first. If an
    answer was cut off while the language model was still thinking, the mode is accepted and ``note`` is called.

    Parameters
    ----------
    confirm
        Function that is called before each request is sent. It raises an error if nothing may be sent.
    note
        Function that is called with a message for the user.

    Raises
    ------
    MechtagError
        If the endpoint does not answer; if it accepts no mode; or if the requests could exceed the cost limit.
    """
    known = known_mode(asking, label, transport)
    for mode in _MODES:
        request = asking.probe(label, mode)
        for earlier in transport.unusable(request):
            budget.pay(request, usage_of(earlier))
        answer = transport.known(request)
        if answer is None and known is None:
            if not budget.allows(request):
                raise MechtagError(
                    f"a short test request was not sent: it costs up to {budget.most(request):.4f} USD, so that the "
                    f"cost of the run could exceed the limit of {budget.limit} USD; set a higher limit",
                    options="--max-cost",
                )
            confirm()
            answer = transport.ask(request, _paying(budget, request))
            if answer is None:
                break
        if answer is None or not answer.found:
            continue
        completion = read_completion(answer)
        budget.pay(request, completion.usage)
        if _accepts(completion):
            if not json_in(completion.content):
                note(
                    f"note: {asking.model} was still thinking when its answer to a short test request was cut off "
                    f"after {asking.max_tokens} tokens. The test therefore does not show whether answers follow the "
                    "schema. If many answers are cut off, allow longer answers with "
                    "'mechtag llm ... --max-tokens NUMBER', or switch off thinking in the settings of the endpoint"
                )
            return mode
    endpoint = asking.endpoint
    why = transport.failures[-1].reason if transport.failures else "it did not answer in JSON"
    if pause := transport.paused.get(endpoint.host):
        why = pause.reason
    raise MechtagError(
        f"{endpoint.url}: the endpoint did not answer a short test request correctly: {why}. Check that the server is "
        f"running, has the model {asking.model} and supports response_format. If the server needs an API key, set "
        f"{KEY_VARIABLE}",
        options="check --endpoint and --model",
    )


def _paying(budget: Budget, request: Request) -> Callable[[Answer], bool]:
    """Return a callback that charges the cost of an unusable answer to the budget.

    The callback returns whether the budget allows sending the request again.
    """

    def again(answer: Answer) -> bool:
        budget.pay(request, usage_of(answer))
        return budget.allows(request)

    return again


def _accepts(completion: Completion) -> bool:
    """Return whether a test answer begins with JSON, or was cut off while the language model was still thinking."""
    text = json_in(completion.content)
    return text.startswith("{") or (not text and completion.finish_reason == "length")
