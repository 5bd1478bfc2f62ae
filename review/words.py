"""Highlight words in the titles and texts that a person reads.

The words come from the plan of the review, and from a list that each person can keep.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from markupsafe import Markup, escape
from sqlalchemy import Connection

from mechtag.core.errors import MechtagError
from mechtag.review.plan import Plan
from mechtag.review.workspace import read_facts, write_fact

#: Most words of a person's own, and longest word.
MOST, LONGEST = 50, 60
_OWN = "words of "


@dataclass(frozen=True)
class Words:
    """The words that are highlighted for a person.

    If a word ends with an asterisk, such as ``stem*``, all words that begin with ``stem`` are highlighted.

    Attributes
    ----------
    speaking_for
        Words for inclusion, from the plan of the review.
    speaking_against
        Words against inclusion, from the plan of the review.
    own
        Words that the person chose.
    on
        Whether words are highlighted. ``False`` if there are no words, or if the person has switched highlighting off.
    """

    speaking_for: tuple[str, ...] = ()
    speaking_against: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    on: bool = False

    @property
    def any(self) -> bool:
        """Return whether there are any words to highlight."""
        return bool(self.speaking_for or self.speaking_against or self.own)

    def mark(self, text: str) -> Markup:
        """Convert a text to HTML with the words highlighted.

        If several words match at one place, the longest word is highlighted.
        """
        if not (self.on and self.any):
            return escape(text)
        pattern, kinds = _pattern(self.speaking_for, self.speaking_against, self.own)
        parts, end = list[Markup](), 0
        for match in pattern.finditer(text):
            parts.append(escape(text[end : match.start()]))
            kind = kinds[(match.lastindex or 1) - 1]
            parts.append(Markup('<mark class="{}">{}</mark>').format(kind, match.group()))
            end = match.end()
        parts.append(escape(text[end:]))
        return Markup("").join(parts)


@lru_cache(maxsize=64)
def _pattern(*lists: tuple[str, ...]) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """Return a pattern for the words to highlight, and the kind of the word in each group of the pattern.

    ``lists`` are three lists of words: for inclusion, against inclusion, and the person's own words. Their kinds are
    ``for``, ``against`` and ``own``.
    """
    pairs = [(word, kind) for words, kind in zip(lists, ("for", "against", "own"), strict=True) for word in words]
    pairs.sort(key=lambda pair: -len(pair[0].rstrip("*")))
    part = _part_of_word()
    forms = (re.escape(word.rstrip("*")) + (f"{part}*" if word.endswith("*") else "") for word, _ in pairs)
    pattern = re.compile(rf"(?<!{part})(?:{'|'.join(f'({form})' for form in forms)})(?!{part})", re.IGNORECASE)
    return pattern, tuple(kind for _, kind in pairs)


@cache
def _part_of_word() -> str:
    """Return a pattern for one character of a word: a letter, a digit, or a combining accent or vowel sign."""
    marks = {number for number in range(sys.maxunicode + 1) if unicodedata.category(chr(number))[0] == "M"}
    # Ranges, because a pattern of single characters takes long to compile.
    first = sorted(number for number in marks if number - 1 not in marks)
    last = sorted(number for number in marks if number + 1 not in marks)
    return "[\\w" + "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(first, last, strict=True)) + "]"


def read_words(connection: Connection, plan: Plan, account: int) -> Words:
    """Return the words that are highlighted in the texts that a person reads."""
    own, off = read_facts(connection, _own(account), _off(account))
    words = Words(plan.words_for, plan.words_against, tuple(own or ()))
    return replace(words, on=words.any and not off)


def switch_words(connection: Connection, account: int, *, on: bool) -> None:
    """Switch highlighting on or off for the texts that a person reads."""
    write_fact(connection, _off(account), not on)


def save_own_words(connection: Connection, account: int, lines: Iterable[str]) -> None:
    """Store a person's own list of words to highlight, and switch highlighting on for the person.

    Nobody else sees the list.

    Raises
    ------
    MechtagError
        If a word cannot be highlighted or is too long, or if there are too many words.
    """
    words: dict[str, str] = {}
    for line in lines:
        word = " ".join(line.split())
        if not word:
            continue
        stem = word.removesuffix("*")
        if (
            len(stem) < 2
            or "*" in stem
            or not stem.isprintable()
            or not (stem[0].isalnum() and re.fullmatch(_part_of_word(), stem[-1]))
        ):
            raise MechtagError(
                f"'{word[:LONGEST]}' cannot be highlighted; enter a word or phrase of at least two characters. "
                "It must begin and end with a letter or digit. You may add * at its end"
            )
        if len(word) > LONGEST:
            raise MechtagError(f"'{word[:LONGEST]}...' is too long; enter a word of {LONGEST} characters or fewer")
        words.setdefault(word.casefold(), word)
    if len(words) > MOST:
        raise MechtagError(f"only {MOST} words can be highlighted, but you entered {len(words)}; remove some words")
    write_fact(connection, _own(account), list(words.values()))
    switch_words(connection, account, on=True)


def is_own(key: str) -> bool:
    """Return whether table ``fact`` stores a person's own list of words to highlight under this key."""
    return key.startswith(_OWN)


def _own(account: int) -> str:
    return f"{_OWN}{account}"


def _off(account: int) -> str:
    return f"no words for {account}"
