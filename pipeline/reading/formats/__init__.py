"""Readers of search exports, one module for each format.

A module reads (file to entries) and cleans (fields of an entry to attributes of a record); `build_record` makes the
records. A new format is one more module and its line in `FORMATS`. Files that are not search exports are refused with
advice on what to export instead.
"""

from __future__ import annotations

import re

from mechtag.core.errors import MechtagError
from mechtag.pipeline.reading import formats as unsupported
from mechtag.pipeline.reading.formats import (
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
    wos,
    xlsx,
)
from mechtag.pipeline.reading.source import Format, Source

_RIS = "export the search results as RIS from the program it came from"
# What the start of a file tells; the first that fits counts.
_KNOWN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.M | re.I), told)
    for pattern, told in (
        (r"<CitaviExchangeData\b", "a Citavi project; in Citavi, choose File, Export, RIS"),
        (r"<mods\b|<modsCollection\b|<mods:", f"MODS, a library's catalogue format; {_RIS}"),
        (r"^cff-version:", "a CITATION.cff, which cites one piece of software; it is no search export"),
        (r"nep\.repec\.org|^NEP: New Economics Papers", f"a RePEc newsletter, made for reading; {_RIS}"),
        (
            r"^Accession Number\n[ \t]+\S",
            "Ovid text without the record numbers ('<1>') that begin its records; export again from Ovid",
        ),
        (r"\A\{\\rtf", "a Word document (RTF), not an export; export RIS instead"),
        (
            r"\A\s*<\?xml|\A\s*<[A-Za-z]",
            "XML that is neither EndNote's nor PubMed's; export RIS, EndNote XML or PubMed",
        ),
    )
)


def describe(source: Source) -> str:
    """Name a file that no reader takes, or tell how it starts."""
    head = source.head
    for pattern, told in _KNOWN:
        if pattern.search(head):
            return told
    return f"of no known format; it starts with {head.strip()[:60]!r}"


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
