"""Recognise the kind of a section by its title."""

from __future__ import annotations

import re

from mechtag.core.full_text import Kind
from mechtag.core.records import normalise_title
from mechtag.pipeline.text.sections import is_note

# Number in front of a title: "2.", "3.1", "IV.", "A.", "Section 4:".
_NUMBER = re.compile(
    r"^(?:(?:section|chapter|part)\s+)?(?:\d{1,2}(?:\.\d{1,2})*|[ivx]{1,4}(?=[.):\s])|[a-h](?=[.)]))[.):]*\s+", re.I
)
# Phrases by kind. A title is of the first kind of which it contains a phrase at its start; see `kind_of`.
_PHRASES: tuple[tuple[Kind, str], ...] = (
    (
        "references",
        r"references?(?: cited| list| and notes)?|bibliography|literature cited|works cited|cited literature|sources",
    ),
    ("abstract", r"abstract|summary|structured abstract|executive summary|synopsis"),
    (
        "back",
        r"acknowledge?ments?|appendi(?:x|ces)\b.*|abbreviations?(?: used)?|glossary|author(?:s)? (?:contributions?|details|information|note)s?.*"
        r"|about the authors?|contributors?(?: statement)?|contributions|disclaimers?|disclosures?(?: statement)?|funding.*|financial.*"
        r"|supplementa(?:ry|l) (?:materials?|data|information|files?|content)|supporting information|additional (?:files?|information|materials?)"
        r"|electronic supplementary material|data (?:availability|accessibility|sharing).*|availability of .*|competing (?:financial )?interests?|conflicts? of interests?.*"
        r"|declarations?(?: of .*)?|ethic(?:s|al)(?: approval| statement| considerations?| committee)?.*|consent (?:for publication|to participate)"
        r"|pre publication history|publisher s note|open access|reviewers?|endnotes?|footnotes?|notes|correspondence|orcid.*|how to cite.*|copyright.*|article information|provenance.*|transparency.*|rights and permissions|keywords?|key words",
    ),
    (
        "methods",
        r"(?:\w+ )?methods?|methodolog(?:y|ies|ical .*)|materials?(?: and .*)?|patients?(?: and .*)|subjects and .*|participants(?: and .*)?|experimental(?: .*)?"
        r"|study (?:design|setting|population|area|site|sample|selection|participants)s?.*|research (?:design|methods?|methodology|setting|approach)|design(?: and .*)?|settings?(?: and .*)?|samples?|sampling.*|data (?:collection|analysis|extraction|sources?|synthesis).*|statistical (?:analys[ie]s|methods?)|statistics|search strategy.*|eligibility criteria|inclusion .*criteria.*|procedures?|measures?|measurements?|instruments?|quality assessment|analysis|data analyses",
    ),
    ("results", r"(?:\w+ )?(?:results?|findings)(?: .*)?"),
    (
        "discussion",
        r"discussions?(?: .*)?|general discussion|(?:study |strengths and )?limitations?(?: .*)?|strengths?(?: .*)?|(?:policy |practice |research |theoretical |managerial |practical )?implications?(?: .*)?|interpretation|comparison with .*|lessons learne[dt]",
    ),
    (
        "conclusion",
        r"(?:\w+ )?conclusions?(?: .*)?|concluding (?:remarks|comments|thoughts)|recommendations?|summary and .*|future (?:research|work|directions)|take home messages?|final remarks",
    ),
    (
        "introduction",
        r"introduction(?: .*)?|background(?: .*)?|(?:study )?(?:aims?|objectives?|purpose|rationale)(?: .*)?|(?:literature|theoretical) (?:review|background|framework)|conceptual framework|context|theory|research questions?|hypothes[ie]s.*|review of (?:the )?literature|related work|preface|problem statement",
    ),
)
# Longer titles say what a section is about, not which part of the paper it is.
_MOST_WORDS = 7
_KINDS = tuple((kind, re.compile(phrases)) for kind, phrases in _PHRASES)


def kind_of(title: str) -> Kind | None:
    """Return the kind of section that a title announces, or ``None`` if the title says nothing about it.

    Numbers, case and punctuation do not matter. A title that announces two kinds, such as 'Results and discussion', is
    of the first.
    """
    bare = without_number(title)
    plain = normalise_title(bare)
    if len(plain.split()) > _MOST_WORDS:
        return None
    for kind, phrases in _KINDS:
        if phrases.fullmatch(plain):
            return kind
    return "back" if is_note(bare) else None


def without_number(title: str) -> str:
    """Return a title without the number in front of it."""
    return _NUMBER.sub("", title.strip(), count=1)
