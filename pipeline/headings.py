"""Headings of structured abstracts, such as ``METHODS:``, ``Purpose –`` or ``BackgroundThe aim``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Heading(NamedTuple):
    """``abstract[start:end]`` is the heading with its punctuation; ``name`` is what it says, in lower case."""

    start: int
    end: int
    name: str


# Words that headings are made of, gathered from PubMed, Emerald, BMJ and Cochrane abstracts.
# A heading has at least one of the first list; the second list only qualifies.
_HEADS = (
    "abstract aims? analysis analyses approach background conclusions? context contributions? data design "
    "discussion dissemination evidence exposures? extraction findings? funding goals? highlights? hypothes[ie]s "
    "implications? importance interpretation interventions? introduction keywords limitations? materials? "
    "measurements? measures? methodology methods? objectives? originality outcomes? participants? patients? "
    "population problem procedures? purposes? questions? rationale recommendations? registration relevance "
    "results? sample sampling selection settings? significance strategy subjects? summary synthesis unlabelled value"
).split()
_QUALIFIERS = (
    "acquisition answer authors['’] based? caution clinical collection covered criteria current design-?specific "
    "eligibility ethics exclusion experimental expert future health inclusion key known level literature main major "
    "managerial meta-?analysis name new number nursing opinion policy practical practice presentation primary "
    "principal public reasons? recent research review reviewers?['’] search secondary social societal source sources "
    "statistical strengths? study systematic theoretical this trial type variables? what wider"
).split()
_WORD = rf"(?:{'|'.join(_HEADS + _QUALIFIERS)})(?!\w)"
_HEAD = re.compile(rf"\b(?:{'|'.join(_HEADS)})\b", re.IGNORECASE)
_JOIN = r"(?:\s?[/,&]\s?|\s{1,3}|-)(?:(?:and|or|of|for|from|to|in|on|the|&)\s{1,3}){0,2}"
_PHRASE = rf"{_WORD}(?:{_JOIN}{_WORD}){{0,8}}"

# A phrase set off from the text: by colon, dash, full stop, brackets, or a line of its own. A dash
# must be followed by a new beginning, for prose has pairs of dashes; so must a full stop.
_LABELLED = re.compile(
    rf"""
    (?: (?<![\w/'’-]) | (?<= (?-i: [A-Z]{{4}} )) (?= (?-i: [A-Z][a-z] )) )
    (?= (?-i: [A-Z\[(\d] )) (?: \(?\d{{1,2}}[.)]\s? )? (?= (?-i: [A-Z\[] ))
    (?: \[ (?P<bracketed>{_PHRASE}) \] :?
      | (?P<phrase>{_PHRASE})
        (?: (?P<colon> \s?[:：] )
          | (?: \s?[–—]+ | \s-+ | -+(?=\s) ) (?= \s* (?-i: [A-Z0-9"“(\[] | to\s ) )
          | \. (?:\s{{0,3}}[-–—]+)? (?= \s* (?-i: [A-Z0-9"“(\[] ) )
          | (?P<line> [^\S\n]{{0,9}} (?=\n) )
        )
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)

# Headings that stand in the running text without punctuation, as in "Methods We asked" or, where
# an export lost the line break, "MethodsWe asked". Whole phrases only: the next word may be any.
_BARE = re.compile(
    r"""
    (?<![\w/'’-]) (?= (?-i: [A-Z] ) )
    (?P<phrase> (?:abstract\s{1,3})? (?: abstract | background (?:\s(?:and|&)\s(?:aims?|objectives?|purpose))?
      | introduction | context | importance
      | (?:study\s)?(?:objectives?|design|population|participants|subjects|selection) | aims? | purpose | rationale
      | settings? | (?:patients|materials?|subjects)\sand\smethods? | patients | interventions? | exposures?
      | (?:(?:main|primary|secondary)\s)*outcome\smeasures? | main\soutcomes?(?:\sand\smeasures)? | measurements?
      | (?:review\s)?methods?(?:\sand\s(?:results|findings|analysis))? | methodology | (?:main\s|key\s)?results?
      | data\s(?:sources?|extraction|synthesis|collection) | (?:main\s|key\s)?findings | interpretation
      | (?:results\sand\s)?discussion | conclusions?(?:\sand\srelevance)? | limitations? | implications
      | (?:clinical\s)?trial\sregistration ) )
    (?P<gap>\s{0,3}) (?= (?-i: (?P<next> [A-Z][A-Za-z]* | \d+ ) ) )
    """,
    re.IGNORECASE | re.VERBOSE,
)

# Journals invent labels ("THE CARE MODEL:"), but then print them in capitals before ordinary prose.
_CAPITALS = re.compile(r"(?<![\w/'’-])[A-Z][A-Z]+(?:[ ,/&'’-]{1,2}[A-Z]+){0,11}:(?=[^a-z]{0,20}[a-z])")

#: Capitalised words that open sentences far more often than they belong to a name.
OPENERS = frozenset(
    "A After All Although An And As At Based Because Before Between Both But By Despite Do Does During Each For "
    "From Furthermore Given Here How However If In Is It Its Many More Moreover Most No Of On One Our Over Several "
    "Since Some Such That The Their Then There Therefore These They This Those Three Through Thus To Two Under "
    "Using We What When Where Whether Which While With".split()
)
_ENDS = frozenset(".!?…)]”\"’'。！？")


def _name(text: str) -> str:
    name = re.sub(r"\s*/\s*", "/", " ".join(text.lower().split()))
    return name.removeprefix("abstract ")


def heading_name(printed: str) -> str:
    """Name a heading as `find_headings` does: in lower case, without the punctuation that sets it off.

    Parameters
    ----------
    printed
        The heading as printed, such as ``METHODS:`` or ``Purpose –``; empty where there is none.
    """
    return _name(printed.strip().strip("[]").rstrip(".:：-–— \t"))


def _candidates(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Everything that reads like a heading, wherever it stands: start, end, phrase, kind."""
    for match in _LABELLED.finditer(text):
        phrase = match["bracketed"] or match["phrase"]
        if _HEAD.search(phrase):
            yield *match.span(), phrase, "colon" if match["colon"] else "line" if match["line"] is not None else "label"
    for match in _CAPITALS.finditer(text):
        if sum(map(str.isalpha, match.group())) >= 6:
            yield *match.span(), match.group()[:-1], "label"
    for match in _BARE.finditer(text):
        phrase, following = match["phrase"], match["next"]
        if phrase.isupper() and following.isupper() and following != "A":
            continue  # a text in capitals, not a label before prose
        sure = phrase.isupper() or not match["gap"] or following in OPENERS
        yield *match.span(), phrase, "bare" if sure else "guess"


def find_headings(text: str) -> list[Heading]:
    """Find the headings of a structured abstract.

    Parameters
    ----------
    text
        An abstract, as exported.

    Returns
    -------
    list of Heading
        In order, without overlap. Empty for an abstract in running prose: "The results:
        three themes" and "Methods were compared" hold no heading.
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
            # "(1) Background: ...; (2) Methods: ...", and exports that put ".;" between the parts
            placed = placed or (text[before - 1] == ";" and (not text[start].isalpha() or text[before - 2] in _ENDS))
            # A label in capitals is one even where the full stop before it was forgotten.
            placed = placed or (
                kind == "colon" and len(phrase) > 4 and phrase.isupper() and not text[before - 1].isupper()
            )
        if placed and start >= last:
            found.append((Heading(start, end, _name(phrase)), kind))
            last = end
    # "Design Thinking was used" alone is no heading; beside "Results Nurses said" it would be.
    guessing = len({heading.name for heading, kind in found if kind in ("guess", "bare")}) > 1
    return [heading for heading, kind in found if guessing or kind != "guess"]
