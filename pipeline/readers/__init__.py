"""Readers of search exports, one module a format.

A module reads (file to entries) and cleans (fields of an entry to attributes of a record);
`construct` builds the records. A new format is one more module and its line in `FORMATS`.
"""

from __future__ import annotations

from pipeline.errors import MechtagError
from pipeline.readers import (
    bibtex,
    csl_json,
    delimited,
    embase_vertical,
    endnote_xml,
    enw,
    jsonl,
    medline,
    ovid,
    parquet,
    pubmed_xml,
    ris,
    unsupported,
    wos,
    xlsx,
)
from pipeline.readers.base import Format, Source

# Asked in this order: the binary ones first, and tables last, for nearly any text could be taken for one.
FORMATS: tuple[Format, ...] = (
    *(xlsx.FORMAT, parquet.FORMAT),
    *(pubmed_xml.FORMAT, endnote_xml.FORMAT),
    *(ris.FORMAT, medline.FORMAT, wos.FORMAT, ovid.FORMAT, enw.FORMAT, bibtex.FORMAT),
    *(csl_json.FORMAT, jsonl.FORMAT),
    *(embase_vertical.FORMAT, delimited.FORMAT),
)


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
    raise MechtagError(
        f"{source.path}: {unsupported.describe(source)}. Known formats: {', '.join(known.name for known in FORMATS)}"
    )
