"""Read configurations from text in which markers follow the passages, as realist reviews print them.

Markers name the role of the passage before them, and may state whether what it describes is present (``+``) or absent
(``-``): ``(C)``, ``(M+, Resource)``, ``(M-, Reasoning)``, ``(M-Res)``, ``(O-)``. A paragraph with markers is one
configuration; a paragraph without markers is the heading of the paragraphs below it, and names their label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mechtag.core.codebook import Codebook
from mechtag.core.records import Rejected, Sign
from mechtag.pipeline.evidence_roles.configurations import Configurations, RolePassage
from mechtag.pipeline.export.review_rows import fold_name

_SIGNS: dict[str, Sign] = {"+": "present", "-": "absent", "−": "absent", "–": "absent"}
# A hyphen is a sign before a comma, a space or the end, as in (M-, Resource) and (M- Resource), but not directly before
# a word, as in (M-Res), or after a space, as in (M - Resource). A minus sign is always a sign.
# Spaces are bounded, so that the time grows with the text and not with its square.
_MARKER = re.compile(
    r"\(\s{0,3}(?P<name>[A-Za-z][A-Za-z ]{0,30}?)\s{0,3}(?P<sign>[-+−–])?\s{0,3}"
    r"(?:(?:(?<=[+−])|(?<=\w[–-])(?=\s)|[,;:/–-])\s{0,3}(?P<part>[A-Za-z][A-Za-z ]{0,30}?))?\s{0,3}\)"
)
# Name of the whole mechanism, whose parts are roles.
_MECHANISM = "mechanism"
_HEADING = re.compile(r"#+\s|(?:box|configuration|cmo)\s*\d+\b", re.I)
_EDGES = " \t\n,;:.–—-"


class _Block(NamedTuple):
    """A paragraph, its first line, and the number of this line in the text."""

    line: int
    text: str


def read_marked_text(
    text: str, codebook: Codebook, *, file: str = "", label: str = "", coder: str = "", record_id: str = ""
) -> Configurations:
    """Return the passages that the markers in a text delimit, and the parts that cannot be read, with the reasons.

    Two markers in a row give the same passage two roles. Text after the last marker of a paragraph has no role; it is
    rejected, so that nothing is lost without notice.

    Parameters
    ----------
    file
        Name of the file, for rejected parts.
    label
        Key of the label of those paragraphs whose heading does not name a label.
    coder, record_id
        Coder, and identifier of the record, of all passages.
    """
    passages: list[RolePassage] = []
    rejected: list[Rejected] = []
    heading, number = "", 0
    for block in _blocks(text):
        if not any(_is_marker(match, codebook) for match in _MARKER.finditer(block.text)):
            heading = block.text
            continue
        number += 1
        own = _label_in(heading, codebook) or label
        if not own:
            reason = (
                f"the heading {heading[:80]!r} names no label of the codebook; write the name or key of a label in the "
                "paragraph above, or state the label for the whole file"
            )
            rejected.append(Rejected(file=file, record=number, line=block.line, reason=reason))
            continue
        given = {"config_id": str(number), "coder": coder, "record_id": record_id, "label": own}
        for found in _passages(block, codebook):
            if isinstance(found, RolePassage):
                order = 1 + sum(passage.config_id == str(number) for passage in passages)
                passages.append(found.model_copy(update={**given, "order": order}))
            else:
                rejected.append(found.model_copy(update={"file": file, "record": number}))
    return Configurations(tuple(passages), tuple(rejected))


def _blocks(text: str) -> Iterator[_Block]:
    """Yield the paragraphs of a text; a line that is a heading is a paragraph of its own."""
    lines: list[str] = []
    start = 1
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        is_heading = bool(_HEADING.match(line.strip())) and not _MARKER.search(line)
        if lines and (is_heading or not line.strip()):
            yield _Block(start, "\n".join(lines))
            lines = []
        if is_heading:
            yield _Block(number, line.strip())
        elif line.strip():
            if not lines:
                start = number
            lines.append(line)


def _passages(block: _Block, codebook: Codebook) -> Iterator[RolePassage | Rejected]:
    end, last = 0, ""
    for match in _MARKER.finditer(block.text):
        if not _is_marker(match, codebook):
            continue
        line = block.line + block.text.count("\n", 0, match.start())
        last = _shown(block.text[end : match.start()]) or last
        end = match.end()
        role = _role(match, codebook)
        if role is None:
            reason = f"the marker {match[0]} names none of the roles {', '.join(codebook.role_names.values())}"
            yield Rejected(file="", line=line, reason=reason, raw=(("text", last),))
        elif not last:
            yield Rejected(file="", line=line, reason=f"there is no text before the marker {match[0]}")
        else:
            sign = _SIGNS.get(match["sign"] or "")
            yield RolePassage(label="", role=role, sign=sign, text=last)
    if rest := _shown(block.text[end:]):
        reason = "this text follows the last marker of its paragraph, so it has no role"
        yield Rejected(file="", line=block.line + block.text.count("\n"), reason=reason, raw=(("text", rest),))


def _shown(text: str) -> str:
    return " ".join(text.split()).strip(_EDGES)


def _is_marker(match: re.Match[str], codebook: Codebook) -> bool:
    """Return whether text in parentheses is a marker: it names a role, is one capital letter, or has a sign."""
    name = match["name"]
    if _role(match, codebook) is not None or (name[0].isupper() and _MECHANISM.startswith(name.casefold())):
        return True
    initials = {role.name[0].casefold() for role in codebook.roles}
    return len(name) == 1 and name.isupper() and (bool(match["sign"]) or name.casefold() in initials)


def _role(match: re.Match[str], codebook: Codebook) -> str | None:
    """Return the key of the role that a marker names, in full or by its first letters; ``None`` if it is not clear."""
    name = match["part"] or match["name"]
    folded = fold_name(name)
    names = {role.key: {fold_name(role.key), fold_name(role.name)} for role in codebook.roles}
    for forms in ({folded}, {folded.removesuffix("s")}):
        if exact := [key for key, own in names.items() if own & forms]:
            return exact[0]
    if not name[0].isupper():
        return None  # Only a whole name may be in lower case: '(a)' is no marker.
    found = [key for key, own in names.items() if any(each.startswith(folded) for each in own)]
    return found[0] if len(found) == 1 else None


def _label_in(heading: str, codebook: Codebook) -> str:
    """Return the key of the label whose name or key a heading contains, or ``""``; the longest match counts."""
    words = f" {fold_name(heading)} "
    found = [
        (len(name), entry.key)
        for entry in codebook.labels
        for name in (fold_name(entry.name), fold_name(entry.key))
        if f" {name} " in words
    ]
    return max(found)[1] if found else ""
