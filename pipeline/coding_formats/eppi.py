"""EPPI-Reviewer: the JSON report of codings, with the tree of codes and the codes of each reference.

The report holds the completed coding and not who did it. The status of an item is not read: all
are 'included in review' until someone excludes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipeline.coding_formats.base import Asked, Code, CodingFormat, Item, faulty, objects, paper_of, text_of
from pipeline.coding_formats.content import Content
from pipeline.errors import MechtagError

_DEEPEST = 50
# Marks around the text that was selected in a PDF.
_MARKS = re.compile(r"Page \d+:\s*|\[¬[se]\]")
_SCREENING = {"include": "included", "exclude": "excluded"}
# Names of a reference, and the columns that they are like.
_FIELDS = {"Title": "title", "Authors": "authors", "Year": "year", "DOI": "doi", "ItemId": "id", "OldItemId": "key"}


def recognise(content: Content) -> bool:
    """Whether it is one object with references, as EPPI-Reviewer writes it."""
    return content.kind == "objects" and "References" in content.names


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Read one reference an item; its codes are ticks, and what was written or marked there is evidence.

    Raises
    ------
    MechtagError
        There is no tree of codes, or it is nested too deeply.
    """
    documents = [dict(entry.fields) for entry in content.entries if not entry.fault]
    yield from (faulty(entry) for entry in content.entries if entry.fault)
    names: dict[int, tuple[str, str]] = {}
    for code_set in (found for document in documents for found in objects(document.get("CodeSets"))):
        names |= _attributes(code_set, (text_of(code_set.get("SetName")),), content)
    if not names:
        raise MechtagError(
            f"{content.path}: no codes under CodeSets; in EPPI-Reviewer, choose the coding tools to be in the report"
        )
    offered = tuple({_named(path, kind, asked) for path, kind in names.values() if _known(path, kind, asked)})
    references = [found for document in documents for found in objects(document.get("References"))]
    for number, reference in enumerate(references, start=1):
        fields = [(_FIELDS[name], value) for name, value in reference.items() if name in _FIELDS]
        ticked = [(code, _number(code)) for code in objects(reference.get("Codes"))]
        strange = [number for _, number in ticked if number not in names]
        codes = tuple(_code(code, _named(*names[number], asked)) for code, number in ticked if number in names)
        fault = f"codes {strange[:5]} are in none of the CodeSets" if strange else ""
        finished = ("",) if codes else ()
        yield Item(number, 1, paper_of(fields), codes, finished, offered, fault)


def _attributes(node: dict[str, Any], above: tuple[str, ...], content: Content) -> dict[int, tuple[str, str]]:
    """Path and type of each attribute below a node, by its id."""
    if len(above) > _DEEPEST:
        raise MechtagError(f"{content.path}: codes nested more than {_DEEPEST} deep")
    found: dict[int, tuple[str, str]] = {}
    branches = node.get("Attributes")
    for attribute in objects(branches.get("AttributesList") if isinstance(branches, dict) else None):
        path = (*above, text_of(attribute.get("AttributeName")))
        if number := _number(attribute):
            found[number] = (" / ".join(path), text_of(attribute.get("AttributeType")))
        found |= _attributes(attribute, path, content)
    return found


def _number(node: dict[str, Any]) -> int:
    """Id of an attribute; 0 is none."""
    number = node.get("AttributeId")
    return number if isinstance(number, int) else 0


def _known(path: str, kind: str, asked: Asked) -> bool:
    return asked.labels.find(_named(path, kind, asked)) is not None


def _named(path: str, kind: str, asked: Asked) -> str:
    """Name to look up: the whole path where the user mapped it, else that of the code itself."""
    name = path.rsplit(" / ", 1)[-1]
    if asked.labels.find(path):
        return path
    return name if asked.labels.find(name) else _SCREENING.get(kind.lower(), path)


def _code(code: dict[str, Any], label: str) -> Code:
    marked = objects(code.get("ItemAttributeFullTextDetails"))
    quotes = [_MARKS.sub("", text_of(mark.get("Text"))).strip(' "') for mark in marked]
    evidence = " […] ".join(filter(None, (*quotes, text_of(code.get("AdditionalText")))))
    return Code(label, 1, evidence=evidence, basis="full-text" if marked else None)


FORMAT = CodingFormat("EPPI-Reviewer", recognise, read)
