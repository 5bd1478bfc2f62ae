"""Read JSON documents: CSL-JSON (Zotero, Mendeley, Paperpile, Crossref), or a list of objects with plain field names.

Items are parsed one by one, so a truncated file loses only its last item.
CSL variables: https://docs.citationstyles.org/en/stable/specification.html#appendix-iv-variables
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading import columns
from mechtag.pipeline.reading.tagged import Entry, Format

# A list of objects, or one object that spans several lines.
_START = re.compile(r'\s*(?:\[\s*(?:\{|\])|\{\s*\n\s*")')
# The list in Zotero's {"items": [...]}, Crossref's {"message": {"items": [...]}} or OpenAlex's {"results": [...]}.
_WRAPPED = re.compile(
    r'\s*\{(?:(?!"title")[^\[]|\[\s*\]){0,9999}?'
    r'"(?:items|records|results?|data|publications|studies|papers|recommendedPapers)"\s*:\s*\[\s*(?=\{)'
)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LIST = re.compile(r"\s*\[")
# Concatenated files contain several lists.
_GAP = re.compile(r"(?:[\s,\ufeff]|\]\s*+(?:,\s*+)?\ufeff?\[)*")
# Pages of results that were put together are documents one after the other.
_DOCUMENT_END, _WORD = re.compile(r"\}[\s\ufeff]*+(?=\{)"), re.compile(r"\w")
# Fields of which a record has only one.
_ONCE = ('"title"', '"abstract"', '"author"', '"authors"', '"doi"', '"DOI"')
_REPEATED = (
    "these fields occur more than once with different values, and the last value was used: {}; check whether the entry "
    "consists of two records"
)
_FIRST_NAME = re.compile(r'\{\s*("[^"\\]{1,100}"\s*:)')
# For each error, Python counts lines from the start of the file.
_MOST_BROKEN = 100
# Other parsers, such as Pydantic's, read at most 200 levels.
_DEEPEST = 190
_TOO_DEEP = "it is nested too deeply"
# Not strict, because programs leave line ends and tabs in strings unescaped.
_decoder = json.JSONDecoder(parse_constant=lambda name: None, strict=False)


def recognise(source: Source) -> bool:
    """Return whether a file starts with a JSON object on several lines, or with a list of objects.

    The list may be nested in other objects, as in the answers of web services.
    """
    return bool(_START.match(source.head) or _WRAPPED.match(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per JSON object in a list; see `read_items`.

    After the last entry, a note on unread fields may be added to ``source.notes``. It is added if no entry has an
    abstract, no entry has authors, or no entry has a year.
    """
    names: dict[str, None] = {}
    for entry in read_items(source):
        if not entry.fault:
            names.update((name, None) for name, _ in entry.fields)
        yield entry
    # CSL's name of the date is not a column name of tables.
    if note := columns.unread(["year" if name == "issued" else name for name in names]):
        source.notes.append(note.replace("column", "field", 1).replace("columns", "fields", 1))


def read_items(source: Source) -> Iterator[Entry]:
    """Yield one entry per JSON object in a list.

    A broken object is assumed to end where the next object begins. All objects are assumed to begin with the same key.
    """
    text = source.text
    opened = _WRAPPED.match(text) or _LIST.match(text)
    place = opened.end() if opened else 0
    number, line, counted, broken = 0, 1, 0, 0
    while True:
        gap = _GAP.match(text, place)
        place = gap.end() if gap else place
        if place >= len(text) or text[place] == "]":
            if further := _next_list(text, place) if opened else 0:
                place = further
                continue
            depth = opened[0].count("{") - opened[0].count("}") if opened else 0
            if _WORD.search(text, _document_end(text, place, depth)):
                source.notes.append("the content after the list of records was not read")
            return
        number, line, counted = number + 1, line + text.count("\n", counted, place), place
        try:
            item, end = _decoder.raw_decode(text, place)
            if text.count("[", place, end) + text.count("{", place, end) > _DEEPEST:
                _refuse_deep(item)
        except (ValueError, RecursionError) as error:
            broken += 1
            end = _next_item(text, place) if broken < _MOST_BROKEN else len(text)
            follows = "" if end < len(text) else ", and neither is the rest of the file"
            reason = _TOO_DEEP if isinstance(error, RecursionError) else error
            fault = f"the record is not readable as JSON{follows}: {reason}"
            yield Entry(number, line, [("json", text[place:end])], fault=fault)
            place = end
            continue
        if isinstance(item, dict):
            earlier, notes = repeated_fields(text[place:end])
            fields = list(_without_surrogates(item, text[place:end]).items())
            yield Entry(number, line, [*earlier, *fields], notes=notes)
        else:
            yield Entry(number, line, [("json", item)], fault="the record is not a JSON object")
        place = end


def repeated_fields(text: str) -> tuple[list[tuple[str, Any]], tuple[str, ...]]:
    """Find fields that occur several times in a JSON object, with different values.

    JSON parsers keep only the last value of a field. If a field is repeated, some text between two records may be
    missing, so that they were read as one. An object is examined only if its title, abstract, authors or DOI seem to
    occur twice.

    Returns
    -------
    values : list of tuple
        Name and value of each repeated field, for all its values that differ from the last value. For a field in a
        nested object, the name is ``""``.
    notes : tuple of str
        A note that names the repeated fields; empty if no field is repeated.
    """
    if all(text.count(name) < 2 for name in _ONCE):
        return [], ()
    nested: list[tuple[str, Any]] = []
    own: list[tuple[str, Any]] = []

    def collect(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal own
        nested.extend(own)
        last = dict(found)
        own = [(name, value) for name, value in found if last[name] != value]  # The outermost object is the last.
        return last

    try:
        json.JSONDecoder(object_pairs_hook=collect, strict=False).raw_decode(text.lstrip())
        json.dumps([nested, own], ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):  # numbers and surrogates that no other format can hold
        return [], ()
    names = ", ".join(dict.fromkeys(name for name, _ in (*nested, *own)))
    return [*(("", value) for _, value in nested), *own], (_REPEATED.format(names),) if names else ()


def _document_end(text: str, place: int, depth: int) -> int:
    """Return the position after a JSON document, given the position ``place`` at which its list of records ends.

    The list is nested in ``depth`` JSON objects. If the text after the list is damaged, the result is ``place``.
    """
    end, before = place, '{"":['
    for _ in range(depth):
        try:
            end += _decoder.raw_decode(before + text[end:])[1] - len(before)
        except (ValueError, RecursionError):
            return place
        before = '{"":0'
    return end


def _next_list(text: str, place: int) -> int:
    """Return the position of the first record in the next JSON document after ``place``, or 0 if no record follows."""
    for end in _DOCUMENT_END.finditer(text, place):
        if opened := _WRAPPED.match(text, end.end()):
            return opened.end()
    return 0


def _without_surrogates(item: dict[str, Any], text: str) -> dict[str, Any]:
    """Replace each unpaired surrogate in a JSON object by a question mark."""
    if _SURROGATE.search(text):
        item = dict(json.loads(json.dumps(item, ensure_ascii=False).encode("utf-8", errors="replace")))
    return item


def _refuse_deep(item: Any) -> None:
    level = [item]
    for _ in range(_DEEPEST):
        level = [
            value
            for node in level
            for value in (node.values() if isinstance(node, dict) else node)
            if isinstance(value, dict | list)
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _next_item(text: str, place: int) -> int:
    """Return the position of the item after the broken item at ``place``, or the end of the text if no item follows."""
    # All items of a list are assumed to have the same first key, which nested objects do not have.
    opened = _FIRST_NAME.match(text, place)
    begins = opened and re.compile(rf"\}}\s*,\s*(?=\{{\s*{re.escape(opened[1])})").search(text, place)
    return begins.end() if begins else len(text)


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the fields of a CSL-JSON item to attributes of a record.

    Fields that are not CSL variables are recognised by their names, like the columns of a table (`columns.clean`).
    """
    item = dict(fields)
    plain = columns.clean([(name, text) for name, value in item.items() if (text := _text(value))])
    authors = item.get("author", item.get("authors"))
    return {
        **plain,
        "title": _text(item.get("title")) or plain.get("title"),
        "authors": [_name(author) for author in authors] if isinstance(authors, list) else plain["authors"],
        "year": _date(item.get("issued")) or plain.get("year"),
        "journal": _text(item.get("container-title")) or plain.get("journal"),
        "pages": _text(item.get("page")) or plain.get("pages"),
        "keywords": _words(item.get("keyword", item.get("keywords"))) or plain["keywords"],
    }


def _text(value: Any) -> str:
    """Return the value of a CSL variable as text; the items of a list are joined by semicolons."""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_text, value)))
    return "" if value is None or isinstance(value, dict | bool) else str(value)


def _name(author: Any) -> str:
    if not isinstance(author, dict):
        return _text(author)
    family = " ".join(filter(None, (_text(author.get(part)) for part in ("non-dropping-particle", "family"))))
    given = " ".join(filter(None, (_text(author.get(part)) for part in ("given", "dropping-particle"))))
    parts = (family, given, _text(author.get("suffix")))
    return ", ".join(filter(None, parts)) or _text(author.get("literal") or author.get("name"))


def _date(value: Any) -> str:
    """Return the year of a CSL date, or the text of the date if the year is not stated separately."""
    if not isinstance(value, dict):
        return _text(value)
    parts = value.get("date-parts")
    while isinstance(parts, list) and parts:
        parts = parts[0]
    return _text(parts) or _text(value.get("raw") or value.get("literal"))


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [_text(word) for word in value]
    return re.split(r"[;,\n]", value) if isinstance(value, str) else []


FORMAT = Format("CSL-JSON", recognise, read, clean)
