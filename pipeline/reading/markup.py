"""XML exports, cut into records first, so that a broken one costs no more than itself.

Each record is parsed alone with defusedxml. Nothing before or around it, such as a declaration of
entities, is ever parsed: no entity can grow or fetch anything, and a file that declares any is refused.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring

from mechtag.core.errors import MechtagError
from mechtag.pipeline.reading.source import Entry, Source

# What may stand within a text; the text goes on through it.
INLINE = frozenset(("style", "i", "b", "u", "sub", "sup", "sc", "em", "strong", "italic", "bold"))
# Five names are XML's own; all others would need a declaration.
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]*);")
_DEEPEST = 50
# Characters that XML does not allow, written out or by number; EndNote exports hold some.
_FORBIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:0*(?:[0-8]|1[1-24-9]|2\d|3[01])|x0*(?:[0-8bcef]|1[0-9a-f]));", re.I
)


def refuse_entities(source: Source) -> None:
    """Refuse a file that declares entities: exports never do, and attacks on XML readers rest on them.

    Raises
    ------
    MechtagError
        With the line of the declaration.
    """
    if declared := re.search(r"<!ENTITY\b", source.text):
        line = source.text.count("\n", 0, declared.start()) + 1
        raise MechtagError(
            f"{source.path}: line {line}: the XML declares entities, which no database's export does; "
            "it is not read, for safety. Export the search results again"
        )


def read_records(source: Source, *names: str) -> Iterator[Entry]:
    """Read each element with one of these names; its children become the fields of an entry.

    Values are text where a child holds text, whatever markup is in it; else a mapping of the names of its
    attributes (with ``@``) and children to values, each child's in a list, and ``#`` to its own text.
    """
    refuse_entities(source)
    tag = re.compile(rf"<(/?)(?:{'|'.join(names)})(?:\s[^<>]*)?/?>")
    for number, (line, text, whole) in enumerate(_cut(source.text, tag), start=1):
        if whole:
            yield _entry(number, line, text)
        else:
            fault = "the record is cut short: it is opened but never closed"
            yield Entry(number, line, [("xml", text)], fault=fault)


def _cut(text: str, tag: re.Pattern[str]) -> Iterator[tuple[int, str, bool]]:
    """Line and text of each element, and whether it is closed."""
    line, counted = 1, 0
    opened: int | None = None
    for found in chain(tag.finditer(text), [None]):
        closes = found is not None and (found[1] != "" or found[0].endswith("/>"))
        starts = found is not None and found[1] == ""
        if opened is not None and (starts or found is None):
            line, counted = line + text.count("\n", counted, opened), opened
            yield line, text[opened : found.start() if found else None], False
            opened = None
        if starts and found:
            opened = found.start()
        if closes and found and opened is not None:
            line, counted = line + text.count("\n", counted, opened), opened
            yield line, text[opened : found.end()], True
            opened = None


def _entry(number: int, line: int, text: str) -> Entry:
    mended = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    mended, removed = _FORBIDDEN.subn("", mended)
    try:
        record = fromstring(mended)
        fields = [(child.tag, as_json(child)) for child in record]
    except (ParseError, RecursionError) as error:
        return Entry(number, line, [("xml", text)], fault=f"not readable as XML: {error}")
    notes = ("characters that XML does not allow were left out",) if removed else ()
    return Entry(number, line, fields, notes=notes)


def as_json(element: Element, depth: int = 1) -> Any:
    """Give an element as text or as a mapping; see `read_records`.

    Raises
    ------
    ParseError
        Elements stand in one another deeper than JSON is read again.
    """
    if depth > _DEEPEST:
        raise ParseError(f"elements are nested deeper than {_DEEPEST} levels")
    children = [child for child in element if child.tag not in INLINE]
    mixed = any(part and not part.isspace() for part in (element.text, *(child.tail for child in element)))
    if mixed or not children:
        text = "".join(element.itertext()).strip()
        return {**_attributes(element), "#": text} if element.attrib else text
    found: dict[str, Any] = _attributes(element)
    for child in children:
        found.setdefault(child.tag, []).append(as_json(child, depth + 1))
    return found


def _attributes(element: Element) -> dict[str, Any]:
    return {f"@{name}": value for name, value in element.attrib.items()}


def every(node: Any, *path: str) -> list[Any]:
    """Values at the end of a path of names, in their order; ``node`` may be the fields of an entry."""
    if isinstance(node, Sequence) and not isinstance(node, str):
        nodes = [value for name, value in node if name == path[0]]
    else:
        nodes = node.get(path[0], []) if isinstance(node, dict) else []
    return nodes if len(path) == 1 else [value for child in nodes for value in every(child, *path[1:])]


def text_of(value: Any) -> str:
    """Text of a value, without its attributes."""
    return str(value.get("#", "")) if isinstance(value, dict) else value if isinstance(value, str) else ""


def texts(node: Any, *path: str) -> list[str]:
    """Texts at the end of a path of names that are not empty."""
    return [text for value in every(node, *path) if (text := text_of(value))]


def text(node: Any, *path: str) -> str:
    """First text at the end of a path of names, or ``""``."""
    return next(iter(texts(node, *path)), "")
