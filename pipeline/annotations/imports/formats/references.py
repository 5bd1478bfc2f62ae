"""Read references (RIS, BibTeX) that mechtag exported; their notes contain the codes that people assigned."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mechtag.core.records import SIGNS, Sign
from mechtag.pipeline.annotations.coded_records import Basis
from mechtag.pipeline.annotations.imports.formats.base import (
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    faulty,
    notes_of,
    paper_of_entry,
)
from mechtag.pipeline.export.coded_papers import VALUES, is_model
from mechtag.pipeline.export.references import CODE
from mechtag.pipeline.reading.formats import bibtex

_CODE = re.compile(
    # Atomic groups, so that the time does not grow with the square of a hostile note.
    r"(?>.*? \[(?P<key>[a-z][a-z0-9_]*)\] = (?P<answer>yes|no|needs review|not judged); coder: )"
    r"(?>(?P<coder>.*?); basis: (?P<basis>abstract|full-text)(?=; date: [0-9]|; signs: |; quote: \"|\s*\Z))"
    r"(?:; date: (?P<date>[0-9-]+))?(?:; signs: (?P<signs>(?>[a-z-]+(?:, ?[a-z-]+)*)))?"
    r"(?:; quote: \"(?P<quote>.*)\")?\s*",
    re.S,
)


def recognise(content: Content) -> bool:
    """Return whether the note field of any reference in a file contains a code that mechtag wrote."""
    return any(note.startswith(CODE) for entry in content.entries for note in notes_of(entry))


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one item per reference, with the codes that people assigned; the suggestions of a model are not read."""
    for entry in content.entries:
        if entry.fault:
            yield faulty(entry)
            continue
        codes, faults = [], []
        # Only in BibTeX are notes written in LaTeX.
        notes = map(bibtex.plain, notes_of(entry)) if content.clean is bibtex.clean else notes_of(entry)
        for note in notes:
            for part in filter(None, note.split(CODE)) if note.startswith(CODE) else ():
                found = _CODE.fullmatch(part)
                if found is None:
                    faults.append(f"the note {CODE + part[:100]!r} cannot be read; restore it, or delete it")
                elif not is_model(found["coder"]):
                    basis: Basis = "full-text" if found["basis"] == "full-text" else "abstract"
                    value = VALUES[found["answer"]]
                    quote, date = found["quote"] or "", found["date"] or ""
                    details = _signs(found["signs"] or "")
                    codes.append(Code(found["key"], value, found["coder"], quote, date, basis, details=details))
        yield Item(entry.number, entry.line, paper_of_entry(entry, content), tuple(codes), fault="; ".join(faults))


def _signs(text: str) -> dict[str, tuple[Sign | None, ...]]:
    """Read a list of signs: ``absent, -`` becomes ``{"signs": ("absent", None)}``.

    If the text contains no sign, the result is ``{}``.
    """
    signs = tuple(next((sign for sign in SIGNS if sign == part.strip()), None) for part in text.split(","))
    return {"signs": signs} if any(signs) else {}


FORMAT = CodingFormat("references with mechtag's codes", recognise, read)
