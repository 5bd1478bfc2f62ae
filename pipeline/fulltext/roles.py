"""Classify the lines of a document by their typography as running text, headings, captions, tables or small print."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from statistics import median
from typing import Literal, NamedTuple

from mechtag.pipeline.fulltext.lines import Line, text_height
from mechtag.pipeline.fulltext.sections import kind_of, without_number

#: Role of a row. An aside is set smaller or larger than the text: a note, an affiliation, an abstract in small print.
Role = Literal["text", "heading", "caption", "table", "aside"]

_SENTENCE_END = re.compile(r"[.?!:;…][\"'”’)\]\d,–-]*$")
# Characters at the end of a text in which its last full stop is searched, before numbers of references.
_LONGEST_END = 40
_CAPTION = re.compile(
    r"(?:supplementary |extended data |appendix )?"
    r"(fig(?:ure)?s?\.?|table|box|scheme|plate|chart|exhibit)\s*(?:[a-z]?\d+|[ivx]+)\b[.:|]?",
    re.IGNORECASE,
)
# A heading, with or without a number, that ends in a full stop before the text of its section.
_RUN_IN = re.compile(r"((?:\d{1,2}\.)+(?:\d{1,2})?\.?\s+)?([A-Z][^.:?!]{3,110})[.:]\s+(?=[A-Z])")
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|we|be|been|can|may|will)\b", re.IGNORECASE)
_BOLD = re.compile(r"bold|black|heavy|demi|semib|[-.,]b(?:i|d)?$|medium", re.IGNORECASE)
_LONG_WORD = re.compile(r"[^\W\d_]{4}")
_MOST_WORDS = 14
# Letters that differ less in height, as a proportion, are of the same size.
_SAME_SIZE = 0.06
# Parts of an entry in a list of references: a year, the numbers of pages, or an author with initials.
_CITED = re.compile(r"\b(?:19|20)\d\d\b|\d[-–]\d|\bdoi\b|https?:|\b[A-Z][\w’'-]{1,40},? [A-Z]{1,3}[.,]")
# Rows after a heading in a list of references that are looked at, and share of them that is cited at most in text.
_FOLLOWING, _CITED_SHARE, _FEW_WORDS = 10, 0.35, 3
# A heading without any other sign is at least so much higher than the text.
_HIGHER = 1.08


class Style(NamedTuple):
    """The typography of the running text of a document.

    Attributes
    ----------
    height
        Letter height of the running text in points.
    font
        Font of most of the running text.
    leading
        Usual distance from one line to the next, in points.
    """

    height: float
    font: str
    leading: float

    @classmethod
    def of(cls, rows: Sequence[Line]) -> Style:
        """Return the style of the running text of a document.

        ``rows`` contains the lines of the document, at least one.
        """
        height, fonts = text_height(rows), Counter[str]()
        steps = list[float]()
        for above, below in pairwise(rows):
            if abs(below.height - height) <= _SAME_SIZE * height:
                fonts[below.font] += len(below.text)
                if above.page == below.page and 0 < above.bottom - below.bottom < 3 * height:
                    steps.append(above.bottom - below.bottom)
        return cls(height, fonts.most_common(1)[0][0] if fonts else "", median(steps) if steps else 1.2 * height)

    def is_text(self, row: Line) -> bool:
        """Return whether the letters of a line have the same height as the running text."""
        return abs(row.height - self.height) <= _SAME_SIZE * self.height

    def is_bold(self, font: str) -> bool:
        """Return whether a font is bold; if the running text is bold, no font counts as bold."""
        return bool(_BOLD.search(font)) and not _BOLD.search(self.font)


class _Place(NamedTuple):
    """A line of a document, and the lines around it."""

    row: Line
    before: Line | None
    after: Line | None
    heading: Line | None  # the line before, if that line is a heading
    right: float  # right edge of the text column


def ends_sentence(text: str) -> bool:
    """Return whether a text ends at the end of a sentence.

    The last punctuation mark of the sentence may be followed by quotation marks, brackets or reference numbers.
    """
    return bool(_SENTENCE_END.search(text[-_LONGEST_END:]))


def same_size(one: Line, other: Line) -> bool:
    """Return whether two lines have letters of the same height."""
    return abs(one.height - other.height) <= _SAME_SIZE * max(one.height, other.height)


def same_look(above: Line, row: Line) -> bool:
    """Return whether a line is close to the line above it, and has the same font and letter height."""
    is_close = above.page == row.page and 0 < above.bottom - row.bottom < 1.7 * row.height
    return is_close and abs(above.height - row.height) < 0.3 and above.font == row.font


def classified(rows: Sequence[Line], style: Style) -> Iterator[tuple[Role, Line]]:
    """Yield a pair (role, line) for each line of a document; see `Role`.

    If a line begins with a heading and continues with text, it is yielded as two lines.
    """
    rights = _right_edges(rows)
    caption: Line | None = None  # first row of the caption or table that goes on
    is_table = in_references = False
    heading: Line | None = None
    for number, row in enumerate(rows):
        before = rows[number - 1] if number else None
        after = rows[number + 1] if number + 1 < len(rows) else None
        place = _Place(row, before, after, heading, rights[number])
        begins = heading is not None or _begins(row, before, style)
        heading = None
        found = _CAPTION.match(row.text)
        if found and begins and not _is_mention(row, found, style):
            caption, is_table = row, found[1].casefold().startswith("table")
            yield "caption", row
        elif (
            caption is not None
            and before is not None
            and _goes_on(row, before, caption, style, is_table=is_table)
            and not (is_table and _ends_table(place, style))
        ):
            yield "table" if is_table else "caption", row
        elif not in_references and begins and (parts := split_run_in(row, style)):
            caption = None
            yield "heading", parts[0]
            yield "text", parts[1]
        elif _is_heading(place, style, in_references=in_references) or (
            in_references and _begins_chapter(place, islice(rows, number + 1, None), style)
        ):
            caption, heading = None, row
            kind = kind_of(row.text)
            in_references = kind == "references"
            yield "heading", row
        else:
            caption = None
            yield "text" if in_references or style.is_text(row) else "aside", row


def _right_edges(rows: Sequence[Line]) -> list[float]:
    """Return, for each line, the right edge of its text column."""
    by_page = defaultdict[int, list[Line]](list)
    for row in rows:
        by_page[row.page].append(row)
    found = list[float]()
    for row in rows:
        reach = 3 * max(row.height, 1)
        # The column: the lines on the page with nearly the same left edge. A line may extend beyond its column.
        edges = sorted(other.right for other in by_page[row.page] if abs(other.left - row.left) < reach)
        found.append(max(edges[len(edges) * 3 // 4], row.right))
    return found


def _begins(row: Line, before: Line | None, style: Style) -> bool:
    """Return whether a line may begin a heading or a caption, judging by the line before it."""
    if before is None or before.page != row.page:
        return True
    step = before.bottom - row.bottom
    return not 0 < step < 1.25 * style.leading or not style.is_text(row) or ends_sentence(before.text)


def _is_mention(row: Line, found: re.Match[str], style: Style) -> bool:
    """Return whether a line that looks like a caption, such as 'Table 2 shows that', belongs to the running text."""
    rest = row.text[found.end() :].strip()
    return style.is_text(row) and rest[:1].islower()


def _goes_on(row: Line, before: Line, first: Line, style: Style, *, is_table: bool) -> bool:
    """Return whether a line continues the caption or table that begins with the line ``first``."""
    if is_table:
        return row.page == first.page and not _is_prose(row, style)
    step = before.bottom - row.bottom
    is_close = row.page == before.page and -0.5 * row.height < step < 1.45 * max(style.leading, 1.2 * row.height)
    return same_size(row, first) and is_close and abs(row.left - before.left) < 12 * row.height


def _is_prose(row: Line, style: Style) -> bool:
    """Return whether a line looks like running text and not like a row of a table."""
    letters = sum(char.isalpha() for char in row.text)
    return style.is_text(row) and len(row.text.split()) >= 6 and letters > 0.7 * len(row.text.replace(" ", ""))


def _ends_table(place: _Place, style: Style) -> bool:
    """Return whether a line is the heading of a section, and therefore ends the table above it."""
    row, before = place.row, place.before
    is_apart = before is None or before.bottom - row.bottom > 1.2 * style.leading or before.bottom <= row.bottom
    larger = row.height >= _HIGHER * style.height or (kind_of(row.text) is not None and style.is_text(row))
    return is_apart and larger and _is_heading(place, style, in_references=False)


def _begins_chapter(place: _Place, following: Iterable[Line], style: Style) -> bool:
    """Return whether a line in a list of references begins a new chapter; ``following`` contains the lines after it."""
    row = place.row
    if row.height < _HIGHER * style.height or not _is_heading(place, style, in_references=False):
        return False
    # The numbers of a list may come after the text of the page.
    lines = list(islice((line for line in following if len(line.text.split()) > _FEW_WORDS), _FOLLOWING))
    text = [line for line in lines if style.is_text(line)]
    cited = sum(bool(_CITED.search(line.text)) for line in text)
    return len(text) > len(lines) / 2 and cited < _CITED_SHARE * len(text)


def _is_heading(place: _Place, style: Style, *, in_references: bool) -> bool:
    row, before, after = place.row, place.before, place.after
    text, words = row.text, row.text.split()
    kind, bare = kind_of(text), without_number(text)
    letters = sum(char.isalpha() for char in text)
    if len(words) > _MOST_WORDS or letters < 0.6 * len(text.replace(" ", "")) or not _LONG_WORD.search(text):
        return False
    if text[-1] in ",;-&" or (text[-1] == "." and kind is None):
        return False
    # Fonts of small capitals contain them as small letters.
    in_small_capitals = kind is not None and row.height >= _HIGHER * style.height
    # The second line of a heading may begin with a small letter.
    is_second = place.heading is not None and same_look(place.heading, row) and _adjoins(place.heading, row)
    if not (bare[:1].isupper() or bare != text or in_small_capitals or is_second):
        return False
    if after is not None and _continues(row, after):
        return False
    is_first = before is None or before.page != row.page or before.bottom <= row.bottom
    has_space = is_first or (before is not None and before.bottom - row.bottom > 1.2 * style.leading)
    is_uniform = len(set(row.fonts)) == 1
    is_bold = is_uniform and style.is_bold(row.font)
    stands_out = row.height >= _HIGHER * style.height or is_bold
    has_own_font = is_uniform and row.font != style.font
    in_capitals = text.isupper() and letters > 3
    is_numbered = bare != text and bare[:1].isupper()
    is_short = row.right < place.right - 2 * row.height
    if in_references:
        return kind not in (None, "references") and len(words) < 6 and (stands_out or has_own_font or in_capitals)
    if kind is not None:
        if stands_out or has_own_font or in_capitals:
            return True
        if is_short and has_space and (is_numbered or len(words) < 5):
            return True
    if place.heading is not None and same_look(place.heading, row) and (stands_out or has_own_font):
        return True
    if row.height < (0.8 if is_bold and has_space else 0.92) * style.height:
        return False
    is_set_apart = (
        is_first
        or before is None
        or ends_sentence(before.text)
        or before.height != row.height
        or before.fonts != row.fonts
    )
    if not is_set_apart:
        return False
    if stands_out or (in_capitals and len(words) > 1):
        return True
    text_differs = after is None or after.font != row.font
    return is_short and ((has_own_font and text_differs) or (has_space and is_numbered and len(words) > 1))


def _adjoins(row: Line, after: Line) -> bool:
    """Return whether the line ``after`` is directly below the line ``row``."""
    return after.page == row.page and 0 < row.bottom - after.bottom < 1.6 * max(row.height, after.height)


def _continues(row: Line, after: Line) -> bool:
    """Return whether the line ``after`` continues the sentence in the line ``row``."""
    adjoins = _adjoins(row, after)
    is_alike = after.font == row.font and abs(after.height - row.height) < 0.3
    return adjoins and is_alike and after.text[:1].islower() and not _BOLD.search(row.font)


def split_run_in(row: Line, style: Style) -> tuple[Line, Line] | None:
    """Split a line such as '2.1. Search strategy. We searched' into a heading and the text after the heading.

    A heading without a number is recognised only if it is bold, or in a different font from the text after it.

    Returns
    -------
    tuple of Line or None
        The heading and the text, or ``None`` if the line does not begin with a heading.
    """
    found = _RUN_IN.match(row.text)
    if found is None or len(found[2].split()) > _MOST_WORDS or _VERB.search(found[2]):
        return None
    lead, rest = row.fonts[0], row.fonts[-1]
    if not found[1] and not style.is_bold(lead) and (lead == style.font or rest != style.font):
        return None
    head = row._replace(text=row.text[: found.end()].rstrip(" ."), fonts=(lead,))
    return head, row._replace(text=row.text[found.end() :].strip(), fonts=(rest,))
