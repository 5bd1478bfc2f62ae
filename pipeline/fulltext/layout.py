"""Turn the printed lines of a document into headings and paragraphs.

Journals print a text in columns, with running heads, hyphens at line ends, and tables and captions between two lines
of a sentence. The steps here undo that, each by what the document itself shows: its usual letter height, its line
spacing, its vocabulary, and what is repeated from page to page.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, NamedTuple

from mechtag.core.full_text import Kind
from mechtag.pipeline.fulltext.document import Block
from mechtag.pipeline.fulltext.sections import kind_of, without_number


class Line(NamedTuple):
    """A printed line, or a part of it: its text, the number of its page from 1, and its place in points.

    ``left`` and ``right`` are the edges of the first and last characters, ``bottom`` is the lower edge, which grows
    upwards, ``height`` is the height of the font, and ``fonts`` has the names of the fonts of a few letters, in order.
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
        """The font of most of the line."""
        return max(self.fonts, key=self.fonts.count)


# What stands at the end of a line for the hyphen of a divided word: pdfium joins both parts with one of the first two.
_BROKEN = re.compile(r"([^\W_]+(?:-[^\W_]+)*)\s*[\x02\ufffe\u00ad]\s*([^\W_]+)")
_AT_END = re.compile(r"[^\W\d_][-\u00ad\u2010]$")
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
# Lines at the edge of a page that may be running heads.
_EDGE = 4
_ENDS = re.compile(r"[.?!:;…][\"'”’)\]\d,–-]*$")
_CAPTION = re.compile(
    r"(?:supplementary |extended data |appendix )?(fig(?:ure)?s?\.?|table|box|scheme|plate|chart|exhibit)\s*(?:[a-z]?\d+|[ivx]+)\b[.:|]?",
    re.I,
)
_MOST_WORDS = 14
# A list of references does not begin before this part of a document.
_EARLIEST_REFERENCES = 0.25
# Rows of a box that interrupts a sentence.
_LONGEST_BOX = 60
_LONG_WORD = re.compile(r"[^\W\d_]{4}")
_SAYS = re.compile(r"\b(?:is|are|was|were|has|have|had|we|be|been|can|may|will)\b", re.I)
_BOLD = re.compile(r"bold|black|heavy|demi|semib|[-.,]b(?:i|d)?$|medium", re.I)
# A heading, with or without a number, that ends in a full stop before the text of its section.
_RUN_IN = re.compile(r"((?:\d{1,2}\.)+(?:\d{1,2})?\.?\s+)?([A-Z][^.:?!]{3,110})[.:]\s+(?=[A-Z])")
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2})*)[.):]?\s")
# A heading is at least so much higher than the letters of the body.
_HIGHER = 1.08
_ALIKE = 0.06


def to_blocks(pages: Sequence[Sequence[Line]]) -> list[Block]:
    """Return the headings and paragraphs of a document, in reading order.

    Parameters
    ----------
    pages
        Lines of each page in the order in which the file has them.
    """
    rows = [row for lines in without_running_heads(pages) for row in joined_rows(lines)]
    rows = with_ligatures(rows)
    if not rows:
        return []
    words = vocabulary(rows)
    style = Style.of(_before_references(rows))
    flow = _Flow(style, words)
    roles = list(classified(rows, style))
    for number, (role, row) in enumerate(roles):
        if role == "heading" and flow.is_unfinished and _interrupts(roles[number + 1 :]):
            role = "aside"
        flow.add(role, row)
    return flow.blocks()


def _before_references(rows: Sequence[Line]) -> Sequence[Line]:
    """Return the rows above the list of references, which may be longer than the text and is set smaller."""
    heads = [place for place, row in enumerate(rows) if kind_of(row.text) == "references" and len(row.text) < 40]
    return rows[: heads[-1]] if heads and heads[-1] > len(rows) * _EARLIEST_REFERENCES else rows


def _interrupts(following: Sequence[tuple[Role, Line]]) -> bool:
    """Return whether the text after a heading goes on with the sentence before it, so that the heading is of a box."""
    text = next((row.text for role, row in following[:_LONGEST_BOX] if role == "text"), "")
    return text[:1].islower()


# Rows ----------------------------------------------------------------------------------------------------------------


def without_running_heads(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Return the lines of each page without running heads, page numbers and marks that are repeated on most pages."""
    fewest = max(2, min(3, len(pages) // 2))
    heads, marks = Counter[str](), Counter[tuple[str, int]]()
    for lines in pages:
        heads.update({_pattern(line) for line in _edges(lines)})
        marks.update({(_pattern(line), round(line.bottom)) for line in lines})
    repeated = {pattern for pattern, count in heads.items() if count >= fewest}
    everywhere = {mark for mark, count in marks.items() if count > max(2, len(pages) / 2)}
    kept = list[list[Line]]()
    for lines in pages:
        edges = {id(line) for line in _edges(lines)}
        kept.append(
            [
                line
                for line in lines
                if not (
                    id(line) in edges
                    and (_pattern(line) in repeated or _pattern(line) in ("#", "# of #", "page # of #", "page #"))
                )
                and (_pattern(line), round(line.bottom)) not in everywhere
            ]
        )
    return kept


def _edges(lines: Sequence[Line]) -> list[Line]:
    """Return the highest and the lowest lines of a page, and those that the file has first and last."""
    by_height = sorted(lines, key=lambda line: line.bottom)
    return [*by_height[:_EDGE], *by_height[-_EDGE:], *lines[:2], *lines[-2:]]


def _pattern(line: Line) -> str:
    return _DIGITS.sub("#", " ".join(line.text.casefold().split()))


def joined_rows(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield printed rows: parts of a row, which a superscript separates, are joined."""
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
    """Return rows in which the ligature of T and h, if the document's font names it wrongly, is written out."""
    found = Counter(sign for row in rows for sign in _LIGATURE.findall(row.text))
    signs = [sign for sign, count in found.items() if count >= _FEWEST_LIGATURES]
    if not signs:
        return rows
    wrong = re.compile(rf"(?<![^\s(“])(?:{'|'.join(map(re.escape, signs))})(?=[a-z])")
    return [row._replace(text=wrong.sub("Th", row.text)) for row in rows]


# Words ---------------------------------------------------------------------------------------------------------------


def vocabulary(rows: Iterable[Line]) -> Counter[str]:
    """Return how often the document has each word, with and without hyphens, except words divided by a line end."""
    found = Counter[str]()
    for row in rows:
        text = _BROKEN.sub(" ", row.text.casefold())
        found.update(_WORD.findall(text.rstrip("-")))
    return found


def mend(text: str, words: Counter[str]) -> str:
    """Join the words that a line end divides, with or without their hyphen, as the rest of the document writes them."""
    text = _UNIT.sub(r"\1 ", text)
    while (mended := _BROKEN.sub(lambda match: _whole(match[1], match[2], words), text)) != text:
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


# Roles ---------------------------------------------------------------------------------------------------------------

Role = Literal["text", "heading", "caption", "table", "aside"]


class Style(NamedTuple):
    """How the body of a document is set: height and font of its letters, and distance between its lines."""

    height: float
    font: str
    leading: float

    @classmethod
    def of(cls, rows: Sequence[Line]) -> Style:
        """Return the style of most of the text."""
        heights, fonts = Counter[float](), Counter[str]()
        for row in rows:
            heights[round(row.height, 1)] += len(row.text)
        height = heights.most_common(1)[0][0]
        steps = list[float]()
        for above, below in zip(rows, rows[1:], strict=False):
            if abs(below.height - height) <= _ALIKE * height:
                fonts[below.font] += len(below.text)
                if above.page == below.page and 0 < above.bottom - below.bottom < 3 * height:
                    steps.append(above.bottom - below.bottom)
        return cls(height, fonts.most_common(1)[0][0] if fonts else "", median(steps) if steps else 1.2 * height)

    def is_body(self, row: Line) -> bool:
        """Return whether the letters of a row are as high as those of the body."""
        return abs(row.height - self.height) <= _ALIKE * self.height


def classified(rows: Sequence[Line], style: Style) -> Iterator[tuple[Role, Line]]:
    """Yield each row with its role."""
    columns = _columns(rows)
    caption: Line | None = None  # the row before, if it belongs to a caption or a table
    role: Role = "text"
    in_references = False
    heading: Line | None = None  # the row before, if it is a heading
    for number, row in enumerate(rows):
        before = rows[number - 1] if number else None
        after = rows[number + 1] if number + 1 < len(rows) else None
        match = _CAPTION.match(row.text)
        if match and _begins(row, before, style) and not _is_mention(row, match, style):
            role = "caption"
            caption = row
            is_table = match[1].casefold().startswith("table")
            yield role, row
            continue
        if caption is not None and before is not None:
            if _goes_on(row, before, caption, style, columns[number], is_table):
                yield ("table" if is_table else "caption"), row
                continue
            caption = None
        if not in_references and _begins(row, before, style) and (parts := split_run_in(row, style)):
            yield "heading", parts[0]
            yield "text", parts[1]
            heading = None
            continue
        if _is_heading(row, before, after, style, columns[number], heading, in_references):
            kind = kind_of(row.text)
            in_references = kind == "references" or (in_references and kind is None)
            yield "heading", row
            heading = row
            continue
        heading = None
        if style.is_body(row) or in_references:
            yield "text", row
        else:
            yield "aside", row


class Column(NamedTuple):
    """Edges of the column in which a row is."""

    left: float
    right: float


def _columns(rows: Sequence[Line]) -> list[Column]:
    """Return the column of each row: the usual edges of the rows of its page that begin near it."""
    by_page = defaultdict[int, list[Line]](list)
    for row in rows:
        by_page[row.page].append(row)
    found = list[Column]()
    for row in rows:
        near = [other for other in by_page[row.page] if abs(other.left - row.left) < 3 * max(row.height, 1)]
        rights = sorted(other.right for other in near)
        lefts = sorted(other.left for other in near)
        found.append(Column(lefts[len(lefts) // 4], max(rights[(len(rights) * 3) // 4], row.right)))
    return found


def _begins(row: Line, before: Line | None, style: Style) -> bool:
    """Return whether a row begins something new: it is the first of a page or column, or has space above it."""
    if before is None or before.page != row.page:
        return True
    step = before.bottom - row.bottom
    return not 0 < step < 1.25 * style.leading or not style.is_body(row) or bool(_ENDS.search(before.text))


def _is_mention(row: Line, match: re.Match[str], style: Style) -> bool:
    """Return whether a row that begins with 'Table 2' goes on as a sentence of the text: 'Table 2 shows that'."""
    rest = row.text[match.end() :].strip()
    return bool(rest) and style.is_body(row) and rest[0].islower()


def _goes_on(row: Line, before: Line, first: Line, style: Style, column: Column, is_table: bool) -> bool:
    """Return whether a row continues the caption or table above it."""
    if is_table:
        return row.page == first.page and not _is_prose(row, style, column)
    alike = abs(row.height - first.height) <= _ALIKE * first.height
    step = before.bottom - row.bottom
    close = row.page == before.page and -0.5 * row.height < step < 1.45 * max(style.leading, 1.2 * row.height)
    return (
        alike
        and close
        and abs(row.left - before.left) < 12 * row.height
        and not (
            style.is_body(row)
            and bool(_ENDS.search(before.text))
            and row.text[:1].isupper()
            and not style.is_body(first)
        )
    )


def _is_prose(row: Line, style: Style, column: Column) -> bool:
    """Return whether a row looks like a line of running text."""
    letters = sum(char.isalpha() for char in row.text)
    wide = len(row.text.split()) >= 6
    return style.is_body(row) and wide and letters > 0.7 * len(row.text.replace(" ", ""))


def _is_heading(
    row: Line,
    before: Line | None,
    after: Line | None,
    style: Style,
    column: Column,
    heading: Line | None,
    in_references: bool,
) -> bool:
    """Return whether a row is a heading, by what it says and by how it is set apart from the text around it."""
    text = row.text
    words = text.split()
    letters = sum(char.isalpha() for char in text)
    if len(words) > _MOST_WORDS or letters < 0.6 * len(text.replace(" ", "")) or not _LONG_WORD.search(text):
        return False
    bare = without_number(text)
    kind = kind_of(text)
    if text[-1] in ",;-&" or (text[-1] == "." and kind is None) or not (bare[:1].isupper() or bare != text):
        return False
    first = before is None or before.page != row.page or not 0 < before.bottom - row.bottom
    above = first or before is None or before.bottom - row.bottom > 1.2 * style.leading
    higher = row.height >= _HIGHER * style.height
    bold = len(set(row.fonts)) == 1 and bool(_BOLD.search(row.font)) and not _BOLD.search(style.font)
    other = len(set(row.fonts)) == 1 and row.font != style.font
    capitals = text.isupper() and letters > 3
    numbered = bare != text and bare[:1].isupper()
    short = row.right < column.right - 2 * row.height
    if after is not None and after.page == row.page and _continues_row(row, after):
        return False
    if in_references:
        return kind is not None and kind != "references" and len(words) < 6 and (higher or bold or other or capitals)
    if kind is not None and (higher or bold or other or capitals or (short and above and (numbered or len(words) < 5))):
        return True
    if heading is not None and _same_look(heading, row) and (higher or bold or other):
        return True
    if row.height < (0.8 if bold and above else 0.92) * style.height:
        return False
    ended = (
        first
        or before is None
        or bool(_ENDS.search(before.text))
        or before.height != row.height
        or before.fonts != row.fonts
    )
    if higher or bold or (capitals and len(words) > 1):
        return ended
    apart = after is None or after.font != row.font
    return ended and short and ((other and apart) or (above and numbered and len(words) > 1))


def _same_look(above: Line, row: Line) -> bool:
    """Return whether a row is set like the row above it, and close to it."""
    close = above.page == row.page and 0 < above.bottom - row.bottom < 1.7 * row.height
    return close and abs(above.height - row.height) < 0.3 and above.font == row.font


def _continues_row(row: Line, after: Line) -> bool:
    """Return whether the next row goes on with the sentence of a row, so that the row is no heading."""
    adjoins = 0 < row.bottom - after.bottom < 1.6 * max(row.height, after.height)
    alike = after.font == row.font and abs(after.height - row.height) < 0.3
    return adjoins and alike and after.text[:1].islower() and not _BOLD.search(row.font)


def split_run_in(row: Line, style: Style) -> tuple[Line, Line] | None:
    """Return a heading and the text that follows it in the same row, as in '2.1. Search strategy. We searched'."""
    match = _RUN_IN.match(row.text)
    if match is None or len(match[2].split()) > _MOST_WORDS or _SAYS.search(match[2]):
        return None
    lead, rest = row.fonts[0], row.fonts[-1]
    bold = _BOLD.search(lead) and not _BOLD.search(style.font)
    if not match[1] and not bold and (lead == style.font or rest != style.font):
        return None
    head = row._replace(text=row.text[: match.end()].rstrip(" ."), fonts=(lead,))
    return head, row._replace(text=row.text[match.end() :].strip(), fonts=(rest,))


def _family(row: Line) -> str:
    """Return the name of a font without its style: 'Arial' for 'Arial-BoldMT'."""
    return re.split(r"[-,]|PSMT|MT$", row.font)[0]


# Flow ----------------------------------------------------------------------------------------------------------------


@dataclass
class _Paragraph:
    """A paragraph under construction."""

    rows: list[Line]
    text: str
    breaks: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, row: Line) -> _Paragraph:
        return cls([row], row.text)

    @property
    def last(self) -> Line:
        return self.rows[-1]

    def add(self, row: Line) -> None:
        divided = _AT_END.search(self.text) and row.text[:1].islower()
        self.text = self.text[:-1] + "\x02" if divided else self.text + " "
        if row.page != self.last.page:
            self.breaks.append((len(self.text), row.page))
        self.text += row.text
        self.rows.append(row)


@dataclass
class _Flow:
    """Collects rows into blocks. A paragraph that is not finished waits while captions, tables and notes interrupt it."""

    style: Style
    words: Counter[str]
    done: list[Block] = field(default_factory=list)
    body: _Paragraph | None = None
    side: _Paragraph | None = None
    side_role: Role = "aside"
    waiting: list[Block] = field(default_factory=list)
    headings: dict[int, Line] = field(default_factory=dict)

    def add(self, role: Role, row: Line) -> None:
        """Take the next row."""
        if role == "text":
            if self.body is not None and self._continues(self.body, row):
                self.body.add(row)
            else:
                self._close()
                self.body = _Paragraph.of(row)
        elif role == "heading":
            last = self.done[-1] if self.done else None
            self._close()
            if last is not None and last.heading and last is self.done[-1] and self._same_heading(row):
                self.done[-1] = last._replace(text=f"{last.text} {row.text}")
            else:
                self.done.append(Block(row.text, 1, page=row.page))
                self.headings[len(self.done) - 1] = row
            self._heading = row
        else:
            self._aside(role, row)

    _heading: Line | None = None

    @property
    def is_unfinished(self) -> bool:
        """Whether a paragraph is open that does not end with a sentence."""
        return self.body is not None and not _ENDS.search(self.body.text)

    def _same_heading(self, row: Line) -> bool:
        above = self._heading
        return (
            above is not None and _same_look(above, row) and kind_of(above.text) is None and kind_of(row.text) is None
        )

    def _aside(self, role: Role, row: Line) -> None:
        side = self.side
        if side is not None and role == self.side_role and self._adjoins(side.last, row):
            side.add(row)
            return
        self._close_side()
        self.side, self.side_role = _Paragraph.of(row), role

    def _adjoins(self, above: Line, row: Line) -> bool:
        return (
            above.page == row.page
            and abs(above.height - row.height) <= _ALIKE * above.height
            and -0.5 * row.height < above.bottom - row.bottom < 1.8 * row.height
        )

    def _continues(self, paragraph: _Paragraph, row: Line) -> bool:
        last = paragraph.last
        step = last.bottom - row.bottom
        finished = bool(_ENDS.search(last.text))
        if row.page == last.page and 0 < step < 1.3 * self.style.leading:
            indented = row.left - last.left > 0.7 * row.height and row.left < last.right
            return not (finished and indented)
        return row.text[:1].islower() or (not finished and _family(row) == _family(last))

    def _close_side(self) -> None:
        if self.side is None:
            return
        kinds: dict[Role, Kind | None] = {"caption": "caption", "table": "table", "aside": None}
        block = self._block(self.side, kinds[self.side_role])
        # Long passages in small print are text; short ones between the lines of a paragraph are notes.
        if self.body is not None and not _ENDS.search(self.body.text):
            self.waiting.append(block if block.kind or len(self.side.rows) > 6 else block._replace(kind="back"))
        else:
            self._close_body()
            self.done.append(block)
        self.side = None

    def _close_body(self) -> None:
        if self.body is not None:
            self.done.append(self._block(self.body, None))
            self.body = None
        self.done += self.waiting
        self.waiting = []

    def _close(self) -> None:
        self._close_side()
        self._close_body()

    def _block(self, paragraph: _Paragraph, kind: Kind | None) -> Block:
        # Offsets of pages move when words are mended, so each page is mended by itself, with the word at its edge.
        pieces, breaks, length = list[str](), list[tuple[int, int]](), 0
        bounds = [0, *(offset for offset, _ in paragraph.breaks), len(paragraph.text)]
        text = paragraph.text
        for number, (start, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
            if number:
                breaks.append((length, paragraph.breaks[number - 1][1]))
            piece = mend(text[start:end], self.words)
            pieces.append(piece)
            length += len(piece)
        joined = "".join(pieces)
        mended = mend(joined, self.words)
        if mended != joined:  # a word that the end of a page divides
            shift = len(joined) - len(mended)
            breaks = [(max(0, offset - shift), page) for offset, page in breaks]
        return Block(mended, kind=kind, page=paragraph.rows[0].page, breaks=tuple(breaks))

    def blocks(self) -> list[Block]:
        """Finish, and return all blocks."""
        self._close()
        mains = {_look(row) for row in self.headings.values() if kind_of(row.text) in _MAIN}
        for place, row in self.headings.items():
            block = self.done[place]
            self.done[place] = block._replace(heading=_level(block.text, row, mains))
        return self.done


# Kinds of sections whose headings show how the headings of the first level are set.
_MAIN: tuple[Kind, ...] = ("introduction", "results", "discussion", "conclusion", "references")


def _look(row: Line) -> tuple[str, float, bool]:
    return row.font, round(row.height), row.text.isupper()


def _level(title: str, row: Line, mains: set[tuple[str, float, bool]]) -> int:
    """Return the level of a heading by its number or, without one, by its look."""
    numbered = _NUMBERED.match(title)
    if numbered:
        return 1 + numbered[1].count(".")
    return 1 if not mains or _look(row) in mains else 2
