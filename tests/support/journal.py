"""PDFs with the layout of journal pages, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fpdf import FPDF

_TOP, _BOTTOM = 60, 780
_LEADING = 12


@dataclass
class Journal:
    """A PDF whose lines are printed in columns, two by default.

    If a column is full, the text continues in the next column or on the next page.
    """

    columns: int = 2
    head: str = "Orchard Studies 2020, 12:34"
    size: float = 10
    lowest: float = _BOTTOM
    pdf: FPDF = field(init=False)
    _column: int = 0
    _y: float = _TOP

    def __post_init__(self) -> None:
        self.pdf = FPDF(unit="pt", format="A4")
        self.pdf.set_auto_page_break(False)
        self._new_page()

    def _new_page(self) -> None:
        self.pdf.add_page()
        self.pdf.set_font("Helvetica", size=8)
        self.pdf.text(200, 30, self.head)
        self.pdf.text(290, 820, str(self.pdf.page_no()))
        self._column, self._y = 0, _TOP

    def lines(
        self, *texts: str, style: str = "", size: float | None = None, font: str = "Times", gap: float = 0
    ) -> None:
        """Print lines; ``style`` is ``B`` for bold or ``I`` for italic."""
        self._y += gap
        for text in texts:
            if self._y > self.lowest:
                self.next_column()
            self.pdf.set_font(font, style, size or self.size)
            self.pdf.text(50 + self._column * 260, self._y, text)
            self._y += _LEADING

    def next_column(self) -> None:
        """Continue in the next column or, after the last column, on the next page."""
        if self._column + 1 < self.columns:
            self._column, self._y = self._column + 1, _TOP
        else:
            self._new_page()

    def heading(self, text: str, *, level: int = 1) -> None:
        """Print a heading."""
        self.lines(text, style="B", size=self.size + (2 if level == 1 else 0), gap=10)
        self._y += 4

    def data(self) -> bytes:
        """Return the content of the PDF file."""
        return bytes(self.pdf.output())


def pages(texts: Sequence[str]) -> bytes:
    """Return a PDF in which each text begins on a new page."""
    pdf = FPDF(unit="pt", format="A4")
    for text in texts:
        pdf.add_page()
        pdf.set_font("Times", size=10)
        pdf.multi_cell(0, 12, text)
    return bytes(pdf.output())
