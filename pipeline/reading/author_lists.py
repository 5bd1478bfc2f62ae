"""Split lists of authors in the fields of search exports into names."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

_LONGEST_LIST = 100_000
_CAPITAL = "[A-ZÀ-ÖØ-ÞŁŚŠŽŐ]"
_AND = re.compile(r"(?<!\s)\s+and\s+")
_INITIALS = re.compile(rf"(?:{_CAPITAL}\.?[ -]?){{1,5}}")
_INITIALS_AND_NAME = re.compile(rf"(?:{_CAPITAL}\.?[ -]?){{1,4}} \S.+")
_NAME_AND_INITIALS = re.compile(rf"\S.*\s(?:{_CAPITAL}\.?-?){{1,5}}\.?")
_SUFFIX = re.compile(r"(?:Jr|Sr)\.?|I{2,3}|IV")
_GROUP = re.compile(
    r"\b(?:group|team|consortium|collaborat\w+|network|committee|investigators|society|association|university"
    r"|institute|organi[sz]ation|initiative|task force|study|project|for|of|and)\b",
    re.I,
)
# What separates names in a tag; an 'and' may also be part of the name of a group.
_BREAK = re.compile(r"[;|\n]")
_LAST = re.compile(r",?\s(?:and|&)\s")
_LEADING_AND = re.compile(r"^(?:and|&)\s+")
_ET_AL = re.compile(r"[,;]?\s{1,5}(?:et\.? al|and others)\.?$", re.I)


def as_list(cell: str) -> list[str] | None:
    """Return the items of a list in Python syntax, as pandas writes it to CSV; ``None`` if ``cell`` is not a list."""
    if not (cell.startswith("[") and cell.endswith("]") and len(cell) < _LONGEST_LIST):
        return None
    try:
        items = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    # An escape may be a half of a character, which no file can hold.
    return [str(item).encode(errors="replace").decode() for item in items] if isinstance(items, list) else None


def split_authors(cell: str) -> list[str]:
    """Split a list of authors in a table cell into names; any usual separator is recognised.

    ``Smith J, Doe AB`` and ``Smith, J., Doe, A.B.`` are two names each. ``Smith, Jane`` is one name.
    """
    if (items := as_list(cell)) is not None:
        return items
    if ";" in cell:
        return cell.split(";")
    if "and" in cell and len(_AND.split(cell)) > 1:
        return names if len(names := split_list(cell)) > 1 else _AND.split(cell)
    if "|" in cell or "\n" in cell:
        return cell.replace("\n", "|").split("|")
    # PubMed ends the list with a full stop, and writes initials without.
    cell = cell.removesuffix(".") if cell.count(".") == 1 else cell
    parts = [part.strip() for part in cell.strip(" ,").split(",")]
    if all(map(_ends_in_initials, parts)):
        return parts
    if len(parts) % 2 == 0 and all(map(_INITIALS.fullmatch, parts[1::2])):
        return _pairs(parts)
    return [cell] if len(parts) == 2 and not all(map(_INITIALS_AND_NAME.fullmatch, parts)) else parts


def family_first(name: str) -> str:
    """Put the family name of an author first: 'Jan van der Berg Jr' becomes 'van der Berg, Jan, Jr'.

    As in BibTeX, the family name begins at the first word in lower case. If no word is in lower case, the last word is
    the family name. The name of a group and a name of a single word are returned unchanged.
    """
    words = name.split()
    suffix = [words.pop()] if len(words) > 2 and _SUFFIX.fullmatch(words[-1]) else []
    if len(words) < 2 or "," in name or _GROUP.search(name):
        return name
    start = next((index for index, word in enumerate(words[1:-1], start=1) if word.islower()), len(words) - 1)
    # Lens writes 'null' for an unknown given name.
    given = [word for word in words[:start] if word != "null"]
    return ", ".join(filter(None, (" ".join(words[start:]), " ".join(given), *suffix)))


def split_list(text: str) -> list[str]:
    """Split a field for one author into names if the field certainly contains several names.

    ``Smith, J., Doe, A.B., and Berg, C.`` is split into three names. ``King, Martin L., Jr.`` and ``Centers for Disease
    Control and Prevention`` are not split, because each of them is one name.
    """
    if not ("," in text or "and" in text or "&" in text or _BREAK.search(text)) or len(text) > _LONGEST_LIST:
        return [text]
    parts = (_LEADING_AND.sub("", part.strip()) for part in _BREAK.split(_ET_AL.sub("", text)))
    return [name for part in parts if part for name in _split_part(part)]


def _split_part(text: str) -> list[str]:
    chunks = [_comma_parts(chunk) for chunk in _LAST.split(text)]
    flat = [part for parts in chunks for part in parts]
    if names := _with_initials(flat):
        return names
    if _GROUP.search(" ".join(flat)):
        # A group may follow persons, all of whom have initials.
        persons = _with_initials([part for parts in chunks[:-1] for part in parts])
        return [*persons, ", ".join(chunks[-1])] if persons else [text]
    if len(chunks) > 1 and all(len(parts) % 2 == 0 for parts in chunks):
        return _pairs(flat)
    # 'Jane Smith, John Doe and Kim Braun', or 'Smith, Doe and Braun'
    words = {min(len(part.split()), 2) for part in flat}
    alike = len(words) == 1 and all(part[0].isupper() for part in flat)
    if len(chunks) > 1:
        return flat if alike and all(len(parts) == 1 for parts in chunks[1:]) else [text]
    return flat if alike and words == {2} and len(flat) > 2 else [text]


def _comma_parts(text: str) -> list[str]:
    """Split a list of names at its commas, but do not separate a suffix such as 'Jr.' from its name."""
    parts: list[str] = []
    for part in filter(None, map(str.strip, text.split(","))):
        if parts and _SUFFIX.fullmatch(part):
            parts[-1] += f", {part}"
        else:
            parts.append(part)
    return parts


def _with_initials(parts: Sequence[str]) -> list[str]:
    """Return the names in a list that was split at its commas, or ``[]`` if it is not a list of names with initials."""
    if len(parts) < 2:
        return []
    if all(map(_ends_in_initials, parts)) or all(map(_INITIALS_AND_NAME.fullmatch, parts)):
        return list(parts)
    paired = len(parts) > 3 and len(parts) % 2 == 0
    return _pairs(parts) if paired and all(_INITIALS.fullmatch(part.split(",")[0]) for part in parts[1::2]) else []


def _ends_in_initials(name: str) -> bool:
    """Return whether a text is a family name with initials, such as 'Smith J'."""
    return bool(_NAME_AND_INITIALS.fullmatch(name)) and not _INITIALS.fullmatch(name)


def _pairs(parts: Sequence[str]) -> list[str]:
    return [", ".join(pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
