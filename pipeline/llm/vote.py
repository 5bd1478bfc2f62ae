"""Let several language models vote on each code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mechtag.core.errors import MechtagError
from mechtag.core.records import BETWEEN_QUOTES, LLM, Coding, is_llm

#: Name of the coder that is a vote, unless the user chooses another.
VOTE = f"{LLM}vote"


def vote(codings: Sequence[Coding], coder: str = VOTE) -> list[Coding]:
    """Return the majority vote of several language models.

    There is one vote for each record, label and basis that at least one model coded. If more than half of all models
    answered yes, the vote is yes. If more than half of all models answered no, the vote is no. Otherwise, the vote is
    unclear. *All models* includes models whose answer is unclear or missing.

    A yes or no has the evidence of the models that agree with it. An unclear vote has the evidence of all models.

    Parameters
    ----------
    coder
        Name under which the vote is stored, in place of the name of a coder.

    Raises
    ------
    MechtagError
        If there are fewer than two language models; if one of the coders is a person; if ``coder`` is the name of one
        of the models; or if ``coder`` is not ``llm:`` followed by a name.
    """
    voters = list(dict.fromkeys(row.coder for row in codings))
    if people := [name for name in voters if not is_llm(name)]:
        raise MechtagError(
            f"{people[0]} is not a language model (its name does not begin with '{LLM}'); pass only tables that "
            "'mechtag llm' wrote"
        )
    if len(voters) < 2:
        raise MechtagError(
            f"a vote needs two or more language models, but found {', '.join(voters) or 'none'}; pass "
            "the tables of several models"
        )
    if not coder.startswith(LLM) or coder.strip() == LLM or coder.casefold() in map(str.casefold, voters):
        raise MechtagError(
            f"{coder!r} cannot be the name of the vote: it must begin with '{LLM}', contain at least one "
            "more character, and differ from the names of the voters",
            options="--coder",
        )
    by_code: dict[tuple[str, str, str], list[Coding]] = {}
    for row in codings:
        by_code.setdefault((row.record_id or row.key or "", row.label, row.basis), []).append(row)
    return [_counted(rows, len(voters), coder) for rows in by_code.values()]


def _counted(rows: Sequence[Coding], voters: int, coder: str) -> Coding:
    votes = Counter(row.value for row in rows)
    value = next((each for each in (1, 0) if 2 * votes[each] > voters), None)
    agreeing = [row for row in rows if value is None or row.value == value]
    said = f"{votes[1]} yes, {votes[0]} no, {votes[None]} unclear"
    missing = voters - len(rows)
    quotes = dict.fromkeys(quote for row in agreeing for quote in (row.evidence or "").split(BETWEEN_QUOTES) if quote)
    numbers = sorted({number for row in agreeing for number in row.sentences or ()})
    first = rows[0]
    return Coding(
        record_id=first.record_id,
        key=first.key,
        coder=coder,
        label=first.label,
        value=value,
        basis=first.basis,
        evidence=BETWEEN_QUOTES.join(quotes) or None,
        date=max((row.date or "" for row in rows), default="") or None,
        codebook_version=first.codebook_version if len({row.codebook_version for row in rows}) == 1 else None,
        sentences=tuple(numbers) if value == 1 and numbers else None,
        refer=value is None,
        reason=f"votes: {said}{f', {missing} without an answer' if missing else ''}",
        model_id=f"vote of {voters} language models",
    )
