"""Read the JSON report of EPPI-Reviewer: the tree of codes, and the codes of each reference.

The report contains the completed codings, but not the names of the coders. The status of a reference is not read,
because it is 'included in review' until someone excludes the reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.core.records import BETWEEN_QUOTES
from mechtag.pipeline.annotations.cited_papers import paper_of, text_of
from mechtag.pipeline.annotations.imports.formats.base import (
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    faulty,
    name_in_tree,
    objects,
)

_DEEPEST = 50
# Markers around text that was selected in a PDF.
_MARKS = re.compile(r"Page \d+:\s*|\[¬[se]\]")
_SCREENING = {"include": "included", "exclude": "excluded"}
# Fields of a reference, and the equivalent table columns.
_FIELDS = {"Title": "title", "Authors": "authors", "Year": "year", "DOI": "doi", "ItemId": "id", "OldItemId": "key"}


class Node(NamedTuple):
    """A code in EPPI-Reviewer's tree of codes.

    ``path`` contains the names of all codes from the root of the tree to this code. ``kind`` is the type that
    EPPI-Reviewer gives the code.
    """

    path: tuple[str, ...]
    kind: str


def recognise(content: Content) -> bool:
    """Return whether a file is a report exported from EPPI-Reviewer: a single JSON object with references."""
    return content.kind == "objects" and "References" in content.names


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one item per reference.

    A ticked code is a yes for the label. Text that was entered or highlighted for a code is the evidence.

    Raises
    ------
    MechtagError
        If there is no tree of codes, or if the tree has too many levels.
    """
    documents = [dict(entry.fields) for entry in content.entries if not entry.fault]
    yield from (faulty(entry) for entry in content.entries if entry.fault)
    nodes: dict[int, Node] = {}
    for code_set in (found for document in documents for found in objects(document.get("CodeSets"))):
        nodes |= _nodes(code_set, (text_of(code_set.get("SetName")),), content)
    if not nodes:
        raise MechtagError(
            f"{content.path}: the report contains no codes under CodeSets; in EPPI-Reviewer, select the coding tools "
            "to include in the report"
        )
    names = {
        number: name_in_tree(node.path, asked, _SCREENING.get(node.kind.lower(), "")) for number, node in nodes.items()
    }
    references = [found for document in documents for found in objects(document.get("References"))]
    for number, reference in enumerate(references, start=1):
        fields = [(_FIELDS[name], value) for name, value in reference.items() if name in _FIELDS]
        codes = tuple(_code(code, names) for code in objects(reference.get("Codes")))
        finished = ("",) if codes else ()
        yield Item(number, 1, paper_of(fields), codes, finished, tuple(names.values()))


def _nodes(node: dict[str, Any], above: tuple[str, ...], content: Content) -> dict[int, Node]:
    """Return all codes in the tree below a node, keyed by code id."""
    if len(above) > _DEEPEST:
        raise MechtagError(
            f"{content.path}: codes are nested more than {_DEEPEST} levels deep; export a codebook with fewer levels"
        )
    found: dict[int, Node] = {}
    branches = node.get("Attributes")
    for attribute in objects(branches.get("AttributesList") if isinstance(branches, dict) else None):
        path = (*above, text_of(attribute.get("AttributeName")))
        found[_number(attribute)] = Node(path, text_of(attribute.get("AttributeType")))
        found |= _nodes(attribute, path, content)
    return found


def _number(node: dict[str, Any]) -> int:
    """Return the ``AttributeId`` of a code, or 0 if it has none."""
    number = node.get("AttributeId")
    return number if isinstance(number, int) else 0


def _code(code: dict[str, Any], names: Mapping[int, str]) -> Code:
    number = _number(code)
    label = names.get(number, f"AttributeId {number}")
    marked = objects(code.get("ItemAttributeFullTextDetails"))
    quotes = [_MARKS.sub("", text_of(mark.get("Text"))).strip(' "') for mark in marked]
    evidence = BETWEEN_QUOTES.join(filter(None, (*quotes, text_of(code.get("AdditionalText")))))
    return Code(label, 1, evidence=evidence, basis="full-text" if marked else None)


FORMAT = CodingFormat("EPPI-Reviewer", recognise, read)
