"""Functions that the readers of JSON from bibliographic services share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.author_lists import family_first
from mechtag.pipeline.reading.formats import csl_json, jsonl
from mechtag.pipeline.reading.tagged import Entry, Format

_PMID = re.compile(r"(\d{1,9})/?\s*$")


def json_format(name: str, sign: str, map_item: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Format:
    """Return the `Format` of JSON files from one bibliographic service.

    Parameters
    ----------
    name
        Name of the format.
    sign
        Regular expression that matches only files of this service.
    map_item
        Function that maps a JSON object to attributes of a record. If the function leaves an attribute out or empty,
        the attribute is read as in CSL-JSON.
    """
    pattern = re.compile(sign)

    def recognise(source: Source) -> bool:
        known = csl_json.recognise(source) or jsonl.recognise(source)
        return known and bool(pattern.search(source.head))

    def read(source: Source) -> Iterator[Entry]:
        return csl_json.read_items(source) if csl_json.recognise(source) else jsonl.read(source)

    def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
        return {**csl_json.clean(fields), **{name: value for name, value in map_item(dict(fields)).items() if value}}

    return Format(name, recognise, read, clean)


def at(item: Any, *path: str) -> Any:
    """Return the value at a path of names in nested JSON objects, or ``None`` if there is no such value."""
    for name in path:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def text(item: Any, *path: str) -> str:
    """Follow the keys ``path`` through nested JSON objects, and return the text that they lead to.

    If they lead to a list, its texts are joined by semicolons. If they lead to no text, the result is ``""``.
    """
    value = at(item, *path)
    if isinstance(value, list):
        return "; ".join(filter(None, map(text, value)))
    return "" if value is None or isinstance(value, dict | bool) else str(value)


def many(item: Any, *path: str) -> list[Any]:
    """Follow the keys ``path`` through nested JSON objects, and return the list that they lead to.

    If the value is not a list, a list of this one value is returned. If the value is missing or empty, the list is
    empty.
    """
    value = at(item, *path)
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def person(author: Any, family: str, given: str) -> str:
    """Return 'Family, Given' from two fields of an author; if there is no family name, return the author's full name.

    ``family`` and ``given`` are the names of the two fields.
    """
    if last := text(author, family):
        return ", ".join(filter(None, (last, text(author, given))))
    return family_first(text(author, "name") or text(author, "collective_name") or text(author))


def pmid_of(value: str) -> str | None:
    """Return the PubMed id at the end of a text such as a URL, or ``None`` if the text does not end in a PubMed id."""
    found = _PMID.search(value)
    return found[1] if found else None
