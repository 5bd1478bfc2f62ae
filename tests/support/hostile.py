"""Coded records whose titles and texts break programs that do not escape them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mechtag.core.codebook import Codebook, Label, Relevance
from mechtag.core.records import Coding, Record
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.annotations.imports.importer import Imported, read_codings_from

BEYOND_BMP, RIGHT_TO_LEFT = "Crème \U0001f9e0\U0001f469\u200d\U0001f52c brûlée e\u0301tude", "مراجعة منهجية \u202eאבג"
TITLES = (
    "=cmd|' /C calc'!A0",
    "/../../etc/passwd",
    BEYOND_BMP,
    RIGHT_TO_LEFT,
    "Very long " * 30,
    "NUL\x00 and \x1b[2J escape",
    "]]></title><script>alert(1)</script>&amp;",
    r"\input{/etc/passwd} 50% of $x_1^2$ & {more} ~ #1 | `code` *star*",
    "TY  - BOOK\nER  - ",
    'a/b\\c:d*e?f"g<h>i|j',
)
BOOK = Codebook(
    name="orchard",
    relevance=Relevance(definition="The text is about fruit."),
    labels=(
        Label(key="apple", name='Apples & "pears"', definition="Apples <grow>.", include=("red ones",)),
        Label(key="plum_tree", name="Plum tree", definition="A tree of plums.", exclude=("sloes", "damsons")),
        Label(key="fig", name="Fig", definition="Figs ripen."),
    ),
)
SENTENCES = {
    "apple": "Apples \U0001f34e were picked q\u0301uickly, said {nobody} <b>.",
    "plum_tree": '=Plums | were 50% "ripe" & <sweet>.',
    "fig": "الت\u064dين fig \U0001f469\u200d\U0001f33e -- ``ripened''.",
}


def hostile_records(count: int = 40) -> list[Record]:
    """Return records whose abstracts contain all sentences of `SENTENCES`, in varying order."""
    found = []
    for number in range(count):
        said = list(SENTENCES.values())
        order = said[number % 3 :] + said[: number % 3]
        abstract = " ".join(("\U0001f333" * (number % 4) + "Trees stood there.", *order))
        found.append(
            Record(
                record_id=f"doi:10.1234/paper{number}",
                title=TITLES[number % len(TITLES)] + (f" {number}" if number >= len(TITLES) else ""),
                abstract=abstract,
                authors=(f"Ngũgĩ{number}, Ann", "O'Neill, Bob"),
                year=2000 + number % 20,
                journal="Journal of {Trees} & Shrubs",
                doi=f"10.1234/paper{number}",
                source_file="orchard.ris",
                source_index=number + 1,
            )
        )
    return found


def hostile_codings(records: list[Record], coders: tuple[str, ...] = ("Ann", "Bob <b>")) -> list[Coding]:
    """Return codings of all labels by all coders; every fourth paper is not relevant and has no other codings."""
    found = []
    for number, record in enumerate(records):
        for place, coder in enumerate(coders):
            relevant = number % 4 != 3
            own: dict[str, Any] = {"coder": coder, "basis": "abstract", "date": "2026-01-02"}
            own["record_id"] = record.record_id
            found.append(Coding(label=BOOK.relevance.key, value=int(relevant), **own))
            for bit, key in enumerate(BOOK.keys if relevant else ()):
                yes = (number + place) >> bit & 1
                found.append(Coding(label=key, value=yes, evidence=SENTENCES[key] if yes else None, **own))
    return found


def said(codings: Iterable[Coding]) -> set[tuple[object, ...]]:
    """Return what each coding says: record, coder, label, value, basis and quotation."""
    return {
        (one.record_id, one.coder, one.label, one.value, one.basis, " ".join((one.evidence or "").split()))
        for one in codings
    }


def read_back(path: Path, records: Sequence[Record], **given: Any) -> Imported:
    """Read an export as ``mechtag codings`` does; every entry must match its record, without conflicts."""
    found = read_codings_from([path], records, BOOK, DedupeSettings(), **given)
    assert found.entries["read"] == found.entries["matched"] + found.entries["without codes"]
    assert not found.conflicts
    return found
