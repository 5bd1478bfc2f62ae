"""Test that every regular expression takes time in proportion to the length of the text."""

import ast
import importlib
import re
import time
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.patterns import attacks

_PACKAGES = ("core", "models", "pipeline", "training", "evaluation")
_SIZES = (500, 2_000, 8_000)
# Time in seconds for a text; only patterns whose time grows faster than the text exceed it.
_FAST = 0.02
# Each size is four times the one before, so linear time grows fourfold, and quadratic time sixteenfold.
_GROWTH = 8


def patterns() -> dict[str, tuple["re.Pattern[Any]", bool]]:
    """Return each pattern of the project by its place, and whether it is only matched at the start of a text."""
    found: dict[str, tuple[re.Pattern[Any], bool]] = {}
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            dotted = dotted.removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            if "import re\n" not in text:
                continue
            module = importlib.import_module(f"mechtag.{dotted}")
            for name, value in vars(module).items():
                at_start = not re.search(rf"\b{name}\b(?!\.(?:full)?match\b| =|: | if | else |\)\.match)", text)
                for number, each in enumerate(_within(value)):
                    found[f"{dotted}.{name}[{number}]"] = each, at_start
            found |= {f"{dotted}:{line}": each for line, each in _inline(text)}
    unique = {(each.pattern, each.flags, at_start): name for name, (each, at_start) in found.items()}
    return {name: found[name] for name in unique.values()}


def _within(value: Any) -> list["re.Pattern[Any]"]:
    if isinstance(value, re.Pattern):
        return [value]
    if isinstance(value, dict):
        return [each for item in value.values() for each in _within(item)]
    if isinstance(value, tuple | list):
        return [each for item in value for each in _within(item)]
    return []


def _inline(text: str) -> list[tuple[int, tuple["re.Pattern[Any]", bool]]]:
    """Return the line and pattern of each string that is passed to a function of `re`, except ``re.compile``."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            called, first = node.func, node.args[0]
            if isinstance(called.value, ast.Name) and called.value.id == "re" and isinstance(first, ast.Constant):
                if isinstance(first.value, str) and called.attr not in ("compile", "escape"):
                    found.append((node.lineno, (re.compile(first.value), called.attr in ("match", "fullmatch"))))
    return found


def slow(pattern: "re.Pattern[Any]", at_start: bool, start: str, repeated: str) -> str:
    """Return a message with the time for two lengths of a text if the time grows too fast, otherwise an empty text."""
    before = 0.0
    for size in _SIZES:
        text: Any = start + repeated * (size // len(repeated)) + "\x01"
        if isinstance(pattern.pattern, bytes):
            text = text.encode("utf-8", errors="replace")
        took = _time(pattern, at_start, text)
        if took > max(_FAST, _GROWTH * before):
            took = min(took, *(_time(pattern, at_start, text) for _ in range(2)))
        if took > max(_FAST, _GROWTH * before):
            return f"{start!r} + {repeated!r} * n: {before:.4f} s, then {took:.4f} s"
        before = took
    return ""


def _time(pattern: "re.Pattern[Any]", at_start: bool, text: Any) -> float:
    began = time.process_time()
    if at_start:
        pattern.match(text)
        pattern.fullmatch(text)
    else:
        pattern.sub(text[:0], text)
    return time.process_time() - began


_ALL = patterns()


@pytest.mark.parametrize("name", _ALL)
def test_time_grows_with_the_text(name: str) -> None:
    pattern, at_start = _ALL[name]
    for start, repeated in attacks(pattern):
        assert not slow(pattern, at_start, start, repeated)
