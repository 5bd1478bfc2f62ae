"""Verify that the quotes of a language model are in the text of the paper, and drop all other quotes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mechtag.pipeline.llm.prompt import Passage, Quoted

#: Minimum number of characters of a quote that is not a whole sentence.
SHORTEST = 20
_QUOTES = dict.fromkeys("'‘’‚‛“”„‟«»‹›`´′″", '"')
_DASHES = dict.fromkeys("‐‑‒–—―−", "-")
_SAME = str.maketrans(_QUOTES | _DASHES)
_INVISIBLE = "\u00ad\u200b\u2060\ufeff"


class _Folded(NamedTuple):
    """A text normalised for comparison, and the position of each character in the original text."""

    text: str
    places: tuple[int, ...]


def _fold(text: str) -> _Folded:
    """Normalise a text for comparison: its Unicode form, case, quotation marks, dashes and spaces."""
    letters: list[str] = []
    places: list[int] = []
    start = 0
    while start < len(text):
        end = start + 1
        # A letter and its accents are one unit for normalisation.
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        for char in unicodedata.normalize("NFKC", text[start:end].translate(_SAME)).translate(_SAME).casefold():
            if char.isspace():
                char = " "
                if not letters or letters[-1] == " ":
                    continue
            elif char in _INVISIBLE:
                continue
            letters.append(char)
            places.append(start)
        start = end
    if letters and letters[-1] == " ":
        letters.pop()
        places.pop()
    return _Folded("".join(letters), tuple(places))


class Found(NamedTuple):
    """A quote in a language model's answer that was found in the text of the paper.

    Attributes
    ----------
    passage
        Sentence that contains the quote.
    start, end
        Offsets of the quote into the title, abstract or full text.
    text
        The quote as it is written in the paper, even if the language model wrote it slightly differently.
    """

    passage: Passage
    start: int
    end: int
    text: str


@dataclass
class Quotes:
    """The verified quotes of one answer.

    Attributes
    ----------
    found
        Verified quotes, each with the sentence that contains it.
    moved
        Number of quotes in ``found`` that were found in a sentence other than the one that the answer names.
    invented
        Number of quotes that are in no sentence, or are too short to be verified.
    """

    found: list[Found] = field(default_factory=list)
    moved: int = 0
    invented: int = 0


def verify(quotes: Iterable[Quoted], passages: Sequence[Passage]) -> Quotes:
    """Look up quotes in the sentences that the language model was shown.

    Each quote is first looked up in the sentence that the language model names as its source, then in all other
    sentences. A quote is accepted if it is a whole sentence, or if it has at least `SHORTEST` characters and is part of
    a sentence. Differences in case, spaces, ligatures, and kinds of quotation marks and dashes are ignored.
    """
    folded = [(passage, _fold(passage.text)) for passage in passages]
    result = Quotes()
    for quote in quotes:
        wanted = _fold(quote.quote).text
        own = [pair for pair in folded if pair[0].number == quote.sentence]
        others = [pair for pair in folded if pair[0].number != quote.sentence]
        if found := _search(wanted, own):
            result.found.append(found)
        elif found := _search(wanted, others):
            result.found.append(found)
            result.moved += 1
        else:
            result.invented += 1
    return result


def _search(wanted: str, folded: Sequence[tuple[Passage, _Folded]]) -> Found | None:
    """Find a quote in the passages, with or without its quotation marks; return ``None`` if no passage contains it."""
    bare = wanted.strip('" ')
    for text in dict.fromkeys((wanted.strip(), bare)):
        for passage, own in folded:
            # A short quote is found only if it is a whole passage.
            is_whole = bool(bare) and bare == own.text.strip('" ')
            place = own.text.find(text) if is_whole or len(text) >= SHORTEST else -1
            if place >= 0:
                first, last = own.places[place], own.places[place + len(text) - 1]
                end = last + 1
                while end < len(passage.text) and unicodedata.combining(passage.text[end]):
                    end += 1
                return Found(passage, passage.start + first, passage.start + end, passage.text[first:end])
    return None
