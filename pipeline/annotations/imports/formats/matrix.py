"""Read a matrix (CSV or XLSX), which has one row per paper and one column per code. Extraction forms have this layout.

A column of codes contains one of the following:

- ticks for the label in the header
- names of labels, chosen from a list
- ticks or passages for the role of evidence in the header, such as ``Trust: Context``

Columns and rows named "total" are not read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from mechtag.core.errors import MechtagError
from mechtag.core.tables import NO, NOT_JUDGED, TOTAL, WORDS, YES, Value, read_tick
from mechtag.pipeline.annotations.cited_papers import NAMES, fold, paper_of
from mechtag.pipeline.annotations.imports.formats.base import Asked, Code, CodingFormat, Content, Item, faulty
from mechtag.pipeline.reading.columns import attributes
from mechtag.pipeline.reading.tagged import Entry

_CODERS = ("coder", "reviewer", "reviewer_name", "annotator")
#: Rayyan numbers the questions of an extraction form: '14-Inspiring intent'.
NUMBERED = re.compile(r"\d+-")


def recognise(content: Content) -> bool:
    """Return whether a file is a table with a column that identifies papers."""
    named = any(fold(name) in NAMES for name in content.names)
    return content.kind == "table" and (named or bool(attributes(content.names)))


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one item per row.

    A row contains the codes of a paper, or the extraction form that one coder filled in for a paper.

    Raises
    ------
    MechtagError
        In these cases:

        - No column contains codes.
        - Two columns of codes have the same name.
        - A cell is empty, and the user did not specify what an empty cell means.
    """
    ticks, lists = code_columns(content, asked)
    if not ticks and not lists:
        raise MechtagError(
            f"{content.path}: no column is named after a label of the codebook or contains names of labels. Columns "
            f"found: {', '.join(content.names)[:500]}. Name each column of codes after its label, or map it to a label",
            options="--map FILE",
        )
    named = (name for name in content.names if fold(name) in (*NAMES, *_CODERS, TOTAL))
    content.note_unread({*ticks, *lists, *named})
    for entry in content.entries:
        if _is_total(entry, [*ticks, *lists]):
            content.notes.append(f"line {entry.line} was not read, because it contains the totals of the columns")
        else:
            yield faulty(entry) if entry.fault else _item(entry, content, asked, ticks, lists)


def _is_total(entry: Entry, codes: Sequence[str]) -> bool:
    """Return whether a row contains the totals of the columns, rather than the codes of a paper."""
    described = {fold(value) for name, value in entry.fields if value and name not in codes and fold(name) != TOTAL}
    # A row of totals has the word 'total' in place of a paper.
    return described == {TOTAL}


def code_columns(content: Content, asked: Asked) -> tuple[list[str], list[str]]:
    """Return the names of the columns that contain ticks, and the names of the columns that contain label names.

    A column contains ticks in two cases:

    - Its name is a label, or the user mapped its name to a label.
    - All its filled cells are ticks, and its name does not show that it describes papers or coders.

    Columns that the user mapped to null are left out.

    Raises
    ------
    MechtagError
        If two columns of codes have the same name.
    """
    known = attributes(content.names)
    ticks, lists = [], []
    for place, name in enumerate(content.names):
        meaning = asked.labels.find(_label(name))
        if meaning is None and (not name or name in known or fold(name) in (*NAMES, *_CODERS, TOTAL)):
            continue
        if meaning is not None and meaning.key is None:
            continue  # The user asked to ignore it.
        cells = [entry.fields[place][1] for entry in content.entries if not entry.fault]
        filled = [cell for cell in cells if cell]
        if meaning is not None or (filled and all(cell.casefold() in WORDS for cell in filled)):
            ticks.append(name)
        elif _lists_labels(filled, asked):
            lists.append(name)
    doubled = [name for name, count in Counter([*ticks, *lists]).items() if count > 1]
    if doubled:
        raise MechtagError(f"{content.path}: column {doubled[0]!r} occurs more than once; rename one of the columns")
    return ticks, lists


def _lists_labels(cells: Sequence[str], asked: Asked) -> bool:
    """Return whether at least half of the cells in a column contain names of labels."""
    naming = [cell for cell in cells if any(map(asked.labels.find, asked.labels.split(cell)))]
    return bool(naming) and 2 * len(naming) >= len(cells)


def _label(name: str) -> str:
    number = NUMBERED.match(name)
    return name[number.end() :] if number else name


def row_codes(
    entry: Entry, content: Content, asked: Asked, ticks: Sequence[str], lists: Sequence[str], coder: str
) -> tuple[list[Code], list[str]]:
    """Return the codes in a row, and a message for each faulty cell.

    Parameters
    ----------
    ticks, lists
        Names of the columns of codes, as returned by `code_columns`.

    Raises
    ------
    MechtagError
        If a cell is empty and the user did not specify what an empty cell means.
    """
    cells = dict(entry.fields)
    codes, faults = [], []
    doubted = any(_doubts(name, cells[name], asked) for name in ticks)
    for name in ticks:
        try:
            value = read_tick(cells[name])
        except ValueError as error:
            if (meaning := asked.labels.find(_label(name))) and meaning.role:
                codes.append(Code(_label(name), 1, coder, evidence=cells[name]))
            else:
                faults.append(f"column {name}: {error}")
            continue
        said = _said(value, name, entry, content, asked)
        # Coders who exclude a paper, or are in doubt, may not have looked at the labels.
        codes.append(Code(_label(name), None if value == "unticked" and doubted else said, coder))
    chosen = [label for name in lists for label in asked.labels.split(cells[name])]
    return [*codes, *(Code(label, 1, coder) for label in dict.fromkeys(chosen))], faults


def _doubts(name: str, cell: str, asked: Asked) -> bool:
    """Return whether a cell states that a paper is not relevant, or that the coder was unsure about this."""
    meaning = asked.labels.find(_label(name))
    if meaning is None or meaning.key != asked.labels.codebook.relevance.key:
        return False
    word = cell.casefold()
    # A column may be named 'excluded' or 'maybe'.
    return word in (YES if meaning.value != 1 else NO | NOT_JUDGED)


def _item(entry: Entry, content: Content, asked: Asked, ticks: Sequence[str], lists: Sequence[str]) -> Item:
    coder = next((cell for name, cell in entry.fields if fold(name) in _CODERS and cell), "")
    codes, faults = row_codes(entry, content, asked, ticks, lists, coder)
    # A list shows only what was chosen, so it is informative only if the form was filled in.
    finished = (coder,) if lists and any(code.value == 1 for code in codes) else ()
    paper = paper_of([pair for pair in entry.fields if pair[1]])
    return Item(entry.number, entry.line, paper, tuple(codes), finished, fault="; ".join(faults))


def _said(value: Value | str, name: str, entry: Entry, content: Content, asked: Asked) -> Value:
    if value != "unticked":
        return value  # type: ignore[return-value]
    meaning = asked.labels.find(_label(name))
    if meaning is not None and (meaning.role or meaning.key == asked.labels.codebook.relevance.key):
        return (
            None  # An unticked role is no judgement, and a reviewer who has not decided on a paper has not excluded it.
        )
    if asked.unticked is None:
        raise MechtagError(
            f"{content.path}: line {entry.line}, column {name}: the cell is empty, which can mean no or not judged; "
            "state whether reviewers went through all codes",
            options="--unticked no if they did, --unticked not-judged if they did not",
        )
    return 0 if asked.unticked == "no" else None


FORMAT = CodingFormat("matrix of papers by codes", recognise, read)
