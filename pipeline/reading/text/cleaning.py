"""Clean text from exports: remove or correct markup, entities, mojibake, spaces, notices and keyword lists.

`clean_record` cleans a record from any source. The readers of exports clean text in the same way.
"""

from __future__ import annotations

import html
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import ftfy

from mechtag.core.records import Record
from mechtag.pipeline.reading.text.headings import find_headings
from mechtag.pipeline.reading.text.sections import LONGEST, find_content

_PLAIN_ASCII = bytes(code for code in range(32, 127) if chr(code) not in "<&")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
# The semicolon is required: 'R&D' and '?a=1&copy=2' contain no entities.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_NESTED_ENTITIES = 3

# Only HTML, JATS and MathML names are tags; 'p <0.05 and n> 30' and '<Rotarod>' are text.
_BLOCKS = "p br div li ul ol tr table section sec abstract abstracttext blockquote article para".split()
_TITLES = "title label h1 h2 h3 h4 h5 h6".split()
_INLINE = (
    "i b u s em strong sub sup inf span font small big a tt code italic bold sc scp underline roman monospace "
    "td th tbody thead tfoot html body xref ext-link named-content styled-content inline-formula tex-math math msub "
    "msup mrow mi mn mo mtext mfrac msqrt mover munder semantics annotation list list-item"
).split()
_ATTRIBUTES = r"(?:\s+[\w:.-]{1,40}\s?=\s?(?:\"[^\"<>]{0,500}\"|'[^'<>]{0,500}'|[^\s\"'<>=]{1,200})){0,20}"
_TAG = re.compile(
    rf"<(?P<close>/?)(?:(?:jats|mml|m|xhtml|html):(?P<foreign>[a-z][a-z0-9-]{{0,30}})|"
    rf"(?P<name>{'|'.join(sorted(_BLOCKS + _TITLES + _INLINE, key=len, reverse=True))}))"
    rf"{_ATTRIBUTES}\s*/?>",
    re.IGNORECASE,
)
_CLOSED_LETTER = re.compile(r"</([a-z])>")
_SUPERSCRIPT = re.compile(r"<(?:jats:)?sup>\s*([-+−]?\d{1,4})\s*</(?:jats:)?sup>", re.IGNORECASE)
_RAISED = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
# R escapes what a locale cannot print: '<U+2019>' is a character, '<e2><80><99>' its bytes.
_R_CODES = re.compile(r"(?:<U\+[0-9A-Fa-f]{4,8}>)+")
_R_BYTES = re.compile(r"(?:<[89a-f][0-9a-f]>)+")
_BLANK_LINE = re.compile(r"\n\s*\n")
_LONGEST_HEADING = 100
# Cleaning may reveal more to clean, such as a tag within a tag. Text that is not clean after this many rounds was
# crafted, and the characters used in markup are removed from it.
_ROUNDS = 4
_MARKUP = str.maketrans("", "", "<>&")

# What programs write for a missing value. 'Na' and 'Null' are names, and 'Na' is sodium.
_MISSING = frozenset("NA na N/A n/a n.a. N.A. <NA> NaN nan NAN null NULL None none NONE - -- – — .".split())
# Excel's errors, in English, German and French: a text that begins with '=' or '-' was read as a formula.
_MISSING |= frozenset("#N/A #NAME? #REF! #VALUE! #DIV/0! #NUM! #NULL! #NV #BEZUG! #WERT! #ZAHL! #NOM? #VALEUR!".split())
# What Scopus and PubMed write if a paper has no authors.
_MISSING |= frozenset(("[No author name available]", "[No authors listed]", "No authors listed"))

# UTF-8 decoded as Windows-1252, Latin-1 or MacRoman: a lead byte of UTF-8 before a continuation byte
# ('Ã©', 'â€™'). ftfy then decides from the whole text.
_SUSPECT = re.compile(r"[\xc2-\xf4][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|[√¬‚][^\x00-\x7f\s]")
#: Note on a record in which `mend_mojibake` changed something.
MENDED = "wrongly decoded letters (as in 'cafÃ©') were corrected; the field 'raw' has the original text"
# Capitals before a closing quotation mark: 'IRMÃ”' is Portuguese.
_CAPITALS = re.compile(r"(?<=[A-ZÀ-ÖØ-Þ])[À-ÖØ-Þ][’”…–—»](?!\w)")
# Text with lost characters is left unchanged, and no explanation is computed.
_MENDING = ftfy.TextFixerConfig(replace_lossy_sequences=False, explain=False)


def mend_mojibake(text: str) -> str:
    """Correct text that was certainly decoded wrongly, such as 'Ã©'; return other text unchanged.

    ftfy recognises wrong decoding by sequences of letters that do not occur in any language:
    https://ftfy.readthedocs.io/en/latest/heuristic.html.
    """
    if len(text) > LONGEST or not _SUSPECT.search(_CAPITALS.sub("", text)):
        return text
    mended: str = ftfy.fix_encoding(text, _MENDING)
    return mended


def _is_plain(text: str) -> bool:
    """Return whether a text certainly needs no cleaning: it has no markup, entities, line ends or double spaces."""
    return (
        text.isprintable()
        and "<" not in text
        and "&" not in text
        and "  " not in text
        and not any(map(unicodedata.combining, text))
        and unicodedata.is_normalized("NFC", text)
    )


def _examine(text: str, notes: list[str] | None) -> tuple[str, bool]:
    """Return two values: the text without mojibake, and whether it is one line that needs no further cleaning."""
    # Deleting plain characters as bytes is ten times as fast as checking them one by one.
    encoded = text.encode("utf-8", "replace")
    if rest := encoded.translate(None, _PLAIN_ASCII):
        special = rest.decode()
        if _SUSPECT.search(special) and (mended := mend_mojibake(text)) != text:
            if notes is not None and MENDED not in notes:
                notes.append(MENDED)
            return mended, _is_plain(mended)
        if not _is_plain(special):
            return text, False
    return text, encoded.rfind(b"  ") < 0  # faster than searching forward


def _without_comments(text: str) -> str:
    first, *others = text.replace("<![CDATA[", "").replace("]]>", "").split("<!--")
    return first + "".join(
        after if end else f"<!--{part}" for part in others for _, end, after in [part.partition("-->")]
    )


def is_missing(text: str) -> bool:
    """Return whether a text is only a placeholder for a missing value, such as 'NA' or '-'."""
    return text in _MISSING or text.strip() in _MISSING


def _coded(found: re.Match[str]) -> str:
    codes = [int(code, 16) for code in re.findall(r"[0-9A-Fa-f]{4,8}", found[0])]
    if max(codes) > sys.maxunicode:
        return found[0]
    # R on Windows writes a character beyond U+FFFF as two surrogates.
    return "".join(map(chr, codes)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _from_bytes(found: re.Match[str]) -> str:
    encoded = bytes.fromhex(found[0].replace("<", "").replace(">", ""))
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        # '<e9>' is a byte of Windows-1252, but '<dd>' is a tag of HTML.
        return encoded.decode("cp1252", "replace") if any(map(str.isdigit, found[0])) else found[0]


def strip_markup(text: str) -> str:
    """Remove tags from a text, and replace character entities by characters.

    Escape sequences of R, such as ``<U+00E9>``, are also replaced by characters. In the result, blank lines separate
    paragraphs and titles. Superscript numbers become Unicode superscripts, so that 10<sup>6</sup> does not become 106.
    A single letter in angle brackets counts as a tag only if the text contains its closing tag.
    """
    for _ in range(_NESTED_ENTITIES):
        resolved = _ENTITY.sub(lambda match: html.unescape(match.group()), text) if "&" in text else text
        if resolved == text:
            break
        text = resolved
    if "<" not in text and "]]>" not in text:
        return text
    text = _R_BYTES.sub(_from_bytes, _R_CODES.sub(_coded, text))
    text = _SUPERSCRIPT.sub(lambda match: match[1].translate(_RAISED), _without_comments(text))
    closed = set(_CLOSED_LETTER.findall(text.lower()))

    def replace(match: re.Match[str]) -> str:
        name = (match["foreign"] or match["name"]).lower()
        if len(name) == 1 and not match["foreign"] and name not in closed and match.start() > 0:
            return match.group()
        return "\n\n" if name in _BLOCKS or name in _TITLES else ""

    return _TAG.sub(replace, text)


def clean_text(value: Any, notes: list[str] | None = None) -> str:
    """Return a value as one line of composed Unicode without markup, mojibake or control characters.

    Parameters
    ----------
    value
        Text or a number; the result for any other value is ``""``.
    notes
        List to which the note `MENDED` is added if mojibake was corrected.
    """
    if type(value) is str:
        text: str = value
    elif type(value) is int:
        text = str(value)
    elif type(value) is float and math.isfinite(value):
        text = str(int(value)) if value.is_integer() else str(value)
    else:
        return ""
    return _settled(text, partial(_line, notes=notes))


def clean_value(value: Any, notes: list[str] | None = None) -> str:
    """Clean a value with `clean_text`; return ``""`` if the value is only a placeholder for a missing value."""
    text = clean_text(value, notes)
    return "" if text in _MISSING else text


def _settled(text: str, clean: Callable[[str], str]) -> str:
    """Clean a text repeatedly until it no longer changes, but at most a fixed number of times."""
    for _ in range(_ROUNDS):
        cleaned = clean(text)
        if cleaned == text:
            return text
        text = cleaned
    return clean(text.translate(_MARKUP))


def _line(text: str, notes: list[str] | None) -> str:
    text, plain = _examine(text, notes)
    return text.strip(" ") if plain else _one_line(strip_markup(text))


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    if not text.isprintable():
        text = " ".join(_UNPRINTABLE.sub("", text).split())
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _heads(line: str) -> tuple[bool, bool]:
    """Return two values: whether a line starts with a heading, and whether the heading is the whole line."""
    if not line or not (line[0].isupper() or line[0] in "[("):
        return False, False
    headings = find_headings(f"{line[:_LONGEST_HEADING]}\n")
    begins = bool(headings) and headings[0].start == 0
    return begins, begins and len(line) <= _LONGEST_HEADING and headings[0].end >= len(line)


def _paragraphs(text: str, wrapped: bool) -> str:
    """Join the wrapped lines of each paragraph.

    If ``wrapped`` is false, keep all lines except blank lines.
    """
    if not wrapped:
        return "\n".join(filter(None, map(_one_line, text.split("\n"))))
    parts: list[str] = []
    for block in _BLANK_LINE.split(text):
        joins = False
        for line in filter(None, map(_one_line, block.split("\n"))):
            begins, whole = _heads(line)
            if joins and not begins:
                parts[-1] += f" {line}"
            else:
                parts.append(line)
            joins = not whole
    return "\n".join(parts)


def _body(text: str, notes: list[str] | None, wrapped: bool) -> str:
    text, plain = _examine(text, notes)
    if plain:
        return text.strip(" ")
    text = strip_markup(
        text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2029", "\n\n").replace("\u2028", "\n")
    )
    return _paragraphs(text, wrapped) if "\n" in text and len(text) <= LONGEST else _one_line(text)


def clean_abstract(value: Any, notes: list[str] | None = None, *, wrapped: bool = True) -> tuple[str, tuple[str, ...]]:
    """Clean an abstract, and return it together with the keywords that are listed at its end.

    Paragraphs and headings remain on separate lines. Notices at the start or end, and keyword lists at the end, are
    removed from the abstract.

    Parameters
    ----------
    value
        The abstract. A value that is not text is cleaned by `clean_text`.
    notes
        List to which the note `MENDED` is added if mojibake was corrected.
    wrapped
        Whether the source may have broken long lines, as some exports do. If ``True``, a line end is kept only at a
        blank line, between paragraphs, and around a heading. All other line ends become spaces.

    Returns
    -------
    tuple
        The cleaned abstract, and the distinct keywords listed at its end.
    """
    if type(value) is not str:
        return clean_text(value), ()
    text = _settled(_body(value, notes, wrapped), partial(_body, notes=notes, wrapped=False))
    keywords: tuple[str, ...] = ()
    # Removing the end of a text may change how the rest is classified.
    while (content := find_content(text))[:2] != (0, len(text)):
        keywords = (*filter(None, map(clean_text, content.keywords)), *keywords)
        text = _settled(text[content.start : content.end], partial(_body, notes=notes, wrapped=False))
    return "" if is_missing(text) else text, join_keywords((), keywords)


def join_keywords(first: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return the keywords in ``first``, followed by the keywords that are only in ``others``; case is ignored."""
    found = dict.fromkeys(first)
    known = {keyword.casefold() for keyword in found}
    for keyword in others:
        if keyword.casefold() not in known:
            known.add(keyword.casefold())
            found[keyword] = None
    return tuple(found)


def clean_record(record: Record) -> Record:
    r"""Clean the title, abstract and keywords of a record; other fields do not change.

    Records from the readers of exports are already clean and are returned unchanged. Line ends in the abstract are
    kept, because they separate paragraphs in a `Record`. Clean a record before its abstract is split into sentences,
    and keep the cleaned record. Offsets of sentences and evidence refer to the cleaned abstract.
    """
    title = clean_text(record.title)
    abstract, listed = clean_abstract(record.abstract, wrapped=False)
    keywords = join_keywords(filter(None, map(clean_value, record.keywords)), listed)
    if (title, abstract, keywords) == (record.title, record.abstract, record.keywords):
        return record
    return record.model_copy(update={"title": title, "abstract": abstract, "keywords": keywords})
