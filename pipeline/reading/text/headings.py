"""Find the headings in structured abstracts, such as ``METHODS:``, ``Purpose –`` or ``BackgroundThe aim``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple


class Heading(NamedTuple):
    """A heading in an abstract.

    Attributes
    ----------
    start, end
        Offsets in the abstract; the heading is ``abstract[start:end]``.
    name
        The heading in lower case, without punctuation.
    """

    start: int
    end: int
    name: str


# Words that occur in headings, collected from PubMed, Emerald, BMJ and Cochrane abstracts.
# A heading has at least one word from the first list; words from the second list only qualify it.
_HEADS = (
    r"abstract acknowledge?ments? aims? analysis analyses applicability approach approval availability background "
    r"comments? conclusions? context contributions? criteria data description design details disclosures? discussions? "
    r"dissemination evidence exposures? extraction findings? funding goals? highlights? hypothes[ie]s implications? "
    r"importance index\sterms insights? interests? interpretation interventions? introduction involvement key-?words? "
    r"key\swords? lessons? limitations? materials? measurements? measures? measure\(s\) messages methodology methods? "
    r"novelty objectives? originality outcomes? participants? patients? points population problem procedures? "
    r"purposes? questions? rationale recommendations? registration relevance results? sample sampling selection "
    r"settings? significance strategy subjects? summary sustainability synthesis timeline transferability unlabelled "
    r"value future\swork"
).split()
_QUALIFIERS = (
    "acquisition answer authors['’] based? caution change clinical collection competing conflicts? covered current "
    "declarations? design-?specific education eligibility ethical ethics exclusion experimental expert future health "
    "implemented inclusion key known learned learnt level literature main major management managerial meta-?analysis "
    "name new number nursing opinion policy practical practice practitioners? presentation primary principal prospero "
    "public reasons? recent research review reviewers?['’] search secondary social societal source sources statement "
    "statistical strengths? studied study systematic terms theoretical theory this trial type variables? what "
    "wider".split()
)
_WORDS = "|".join(sorted(_HEADS + _QUALIFIERS, key=len, reverse=True))
_HEAD = re.compile(rf"\b(?:{'|'.join(_HEADS)})(?![a-z])", re.IGNORECASE)
_JOIN = r"(?:\s?[/,&]\s?|\s{1,3}|-)(?:(?:and|or|of|for|from|to|in|on|the|&)\s{1,3}){0,2}"


# A word in capitals is only continued by another in capitals: "LEVEL OF EVIDENCE Expert opinion".
_JOIN_ALIKE = _JOIN.replace(r"\s{1,3}|-", r"(?-i:(?<=[A-Z]{2})\s{1,3}(?=[A-Z]{2})|(?<![A-Z]{2})\s{1,3})|-")


def _phrase(end: str, join: str, words: str) -> str:
    """Return a regular expression for a phrase of heading words.

    The pattern ``end`` follows each word, and the pattern ``join`` stands between two words. ``words`` is a quantifier
    for the words after the first word, such as ``{0,8}``.
    """
    word = rf"(?:{_WORDS}){end}"
    return rf"{word}(?:{join}{word}){words}"


_PHRASE = _phrase(r"(?!\w)", _JOIN, "{0,8}")

# A phrase set off from the text by a colon, dash, full stop or brackets, or on its own line. A capital
# or number must follow a dash or a full stop, because both also occur in prose.
_LABELLED = re.compile(
    rf"""
    (?: (?<![\w/'’-]) | (?<= (?-i: [A-Z]{{4}} )) (?= (?-i: [A-Z][a-z] )) )
    (?= (?-i: [A-Z\[(\d] )) (?: (?<![.\d]) \(?\d{{1,2}}[.)]\s? )? (?= (?-i: [A-Z\[] ))
    (?: \[ (?P<bracketed>{_PHRASE}) \] :?
      | (?P<phrase>{_PHRASE})
        (?: (?P<colon> (?: \s\( [A-Za-z ,/&-]{{3,60}} \) )? \s?[:：] )
          | (?: \s?[–—]+ | \s-+ | -+(?=\s) ) (?= \s* (?-i: [a-z]?[A-Z0-9"“(\[] | to\s ) )
          | \. (?:\s{{0,3}}[-–—]+)? (?= \s* (?-i: [a-z]?[A-Z0-9"“(\[] ) )
          | (?P<line> [^\S\n]{{0,9}} (?=\n) )
        )
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)

# Positions where a heading without punctuation may start.
_OPENING = re.compile(r"(?:\A|[.!?…)\]”\"’'。！？;:\n–—-])\s{0,20}+(?=[A-Z])")
# Text after a heading without punctuation, as in "Methods We asked" or, if an export lost the line
# break, "MethodsWe asked": a capital, a number, or a word such as "mHealth".
_NEXT = r"(?P<gap>\s{0,3}) (?= (?-i: (?P<next> [A-Z][A-Za-z]{0,40} | \d{1,40} | [a-z][A-Z] | \([1ai]\) ) ) )"
# Headings of one word, and common headings of several words.
_BARE = re.compile(
    rf"""
    (?P<phrase> (?:abstract\s{{1,3}})? (?: abstract | background (?:\s(?:and|&)\s(?:aims?|objectives?|purpose))?
      | introduction | context | importance
      | (?:study\s)?(?:objectives?|design|population|participants|subjects|selection) | aims? | purpose | rationale
      | settings? | (?:patients|materials?|subjects)\sand\smethods? | patients | interventions? | exposures?
      | (?:(?:main|primary|secondary)\s){0, 4}outcome\smeasures? | main\soutcomes?(?:\sand\smeasures)? | measurements?
      | (?:review\s)?methods?(?:\sand\s(?:results|findings|analysis))? | methodology | (?:main\s|key\s)?results?
      | data\s(?:sources?|extraction|synthesis|collection) | (?:main\s|key\s)?findings | interpretation
      | (?:results\sand\s)?discussion | conclusions?(?:\sand\srelevance)? | limitations? | implications
      | (?:clinical\s)?trial\sregistration
      | approach | contributions? | funding | future\swork | highlights | outcomes | problem
      | recommendations | registration | samples? | sampling | significance | summary ) )
    {_NEXT}
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Any heading of several listed words: "Practical implications Managers", "Ethics and disseminationThe".
_SEVERAL = re.compile(
    rf"(?P<phrase> {_phrase('(?-i: (?![a-z0-9_]) )', _JOIN_ALIKE, '{1,8}')} ) {_NEXT}",
    re.IGNORECASE | re.VERBOSE,
)
# Headings that are questions, with or without a question mark.
_QUESTION = re.compile(
    r"""
    (?P<phrase>
        what\s(?:is|was)\s(?:already\s)?known\s(?:about|on)\s(?:the|this)\s(?:topic|subject)
      | what\s(?:does\s)?(?:this|the)\s(?:article|paper|review|study)\sadds?
        (?:\sto\s(?:the\s)?(?:existing\s|current\s)?(?:evidence|knowledge|literature))?
      | what\sare\sthe\s(?:key\s)?implications
        (?:\sfor\s(?:(?:and/or|and|or|/|education|health|management|nursing|policy|practice|practitioners|research)
        ,?\s?){1,6}(?<=\w))?
      | how\s(?:this|the)\s(?:article|paper|review|study)\s(?:might|may)\saffect\sresearch,\spractice
        \s(?:and|or|and/or)\spolicy
    )
    (?: \s?[?:]+ | \s?[–—]+ | (?=\n) | (?= \s? (?-i: [A-Z•] ) ) )
    """,
    re.IGNORECASE | re.VERBOSE,
)

# Labels that journals invent ("THE CARE MODEL:") are in capitals before ordinary prose.
_CAPITALS = re.compile(r"(?<![\w/'’-])[A-Z][A-Z]+(?:[ ,/&'’-]{1,2}[A-Z]+){0,11}:(?=[^a-z]{0,20}[a-z])")

#: Words that, if capitalised, start a sentence far more often than they belong to a name.
OPENERS = frozenset(
    "A After All Although An And As At Based Because Before Between Both But By Despite Do Does During Each For "
    "From Furthermore Given Here How However If In Is It Its Many More Moreover Most No Of On One Our Over Several "
    "Since Some Such That The Their Then There Therefore These They This Those Three Through Thus To Two Under "
    "Using We What When Where Whether Which While With".split()
)
# Words after which a capital continues the same heading: "Data Sources", "Policy Points".
_LEADS = re.compile(
    rf"(?:{'|'.join(_QUALIFIERS)}|data|evidence|outcome|participant|patient|population|sample|and|or|of|for|from|to|in|on|the)",
    re.IGNORECASE,
)
# "Data from New York", "This review highlights IT".
_INCOMPLETE = re.compile(
    r"^this\b|\b(?:current|future|main|major|new|primary|recent|this|type|what|wider)$", re.IGNORECASE
)
_GRADE = re.compile(r"(?:LEVEL )?[IVX\d]+[ABC]?\b")
_REGISTER = re.compile(r"PROSPERO|CRD\s?\d|NCT\s?\d|ISRCTN|ACTRN|DRKS|UMIN|ClinicalTrials")
_SMALL, _AHEAD = re.compile(r"(?<![^\s(])[a-z]{2,}"), 60
_ENDS = frozenset(".!?…)]”\"’'。！？")


def _name(text: str) -> str:
    name = re.sub(r" ?/ ?", "/", " ".join(text.lower().split()))
    return name.removeprefix("abstract ")


def heading_name(printed: str) -> str:
    """Return the name of a heading: its words in lower case, without punctuation around them.

    Parameters
    ----------
    printed
        The heading as printed, such as ``METHODS:`` or ``Purpose –``; may be ``""``.
    """
    return _name(printed.strip().strip("[]").rstrip(".:：-–— \t"))


def _reads_as_heading(phrase: str) -> bool:
    """Return whether a phrase is a single heading, such as "Key Findings" but not "Results Patients"."""
    if not _HEAD.search(phrase) or _INCOMPLETE.search(phrase):
        return False
    return phrase.isupper() or all(
        not later[0].isupper() or _LEADS.fullmatch(earlier) or earlier[-1] in ",/&" or later[0] in "/&"
        for earlier, later in pairwise(phrase.split())
    )


def _precedes_text(match: re.Match[str], label: str) -> bool:
    """Return whether ordinary text follows a match in capitals; if so, the match is probably a heading."""
    ahead = match.string[match.end() : match.end() + _AHEAD]
    return (
        ahead.startswith("A ")
        or _SMALL.search(ahead) is not None
        or _REGISTER.match(ahead) is not None
        or (label.endswith("EVIDENCE") and _GRADE.match(ahead) is not None)
    )


def _bare(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield each possible heading that is a question or has no punctuation after it.

    Each item is a tuple: start, end and words of the heading, and the kind that `_kind` returns.
    """
    after = 0
    for opening in _OPENING.finditer(text):
        # One heading may follow another: "MAIN RESULTS Design A trial".
        places = [max(after, opening.end())]
        for place in places:
            for pattern in (_SEVERAL, _BARE, _QUESTION):
                if (match := pattern.match(text, place)) and (kind := _kind(match)):
                    yield *match.span(), match["phrase"], kind
                    if match.end() > places[-1]:
                        places.append(match.end())
        after = places[-1]


def _kind(match: re.Match[str]) -> str:
    """Return the kind of a possible heading, or ``""`` if the match is not a heading.

    A question has the kind ``label``. Words without punctuation after them have the kind ``bare`` if they are certainly
    a heading, and ``guess`` if they may be a heading.
    """
    phrase = match["phrase"]
    if match.re is _QUESTION:
        return "label"
    several, following = match.re is _SEVERAL, match["next"]
    if several and not _reads_as_heading(phrase):
        return ""
    if phrase.isupper() and (following == "S" or (following.isupper() and not _precedes_text(match, phrase))):
        return ""  # text in capitals, not a label before prose
    sure = several or phrase.isupper() or following in OPENERS or match["gap"].strip(" ") or not match["gap"]
    # A guess counts only if the abstract has a different heading that is ``bare`` or also a guess.
    return "bare" if sure else "guess"


def _candidates(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield each possible heading in a text.

    Each item is a tuple: start, end and words of the heading, and its kind, such as ``colon`` or ``line``.
    """
    for match in _LABELLED.finditer(text):
        phrase = match["bracketed"] or match["phrase"]
        if _HEAD.search(phrase):
            kind = "colon" if match["colon"] else "line" if match["line"] is not None else "label"
            yield *match.span(), phrase, kind
            # The number in "version 26. Results: We" is not a list marker.
            if match["phrase"] and text[match.start()] in "(0123456789":
                yield match.start("phrase"), match.end(), phrase, kind
    for match in _CAPITALS.finditer(text):
        if sum(map(str.isalpha, match.group())) >= 6:
            yield *match.span(), match.group()[:-1], "label"
    yield from _bare(text)


def find_headings(text: str) -> list[Heading]:
    """Find the headings in a structured abstract.

    Parameters
    ----------
    text
        The abstract, as in an export.

    Returns
    -------
    list of Heading
        Headings in order, without overlap; empty for an abstract without headings. "The results: three themes" and
        "Methods were compared" contain no heading.
    """
    found: list[tuple[Heading, str]] = []
    last = 0
    for start, end, phrase, kind in sorted(_candidates(text), key=lambda item: (item[0], -item[1])):
        before = start
        while before and text[before - 1].isspace():
            before -= 1
        new_line = before == 0 or "\n" in text[before:start]
        if kind == "line":
            placed = new_line
        else:
            placed = new_line or before == last or text[before - 1] in _ENDS
            # "(1) Background: ...; (2) Methods: ...", and exports that put ".;" between sections
            placed = placed or (text[before - 1] == ";" and (not text[start].isalpha() or text[before - 2] in _ENDS))
            # A label in capitals counts even if the full stop before it is missing.
            placed = placed or (
                kind == "colon" and len(phrase) > 4 and phrase.isupper() and not text[before - 1].isupper()
            )
        if placed and start >= last:
            found.append((Heading(start, end, _name(phrase)), kind))
            last = end
    # "Design Thinking was used" on its own has no heading; together with "Results Nurses said" it would.
    guessing = len({heading.name for heading, kind in found if kind in ("guess", "bare")}) > 1
    return [heading for heading, kind in found if guessing or kind != "guess"]
