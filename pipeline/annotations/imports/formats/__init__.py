"""Readers of codings, one module a program: what it calls papers, coders and labels, and what its ticks mean.

A new format is one more module and its line in `FORMATS`. docs/annotations.md says what each reads.
"""

from __future__ import annotations

from mechtag.core.errors import MechtagError
from mechtag.pipeline.annotations.imports.formats import (
    asreview,
    contract,
    covidence,
    doccano,
    eppi,
    label_studio,
    matrix,
    prodigy,
    rayyan,
)
from mechtag.pipeline.annotations.imports.formats.base import CodingFormat, Content

# Asked in this order; a matrix last, for nearly any table could be one.
FORMATS: tuple[CodingFormat, ...] = (
    *(eppi.FORMAT, label_studio.FORMAT, prodigy.FORMAT, contract.FORMAT, doccano.FORMAT),
    *(rayyan.FORMAT, asreview.FORMAT, covidence.FORMAT, matrix.FORMAT),
)


def find_format(content: Content) -> CodingFormat:
    """Choose a reader by what the file holds, whatever it is called.

    Raises
    ------
    MechtagError
        There is nothing in it, or no program is known to write this.
    """
    if not content.entries:
        raise MechtagError(f"{content.path}: a header but no codings below it")
    if all(entry.fault for entry in content.entries):
        first = content.entries[0]
        raise MechtagError(f"{content.path}: nothing in it could be read; line {first.line}: {first.fault}")
    for known in FORMATS:
        if known.recognise(content):
            return known
    found = ", ".join(content.names)[:300] or "none"
    raise MechtagError(
        f"{content.path}: no codings that are known; columns or keys found: {found}. "
        f"Known: {', '.join(known.name for known in FORMATS)}; docs/annotations.md says what to export"
    )
