"""Build a full text from blocks; a block is a paragraph or a heading of a file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from mechtag.core.full_text import Kind, Page, Section
from mechtag.pipeline.fulltext.sections import kind_of

#: Maximum number of pages of a file.
MOST_PAGES = 3_000
# Control and format characters other than the line ends, which `assemble` writes; soft hyphens are among them.
_REMOVED = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufff9-\uffff]")
_SPACE = re.compile(r"\s+")
_ACCENTS = "".join(map(chr, range(0x0300, 0x0370)))
# Letters of mathematical fonts, and ligatures, which are replaced by plain letters.
_STYLED = re.compile("[\U0001d400-\U0001d7ff\ufb00-\ufb06]+")


class Block(NamedTuple):
    """A paragraph or a heading.

    Attributes
    ----------
    text
        Text of the block; it may still contain runs of spaces.
    heading
        Level of the heading, from 1; ``0`` for a paragraph.
    kind
        Kind of the section that contains the block. ``None`` if the format does not state it; the heading above the
        block then determines the kind.
    page
        Number of the page on which the block starts, from 1; ``None`` if the format has no pages.
    breaks
        Page breaks within the block. Each is a pair: the offset in ``text`` at which a page begins, and the number of
        this page.
    """

    text: str
    heading: int = 0
    kind: Kind | None = None
    page: int | None = None
    breaks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Draft:
    """The content of a file, as the reader of its format returns it.

    Attributes
    ----------
    blocks
        Headings and paragraphs in reading order.
    title, doi, pmid, pmcid
        Title and identifiers of the paper, if the format has fields for them. PDF has no such fields.
    first_page
        Text of the first page, in which the title and identifiers are searched. If it is ``""``, they are searched at
        the start of the text.
    licence
        Licence as the file names it.
    page_labels
        Label of each page; empty if the format has no pages.
    scanned_pages
        Number of pages without text.
    ocr_pages
        Numbers of the pages whose text comes from optical character recognition.
    warnings
        Sentences that describe what may be wrong with the text.
    """

    blocks: Sequence[Block]
    title: str = ""
    doi: str | None = None
    pmid: str | None = None
    pmcid: str | None = None
    first_page: str = ""
    licence: str | None = None
    page_labels: Sequence[str] = ()
    scanned_pages: int = 0
    ocr_pages: frozenset[int] = frozenset()
    warnings: Sequence[str] = field(default=())


class Assembled(NamedTuple):
    """The text of a paper, its sections and its pages."""

    text: str
    sections: tuple[Section, ...]
    pages: tuple[Page, ...]


def clean(text: str) -> str:
    """Clean the text of a block.

    Control characters are removed, and each run of white space becomes one space. Ligatures and letters of mathematical
    fonts become plain letters. Letters with accents become single characters.
    """
    text = _STYLED.sub(lambda match: unicodedata.normalize("NFKC", match[0]), _SPACE.sub(" ", text))
    return unicodedata.normalize("NFC", _SPACE.sub(" ", _REMOVED.sub("", text)).strip())


def assemble(blocks: Iterable[Block], page_labels: Sequence[str] = ()) -> Assembled:
    """Join blocks into one text, and return the text with its sections and pages.

    A section begins at each heading, and at each block whose `Block.kind` differs from that of the previous block. The
    kind of a section is the first of these that is known:

    1. the kind of its first block
    2. the kind that its title shows, such as 'Methods'
    3. the kind of the section that contains it

    Parameters
    ----------
    page_labels
        Label of each page; empty if the format has no pages.
    """
    parts = list[str]()
    sections = list[Section]()
    starts = list[tuple[int, int]]()  # offset and number of each page on which something begins
    above = list[tuple[int, Kind]]()  # level and kind of the sections that contain the current one
    length = 0
    stated: Kind | None = None
    for block in blocks:
        pieces, offsets = _pieces(block)
        text = "".join(pieces)
        if not text:
            continue
        begins = bool(block.heading) or block.kind != stated or not sections
        if parts:
            separator = "\n\n" if begins else "\n"
            parts.append(separator)
            length += len(separator)
        if begins:
            level = block.heading or (above[-1][0] if above else 1)
            while block.heading and above and above[-1][0] >= level:
                above.pop()
            inherited: Kind = above[-1][1] if above else "other"
            kind = block.kind or (kind_of(text) if block.heading else None) or inherited
            if block.heading:
                above.append((level, kind))
            title = text if block.heading else ""
            sections.append(Section(kind=kind, title=title, level=level, start=length, end=length))
        stated = None if block.heading else block.kind
        starts += [(length + offset, page) for offset, page in offsets]
        parts.append(text)
        length += len(text)
    whole = "".join(parts)
    ends = [*(section.start for section in sections), length][1:]
    tiled = (section.model_copy(update={"end": end}) for section, end in zip(sections, ends, strict=True))
    return Assembled(whole, tuple(tiled), _pages(starts, page_labels, length))


def _pieces(block: Block) -> tuple[list[str], list[tuple[int, int]]]:
    """Cut a block's text at the page breaks, and return the cleaned pieces and the starts of pages.

    Each start is a pair: the offset in the joined pieces at which a page begins, and the number of the page.
    """
    if block.page is None:
        return [clean(block.text)], []
    bounds = [(0, block.page), *block.breaks, (len(block.text), 0)]
    pieces, offsets, length = list[str](), list[tuple[int, int]](), 0
    for (start, page), (end, _) in pairwise(bounds):
        raw = block.text[start:end]
        # An accent at the start of a page would be combined with the last letter of the previous page.
        text = clean(raw).lstrip(_ACCENTS) if length else clean(raw)
        if length and text and (raw[:1].isspace() or block.text[start - 1].isspace()):
            pieces.append(" ")
            length += 1
        offsets.append((length, page))
        pieces.append(text)
        length += len(text)
    return pieces, offsets


def _pages(starts: Sequence[tuple[int, int]], labels: Sequence[str], length: int) -> tuple[Page, ...]:
    """Return the pages of a text that has ``length`` characters; ``labels`` contains the label of each page.

    ``starts`` contains, for each piece of the text, its offset and the number of its page.
    """
    first = dict[int, int]()
    for offset, number in starts:
        first.setdefault(number, offset)
    bounds, offset = [length], length
    for number in range(len(labels), 0, -1):
        # A page without text starts and ends where the next page starts.
        offset = min(first.get(number, offset), offset)
        bounds.append(offset)
    bounds.reverse()
    if labels:
        bounds[0] = 0
    return tuple(
        Page(number=number, label=label, start=bounds[number - 1], end=bounds[number])
        for number, label in enumerate(labels, start=1)
    )
