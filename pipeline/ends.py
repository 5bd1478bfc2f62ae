"""What is at the ends of abstracts but is not part of their text: lists of keywords, and notices of rights."""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

from pipeline.notices import notice_end, notices_start, says_none
from pipeline.sections import KEYWORDS, NOTICE

#: Longer texts are not abstracts, and are left as they are.
LONGEST = 100_000
# A list begins this near to the end. It has so many items at most, each of so many characters and words.
_REACH, _MOST, _LONGEST_ITEM, _MOST_WORDS = 1500, 40, 100, 8
_FEW_WORDS = 4

_LABEL = re.compile(
    r"""
    (?:authors?['’]?s?\s)?
    (?: key[\s-]?words?(?:\sand\sphrases)? | index(?:ing)?\sterms | subject\s(?:terms|headings)
      | mesh(?:\s(?:terms?|headings?|key\s?words?))? )
    (?: (?P<colon> \s?[:：] ) | (?P<dash> \s?[–—]+ | \s-+(?=\s) ) | (?P<line> \s?\n ) | (?P<stop> \.(?=\s) )
      | (?P<bare> \s ) )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HINTS = ("key", "index", "mesh", "subject")
# Words that say something of what is listed: then it is a sentence. Their capitals may be names (IT, WAS).
_SAYS = re.compile(
    r"(?<!\S)(?:we|was|were|is|are|has|have|had|be|been|our|this|that|these|those|they|which|should|can|could|must|will|"
    r"may|included?|used|searched|identified|using)(?!\S)"
)
_STOP = re.compile(r"[^\W\d_]{2}[.!?]\s|[:!?](?:\s|$)")
_ENDS = frozenset('.!?…)]"”’»%')
# "We used the Keywords: ..."; the full stop before a label is missing in some exports, and then another word is there.
_LEADING_ON = re.compile(
    r"\b(?:a|all|and|as|by|following|for|her|his|in|main|of|on|or|our|search|six|some|such|the|their|these|three|to|two|"
    r"used|using|with|\w+(?:ed|ing))$",
    re.IGNORECASE,
)


class Tail(NamedTuple):
    """``text[start:end]`` is not part of an abstract but of the kind `KEYWORDS` or `NOTICE`."""

    start: int
    end: int
    kind: str
    keywords: tuple[str, ...] = ()


class Content(NamedTuple):
    """``text[start:end]`` is the abstract itself; ``tails`` is what was found after it, in order."""

    start: int
    end: int
    tails: tuple[Tail, ...]

    @property
    def keywords(self) -> tuple[str, ...]:
        """Keywords of all lists, in their order."""
        return tuple(keyword for tail in self.tails for keyword in tail.keywords)


def _items(text: str) -> list[str]:
    """Cut a list at its separators: the first that occurs in it, and line ends."""
    for separator in (";；", "•·▪●|", ",，、"):
        if any(char in text for char in separator):
            return re.split(f"[{separator}\n]", text)
    return re.split(r"\n|\s[–—-]\s", text)


def keywords_of(text: str) -> tuple[str, ...] | None:
    """Give the keywords of a list; ``None`` if the text is anything but a list of short items."""
    text = text.strip().rstrip(".;,")
    if len(text) > _REACH or _STOP.search(text) or _SAYS.search(text):
        return None
    items = [" ".join(item.split()).strip(" .*•·▪●-–—") for item in _items(text)]
    items = [item for item in items if item]
    most = _MOST_WORDS if len(items) > 1 else _FEW_WORDS
    fits = len(items) <= _MOST and all(
        len(item) <= _LONGEST_ITEM and len(item.split()) <= most and any(map(str.isalpha, item)) for item in items
    )
    return tuple(items) if fits else None


def _placed(text: str, label: re.Match[str], whole: bool) -> bool:
    """Whether a label begins where a list can: after a sentence or on a line of its own."""
    before = text[: label.start()].rstrip(" \t")
    if not before:
        return whole
    if before[-1] in _ENDS or before[-1] == "\n":
        return True
    # Without a full stop before it, only a capital and a colon tell a label from a word of the sentence.
    return (
        bool(label["colon"]) and label[0][0].isupper() and before[-1].isalpha() and not _LEADING_ON.search(before[-40:])
    )


def _list_start(text: str, start: int, end: int) -> Tail | None:
    """Find the list of keywords that ``text[start:end]`` ends with."""
    first = max(start, end - _REACH)
    window = text[first:end]
    small = window.lower()
    if not any(hint in small for hint in _HINTS):
        return None
    # A list that holds another label is none.
    label = next(iter(deque(_LABEL.finditer(window), maxlen=1)), None)
    if label is None or not _placed(window, label, whole=first == start):
        return None
    listed = window[label.end() :]
    keywords = keywords_of(listed)
    if keywords is None:
        return None
    if label["stop"] or label["bare"]:
        # Here the words could be the beginning of a sentence: "Keywords nurses like".
        marked = ";" in listed or len(keywords) > 2
        begins = listed.lstrip()[:1].isupper() or label[0].strip(" .").isupper() or ";" in listed
        if not (marked and begins):
            return None
    elif not keywords and not label["colon"]:
        return None
    return Tail(first + label.start(), end, KEYWORDS, keywords)


def find_content(text: str) -> Content:
    """Tell an abstract from the lists of keywords and the notices around it.

    Whatever could be part of the abstract belongs to it: a list that is followed by a sentence, a notice
    with words in it that notices do not have. Of ``text[start:end]`` the answer is all of it.
    """
    start, end = 0, len(text)
    tails: list[Tail] = []
    if end > LONGEST:
        return Content(start, end, ())
    while True:
        before = (start, end)
        while end > start and text[end - 1].isspace():
            end -= 1
        while start < end and text[start].isspace():
            start += 1
        if (place := notices_start(text, start, end)) < end or says_none(text[start:end]):
            place = place if place < end else start
            tails.append(Tail(place, end, NOTICE))
            end = place
        elif found := _list_start(text, start, end):
            tails.append(found)
            end = found.start
        start = notice_end(text, start, end)
        if (start, end) == before:
            return Content(start, end, tuple(reversed(tails)))
