"""Recognise text files that were joined from several exports, and cases in which two records were read as one."""

from __future__ import annotations

import re

from mechtag.core.source import Source
from mechtag.core.words import counted
from mechtag.pipeline.reading.columns import header_of, is_header
from mechtag.pipeline.reading.tagged import Format

#: Name of the format of tables.
TABLE = "CSV or TSV"
_RIS, _MEDLINE, _JSON, _XML = "RIS", "PubMed/MEDLINE (nbib)", "JSON", "XML"
# The line that starts a record or a file in each format; stricter than the readers, because abstracts hold anything.
_STARTS = {
    _RIS: r"TY {2}- ?[A-Z]{3,}",
    _MEDLINE: r"PMID- ?\d+|OWN {1,2}- ?ERIC",
    "Web of Science (tagged)": r"PT [A-Z]",
    "EndNote import (enw)": r"%0 [A-Z][\w ]+",
    "BibTeX": r"@[A-Za-z]+\{[^\s,{}=]+,(?:\s*+[A-Za-z-]+\s*+=.*)?",
    "Ovid (labelled)": r"<\d+>",
    "Ovid (tagged)": r"<\d+\. ?>",
    "RefWorks (tagged)": r"RT [A-Z][A-Za-z]+(?: [A-Za-z]+)?",
    _JSON: r'(?:\[\s*+)?\{\s*+"[^"\n]{1,60}"\s*+:.*',
    _XML: r"<(?:\?xml|xml|records|PubmedArticleSet|search_results|Trials_downloaded_from_ICTRP|responseWrapper)\b.*",
}
_NAMES = tuple(_STARTS)
_START = re.compile("\ufeff?[ \t]*(?:" + "|".join(f"({pattern})" for pattern in _STARTS.values()) + ")")
_FIRST = frozenset("TPO%@<R[{\ufeff \t")
# Lines that open a JSON document that is spread over lines, and those that follow them.
_OPENING, _INNER = frozenset(("[", "{", "[{", "[ {")), re.compile(r'\s*(?:\{|"[^"\n]{1,60}"\s*+:)')
# Lines that end a record, after which a single column name is the header of a table.
_ENDS = re.compile(r"ER(?:\s+-)?\s*|EF\s*|\s*\}\s*")


def started_format(line: str) -> str:
    """Return the name of the format whose records can start with a given line, or ``""`` if there is no such format."""
    found = _START.fullmatch(line.rstrip()) if line[:1] in _FIRST else None
    return _NAMES[(found.lastindex or 1) - 1] if found else ""


# What starts a record in the same formats even if case, spaces or hyphens are damaged; not used to read records.
_LIKE_STARTS = {
    _RIS: r"[ \t]{0,20}TY[ \t\xa0]{0,20}[-–—]",
    _MEDLINE: r"PMID ?-|OWN {1,2}- ?ERIC",
    "Web of Science (tagged)": r"PT [A-Z]\s{0,20}$",
    "EndNote import (enw)": "%0",
    "BibTeX": r"[ \t]{0,20}@(?!(?:string|comment|preamble)\b)[A-Za-z]{1,30}\s{0,20}[{(]",
    "Ovid (labelled)": r"<\d+>",
    "Ovid (tagged)": r"\s{0,20}<\d+\. ?>",
    "RefWorks (tagged)": "RT ",
}
_LIKE_START = {name: re.compile(f"\ufeff?(?:{pattern})", re.I) for name, pattern in _LIKE_STARTS.items()}


def further_records(source: Source, form: Format, entries: int) -> str:
    """Return a note if a text file seems to contain more records than were read, or ``""`` if it does not.

    There are two such cases: a line starts a record in a different format, or more than ``entries`` lines look like the
    start of a record. In a RIS file, a PubMed id above a TY line does not count as a record in a different format.

    Parameters
    ----------
    entries
        Number of entries that were read.
    """
    if form.name in ("XLSX", "Parquet"):
        return ""
    own = next((kind for kind in (_JSON, _XML) if kind in form.name), form.name)
    like_start = _LIKE_START.get(form.name)
    starts = 0
    pending = before = ended = ""
    place = 0
    for number, line in enumerate(source.lines(), start=1):
        if line.isspace():
            if pending:
                return pending
            continue
        starts += like_start is not None and like_start.match(line) is not None
        name, start = started_format(line), number
        if not name and before[:1] in "[{" and before.strip() in _OPENING and _INNER.match(line):
            name, start = _JSON, place
        elif not name and own != TABLE and _begins_table(before, line, ended):
            name, start = TABLE, place
        ended, before, place = before, line, number
        if not name:
            continue
        if name == own:
            pending = ""
            continue
        text = (
            f"line {start} starts a record in a different format, {name}; if the file was joined from several "
            "exports, read each export separately"
        )
        if name != _MEDLINE or own != _RIS:
            return text
        pending = pending or text
    if not pending and starts > entries:
        return (
            f"{counted(starts, 'line')} {'looks' if starts == 1 else 'look'} like the start of a record, but "
            f"{counted(entries, 'record')} {'was' if entries == 1 else 'were'} read; a record may be two records, so "
            "check the spelling of the lines that start records"
        )
    return pending


def _begins_table(line: str, following: str, before: str) -> bool:
    """Return whether ``line`` is the header of a table, judging also by the lines before and after it."""
    # A single column name is a header only after the end of a record.
    if _ENDS.fullmatch(before) and is_header([line.strip("\ufeff\n")]):
        return True
    # Several column names are a header only if the next line contains their delimiter.
    table = header_of(line)
    return table is not None and table.delimiter in following
