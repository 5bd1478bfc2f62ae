"""Reader of BibTeX and BibLaTeX.

bibtexparser splits a file into entries and fields, continues after a broken entry, and parses names;
pylatexenc, one of its dependencies, converts LaTeX to text. The higher layers of bibtexparser are not
used, because they drop unreadable entries and cut text at a per cent sign.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from bibtexparser import model
from bibtexparser.exceptions import ParserStateException
from bibtexparser.middlewares.names import InvalidNameError, parse_single_name_into_parts, split_multiple_persons_names
from bibtexparser.splitter import Splitter
from pylatexenc.latex2text import LatexNodes2Text

from mechtag.core.errors import MechtagError
from mechtag.core.source import Source
from mechtag.pipeline.reading.tagged import Entry, Format

# Broken entries are rejected with a reason, so the library need not print them too.
logging.getLogger("bibtexparser").addHandler(logging.NullHandler())
logging.getLogger("bibtexparser").propagate = False

_ENTRY = re.compile(r"^[ \t\ufeff]*@[A-Za-z]+\s*+[{(]\s*+(?:[^\s,={}]*+\s*+,|[A-Za-z]++\s*+=)", re.M)
_NO_KEY = re.compile(r"^([ \t]*@(?!string\b|comment\b|preamble\b)[A-Za-z]+\s*[{(])(?=\s*[A-Za-z]+\s*=)", re.M | re.I)
# Special characters of LaTeX that databases export unescaped.
_UNESCAPED = re.compile(r"(?<!\\)[%$&#]")
# A formula by pandoc's rule, under which '$50 and $60' is not one.
_FORMULA = re.compile(r"(?<!\\)\$(?=\S)([^$\n]{1,200}?)(?<=\S)\$(?!\d)")
_LIGATURES = {"---": "—", "--": "–", "``": "“", "''": "”", "~": " "}
_LIGATURE = re.compile("|".join(map(re.escape, _LIGATURES)))
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_KEYWORDS = ("author_keywords", "keywords", "keyword", "keywords-plus")
_DOI_LINK = re.compile(r"doi\.org/10\.", re.I)
# Nested abbreviations could grow without limit.
_LONGEST_STRING, _MOST_PIECES = 500, 10_000
# Longer values are not text, and pylatexenc takes a second for this many characters.
_LONGEST_LATEX = 100_000


def recognise(source: Source) -> bool:
    """Return whether a line opens an entry that has a key or a field."""
    return bool(_ENTRY.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per record, with its type as the field ``ENTRYTYPE`` and its key as ``ID``; skip comments.

    Raises
    ------
    MechtagError
        bibtexparser cannot parse the file.
    """
    try:
        blocks = Splitter(_NO_KEY.sub(r"\1,", source.text)).split().blocks
    except ParserStateException as error:
        raise MechtagError(f"{source.path}: not readable as BibTeX: {error.message}") from None
    strings = {month: month for month in _MONTHS}
    for block in blocks:
        if isinstance(block, model.String):
            strings[block.key.lower()] = _joined(block.value, strings)[:_LONGEST_STRING]
    number = 0
    for index, block in enumerate(blocks):
        entry, fault = _opened(block)
        if entry is None and not fault:
            continue
        number += 1
        line = (block.start_line or 0) + 1
        if entry is None:
            raw = block.raw or ""
            # bibtexparser treats the rest of an unreadable entry as a comment.
            if index + 1 < len(blocks) and isinstance(blocks[index + 1], model.ImplicitComment):
                raw += blocks[index + 1].raw or ""
            yield Entry(number, line, [("bibtex", raw)], fault=fault)
            continue
        fields = [("ENTRYTYPE", entry.entry_type), ("ID", entry.key)]
        fields += [(field.key, _joined(field.value, strings)) for field in entry.fields]
        yield Entry(number, line, fields)


def _opened(block: model.Block) -> tuple[model.Entry | None, str]:
    """Return the entry in a block, or the fault that makes it unreadable; neither for strings and comments."""
    # Entries with a repeated key or field are kept.
    if isinstance(block, model.ParsingFailedBlock) and isinstance(block.ignore_error_block, model.Entry):
        return block.ignore_error_block, ""
    if isinstance(block, model.ParsingFailedBlock):
        return (
            None,
            f"not readable as BibTeX: {' '.join(str(getattr(block.error, 'abort_reason', block.error)).split())}",
        )
    return (block, "") if isinstance(block, model.Entry) else (None, "")


def _joined(value: str, strings: Mapping[str, str]) -> str:
    """Return the plain value of pieces joined by ``#``: text in braces or quotes, numbers or abbreviations."""
    pieces, depth, quoted, start = [], 0, False, 0
    for index, sign in enumerate(value):
        escaped = index > 0 and value[index - 1] == "\\"
        if sign == "{" and not escaped:
            depth += 1
        elif sign == "}" and not escaped:
            depth -= 1
        elif sign == '"' and depth == 0:
            quoted = not quoted
        elif sign == "#" and depth == 0 and not quoted:
            pieces.append(value[start:index].strip())
            start = index + 1
    pieces.append(value[start:].strip())
    return "".join(
        piece[1:-1] if piece[:1] in ("{", '"') and len(piece) > 1 else strings.get(piece.lower(), piece)
        for piece in pieces[:_MOST_PIECES]
    )


@cache
def _converter() -> LatexNodes2Text:
    return LatexNodes2Text(keep_comments=True)


def plain(value: str) -> str:
    """Convert LaTeX to text; leave other text unchanged."""
    value = _FORMULA.sub(r"{\1}", value)
    if "\\" in value and len(value) <= _LONGEST_LATEX:
        try:
            return str(_converter().latex_to_text(_UNESCAPED.sub(r"\\\g<0>", value))).replace("{", "").replace("}", "")
        except (RecursionError, ValueError):
            pass
    value = re.sub(r"(?<!\\)[{}]", "", value)
    return _LIGATURE.sub(lambda found: _LIGATURES[found[0]], value)


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map fields of BibTeX and BibLaTeX to attributes of a record."""
    values: dict[str, str] = {}
    for name, value in fields:
        if value.strip():
            values.setdefault(name.lower(), value)

    def first(*names: str) -> str:
        return next((plain(values[name]) for name in names if name in values), "")

    title, subtitle = first("title", "maintitle"), first("subtitle")
    links = [value for name in ("url", "doi-link", "ee", "note") if _DOI_LINK.search(value := values.get(name, ""))]
    return {
        "title": f"{title}: {subtitle}" if title and subtitle else title,
        "abstract": first("abstract"),
        "authors": list(_names(values.get("author", ""))),
        "year": first("year", "date", "early access date", "early-access-date", "earlyaccessdate", "issue_date"),
        "journal": first("journal", "journaltitle", "fjournal", "booktitle"),
        "volume": first("volume"),
        "issue": first("number", "issue"),
        "pages": re.sub(r"(?<!\s)\s*[–—]\s*", "-", first("pages", "eid", "article-number")),
        "doi": _address(values.get("doi", "") or next(iter(links), "")),
        "pmid": first("pmid", "pubmed_id", "pubmedid"),
        # Scopus and Web of Science list author keywords and their own separately.
        "keywords": [word for name in _KEYWORDS if name in values for word in _keywords(plain(values[name]))],
        "type": first("type", "entrytype"),
        "language": first("language", "langid"),
        "url": _address(values.get("url", "")),
    }


def _address(value: str) -> str:
    """Remove LaTeX escapes from an address; a tilde stays a tilde."""
    value = re.sub(r"\\~\{\}|\{?\\textasciitilde(?:\{\})?\}?", "~", value)
    return re.sub(r"\\([_%&#])", r"\1", re.sub(r"\\url\{(.*)\}", r"\1", value)).strip("{} ")


def _keywords(text: str) -> list[str]:
    return re.split(r"[;\n]" if ";" in text else r"[,\n]", text)


def _names(text: str) -> Iterator[str]:
    """Yield names as 'Family, Given, Suffix', parsed by BibTeX's rules in whatever order they are written."""
    try:
        names = split_multiple_persons_names(" ".join(text.split()))
    except (InvalidNameError, ParserStateException):
        names = " ".join(text.split()).split(" and ")
    # "and others" is BibTeX's 'et al.'
    for name in names[:-1] if names[-1:] == ["others"] else names:
        try:
            parts = parse_single_name_into_parts(name, strict=False)
        except InvalidNameError:
            yield plain(name)
            continue
        family = plain(" ".join([*parts.von, *parts.last]))
        yield ", ".join(filter(None, (family, plain(" ".join(parts.first)), plain(" ".join(parts.jr)))))


FORMAT = Format("BibTeX", recognise, read, clean)
