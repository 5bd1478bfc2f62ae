"""Combine the printed lines of a document into headings and paragraphs.

The text may be in columns. Running heads, tables and captions may interrupt a sentence, and hyphens may divide a word.
Interruptions are recognised by comparison with the rest of the document: its usual letter height, line spacing and
vocabulary, and the lines that are repeated on many pages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mechtag.core.full_text import Kind
from mechtag.pipeline.fulltext.document import Block
from mechtag.pipeline.fulltext.lines import (
    Line,
    joined_rows,
    mend,
    vocabulary,
    with_drop_caps,
    with_ligatures,
    without_line_numbers,
    without_running_heads,
)
from mechtag.pipeline.fulltext.roles import Role, Style, classified, ends_sentence, same_look, same_size
from mechtag.pipeline.fulltext.sections import kind_of

_HYPHEN_AT_END = re.compile(r"[^\W\d_][-\u00ad\u2010]$")
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2})*)[.):]?\s")
# A list of references does not begin before this part of a document.
_EARLIEST_REFERENCES = 0.25
# Number of rows of a box that interrupts a sentence, at most.
_LONGEST_BOX = 60
# Passages in small print with more rows are text; shorter ones that interrupt a sentence are notes.
_LONGEST_NOTE = 6
# Kinds of sections whose headings show how headings of the first level are set.
_MAIN: tuple[Kind, ...] = ("introduction", "results", "discussion", "conclusion", "references")
_SIDE_KINDS: dict[Role, Kind | None] = {"caption": "caption", "table": "table", "aside": None}


def to_blocks(pages: Sequence[Sequence[Line]]) -> list[Block]:
    """Return the headings and paragraphs of a document, in reading order.

    Parameters
    ----------
    pages
        Lines of each page, in the order of the file.
    """
    lines_of_pages = with_drop_caps(without_running_heads(without_line_numbers(pages)))
    rows = with_ligatures([row for lines in lines_of_pages for row in joined_rows(lines)])
    if not rows:
        return []
    style = Style.of(_before_references(rows))
    flow = _Flow(style, vocabulary(rows))
    roles = list(classified(rows, style))
    for number, (role, row) in enumerate(roles):
        if role == "heading" and flow.is_unfinished and _interrupts(roles[number + 1 : number + _LONGEST_BOX]):
            role = "aside"
        flow.add(role, row)
    return flow.finish()


def _before_references(rows: Sequence[Line]) -> Sequence[Line]:
    # The list of references is in smaller print, and may be longer than the text.
    heads = [place for place, row in enumerate(rows) if kind_of(row.text) == "references"]
    return rows[: heads[-1]] if heads and heads[-1] > len(rows) * _EARLIEST_REFERENCES else rows


def _interrupts(following: Sequence[tuple[Role, Line]]) -> bool:
    """Return whether a heading interrupts a sentence: the text after the heading begins with a lowercase letter."""
    # Such a heading belongs to a box that is printed between two lines of the sentence.
    text = next((row.text for role, row in following if role == "text"), "")
    return text[:1].islower()


@dataclass
class _Paragraph:
    """A paragraph to which lines are added."""

    last: Line
    text: str
    page: int
    rows: int = 1
    # For each page after the first: the offset in `text` at which the page begins, and the page number.
    breaks: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, row: Line) -> _Paragraph:
        return cls(row, row.text, row.page)

    def add(self, row: Line) -> None:
        is_divided = _HYPHEN_AT_END.search(self.text[-2:]) and row.text[:1].islower()
        self.text = f"{self.text[:-1]}\x02" if is_divided else f"{self.text} "
        if row.page != self.last.page:
            self.breaks.append((len(self.text), row.page))
        self.text += row.text
        self.last = row
        self.rows += 1

    def block(self, kind: Kind | None, words: Counter[str]) -> Block:
        """Return the paragraph as a block; words that were divided between lines are joined (see `lines.mend`)."""
        # Joining words moves the offsets of page breaks; a word that a page divides belongs to the earlier page.
        breaks = [(len(mend(self.text[:offset].rstrip("\x02"), words)), page) for offset, page in self.breaks]
        return Block(mend(self.text, words), kind=kind, page=self.page, breaks=tuple(breaks))


@dataclass
class _Flow:
    """Combines the lines of a document into paragraphs and headings."""

    style: Style
    words: Counter[str]
    done: list[Block] = field(default_factory=list)
    headings: dict[int, Line] = field(default_factory=dict)  # last row of each heading, by its place in `done`
    body: _Paragraph | None = None  # remains open if captions, tables or notes interrupt it in mid-sentence
    side: _Paragraph | None = None
    side_role: Role = "aside"
    waiting: list[Block] = field(default_factory=list)  # what has interrupted the paragraph `body`

    @property
    def is_unfinished(self) -> bool:
        """Return whether the current paragraph ends in mid-sentence, and may therefore continue later."""
        return self.body is not None and not ends_sentence(self.body.text)

    def add(self, role: Role, row: Line) -> None:
        """Add the next line of the document; ``role`` is, for example, ``text``, ``heading`` or ``caption``."""
        if role == "heading":
            self._add_heading(row)
        elif role != "text":
            self._add_aside(role, row)
        elif self.body is not None and self._is_continued(self.body.last, row):
            self.body.add(row)
        else:
            self._close()
            self.body = _Paragraph.of(row)

    def finish(self) -> list[Block]:
        """Close the open paragraph, determine the levels of the headings, and return all blocks."""
        self._close()
        looks = {_look(row) for row in self.headings.values() if kind_of(row.text) in _MAIN}
        for place, row in self.headings.items():
            block = self.done[place]
            self.done[place] = block._replace(heading=_level(block.text, row, looks))
        return self.done

    def _add_heading(self, row: Line) -> None:
        self._close()
        last = len(self.done) - 1
        above = self.headings.get(last)
        if above is not None and same_look(above, row) and kind_of(above.text) is kind_of(row.text) is None:
            self.done[last] = self.done[last]._replace(text=f"{self.done[last].text} {row.text}")
        else:
            self.done.append(Block(row.text, 1, page=row.page))
            last += 1
        self.headings[last] = row

    def _add_aside(self, role: Role, row: Line) -> None:
        if self.side is not None and role == self.side_role and _adjoins(self.side.last, row):
            self.side.add(row)
            return
        self._close_side()
        self.side, self.side_role = _Paragraph.of(row), role

    def _is_continued(self, last: Line, row: Line) -> bool:
        """Return whether the line ``row`` continues the paragraph that ends with the line ``last``."""
        is_finished = ends_sentence(last.text)
        if row.page == last.page and 0 < last.bottom - row.bottom < 1.3 * self.style.leading:
            is_indented = row.left - last.left > 0.7 * row.height and row.left < last.right
            return not (is_finished and is_indented)
        return row.text[:1].islower() or (not is_finished and _family(row.font) == _family(last.font))

    def _close_side(self) -> None:
        if self.side is None:
            return
        kind = _SIDE_KINDS[self.side_role]
        if self.is_unfinished:
            if kind is None and self.side.rows <= _LONGEST_NOTE:
                kind = "back"
            self.waiting.append(self.side.block(kind, self.words))
        else:
            self._close_body()
            self.done.append(self.side.block(kind, self.words))
        self.side = None

    def _close_body(self) -> None:
        if self.body is not None:
            self.done.append(self.body.block(None, self.words))
            self.body = None
        self.done += self.waiting
        self.waiting = []

    def _close(self) -> None:
        self._close_side()
        self._close_body()


def _adjoins(above: Line, row: Line) -> bool:
    """Return whether two successive lines of a caption, table or note belong to the same paragraph."""
    is_close = -0.5 * row.height < above.bottom - row.bottom < 1.8 * row.height
    return above.page == row.page and same_size(above, row) and is_close


def _family(font: str) -> str:
    """Return the name of a font without its style, such as ``Arial`` for ``Arial-BoldMT``."""
    return re.split(r"[-,]|PSMT|MT$", font)[0]


def _look(row: Line) -> tuple[str, float, bool]:
    return row.font, round(row.height), row.text.isupper()


def _level(title: str, row: Line, looks: set[tuple[str, float, bool]]) -> int:
    """Return the level of a heading, from its number if it has one, and otherwise from its font and size.

    ``looks`` contains the fonts and sizes of known headings of the first level.
    """
    if numbered := _NUMBERED.match(title):
        return 1 + numbered[1].count(".")
    if not looks or _look(row) in looks or row.height > max(height for _, height, _ in looks):
        return 1
    return 2
