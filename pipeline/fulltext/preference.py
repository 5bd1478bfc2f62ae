"""Choose between several files with the full text of one record."""

from __future__ import annotations

from mechtag.core.full_text import Format

# The best source of a text first.
_FORMATS: tuple[Format, ...] = ("jats", "tei", "pdf", "epub", "html", "docx", "txt")


def preference(titled: bool, format: Format, chars: int) -> tuple[bool, int, int]:
    """Return a key by which the files of one record are sorted, the best last.

    Files that contain the title of the record are better than others, then files in a format with more structure, then
    longer texts.

    Parameters
    ----------
    titled
        Whether the file contains the title of the record.
    chars
        Number of characters of the text.
    """
    return titled, -_FORMATS.index(format), chars
