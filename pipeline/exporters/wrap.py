"""How wide text may become, and where to break it, without knowing the font that will show it."""

from __future__ import annotations

import re
import unicodedata

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
# A word too long for its line is rather broken after one of these.
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
    """Estimate the width of one line, rather too much than too little, in the unit of ``size``."""
    # Decomposed, an accented letter counts as its base, and a ligature as the letters in it.
    return size * sum(map(_em, unicodedata.normalize("NFKD", text)))


def _cut(word: str, room: float, size: float) -> int:
    """Find how many characters of a long word go on a line: at least one, and no mark without its base."""
    fits = 1
    while fits < len(word) and text_width(word[: fits + 1], size) <= room:
        fits += 1
    if (match := _BREAK_AFTER.match(word[:fits] + ".")) and match.end() > fits // 2:
        return min(match.end(), fits)
    while 1 < fits < len(word) and _em(word[fits]) == 0:
        fits -= 1
    return fits


def wrap(text: str, room: float, size: float) -> list[str]:
    """Break text at spaces into lines no wider than ``room``; a word wider than that is cut.

    Parameters
    ----------
    text
        Words set apart by single spaces; a no-break space does not break.
    room, size
        Width of a line and size of the font, in the same unit.
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
