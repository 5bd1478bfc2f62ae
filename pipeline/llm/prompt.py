"""Write the messages that ask a language model about one label of one paper, and the schema of the answer."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from pydantic import BaseModel, ConfigDict, Field

from mechtag.core.codebook import Codebook
from mechtag.core.full_text import FullText
from mechtag.core.records import Record, Sentence
from mechtag.core.settings import SentenceSettings
from mechtag.pipeline.tagging.full_texts import sentences_to_code

#: Maximum number of quotes in an answer, and of characters in the reason.
MOST_QUOTES, LONGEST_REASON = 3, 300
_TEMPLATES = Path(__file__).parent / "templates"
_TICKS = re.compile(r"`+")


class Passage(NamedTuple):
    """A numbered sentence that the language model reads.

    Attributes
    ----------
    number
        Number in the prompt. The title is 0; the other sentences are numbered from 1.
    text
        The sentence.
    start, end
        Offsets of the sentence in the title, in the abstract or in the full text; see ``place``.
    place
        ``title``, ``abstract`` or ``full text``.
    sentence
        Number of the sentence in the abstract, from 0. ``None`` if the sentence is not in the abstract.
    page, section
        Page and section title of a sentence in a full text. Each is ``None`` if it is not known.
    """

    number: int
    text: str
    start: int
    end: int
    place: Literal["title", "abstract", "full text"]
    sentence: int | None = None
    page: str | None = None
    section: str | None = None

    @property
    def line(self) -> str:
        """Return the sentence on one line, so that no part of it looks like a new numbered sentence."""
        return " ".join(self.text.split())


def passages_of(record: Record, sentences: Sequence[Sentence]) -> tuple[Passage, ...]:
    """Return the title of a record and the sentences of its abstract, or ``()`` if there are no sentences."""
    if not sentences:
        return ()
    numbered = (
        Passage(number, one.text, one.start, one.end, "abstract", one.sentence)
        for number, one in enumerate(sentences, start=1)
    )
    return (_title(record), *numbered)


def passages_of_full_text(record: Record, text: FullText, settings: SentenceSettings) -> tuple[Passage, ...]:
    """Return the title of a record and the sentences of its full text; lists of references are omitted.

    The result is ``()`` if there are no sentences.
    """
    found = sentences_to_code(text, settings)
    if not found:
        return ()
    numbered = (
        Passage(number, one.text, one.start, one.end, "full text", page=one.page, section=one.section)
        for number, one in enumerate(found, start=1)
    )
    return (_title(record), *numbered)


def _title(record: Record) -> Passage:
    return Passage(0, record.title, 0, len(record.title), "title")


class Quoted(BaseModel):
    """A quote in an answer of a language model, and the number of the sentence that the answer names as its source."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sentence: int
    quote: str


class ModelAnswer(BaseModel):
    """The answer of a language model about one label of one paper."""

    model_config = ConfigDict(extra="forbid", strict=True)

    holds: Literal["yes", "no", "unclear"]
    evidence: list[Quoted] = Field(max_length=MOST_QUOTES)
    reason: str


def answer_schema(numbers: Sequence[int], *, think_first: bool, with_lengths: bool) -> dict[str, Any]:
    """Return the JSON schema of a language model's answer about one label of one paper.

    Parameters
    ----------
    numbers
        Numbers of the sentences that can be quoted.
    think_first
        Whether the evidence and the reason precede the code in the schema.
    with_lengths
        Whether the schema limits the number of quotes and the length of texts. Some endpoints refuse such limits.
    """
    quote: dict[str, Any] = {"type": "string"} | ({"maxLength": 500} if with_lengths else {})
    own = {"sentence": {"type": "integer", "enum": list(numbers)}, "quote": quote}
    evidence: dict[str, Any] = {"type": "array", "items": _object(own)}
    reason: dict[str, Any] = {"type": "string"}
    if with_lengths:
        evidence["maxItems"], reason["maxLength"] = MOST_QUOTES, LONGEST_REASON
    fields: dict[str, Any] = {"holds": {"type": "string", "enum": ["yes", "no", "unclear"]}}
    others = {"evidence": evidence, "reason": reason}
    return _object(others | fields if think_first else fields | others)


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}


class Prompt:
    """Template for the messages that ask a language model whether a paper has a label.

    Parameters
    ----------
    codebook
        Codebook that defines the labels.
    think_first
        Whether the language model is told to state its evidence and its reason before its code.
    examples
        Invented example sentences to show to the language model, keyed by label.
    """

    def __init__(
        self, codebook: Codebook, *, think_first: bool = False, examples: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._entries = {entry.key: entry for entry in codebook.entries}
        self.think_first, self._examples = think_first, dict(examples or {})

    @property
    def system(self) -> str:
        """Return the first message, which states the task and the rules."""
        return _template("system").render().strip()

    def question(self, label: str, seed: int = 1) -> str:
        """Return the question about a label; any seed other than 1 changes the order of the label's coding rules."""
        entry = self._entries[label]
        if seed != 1:
            shuffled = {}
            for name in ("include", "exclude"):
                rules = list(getattr(entry, name))
                random.Random(f"{seed} {label} {name}").shuffle(rules)
                shuffled[name] = tuple(rules)
            entry = entry.model_copy(update=shuffled)
        examples = self._examples.get(label, ())
        return _template("question").render(entry=entry, examples=examples, think_first=self.think_first).strip()

    def text(self, passages: Sequence[Passage]) -> str:
        """Return the part of a message that contains the text of a paper."""
        runs = (len(run) for one in passages for run in _TICKS.findall(one.text))
        # A fence that is longer than any in the text cannot be closed by the text.
        fence = "`" * max(3, 1 + max(runs, default=0))
        return _template("text").render(fence=fence, sentences=passages).strip()

    def messages(self, passages: Sequence[Passage], label: str, seed: int = 1) -> list[dict[str, str]]:
        """Return the messages about one label of one paper.

        The text comes before the label. An endpoint can therefore reuse its computations for the text when it is asked
        about the next label.
        """
        user = f"{self.text(passages)}\n\n{self.question(label, seed)}"
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]

    @cached_property
    def sha256(self) -> str:
        """Return the hash of the parts of the prompt that are the same for all papers."""
        content = {
            "system": self.system,
            "text": (_TEMPLATES / "text.txt.j2").read_text(encoding="utf-8"),
            "questions": {label: self.question(label) for label in self._entries},
            "schema": answer_schema((), think_first=self.think_first, with_lengths=True),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@lru_cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Plain text, not HTML.
    )
    return environment.get_template(f"{name}.txt.j2")
