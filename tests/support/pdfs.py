"""Make PDFs of papers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import fpdf

BODY = (
    "Leaders listened to the teams of both services before they decided. Staff said that they trusted managers who "
    "explained their reasons, and that meetings without an agenda wasted their time. "
)


def write_paper(path: Path, title: str, *lines: str, references: Sequence[str] = (), body: str = BODY * 4) -> Path:
    """Write the PDF of a paper: its title, further lines, three sections with the text ``body``, and references."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_paper(title, lines, tuple(references), body))
    return path


@cache
def _paper(title: str, lines: tuple[str, ...], references: tuple[str, ...], body: str) -> bytes:
    document = fpdf.FPDF()
    document.add_page()
    document.set_font("Helvetica", size=16)
    document.multi_cell(0, 8, title, new_x="LMARGIN", new_y="NEXT")
    document.set_font("Helvetica", size=10)
    for line in lines:
        document.multi_cell(0, 6, line, new_x="LMARGIN", new_y="NEXT")
    for heading in ("Introduction", "Methods", "Results"):
        document.set_font("Helvetica", style="B", size=12)
        document.multi_cell(0, 9, heading, new_x="LMARGIN", new_y="NEXT")
        document.set_font("Helvetica", size=10)
        document.multi_cell(0, 5, body, new_x="LMARGIN", new_y="NEXT")
    if references:
        document.set_font("Helvetica", style="B", size=12)
        document.multi_cell(0, 9, "References", new_x="LMARGIN", new_y="NEXT")
        document.set_font("Helvetica", size=10)
        for reference in references:
            document.multi_cell(0, 5, reference, new_x="LMARGIN", new_y="NEXT")
    return bytes(document.output())
