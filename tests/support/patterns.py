"""Texts that may slow down a regular expression, made from its syntax tree."""

import re
from collections.abc import Iterator
from itertools import product
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_REPEATS = (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT)
_CATEGORIES = {
    code.CATEGORY_DIGIT: "7",
    code.CATEGORY_SPACE: " ",
    code.CATEGORY_WORD: "a",
    code.CATEGORY_NOT_DIGIT: "a",
    code.CATEGORY_NOT_SPACE: "a",
    code.CATEGORY_NOT_WORD: " ",
}
_USUAL = " \na7A-.({<\"'"


def _members(items: Any) -> str:
    """Return up to three characters that a character set matches."""
    if items[0][0] is code.NEGATE:
        shut = re.compile("".join(("[", *map(_written, items[1:]), "]")))
        return "".join(char for char in _USUAL if not shut.match(char))[:3]
    found = ""
    for kind, value in items:
        if kind is code.LITERAL:
            found += chr(value)
        elif kind is code.RANGE:
            found += chr(value[0])
        elif kind is code.CATEGORY:
            found += _CATEGORIES[value]
    return found[:3]


def _written(item: Any) -> str:
    kind, value = item
    if kind is code.CATEGORY:
        return {"d": r"\d", "s": r"\s", "w": r"\w"}.get(
            str(value).lower().split("_")[-1][0], r"\w" if "WORD" in str(value) else r"\s"
        )
    return re.escape(chr(value)) if kind is code.LITERAL else f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"


def _parts(tree: Any) -> Iterator[tuple[str, str]]:
    """Yield two texts for each repeated part of a pattern: one that leads to the part, and one that it matches."""
    before = ""
    for kind, value in tree:
        if kind in _REPEATS:
            _, most, body = value
            for lead, inner in _parts(body):
                yield before + lead, inner
            if most > 8:
                for one in _texts(body):
                    yield before, one
        elif kind is code.BRANCH:
            for branch in value[1]:
                for lead, inner in _parts(branch):
                    yield before + lead, inner
        elif kind is code.SUBPATTERN:
            for lead, inner in _parts(value[3]):
                yield before + lead, inner
        elif kind is code.ATOMIC_GROUP:
            for lead, inner in _parts(value):
                yield before + lead, inner
        elif kind in (code.ASSERT, code.ASSERT_NOT):
            for lead, inner in _parts(value[1]):
                yield before + lead, inner
        before += next(iter(_texts([(kind, value)])), "")


def _texts(tree: Any) -> list[str]:
    """Return up to three texts that a part of a pattern matches."""
    found = [""]
    for kind, value in tree:
        if kind is code.LITERAL:
            more = [chr(value)]
        elif kind is code.NOT_LITERAL:
            more = ["a" if value != ord("a") else "b"]
        elif kind is code.ANY:
            more = ["a", " "]
        elif kind is code.IN:
            more = list(_members(value)) or [""]
        elif kind in _REPEATS:
            more = [one * max(value[0], 1) for one in _texts(value[2])]
        elif kind is code.BRANCH:
            more = [one for branch in value[1][:3] for one in _texts(branch)[:1]]
        elif kind is code.SUBPATTERN:
            more = _texts(value[3])
        elif kind is code.ATOMIC_GROUP:
            more = _texts(value)
        else:
            more = [""]
        found = [left + right for left, right in product(found, more)][:3]
    return found


def attacks(pattern: "re.Pattern[Any]") -> list[tuple[str, str]]:
    """Return pairs of texts that may slow down a pattern: a start, and a text to repeat after it."""
    parts = list(_parts(parser.parse(pattern.pattern, pattern.flags)))
    wholes = _texts(parser.parse(pattern.pattern, pattern.flags))
    repeated = dict.fromkeys(text for _, text in parts if text)
    found = [("", text) for text in repeated] + [(lead, text) for lead, text in parts if text]
    found += [("", lead + text) for lead, text in parts if lead + text] + [("", text) for text in wholes if text]
    found += [("", text + other) for text in list(repeated)[:4] for other in list(repeated)[:4] if text != other]
    found += [("", char) for char in " \na7A"]
    return list(dict.fromkeys(found))
