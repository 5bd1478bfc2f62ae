"""Read exports of Rayyan (``articles.csv``, RIS or BibTeX), which contain decisions and labels in the notes.

The notes look like ``RAYYAN-INCLUSION: {"Ann"=>"Included"} | RAYYAN-LABELS: a,b | RAYYAN-EXCLUSION-REASONS: c``; see
https://help.rayyan.ai/hc/en-us/articles/45958666246161-Understanding-Your-Rayyan-Export-Files. All labels are recorded
under one coder, because the export does not say which team member assigned them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from mechtag.core.errors import MechtagError
from mechtag.core.tables import Value
from mechtag.pipeline.annotations.cited_papers import fold
from mechtag.pipeline.annotations.imports.formats import matrix
from mechtag.pipeline.annotations.imports.formats.base import (
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    faulty,
    notes_of,
    paper_of_entry,
    quotes_in,
    with_quote,
)
from mechtag.pipeline.reading.tagged import Entry

_SECTION = re.compile(r"(?:^|[|\s])(RAYYAN-[A-Z-]+|USER-NOTES)\s*:\s*")
_DECISION = re.compile(r'"((?:[^"\\]|\\.)*)"\s*=>\s*"((?:[^"\\]|\\.)*)"')
_STRING = r'"(?:[^"\\]|\\.)*"'
_MEMBER_NOTES = re.compile(rf'"((?:[^"\\]|\\.)*)"\s*=>\s*\[((?:\s*+{_STRING}\s*+,?)*+\s*)\]')
_VALUES: dict[str, Value] = {"included": 1, "excluded": 0, "maybe": None, "undecided": None}
_LOG = {"article_id", "key", "value"}


def recognise(content: Content) -> bool:
    """Return whether any note in a file contains text that Rayyan writes, such as ``RAYYAN-INCLUSION``.

    Raises
    ------
    MechtagError
        If the file is the log of an export, which contains no papers.
    """
    if set(map(fold, content.names)) >= _LOG:
        raise MechtagError(
            f"{content.path}: this is the log of a Rayyan export, which contains no papers; use articles.csv from the "
            "same export"
        )
    return any("RAYYAN-" in note for entry in content.entries for note in notes_of(entry))


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one item per record, with the decisions of each team member, and with the labels.

    Raises
    ------
    MechtagError
        If a record has labels, but the user named no coder, and the decisions are not those of exactly one team member.
    """
    members = {code.coder for entry in content.entries for code in _decisions(_sections(entry))}
    owner = asked.coder or (next(iter(members)) if len(members) == 1 else "")
    forms = _forms(content, asked)
    if owner and any("RAYYAN-LABELS" in _sections(entry) for entry in content.entries):
        others = f". The decisions remain those of {', '.join(sorted(members))}" if members - {owner} else ""
        content.notes.append(
            f"Rayyan does not record who set labels, so all labels are recorded as codes of {owner!r}{others}"
        )
    for entry in content.entries:
        if entry.fault:
            yield faulty(entry)
            continue
        sections = _sections(entry)
        labels = asked.labels.split(sections.get("RAYYAN-LABELS", ""))
        if labels and not owner:
            raise MechtagError(
                f"{content.path}: record {entry.number} has labels, but Rayyan does not record which member set "
                "them; name one coder for all labels, for example 'team'",
                options="--coder NAME",
            )
        decisions = _decisions(sections)
        answers, faults = matrix.row_codes(entry, content, asked, *forms, owner)
        quotes = _quotes(sections)
        team = {key: text for own in quotes.values() for key, text in own.items()}
        decisions = [with_quote(code, quotes.get(code.coder, {}), asked) for code in decisions]
        ticks = [with_quote(Code(label, 1, owner), quotes.get(owner, team), asked) for label in dict.fromkeys(labels)]
        codes = (*decisions, *ticks, *answers)
        included = any(code.value == 1 for code in decisions)
        # A team that did not include a paper may not have looked at all labels.
        finished = (owner,) if owner and (included or (labels and not decisions)) else ()
        yield Item(entry.number, entry.line, paper_of_entry(entry, content), codes, finished, fault="; ".join(faults))


def _forms(content: Content, asked: Asked) -> tuple[list[str], list[str]]:
    """Return the columns of an extraction form that contain ticks, and the columns that contain label names."""
    if content.kind != "table":
        return [], []
    ticks, lists = matrix.code_columns(content, asked)
    return [name for name in ticks if matrix.NUMBERED.match(name)], [
        name for name in lists if matrix.NUMBERED.match(name)
    ]


def _sections(entry: Entry) -> dict[str, str]:
    """Return the sections that Rayyan added to a record's notes, keyed by heading."""
    sections = {}
    for note in notes_of(entry):
        _, *parts = _SECTION.split(note)
        for heading, text in zip(parts[::2], parts[1::2], strict=True):
            sections[heading] = text.strip().strip("|").strip()
    return sections


def _quotes(sections: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return quotations from the notes of a record, keyed by team member and then by label key.

    Only notes that mechtag wrote for Rayyan are read.
    """
    found: dict[str, dict[str, str]] = {}
    for coder, notes in _MEMBER_NOTES.findall(sections.get("USER-NOTES", "")):
        for note in re.findall(_STRING, notes):
            try:
                found.setdefault(coder, {}).update(quotes_in(json.loads(note)))
            except ValueError:  # not a string that mechtag wrote
                continue
    return found


def _decisions(sections: dict[str, str]) -> list[Code]:
    return [
        Code(None, _VALUES[word.casefold()], coder)
        for coder, word in _DECISION.findall(sections.get("RAYYAN-INCLUSION", ""))
        if word.casefold() in _VALUES
    ]


FORMAT = CodingFormat("Rayyan", recognise, read)
