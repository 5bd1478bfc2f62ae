"""Normalise text before scoring, so that differences in spelling and punctuation do not change scores.

The spelling table lists words with exactly one British and one American form. The table omits two kinds of words:

- words that have the same spelling in both varieties (``analyses``, ``exercise``);
- words that have two spellings with different meanings in one variety (``licence`` and ``license``).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).with_name("spelling.csv")
# Sets of endings that many stems share, by the name of the set in the table.
_FAMILIES = {
    "ise": "e es ed ing er ers ation ations ational ationally able",
    "our": "- s ed ing er ers ful less able ably",
    "ll": "ed ing er ers",
}
_NONE = "-"
_PREFIXES = tuple(
    "anti bio co de dis dys hyper hypo inter intra mis multi neo non over pre re sub trans un under".split()
)
_WORD = re.compile(r"(?<![^\W_])[A-Za-z]+(?![^\W_])")
_RUN = re.compile(r"\S+")
_ADDRESS = re.compile(r"://|www\.|@")


@cache
def spellings() -> Mapping[str, str]:
    """Return the American spelling of each British spelling, in lower case; each form of a word is a separate key."""
    words: dict[str, str] = {}
    for row in csv.DictReader(_TABLE.read_text(encoding="utf-8").splitlines()):
        british, american, endings = (row[name] for name in ("british", "american", "endings"))
        for ending in _FAMILIES.get(endings, endings).split():
            added = "" if ending == _NONE else ending
            words[british + added] = american + added
    return words


@cache
def _reversed() -> Mapping[str, str]:
    return {american: british for british, american in spellings().items()}


def _swap(word: str, table: Mapping[str, str]) -> str:
    lower = word.lower()
    found = table.get(lower)
    if found is None:
        found = next(
            (
                prefix + table[lower.removeprefix(prefix)]
                for prefix in _PREFIXES
                if lower.startswith(prefix) and lower.removeprefix(prefix) in table
            ),
            None,
        )
    if found is None:
        return word
    if word.islower():
        return found
    if word.isupper():
        return found.upper()
    # A word with a capital inside is a name.
    return found.capitalize() if word[1:].islower() else word


def _respell(text: str, table: Mapping[str, str]) -> str:
    parts, start = [], 0
    # Find runs without spaces first: a pattern for whole addresses would rescan a long run at each of its letters.
    addresses = (run for run in _RUN.finditer(text) if _ADDRESS.search(run.group())) if _ADDRESS.search(text) else ()
    for address in [*addresses, None]:
        end = address.start() if address else len(text)
        parts.append(_WORD.sub(lambda match: _swap(match.group(), table), text[start:end]))
        if address:
            parts.append(address.group())
            start = address.end()
    return "".join(parts)


def to_american(text: str) -> str:
    """Return a text with British spellings replaced by American spellings."""
    return _respell(text, spellings())


def to_british(text: str) -> str:
    """Return a text with American spellings replaced by British spellings (``-ise``)."""
    return _respell(text, _reversed())


_CUT = re.compile(r"[;()\[\]]")
_OPENS = "(["
_END = " .;\t\n"


def normalise(text: str) -> str:
    """Convert a text to American spelling, and remove full stops, semicolons and spaces at its end."""
    return to_american(text).rstrip(_END)


def beginning(text: str, n_words: int) -> str:
    """Return the first ``n_words`` words of a text; a shorter text is returned unchanged."""
    words = text.split(maxsplit=n_words)
    return text if len(words) <= n_words else " ".join(words[:n_words])


def clauses(sentence: str) -> tuple[str, ...]:
    """Split a sentence at semicolons outside brackets, and normalise the parts.

    The result has at least one part. A part is empty only if the whole sentence is empty when normalised.
    """
    parts, start, depth = [], 0, 0
    for match in _CUT.finditer(sentence):
        sign = match.group()
        if sign == ";" and not depth:
            parts.append(sentence[start : match.start()])
            start = match.end()
        elif sign != ";":
            depth = depth + 1 if sign in _OPENS else max(0, depth - 1)  # "1) trust; 2) power" has no opening bracket
    if depth > 0:  # An unclosed bracket must not prevent splitting.
        parts += sentence[start:].split(";")
    else:
        parts.append(sentence[start:])
    found = tuple(filter(None, (normalise(part.strip()) for part in parts)))
    return found or (normalise(sentence),)
