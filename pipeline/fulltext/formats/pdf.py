"""Read the lines of a PDF with pdfium; `layout` combines them into headings and paragraphs."""

from __future__ import annotations

import ctypes
import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import hypot
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from mechtag.core.errors import MechtagError
from mechtag.pipeline.fulltext.document import MOST_PAGES, Draft
from mechtag.pipeline.fulltext.layout import to_blocks
from mechtag.pipeline.fulltext.lines import Line
from mechtag.pipeline.fulltext.ocr import DPI, Picture, Recogniser, RecognitionError

# A page with fewer characters counts as a page without text: it is a scan, a figure or blank.
_FEW_CHARACTERS = 50
_LONGEST_NAME = 200
_POINTS = 72
# Maximum number of pixels of the picture of a page: a page of A3 at 300 dots per inch has half as many.
_MOST_PIXELS = 35_000_000
# Prefix of the name of a font of which only the letters in use are embedded: six letters and a plus sign.
_SUBSET = re.compile(r"^[A-Z]{6}\+")
# Number of letters of a line whose height and font are examined.
_SAMPLES = 5
_LINE_ENDS = re.compile(r"(\r\n|\r|\n)")


def read(
    data: bytes,
    name: str,
    on_pages: Callable[[int], None] = lambda _: None,
    recogniser: Recogniser | None = None,
) -> Draft:
    """Read a PDF.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the file, for messages.
    on_pages
        Function that is called with the number of pages, before the pages are read.
    recogniser
        Recognises the text of scanned pages. By default, scanned pages remain without text.

    Raises
    ------
    MechtagError
        If the file is protected by a password, is damaged, or has more than `MOST_PAGES` pages; or if more than half of
        its pages have no text, as in a scan.
    """
    document = _open(data, name)
    try:
        count = len(document)
        on_pages(count)
        if count > MOST_PAGES:
            raise MechtagError(f"{name} has {count:,} pages, but at most {MOST_PAGES:,} can be read; split the file")
        pages = [_lines(document, number) for number in range(count)]
        labels = [_label(document, number) for number in range(count)]
        recognised = _recognise(document, pages, recogniser) if recogniser else _Recognised()
    finally:
        document.close()
    scanned = sum(map(_is_empty, pages))
    if not count or scanned > count / 2:
        reason = f"; {recognised.faults[0]}" if recognised.faults else ""
        advice = "" if recogniser else "attach it with 'mechtag attach --ocr tesseract', or "
        raise MechtagError(
            f"{name} is a scan without text ({scanned} of {count} pages have no text{reason}); {advice}recognise its "
            f"text first, for example with ocrmypdf {shlex.quote(name)} with_text.pdf"
        )
    warnings = [f"{scanned} of {count} pages have no text."] if scanned else []
    if recognised.pages:
        warnings.append(
            f"The text of {_listed(recognised.pages)} was recognised in pictures (OCR), so it may contain errors."
        )
    return Draft(
        blocks=to_blocks(pages),
        first_page="\n".join(line.text for line in pages[0])
        or "\n".join(line.text for line in pages[min(1, count - 1)]),
        page_labels=labels,
        scanned_pages=scanned,
        ocr_pages=frozenset(recognised.pages),
        warnings=[*warnings, *(f"{fault[:1].upper()}{fault[1:]}." for fault in recognised.faults)],
    )


@dataclass
class _Recognised:
    """The numbers of the pages whose text was recognised, and an error message for each page that failed."""

    pages: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def _recognise(document: Any, pages: list[list[Line]], recogniser: Recogniser) -> _Recognised:
    """Recognise the text of scanned pages, and replace the lines of these pages in ``pages``."""
    found = _Recognised()
    for number, lines in enumerate(pages):
        if not _is_empty(lines):
            continue
        try:
            pages[number] = recogniser.lines(_picture(document, number), number + 1) or lines
        except (RecognitionError, pypdfium2.PdfiumError) as error:
            shown = isinstance(error, RecognitionError)
            found.faults.append(str(error) if shown else f"page {number + 1} could not be drawn ({error})")
            continue
        if not _is_empty(pages[number]):
            found.pages.append(number + 1)
    return found


def _is_empty(lines: Sequence[Line]) -> bool:
    return sum(len(line.text) for line in lines) < _FEW_CHARACTERS


def _listed(numbers: Sequence[int]) -> str:
    """Return page numbers as text, such as ``page 3`` or ``pages 1-4, 9``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    listed = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"page {listed}" if len(numbers) == 1 else f"pages {listed}"


def _picture(document: Any, number: int) -> Picture:
    """Return a page as a greyscale picture."""
    page = document[number]
    try:
        width, height = page.get_size()
        # A large page is drawn smaller, to save memory.
        scale = min(DPI / _POINTS, math.sqrt(_MOST_PIXELS / max(1.0, width * height)))
        bitmap = page.render(scale=scale, grayscale=True)
        try:
            rows = np.frombuffer(bitmap.buffer, dtype=np.uint8).reshape(bitmap.height, bitmap.stride)
            return Picture(bitmap.width, bitmap.height, rows[:, : bitmap.width].tobytes(), scale)
        finally:
            bitmap.close()
    finally:
        page.close()


def _open(data: bytes, name: str) -> Any:
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).casefold():
            raise MechtagError(
                f"{name} is protected by a password; open the file, and save it without a password"
            ) from None
        raise MechtagError(
            f"{name} cannot be read as a PDF, because it is damaged or cut off; download it again"
        ) from None


def _label(document: Any, number: int) -> str:
    return str(document.get_page_label(number) or number + 1)


def _lines(document: Any, number: int) -> list[Line]:
    """Return the lines of the page with the index ``number``; the list is empty if the page cannot be opened."""
    try:
        page = document[number]
    except pypdfium2.PdfiumError:
        return []
    try:
        text_page = page.get_textpage()
        try:
            text = str(text_page.get_text_range(errors="ignore"))
            return _cut(text_page, text, number + 1)
        finally:
            text_page.close()
    finally:
        page.close()


def _cut(text_page: Any, text: str, page: int) -> list[Line]:
    """Return the lines in the text of a page, each with its position, its letter height and its fonts."""
    lines, index = list[Line](), 0
    for raw in _LINE_ENDS.split(text):
        stripped = raw.strip()
        if stripped:
            first = index + len(raw) - len(raw.lstrip())
            start, end = _box(text_page, first), _box(text_page, index + len(raw.rstrip()) - 1)
            letters = [place for place, char in enumerate(stripped) if char.isalnum()] or [0]
            # Letters spread over the line, because single words may be in italics or superscript.
            chosen = sorted({letters[len(letters) * part // _SAMPLES] for part in range(_SAMPLES)})
            sizes = sorted(_size(text_page, first + place) for place in chosen)
            fonts = [_font(text_page, first + place) for place in chosen]
            lines.append(
                Line(stripped, page, start.left, end.right, start.bottom, sizes[len(sizes) // 2], tuple(fonts))
            )
        index += len(raw) if raw.isascii() else len(raw.encode("utf-16-le", "surrogatepass")) // 2
    return lines


def _box(text_page: Any, index: int) -> Any:
    """Return the bounding box of the character at ``index`` in the text of a page."""
    box = pdfium.FS_RECTF()
    # A loose box is as high as the font.
    pdfium.FPDFText_GetLooseCharBox(text_page, pdfium.FPDFText_GetCharIndexFromTextIndex(text_page, index), box)
    return box


def _size(text_page: Any, index: int) -> float:
    """Return the font size, in points, of the character at ``index`` in the text of a page."""
    char = pdfium.FPDFText_GetCharIndexFromTextIndex(text_page, index)
    matrix = pdfium.FS_MATRIX()
    size = float(pdfium.FPDFText_GetFontSize(text_page, char))
    return size * hypot(matrix.c, matrix.d) if pdfium.FPDFText_GetMatrix(text_page, char, matrix) else size


def _font(text_page: Any, index: int) -> str:
    """Return the font name of the character at ``index`` in the text of a page; ``""`` if it is not known."""
    char = pdfium.FPDFText_GetCharIndexFromTextIndex(text_page, index)
    name = ctypes.create_string_buffer(_LONGEST_NAME)
    length = pdfium.FPDFText_GetFontInfo(text_page, char, name, _LONGEST_NAME, None)
    return _SUBSET.sub("", name.value.decode("utf-8", "replace")) if length else ""
