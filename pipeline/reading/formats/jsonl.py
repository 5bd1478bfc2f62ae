"""Read JSON Lines files, which have one JSON object per line.

Names in an object may be attributes of a record, CSL-JSON fields, or table columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from mechtag.core.delimited import LONGEST_ENTRY
from mechtag.core.records import Record
from mechtag.core.source import Source
from mechtag.pipeline.reading.formats import csl_json
from mechtag.pipeline.reading.tagged import Entry, Format, overlong

_OBJECT = re.compile(r'\s*\{[ \t]*(?:"|\})')
# JSON can escape an unpaired surrogate, which no other format can hold.
_UNUSUAL = re.compile(r"\\u[dD][89a-fA-F]|\b(?:NaN|Infinity)\b")
_NAMES = frozenset((*Record.model_fields, "synopsis"))


def recognise(source: Source) -> bool:
    """Return whether the first line of a file starts a JSON object."""
    return bool(_OBJECT.match(source.head))


def _parse(line: str) -> dict[str, Any]:
    line = line.rstrip().removesuffix(",")  # as between the objects of a list
    try:
        item: Any = from_json(line, allow_inf_nan=False)
    except ValueError:
        if not _UNUSUAL.search(line):
            raise
        # Only Python's own parser accepts NaN and unpaired surrogates; `from_json` then checks the depth again.
        item = json.loads(line, parse_constant=lambda name: None)
        item = from_json(json.dumps(item, ensure_ascii=False).encode("utf-8", errors="replace"))
    if not isinstance(item, dict):
        raise ValueError(f"found {json.dumps(item)[:40]}")
    return item


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per line; a broken line becomes an entry with a fault."""
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
            fault = f"the line is not a JSON object: {error}"
            yield Entry(number, line_number, [("line", line.rstrip("\n"))], fault=fault)
            continue
        earlier, notes = csl_json.repeated_fields(line)
        yield Entry(number, line_number, [*earlier, *fields], notes=notes)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else value.split(";") if isinstance(value, str) else []


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the fields of a JSON object to attributes of a record.

    If there is no abstract, the field ``synopsis`` is used instead. Some data sets contain a synopsis because the
    abstract must not be shared.
    """
    item = dict(fields)
    if not item.keys() <= _NAMES:
        cleaned = csl_json.clean(fields)
        return {**cleaned, "abstract": cleaned.get("abstract") or item.get("synopsis")}
    item["abstract"] = item.get("abstract") or item.get("synopsis")
    item["authors"] = _list(item.get("authors"))
    item["keywords"] = _list(item.get("keywords"))
    return item


FORMAT = Format("JSONL", recognise, read, clean)
