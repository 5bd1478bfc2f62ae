"""Read BibTeX and BibLaTeX files.

bibtexparser splits a file into entries and fields, continues after a broken entry, and parses names. pylatexenc, one of
its dependencies, converts LaTeX to text. The higher layers of bibtexparser are not used, because they drop unreadable
entries and cut text at a per cent sign.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from bibtexparser import model
from bibtexparser.exceptions import ParserStateException
from bibtexparser.middlewares.names import InvalidNameError, parse_single_name_into_parts, split_multiple_persons_names
from bibtexparser.splitter import Splitter
from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec
from pylatexenc.latex2text import get_default_latex_context_db as get_written_macros
from pylatexenc.latexwalker import get_default_latex_context_db as get_parsed_macros
from pylatexenc.macrospec import LatexContextDb, MacroSpec

from mechtag.core.errors import MechtagError
from mechtag.core.source import Source
from mechtag.pipeline.reading.tagged import Entry, Format, Outside

# Broken entries are rejected with a reason, so the library need not print them too.
logging.getLogger("bibtexparser").addHandler(logging.NullHandler())
logging.getLogger("bibtexparser").propagate = False

_ENTRY = re.compile(r"^[ \t\ufeff]*@[A-Za-z]+\s*+[{(]\s*+(?:[^\s,={}]*+\s*+,|[A-Za-z]++\s*+=)", re.M)
_NO_KEY = re.compile(r"^([ \t]*@(?!string\b|comment\b|preamble\b)[A-Za-z]+\s*[{(])(?=\s*[A-Za-z]+\s*=)", re.M | re.I)
_START = re.compile(r"\A\s*@\w+\s*[{(][^,\n]*,?")
_BRACE = re.compile(r"(?<!\\)[{}]")
# The start of a field in a damaged entry: a name on its own line, or a usual one anywhere. A value without braces
# and quotes must follow the end of another, because 'number = 5' may also be part of a text.
_USUAL = (
    "title|author|year|journal(?:title)?|booktitle|abstract|doi|volume|number|issue|pages|month|date|url|publisher"
    "|editor|keywords?|isbn|issn|note|language|series|address|eprint|file|type|pmid|langid|school|institution"
)
_FIELD = re.compile(
    rf"^[ \t,]{{0,20}}(?P<line>[a-z][\w:+-]{{0,40}})\s{{0,20}}=\s{{0,20}}(?=[{{\"])"
    rf"|(?<![\w.-])(?P<any>{_USUAL})\s{{0,20}}=\s{{0,20}}(?=[{{\"])"
    rf"|(?:(?<=[\n}}\"\d])|(?<=[}}\"\d],))\s{{0,20}}(?<!\w)(?P<bare>{_USUAL})\s{{0,20}}=\s{{0,20}}(?=\w)",
    re.I | re.M,
)
# The same within a value in braces or quotes, where text may look like a field.
_INNER_FIELD = re.compile(rf"[\n}}\"][\s,]{{0,20}}(?:{_USUAL})\s{{0,20}}=\s{{0,20}}[{{\"]", re.I)
# A line that ends an entry, and lines that are a comment of the author's own.
_END, _COMMENT = re.compile(r"^[ \t]*\}[ \t]*$", re.M), re.compile(r"^[ \t]*%.*$", re.M)
# Lines that databases and reference managers print above the first entry.
_PREAMBLE = re.compile(
    r"\A\ufeff?\s*+(?:Scopus\s*+\Z|EXPORT DATE:)"
    r"|\b(?:created|generated|exported|written) (?:by|from|in|on|using|with)\b",
    re.I,
)
_STARTLESS = (
    "the line that starts the entry (@type{key,) is missing; check the type of the entry, and whether its fields "
    "belong together"
)
_DAMAGED = "a brace or comma is missing or superfluous, so the fields were separated at their names"
# Special characters of LaTeX that databases export unescaped.
_UNESCAPED = re.compile(r"(?<!\\)[%$&#]")
# A formula by pandoc's rule, under which '$50 and $60' is not one; '$<$0.5' is one, though a number follows.
_FORMULA = re.compile(
    r"(?<!\\)\${1,2}(?=\S)(?:([^$\n]{1,200}?)(?<=\S)\${1,2}(?!\d)|([<>=~^_\\{|+±×·≤≥][^$\n]{0,200}?)(?<=\S)\${1,2})"
)
_GROUPED = r"\{((?:[^{}]|\{[^{}]{0,100}\}){0,100})\}"
_RAISED = re.compile(rf"(?<!\\)\^(?:{_GROUPED}|(\\[A-Za-z]+|[^\\\s]))")
_LOWERED = re.compile(rf"(?<!\\)_(?:{_GROUPED}|(\\[A-Za-z]+|[^\\\s]))")
# Raised signs that are not superscripts of a number or a word.
_SIGNS = {r"\circ": "°", r"\prime": "′", r"\ast": "*", r"\star": "*", r"\dagger": "†", r"\ddagger": "‡"}
_LIGATURES = {"---": "—", "--": "–", "``": "“", "''": "”", "~": " "}
_LIGATURE = re.compile("|".join(map(re.escape, _LIGATURES)))
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_KEYWORDS = ("author_keywords", "keywords", "keyword", "keywords-plus")
_DATES = ("year", "date", "early access date", "early-access-date", "earlyaccessdate", "issue_date")
_FOUR_DIGITS = re.compile(r"\d{4}")
_DOI_LINK = re.compile(r"doi\.org/10\.", re.I)
# Nested abbreviations could grow without limit.
_LONGEST_STRING, _MOST_PIECES = 500, 10_000
_ANY_MACRO = re.compile(r"\\[A-Za-z]+\*?\s*")
# Longer values are not text, and pylatexenc takes a second for this many characters.
_LONGEST_LATEX = 100_000


def recognise(source: Source) -> bool:
    """Return whether a file contains the start of a BibTeX entry that has a key or a field."""
    return bool(_ENTRY.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield the entries of a BibTeX file.

    The fields ``ENTRYTYPE`` and ``ID`` of an entry contain its type and its key.

    Raises
    ------
    MechtagError
        If bibtexparser cannot parse the file.
    """
    try:
        blocks = Splitter(_NO_KEY.sub(r"\1,", source.text)).split().blocks
    except ParserStateException as error:
        raise MechtagError(
            f"{source.path}: the file is not readable as BibTeX: {error.message}; export it again"
        ) from None
    strings = {month: month for month in _MONTHS}
    for block in blocks:
        if isinstance(block, model.String):
            strings[block.key.lower()] = _joined(block.value, strings)[:_LONGEST_STRING]
    number = 0
    outside = Outside()
    for index, block in enumerate(blocks):
        entry, fault = _opened(block)
        before = blocks[index - 1] if index else None
        if isinstance(block, model.ImplicitComment) and (before is None or _opened(before) == (None, "")):
            rest, others = _entries_without_start(block)
            _report_unread(outside, rest)
            for line, text in others:
                number += 1
                yield _entry_without_start(number, line, text, strings, outside)
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
        after = blocks[index + 1] if index + 1 < len(blocks) else None
        rest, others = _entries_without_start(after, entry) if isinstance(after, model.ImplicitComment) else ([], [])
        following = "".join(text for _, text in rest)
        if damaged := _FIELD.search(following) or any(_swallows(field.value) for field in entry.fields):
            found = _by_name(text := (entry.raw or "") + following)
            # A field whose name is damaged; a rejected entry keeps the text.
            if lost := _START.sub("", text[: first.start()] if (first := _FIELD.search(text)) else text).strip():
                found.insert(0, ("", lost))
        else:
            found = [(field.key, field.value) for field in entry.fields]
            _report_unread(outside, rest)
        fields += [(name, _joined(value, strings)) for name, value in found]
        yield Entry(number, line, fields, notes=(_DAMAGED,) if damaged else ())
        for line, text in others:
            number += 1
            yield _entry_without_start(number, line, text, strings, outside)
    source.notes += outside.notes()


def _report_unread(outside: Outside, pieces: Sequence[tuple[int, str]]) -> None:
    """Add the lines of ``pieces`` to the unread lines in ``outside``; comments that programs write are left out."""
    for start, text in pieces:
        for number, line in enumerate(text.split("\n"), start=start):
            if not _PREAMBLE.search(line):
                outside.add(number, line)


_Pieces = list[tuple[int, str]]


def _entries_without_start(comment: model.ImplicitComment, entry: model.Entry | None = None) -> tuple[_Pieces, _Pieces]:
    """Find entries that lack their start (``@type{key,``) in a text that follows ``entry``.

    Return two lists: the remaining pieces of the text, and the entries that were found. Each item is a tuple of the
    number of its first line and its text.
    """
    rest: _Pieces = []
    found: list[tuple[int, str]] = []
    titled = entry is None or any(field.key.lower() == "title" for field in entry.fields)
    line = (comment.start_line or 0) + 1
    for text in _END.split(_COMMENT.sub("", comment.raw or "")):
        title = any(
            (field["line"] or field["any"] or field["bare"]).lower() == "title" for field in _FIELD.finditer(text)
        )
        # Each field 'title' begins an entry, but the first one belongs to an ``entry`` that has no title.
        if title and titled:
            found.append((line + text[: len(text) - len(text.lstrip())].count("\n"), text))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + text)
        else:
            rest.append((line, text))
        titled = titled or title
        line += text.count("\n")
    return rest, found


def _entry_without_start(number: int, line: int, text: str, strings: Mapping[str, str], outside: Outside) -> Entry:
    """Parse the text of a BibTeX entry that lacks its start (``@type{key,``), and return the entry."""
    text = text.lstrip()
    first = _FIELD.search(text)
    before = text[: first.start()] if first else ""
    _report_unread(outside, [(line, before)])
    fields = [(name, _joined(value, strings)) for name, value in _by_name(text)]
    return Entry(number, line + before.count("\n"), fields, notes=(_STARTLESS,))


def _swallows(value: str) -> bool:
    """Return whether a BibTeX value also contains the next field, because a brace or comma is missing."""
    if "=" not in value:
        return False
    return bool((_INNER_FIELD if _is_delimited(value) else _FIELD).search(value))


def _by_name(text: str) -> list[tuple[str, str]]:
    """Return the name and the value of each field in a damaged BibTeX entry."""
    # Each value is assumed to end where the next field name starts.
    found = list(_FIELD.finditer(text))
    ends = [*(field.start() for field in found[1:]), len(text)]
    return [
        (field[field.lastgroup or 0], _mended(text[field.end() : end])) for field, end in zip(found, ends, strict=True)
    ]


def _mended(value: str) -> str:
    """Remove surplus braces from the start or end of a value, such as the closing brace of the entry."""
    value = value.rstrip(" \t\n,;")
    surplus = value.count("}") - value.count("{")
    while surplus > 0 and value.endswith("}"):
        value, surplus = value[:-1].rstrip(" \t\n,;"), surplus - 1
    return value[1:] if surplus < 0 and value.startswith("{") else value


def _opened(block: model.Block) -> tuple[model.Entry | None, str]:
    """Return the entry in a block, and the reason why the entry is unreadable.

    The entry is ``None`` if it is unreadable or if the block is not an entry. The reason is ``""`` unless the entry is
    unreadable.
    """
    # Entries with a repeated key or field are kept.
    if isinstance(block, model.ParsingFailedBlock) and isinstance(block.ignore_error_block, model.Entry):
        return block.ignore_error_block, ""
    if isinstance(block, model.ParsingFailedBlock):
        reason = " ".join(str(getattr(block.error, "abort_reason", block.error)).split())
        return None, f"the entry is not readable as BibTeX: {reason}"
    return (block, "") if isinstance(block, model.Entry) else (None, "")


def _joined(value: str, strings: Mapping[str, str]) -> str:
    """Join the pieces of a BibTeX value that are separated by ``#``, and replace abbreviations with their texts."""
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
        piece[1:-1] if _is_delimited(piece) else strings.get(piece.lower(), piece) for piece in pieces[:_MOST_PIECES]
    )


def _is_delimited(piece: str) -> bool:
    """Return whether a piece of a BibTeX value is enclosed in quotes, or in one pair of braces."""
    if len(piece) < 2 or piece[0] == '"':
        return len(piece) > 1 and piece[-1] == '"'
    depth = 0
    for sign in _BRACE.finditer(piece, 0, len(piece) - 1):
        depth += 1 if sign[0] == "{" else -1
        if depth == 0:
            return False
    return piece[0] == "{" and piece[-1] == "}"


# Macros that reference managers write and pylatexenc lacks or converts to another character.
_MACROS = {
    **{"textless": "<", "lt": "<", "textgreater": ">", "gt": ">", "textbar": "|", "textbardbl": "‖"},
    **{"textunderscore": "_", "textbraceleft": "{", "textbraceright": "}", "lbrace": "{", "rbrace": "}"},
    **{"textquotedbl": '"', "textasciicircum": "^", "textasciitilde": "~", "textperiodcentered": "·"},
    **{"textasciigrave": "`", "textasciiacute": "´", "textasciidieresis": "¨", "textasciimacron": "¯"},
    **{"textasciibreve": "˘", "textasciicaron": "ˇ", "textacutedbl": "˝", "textgravedbl": "˵"},
    **{"texttwosuperior": "²", "textthreesuperior": "³", "textonesuperior": "¹", "textminus": "−", "slash": "/"},
    **{"textfractionsolidus": "⁄", "textellipsis": "…", "textexclamdown": "¡", "textdiv": "÷", "textlnot": "¬"},
    **{"textthreequartersemdash": "—", "texttwelveudash": "–", "textnormalspace": " ", "textvisiblespace": " "},
    **{"textasteriskcentered": "*", "textdiscount": "%", "textpercent": "%", "textampersand": "&", "texthash": "#"},
    **{"textnumbersign": "#", "textat": "@", "textslash": "/", "textequal": "=", "textplus": "+", "textcolon": ":"},
    **{"textquotesinglbase": "‚", "textleq": "≤", "textgeq": "≥", "textapprox": "≈", "textneq": "≠", "textinfty": "∞"},
    **{"textleftarrow": "←", "textrightarrow": "→", "textuparrow": "↑", "textdownarrow": "↓", "textsurd": "√"},
    **{"copyright": "©", "pounds": "£", "yen": "¥", "cent": "¢", "S": "§", "P": "¶", "SS": "SS", "circledR": "®"},
    **dict.fromkeys(("euro", "EUR", "officialeuro", "geneuro"), "€"),
    **{"degree": "°", "celsius": "°C", "Cdegree": "°C", "micro": "µ", "ohm": "Ω", "textmugreek": "μ", "ddagger": "‡"},
    **{"perthousand": "‰", "permil": "‰", "ne": "≠", "colon": ":", "lbrack": "[", "rbrack": "]", "checkmark": "✓"},
    **{"guillemetleft": "«", "guillemetright": "»", "flqq": "«", "frqq": "»", "og": "«", "fg": "»"},
    **{"lq": "‘", "rq": "’", "glq": "‚", "grq": "‘", "glqq": "„", "grqq": "“", "Re": "Re", "Im": "Im"},
    **{"textopeno": "ɔ", "textepsilon": "ɛ", "textesh": "ʃ", "hyp": "-", "dash": "–", "textdblhyphen": "-"},
    **dict.fromkeys(("quad", "qquad", "thinspace", "enspace", "space", "newblock"), " "),
    **{name: name for name in ("TeX", "LaTeX", "LaTeXe", "BibTeX")},
    "today": "",  # The date of typesetting is not a part of the record.
    **{"mkern": "", "allowbreak": "", "break": " ", "newline": " ", "par": "\n\n", "nobreakspace": " ", "nbsp": " "},
}
# Macros with arguments: how many they have, and how the text of these is written.
_WITH_ARGUMENTS: dict[str, tuple[int, Callable[..., str]]] = {
    **dict.fromkeys(("url", "path", "nolinkurl", "ce", "textsubscript", "num", "unit"), (1, "{}".format)),
    **dict.fromkeys(("mbox", "textup", "textmd", "textsf", "texttt", "title", "author", "keywords"), (1, "{}".format)),
    **dict.fromkeys(("mathbf", "mathit", "mathsf", "mathtt"), (1, "{}".format)),
    **dict.fromkeys(("foreignlanguage", "textcolor"), (2, "{1}".format)),
    **dict.fromkeys(("frac", "textfrac", "nicefrac", "sfrac", "tfrac", "dfrac"), (2, "{}/{}".format)),
    **dict.fromkeys(("SI", "qty"), (2, "{} {}".format)),
    **dict.fromkeys(("enquote", "mkbibquote"), (1, "“{}”".format)),
    "href": (2, "{1}".format),
    "textsuperscript": (1, "<sup>{}</sup>".format),
}


@cache
def _converter() -> tuple[LatexNodes2Text, LatexContextDb]:
    """Return a converter from LaTeX to text, and the macros that the LaTeX parser must know."""
    parsed, written = get_parsed_macros(), get_written_macros()
    parsed.add_context_category(
        "references",
        macros=[
            *(MacroSpec(name, "") for name in _MACROS),
            *(MacroSpec(name, "{" * count) for name, (count, _) in _WITH_ARGUMENTS.items()),
        ],
        prepend=True,
    )
    written.add_context_category(
        "references",
        macros=[
            *(MacroTextSpec(name, sign) for name, sign in _MACROS.items()),
            *(MacroTextSpec(name, _writer(form)) for name, (_, form) in _WITH_ARGUMENTS.items()),
        ],
        prepend=True,
    )
    return LatexNodes2Text(keep_comments=True, latex_context=written), parsed


def _writer(form: Callable[..., str]) -> Callable[..., str]:
    def write(node: Any, l2tobj: LatexNodes2Text) -> str:
        return form(*(l2tobj.nodelist_to_text([argument]) for argument in node.nodeargd.argnlist))

    return write


def plain(value: str) -> str:
    """Convert LaTeX to text, with superscripts in <sup> tags; text without LaTeX is returned unchanged."""
    value = _FORMULA.sub(lambda found: f"{{{_levelled(found[1] or found[2])}}}", value)
    if "\\" in value and len(value) <= _LONGEST_LATEX:
        try:
            value = _ENSURED.sub(lambda found: f"{{{_levelled(found[1])}}}", value)
            value = _SPACED_ACCENT.sub(lambda found: f"{{\\{found[1]}}} " if found[1] in _ACCENTS else "{ }", value)
            value = _BARE_ACCENT.sub(lambda found: f"{{\\text{_ACCENTS[found[1] or found[2]]}}}", value)
            converter, macros = _converter()
            return str(converter.latex_to_text(_UNESCAPED.sub(r"\\\g<0>", value), latex_context=macros))
        except Exception:  # a macro that is broken or unknown may fail anywhere in pylatexenc
            value = _ANY_MACRO.sub("", value)
    # Before braces are removed, which may keep the signs of a ligature apart, as in '-{}-'.
    value = _LIGATURE.sub(lambda found: _LIGATURES[found[0]], value)
    return re.sub(r"(?<!\\)[{}]", "", value)


_ENSURED = re.compile(rf"\\ensuremath\s*{_GROUPED}")
# Accents without a letter are signs of their own.
_BARE_ACCENT = re.compile(r"\\([\^~`'\"=])\s*\{\s*\}|\{\\([\^~`'\"=])\s*\}")
# An accent on a space, which would remove the space: 'a \\c\\ b'.
_SPACED_ACCENT = re.compile(
    r"(?<!\\)\\([\^~`'\"=.]|[cvuHkrdbt](?![A-Za-z]))\s*(?:\\\s|~|\{\s*(?:\\\s|~)\s*\}|(?<=[cvuHkrdbt.])\{\s+\})"
)
_ACCENTS = {"^": "asciicircum", "~": "asciitilde", "`": "asciigrave", "'": "asciiacute", '"': "asciidieresis"}
_ACCENTS["="] = "asciimacron"


def _levelled(formula: str) -> str:
    """Convert subscripts in a LaTeX formula to plain text, and superscripts to <sup> tags or signs such as ``°``."""
    formula = _LOWERED.sub(lambda found: f"{{{found[1] or found[2]}}}", formula)

    def raised(found: re.Match[str]) -> str:
        text = (found[1] or found[2] or "").strip()
        return _SIGNS.get(text) or f"<sup>{text}</sup>"

    return _RAISED.sub(raised, formula)


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the fields of a BibTeX or BibLaTeX entry to attributes of a record."""
    values: dict[str, str] = {}
    for name, value in fields:
        if value.strip():
            values.setdefault(name.lower(), value)

    def first(*names: str) -> str:
        return next((plain(values[name]) for name in names if name in values), "")

    dates = [plain(values[name]) for name in _DATES if name in values]
    title, subtitle = first("title", "maintitle"), first("subtitle")
    links = [value for name in ("url", "doi-link", "ee", "note") if _DOI_LINK.search(value := values.get(name, ""))]
    return {
        "title": f"{title}: {subtitle}" if title and subtitle else title,
        "abstract": first("abstract"),
        "authors": list(_names(values.get("author", ""))),
        "year": next(filter(_FOUR_DIGITS.search, dates), next(iter(dates), "")),
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
    """Remove LaTeX escapes from a URL."""
    value = re.sub(r"\\~\{\}|\{?\\textasciitilde(?:\{\})?\}?", "~", value)
    return re.sub(r"\\([_%&#])", r"\1", re.sub(r"\\url\{([^{}]*)\}", r"\1", value)).strip("{} ")


def _keywords(text: str) -> list[str]:
    return re.split(r"[;\n]" if ";" in text else r"[,\n]", text)


def _names(text: str) -> Iterator[str]:
    """Yield each name in a BibTeX list of names as 'Family, Given, Suffix'."""
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
