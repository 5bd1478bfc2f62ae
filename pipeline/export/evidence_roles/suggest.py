"""Suggest a role of evidence for each sentence, by cue phrases or by similarity to the definitions of the roles.

Cue phrases are rules of spaCy's matcher, in ``cues.yaml``. The suggestion depends on the cue phrases in the sentence:

- One role has the most cue phrases: this role is suggested.
- Several roles share the most cue phrases: the definitions of these roles are compared with the sentence.
- The sentence contains no cue phrase: the definitions of all roles are compared with the sentence.

After a comparison, the role of the most similar definition is suggested, but only if this definition is clearly more
similar than the others. The position of a sentence is not used.

``python -m benchmarks.evidence_roles`` measures how good the suggestions are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mechtag.core.arrays import Array
from mechtag.core.codebook import EVIDENCE_ROLES, Codebook
from mechtag.core.errors import MechtagError

#: Coder name of the suggestions.
SUGGESTED = "mechtag (cue phrases)"
#: Agreement of the suggestions with two readers (Cohen's kappa), and number of sentences on which it was measured.
KAPPA, SENTENCES = 0.21, 125
#: Least kappa of a method that is not experimental.
LEAST_KAPPA = 0.4
# A definition must be more similar than the next one by this much.
_CLEARLY = 0.05


def cue_phrases() -> dict[str, list[str]]:
    """Return the cue phrases in ``cues.yaml``, keyed by role."""
    text = (Path(__file__).parent / "cues.yaml").read_text(encoding="utf-8")
    found: dict[str, list[str]] = yaml.safe_load(text)
    return found


def pattern_of(phrase: str) -> list[dict[str, Any]]:
    """Convert a cue phrase to a pattern of spaCy's matcher.

    ``a|b`` matches one of two words. ``stem*`` matches every word that begins with the stem. ``_`` matches any word.
    Upper and lower case are not distinguished.
    """
    return [{} if word == "_" else {"LOWER": {"REGEX": _expression(word)}} for word in phrase.split()]


def _expression(word: str) -> str:
    return f"^(?:{'|'.join(part.replace('*', '[a-z]*') for part in word.split('|'))})$"


@cache
def _matcher() -> tuple[Callable[[str], Any], Any]:
    import spacy
    from spacy.matcher import Matcher

    language = spacy.blank("en")
    matcher = Matcher(language.vocab)
    for role, phrases in cue_phrases().items():
        for number, phrase in enumerate(phrases):
            matcher.add(f"{role}/{number}", [pattern_of(phrase)])
    return language.make_doc, matcher


def count_cues(texts: Sequence[str]) -> Array:
    """Count the different cue phrases of each role in each text.

    Returns
    -------
    array of shape (texts, roles)
        Number of cue phrases; the roles are in the order of `EVIDENCE_ROLES`.
    """
    make_doc, matcher = _matcher()
    keys = [role.key for role in EVIDENCE_ROLES]
    counts = np.zeros((len(texts), len(keys)))
    for place, text in enumerate(texts):
        document = make_doc(text)
        rules = {document.vocab.strings[match] for match, _, _ in matcher(document)}
        for rule in rules:
            counts[place, keys.index(rule.partition("/")[0])] += 1
    return counts


def choose(counts: Array, likeness: Array) -> list[int | None]:
    """Return the index of the suggested role for each text; ``None`` for a text without a suggestion.

    Parameters
    ----------
    counts : array of shape (texts, roles)
        Number of cue phrases of each role in each text.
    likeness : array of shape (texts, roles)
        Similarity of each text to the definition of each role.
    """
    found: list[int | None] = []
    for own, alike in zip(counts, likeness, strict=True):
        if own.max() > 0 and (own == own.max()).sum() == 1:
            found.append(int(own.argmax()))
            continue
        # Without a cue, every role is possible; with as many cues of several roles, one of these.
        among = np.where(own == own.max(), alike, -np.inf)
        first, second = np.sort(among)[::-1][:2]
        found.append(int(among.argmax()) if first - second >= _CLEARLY else None)
    return found


def likeness_to(texts: Sequence[str], encode: Callable[[Sequence[str]], Array]) -> Array:
    """Return the cosine similarity of each text to the definition of each role, an array of shape (texts, roles).

    The roles are in the order of `EVIDENCE_ROLES`.

    Parameters
    ----------
    encode
        Function that returns one vector of unit length per text.
    """
    definitions = encode([role.definition for role in EVIDENCE_ROLES])
    return np.asarray(encode(texts) @ definitions.T, dtype=float)


def suggest_roles(
    texts: Sequence[str], codebook: Codebook, encode: Callable[[Sequence[str]], Array]
) -> list[str | None]:
    """Return the key of the suggested role for each text; ``None`` for a text without a suggestion.

    Raises
    ------
    MechtagError
        If the codebook defines its own roles, because mechtag has no cue phrases for these.
    """
    if codebook.roles != EVIDENCE_ROLES:
        raise MechtagError(
            "roles cannot be suggested, because the codebook defines its own roles, and mechtag has no cue phrases for "
            "these roles; assign the roles to passages yourself"
        )
    chosen = choose(count_cues(texts), likeness_to(texts, encode))
    return [None if index is None else EVIDENCE_ROLES[index].key for index in chosen]


def describe_suggestions() -> str:
    """Return a text to show next to suggested roles; it states how well the suggestions agreed with coders."""
    sentence = f"suggested by a method that agreed with the coders at kappa {KAPPA:.2f} (n = {SENTENCES})"
    return sentence if KAPPA >= LEAST_KAPPA else f"experimental: {sentence}"
