"""Make texts and file names safe to print: replace the characters that could control the terminal."""

from __future__ import annotations

import re

# Control characters, marks that change the direction of text, and bytes of file names that are not UTF-8.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text in which unsafe characters, such as ``\x1b``, are escaped; tabs and line ends are kept."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def printable_name(name: str) -> str:
    """Return a file name in which unsafe characters, tabs and line ends are escaped."""
    return printable(name).replace("\t", "\\t").replace("\n", "\\n")
