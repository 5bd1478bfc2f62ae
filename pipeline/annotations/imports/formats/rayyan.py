"""Rayyan: ``articles.csv`` (or RIS, BibTeX), with decisions and labels in the notes.

``RAYYAN-INCLUSION: {"Ann"=>"Included"} | RAYYAN-LABELS: a,b | RAYYAN-EXCLUSION-REASONS: c``, as told in
https://help.rayyan.ai/hc/en-us/articles/45958666246161-Understanding-Your-Rayyan-Export-Files. Labels
are those of the whole team: the export does not say who set them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mechtag.core.errors import MechtagError
from mechtag.core.tables import Value
from mechtag.pipeline.annotations.imports.formats import matrix
from mechtag.pipeline.annotations.imports.formats.base import (
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    faulty,
    fold,
    notes_of,
    paper_of_entry,
)
from mechtag.pipeline.reading.tagged import Entry

_SECTION = re.compile(r"(?:^|[|\s])(RAYYAN-[A-Z-]+|USER-NOTES)\s*:\s*")
_DECISION = re.compile(r'"((?:[^"\\]|\\.)*)"\s*=>\s*"((?:[^"\\]|\\.)*)"')
_VALUES: dict[str, Value] = {"included": 1, "excluded": 0, "maybe": None, "undecided": None}
_LOG = {"article_id", "key", "value"}


def recognise(content: Content) -> bool:
    """Whether any note has what Rayyan puts there.

    Raises
    ------
    MechtagError
        It is the log of an export, which has no papers.
    """
    if set(map(fold, content.names)) >= _LOG:
        raise MechtagError(
            f"{content.path}: the log of a Rayyan export, which has no papers; give articles.csv from the same export"
        )
    return any("RAYYAN-" in note for entry in content.entries for note in notes_of(entry))


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Read decisions of each member, and labels.

    Raises
    ------
    MechtagError
        There are labels and more than one member, and nobody says whose they are.
    """
    members = {code.coder for entry in content.entries for code in _decisions(_sections(entry))}
    owner = asked.coder or (members.pop() if len(members) == 1 else "")
    forms = _forms(content, asked)
    for entry in content.entries:
        if entry.fault:
            yield faulty(entry)
            continue
        sections = _sections(entry)
        labels = asked.labels.split(sections.get("RAYYAN-LABELS", ""))
        if labels and not owner:
            raise MechtagError(
                f"{content.path}: record {entry.number} has labels; Rayyan does not say which of its members set "
                "them: name the coder of all labels with --coder, for example --coder team"
            )
        decisions = _decisions(sections)
        answers, faults = matrix.row_codes(entry, content, asked, *forms, owner)
        codes = (*decisions, *(Code(label, 1, owner) for label in dict.fromkeys(labels)), *answers)
        included = any(code.value == 1 for code in decisions)
        finished = (owner,) if owner and (labels or included) else ()
        yield Item(entry.number, entry.line, paper_of_entry(entry, content), codes, finished, fault="; ".join(faults))


def _forms(content: Content, asked: Asked) -> tuple[list[str], list[str]]:
    """Columns of the questions of an extraction form, of ticks and of names of labels."""
    if content.kind != "table":
        return [], []
    ticks, lists = matrix.code_columns(content, asked)
    return [name for name in ticks if matrix.NUMBERED.match(name)], [
        name for name in lists if matrix.NUMBERED.match(name)
    ]


def _sections(entry: Entry) -> dict[str, str]:
    """Parts of the notes by their headings; the notes that came with the record stand before them."""
    sections = {}
    for note in notes_of(entry):
        marks = list(_SECTION.finditer(note))
        ends = [*(mark.start() for mark in marks[1:]), len(note)]
        for mark, end in zip(marks, ends, strict=False):
            text = note[mark.end() : end]
            sections[mark[1]] = text.strip().strip("|").strip()
    return sections


def _decisions(sections: dict[str, str]) -> list[Code]:
    return [
        Code(None, _VALUES[word.casefold()], coder)
        for coder, word in _DECISION.findall(sections.get("RAYYAN-INCLUSION", ""))
        if word.casefold() in _VALUES
    ]


FORMAT = CodingFormat("Rayyan", recognise, read)
