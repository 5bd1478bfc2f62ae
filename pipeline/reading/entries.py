"""The entries of a file, before they are judged, and the interface of a reader of search exports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mechtag.core.delimited import LONGEST_ENTRY
from mechtag.core.source import Source

_SHOWN = 1000


class Entry(NamedTuple):
    """One record as it stands in a file.

    Attributes
    ----------
    number, line
        Of the record in the file and of its first line, from 1.
    fields
        Names and values in file order; a repeated field is a repeated pair. Values are
        whatever JSON can hold.
    fault
        Why the entry cannot be read at all, or ``""``.
    notes
        What was odd about it, though it was read.
    """

    number: int
    line: int
    fields: Sequence[tuple[str, Any]]
    fault: str = ""
    notes: tuple[str, ...] = ()


def overlong(number: int, line: int, start: str) -> Entry:
    """Refuse an entry of more than `LONGEST_ENTRY` characters; ``start`` is its text, of which the first are kept."""
    fault = (
        f"longer than {LONGEST_ENTRY:,} characters, as no record is; the file may be damaged or lack line ends: "
        "export it again"
    )
    return Entry(number, line, [("start", start[:_SHOWN])], fault=fault)


@dataclass(frozen=True)
class Format:
    r"""How one file format is told from others, read, and mapped to the record contract.

    Attributes
    ----------
    recognise
        Whether a file is of this format, by its content.
    read
        Cut the file into entries without judging them.
    clean
        Map the fields of an entry to attributes of `records.Record`; lists for
        ``authors`` and ``keywords``, text or ``None`` for the others. Markup, entities and
        spaces are cleaned after it. Line ends in ``abstract`` that only wrap the text may
        stay; a blank line (``\n\n``) is a paragraph, and a heading on its own line is kept so.
    """

    name: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source], Iterator[Entry]]
    clean: Callable[[Sequence[tuple[str, Any]]], Mapping[str, Any]]
