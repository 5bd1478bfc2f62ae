"""Parse XML exports record by record, so that a broken record does not affect the others.

Each record is parsed separately with defusedxml. The text around the records is never parsed. A file that declares an
entity is refused, so no entity can expand or load anything.
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
from mechtag.core.source import Source
from mechtag.pipeline.reading.tagged import Entry

# Inline elements, which do not interrupt the text around them.
INLINE = frozenset(("style", "i", "b", "u", "sub", "sup", "sc", "em", "strong", "italic", "bold"))
# XML predefines five entities; all others would need a declaration.
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]*);")
_DEEPEST, _HAS_TEXT = 50, re.compile(r"\w")
# Characters that XML forbids, literal or by number; some EndNote exports contain them.
_FORBIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:0*(?:[0-8]|1[1-24-9]|2\d|3[01])|x0*(?:[0-8bcef]|1[0-9a-f]));", re.I
)


def refuse_entities(source: Source) -> None:
    """Raise an error if an XML file declares entities.

    Attacks on XML parsers use such declarations, whereas exports never contain them.

    Raises
    ------
    MechtagError
        If the file declares an entity. The message states the line.
    """
    if declared := re.search(r"<!ENTITY\b", source.text):
        line = source.text.count("\n", 0, declared.start()) + 1
        raise MechtagError(
            f"{source.path}: line {line}: the XML declares entities. Database exports never declare entities, but "
            "attacks do, so the file was not read. Export the search results again"
        )


def read_records(source: Source, *names: str) -> Iterator[Entry]:
    """Yield one entry per XML element with one of the given names.

    Each child of the element becomes a field. There are two cases:

    - The child has no attributes and contains text. The value of the field is the text, including that of inline
      elements such as <i>.
    - Otherwise, the value is a mapping. The elements in the child are in lists, keyed by name. The key of an attribute
      is its name, preceded by ``@``. The key of the text is ``#``.
    """
    refuse_entities(source)
    # A damaged tag may lack its end or have letters of the wrong case.
    tag = re.compile(rf"<(/?)(?:{'|'.join(names)})(?:\s[^<>]*)?(?:/?>|(?=<|\Z))", re.I)
    end = 0
    outside = ""
    for number, (line, text, fault) in enumerate(_elements(source.text, tag), start=1):
        start = source.text.index(text, end)
        outside = outside or _note_outside(source.text[end:start], number == 1)
        end = start + len(text)
        yield Entry(number, line, [("xml", text)], fault=fault) if fault else _entry(number, line, text)
    before, after = source.text.partition("<")[0], source.text.rpartition(">")[2]
    if before.strip("\ufeff \n\t") or after.strip("\ufeff \n\t\x1a"):
        source.notes.append("the text before the first element or after the last one was not read")
    if outside := outside or _note_outside(source.text[end:].removesuffix(after), end == 0):
        source.notes.append(f"{outside}; export the search results again")


_TITLE, _SHOWN = re.compile(r"<\w*title\b[^<>]*>\s*([^<>\s][^<>]*)", re.I), 60
_MARKUP, _WORD = re.compile(r"<(/?)([\w:-]*+)[^<>]*>"), re.compile(r"[^\W\d_]{3}")
# Elements in which databases repeat the search above the records.
_SEARCH = frozenset(("request", "query", "nextPageUrl", "nextCursorMark"))


def _note_outside(text: str, above: bool) -> str:
    """Return a note if ``text``, which is outside of all records, contains words; otherwise return ``""``."""
    if found := _TITLE.search(text):
        return f"a title outside of records was not read: {found[1].strip()[:_SHOWN]!r}"
    lines: list[str] = []
    # Above the first record, databases repeat the search query, so it is ignored.
    place, search = len(text.partition("<")[0]) if above else 0, ""
    ends = {name: text.rfind(f"</{name}>") for name in _SEARCH} if above else {}
    for tag in _MARKUP.finditer(text):
        if not search:
            lines += text[place : tag.start()].split("\n")
        place = tag.end()
        if tag[1] and tag[2] == search:
            search = ""
        elif not search and not tag[1] and tag.end() <= ends.get(tag[2], -1) and not tag[0].endswith("/>"):
            search = tag[2]
    lines += text[place:].split("\n")
    words = next((line.strip()[:_SHOWN] for line in lines if _WORD.search(line)), "")
    return f"text outside of records was not read: {words!r}" if words else ""


_NOT_CLOSED = "the element of the record is opened but never closed, so the record is truncated; export it again"
_NOT_OPENED = "the element of the record is closed but never opened, so its start is missing; export it again"


def _elements(text: str, tag: re.Pattern[str]) -> Iterator[tuple[int, str, str]]:
    """Yield three values for each element: its line number, its text, and an error message.

    The message is ``""`` if the element has both its start tag and its end tag.
    """
    line, counted, end = 1, 0, 0
    opened: int | None = None
    for found in chain(tag.finditer(text), [None]):
        closes = found is not None and (found[1] != "" or found[0].endswith("/>"))
        starts = found is not None and found[1] == ""
        if opened is not None and (starts or found is None):
            line, counted = line + text.count("\n", counted, opened), opened
            end = found.start() if found else len(text)
            yield line, text[opened:end], _NOT_CLOSED
            opened = None
        if starts and found:
            opened = found.start()
        if closes and found and opened is not None:
            line, counted = line + text.count("\n", counted, opened), opened
            end = found.end()
            yield line, text[opened:end], ""
            opened = None
        elif closes and found:
            line, counted, start = line + text.count("\n", counted, end), end, end
            end = found.end()
            yield line, text[start:end], _NOT_OPENED


def _entry(number: int, line: int, text: str) -> Entry:
    mended = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    mended, removed = _FORBIDDEN.subn("", mended)
    try:
        record = fromstring(mended)
        fields = [(child.tag, as_json(child)) for child in record]
    except (ParseError, RecursionError) as error:
        return Entry(number, line, [("xml", text)], fault=f"the record is not readable as XML: {error}")
    notes = ("characters that XML does not allow were removed",) if removed else ()
    return Entry(number, line, fields, notes=notes)


def as_json(element: Element, depth: int = 1) -> Any:
    """Convert an XML element to its text, or to a mapping as described in `read_records`.

    If the element has attributes or contains only elements, the result is a mapping.

    Raises
    ------
    ParseError
        If elements are nested more deeply than JSON parsers accept.
    """
    if depth > _DEEPEST:
        raise ParseError(f"elements are nested more than {_DEEPEST} levels deep")
    children = [child for child in element if child.tag not in INLINE]
    # A mark such as '>' between elements, as mail programs add before lines, is not text.
    mixed = any(part and _HAS_TEXT.search(part) for part in (element.text, *(child.tail for child in element)))
    if mixed or not children:
        text = _inline_text(element).strip()
        return {**_attributes(element), "#": text} if element.attrib else text
    found: dict[str, Any] = _attributes(element)
    for child in children:
        found.setdefault(child.tag, []).append(as_json(child, depth + 1))
    return found


def _inline_text(element: Element) -> str:
    """Return the text of an XML element, with superscripts in <sup> tags."""
    parts = [element.text or ""]
    for child in element:
        # 10<sup>6</sup> is not 106.
        raised = child.tag == "sup" or "superscript" in child.get("face", "")
        text = _inline_text(child)
        parts += (f"<sup>{text}</sup>" if raised else text, child.tail or "")
    return "".join(parts)


def _attributes(element: Element) -> dict[str, Any]:
    return {f"@{name}": value for name, value in element.attrib.items()}


def every(node: Any, *path: str) -> list[Any]:
    """Return all values at a path of element names below ``node``, in file order.

    ``node`` is an element that `as_json` converted, or the list of the fields of an entry.
    """
    if isinstance(node, Sequence) and not isinstance(node, str):
        nodes = [value for name, value in node if name == path[0]]
    else:
        nodes = node.get(path[0], []) if isinstance(node, dict) else []
    return nodes if len(path) == 1 else [value for child in nodes for value in every(child, *path[1:])]


def text_of(value: Any) -> str:
    """Return the text of an XML element that `as_json` converted, without the attributes."""
    return str(value.get("#", "")) if isinstance(value, dict) else value if isinstance(value, str) else ""


def texts(node: Any, *path: str) -> list[str]:
    """Return all non-empty texts at a path of element names below ``node`` (see `every`)."""
    return [text for value in every(node, *path) if (text := text_of(value))]


def text(node: Any, *path: str) -> str:
    """Return the first non-empty text at a path of element names below ``node`` (see `every`), or ``""``."""
    return next(iter(texts(node, *path)), "")
