"""Read Embase's vertical CSV, in which each row contains one field of a record.

    "TITLE","Sharing the lead"
    "AUTHOR NAMES","Marchetti L.","O'Neill P.J."

No library reads this format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.delimited import rows
from mechtag.core.source import Source
from mechtag.pipeline.reading import columns
from mechtag.pipeline.reading.tagged import Entry, Format, Outside

_TITLE = re.compile(r'^\ufeff?"?TITLE"?([,;\t])"?(?!"?AUTHOR NAMES)[^,;\t"\n]', re.M)
_OTHER = re.compile(r'^"?(?:AUTHOR NAMES|SOURCE|SOURCE TITLE|PUBLICATION YEAR|ABSTRACT)"?[,;\t]', re.M)
_NAME = re.compile(r"[A-Z][A-Za-z /()-]{1,60}")


def recognise(source: Source) -> bool:
    """Return whether a file has a row ``TITLE`` that contains a title, and a row with another field name of Embase."""
    return bool(_TITLE.search(source.head) and _OTHER.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per record; the search strategy above the first record is skipped.

    A new record starts at each row TITLE, and at each field name that the current record already has.
    """
    title = _TITLE.search(source.head)
    if title is None:
        return
    # The row with the first title may be damaged.
    start = min(title.start(), *(found.start() for found in _OTHER.finditer(source.head)))
    above = source.head.count("\n", 0, start)
    outside = Outside()
    search = False
    for place, text in enumerate(source.head[:start].split("\n"), start=1):
        search = columns.is_search(text, search)
        if not search:
            outside.add(place, text)
    source.notes += outside.notes()
    number, opened, fault = 0, 0, ""
    fields: list[tuple[str, Any]] = []
    known: set[str] = set()
    for line, row, broken in rows(source.lines(), above, title[1]):
        cells = [cell for cell in row if cell.strip()]
        if not _NAME.fullmatch(cells[0].strip()) and fields and not broken:
            # A row without a field name continues the value above.
            name, value = fields[-1]
            if not isinstance(value, list):
                fields[-1] = (name, value := [value])
            value += cells
            continue
        name = cells[0].strip()
        if fields and (name == "TITLE" or name in known):
            number += 1
            yield Entry(number, opened, fields, fault=fault)
            fields, fault = [], ""
            known.clear()
        known.add(name)
        opened = opened if fields else line
        fault = fault or broken
        fields.append((name, cells[1] if len(cells) == 2 else cells[1:]))
    if fields:
        yield Entry(number + 1, opened, fields, fault=fault)


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map Embase's fields to attributes of a record.

    The field names are the column names of Embase's ordinary tables.
    """
    return columns.clean([(name, "; ".join(value) if isinstance(value, list) else value) for name, value in fields])


FORMAT = Format("Embase CSV, one field per row", recognise, read, clean)
