"""Records with sentences, keywords and notices added, taken out, joined and split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from pipeline.headings import OPENERS, Heading, find_headings
from pipeline.records import Record, Sentence
from pipeline.variations.boilerplate import KEYWORDS, METHODS, NOTICES, is_methods

_ADDED_METHODS, _ADDED_NOTICES = 3, 2
_TITLE_KEYWORDS, _OTHER_KEYWORDS = 3, 3
_KEYWORD_LISTS = (("Keywords: ", "; ", ""), ("KEYWORDS: ", ", ", "."), ("Key words: ", ", ", ""))
_TITLE_WORD = re.compile(r"(?<![\w-])[A-Za-z][A-Za-z-]{4,}(?![\w-])")
_COMMON = frozenset(
    "about after among between during their these those through towards under using where which".split()
)
# A sentence is split where it has this many words, and each part keeps so many.
_LONG, _SHORTEST = 20, 5
# What follows "and" must begin a clause, or the second part would be no sentence.
_BREAK = re.compile(
    r"; |, and (?=(?:the|they|we|it|this|these|those|their|its|a|an|some|most|many|both|each|all|no|few|others)\b)"
)


def with_abstract(record: Record, abstract: str) -> Record:
    """Give the record with another abstract; itself where the text is the same."""
    return record if abstract == record.abstract else record.model_copy(update={"abstract": abstract})


def cut(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Take spans out of a text, each with the space after it, or before it at the end."""
    parts, start = [], 0
    for begin, end in spans:
        parts.append(text[start:begin])
        start = end + len(text[end:]) - len(text[end:].lstrip())
    kept = "".join(parts)
    return kept + text[start:] if start < len(text) else kept.rstrip()


def methods_added(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Put three sentences on methods between two sentences."""
    places = [sentence.end for sentence in sentences[:-1] if sentence.text.endswith((".", "!", "?"))]
    if not places:
        return record
    place = places[generator.integers(len(places))]
    chosen = generator.choice(len(METHODS), _ADDED_METHODS, replace=False)
    added = "".join(f" {METHODS[number]}" for number in chosen)
    return with_abstract(record, record.abstract[:place] + added + record.abstract[place:])


def methods_removed(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Take out the sentences on methods, with a heading that none is left under; never all sentences."""
    gone = [sentence for sentence in sentences if is_methods(sentence.text, sentence.section)]
    if not gone or len(gone) == len(sentences):
        return record
    spans = {(sentence.start, sentence.end) for sentence in gone}
    headings = [*find_headings(record.abstract), Heading(len(record.abstract), len(record.abstract), "")]
    for heading, end in ((one, following.start) for one, following in pairwise(headings)):
        own = {(one.start, one.end) for one in sentences if heading.end <= one.start < end}
        if own and own <= spans:
            spans.add((heading.start, heading.end))
    return with_abstract(record, cut(record.abstract, sorted(spans)))


def keywords_added(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Append a list of keywords: words of the title, which say nothing new, and such as any paper may have."""
    if not record.abstract:
        return record
    words = [word for word in dict.fromkeys(_TITLE_WORD.findall(record.title)) if word.lower() not in _COMMON]
    own = generator.permutation(len(words))[:_TITLE_KEYWORDS]
    others = generator.choice(len(KEYWORDS), _OTHER_KEYWORDS, replace=False)
    keywords = [*(words[number].lower() for number in own), *(KEYWORDS[number] for number in others)]
    opening, between, closing = _KEYWORD_LISTS[generator.integers(len(_KEYWORD_LISTS))]
    return with_abstract(record, f"{record.abstract} {opening}{between.join(keywords)}{closing}")


def notices_added(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Append two notices of publishers or funders."""
    if not record.abstract:
        return record
    chosen = generator.choice(len(NOTICES), _ADDED_NOTICES, replace=False)
    return with_abstract(record, " ".join([record.abstract, *(NOTICES[number] for number in chosen)]))


def sentences_joined(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Join two neighbouring sentences by a semicolon."""
    text = record.abstract
    pairs = [
        (first, second)
        for first, second in pairwise(sentences)
        if first.text.endswith(".") and not first.text.endswith("..") and text[first.end : second.start] == " "
    ]
    if not pairs:
        return record
    first, second = pairs[generator.integers(len(pairs))]
    word = re.match(r"[A-Za-z]*", second.text)
    # Of other words it is not known whether they are names.
    small = word is not None and word.group() in OPENERS
    joined = second.text[0].lower() + second.text[1:] if small else second.text
    return with_abstract(record, f"{text[: first.end - 1]}; {joined}{text[second.end :]}")


def sentences_split(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Split a long sentence at a semicolon, or before a clause that ``and`` joins to it."""
    text = record.abstract
    places = [
        (sentence.start + match.start(), sentence.start + match.end())
        for sentence in sentences
        if len(sentence.text.split()) >= _LONG
        for match in _BREAK.finditer(sentence.text)
        if _parts(sentence.text[: match.start()], sentence.text[match.end() :])
    ]
    if not places:
        return record
    start, end = places[generator.integers(len(places))]
    return with_abstract(record, f"{text[:start]}. {text[end].upper()}{text[end + 1 :]}")


def _parts(left: str, right: str) -> bool:
    """Whether both parts of a sentence are long enough, and no bracket is torn apart."""
    whole = left.count("(") == left.count(")") and left.count("[") == left.count("]")
    return whole and min(len(left.split()), len(right.split())) >= _SHORTEST
