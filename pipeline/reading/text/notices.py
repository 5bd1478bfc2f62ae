"""Find notices by publishers and databases in abstracts, such as ``© 2019 Elsevier Ltd.``.

A text counts as a notice if it starts like a notice, and all other words are names, numbers or typical of notices. If
the text contains any other word, the whole text is kept, because the word could be content.
"""

from __future__ import annotations

import re

# A notice has a sign, such as "©", within `_NEAR` characters of the end, and is at most `_REACH` characters long.
_NEAR, _REACH = 350, 1500
_SIGN = r"(?:©|\([cC]\)(?=\s?\d{4}))"
_DATABASE = r"[\[(]?\s?(?:Psyc(?:INFO|Info)\ Database|ABSTRACT\ FROM|(?:PUBLICATION|JOURNAL)\ ABSTRACT)"
# Each alternative starts with a plain character, which makes the search ten times as fast.
_OPENING = re.compile(
    rf"""
      Crown\ Copyright\b
    | Copyright (?:ed)? \s? (?: A? {_SIGN} | (?=\d{{4}}) | by\b | The\ Author )
    | ©
    | \( (?: [cC]\)(?=\s?\d{{4}}) | {_DATABASE} | (?:Source:\s)? (?:[Jj]ournal|[Aa]uthor) \ abstract\) )
    | \[ {_DATABASE}
    | Psyc(?:INFO|Info)\ Database\ Record
    | ABSTRACT\ FROM\ (?:AUTHOR|PUBLISHER)
    | This\ (?: article\ is\ protected\ by\ copyright | is\ an?\ [Oo]pen[ -][Aa]ccess\ article )
    | All\ rights\ (?:are\ )?reserved
    | Published\ by\ (?=[A-Z])
    """,
    re.VERBOSE,
)
_SURE = re.compile(r"\s(?:©\s?(?:\d{4}|Copyright|The Author)|[\[(])|.Copyright\s?©", re.S)
# A notice starts after the end of a sentence or on a new line.
_ENDS = frozenset('.!?…;:%)]"”’»')
# EBSCO's notice contains the name of a journal, which may be any words; the rest is always the same.
_EBSCO = re.compile(
    r"Copyright of (?:(?!\. [A-Z]).){1,300}? is (?:the|a) (?:property|copyright) of "
    r".{1,300}? and its content may not be ",
    re.S,
)
# A notice at the start of an abstract is its first sentence and any sentence reserving rights.
_LEADING = re.compile(
    rf"(?:Copyright\s?)?{_SIGN}[^.\n]{{1,150}}"
    r"(?:(?<=\bLtd)\.[^.\n]{0,60}|(?<=\bInc)\.[^.\n]{0,60}|(?<=\bCo)\.[^.\n]{0,60}|(?<=\b[A-Z])\.[^.\n]{0,60}){0,4}"
    r"\.\s*(?:All rights reserved\.\s*)?(?=[A-Z\[(])"
)
# Lower-case words that occur in notices; all other words are names, which have capitals.
_WORDS = frozenset(
    # who and when
    "a acting al an and as associates authors auteurs by c company cie compilation da das de del der des di e "
    "editorial el en et für for from group i in inc its journal la le licensee ltd limited o of on or para "
    "part press published publisher represented publishers publishing reviews s sas the through trading und "
    "van von with y "
    # rights
    "all alle behalf copyright copyrighted droits exclusive government holder is license licence licensed "
    "licenses licences not permission permissions protected protection reproduced reprinted reserved reserves "
    "reservados réservés derechos los rechte rights terms todos tous to under vorbehalten work works "
    # open access statements
    "access any are article attribution cited credited commercial commercially commons creative derivatives "
    "derivs distributed distribution made medium modifications adaptations no non noncommercial open original "
    "permits properly provided purposes reproduction that this unrestricted use used which "
    # databases
    "abstract abstracts author database record source info "
    # addresses
    "http https www org com doi outside".split()
)
# Text that consists of names and capitals like a notice, but is content.
_CONTENT = re.compile(
    r"\b(?:NCT\s?\d|ISRCTN|PROSPERO|CRD\s?\d|ACTRN|ChiCTR|EudraCT|[Rr]egist(?:ry|ration|ered)|[Tt]rial|"
    r"Key\s?words?|KEYWORDS|Practitioner|Abstract|Background|Introduction|Objectives?|Aims?|Purpose|Methods?|Results|Findings|Conclusions?|"
    r"Implications|Level of Evidence|LEVEL OF EVIDENCE|Funding|Highlights|Significance)\b"
)
_LINK = re.compile(r"https?://\S+|10\.\d{4,9}/\S+")
_WORD = re.compile(r"[^\W\d_]+(?:['’]\w+)?")
# Placeholders that databases write in place of an abstract.
_NONE = re.compile(r"[\[(]?\s*(?:no abstract(?: is)? available|no abstract|abstract not available)\s*[\])]?\.?", re.I)


def _is_notice(text: str) -> bool:
    """Return whether a text that starts like a notice, such as a copyright line, contains nothing else."""
    if _CONTENT.search(text):
        return False
    words = _WORD.findall(_LINK.sub(" ", text))
    return all(not word[0].islower() or word.split("'")[0].split("’")[0] in _WORDS for word in words)


def is_only_notice(sentence: str) -> bool:
    """Return whether a sentence consists only of a notice, such as a copyright notice."""
    return _may_contain_notice(sentence) and _OPENING.match(sentence) is not None and _is_notice(sentence)


def _notice_start(window: str, whole: bool) -> int:
    """Return the position at which the notices in ``window`` start, or the length of ``window`` if there are none.

    ``whole`` states whether ``window`` is the whole text and not only its end.
    """
    for match in _OPENING.finditer(window):
        start = match.start()
        before = window[:start].rstrip()
        placed = before[-1] in _ENDS or "\n" in window[len(before) : start] if before else whole
        # Accept these without a full stop before them, which some abstracts lack.
        placed = placed or _SURE.match(window, start - 1) is not None
        if placed and _is_notice(window[start:]):
            return start
    return len(window)


def _may_contain_notice(end: str) -> bool:
    """Return whether the end of an abstract may contain a notice, such as a copyright line."""
    return (
        "©" in end
        or "opyright" in end
        or ("(" in end and ("(c)" in end or "(C)" in end or "abstract)" in end))
        or "ights reserved" in end
        or "pen access" in end
        # Finding a letter takes a fraction of the time of finding a word, and most texts lack these letters.
        or ("P" in end and ("Published by" in end or "PsycI" in end))
        or ("B" in end and "ABSTRACT" in end)
    )


def notices_start(text: str, start: int, end: int) -> int:
    """Return the position where the notices at the end of ``text[start:end]`` start, or ``end`` if there are none."""
    if not _may_contain_notice(text[max(start, end - _NEAR) : end]):
        return end
    first = max(start, end - _REACH)
    window = text[first:end]
    if ebsco := _EBSCO.search(window):
        window = window[: ebsco.start()]
    return first + _notice_start(window, whole=first == start)


def notice_end(text: str, start: int, end: int) -> int:
    """Return the end of the copyright notice with which ``text[start:end]`` begins, or ``start`` if there is none."""
    if not text.startswith(("©", "(c)", "(C)", "Copyright"), start):
        return start
    leading = _LEADING.match(text, start, end)
    return leading.end() if leading and _is_notice(leading.group()) else start


def says_none(text: str) -> bool:
    """Return whether a text states only that there is no abstract."""
    return len(text) < 40 and _NONE.fullmatch(text) is not None
