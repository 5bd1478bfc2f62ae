"""Read plain text, such as the output of optical character recognition."""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import median

from mechtag.core.errors import MechtagError
from mechtag.pipeline.fulltext.document import Block, Draft
from mechtag.pipeline.fulltext.files import decoded
from mechtag.pipeline.fulltext.sections import kind_of, without_number

_BLANK = re.compile(r"\n[^\S\n]*\n\s*|\f")
_MOST_WORDS = 12
_FIRST_PAGE = 4000
# If half of the lines have at most this many characters, the lines have been wrapped.
_WRAPPED = 100


def read(data: bytes, name: str) -> Draft:
    """Read plain text; blank lines separate the paragraphs.

    If there are hardly any blank lines, or if most lines are long, each line is a paragraph.

    Raises
    ------
    MechtagError
        If the file is empty, or if NUL bytes show that it is not a text file.
    """
    text = _decoded(data, name)
    if not text.strip():
        raise MechtagError(f"{name} is empty; download or save it again")
    lines = [line for line in text.splitlines() if line.strip()]
    wrapped = median(map(len, lines)) <= _WRAPPED and len(_BLANK.findall(text)) > 2
    parts = _BLANK.split(text) if wrapped else lines
    return Draft(blocks=list(_blocks(parts)), title=lines[0].strip(), first_page=text[:_FIRST_PAGE])


def _decoded(data: bytes, name: str) -> str:
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in data and not is_wide:
        raise MechtagError(f"{name} is not a text file; save the paper as PDF or in another format that can be read")
    text = decoded(data, "utf-16" if is_wide else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _blocks(parts: list[str]) -> Iterator[Block]:
    for part in parts:
        head, _, rest = part.strip().partition("\n")
        if _is_heading(head, alone=not rest):
            yield Block(head, 1)
            part = rest
        # Join words that a line end divides.
        joined = re.sub(r"(?<=[^\W\d_])-\n\s*(?=[a-z])", "", part)
        if joined.strip():
            yield Block(" ".join(joined.split()))


def _is_heading(line: str, *, alone: bool) -> bool:
    words = line.split()
    if not words or len(words) > _MOST_WORDS or line[-1] in ".,;?!":
        return False
    numbered = without_number(line) != line.strip() and without_number(line)[:1].isupper()
    return kind_of(line) is not None or (alone and (numbered or (line.isupper() and len(line) > 3)))
