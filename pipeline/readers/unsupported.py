"""Files that reviewers have at hand and that are no search export: what they are, and what to export instead."""

from __future__ import annotations

import re

from pipeline.readers.base import Source

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
