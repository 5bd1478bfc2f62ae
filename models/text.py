"""Normalise text before it is scored, so that spelling and punctuation make no difference.

The table of spellings has words with one British and one American form. Words that are spelled alike in both
(``analyses``, ``exercise``), or that are two words on one side (``licence`` and ``license``, ``metre`` and ``meter``),
are left out.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).with_name("spelling.csv")
# Endings that many stems share, by the name that the table has for them.
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
    """American spelling by the British one, in small letters, one item a word."""
    words: dict[str, str] = {}
    with _TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for ending in _FAMILIES.get(row["endings"], row["endings"]).split():
                added = "" if ending == _NONE else ending
                words[row["british"] + added] = row["american"] + added
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
    # A capital inside a word makes it a name.
    return found.capitalize() if word[1:].islower() else word


def _respell(text: str, table: Mapping[str, str]) -> str:
    parts, start = [], 0
    # Runs are found first: a pattern for whole addresses would go through a long run once for each of its letters.
    addresses = (run for run in _RUN.finditer(text) if _ADDRESS.search(run.group())) if _ADDRESS.search(text) else ()
    for address in [*addresses, None]:
        end = address.start() if address else len(text)
        parts.append(_WORD.sub(lambda match: _swap(match.group(), table), text[start:end]))
        if address:
            parts.append(address.group())
            start = address.end()
    return "".join(parts)


def to_american(text: str) -> str:
    """Spell words as Americans do; nothing else changes, addresses included."""
    return _respell(text, spellings())


def to_british(text: str) -> str:
    """Spell words as the British do, with ``-ise``; nothing else changes, addresses included."""
    return _respell(text, _reversed())


_CUT = re.compile(r"[;()\[\]]")
_OPENS = "(["
_END = " .;\t\n"


def normalise(text: str) -> str:
    """Give a text in American spelling, which the encoder knows best, without the full stop at its end."""
    return to_american(text).rstrip(_END)


def beginning(text: str, n_words: int) -> str:
    """Give the first words of a text; a text that has no more than these stays as it is."""
    words = text.split(maxsplit=n_words)
    return text if len(words) <= n_words else " ".join(words[:n_words])


def clauses(sentence: str) -> tuple[str, ...]:
    """Cut a sentence at its semicolons, those in brackets apart, and normalise the parts.

    Two sentences that a semicolon joins are thus read as two, and so is each theme of a list. At least one part; a
    part is never empty, unless the sentence is.
    """
    parts, start, depth = [], 0, 0
    for match in _CUT.finditer(sentence):
        sign = match.group()
        if sign == ";" and not depth:
            parts.append(sentence[start : match.start()])
            start = match.end()
        elif sign != ";":
            depth = depth + 1 if sign in _OPENS else max(0, depth - 1)  # "1) trust; 2) power" opens none
    if depth > 0:  # A bracket that is never closed must not keep the rest together.
        parts += sentence[start:].split(";")
    else:
        parts.append(sentence[start:])
    found = tuple(filter(None, (normalise(part.strip()) for part in parts)))
    return found or (normalise(sentence),)
