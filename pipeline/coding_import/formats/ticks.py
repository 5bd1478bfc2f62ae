"""How reviewers tick a cell, and what an untouched one may look like."""

from __future__ import annotations

from typing import Literal

# Case does not matter. 1.0 is what spreadsheets and pandas make of a 1.
YES = frozenset(("1", "1.0", "yes", "y", "true", "x", "✓", "✔", "✔️", "☑", "✅", "●", "•", "+"))
NO = frozenset(("0", "0.0", "no", "n", "false", "✗", "✘", "☐", "❌"))
NOT_JUDGED = frozenset(("?", "unclear", "unsure", "maybe", "undecided", "na", "n/a", "not judged"))
#: Empty, or the dash that stands for it in print.
UNTICKED = frozenset(("", "-", "–", "—"))
WORDS = YES | NO | NOT_JUDGED | UNTICKED


def tick(cell: str) -> Literal[0, 1] | Literal["unticked"] | None:
    """Value of a cell; raises `ValueError` where it is neither a tick nor empty."""
    word = cell.strip().casefold()
    if word not in WORDS:
        raise ValueError(f"{cell[:100]!r} is no tick")
    if word in UNTICKED:
        return "unticked"
    return 1 if word in YES else 0 if word in NO else None
