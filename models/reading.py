"""How texts are put before they are scored, so that spelling and punctuation make no difference."""

from __future__ import annotations

import re

from models.spelling import to_american

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
