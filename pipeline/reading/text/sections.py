"""Recognise notes, keyword lists, copyright notices and truncation in abstracts.

Statements on funding, registration, approval and copyright are not evidence of a paper's findings. Journals print such
notes under separate headings, or as plain sentences at the end of the abstract. `is_note` recognises a note by its
heading. `note_of` recognises a note by its words, if the note is a whole sentence, and returns the kind of the note.
This kind becomes the section of the sentence.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import NamedTuple

from mechtag.core.records import Role
from mechtag.pipeline.reading.text.notices import is_only_notice, notice_end, notices_start, says_none

KEYWORDS, NOTICE = "keywords", "notice"

# Headings of notes as journals print them, and the names that `note_of` returns.
_NOTE_HEADING = re.compile(
    r"""
    (?:authors?['’]?s?\s)? (?: key[\s-]?words?(?:\sand\sphrases)? | index(?:ing)?\sterms | descriptors
        | mesh(?:\s(?:terms?|headings?|key\s?words?))? | subject\s(?:terms|headings) )
    | (?: (?:primary|study|trial|main)\s )? (?: funding | sponsor(?:s|ship)? ) (?:[/\s,&]+(?:source|sources|sponsor|
        sponsors|sponsorship|statement|information|support|acknowledge?ments?|support|and|registration|disclosures?))*
    | sources?\sof\s(?:funding|support) | (?:financial|grant)\s(?:support|disclosures?) | (?:role\sof\s)?(?:the\s)?
        funding\ssources?
    | (?: (?:clinical|systematic|prospero|international|isrctn|prospective|review|study|trial|protocol|of|the)[\s/]+ )*
        regist(?:ration|ry) (?:[\s/,]+(?:number|numbers|no|nr|id|identifier|details|information|in|and|prospero|funding|
        registration|systematic|review|trial|study|protocol|name|date|isrctn))*
    | clinical\s?trials?(?:\.gov)?\s(?:identifier|number|registration|registry)(?:\s(?:number|information))?
    | prospero(?:\s(?:number|id))?
    | ethics | ethic(?:s|al)\s(?:(?:and\s)?(?:research\s)?(?:governance\s)?) (?:approvals?|statements?|considerations?|
        numbers?|committee|clearance|issues|permission|review) (?:\s(?:number|and\s(?:informed\s)?consent
        (?:\sto\sparticipate)?))? | (?:informed\s)?consent
    | (?:statement\sof\s|declarations?\sof\s|potential\s)? (?:(?:conflicts?|conflicting|competing|declarations?)
        (?:\sof)?\s)? interests? (?:\s(?:statement|declaration|disclosure))? | (?:author\s)?(?:disclosures?)
        (?:\s(?:of\sinterests?|statement|information))? | declarations?
    | (?:data|code) (?:\sand\s(?:data|code|materials?))? \s (?:availability|sharing|access) (?:\sstatement)?
        | availability\sof\s(?:the\s)?data(?:\sand\smaterials?)?
    | levels?\sof\sevidence(?:\slevel)? | evidence\slevel
    | acknowledge?ments? | notice | copyright | licen[cs]e | open\saccess
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=1024)
def is_note(section: str) -> bool:
    """Return whether a section contains keywords or a note on funding, registration, approval, interests or rights.

    Text in such a section is neither scored nor used as evidence. The section 'Ethics and dissemination' does not
    count, because it describes how the findings of a study will be shared.

    Parameters
    ----------
    section
        Name of a section (see `records.Sentence`), or a printed heading in upper or lower case. If the text has no
        heading, ``section`` is ``""``.
    """
    name = " ".join(section[:_LONGEST_NAME].lower().split()).strip(" .:;–—-?")
    return _NOTE_HEADING.fullmatch(name) is not None


def is_keywords(section: str) -> bool:
    """Return whether a section is a list of keywords or index terms, judging by the name of the section."""
    return is_note(section) and section.startswith(("author", "key", "index", "mesh", "subject", "descriptors"))


_LONGEST_NAME, _LONGEST_NOTE = 120, 500
# Funders. "Supported" needs a clearer funder than "funded", because leaders and trusts also support people.
_PAYS = (
    r"[Gg]rants?|[Ff]und(?:s|ing|ation)?|[Ff]ellowships?|[Ss]cholarships?|[Aa]wards?|Foundation|Institutes?|Council|"
    r"Ministry|Ministries|NIHR|NIH|NHMRC|CIHR|ESRC|MRC|EU|Horizon"
)
_PAYER = rf"(?=[^\n]*\b(?:{_PAYS})\b)"
_FUNDER = (
    rf"(?=[^\n]*\b(?:{_PAYS}|Commission|Agency|Department|Trust|University|Association|Society|Government|"
    r"Programme|Program|Research|Academy|[A-Z]{3,})\b)"
)
_STUDY = (
    r"(?:This|The|Our)(?:\spresent)?\s(?:\w+\s)?"
    r"(?:work|study|research|paper|review|trial|article|project|evaluation|analysis)"
)
_IDENTIFIER = (
    r"(?:ISRCTN\s?\d+|NCT\s?\d{6,}|CRD\s?\d{6,}|ACTRN\s?\d+|ChiCTR\S*\d|DRKS\s?\d+|UMIN\s?\d+|CTRI/\S+|EudraCT|"
    r"PROSPERO|[Cc]linical\s?[Tt]rials(?:\.gov)?|INPLASY\d*|NTR\s?\d+|NL\d{4,}|[Oo]pen Science Framework|osf\.io)"
)
# Registration numbers have at least five digits, except those of the Dutch register.
_NUMBERED = r"(?=[^\n]*(?:\d{5}|NTR\s?\d{4}))"
_NOTES: tuple[tuple[str, str], ...] = (
    (
        "funding",
        rf"(?:{_STUDY}\s(?:was|is|has\sbeen)\s(?:(?:\w+\s){{0,2}}(?:funded|sponsored|financed)(?:\s\w+){{0,2}}\s"
        rf"(?:by|through|under|from)\s{_FUNDER}|(?:\w+\s){{0,2}}supported(?:\s\w+){{0,2}}\s(?:by|through|under|from)\s{_PAYER})"
        rf"|(?:Funded|Supported|Sponsored|Financed)\s(?:\w+\s)?by\s{_PAYER}"
        r"|(?:Funding|Financial\ssupport|Grant\ssupport)(?:\sstatement|\ssources?)?\s?[:—–]\s?\S"
        r"|(?:Funding|Financial\ssupport)(?:\sfor\sthis\s\w+)\s(?:was|came|has)\b"
        rf"|(?:Funding|Financial\ssupport)\swas\s(?:provided|received|obtained)\s(?:by|from)\s{_FUNDER}"
        r"|(?:The\sauthors?|We|This\s(?:research|study|work|project))\s(?:have\s|has\s)?(?:received|had)\sno\s"
        r"(?:\w+\s){0,3}(?:funding|grant|financial\ssupport)"
        r"|No\s(?:\w+\s){0,2}funding\s(?:was|has\sbeen|to)\b"
        r"|The\s(?:study\s)?(?:funders?|sponsors?)\s(?:of\s\w+\s\w+\s)?(?:had|has|played)\sno\s(?:role|part)\b"
        r"|The\sauthors?\s(?:disclosed|acknowledged?)\s(?:the\s)?(?:receipt|financial|funding)\b)",
    ),
    (
        "registration",
        r"(?:(?:(?:[Cc]linical|[Ss]ystematic|[Rr]eview|[Ss]tudy|[Tt]rial|[Pp]rotocol|PROSPERO)\s)*[Rr]egistration"
        r"(?:\s(?:number|no\.?|details|ID|identifier))?\s?[:.—–-]?\s?(?=[^\n]{0,80}(?:\d{5}|NTR\s?\d{4}))"
        rf"|{_NUMBERED}\(?{_IDENTIFIER}(?:\s(?:registration|identifier|number|ID|no\.?|registry))*\s?[:.#]?\s?[\w()/:.,\s-]{{0,60}}$"
        rf"|(?:{_STUDY}|(?:This|The|Our)\s(?:\w+\s){{0,3}}protocol)(?:\sprotocol)?\s(?:was|is|has\sbeen)\s"
        rf"(?:\w+\s)?(?:pre-?)?registered\s(?=[^\n]*{_IDENTIFIER}))",
    ),
    (
        "ethics",
        r"(?:(?:\w+\s){0,2}(?:[Ee]thical|[Ee]thics|[Rr]eview\s[Bb]oard|IRB)(?:\s(?:research|committee|board|review))*\s"
        r"(?:approval|permission|clearance)\s(?:\w+\s){0,4}?(?:was|were|has\sbeen|is|not)\b"
        r"|Ethic(?:s|al)\s(?:approval|number|reference|committee|statement)(?:\s\w+)?\s?[:—–]"
        rf"|{_STUDY}\s(?:was|is|has\sbeen)\s(?:\w+\sand\s)?approved\sby\s(?=[^\n]*\b(?:[Ee]thic|[Rr]eview\s[Bb]oard|IRB))"
        r"|(?:(?:[Ww]ritten|[Ii]nformed|[Vv]erbal|,)\s?)+consent\s(?:\w+\s){0,2}(?:was|were)\s(?:\w+\s)?obtained\b)",
    ),
    (
        "interests",
        r"(?:(?:The\s|All\s)?(?:[Aa]uthors?|We)\s(?:have\s)?(?:declared?|reported?|disclosed?|state)s?\s(?:that\s)?"
        r"(?:they\s|there\s)?(?:have\s|are\s|is\s|had\s)?no\s(?:\w+\s){0,4}(?:conflicts?|interests?|disclosures?)"
        r"|(?:The\s)?[Aa]uthors?\shave\sno\s(?:\w+\s){0,3}(?:conflicts?|interests?|disclosures?)\b"
        r"|(?:There\s(?:is|are)\s)?[Nn]o\s(?:\w+\s)?(?:conflicts?\sof|competing)\sinterests?\b"
        r"|(?:(?:Conflicts?|Declarations?)\sof\s(?:\w+\s)?|Competing\s)interests?\s?[:.—–]?\s?(?:[Nn]one|[Nn]o|[Nn]il|The|All|\w+\sdeclare)\b)",
    ),
    (
        "data availability",
        r"(?:Data\s(?:availability|sharing)(?:\sstatement)?\s?[:—–]"
        r"|(?:(?:The|All)\s)?(?:[Dd]ata|[Dd]atasets?|materials)\s(?:\w+\s){0,6}(?:are|is)\s(?:\w+\s)?available\s(?:\w+\s)?"
        r"(?:from|on|upon|at|in)\b)",
    ),
    (
        "level of evidence",
        r"\(?(?:Level\sof\sevidence|LEVEL\sOF\sEVIDENCE)\s?[:,.—–-]?\s?(?:Level\s)?(?:[IVX]+|[1-5])\b",
    ),
    (
        "notice",
        r"(?:\(?ABSTRACT\sTRUNCATED|\(?(?:PsycINFO|PsycInfo)\s(?:Database|Abstracts?|\(c\))"
        r"|\(?(?:Author|Journal|Publisher)\sabstract\)?\.?$|(?:Supplementary|Supplemental)\s(?:material|data|information)"
        r"[^\n]{0,40}\savailable\b|A\s(?:video|graphical)\sabstract\s)",
    ),
)
_NOTE = re.compile("|".join(f"(?P<{name.replace(' ', '_')}>{pattern})" for name, pattern in _NOTES))
# A sentence with one of these is not merely a note: it reports what was asked, done or found.
_MORE = re.compile(
    r"\b(?:found|finds|findings|show(?:s|ed|ing)?|aim(?:s|ed)?|explor\w+|examin\w+|investigat\w+|interview\w*|"
    r"suggest\w*|conclud\w+|led to|help(?:s|ed)?|enabl\w+|improv\w+|analys(?:ed|is of)|followed|using|because|although|"
    r"therefore|however|but)\b"
)


def note_of(sentence: str) -> str:
    """Return the kind of note that a sentence is, such as ``funding``; ``""`` if the sentence is not a note as a whole.

    The kinds are ``funding``, ``registration``, ``ethics``, ``interests``, ``data availability``, ``level of evidence``
    and ``notice``. `is_note` returns ``True`` for each of these kinds.
    """
    if len(sentence) > _LONGEST_NOTE:
        return ""
    if is_only_notice(sentence):
        return NOTICE
    match = _NOTE.match(sentence)
    if not match or not match.lastgroup or _MORE.search(sentence):
        return ""
    return match.lastgroup.replace("_", " ")


# End of a truncated text. The full stop of an abbreviation does not end a sentence.
_CUT_END = re.compile(
    r"(?:\.\s?\.\s?\.|…|(?<![.!?])[,:;&=<(\[{‐‑–—-]|\b(?:e\.\s?g|i\.\s?e|cf|vs|viz|incl|approx)\.|\btruncated\b[\w\s]{0,30}[\])]?\.?)"
    r"[\])\"”’'\s]*$",
    re.IGNORECASE,
)
# Sentences rarely end with these words; a missing full stop after them confirms that the text is truncated.
_UNFINISHED = frozenset(
    "a an and are as at because been but by can could for from had has have if in into is its may might must nor of "
    "on or our per should than that the their these they this those to very via was we were what when where whether "
    "which while who whose will with would".split()
)
_LAST_WORD = re.compile(r"(?<![^\s\"“‘('])[^\W\d_]+\Z")
_NEAR = 300


def is_cut(abstract: str) -> bool:
    """Return whether an abstract ends in mid-sentence, as in exports that truncate long texts.

    The signs of truncation are an ellipsis, "(ABSTRACT TRUNCATED AT 250 WORDS)", a final comma, colon or dash, an open
    bracket, or a last word such as "and". A missing full stop is not a sign of truncation, because journals and
    databases often omit the last full stop.

    Parameters
    ----------
    abstract
        Abstract as returned by `cleaning.clean_record`, without notices and keywords at its end.
    """
    end = abstract[-_NEAR:].rstrip()
    if _CUT_END.search(end[-60:]):
        return True
    if not end or not (end[-1].isalnum() or end[-1] == "%"):
        return False
    if max(end.rfind("("), end.rfind("[")) > max(end.rfind(")"), end.rfind("]"), end.rfind(". ")):
        return True
    word = _LAST_WORD.search(end[-40:])
    return word is not None and word.group() in _UNFINISHED


_BACKGROUND = re.compile(
    r"\b(?:background|introduction|context|importance|rationale|objectives?|aims?|purpose|questions?|hypothes[ei]s)\b"
)
_METHODS = re.compile(
    r"\b(?:methods?|methodology|design|approach|settings?|participants|patients|subjects|sample|sampling|materials?|"
    r"measures?|measurements?|procedures?|search|selection|eligibility|"
    r"data (?:sources?|extraction|collection|analysis))\b"
)
_RESULTS = re.compile(
    r"\b(?:results?|findings|conclusions?|discussion|interpretation|implications?|value|originality|recommendations?|"
    r"synthesis|lessons|significance)\b"
)


@lru_cache(maxsize=1024)
def role_of(section: str) -> Role:
    """Return the role of a section: ``background``, ``methods``, ``results`` or ``note``.

    If the name of the section fits no role or several roles, ``""`` is returned.

    Parameters
    ----------
    section
        Name of the section as in `records.Sentence`.
    """
    if is_note(section):
        return "note"
    name = section.lower()
    found: list[Role] = []
    if _BACKGROUND.search(name):
        found.append("background")
    if _METHODS.search(name):
        found.append("methods")
    if _RESULTS.search(name):
        found.append("results")
    return found[0] if len(found) == 1 else ""


#: Longer texts are not abstracts and are left unchanged.
LONGEST = 100_000
# Limits for a keyword list: distance from the end, number of items, and characters and words per item.
_REACH, _MOST, _LONGEST_ITEM, _MOST_WORDS = 1500, 40, 100, 8
_FEW_WORDS = 4

_LABEL = re.compile(
    r"""
    (?:authors?['’]?s?\s)?
    (?: key[\s-]?words?(?:\sand\sphrases)? | index(?:ing)?\sterms | subject\s(?:terms|headings)
      | mesh(?:\s(?:terms?|headings?|key\s?words?))? )
    (?: (?P<colon> \s?[:：] ) | (?P<dash> \s?[–—]+ | \s-+(?=\s) ) | (?P<line> \s?\n ) | (?P<stop> \.(?=\s) )
      | (?P<bare> \s ) )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HINTS = ("key", "index", "mesh", "subject")
# Words that show that a list is a sentence; in capitals, they may be names (IT, WAS).
_SAYS = re.compile(
    r"(?<!\S)(?:we|was|were|is|are|has|have|had|be|been|our|this|that|these|those|they|which|should|can|could|must|will|"
    r"may|included?|used|searched|identified|using)(?!\S)"
)
_STOP = re.compile(r"[^\W\d_]{2}[.!?]\s|[:!?](?:\s|$)")
_ENDS = frozenset('.!?…)]"”’»%')
# Words that lead on to a label within a sentence ("We used the Keywords: ..."), not to a keyword list.
_LEADING_ON = re.compile(
    r"\b(?:a|all|and|as|by|following|for|her|his|in|main|of|on|or|our|search|six|some|such|the|their|these|three|to|two|"
    r"used|using|with|\w+(?:ed|ing))$",
    re.IGNORECASE,
)


class Tail(NamedTuple):
    """A keyword list or notice at the start or end of an abstract; it is not part of the content.

    Attributes
    ----------
    start, end
        Offsets in the abstract.
    kind
        `KEYWORDS` or `NOTICE`.
    keywords
        The keywords in the list; empty for a notice.
    """

    start: int
    end: int
    kind: str
    keywords: tuple[str, ...] = ()


class Content(NamedTuple):
    """The content of an abstract: its text without keyword lists and notices.

    Attributes
    ----------
    start, end
        Offsets of the content; the content is ``abstract[start:end]``.
    tails
        Keyword lists and notices after the content, in the order in which they occur.
    """

    start: int
    end: int
    tails: tuple[Tail, ...]

    @property
    def keywords(self) -> tuple[str, ...]:
        """Return the keywords from all keyword lists, in the order in which they occur."""
        return tuple(keyword for tail in self.tails for keyword in tail.keywords)


def _items(text: str) -> list[str]:
    """Split a keyword list at line ends and at its separator, such as a semicolon or comma."""
    for separator in (";；", "•·▪●|", ",，、"):
        if any(char in text for char in separator):
            return re.split(f"[{separator}\n]", text)
    return re.split(r"\n|\s[–—-]\s", text)


def keywords_of(text: str) -> tuple[str, ...] | None:
    """Return the keywords in a text, or ``None`` if the text is not a list of short items."""
    text = text.strip().rstrip(".;,")
    if len(text) > _REACH or _STOP.search(text) or _SAYS.search(text):
        return None
    items = [" ".join(item.split()).strip(" .*•·▪●-–—") for item in _items(text)]
    items = [item for item in items if item]
    most = _MOST_WORDS if len(items) > 1 else _FEW_WORDS
    fits = len(items) <= _MOST and all(
        len(item) <= _LONGEST_ITEM and len(item.split()) <= most and any(map(str.isalpha, item)) for item in items
    )
    return tuple(items) if fits else None


def _placed(text: str, label: re.Match[str], whole: bool) -> bool:
    """Return whether a keyword list can begin at a label such as "Keywords:", judging by the text before the label."""
    before = text[: label.start()].rstrip(" \t")
    if not before:
        return whole  # Unless the text is whole, it may start within a sentence.
    if before[-1] in _ENDS or before[-1] == "\n":
        return True
    # Without a full stop before it, only a capital and a colon distinguish a label from a word of the sentence.
    return (
        bool(label["colon"]) and label[0][0].isupper() and before[-1].isalpha() and not _LEADING_ON.search(before[-40:])
    )


def _keyword_list(text: str, start: int, end: int) -> Tail | None:
    """Return the keyword list at the end of ``text[start:end]``, or ``None`` if there is none.

    The list includes its label, such as "Keywords:".
    """
    first = max(start, end - _REACH)
    window = text[first:end]
    small = window.lower()
    if not any(hint in small for hint in _HINTS):
        return None
    # Use the last label, because a keyword list contains no other label.
    label = next(iter(deque(_LABEL.finditer(window), maxlen=1)), None)
    if label is None or not _placed(window, label, whole=first == start):
        return None
    listed = window[label.end() :]
    keywords = keywords_of(listed)
    if keywords is None:
        return None
    if label["stop"] or label["bare"]:
        # Without a colon the words could start a sentence: "Keywords nurses like".
        marked = ";" in listed or len(keywords) > 2
        begins = listed.lstrip()[:1].isupper() or label[0].strip(" .").isupper() or ";" in listed
        if not (marked and begins):
            return None
    elif not keywords and not label["colon"]:
        return None
    return Tail(first + label.start(), end, KEYWORDS, keywords)


def find_content(text: str) -> Content:
    """Separate the content of an abstract from the keyword lists and notices around it.

    In case of doubt, text counts as content. For example, a keyword list counts as content if a sentence follows it. A
    second call with the returned content removes nothing more.
    """
    start, end = 0, len(text)
    tails: list[Tail] = []
    if end > LONGEST:
        return Content(start, end, ())
    while True:
        before = (start, end)
        while end > start and text[end - 1].isspace():
            end -= 1
        while start < end and text[start].isspace():
            start += 1
        if (place := notices_start(text, start, end)) < end or says_none(text[start:end]):
            place = place if place < end else start
            tails.append(Tail(place, end, NOTICE))
            end = place
        elif found := _keyword_list(text, start, end):
            tails.append(found)
            end = found.start
        start = notice_end(text, start, end)
        if (start, end) == before:
            return Content(start, end, tuple(reversed(tails)))
