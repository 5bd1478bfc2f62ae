"""Have a language model code papers, with one request for each paper and label, and verify its quotes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PureWindowsPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from mechtag.core.codebook import Codebook
from mechtag.core.records import BETWEEN_QUOTES, LLM, Basis, Coding, Record, Row
from mechtag.pipeline.fetch.requests import Answer, Request
from mechtag.pipeline.fetch.transport import Clock, Transport
from mechtag.pipeline.llm.client import (
    Asking,
    Budget,
    Completion,
    Mode,
    Usage,
    json_in,
    parameters,
    read_completion,
    usage_of,
)
from mechtag.pipeline.llm.prompt import LONGEST_REASON, ModelAnswer, Passage
from mechtag.pipeline.llm.run import LlmRun
from mechtag.pipeline.llm.verify import Found, Quotes, verify

#: Reason of a yes that counts as unclear.
NO_EVIDENCE = "no verbatim evidence"
# How often more tokens are allowed if an answer cannot be used.
_FACTORS = (1, 2, 4)
_SHOWN = 300


class Unanswered(Row):
    """A question about one label of one paper that has no usable answer, or was not asked for lack of text.

    ``reason`` states why the answer cannot be used. ``answer`` is the beginning of the text that the language
    model wrote.
    """

    record_id: str
    label: str
    coder: str
    reason: str
    answer: str = ""


class Quote(NamedTuple):
    """A quote that a language model gave in its answer, and that was found in the paper.

    ``place`` names the text in which the quote was found: ``title``, ``abstract`` or ``full text``. ``start`` and
    ``end`` are the offsets of the quote in this text.
    """

    record_id: str
    label: str
    coder: str
    place: str
    sentence: int | None
    start: int
    end: int
    page: str | None
    section: str | None
    text: str


class _Unusable(Exception):
    """Raised if a language model's answer cannot be used; if ``final`` is true, a higher token limit would not help."""

    def __init__(self, reason: str, completion: Completion | None = None, *, final: bool = False) -> None:
        super().__init__(reason)
        self.completion, self.final = completion, final


class _NotAsked(Exception):
    """Raised if no request is sent, because the endpoint stopped answering or the cost limit could be exceeded."""


@dataclass
class Coded:
    """The codings of one language model, and counts of its answers.

    Attributes
    ----------
    codings
        Codings in the order of papers and labels.
    quotes
        Verified quotes that are evidence of the codings.
    rejected
        Questions without a usable answer, and questions about papers without text.
    without_text
        Number of the questions in ``rejected`` that were not asked, because the paper has no text.
    not_asked
        Number of further questions that were not asked, because the endpoint failed or the cost limit was reached.
    """

    codings: list[Coding] = field(default_factory=list)
    quotes: list[Quote] = field(default_factory=list)
    rejected: list[Unanswered] = field(default_factory=list)
    without_text: int = 0
    not_asked: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    models: set[str] = field(default_factory=set)
    fingerprints: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    costs: list[float | None] = field(default_factory=list)


class Coder:
    """A language model that codes papers.

    Parameters
    ----------
    asking
        Endpoint, model, prompt and maximum answer length of the requests.
    mode
        Way to demand answers in JSON; see `client.find_mode`.
    transport
        Sends the requests. It caches answers, so answered questions are not asked again.
    basis
        Text that the language model reads: abstract or full text.
    budget
        Cost limit, which several coders may share.
    confirm
        Function that is called before each request is sent. It raises an error if nothing may be sent.
    log
        Function that is called with a log entry for each answer received.
    seed
        Random seed for the endpoint. Any seed other than 1 also changes the order of the coding rules.
    """

    def __init__(
        self,
        asking: Asking,
        mode: Mode,
        transport: Transport,
        basis: Basis,
        codebook: Codebook,
        budget: Budget,
        *,
        confirm: Callable[[], None] = lambda: None,
        log: Callable[[dict[str, Any]], None] = lambda _: None,
        seed: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._asking, self._mode, self._transport, self._budget = asking, mode, transport, budget
        self._basis, self._codebook, self._seed = basis, codebook, seed
        self._version = f"{codebook.name}@{codebook.sha256[:12]}"
        self._confirm, self._log = confirm, log
        self.name = f"{LLM}{asking.model}" + (f" (seed {seed})" if seed != 1 else "")
        self._model_id = f"{asking.model}, prompt {asking.prompt.sha256}"

    def code(
        self,
        papers: Sequence[tuple[Record, Sequence[Passage]]],
        labels: Sequence[str],
        advance: Callable[[int], None] = lambda _: None,
    ) -> Coded:
        """Ask about each label of each paper, and return the codings.

        Papers without sentences are rejected. Each pair of a paper and a label is in ``codings`` or ``rejected`` of the
        result, or is counted in ``not_asked``.
        """
        found = Coded()
        for record, passages in papers:
            for label in labels:
                try:
                    if not passages:
                        found.without_text += 1
                        raise _Unusable(
                            "the paper has no text to read; add an abstract or attach a full text", final=True
                        )
                    self._one(record, passages, label, found)
                except _Unusable as fault:
                    wrote = " ".join(fault.completion.content.split())[:_SHOWN] if fault.completion else ""
                    found.rejected.append(
                        Unanswered(
                            record_id=record.record_id, label=label, coder=self.name, reason=str(fault), answer=wrote
                        )
                    )
                except _NotAsked:
                    found.not_asked += 1
                advance(1)
        return found

    def requests(self, passages: Sequence[Passage], labels: Sequence[str]) -> Iterator[Request]:
        """Yield the first request about each label of a paper.

        If the answer to a first request cannot be used, `code` sends further requests, which allow longer answers.
        """
        for label in labels:
            yield self._request(passages, label, _FACTORS[0])

    def _request(self, passages: Sequence[Passage], label: str, factor: int) -> Request:
        return self._asking.request(passages, label, self._mode, factor * self._asking.max_tokens, self._seed)

    def _one(self, record: Record, passages: Sequence[Passage], label: str, found: Coded) -> None:
        for factor in _FACTORS:
            try:
                self._try(record, passages, label, factor, found)
                return
            except _Unusable as fault:
                if fault.final or factor == _FACTORS[-1]:
                    raise

    def _try(self, record: Record, passages: Sequence[Passage], label: str, factor: int, found: Coded) -> None:
        """Ask once about a label of a paper, and add the coding to ``found``.

        The token limit of the answer is multiplied by ``factor``. Raises `_Unusable` if the answer cannot be used, and
        `_NotAsked` if no request could be sent.
        """
        request = self._request(passages, label, factor)
        known = self._transport.known(request)
        for earlier in self._transport.unusable(request):
            self._count_unusable(request, usage_of(earlier), found)
        if known is None:
            if not self._budget.allows(request):
                raise _NotAsked
            self._confirm()
        started = self._clock.elapsed()
        entry: dict[str, Any] = {
            "time": "",
            "record_id": record.record_id,
            "label": label,
            "coder": self.name,
            "prompt": self._asking.prompt.sha256,
            "max_tokens": factor * self._asking.max_tokens,
        }

        def again(answer: Answer) -> bool:
            usage = usage_of(answer)
            self._count_unusable(request, usage, found)
            fault = "the answer cannot be used" if answer.body else "the answer did not arrive, or not whole"
            self._log(entry | self._log_fields(answer.time, started, usage) | {"fault": fault})
            return self._budget.allows(request)

        completion = self._ask(request, again)
        self._count(request, completion, found)
        entry |= self._log_fields(completion.time, started, completion.usage)
        entry |= {"finish_reason": completion.finish_reason, "system_fingerprint": completion.fingerprint}
        try:
            answer = _read(completion)
            quotes = verify(answer.evidence, passages)
            self._take(record, label, answer, quotes, completion, found)
            entry |= {"verified": len(quotes.found), "invented": quotes.invented, "fault": ""}
        except _Unusable as fault:
            entry["fault"] = str(fault)
            raise
        finally:
            if known is None:
                self._log(entry)

    def _log_fields(self, time: float, started: float, usage: Usage | None) -> dict[str, Any]:
        """Return the fields of a log entry for the time, the tokens and the cost of an answer."""
        cost = usage.cost(self._budget.price) if usage else None
        return {
            "time": _instant(time),
            "tokens_in": usage.prompt_tokens if usage else None,
            "tokens_out": usage.completion_tokens if usage else None,
            "tokens_cached": usage.cached_tokens if usage else None,
            "ms": round(1000 * (self._clock.elapsed() - started)),
            "cost_usd": "unknown" if cost is None else cost,
        }

    def _ask(self, request: Request, again: Callable[[Answer], bool]) -> Completion:
        transport = self._transport
        failed = len(transport.failures)
        answer = transport.ask(request, again)
        if answer is not None and answer.found:
            return read_completion(answer)
        if len(transport.failures) == failed:
            raise _NotAsked
        raise _Unusable(transport.failures[-1].reason, final=True)

    def _count(self, request: Request, completion: Completion, found: Coded) -> None:
        found.counts["calls"] += 1
        found.counts["calls_without_usage"] += completion.usage is None
        if completion.usage is None:
            found.costs.append(None)
        self._pay(request, completion.usage, found)
        found.times.append(completion.time)
        # Local servers state the path of a file, which may name a person. Names such as team/model are no paths.
        name = PureWindowsPath(completion.model)
        found.models |= {name.name if name.root else completion.model} - {""}
        found.fingerprints |= {completion.fingerprint} - {""}

    def _count_unusable(self, request: Request, usage: Usage | None, found: Coded) -> None:
        found.counts["unusable"] += 1
        self._pay(request, usage, found)

    def _pay(self, request: Request, usage: Usage | None, found: Coded) -> None:
        """Add the tokens and the cost of an answer to ``found``, and charge the cost to the budget."""
        if usage:
            found.counts["prompt_tokens"] += usage.prompt_tokens
            found.counts["completion_tokens"] += usage.completion_tokens
            found.counts["cached_tokens"] += usage.cached_tokens or 0
            found.costs.append(usage.cost(self._budget.price))
        # Without `usage`, an upper bound on the cost is charged.
        self._budget.pay(request, usage)

    def _take(
        self,
        record: Record,
        label: str,
        answer: ModelAnswer,
        quotes: Quotes,
        completion: Completion,
        found: Coded,
    ) -> None:
        is_unsupported = answer.holds == "yes" and not quotes.found
        holds = "unclear" if is_unsupported else answer.holds
        # Quotes under a no are checked and counted, but are not evidence.
        kept: Sequence[Found] = quotes.found if holds != "no" else ()
        counts = found.counts
        counts[holds] += 1
        counts["unsupported"] += is_unsupported
        counts["quotes"] += len(answer.evidence)
        counts["moved"] += quotes.moved
        counts["invented"] += quotes.invented
        numbers = sorted({one.passage.sentence for one in kept if one.passage.sentence is not None})
        reason = " ".join(answer.reason.split())[:LONGEST_REASON]
        found.codings.append(
            Coding(
                record_id=record.record_id,
                coder=self.name,
                label=label,
                value={"yes": 1, "no": 0, "unclear": None}[holds],
                basis=self._basis,
                evidence=BETWEEN_QUOTES.join(one.text for one in kept) or None,
                date=_instant(completion.time)[:10],
                codebook_version=self._version,
                sentences=tuple(numbers) if self._basis == "abstract" and holds == "yes" else None,
                refer=holds == "unclear",
                reason=NO_EVIDENCE if is_unsupported else reason or None,
                model_id=self._model_id,
            )
        )
        found.quotes += [
            Quote(
                *(record.record_id, label, self.name, one.passage.place, one.passage.sentence, one.start, one.end),
                *(one.passage.page, one.passage.section, one.text),
            )
            for one in kept
        ]

    def describe(self, found: Coded, labels: Sequence[str], papers: int) -> LlmRun:
        """Return a description of the coder and its codings for reports.

        ``papers`` is the number of papers that were to be coded.
        """
        asking, counts = self._asking, found.counts
        cost = None if None in found.costs or not found.costs else sum(filter(None, found.costs))
        return LlmRun(
            coder=self.name,
            model=asking.model,
            reported_models=tuple(sorted(found.models)),
            fingerprints=tuple(sorted(found.fingerprints)),
            endpoint="local" if asking.endpoint.is_local else "remote",
            host="" if asking.endpoint.is_local else asking.endpoint.host,
            basis=self._basis,
            codebook=self._codebook.name,
            codebook_sha256=self._codebook.sha256,
            prompt_sha256=asking.prompt.sha256,
            system=asking.prompt.system,
            text=asking.prompt.text(()),
            questions={label: asking.prompt.question(label, self._seed) for label in labels},
            parameters={**parameters(self._seed), "max_tokens": asking.max_tokens},
            mode=self._mode,
            papers=papers,
            asked=len(found.codings) + len(found.rejected) - found.without_text,
            answered=len(found.codings),
            rejected=len(found.rejected),
            without_text=found.without_text,
            not_asked=found.not_asked,
            **{name: counts[name] for name in ("yes", "no", "unclear", "unsupported", "quotes", "moved", "invented")},
            **{name: counts[name] for name in ("calls", "calls_without_usage", "unusable", "prompt_tokens")},
            **{name: counts[name] for name in ("completion_tokens", "cached_tokens")},
            cost_usd=None if cost is None else round(cost, 6),
            first=_instant(min(found.times))[:10] if found.times else "",
            last=_instant(max(found.times))[:10] if found.times else "",
        )


def _read(completion: Completion) -> ModelAnswer:
    if completion.refusal:
        raise _Unusable(f"the model refused to answer: {completion.refusal[:_SHOWN]}", completion, final=True)
    if completion.finish_reason not in ("stop", ""):
        what = "the answer was cut off" if completion.finish_reason == "length" else "the endpoint stopped the answer"
        raise _Unusable(f"{what} (finish_reason: {completion.finish_reason[:_SHOWN]})", completion)
    try:
        return ModelAnswer.model_validate_json(json_in(completion.content))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        what = f"{place}: {first['msg']}" if place else "it is not JSON"
        raise _Unusable(f"the answer does not have the required form ({what[:_SHOWN]})", completion) from None


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
