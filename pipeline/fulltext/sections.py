"""Recognise the kind of a section, such as methods or results, by its title."""

from __future__ import annotations

import re

from mechtag.core.full_text import Kind
from mechtag.core.records import normalise_title
from mechtag.pipeline.reading.text.sections import is_note

# Number in front of a title: "2.", "3.1", "IV.", "A.", "Section 4:".
_NUMBER = re.compile(
    r"^(?:(?:section|chapter|part)\s+)?"
    r"(?:\d{1,2}(?:\.\d{1,2})*|[ivx]{1,4}(?=[.):\s])|[a-h](?=[.)]))[.):]*\s+",
    re.IGNORECASE,
)
# Longer titles say what a section is about, not which part of the paper it is.
_MOST_WORDS = 7
_ANY = r"(?: .*)?"
# Titles by kind, in lower case and without punctuation; the first kind that fits is taken.
_TITLES: dict[Kind, tuple[str, ...]] = {
    "references": (
        r"references?(?: cited| list| and notes)?",
        r"(?:literature|works) cited|cited literature|bibliography|sources",
    ),
    "abstract": (r"(?:structured )?abstract|(?:executive )?summary|synopsis",),
    "back": (
        r"acknowledge?ments?|append(?:ix|ices)" + _ANY,
        r"abbreviations?(?: used)?|glossary|key ?words?|endnotes?|footnotes?|notes|correspondence|open access",
        r"authors? (?:contributions?|details|information|notes?)" + _ANY,
        r"about the authors?|contributors?(?: statement)?|contributions|reviewers?|provenance" + _ANY,
        r"(?:disclaimers?|disclosures?|funding|financial|transparency|copyright|orcid|how to cite)" + _ANY,
        r"supplement(?:ary|al) (?:materials?|data|information|files?|content)|electronic supplementary material",
        r"supporting information|additional (?:files?|information|materials?)|article information",
        r"data (?:availability|accessibility|sharing)" + _ANY,
        r"availability of" + _ANY,
        r"(?:competing|conflicts? of|declarations? of)(?: financial)? interests?" + _ANY,
        r"declarations?|(?:ethic|ethics|ethical)(?: approval| statement| considerations?| committee)" + _ANY,
        r"consent (?:for publication|to participate)|pre publication history|publisher s note|rights and permissions",
    ),
    "methods": (
        r"(?:\w{1,30} )?methods?|methodolog(?:y|ies)|methodological" + _ANY,
        r"materials?|(?:materials?|patients?|subjects|participants|experimental) (?:and|section|procedures?|design)"
        + _ANY,
        r"participants|experimental|study (?:design|settings?|populations?|areas?|sites?|samples?|selection)" + _ANY,
        r"research (?:design|methods?|methodology|setting|approach)|designs?|settings?|(?:design|setting|sample) and"
        + _ANY,
        r"samples?|sampling(?: strategy| procedure)?|data (?:collection|analys[ie]s|extraction|sources?|synthesis)"
        + _ANY,
        r"statistical (?:analys[ie]s|methods?)|statistics|search strateg(?:y|ies)" + _ANY,
        r"(?:eligibility|inclusion)(?: and exclusion)? criteria|procedures?|measures?|measurements?|instruments?",
        r"quality (?:assessment|appraisal)|analys[ie]s",
    ),
    "results": (r"(?:\w{1,30} )?(?:results?|findings)" + _ANY,),
    "discussion": (
        r"(?:general )?discussions?" + _ANY,
        r"(?:study |strengths and )?limitations?" + _ANY,
        r"strengths?(?: and limitations)?|interpretation|comparison with" + _ANY,
        r"(?:policy |practice |research |theoretical |managerial |practical )?implications?" + _ANY,
        r"lessons learne[dt]",
    ),
    "conclusion": (
        r"(?:\w{1,30} )?conclusions?" + _ANY,
        r"concluding (?:remarks|comments|thoughts)|final remarks|recommendations?|take home messages?",
        r"summary and" + _ANY,
        r"future (?:research|work|directions)",
    ),
    "introduction": (
        r"(?:introduction|background)" + _ANY,
        r"(?:study |research )?(?:aims?|objectives?|purposes?|rationale|questions?)(?: of the study)?",
        r"(?:literature|theoretical|conceptual) (?:review|background|framework)|review of (?:the )?literature",
        r"related work|context|theory|hypothes[ie]s|preface|problem statement",
    ),
}
_KINDS = tuple((kind, re.compile("|".join(titles))) for kind, titles in _TITLES.items())


def kind_of(title: str) -> Kind | None:
    """Return the kind of a section, judging by its title, or ``None`` if the title does not show the kind.

    Case, punctuation and a number in front of the title make no difference. 'Results and discussion' counts as results.
    """
    bare = without_number(title)
    plain = normalise_title(bare)
    if len(plain.split()) > _MOST_WORDS:
        return None
    for kind, titles in _KINDS:
        if titles.fullmatch(plain):
            return kind
    return "back" if is_note(bare) else None


def without_number(title: str) -> str:
    """Return a title without the number at its start."""
    return _NUMBER.sub("", title.strip(), count=1)
