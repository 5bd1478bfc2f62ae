"""Read configurations from a text in which a marker follows each passage, as in published realist reviews.

A marker such as ``(C)``, ``(M-Res)`` or ``[M+, Reasoning]`` names the role of the passage before it. The sign ``+`` in
a marker means that the passage describes something present, and ``-`` something absent. A paragraph with markers is one
configuration. A paragraph without markers is a heading, which names the label of the paragraphs below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mechtag.core.codebook import Codebook
from mechtag.core.records import SIGNS, Rejected, Sign
from mechtag.pipeline.export.evidence_roles.configurations import Configurations, RolePassage
from mechtag.pipeline.export.review_rows import fold_name

_SIGNS: dict[str, Sign] = {"+": "present", "-": "absent", "−": "absent", "–": "absent", "±": "unclear"}
_SIGN_WORDS: dict[str, Sign] = {sign: sign for sign in SIGNS}
# The length is bounded, so that the time grows with the text and not with its square.
_BRACKETS = re.compile(r"[(\[](?P<inside>[^()\[\]]{1,80})[)\]]")
# A hyphen is a sign before a comma, a slash or the end, before a space as in (M- Resource), and after another sign as
# in (C+/-), but not directly before a word as in (M-Res), or between spaces as in (M - Resource).
_TOKEN = re.compile(
    r"(?P<word>[^\W\d_]+)|(?P<number>\d+)"
    r"|(?P<sign>[+±−]|[-–](?=\s?(?:$|[^\s\w]))|(?<=\w)[-–](?=\s)|(?<=[+/])[-–])"
    r"|(?P<between>[-–,;:/&])|(?P<space>\s)|(?P<other>.)"
)
# Name of the whole mechanism, and keys of the roles that are not parts of it.
_MECHANISM, _NOT_PARTS = "mechanism", ("context", "outcome")
# Fewest letters of a name that is abbreviated in lower case, as in (M-res).
_SHORTEST = 3
_HEADING = re.compile(r"#+\s|(?:box|configuration|cmo)\s*\d+\b", re.I)
_EDGES = " \t\n,;:.–—-"


class _Marker(NamedTuple):
    """A marker in a text, such as ``(C+)``. If the marker cannot be read, ``fault`` is the reason."""

    start: int
    end: int
    shown: str
    roles: tuple[tuple[str, Sign | None], ...] = ()
    fault: str = ""


class _Unreadable(Exception):
    """Raised if a marker such as ``(C)`` cannot be read; the message states the reason."""


class _Block(NamedTuple):
    """A paragraph of a text; ``line`` is the number of its first line."""

    line: int
    text: str


def read_marked_text(
    text: str, codebook: Codebook, *, file: str = "", label: str = "", coder: str = "", record_id: str = ""
) -> Configurations:
    """Read the passages that are followed by a marker, such as ``(C)``.

    A passage can have several roles: from markers in a row, or from a marker such as ``(C/O)``. The following are
    rejected, each with a reason:

    - text after the last marker of a paragraph
    - a passage whose marker cannot be read
    - a marker with no text before it, or with a role that the passage already has
    - a paragraph whose label is not known

    Parameters
    ----------
    file
        Name of the file that contains the text. The name is stored with each rejected piece.
    label
        Key of the default label, for paragraphs without a heading that names a label.
    coder
        Name of the coder who set the markers.
    record_id
        Identifier of the record that the text quotes.
    """
    passages: list[RolePassage] = []
    rejected: list[Rejected] = []
    heading, number = "", 0
    for block in _blocks(text, codebook):
        markers = list(_markers(block.text, codebook))
        if not markers:
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
        order = 0
        for found in _passages(block, markers, codebook):
            if isinstance(found, RolePassage):
                order += 1
                passages.append(found.model_copy(update={**given, "order": order}))
            else:
                rejected.append(found.model_copy(update={"file": file, "record": number}))
    return Configurations(tuple(passages), tuple(rejected))


def _blocks(text: str, codebook: Codebook) -> Iterator[_Block]:
    """Yield the paragraphs of a text; each heading is a paragraph of its own."""
    lines: list[str] = []
    start = 1
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        is_heading = bool(_HEADING.match(line.strip())) and not any(_markers(line, codebook))
        if lines and (is_heading or not line.strip()):
            yield _Block(start, "\n".join(lines))
            lines = []
        if is_heading:
            yield _Block(number, line.strip())
        elif line.strip():
            if not lines:
                start = number
            lines.append(line)


def _passages(block: _Block, markers: list[_Marker], codebook: Codebook) -> Iterator[RolePassage | Rejected]:
    end, last = 0, ""
    given: set[tuple[str, str]] = set()
    for marker in markers:
        line = block.line + block.text.count("\n", 0, marker.start)
        last = _shown(block.text[end : marker.start]) or last
        end = marker.end
        if marker.fault:
            reason = f"{marker.shown}: {marker.fault}"
            yield Rejected(file="", line=line, reason=reason, raw=(("text", last),))
        elif not last:
            yield Rejected(
                file="",
                line=line,
                reason=f"{marker.shown}: there is no text before this marker; write each marker after the passage to "
                "which it belongs",
            )
        for role, sign in marker.roles if last else ():
            if (role, last) in given:
                name = codebook.role_names[role]
                reason = f"{marker.shown}: the passage already has the role {name}; delete one of the markers"
                yield Rejected(file="", line=line, reason=reason, raw=(("text", last),))
                continue
            given.add((role, last))
            yield RolePassage(label="", role=role, sign=sign, text=last)
    if rest := _shown(block.text[end:]):
        reason = "this text follows the last marker of its paragraph, so it has no role; add a marker after it"
        yield Rejected(file="", line=block.line + block.text.count("\n"), reason=reason, raw=(("text", rest),))


def _shown(text: str) -> str:
    return " ".join(text.split()).strip(_EDGES)


def _markers(text: str, codebook: Codebook) -> Iterator[_Marker]:
    """Yield all markers in a text, such as ``(C+)``, including those that cannot be read."""
    for match in _BRACKETS.finditer(text):
        inside = " ".join(match["inside"].split())
        shown = f"{match[0][0]}{inside}{match[0][-1]}"
        if match[0][0] == "[" and not inside[:1].isupper():
            continue  # Words that an editor adds to a quotation are in lower case: '[context]'.
        try:
            roles = _roles_in(inside, codebook)
        except _Unreadable as error:
            if _looks_like_a_marker(inside, codebook):
                yield _Marker(match.start(), match.end(), shown, fault=str(error))
            continue
        # An enumeration in lower case belongs to a sentence: '(contexts and outcomes)'.
        if len(roles) == 1 or not inside.islower():
            yield _Marker(match.start(), match.end(), shown, roles)


def _roles_in(inside: str, codebook: Codebook) -> tuple[tuple[str, Sign | None], ...]:
    """Return the key and the sign of each role that a marker names; ``inside`` is the marker without its brackets."""
    names = _names(codebook)
    if (whole := _exact(inside, names)) and all(letter.isalnum() or letter in " _" for letter in inside):
        return ((whole, None),)
    words: list[tuple[str, list[Sign]]] = []
    for match in _TOKEN.finditer(inside):
        kind, token = match.lastgroup, match[0]
        if words and (sign := _SIGNS.get(token) if kind == "sign" else _SIGN_WORDS.get(token.casefold())):
            words[-1][1].append(sign)
        elif kind == "word":
            words += [(token, [])] if token != "and" else []
        elif words and kind == "number":
            raise _Unreadable(
                "the marker contains a number, which mechtag does not interpret; remove the number, and write each "
                "configuration as a separate paragraph"
            )
        elif kind not in ("between", "space"):
            raise _Unreadable(_unclear(codebook))
    found: list[tuple[str, Sign | None]] = []
    of_mechanism: Sign | None = None
    part_is_missing = not words
    for key, signs in _named(words, names, codebook):
        if part_is_missing and (key is None or key in _NOT_PARTS):
            break
        sign = _joined(signs)
        if key is None:
            of_mechanism, part_is_missing = sign, True
            continue
        if key in _NOT_PARTS:
            of_mechanism = None
        if sign and of_mechanism and sign != of_mechanism:
            raise _Unreadable(
                "the marker has two different signs, one for the mechanism and one for its resource or reasoning; "
                "write only one sign"
            )
        part_is_missing = False
        found.append((key, sign or of_mechanism))
    if part_is_missing:
        raise _Unreadable(_unclear(codebook))
    if len({sign is None for _, sign in found}) > 1:
        raise _Unreadable("the marker has a sign for only some of its roles; write one marker for each role")
    return tuple(found)


def _named(
    words: list[tuple[str, list[Sign]]], names: dict[str, set[str]], codebook: Codebook
) -> Iterator[tuple[str | None, list[Sign]]]:
    """Yield the key of each role that a marker names, with the signs after the name; ``None`` for 'mechanism'."""
    start = 0
    while start < len(words):
        # Names of several words come first; no sign is within a name.
        for end in range(len(words), start, -1):
            key = _exact(" ".join(word for word, _ in words[start:end]), names)
            if key and not any(signs for _, signs in words[start : end - 1]):
                break
        else:
            end = start + 1
            word = words[start][0]
            if not word[0].isupper() and (start == 0 or len(word) < _SHORTEST) and word != _MECHANISM:
                raise _Unreadable(_unclear(codebook))
            found = _begun(word, names)
            if len(found) != 1:
                raise _Unreadable(_unclear(codebook))
            (key,) = found
        yield key, words[end - 1][1]
        start = end


def _joined(signs: list[Sign]) -> Sign | None:
    """Return the sign that all ``signs`` have in common: ``unclear`` if they differ, ``None`` if the list is empty."""
    return None if not signs else signs[0] if len(set(signs)) == 1 else "unclear"


def _unclear(codebook: Codebook) -> str:
    return f"the marker does not clearly name one of these roles: {', '.join(codebook.role_names.values())}"


def _names(codebook: Codebook) -> dict[str, set[str]]:
    """Return the normalised key and the normalised name of each role, keyed by role key."""
    return {role.key: {fold_name(role.key), fold_name(role.name)} for role in codebook.roles}


def _exact(name: str, names: dict[str, set[str]]) -> str | None:
    """Return the key of the role with this name, in the singular or plural; ``None`` if there is no such role."""
    folded = fold_name(name)
    for form in (folded, folded.removesuffix("s")):
        if found := [key for key, own in names.items() if form in own]:
            return found[0]
    return None


def _begun(word: str, names: dict[str, set[str]]) -> list[str | None]:
    """Return the keys of the roles that ``word`` may abbreviate; ``None`` in the list stands for 'mechanism'."""
    folded = fold_name(word)
    found: list[str | None] = [key for key, own in names.items() if any(name.startswith(folded) for name in own)]
    if _MECHANISM.startswith(folded.removesuffix("s") or folded) and not any(
        _MECHANISM in own for own in names.values()
    ):
        # 'Mechanism' means resource and reasoning together.
        found.append(None)
    return found


def _looks_like_a_marker(inside: str, codebook: Codebook) -> bool:
    """Return whether text in brackets is probably meant as a marker: ``(C?)`` is, but ``(vitamin C)`` is not."""
    names = _names(codebook)
    tokens = [(match.lastgroup, match[0]) for match in _TOKEN.finditer(inside)]
    words = [token for kind, token in tokens if kind == "word"]
    if not words:
        return False
    if any(word[0].isupper() for word in words) and all(word in ("and", "or") or _begun(word, names) for word in words):
        return True
    first, then = words[0], next((token for token in tokens[1:] if token[0] != "space"), ("", ""))
    if tokens[0] == ("word", first) and first[0].isupper():
        if len(first) == 1 and then[0] == "sign":
            return True
        begun = _begun(first, names) if len(first) == 1 or len(first) >= _SHORTEST else []
        if begun and (then[0] == "sign" or (then[0] == "between" and (then[1] not in "-–" or None in begun))):
            return True
    last = re.split(r"[-–,;:/]", inside)[-1].strip(" +−±")
    return last != inside and last[:1].isupper() and _exact(last, names) is not None


def _label_in(heading: str, codebook: Codebook) -> str:
    """Return the key of the label that a heading names; ``""`` if the heading names no label."""
    words = f" {fold_name(heading)} "
    found = [
        (len(name), entry.key)
        for entry in codebook.labels
        for name in (fold_name(entry.name), fold_name(entry.key))
        if f" {name} " in words
    ]
    # The longest name is the most specific.
    return max(found)[1] if found else ""
