"""Readers of codings, one module for each program whose files mechtag can import.

To add a format, add a module and list it in `FORMATS`. docs/annotations.md describes what each reader expects.
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
    references,
    refi_qda,
    review,
)
from mechtag.pipeline.annotations.imports.formats.base import CodingFormat, Content

# Tried in this order; the matrix comes last because nearly any table could be one.
FORMATS: tuple[CodingFormat, ...] = (
    review.FORMAT,
    *(
        references.FORMAT,
        refi_qda.FORMAT,
        eppi.FORMAT,
        label_studio.FORMAT,
        prodigy.FORMAT,
        contract.FORMAT,
        doccano.FORMAT,
    ),
    *(rayyan.FORMAT, asreview.FORMAT, covidence.FORMAT, matrix.FORMAT),
)


def find_format(content: Content) -> CodingFormat:
    """Return the format of a file of codings, judging only by the content of the file.

    Raises
    ------
    MechtagError
        If the file contains no readable entries, or its format is not known.
    """
    if not content.entries:
        raise MechtagError(f"{content.path}: found a header but no codings; add codings, or omit this file")
    if all(entry.fault for entry in content.entries):
        first = content.entries[0]
        raise MechtagError(
            f"{content.path}: no row could be read; correct the file, or export it again. The first fault is on line "
            f"{first.line}: {first.fault}"
        )
    for known in FORMATS:
        if known.recognise(content):
            return known
    found = ", ".join(content.names)[:300] or "none"
    raise MechtagError(
        f"{content.path}: the format of these codings is not known; columns or keys found: {found}. "
        f"Known formats: {', '.join(known.name for known in FORMATS)}; docs/annotations.md describes what to export"
    )
