"""Readers of search exports, one module for each format.

The function ``read`` of a module parses a file into entries. The function ``clean`` maps the fields of an entry to
attributes of a record, from which `build_record` creates the record. To add a format, write a module and list it in
`FORMATS`. Files that are not search exports are refused with advice on what to export instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mechtag.core.errors import MechtagError
from mechtag.core.source import Source
from mechtag.pipeline.reading.formats import (
    bibtex,
    clinical_trials,
    csl_json,
    delimited,
    dimensions,
    embase_vertical,
    endnote_xml,
    enw,
    europe_pmc,
    ictrp,
    jsonl,
    lens,
    medline,
    openalex,
    ovid,
    ovid_tagged,
    parquet,
    pubmed_xml,
    refworks,
    ris,
    semantic_scholar,
    wos,
    xlsx,
)
from mechtag.pipeline.reading.tagged import Format

_RIS = "export the search results as RIS from the database or program that you used"
# Patterns in the start of files that are not search exports; the first match counts.
_KNOWN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.M | re.I), description)
    for pattern, description in (
        (r"<CitaviExchangeData\b", "a Citavi project; in Citavi, choose File, Export, RIS"),
        (r"<mods\b|<modsCollection\b|<mods:", f"a MODS file, the format of library catalogues; {_RIS}"),
        (r"^cff-version:", "a CITATION.cff file, which cites one piece of software and is not a search export"),
        (r"nep\.repec\.org|^NEP: New Economics Papers", f"a RePEc newsletter, which is not an export; {_RIS}"),
        (
            r"^Accession Number\n[ \t]+\S",
            "text from Ovid in which records do not start with a record number ('<1>'); export the records again",
        ),
        (
            r"\A\s*1[.:] [^\n]+\n(?:[^\n]*\n){0,60}?[^\n]*\bPMID: ?\d",
            "text in PubMed's format 'Summary' or 'Abstract', in which fields are not marked; in PubMed, choose Save "
            "and the format PubMed",
        ),
        (r"^Record #\d+ of \d+", "plain text from the Cochrane Library; export RIS (EndNote), with abstracts"),
        (r"^_{20,}[ \t]*\n(?:[^\n]*\n){0,20}?Title: ", "plain text from ProQuest; in ProQuest, choose Save, RIS"),
        (
            r"\A\s*\d{4,9}(?:\s+\d{4,9})*\s*\Z",
            "a list of numbers such as PubMed ids; export the records: in PubMed, choose Save and the format PubMed",
        ),
        (
            r"\A\s*(?:[^\s1]*10\.\d{4,9}/\S+(?:\s+|\Z))+\Z",
            "a list of DOIs; import the DOIs into a reference manager and export RIS",
        ),
        (r"<rdf:RDF\b", "an RDF file; in Zotero, choose Export, RIS or CSL JSON"),
        (r"<refworks\b|<rw:", "an XML file from RefWorks; in RefWorks, choose Export, RIS"),
        (
            r"<!DOCTYPE article\b|<article\b[^>]*\b(?:article-type|xmlns:xlink)=|<TEI\b",
            f"the full text of an article; {_RIS}",
        ),
        (
            r'\A\ufeff?"(?:[^\n"]|"")*[,;\t](?:[^\n"]|"")*"[ \t]*\n"(?:[^\n"]|"")*"[ \t]*(?:\n|\Z)',
            "a table in which each row is one cell in quotation marks; export the table again, or remove the quotation "
            "marks around each line and save it as CSV",
        ),
        (r"<feed\b|<rss\b", f"a news feed (Atom or RSS); {_RIS}"),
        (r"<crossref_result\b|<doi_records?\b|<doi_batch\b", f"an XML file from Crossref; {_RIS}"),
        (r"\A\{\\rtf", "a Word document (RTF), not an export; export RIS instead"),
        (
            r"\A\s*<\?xml|\A\s*<[A-Za-z]",
            "an XML file of an unknown kind (known are EndNote, PubMed, Europe PMC, ICTRP and ClinicalTrials.gov); "
            "export RIS instead",
        ),
    )
)


def describe(source: Source) -> str:
    """Describe a file that no reader recognises, for an error message.

    If the file is of a known but unsupported kind, the description says what to export instead. Otherwise, it quotes
    the start of the file.
    """
    head = source.head
    for pattern, description in _KNOWN:
        if pattern.search(head):
            return description
    return f"in an unknown format; it starts with {head.strip()[:60]!r}"


# Tried in this order: binary formats first and tables last, because almost any text could pass as a table.
FORMATS: tuple[Format, ...] = (
    *(xlsx.FORMAT, parquet.FORMAT),
    *(pubmed_xml.FORMAT, endnote_xml.FORMAT, europe_pmc.XML_FORMAT, ictrp.FORMAT, clinical_trials.XML_FORMAT),
    # Files of services are JSON documents too, and are tried before JSON of other origin. The signs of a record come
    # in all of them in front of its text.
    *(clinical_trials.FORMAT, openalex.FORMAT, lens.FORMAT, semantic_scholar.FORMAT, europe_pmc.FORMAT),
    *(dimensions.FORMAT,),
    *(ris.FORMAT, ovid_tagged.FORMAT, medline.FORMAT, wos.FORMAT, ovid.FORMAT, refworks.FORMAT, enw.FORMAT),
    *(bibtex.FORMAT, csl_json.FORMAT, jsonl.FORMAT),
    *(embase_vertical.FORMAT, delimited.FORMAT),
)


# JSON and XML quote what could look like the start of another format.
_QUOTING = re.compile(r"[\s\ufeff]*(?:[{\[]|<[?!A-Za-z])")
_QUOTED = ("JSON", "JSONL", "XML")


def find_format(source: Source) -> Format:
    """Return the format of a search export, judging by the content of the file and not by its name.

    If the content matches several formats, the format that matches the earliest line is returned. A later match may be
    part of an abstract.

    Raises
    ------
    MechtagError
        If the file is empty or binary, or its format is unknown.
    """
    first = next((known for known in FORMATS if known.recognise(source)), None)
    if first is None:
        raise MechtagError(
            f"{source.path}: this file is {describe(source)}. Export the records in a format that mechtag reads: "
            f"{', '.join(known.name for known in FORMATS)}"
        )
    if first in (xlsx.FORMAT, parquet.FORMAT, delimited.FORMAT):
        return first
    if _QUOTING.match(source.head):
        return next((known for known in FORMATS if known.name.endswith(_QUOTED) and known.recognise(source)), first)
    others = [known for known in FORMATS[FORMATS.index(first) :] if known.recognise(source)]
    if not delimited.has_titles(source):
        others = [known for known in others if known is not delimited.FORMAT]
    return _earliest(source, others) if len(others) > 1 else first


def _earliest(source: Source, formats: Sequence[Format]) -> Format:
    """Return the format that can be recognised from the fewest lines at the start of a file."""
    lines = source.head.split("\n")
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _recognised(source, lines[:middle], formats) else (middle + 1, high)
    return next(iter(_recognised(source, lines[:low], formats)), formats[0])


def _recognised(source: Source, lines: Sequence[str], formats: Sequence[Format]) -> list[Format]:
    start = source.beginning("\n".join((*lines, "")))
    return [
        known
        for known in formats
        if (delimited.has_titles(start) if known is delimited.FORMAT else known.recognise(start))
    ]
