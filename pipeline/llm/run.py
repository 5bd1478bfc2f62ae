"""Describe how a language model coded papers, for reports and for the methods section of a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mechtag.core.codebook import Strict, describe_validation
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.records import Basis
from mechtag.core.words import counted


class LlmRun(Strict):
    """How one language model coded papers: model, prompt, and numbers of answers, quotes and tokens.

    A question is about one label of one paper.

    Attributes
    ----------
    coder
        Name of the coder in the table of codings.
    model
        Name by which the language model was requested.
    reported_models, fingerprints
        Names and versions of the language model that the endpoint stated.
    endpoint
        ``local`` if the endpoint is on the reviewers' machine, otherwise ``remote``.
    host
        Name of the machine of the endpoint. Empty if it is the reviewers' machine.
    prompt_sha256
        Hash of the parts of the prompt that are the same for all papers.
    system
        First message of the prompt.
    text
        Layout of the part of the prompt that contains the text of a paper.
    questions
        Part of the prompt that asks about a label, keyed by label.
    parameters
        Sampling parameters, and the maximum number of tokens in the first answer.
    mode
        How mechtag asked the endpoint for answers in JSON.
    papers
        Number of papers that were to be coded.
    asked
        Number of questions that were asked: the sum of ``answered`` and ``rejected``, less ``without_text``.
    answered
        Number of questions with a usable answer.
    rejected
        Number of questions without a usable answer, including ``without_text``.
    without_text
        Number of questions that were not asked, because the paper has no text.
    not_asked
        Number of further questions that were not asked, because the endpoint failed or the cost limit was reached.
    yes, no, unclear
        Number of answers with each code.
    unsupported
        Number of answers that count as unclear, because the language model answered yes but none of its quotes is in
        the text.
    quotes
        Number of all quotes.
    moved
        Number of quotes that are in a sentence other than the one that the language model stated.
    invented
        Number of quotes that are in no sentence, or are too short to be verified.
    calls
        Number of chat completions received.
    calls_without_usage
        Number of chat completions for which the endpoint stated no numbers of tokens.
    unusable
        Number of further answers that were not chat completions or were incomplete. The endpoint may bill them.
    prompt_tokens, completion_tokens
        Number of tokens in prompts, and number of tokens in answers.
    cached_tokens
        Number of tokens of prompts that the endpoint took from its cache.
    cost_usd
        Price of these tokens in US dollars, or ``None`` if the price is unknown.
    first, last
        Dates of the first and last answer. Empty if there are no answers.
    """

    coder: str
    model: str
    reported_models: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    endpoint: Literal["local", "remote"]
    host: str = ""
    basis: Basis
    codebook: str
    codebook_sha256: str
    prompt_sha256: str
    system: str
    text: str
    questions: dict[str, str]
    parameters: dict[str, float | int]
    mode: str
    papers: int
    asked: int
    answered: int
    rejected: int
    without_text: int = 0
    not_asked: int
    yes: int
    no: int
    unclear: int
    unsupported: int
    quotes: int
    moved: int
    invented: int
    calls: int
    calls_without_usage: int
    unusable: int = 0
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost_usd: float | None
    first: str
    last: str

    @property
    def invented_share(self) -> float | None:
        """Return the proportion of quotes that were not found in the text, or ``None`` if there are no quotes."""
        return self.invented / self.quotes if self.quotes else None

    @property
    def unclear_share(self) -> float | None:
        """Return the proportion of answers that are unclear, or ``None`` if there are no answers."""
        return self.unclear / self.answered if self.answered else None

    @property
    def place(self) -> str:
        """Return a phrase that states where the language model ran, for use in reports."""
        return "on the reviewers' machine" if self.endpoint == "local" else f"at {self.host}"

    @property
    def price(self) -> str:
        """Return a phrase that states the cost, for use in reports."""
        return "unknown" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"

    def describe(self) -> str:
        """Return sentences for a report: on the model, the prompt, the answers, the quotes, the tokens and the cost."""
        invented, unclear = (
            "" if share is None else f" ({share:.0%})" for share in (self.invented_share, self.unclear_share)
        )
        further = (
            f" {counted(self.unusable, 'further answer')} could not be used; the cost includes what the endpoint "
            "stated for such answers."
            if self.unusable
            else ""
        )
        textless = f" Not asked, because there was no text to read: {self.without_text}." if self.without_text else ""
        return (
            f"{self.coder} is a language model, not a person: model {self.model}, {self.place}, prompt "
            f"{self.prompt_sha256[:12]}. Questions about {counted(self.papers, 'paper')}: {self.asked} asked, "
            f"{self.answered} answered; {self.yes} yes, {self.no} no, {self.unclear} unclear{unclear}.{textless} "
            f"Quotes: {self.quotes}; not in the text, and therefore dropped: {self.invented}{invented}. "
            f"Tokens: {self.prompt_tokens:,} read, {self.completion_tokens:,} written; cost: {self.price}.{further}"
        )


class LlmRuns(Strict):
    """The content of ``NAME_run.json``, which describes the language models whose codings are in ``NAME.csv``.

    Attributes
    ----------
    vote
        Name of the coder under which ``NAME.csv`` stores the majority vote of ``runs``. Empty if ``NAME.csv`` contains
        no vote, but the codings of each run.
    runs
        One description per language model.
    """

    vote: str = ""
    runs: tuple[LlmRun, ...]

    def describe(self) -> list[str]:
        """Return a description of each language model; if the models voted, a sentence about the vote comes first."""
        found = [run.describe() for run in self.runs]
        if self.vote:
            voters = ", ".join(run.coder for run in self.runs) or "language models"
            found.insert(0, f"{self.vote} is not a person; it is the majority vote of {voters}.")
        return found


def path_of_runs(table: Path) -> Path:
    """Return the path of the file that describes the language models whose codings are in a table."""
    return table.with_name(f"{table.stem}_run.json")


def write_runs(table: Path, runs: LlmRuns) -> None:
    """Write the file that describes the language models whose codings are in a table."""
    write_json(path_of_runs(table), runs.model_dump(mode="json"))


def read_runs(table: Path) -> LlmRuns | None:
    """Read the file that describes the language models whose codings are in a table.

    Returns
    -------
    LlmRuns or None
        The description, or ``None`` if there is no such file.

    Raises
    ------
    MechtagError
        If the file is damaged, or was written by an incompatible version of mechtag.
    """
    path = path_of_runs(table)
    if not path.is_file():
        return None
    try:
        return LlmRuns.model_validate(read_json(path))
    except ValidationError as error:
        raise MechtagError(
            f"{describe_validation(path, error)}\nRun 'mechtag llm' again to replace this file; answered questions are "
            "not asked again"
        ) from None
