"""Choose words that depend on a number, for messages and reports."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a number and its noun in the singular or plural, such as ``1 paper`` or ``2,000 papers``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
