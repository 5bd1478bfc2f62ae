"""Readers of search exports, one module a format.

A module reads (file to entries) and cleans (fields of an entry to attributes of a record);
`construct` builds the records. A new format is one more module and its line in `FORMATS`.
"""

from __future__ import annotations

from pipeline.errors import MechtagError
from pipeline.readers import delimited, jsonl, ris
from pipeline.readers.base import Format, Source

# Asked in this order: nearly any text could be taken for a table.
FORMATS: tuple[Format, ...] = (ris.FORMAT, jsonl.FORMAT, delimited.FORMAT)


def find_format(source: Source) -> Format:
    """Choose a reader by what the file holds, whatever it is called.

    Raises
    ------
    MechtagError
        The file is empty, binary, or of no known format.
    """
    for known in FORMATS:
        if known.recognise(source):
            return known
    start = source.head.strip()[:60]
    raise MechtagError(
        f"{source.path}: of no known format; it starts with {start!r}. "
        f"Known formats: {', '.join(known.name for known in FORMATS)}"
    )
