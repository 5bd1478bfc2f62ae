"""A local endpoint that imitates a language model, with right and wrong answers and the faults of real endpoints."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mechtag.pipeline.fetch.transport import Clock
from tests.support.services import Asked, FakeServices, Reply

_FENCED = re.compile(r"^(`{3,})\n(.*)\n\1$", re.M | re.S)
_LINE = re.compile(r"^\[(\d+)\] (.*)$", re.M)
_LABEL = re.compile(r"^The code: (.*)$", re.M)
#: Title of the invented paper about which mechtag asks every new endpoint first.
PROBE = "A door"


@dataclass(frozen=True)
class Question:
    """A request to the model: its numbered sentences, the name of its label, and the whole request body."""

    sentences: Mapping[int, str]
    label: str
    body: Mapping[str, Any]

    @property
    def title(self) -> str:
        return self.sentences[0]


def says(holds: str, *evidence: tuple[int, str], reason: str = "It says so.") -> dict[str, Any]:
    """Return an answer in the form that mechtag requires of a language model."""
    return {"holds": holds, "evidence": [{"sentence": at, "quote": text} for at, text in evidence], "reason": reason}


def honest(question: Question) -> dict[str, Any]:
    """Answer yes and quote up to three sentences that contain the name of the label, or answer no."""
    found = [(at, text) for at, text in question.sentences.items() if at and question.label.lower() in text.lower()]
    return says("yes", *found[:3]) if found else says("no")


class FakeLanguageModel(FakeServices):
    """A local endpoint of a language model, whose answers a test sets with its attributes.

    Attributes
    ----------
    answer
        Function from a question to the content of the model's message, or to a whole reply.
    refused
        Types of ``response_format`` that the endpoint rejects. With ``lengths``, it rejects schemas with ``maxLength``.
    usage, refusal
        Token counts and refusal that the endpoint adds to each answer.
    finish_reasons
        Reasons why the next answers end; ``stop`` if none is left.
    around
        Text around each answer; ``{}`` is the place of the answer.
    probe
        Answer to mechtag's test question about a new endpoint, and why it ends; ``None`` for a correct answer.
    in_parts
        Whether the content of a message is a list of parts that begins with the model's thinking.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.answer: Callable[[Question], dict[str, Any] | str | Reply] = honest
        self.refused: set[str] = set()
        self.usage: dict[str, Any] | None = {"prompt_tokens": 100, "completion_tokens": 20}
        self.finish_reasons: deque[str] = deque()
        self.refusal: str | None = None
        self.around = "{}"
        self.in_parts = False
        self.probe: tuple[str | None, str] | None = None

    @property
    def url(self) -> str:
        return self.address("llm") + "/v1"

    @property
    def questions(self) -> list[Question]:
        """The questions that the endpoint received, without mechtag's test questions."""
        return [one for one in map(_question, self.asked) if one.title != PROBE]

    def reply(self, asked: Asked) -> Reply:
        """Return the answer to a request; a fault that a test set replaces the answer to a question about a paper."""
        assert (asked.service, asked.path) == ("llm", "/v1/chat/completions")
        question = _question(asked)
        form = question.body["response_format"]
        if form["type"] in self.refused or ("lengths" in self.refused and "maxLength" in json.dumps(form)):
            return Reply(b'{"error": "response_format"}', status=400)
        if question.title == PROBE and self.probe:
            return self._completion(*self.probe)
        if question.title == PROBE:
            return self._completion(says("yes", (1, "The door of the house is red.")), "stop")
        if self.faults["llm"]:
            return self.faults["llm"].popleft()
        answer = self.answer(question)
        if isinstance(answer, Reply):
            return answer
        return self._completion(answer, self.finish_reasons.popleft() if self.finish_reasons else "stop")

    def _completion(self, answer: dict[str, Any] | str | None, finish_reason: str) -> Reply:
        content = self.around.format(answer if isinstance(answer, str) else json.dumps(answer))
        half = len(content) // 2
        texts = [{"type": "text", "text": part} for part in (content[:half], content[half:])]
        parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "{"}]}, *texts]
        message = {
            "role": "assistant",
            "content": None if answer is None else parts if self.in_parts else content,
            "refusal": self.refusal,
        }
        found: dict[str, Any] = {
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "model": "/home/somebody/models/toy.gguf",
            "system_fingerprint": "b1",
        }
        if self.usage is not None:
            found["usage"] = self.usage
        return Reply(json.dumps(found).encode())


def _question(asked: Asked) -> Question:
    body = json.loads(asked.body)
    user = body["messages"][-1]["content"]
    fenced, label = _FENCED.search(user), _LABEL.search(user[user.rindex("The code:") :])
    assert fenced
    assert label
    return Question({int(at): text for at, text in _LINE.findall(fenced[2])}, label[1], body)
