"""Test the vote of several language models, in which a tie is no answer."""

from __future__ import annotations

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding
from mechtag.pipeline.llm.vote import VOTE, vote


def rows(*values: int | None, label: str = "trust", **fields: object) -> list[Coding]:
    """Return one coding per value, as answers of the models ``llm:a``, ``llm:b``, ... to one question."""
    return [
        Coding.model_validate(
            {
                **{"record_id": "r", "coder": f"llm:{'abcde'[place]}", "label": label, "value": value},
                **{"basis": "abstract", "evidence": f"quote {place}" if value else None, "refer": value is None},
                **({"sentences": (place,)} if value else {}),
                **fields,
            }
        )
        for place, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 1, 0), 1),
        ((0, 0, 1), 0),
        ((1, 0), None),
        ((1, 1), 1),
        ((1, None), None),
        ((1, 1, None), 1),
        ((1, 0, None), None),
        ((1, 1, 0, 0), None),
        ((1, 1, 1, 0, 0), 1),
    ],
)
def test_more_than_half_of_all_voters_decide(values: tuple[int | None, ...], expected: int | None) -> None:
    (found,) = vote(rows(*values))
    assert (found.value, found.refer, found.coder) == (expected, expected is None, VOTE)
    assert found.reason == f"votes: {values.count(1)} yes, {values.count(0)} no, {values.count(None)} unclear"


def test_the_evidence_is_that_of_the_majority() -> None:
    (found,) = vote(rows(1, 0, 1))
    assert found.evidence == "quote 0 […] quote 2"
    assert found.sentences == (0, 2)
    (lost,) = vote(rows(1, 0, 0))
    assert (lost.evidence, lost.sentences) == (None, None)


def test_a_voter_without_an_answer_does_not_lower_the_bar() -> None:
    first, second = vote([*rows(1, 1, 1), *rows(1, None, label="money")[:1]])
    assert (first.value, second.value) == (1, None)
    assert second.reason == "votes: 1 yes, 0 no, 0 unclear, 2 without an answer"


@pytest.mark.parametrize(
    ("codings", "coder", "message"),
    [
        (rows(1), VOTE, "two or more language models"),
        ([], VOTE, "two or more language models"),
        ([*rows(1, 1), Coding(record_id="r", coder="Ann", label="x", value=1, basis="abstract")], VOTE, "Ann is not"),
        (rows(1, 1), "llm:a", "differ from the names of the voters"),
        (rows(1, 1), "Ann", "must begin with 'llm:'"),
        (rows(1, 1), "llm: ", "must begin with 'llm:'"),
        (rows(1, 1), "LLM:A", "differ from the names of the voters"),
    ],
)
def test_people_and_single_models_do_not_vote(codings: list[Coding], coder: str, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        vote(codings, coder)
