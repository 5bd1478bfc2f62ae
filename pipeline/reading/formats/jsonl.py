"""JSON Lines: one object a line, with the attributes of a record as names, or those of CSL-JSON or a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from mechtag.core.records import Record
from mechtag.pipeline.reading.formats import csl_json
from mechtag.pipeline.reading.source import LONGEST_ENTRY, Entry, Format, Source, overlong

_OBJECT = re.compile(r'\s*\{[ \t]*(?:"|\})')
# JSON can name half of a character pair, which no other format could take.
_UNUSUAL = re.compile(r"\\u[dD][89a-fA-F]|\b(?:NaN|Infinity)\b")
_NAMES = frozenset((*Record.model_fields, "synopsis"))


def recognise(source: Source) -> bool:
    """Whether the first line opens a JSON object."""
    return bool(_OBJECT.match(source.head))


def _parse(line: str) -> dict[str, Any]:
    try:
        item: Any = from_json(line, allow_inf_nan=False)
    except ValueError:
        if not _UNUSUAL.search(line):
            raise
        # NaN and halves of character pairs, which only Python's own reader takes; depth is checked again.
        item = json.loads(line, parse_constant=lambda name: None)
        item = from_json(json.dumps(item, ensure_ascii=False).encode("utf-8", errors="replace"))
    if not isinstance(item, dict):
        raise ValueError(f"holds {json.dumps(item)[:40]}")
    return item


def read(source: Source) -> Iterator[Entry]:
    """Read one object a line; a broken line is an entry with a fault."""
    number = 0
    for line_number, line in enumerate(source.lines(), start=1):
        if line.isspace():
            continue
        number += 1
        if len(line) > LONGEST_ENTRY:
            yield overlong(number, line_number, line)
            continue
        try:
            fields = list(_parse(line).items())
        except (ValueError, RecursionError) as error:
            yield Entry(number, line_number, [("line", line.rstrip("\n"))], fault=f"not a JSON object: {error}")
            continue
        yield Entry(number, line_number, fields)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else value.split(";") if isinstance(value, str) else []


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Names are those of a record, else of CSL or a table; ``synopsis`` is for an abstract that may not be shared."""
    item = dict(fields)
    if not item.keys() <= _NAMES:
        cleaned = csl_json.clean(fields)
        return {**cleaned, "abstract": cleaned.get("abstract") or item.get("synopsis")}
    item["abstract"] = item.get("abstract") or item.get("synopsis")
    item["authors"] = _list(item.get("authors"))
    item["keywords"] = _list(item.get("keywords"))
    return item


FORMAT = Format("JSONL", recognise, read, clean)
