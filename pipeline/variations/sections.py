"""Records with headings added, written in another way, and taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.headings import find_headings
from pipeline.records import Record, Sentence
from pipeline.variations.boilerplate import is_methods
from pipeline.variations.passages import with_abstract

#: How a heading is written, with what stands between it and the text.
CAPITALS, FULL_STOP, GLUED = "{upper}: ", "{capital}. ", "{capital}"
# Of fewer sentences no journal makes four sections.
_FEWEST = 4


def _written(style: str, name: str) -> str:
    return style.format(upper=name.upper(), capital=name[:1].upper() + name[1:].lower())


def _places(sentences: Sequence[Sentence]) -> Mapping[int, str]:
    """Give the number of the sentence that each of four headings stands before."""
    last = len(sentences) - 1
    methods = [number for number in range(1, last - 1) if is_methods(sentences[number].text)]
    begin = methods[0] if methods else max(1, last // 3)
    end = begin + 1
    while end in methods:
        end += 1
    return {0: "background", begin: "methods", min(end, last - 1): "results", last: "conclusions"}


def headed(style: str, record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Write the headings in another style; where there are none, put in four."""
    text, found = record.abstract, find_headings(record.abstract)
    parts, start = [], 0
    if found:
        for heading in found:
            name = text[heading.start : heading.end].strip(" \n\t()[].:：–—-0123456789")
            parts += [text[start : heading.start], _written(style, name)]
            start = heading.end + len(text[heading.end :]) - len(text[heading.end :].lstrip())
    elif len(sentences) >= _FEWEST:
        for number, name in _places(sentences).items():
            parts += [text[start : sentences[number].start], _written(style, name)]
            start = sentences[number].start
    return with_abstract(record, "".join([*parts, text[start:]]))


def headings_removed(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Take out the headings."""
    text = record.abstract
    parts, start = [], 0
    for heading in find_headings(text):
        before = text[start : heading.start]
        parts.append(before)
        if before and not before[-1].isspace():
            parts.append(" ")
        start = heading.end + len(text[heading.end :]) - len(text[heading.end :].lstrip())
    return with_abstract(record, "".join([*parts, text[start:]]))
