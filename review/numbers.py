"""Read whole numbers from texts that a browser sent."""

from __future__ import annotations

#: Most digits of a number in an address or a form; numbers of this length fit into an integer of SQLite.
MOST_DIGITS = 15


def whole_number(text: str, *, digits: int = MOST_DIGITS) -> int | None:
    """Return a text as a whole number, or ``None`` if the text is not one or has more than ``digits`` digits."""
    # str.isdigit alone also accepts digits that int refuses, such as "²".
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None
