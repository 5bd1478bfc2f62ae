"""Read a codebook from a REFI-QDA codebook (``.qdc``) or project (``.qdpx``), or from a table of codes (CSV, XLSX)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from mechtag.core.codebook import Codebook, describe_validation
from mechtag.core.errors import MechtagError
from mechtag.core.source import Source
from mechtag.core.tables import is_table, read_table
from mechtag.core.words import counted
from mechtag.pipeline.annotations.cited_papers import fold
from mechtag.pipeline.annotations.imports import qda_project
from mechtag.pipeline.export.refi_qda import ABSENCE, BETWEEN_RULES, EXCLUDE, INCLUDE, KEY, REFERRED, ROLE, SIGN
from mechtag.pipeline.fulltext.xml import child_of, children, local, parse, text_of

_RELEVANT = "relevant"
_SHOWN = 30


class _Entry(NamedTuple):
    name: str
    definition: str
    key: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    absence: tuple[str, ...] = ()


def read_codebook_file(path: Path, name: str = "", relevance: str = "") -> Codebook:
    """Read a codebook that was made in another program.

    The names of the codes become keys in lower case. The descriptions become definitions. In files that mechtag wrote,
    the description also contains the key and the rules. The code named ``Relevant`` becomes the relevance rule,
    and never a label. If ``relevance`` is set, it replaces this rule.

    Parameters
    ----------
    name
        Name of the codebook. By default, the name of the file.
    relevance
        Definition of relevance. By default, the description of the code named ``Relevant``.

    Raises
    ------
    MechtagError
        If the file cannot be read or contains no codes, if a code has no description, or if relevance is not defined.
    """
    entries = list(_from_table(path) if is_table(path) else _from_qda(path))
    if not entries:
        raise MechtagError(f"{path}: the file contains no codes; export the codebook again")
    if missing := [entry.name for entry in entries if not entry.definition]:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise MechtagError(
            f"{path}: {counted(len(missing), 'code')} without a description: {', '.join(missing[:_SHOWN])}{more}. "
            "The model uses descriptions as definitions of the labels. Enter the missing descriptions in the program "
            "that wrote the file, then export the codebook again"
        )
    keys = _keys(entries)
    rules = [
        {"key": key, "name": one.name, "definition": one.definition, "include": one.include, "exclude": one.exclude}
        for key, one in zip(keys, entries, strict=True)
    ]
    own = next((rule for rule, one in zip(rules, entries, strict=True) if fold(one.name) == _RELEVANT), None)
    if own is None and not relevance:
        raise MechtagError(
            f"{path}: no code is named 'Relevant', so it is unknown which papers belong in the review; add a code "
            "with this name, or enter a definition of relevance",
            options="--relevance TEXT",
        )
    content = {
        "name": name or path.stem,
        "relevance": own if own is not None and not relevance else {"definition": relevance},
        "labels": [
            {**rule, "absence": one.absence} for rule, one in zip(rules, entries, strict=True) if rule is not own
        ],
    }
    try:
        return Codebook.model_validate(content)
    except ValidationError as error:
        raise MechtagError(describe_validation(path, error)) from None


def _keys(entries: Sequence[_Entry]) -> list[str]:
    """Return a unique key for each code: its key in the file, or a key made from its name."""
    found: list[str] = []
    for entry in entries:
        key = entry.key or fold(entry.name)
        key = key if key[:1].isalpha() else f"code_{key}".rstrip("_")
        number, unique = 1, key
        while unique in found:
            number += 1
            unique = f"{key}_{number}"
        found.append(unique)
    return found


def _from_table(path: Path) -> Iterator[_Entry]:
    table = read_table(path, "a table of codes with the columns 'name' and 'definition'")
    columns = {fold(name): name for name in table.names}
    definition = columns.get("definition", columns.get("description"))
    if "name" not in columns or definition is None:
        raise MechtagError(
            f"{path}: the table needs the columns 'name' and 'definition'; add them, or rename columns (columns found: "
            f"{', '.join(table.names)})"
        )
    for row in table.rows:
        cells = {short: row.cells[name] for short, name in columns.items()}
        yield _Entry(
            cells["name"],
            row.cells[definition],
            cells.get("key", ""),
            _rules(cells.get("include", "")),
            _rules(cells.get("exclude", "")),
            _rules(cells.get("absence", "")),
        )


def _from_qda(path: Path) -> Iterator[_Entry]:
    source = Source(path)
    root = qda_project.read_root(source) if qda_project.recognise(source) else parse(source.data, str(path))
    codebook = root if local(root) == "CodeBook" else child_of(root, "CodeBook")
    if codebook is None:
        raise MechtagError(f"{path}: this is not a REFI-QDA codebook; export the codebook as QDC")
    for codes in children(codebook, "Codes"):
        yield from _codes(codes)


def _codes(parent: Any) -> Iterator[_Entry]:
    """Yield the codes below an XML element, at any depth.

    Categories are left out. Codes for roles of evidence, for signs and for labels that need review are also left out.
    """
    for code in children(parent, "Code"):
        name = " ".join((code.get("name") or "").split())
        description = text_of(child_of(code, "Description"))
        # mechtag itself writes codes for roles of evidence, for signs of passages, and for labels that need review.
        is_label = not name.endswith(REFERRED) and not description.startswith((ROLE, SIGN))
        # Categories are left out, because coders cannot assign them.
        if (code.get("isCodable") or "true").lower() in ("true", "1") and is_label:
            yield _described(name, description)
        yield from _codes(code)


def _described(name: str, description: str) -> _Entry:
    found = {KEY: "", INCLUDE: "", EXCLUDE: "", ABSENCE: ""}
    definition = []
    for paragraph in filter(None, map(str.strip, description.split("\n\n"))):
        start = next((start for start in found if paragraph.startswith(start)), None)
        if start is None:
            definition.append(" ".join(paragraph.split()))
        else:
            found[start] = paragraph.removeprefix(start)
    rules = (_rules(found[start]) for start in (INCLUDE, EXCLUDE, ABSENCE))
    return _Entry(name, "\n".join(definition), found[KEY], *rules)


def _rules(text: str) -> tuple[str, ...]:
    return tuple(rule for part in text.split(BETWEEN_RULES.strip()) if (rule := " ".join(part.split())))
