"""Choose between several files with the full text of one record."""

from __future__ import annotations

from mechtag.core.full_text import Format

# The best source of a text first.
_FORMATS: tuple[Format, ...] = ("jats", "tei", "pdf", "epub", "html", "docx", "txt")


def preference(titled: bool, format: Format, chars: int) -> tuple[bool, int, int]:
    """Return a sort key for choosing between several full-text files of one record; the best file is last.

    Files are compared by these criteria, the most important first:

    1. A file that contains the title of the record (``titled``) is better.
    2. Formats, from best to worst: JATS, TEI, PDF, EPUB, HTML, DOCX, plain text.
    3. A text with more characters (``chars``) is better.
    """
    return titled, -_FORMATS.index(format), chars
