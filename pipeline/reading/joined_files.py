"""Recognise files that were joined from exports in different formats."""

from __future__ import annotations

import re

from mechtag.core.source import Source
from mechtag.pipeline.reading.columns import attributes
from mechtag.pipeline.reading.formats import bibtex, delimited, enw, medline, ovid, ovid_tagged, refworks, ris, wos
from mechtag.pipeline.reading.tagged import Format

# The line that starts a record in each format; stricter than the readers, because abstracts hold anything.
_STARTS = {
    ris.FORMAT.name: r"TY {2}- ?[A-Z]{3,}\s*",
    medline.FORMAT.name: r"PMID- ?\d+\s*",
    wos.FORMAT.name: r"PT [A-Z]\s*",
    enw.FORMAT.name: r"%0 [A-Z][\w ]+",
    bibtex.FORMAT.name: r"@[A-Za-z]+\{[^\s,{}=]+,\s*",
    ovid.FORMAT.name: r"<\d+>\s*",
    ovid_tagged.FORMAT.name: r"<\d+\. ?>\s*",
    refworks.FORMAT.name: r"RT [A-Z][A-Za-z]+(?: [A-Za-z]+)?\s*",
}
_START = re.compile("\ufeff?[ \t]*(?:" + "|".join(f"({pattern})" for pattern in _STARTS.values()) + ")")
_FIRST = frozenset("TP%@<R\ufeff \t")
# Fewest known column names, one of them the title's, in the header of a table.
_FEWEST_COLUMNS, _LONGEST_HEADER = 4, 2000


def other_format(source: Source, form: Format) -> str:
    """Return a note if a text file also contains records in a format other than its own, otherwise ``""``.

    A PubMed id before the TY line of a RIS record does not count as a record of a different format.
    """
    if form.name not in _STARTS and form.name != delimited.FORMAT.name:
        return ""
    names = tuple(_STARTS)
    pending = ""
    for number, line in enumerate(source.lines(), start=1):
        found = _START.fullmatch(line) if line[:1] in _FIRST else None
        if not found and not (form.name in _STARTS and _begins_table(line)):
            if pending and not line.strip():
                return pending
            continue
        name = names[(found.lastindex or 1) - 1] if found else delimited.FORMAT.name
        if name == form.name:
            pending = ""
            continue
        text = (
            f"line {number} starts a record in a different format, {name}; if the file was joined from several "
            "exports, read each export by itself"
        )
        if name != medline.FORMAT.name or form is not ris.FORMAT:
            return text
        pending = pending or text
    return pending


def _begins_table(line: str) -> bool:
    """Return whether a line is the header of a table: known column names, and hardly any others."""
    for delimiter in ("\t", ",", ";"):
        if line.count(delimiter) < _FEWEST_COLUMNS - 1 or len(line) > _LONGEST_HEADER:
            continue
        cells = [cell.strip('"\ufeff \n') for cell in line.split(delimiter)]
        known = attributes(cells)
        if len(known) >= max(_FEWEST_COLUMNS, len(cells) / 2) and "title" in (name for name, _ in known.values()):
            return True
    return False
