"""Clean the printed lines of a document.

The functions of this module

- remove running heads and line numbers;
- join the parts of a printed row;
- restore the ligature 'Th' if it was read as a wrong character;
- join words that a line end divides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Line(NamedTuple):
    """A printed line, or a part of a printed line; lengths are in points.

    Attributes
    ----------
    page
        Number of the page, from 1.
    left
        Left edge of the first character.
    right
        Right edge of the last character.
    bottom
        Distance of the line from the bottom of the page.
    height
        Height of the font.
    fonts
        Names of the fonts of a few letters, sampled from the start to the end of the line.
    """

    text: str
    page: int
    left: float
    right: float
    bottom: float
    height: float
    fonts: tuple[str, ...] = ("",)

    @property
    def font(self) -> str:
        """Return the most frequent font of the line."""
        return max(self.fonts, key=self.fonts.count)


# pdfium writes one of these characters for the hyphen of a word that a line end divides, and joins its parts.
_DIVIDED = re.compile(r"(?<![^\W_])(?<![^\W_]-)([^\W_]++(?:-[^\W_]++)*+)\s*+[\x02\ufffe\u00ad]\s*+([^\W_]++)")
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
# Beginnings of compounds that keep their hyphen.
_PREFIXES = frozenset(
    "all co cross ex face half high inter long low mid multi near non off on one out part pre post pro quasi re self "
    "semi short single so socio sub top two three user well whole wide".split()
)
# Some fonts name the ligature of T and h wrongly, so that 'The' is read as '*e', '+e' or '3e'.
_LIGATURE = re.compile(r"(?<![^\s(“])([^\w\s(\[“\"'‘’.,-]|\d)(?=(?:e|is|ese|ey|us|ere|erefore|rough|ree|ose)\b)")
_FEWEST_LIGATURES = 5
# A number and its unit, between which the file has a space so narrow that pdfium drops it.
_UNIT = re.compile(
    r"(?<![\w.])(\d+(?:[.,]\d+)?)(?=(?:days?|weeks?|months?|years?|hours?|hrs?|mins?|minutes?|seconds?|sec|mg|kg|ml|mL|"
    r"[μµ][lLgm]|mm|cm|nm|km|rpm|participants|patients)\b)"
)
_DIGITS = re.compile(r"\d+")
# Number of lines at each edge of a page that may be running heads.
_EDGE = 4
# Number of a line in front of its text, or on its own.
_LINE_NUMBER = re.compile(r"(\d{1,5})(?:\s+|$)")
# Fewest numbered lines of a page, and proportion of its lines that are numbered if each of them has a number.
_FEWEST_NUMBERED, _NUMBERED_SHARE = 8, 0.7
_DROP_CAP = re.compile(r"[“\"‘']?[^\W\d_]")
_PAGE_NUMBERS = ("#", "# of #", "page #", "page # of #")


def without_running_heads(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Return the lines of each page without running heads and page numbers.

    Lines that recur at the same position on most pages, such as watermarks, are removed, too.
    """
    fewest = max(2, min(3, len(pages) // 2))
    heads, marks = Counter[str](), Counter[tuple[str, int]]()
    for lines in pages:
        heads.update({_pattern(line) for line in _edges(lines)})
        marks.update({(_pattern(line), round(line.bottom)) for line in lines})
    repeated = {pattern for pattern, count in heads.items() if count >= fewest}
    everywhere = {mark for mark, count in marks.items() if count > max(2, len(pages) / 2)}
    kept = list[list[Line]]()
    for lines in pages:
        edges = {id(line) for line in _edges(lines) if _pattern(line) in repeated or _pattern(line) in _PAGE_NUMBERS}
        body = (line for line in lines if id(line) not in edges)
        kept.append([line for line in body if (_pattern(line), round(line.bottom)) not in everywhere])
    return kept


def without_line_numbers(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Return the lines of each page without line numbers, which many manuscripts print in front of each line.

    The numbers go up by one from line to line. They are removed only if most pages have them, so that numbered tables
    keep their numbers.
    """
    numbered = [_numbered(lines) for lines in pages]
    long = [found for found, lines in zip(numbered, pages, strict=True) if len(lines) >= _FEWEST_NUMBERED]
    if 2 * sum(len(found) >= _FEWEST_NUMBERED for found in long) <= len(long):
        return [list(lines) for lines in pages]
    kept = list[list[Line]]()
    for found, lines in zip(numbered, pages, strict=True):
        rest = (_without_number(line) if place in found else line for place, line in enumerate(lines))
        kept.append([line for line in rest if line.text])
    return kept


def _numbered(lines: Sequence[Line]) -> set[int]:
    """Return the indices of the lines that begin with a line number; the set is empty if too few lines do."""
    numbers = {place: int(found[1]) for place, line in enumerate(lines) if (found := _LINE_NUMBER.match(line.text))}
    steps = Counter(number - place for place, number in numbers.items())
    # A running head, or a line in two parts, moves the numbers of all lines below it.
    runs = [offset for offset, count in steps.items() if count > 2]
    places = {place for place, number in numbers.items() if number - place in runs}
    return places if len(places) > _NUMBERED_SHARE * len(lines) else set()


def _without_number(line: Line) -> Line:
    text = _LINE_NUMBER.sub("", line.text, count=1)
    # The first of the fonts is that of the number.
    return line._replace(text=text, fonts=line.fonts[1:] or line.fonts)


def text_height(lines: Iterable[Line]) -> float:
    """Return the most common height of the text, in points; ``lines`` must not be empty."""
    heights = Counter[float]()
    for line in lines:
        heights[round(line.height, 1)] += len(line.text)
    return heights.most_common(1)[0][0]


def with_drop_caps(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Join each drop cap to the line that it begins, and return the lines of each page.

    A drop cap is a single capital that is about two lines high or higher. It may be anywhere in the list of lines. If
    it is a word of its own, such as 'A' in 'A new team', a space is added after it. The 'A' counts as a word if the
    document contains 'new' elsewhere, but not 'anew'.
    """
    every = [line for lines in pages for line in lines]
    if not every:
        return [list(lines) for lines in pages]
    height, words = text_height(every), vocabulary(every)
    return [_with_drop_caps(lines, height, words) for lines in pages]


def _with_drop_caps(lines: Sequence[Line], height: float, words: Counter[str]) -> list[Line]:
    kept = list(lines)
    for cap in lines:
        if not _DROP_CAP.fullmatch(cap.text) or cap.height < 1.8 * height:
            continue
        # The lines to the right of the cap, of which the highest is the first.
        right = [
            place
            for place, line in enumerate(kept)
            if -0.2 * cap.height < line.left - cap.right < height
            and cap.bottom - 0.3 * height < line.bottom < cap.bottom + cap.height
            and len(line.text) > 1
        ]
        if not right:
            continue
        first = max(right, key=lambda place: kept[place].bottom)
        line = kept[first]
        rest = found[0].casefold() if (found := _WORD.match(line.text)) else ""
        whole = cap.text[-1].casefold() + rest
        space = " " if not rest or (words[whole] == 0 and words[rest] > 0) else ""
        # A paragraph does not begin with an indent where its first letter is.
        kept[first] = line._replace(text=f"{cap.text}{space}{line.text}", left=cap.left)
        kept.remove(cap)
    return kept


def _edges(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of a page that may be page headers or footers."""
    by_height = sorted(lines, key=lambda line: line.bottom)
    # By position on the page, and by order in the file.
    return [*by_height[:_EDGE], *by_height[-_EDGE:], *lines[:2], *lines[-2:]]


def _pattern(line: Line) -> str:
    return _DIGITS.sub("#", " ".join(line.text.casefold().split()))


def joined_rows(lines: Iterable[Line]) -> Iterator[Line]:
    """Join the parts of each printed row, such as the parts before and after a superscript, and yield the rows."""
    row: Line | None = None
    for line in lines:
        if row is not None and _same_row(row, line):
            glued = line.text[:1] in ",.;:)]%" or line.left - row.right < 0.12 * row.height
            text = row.text + ("" if glued else " ") + line.text
            higher = row if row.height >= line.height else line
            row = row._replace(
                text=text, right=line.right, height=higher.height, fonts=row.fonts + line.fonts, bottom=higher.bottom
            )
            continue
        if row is not None:
            yield row
        row = line
    if row is not None:
        yield row


def _same_row(row: Line, line: Line) -> bool:
    height = max(row.height, line.height, 1)
    near = -0.3 * height <= line.left - row.right <= 2.5 * height
    level = abs(row.bottom - line.bottom) < 0.5 * height
    return near and level


def with_ligatures(rows: list[Line]) -> list[Line]:
    """Return the lines with 'Th' restored; some fonts encode the ligature of T and h as a wrong character."""
    found = Counter(sign for row in rows for sign in _LIGATURE.findall(row.text))
    signs = [sign for sign, count in found.items() if count >= _FEWEST_LIGATURES]
    if not signs:
        return rows
    wrong = re.compile(rf"(?<![^\s(“])(?:{'|'.join(map(re.escape, signs))})(?=[a-z])")
    return [row._replace(text=wrong.sub("Th", row.text)) for row in rows]


def vocabulary(rows: Iterable[Line]) -> Counter[str]:
    """Count how often each word occurs in a document; a compound with hyphens is one word.

    Words that a line end divides are not counted, because it is not known whether they contain a hyphen.
    """
    found = Counter[str]()
    for row in rows:
        text = _DIVIDED.sub(" ", row.text.casefold())
        found.update(_WORD.findall(text.rstrip("-")))
    return found


def mend(text: str, words: Counter[str]) -> str:
    """Join words that a line end divides, and insert missing spaces between numbers and units.

    The hyphen at the line end is kept if the document contains the word more often with a hyphen than without one. It
    is removed if the document contains the word more often without a hyphen. If both forms are equally frequent, the
    hyphen is kept only if the word looks like a compound.

    Parameters
    ----------
    words
        Number of times that each word occurs in the document; see `vocabulary`.
    """
    text = _UNIT.sub(r"\1 ", text)
    while (mended := _DIVIDED.sub(lambda match: _whole(match[1], match[2], words), text)) != text:
        text = mended
    return text


def _whole(left: str, right: str, words: Counter[str]) -> str:
    together, hyphened = left + right, f"{left}-{right}"
    counts = words[together.casefold()], words[hyphened.casefold()]
    if counts[0] != counts[1]:
        return together if counts[0] > counts[1] else hyphened
    last = left.rpartition("-")[2].casefold()
    are_words = words[right.casefold()] > 0 and (last in _PREFIXES or (words[last] > 1 and len(last) > 3 < len(right)))
    keeps = right[0].isupper() or right[0].isdigit() or left[-1].isdigit() or are_words
    return hyphened if keeps or (left[-2:].isupper() and len(left) > 1) else together
