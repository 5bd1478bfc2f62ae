"""Readers of search exports, one module for each format.

Each module parses a file into entries (``read``) and maps the fields of an entry to attributes of a record
(``clean``); `build_record` makes the records. To add a format, write a module and list it in `FORMATS`. Files that
are not search exports are refused with advice on what to export instead.
"""

from __future__ import annotations

import re

from mechtag.core.errors import MechtagError
from mechtag.core.source import Source
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
from mechtag.pipeline.reading.tagged import Format

_RIS = "export the search results as RIS from the program it came from"
# Patterns in the start of files that are not search exports; the first match counts.
_KNOWN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.M | re.I), description)
    for pattern, description in (
        (r"<CitaviExchangeData\b", "a Citavi project; in Citavi, choose File, Export, RIS"),
        (r"<mods\b|<modsCollection\b|<mods:", f"MODS, a library's catalogue format; {_RIS}"),
        (r"^cff-version:", "a CITATION.cff file, which cites one piece of software and is not a search export"),
        (r"nep\.repec\.org|^NEP: New Economics Papers", f"a RePEc newsletter, which is not an export; {_RIS}"),
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
    """Describe a file that no reader recognises: its known format with advice, or else how it starts."""
    head = source.head
    for pattern, description in _KNOWN:
        if pattern.search(head):
            return description
    return f"unknown format; it starts with {head.strip()[:60]!r}"


# Tried in this order: binary formats first and tables last, because almost any text could pass as a table.
FORMATS: tuple[Format, ...] = (
    *(xlsx.FORMAT, parquet.FORMAT),
    *(pubmed_xml.FORMAT, endnote_xml.FORMAT),
    *(ris.FORMAT, medline.FORMAT, wos.FORMAT, ovid.FORMAT, enw.FORMAT, bibtex.FORMAT),
    *(csl_json.FORMAT, jsonl.FORMAT),
    *(embase_vertical.FORMAT, delimited.FORMAT),
)


def find_format(source: Source) -> Format:
    """Return the format of a file, recognised by its content and not by its name.

    Raises
    ------
    MechtagError
        The file is empty or binary, or its format is unknown.
    """
    for known in FORMATS:
        if known.recognise(source):
            return known
    raise MechtagError(
        f"{source.path}: {describe(source)}. Known formats: {', '.join(known.name for known in FORMATS)}"
    )
