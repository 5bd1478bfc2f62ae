"""Recognise files that were joined from exports in different formats."""

from __future__ import annotations

import csv
import re

from mechtag.core.source import Source
from mechtag.pipeline.reading.columns import attributes
from mechtag.pipeline.reading.formats import (
    bibtex,
    delimited,
    enw,
    medline,
    ovid,
    ovid_tagged,
    parquet,
    refworks,
    ris,
    wos,
    xlsx,
)
from mechtag.pipeline.reading.tagged import Format

_JSON, _XML = "JSON", "XML"
# The line that starts a record or a file in each format; stricter than the readers, because abstracts hold anything.
_STARTS = {
    ris.FORMAT.name: r"TY {2}- ?[A-Z]{3,}",
    medline.FORMAT.name: r"PMID- ?\d+",
    wos.FORMAT.name: r"PT [A-Z]",
    enw.FORMAT.name: r"%0 [A-Z][\w ]+",
    bibtex.FORMAT.name: r"@[A-Za-z]+\{[^\s,{}=]+,(?:\s*+[A-Za-z-]+\s*+=.*)?",
    ovid.FORMAT.name: r"<\d+>",
    ovid_tagged.FORMAT.name: r"<\d+\. ?>",
    refworks.FORMAT.name: r"RT [A-Z][A-Za-z]+(?: [A-Za-z]+)?",
    _JSON: r'(?:\[\s*+)?\{\s*+"[^"\n]{1,60}"\s*+:.*',
    _XML: r"<(?:\?xml|xml|records|PubmedArticleSet|search_results|Trials_downloaded_from_ICTRP|responseWrapper)\b.*",
}
_START = re.compile("\ufeff?[ \t]*(?:" + "|".join(f"({pattern})" for pattern in _STARTS.values()) + ")")
_FIRST = frozenset("TP%@<R[{\ufeff \t")
# Lines that open a JSON document that is spread over lines, and those that follow them.
_OPENING, _INNER = frozenset(("[", "{", "[{", "[ {")), re.compile(r'\s*(?:\{|"[^"\n]{1,60}"\s*+:)')
_TITLE = re.compile(r"t[ií]t(?:le|el|re|[ou]lo)|\bTI\b", re.I)
_FEWEST_NAMES, _LONGEST_HEADER = 3, 5000


def other_format(source: Source, form: Format) -> str:
    """Return a note if a text file also contains records in a format other than its own, otherwise ``""``.

    A PubMed id before the TY line of a RIS record does not count as a record of a different format.
    """
    if form in (xlsx.FORMAT, parquet.FORMAT):
        return ""
    own = next((kind for kind in (_JSON, _XML) if kind in form.name), form.name)
    names = tuple(_STARTS)
    pending = before = ""
    for number, line in enumerate(source.lines(), start=1):
        name, start = "", number
        if line[:1] in _FIRST and (found := _START.fullmatch(line.rstrip())):
            name = names[(found.lastindex or 1) - 1]
        elif before[:1] in "[{" and before.strip() in _OPENING and _INNER.match(line):
            name, start = _JSON, number - 1
        elif own != delimited.FORMAT.name and _is_header(before, line):
            name, start = delimited.FORMAT.name, number - 1
        before = line
        if not name:
            if pending and not line.strip():
                return pending
            continue
        if name == own:
            pending = ""
            continue
        text = (
            f"line {start} starts a record in a different format, {name}; if the file was joined from several "
            "exports, read each export by itself"
        )
        if name != medline.FORMAT.name or form is not ris.FORMAT:
            return text
        pending = pending or text
    return pending


def _is_header(line: str, following: str) -> bool:
    """Return whether a line is the header of a table, and a row follows."""
    if len(line) > _LONGEST_HEADER or not _TITLE.search(line):
        return False
    for delimiter in ",;\t|":
        count = line.count(delimiter)
        if count >= _FEWEST_NAMES - 1 and delimiter in following:
            known = attributes(next(csv.reader([line.lstrip("\ufeff")], delimiter=delimiter), []))
            if len(known) >= _FEWEST_NAMES and any(attribute == "title" for attribute, _ in known.values()):
                return True
    return False
