"""Read Word documents (.docx)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.core.full_text import Kind
from mechtag.pipeline.fulltext.document import Block, Draft
from mechtag.pipeline.fulltext.files import open_package
from mechtag.pipeline.fulltext.sections import kind_of
from mechtag.pipeline.fulltext.xml import attribute, child_of, every, local

# Names of the built-in styles, which are in English in every language of Word; their identifiers are not.
_HEADING = re.compile(r"heading\s?([1-9])$", re.I)
_OUTLINE_LEVELS = 9
# Elements whose text is not printed where they are: deleted and moved text, the second form of a drawing for programs
# that cannot draw the first, and text boxes, which follow their paragraph.
_LEFT_OUT = frozenset("del moveFrom Fallback txbxContent".split())
_CHARACTERS = {"tab": " ", "br": " ", "cr": " ", "noBreakHyphen": "-", "softHyphen": "\u00ad"}
# Elements around the paragraphs and tables of a document or cell.
_AROUND = frozenset("sdt sdtContent customXml ins moveTo smartTag".split())
# A cell with more words is running text in a table that only arranges the page.
_LONGEST_CELL = 100
_LONGEST_HEADING, _SHORT_HEADING = 14, 5


def read(data: bytes, name: str) -> Draft:
    """Read a Word document.

    A paragraph is a heading if it has an outline level, for example in the styles 'Heading 1' to 'Heading 9'. If no
    paragraph has an outline level, two kinds of paragraphs are headings: short bold paragraphs, and paragraphs that
    consist of a common section title. Tracked changes are read as if they had been accepted.

    Raises
    ------
    MechtagError
        If the file is damaged, is protected by a password, or has no text.
    """
    import docx
    from docx.opc.exceptions import PackageNotFoundError

    try:
        open_package(data, name).close()
        document = docx.Document(io.BytesIO(data))
        found = [pair for pair in _blocks(document.element.body, _styles(document)) if pair[0].text.strip()]
    except MechtagError:
        raise
    except (zipfile.BadZipFile, PackageNotFoundError, KeyError, ValueError, SyntaxError, RuntimeError, OSError):
        raise MechtagError(f"{name} cannot be read as a Word document; open it in Word and save it again") from None
    blocks = [block for block, _ in found]
    if not any(block.heading and block.kind != "title" for block in blocks):
        blocks = [_perhaps_heading(block, is_bold) for block, is_bold in found]
    if not blocks:
        raise MechtagError(f"{name} contains no text; open it in Word and check its content")
    title = next((block.text for block in blocks if block.kind == "title"), document.core_properties.title or "")
    first_page = "\n".join(block.text for block in blocks[:40])
    return Draft(blocks=blocks, title=title, first_page=first_page)


class _Style(NamedTuple):
    """A paragraph style of a Word document."""

    level: int = 0  # 0 if the style is not that of a heading
    kind: Kind | None = None  # of the section, if the style determines it
    is_bold: bool = False


def _styles(document: Any) -> dict[str, _Style]:
    """Return the styles of a Word document, keyed by identifier, including the properties that each style inherits."""
    found = dict[str, _Style]()
    elements = {attribute(style, "styleId"): style for style in every(document.styles.element, "style")}
    for identifier, element in elements.items():
        at: Any = element
        seen = set[str]()
        style = _Style()
        while at is not None and attribute(at, "styleId") not in seen:
            seen.add(attribute(at, "styleId"))
            own = _own_style(at)
            style = _Style(style.level or own.level, style.kind or own.kind, style.is_bold or own.is_bold)
            at = elements.get(attribute(child_of(at, "basedOn"), "val"))
        found[identifier] = style
    return found


def _own_style(element: Any) -> _Style:
    name = attribute(child_of(element, "name"), "val").casefold()
    heading = _HEADING.match(name)
    level = int(heading[1]) if heading else _outline_level(child_of(element, "pPr"))
    kind: Kind | None = "title" if name == "title" else "caption" if name == "caption" else None
    return _Style(1 if kind == "title" else level, kind, _is_bold(child_of(element, "rPr")))


def _outline_level(properties: Any) -> int:
    """Return the outline level of a Word paragraph or style, from 1; ``0`` for running text."""
    outline = attribute(child_of(properties, "outlineLvl"), "val")
    return int(outline) + 1 if outline.isdecimal() and int(outline) < _OUTLINE_LEVELS else 0


def _is_bold(properties: Any) -> bool:
    bold = child_of(properties, "b")
    return bold is not None and attribute(bold, "val") not in ("0", "false", "off")


def _blocks(parent: Any, styles: dict[str, _Style]) -> Iterator[tuple[Block, bool]]:
    """Yield the headings and paragraphs in an XML element of a Word document.

    Each is yielded as a pair: the block, and whether all text of the block is bold.
    """
    for child in parent:
        if local(child) == "p":
            yield _paragraph(child, styles)
            for box in every(child, "txbxContent"):
                if not any(local(above) in _LEFT_OUT for above in box.iterancestors()):
                    yield from _blocks(box, styles)
        elif local(child) == "tbl":
            yield from _table(child, styles)
        elif local(child) in _AROUND:
            yield from _blocks(child, styles)


def _paragraph(paragraph: Any, styles: dict[str, _Style]) -> tuple[Block, bool]:
    properties = child_of(paragraph, "pPr")
    style = styles.get(attribute(child_of(properties, "pStyle"), "val"), _Style())
    level = style.level or _outline_level(properties)
    text = _text(paragraph)
    runs = [run for run in every(paragraph, "r") if _text(run).strip()]
    is_bold = bool(runs) and all(style.is_bold or _is_bold(child_of(run, "rPr")) for run in runs)
    return Block(text, 0 if style.kind == "caption" else level, style.kind), is_bold


def _text(element: Any) -> str:
    parts = list[str]()
    for child in element:
        name = local(child)
        if name == "t":
            parts.append(child.text or "")
        elif name in _CHARACTERS:
            parts.append(_CHARACTERS[name])
        elif name and name not in _LEFT_OUT and not name.endswith("Pr"):
            parts.append(_text(child))
    return "".join(parts)


def _table(table: Any, styles: dict[str, _Style]) -> Iterator[tuple[Block, bool]]:
    for row in _parts(table, "tr"):
        inside = [list(_blocks(cell, styles)) for cell in _parts(row, "tc")]
        texts = [" ".join(block.text for block, _ in blocks if block.text) for blocks in inside]
        if any(len(text.split()) > _LONGEST_CELL for text in texts):
            for blocks in inside:
                yield from blocks
        else:
            yield Block(" ".join(texts), kind="table"), False


def _parts(parent: Any, name: str) -> Iterator[Any]:
    """Yield the rows of a Word table or the cells of a row, including those inside other XML elements."""
    for child in parent:
        if local(child) == name:
            yield child
        elif local(child) in _AROUND:
            yield from _parts(child, name)


def _perhaps_heading(block: Block, is_bold: bool) -> Block:
    """Return ``block`` as a heading if it looks like one; otherwise return it unchanged."""
    text = block.text.strip()
    words = len(text.split())
    if block.heading or block.kind or words > _LONGEST_HEADING or text[-1] in ".,;:":
        return block
    kind = kind_of(text)
    if is_bold or (kind is not None and words < _SHORT_HEADING):
        return block._replace(heading=1 if kind else 2)
    return block
