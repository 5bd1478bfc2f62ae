"""Test cue phrases and suggested roles: each phrase matches its own words, and an unclear sentence gets no role."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
import pytest

from mechtag.core.arrays import Array
from mechtag.core.codebook import EVIDENCE_ROLES, Codebook
from mechtag.core.errors import MechtagError
from mechtag.pipeline.export.evidence_roles.suggest import (
    KAPPA,
    SENTENCES,
    choose,
    count_cues,
    cue_phrases,
    describe_suggestions,
    pattern_of,
    suggest_roles,
)
from tests.support.coded_papers import BOOK
from tests.support.paths import ROOT

KEYS = [role.key for role in EVIDENCE_ROLES]
PHRASES = [(role, phrase) for role, phrases in cue_phrases().items() for phrase in phrases]


def example(phrase: str) -> str:
    """Return text that a cue phrase matches: the first of each set of alternatives, with an ending after each stem."""
    words = (word.split("|")[0].replace("*", "ing") for word in phrase.split())
    return f"Xx {' '.join('zz' if word == '_' else word for word in words)} yy."


def test_there_are_enough_rules_and_none_is_repeated() -> None:
    assert list(cue_phrases()) == KEYS
    assert 60 <= len(PHRASES) <= 100
    assert len({phrase for _, phrase in PHRASES}) == len(PHRASES)


@pytest.mark.parametrize(("role", "phrase"), PHRASES)
def test_each_phrase_is_found_in_its_own_words(role: str, phrase: str) -> None:
    assert re.fullmatch(r"[a-z|*_ ]+", phrase)
    assert count_cues([example(phrase).upper()])[0, KEYS.index(role)] >= 1
    assert len(pattern_of(phrase)) == len(phrase.split())


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("This led to fewer admissions.", "outcome"),
        ("As a consequence, coordination improved.", "outcome"),
        ("In the context of national policy, budgets were tight.", "context"),
        ("Following the merger, two cultures remained.", "context"),
        ("Members felt reassured and trusted one another.", "reasoning"),
        ("Nurses resisted, and feared for their posts.", "reasoning"),
        ("Leaders provided joint training.", "resource"),
        ("Managers should share information and recommend workshops.", "resource"),
    ],
)
def test_plain_sentences_have_the_role_that_their_words_say(text: str, role: str) -> None:
    counts = count_cues([text])[0]
    assert KEYS[int(counts.argmax())] == role
    assert (counts == counts.max()).sum() == 1


def test_stems_and_whole_words() -> None:
    assert count_cues(["feel"])[0].tolist() == [0, 0, 1, 0]
    assert count_cues(["feelgood"])[0].sum() == 0, "not a stem"
    assert count_cues(["motivational"])[0].tolist() == [0, 0, 1, 0]
    assert count_cues([""])[0].sum() == 0


def test_cue_phrases_decide_first_and_then_definitions() -> None:
    counts = np.array([[0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0]], dtype=float)
    alike = np.array(
        [
            [0.9, 0.0, 0.0, 0.0],  # cue phrases decide, whatever the similarities
            [0.3, 0.2, 0.1, 0.0],  # the first role is clearly the most similar
            [0.3, 0.27, 0.1, 0.0],  # two roles are almost equally similar
            [0.1, 0.9, 0.3, 0.0],  # the more similar of the two roles with cue phrases
            [0.3, 0.9, 0.3, 0.0],
        ]
    )
    assert choose(counts, alike) == [1, 0, None, 2, None]


def encode(texts: Sequence[str]) -> Array:
    return np.ones((len(texts), 1))


def test_roles_are_suggested_for_the_default_scheme_only() -> None:
    assert suggest_roles(["This led to change.", "Nothing to see."], BOOK, encode) == ["outcome", None]
    roles = [{"key": "actor", "name": "Actor", "definition": "Who acts."}]
    own = Codebook.model_validate({**BOOK.model_dump(), "roles": roles})
    with pytest.raises(MechtagError, match="the codebook defines its own roles"):
        suggest_roles(["This led to change."], own, encode)


def test_the_stated_agreement_is_the_published_one() -> None:
    published = json.loads((ROOT / "docs/benchmarks/evidence_roles.json").read_text(encoding="utf-8"))["results"]
    found = {(row["system"], row["metric"]): row["value"] for row in published}
    assert round(found["cue phrases and definitions", "kappa"], 2) == KAPPA
    assert found["readers", "same role"] == SENTENCES
    assert describe_suggestions() == (
        "experimental: suggested by a method that agreed with the coders at kappa 0.21 (n = 125)"
    )
