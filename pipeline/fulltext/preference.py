"""Choose between several files with the full text of one record."""

from __future__ import annotations

from mechtag.core.full_text import Format

# The best source of a text first.
_FORMATS: tuple[Format, ...] = ("jats", "tei", "pdf", "epub", "html", "docx", "txt")


def preference(titled: bool, format: Format, chars: int) -> tuple[bool, int, int]:
    """Return a sort key that puts the best of several files with the full text of one record last.

    A file that contains the title of the record (``titled``) is better than one that does not. If this is equal, the
    format decides; from best to worst: JATS, TEI, PDF, EPUB, HTML, DOCX, plain text. If the format is equal, too, the
    text with more characters (``chars``) is better.
    """
    return titled, -_FORMATS.index(format), chars
