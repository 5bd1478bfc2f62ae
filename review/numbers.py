"""Read whole numbers from text that a browser sent."""

from __future__ import annotations

#: Largest number of digits in an address or a form; a number with as many digits fits into an integer of SQLite.
MOST_DIGITS = 15


def whole_number(text: str, *, digits: int = MOST_DIGITS) -> int | None:
    """Convert a text to a whole number.

    If the text is not a whole number of at most ``digits`` digits (0 to 9), the result is ``None``.
    """
    # str.isdigit alone also accepts digits that int refuses, such as "²".
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None
