"""Parse XML files without expanding entities, and without loading files to which they refer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lxml import etree

from mechtag.core.errors import MechtagError


def parse(data: bytes, name: str) -> Any:
    """Return the root element of an XML document.

    A hostile file can neither read other files nor fill the memory. Entities are not expanded, no other file is loaded,
    and the size of a text node is limited.

    Raises
    ------
    MechtagError
        If the file is not well-formed. The message begins with ``name``.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise MechtagError(f"{name} cannot be read as XML ({error.msg}); download it again") from None


def local(element: Any) -> str:
    """Return the name of an element without its namespace, or ``""`` for anything that is not an element."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def children(element: Any, *names: str) -> Iterator[Any]:
    """Yield the children of an element that have one of the given names."""
    return (child for child in element if local(child) in names)


def every(element: Any, *names: str) -> Iterator[Any]:
    """Yield each element with one of the given names, in document order; ``element`` itself may be one of them."""
    return (found for found in element.iter() if local(found) in names)


def first(elements: Iterable[Any]) -> Any:
    """Return the first of the elements, or ``None`` if there are none."""
    return next(iter(elements), None)


def child_of(element: Any, name: str) -> Any:
    """Return the first child with a given name, or ``None`` if ``element`` has no such child or is ``None``."""
    return None if element is None else first(children(element, name))


def attribute(element: Any, name: str) -> str:
    """Return the value of an attribute that has a namespace.

    ``name`` is the name without the namespace, such as ``href`` for ``xlink:href``. The result is ``""`` if the element
    has no such attribute, or if ``element`` is ``None``.
    """
    found = {} if element is None else element.attrib
    return next((str(value) for key, value in found.items() if key.endswith("}" + name)), "")


def text_of(element: Any, leave_out: frozenset[str] = frozenset()) -> str:
    """Return the text of an element, including the text of all elements in it.

    Elements whose name is in ``leave_out`` are left out. If ``element`` is ``None``, the result is ``""``.
    """
    if element is None:
        return ""
    parts = [element.text or ""]
    for child in element:
        if local(child) and local(child) not in leave_out:
            parts.append(text_of(child, leave_out))
        parts.append(child.tail or "")
    return "".join(parts)
