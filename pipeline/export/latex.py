"""Escape text for LaTeX and BibTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SPECIAL = {
    **{char: f"\\{char}" for char in "#$%&_"},
    # BibTeX counts all braces, even those after a backslash.
    **{"{": r"\textbraceleft{}", "}": r"\textbraceright{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
}


def escape(text: str, symbols: Mapping[str, str] | None = None) -> str:
    """Escape text for LaTeX and BibTeX; braces are balanced in the result.

    Parameters
    ----------
    symbols
        LaTeX commands for further characters, keyed by character.
    """
    commands = _SPECIAL | dict(symbols or {})
    text = "".join(commands.get(char, char) for char in text)
    # TeX joins two of these to a dash or a quotation mark.
    return re.sub(r"([-`'])(?=\1)", r"\1{}", text)
