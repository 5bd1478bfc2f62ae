"""Read exports of ASReview LAB (CSV, TSV, XLSX or RIS), which contain decisions on relevance and tags.

Since version 2, ASReview writes the column ``asreview_label``, and one column ``asreview_tag_GROUP_TAG`` per tag. RIS
files contain the same values in notes. Tables written by version 1 have the decision in the column ``included``, beside
``asreview_ranking``; they are read by the module `matrix`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mechtag.core.tables import Value, read_tick
from mechtag.pipeline.annotations.cited_papers import NAMES, fold
from mechtag.pipeline.annotations.imports.formats.base import (
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    cells_of,
    date_of,
    faulty,
    notes_of,
    paper_of_entry,
    quotes_in,
    with_quote,
)
from mechtag.pipeline.reading.tagged import Entry

_TAG = "asreview_tag_"
_DECISION = "asreview_label"
_NOTED = {"ASReview_relevant": "1", "ASReview_irrelevant": "0", "ASReview_not_seen": ""}


def recognise(content: Content) -> bool:
    """Return whether a file has columns or notes that are typical of ASReview."""
    if content.kind == "table":
        return any(fold(name) == _DECISION or fold(name).startswith(_TAG) for name in content.names)
    return any(note in _NOTED for entry in content.entries for note in notes_of(entry))


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one item per record, with its decision and its tags.

    For a relevant record, an unchecked tag means no. For other records, it means not judged, because reviewers who
    press 'not relevant' may not have looked at the tags.
    """
    own = (name for name in content.names if fold(name).startswith("asreview_") or fold(name) in NAMES)
    if content.kind == "table":
        content.note_unread(set(own))
    for entry in content.entries:
        yield faulty(entry) if entry.fault else _item(entry, content, asked)


def _item(entry: Entry, content: Content, asked: Asked) -> Item:
    cells = {**cells_of(entry), **_noted(entry)}
    coder = cells.get("asreview_user_name") or cells.get("asreview_user_email", "")
    date = date_of(cells.get("asreview_time"))
    quotes = quotes_in(cells.get("asreview_note", ""))
    codes, faults = [], []
    relevant: Value = None
    for name, cell in cells.items():
        if name != _DECISION and not name.startswith(_TAG):
            continue
        try:
            found = read_tick(cell)
        except ValueError as error:
            faults.append(f"column {name}: {error}")
            continue
        if found == "unticked":
            continue
        label = None if name == _DECISION else _tag(name, asked)
        if label is None:
            relevant = found
        codes.append(with_quote(Code(label, found, coder, date=date), quotes, asked))
    if relevant != 1:
        codes = [code._replace(value=None) if code.label and code.value == 0 else code for code in codes]
    return Item(entry.number, entry.line, paper_of_entry(entry, content), tuple(codes), fault="; ".join(faults))


def _noted(entry: Entry) -> Mapping[str, str]:
    """Return the values that ASReview stored in the notes of a RIS record, keyed by ASReview's column name."""
    found = {}
    for note in notes_of(entry):
        name, colon, value = note.partition(":")
        if note in _NOTED:
            found[_DECISION] = _NOTED[note]
        elif colon and name.startswith("asreview_"):
            value = value.strip().strip('"')
            found[fold(name)] = "" if value in ("null", "NaN", "<NA>") else value
    return found


def _tag(name: str, asked: Asked) -> str:
    """Return the label in the name of a tag column, such as ``trust`` in ``asreview_tag_mechanisms_trust``."""
    words = name.removeprefix(_TAG).split("_")
    tails = ["_".join(words[start:]) for start in range(len(words))]
    # The longest ending that is a known label; if there is none, everything after ``asreview_tag_``.
    return next((tail for tail in tails if asked.labels.find(tail)), tails[0])


FORMAT = CodingFormat("ASReview", recognise, read)
