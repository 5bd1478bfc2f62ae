"""Build SVG drawings with captions for screen readers; measure and wrap text."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

FONT_FAMILY = "Arial, Helvetica, 'Liberation Sans', 'DejaVu Sans', sans-serif"


def opening(tag: str, attributes: Mapping[str, object]) -> str:
    """Return the opening tag of an SVG element, with its attributes in the given order."""
    written = "".join(f' {name}="{escape(str(value), {chr(34): "&quot;"})}"' for name, value in attributes.items())
    return f"<{tag}{written}>"


def element(tag: str, attributes: Mapping[str, object], text: str | None = None) -> str:
    """Return an SVG element that contains only ``text``; if ``text`` is ``None``, the element is empty."""
    start = opening(tag, attributes)
    return f"{start[:-1]}/>" if text is None else f"{start}{escape(text)}</{tag}>"


def coordinate(value: float) -> str:
    """Format a coordinate of a drawing with at most one decimal place."""
    return f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Caption:
    """Title and description of a drawing, for screen readers.

    Attributes
    ----------
    kind
        Kind of drawing, such as ``chart``. The HTML ids of title and description begin with this text.
    variant
        Text that makes the ids unique if several drawings have the same title and description.
    """

    kind: str
    title: str
    description: str
    variant: str = ""

    @property
    def _name(self) -> str:
        # Several drawings may be in one page, so each needs its own ids.
        digest = hashlib.sha256((self.title + self.description + self.variant).encode()).hexdigest()
        return f"{self.kind}-{digest[:8]}"

    @property
    def ids(self) -> str:
        """Return the HTML ids of the title and the description, as the value of ``aria-labelledby``."""
        return f"{self._name}-title {self._name}-desc"

    def elements(self) -> list[str]:
        """Return the title and the description as SVG elements."""
        return [
            element("title", {"id": f"{self._name}-title"}, self.title),
            element("desc", {"id": f"{self._name}-desc"}, self.description),
        ]


def drawing(attributes: Mapping[str, object], caption: Caption, parts: Iterable[str]) -> str:
    """Return a complete drawing as SVG text.

    Parameters
    ----------
    attributes
        Attributes of the ``svg`` element, including the ids of the caption as ``aria-labelledby``.
    parts
        Elements, in the order in which they are painted.
    """
    start = opening("svg", {"xmlns": "http://www.w3.org/2000/svg", **attributes})
    return "\n".join([start, *caption.elements(), *parts, "</svg>"]) + "\n"


# Widths in em that no common sans-serif font exceeds; DejaVu Sans and Verdana are the widest of them.
_WIDTHS = {
    char: em
    for chars, em in (
        ("ijl'., \u00a0", 0.37),
        ("frtI:;|!()[]/\\-", 0.46),
        ("csz", 0.56),
        ("DGHNOQU&+<=>#~^", 0.85),
        ("mwMW@", 1.0),
        ("%", 1.08),
    )
    for char in chars
}
_LOWER_EM, _UPPER_EM, _UNKNOWN_EM, _PICTURE_EM = 0.64, 0.78, 1.1, 1.5
# A word too long for its line is preferably broken after one of these characters.
_BREAK_AFTER = re.compile(r".*[-_/.,:;](?=.)", re.DOTALL)


def _em(char: str) -> float:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0.0
    if char in _WIDTHS:
        return _WIDTHS[char]
    if char.isascii():
        return _UPPER_EM if char.isupper() else _LOWER_EM
    return _PICTURE_EM if unicodedata.category(char) == "So" else _UNKNOWN_EM


def text_width(text: str, size: float) -> float:
    """Estimate the width of a line of text, in the unit of ``size``; the estimate is never too low."""
    # Decomposed, an accented letter counts as its base, and a ligature as the letters in it.
    return size * sum(map(_em, unicodedata.normalize("NFKD", text)))


def _cut(word: str, room: float, size: float) -> int:
    """Return the number of characters after which a long word is broken, so that the first piece fits on a line."""
    fits = 1
    while fits < len(word) and text_width(word[: fits + 1], size) <= room:
        fits += 1
    if (match := _BREAK_AFTER.match(word[:fits] + ".")) and match.end() > fits // 2:
        return min(match.end(), fits)
    while 1 < fits < len(word) and _em(word[fits]) == 0:
        fits -= 1
    return fits


def wrap(text: str, room: float, size: float) -> list[str]:
    """Break text at spaces into lines no wider than ``room``, and break words that are longer than a line.

    Parameters
    ----------
    text
        Words separated by single spaces. Lines are not broken at no-break spaces.
    room
        Width of a line, in the same unit as ``size``.
    size
        Size of the font.
    """
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if text_width(longer, size) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        while text_width(word, size) > room and len(word) > 1:
            cut = _cut(word, room, size)
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line]
