"""Recognise the text of scanned pages with tesseract, which is used only if the user asks for it with ``--ocr``."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.pipeline.fulltext.lines import Line

#: Resolution of the pictures of pages, in dots per inch.
DPI = 300
#: Maximum time for one page, in seconds.
SECONDS = 60.0
_POINTS = 72
# Height of a line as a proportion of that of a line that has letters with ascenders and letters with descenders.
_ASCENDERS, _DESCENDERS = frozenset("bdfhklt"), frozenset("gjpqy")
_ASCENDING, _DESCENDING, _NEITHER = 0.78, 0.75, 0.54
# Smaller differences between the heights of fonts are errors of measurement.
_SAME = 0.15
# Columns of the table that tesseract writes, and the level of the rows that are words.
_WORD = "5"
_PLACE = ("block_num", "par_num", "line_num")
_LONGEST_REASON = 200


class Picture(NamedTuple):
    """A picture of a page in shades of grey.

    Attributes
    ----------
    width, height
        Size of the picture in pixels.
    pixels
        One byte per pixel, from 0 (black) to 255 (white). The pixels are in reading order: row by row, from left to
        right.
    scale
        Number of pixels per point.
    """

    width: int
    height: int
    pixels: bytes
    scale: float


class RecognitionError(Exception):
    """Raised if the text of a page cannot be recognised; the message states the page and the reason."""


def find_program(name: str) -> str:
    """Return the path of the program for optical character recognition that the user named.

    Raises
    ------
    MechtagError
        If ``name`` is not ``tesseract``, or if tesseract is not on PATH.
    """
    if name != "tesseract":
        raise MechtagError(
            f"{name}: mechtag cannot use this program to recognise text; use tesseract", options="--ocr tesseract"
        )
    if path := shutil.which(name):
        return path
    raise MechtagError(
        "tesseract is not installed, or its folder is not on PATH; install it (Debian and Ubuntu: apt install "
        "tesseract-ocr; macOS: brew install tesseract), or read the files without text recognition",
        options="omit --ocr",
    )


class Recogniser:
    """Recognises the text of scanned pages with tesseract.

    Parameters
    ----------
    program
        Path of tesseract.
    seconds
        Maximum time for one page.
    before
        Function that is called before each page is recognised.
    """

    def __init__(self, program: str, seconds: float = SECONDS, before: Callable[[], None] = lambda: None) -> None:
        self._program, self._seconds, self._before = program, seconds, before

    def lines(self, picture: Picture, page: int) -> list[Line]:
        """Recognise the lines of text on a picture of a page, in reading order; ``page`` is the page number, from 1.

        Raises
        ------
        RecognitionError
            If tesseract fails, or takes too long.
        """
        self._before()
        words = [self._program, "stdin", "stdout", "--psm", "1", "-l", "eng", "--dpi", str(DPI), "tsv"]
        header = f"P5\n{picture.width} {picture.height}\n255\n".encode()
        try:
            done = subprocess.run(words, input=header + picture.pixels, capture_output=True, timeout=self._seconds)
        except subprocess.TimeoutExpired:
            raise RecognitionError(
                f"page {page} was not recognised, because tesseract took more than {self._seconds:g} seconds"
            ) from None
        except OSError as error:
            raise RecognitionError(
                f"page {page} was not recognised, because tesseract could not be started ({error})"
            ) from None
        if done.returncode:
            message = " ".join(done.stderr.decode("utf-8", "replace").split())[-_LONGEST_REASON:]
            raise RecognitionError(
                f"page {page} was not recognised, because tesseract failed ({message or 'without a message'})"
            )
        return list(_lines(done.stdout.decode("utf-8", "replace"), picture, page))


class _Word(NamedTuple):
    text: str
    left: float
    right: float
    top: float
    bottom: float


def _lines(table: str, picture: Picture, page: int) -> Iterator[Line]:
    """Combine the words in the output of tesseract into lines, with positions in points from the bottom of the page."""
    rows = csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE)
    by_line: dict[tuple[str, ...], list[_Word]] = {}
    for row in rows:
        text = (row.get("text") or "").strip()
        if row.get("level") != _WORD or not text:
            continue
        try:
            left, top, width, height = (float(row[name]) / picture.scale for name in ("left", "top", "width", "height"))
        except (KeyError, TypeError, ValueError):
            continue
        by_line.setdefault(tuple(row.get(name) or "" for name in _PLACE), []).append(
            _Word(text, left, left + width, top, top + height)
        )
    heights = {place: _height(words) for place, words in by_line.items()}
    usual = median(heights.values()) if heights else 0.0
    for place, words in by_line.items():
        height = heights[place]
        yield Line(
            text=" ".join(word.text for word in words),
            page=page,
            left=words[0].left,
            right=words[-1].right,
            bottom=picture.height / picture.scale - max(word.bottom for word in words),
            height=round(usual if abs(height - usual) <= _SAME * usual else height, 1),
        )


def _height(words: Sequence[_Word]) -> float:
    """Estimate the font height of a line, which is the distance from the top of a 'b' to the bottom of a 'p'."""
    letters = "".join(word.text for word in words)
    has_ascenders = any(letter in _ASCENDERS or letter.isupper() or letter.isdigit() for letter in letters)
    has_descenders = any(letter in _DESCENDERS for letter in letters)
    share = {(True, True): 1.0, (True, False): _ASCENDING, (False, True): _DESCENDING, (False, False): _NEITHER}
    height = max(word.bottom for word in words) - min(word.top for word in words)
    return height / share[has_ascenders, has_descenders]
