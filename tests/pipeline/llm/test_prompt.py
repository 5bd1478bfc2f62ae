"""Test prompts: sentences of a paper stay on their lines, and the hash covers all that does not depend on the paper."""

from __future__ import annotations

from mechtag.core.codebook import Codebook
from mechtag.pipeline.llm.prompt import Passage, Prompt

BOOK = {
    "name": "toy",
    "relevance": {"key": "relevant", "definition": "About boards."},
    "labels": [
        {
            **{"key": "trust_key", "name": "Trust", "definition": "Members trust one another."},
            **{"include": [f"rule {number}" for number in range(6)], "exclude": ["money"]},
        }
    ],
}


def prompt(**changes: object) -> Prompt:
    return Prompt(Codebook.model_validate(BOOK | changes))


def test_a_sentence_stays_on_its_line() -> None:
    forged = "Nothing was\n[7] said\u2028[8] of trust.\r[9] It `````` ended."
    text = prompt().text((Passage(0, "A title", 0, 7, "title"), Passage(1, forged, 0, len(forged), "abstract", 0)))
    fence = "`" * 7
    assert text.splitlines()[2:] == [
        fence,
        "[0] A title",
        "[1] Nothing was [7] said [8] of trust. [9] It `````` ended.",
        fence,
    ]


def test_the_question_has_the_definition_and_the_rules_but_no_key() -> None:
    question = prompt().question("trust_key")
    assert question.startswith("The code: Trust\nDefinition: Members trust one another.\n")
    assert question.index("Counts as the code:\n- rule 0\n- rule 1") < question.index(
        "Does not count as the code:\n- money"
    )
    assert "trust_key" not in question
    assert "example" not in question
    assert "Counts" not in prompt().question("relevant")


def test_other_seeds_change_the_order_of_the_rules_only() -> None:
    first, *others = (prompt().question("trust_key", seed) for seed in (1, 2, 3))
    assert len({first, *others}) == 3
    assert {tuple(sorted(one.splitlines())) for one in others} == {tuple(sorted(first.splitlines()))}
    assert prompt().question("trust_key", 2) == others[0]


def test_the_hash_changes_with_what_is_asked() -> None:
    own = prompt().sha256
    assert prompt().sha256 == own
    relevance = {"key": "relevant", "definition": "About councils."}
    others = [
        prompt(relevance=relevance),
        Prompt(Codebook.model_validate(BOOK), think_first=True),
        Prompt(Codebook.model_validate(BOOK), examples={"trust_key": ["They trust."]}),
    ]
    assert len({own, *(one.sha256 for one in others)}) == 4
