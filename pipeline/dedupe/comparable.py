"""Prepare the fields of a record for comparison across databases."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import NamedTuple

from mechtag.core.records import Record, normalise_title, registration_number

_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,40}>")
_GREEK = {code: f" {unicodedata.name(chr(code)).split()[-1].lower()} " for code in range(0x3B1, 0x3CA)}
# Databases append a reference to a correction to the title; the record still describes the article itself.
_ANNOTATION = re.compile(
    r"[\[(]\s*(?:see comment"
    r"|(?:erratum|corrected|comment|republished|reprint|summary|retract(?:ed|ion))\b.{0,20}\bin\b).*$",
    re.I,
)
# Ovid ends a title with language, type and number of references: '... [Review] [33 refs]'.
# But '[Part 2]', '[second part]' and '[II]' distinguish papers.
_BRACKET = r"\[(?![^\[\]]*\b(?:parts?|phase|[ivx]+)\b)(?>\d{1,4} ref[^\[\]]{0,10}|(?:article )?[^\[\]\d]{1,20})"
_BRACKETED = re.compile(rf"(?<=.)(?:{_BRACKET}\][\s.]*){{0,9}}{_BRACKET}\]?[\s.]*$", re.I)
# Separator before a final word that states the type of a paper.
_SET_OFF = r"(?:[:.(\[]|\s[-\u2013\u2014])\s*"
# Start of a title, behind the number of an abstract or of a section.
_START = r"^\W*(?:[A-Z]{0,4}[- ]?\d{1,5}\W+)?"
# Papers about another paper often have its title. Web of Science titles a correction by the
# article it corrects: '... (vol 33, pg 151, 2018)'.
_NOTICES = {
    "correction": re.compile(
        rf"{_START}(?:\w+ )?(?:errat|corrigend|correction|retract|withdraw|notice of|expression of concern|addendum)"
        r"|^\W*(?:berichtigung|fe de err)"
        r"|^\W*publisher['\u2019]?s['\u2019]? note"
        r"|\(vol\.? [^()]{1,20}, pg? [^()]{1,20}\)\W*$"
        r"|[\[(](?:retract|errat|corrigend|correct)\w*(?: (?:of|for|to)\b|:)"
        rf"|{_SET_OFF}(?:erratum|corrigendum|(?:author |publisher )?correction|retraction)[\])\s.]*$",
        re.I,
    ),
    "reply": re.compile(
        rf"{_START}(?:(?:the )?authors?'?s?'? |invited |editorial |guest |in )?"
        r"(?:re:|reply|respon[sd]|rebuttal|rejoinder|correspondence|comment|discussion|letter|editorial|review of"
        r"|summar|journal club|video abstract)"
        rf"|{_SET_OFF}(?:(?:the )?authors?'?s?'? |in )?(?:reply|response|rejoinder|(?:a |invited )?comment(?:ary)?)"
        r"[\])\s.]*$",
        re.I,
    ),
    "protocol": re.compile(r"\bprotocol\b", re.I),
}
_CORRECTION_TYPE = re.compile(r"errat|corrigend|^correct|retraction", re.I)
# Titles that a journal uses repeatedly for different items.
_RECURRING = re.compile(
    r"^(?:comment|commentary|letters?|reply|response|introduction|notes?|index|contents|abstracts?|correction|news"
    r"|untitled|no title)\b"
    r"|\b(?:editors?|editorials?|foreword|preface|obituary|memoriam|erratum|corrigendum|proceedings|abstracts"
    r"|announcements?|reviewers|correspondence|this issue|special (?:issue|section)|book reviews?"
    r"|annual|yearly|year in review|statistics)\b"
)
_RECURRING_WORDS = 8
# If titles have this many words, different papers share one only if one paper is about the other.
_TELLING_WORDS = 6
_ROMAN = re.compile(r"\b(?:i{2,3}|iv|vi{1,3}|ix|(?:(?<=part )|(?<=type )|(?<=phase )|(?<=study ))[ivx])\b")
# Words that abbreviated names of journals leave out.
_SMALL_WORDS = frozenset(
    "a an and au aux av da dell della delle de der des di do dos du el et for fur het im in la le les of och on per "
    "pour the to und van voor y zum zur".split()
)
# French and Italian articles: 'd'Épidémiologie', 'l'Infirmière', 'dell'Arte'.
_ELIDED = re.compile(r"\b(?:d|l|dell|all)['\u2019](?=\w)", re.I)
_NOBODY = frozenset(("anonymous", "anon", "unknown", "et al", "no authors listed", "no author"))
# Placeholders that programs write for unknown values.
_NOTHING = frozenset(("unknown", "na", "nan", "n a", "none", "null", "not available", "missing"))
_PAGE = re.compile(
    r"([A-Za-z]{0,40})[\s.-]{0,40}0{0,40}(\d{1,40})"
    r"(?:\s{0,40}[-\u2010-\u2015]{1,40}\s{0,40}[A-Za-z]{0,40}0{0,40}(\d{1,40}))?"
)
_VOLUME = re.compile(r"\D{0,6}0{0,40}(\d+)")
_SUPPLEMENT = re.compile(r"supp|abstract", re.I)
_PREPRINT_DOI = re.compile(
    r"10\.(?:48550|21203|2139|31234|31219|31222|31235|20944|36227|26434|22541|1101/(?:\d{6}|20\d\d\.))"
)
_KINDS = {
    # Reference managers call a preprint unpublished (UNPB), Crossref 'posted-content'.
    "preprint": re.compile(r"rxiv|preprint|ssrn|research\W?square|^unp(?:b|ublished)|^posted.content", re.I),
    "thesis": re.compile(r"thes[ie]s|dissertation|^thes$", re.I),
    "dataset": re.compile(r"^data(?:set)?$", re.I),
    "conference": re.compile(r"conf|cpaper|proceeding|meeting|\babst", re.I),
    "book": re.compile(r"book|chap|edited", re.I),
    "article": re.compile(r"jour|article|review", re.I),
}
# Embase: 'Blood. Conference: 54th Annual Meeting of the American Society of Hematology. ...'
_MEETING_IN_JOURNAL = re.compile(r"\. Conference\b", re.I)
_MEETING_ABSTRACT = re.compile(r"(?:conference|meeting) abst", re.I)
# Where the subtitle, the place or the name in another language of a journal begins.
_SUBTITLE = re.compile(r"[:=(\[]|(?<=[a-z]{5})\.(?=[A-Z][a-z]{4})")
# Some platforms add research sections to a title: '... 0605 Microbiology 11 Medical and Health Sciences'.
_SECTION = r"(?:\s(?:0[1-9]|1\d|2[0-2])(?:\d\d)?\s(?:[A-Z][a-z]+[,\s]{0,2}|and |of |in |not ){1,12})"
_SECTIONS = re.compile(
    rf"(?=\s\d{{2,4}}\s.{{0,120}}\b(?:Sciences?|Engineering|Technology|Medicine)\b){_SECTION}{{1,6}}$"
)
# Number of authors that are compared; a consortium can have hundreds of authors.
_AUTHORS = 20
# Longer values come from broken files and would be slow to compare.
_TITLE, _JOURNAL, _PLACE = 1000, 300, 40


class ComparableFields(NamedTuple):
    """Fields of a record, prepared for comparison.

    Attributes
    ----------
    title, compact
        Normalised title with spaces, and normalised title without spaces.
    numbers
        All digits and Roman numerals of the title, which distinguish part 1 of a work from part 2.
    notice
        Kind of notice if the record describes a notice about a study or paper: ``correction``, ``reply``, ``protocol``,
        or ``registration`` followed by its number. ``""`` if the record describes the paper itself.
    stock
        Whether the title is one that journals use for many items, such as 'Editorial'.
    recurring
        Whether several items of a journal may have the title, because it is ``stock`` or has fewer than four words.
    telling
        Whether the title is long enough to identify a single work.
    authors, names
        Family names of the authors, and full names of the authors, both in order.
    prefix
        Letters before the number of the first page, such as the S of S12 or the e of e1001.
    supplement
        Whether the record is marked as a meeting abstract, or is from a supplement. Most items in supplements are
        meeting abstracts.
    abstract
        The record's abstract, which is not normalised.
    """

    doi: str | None
    pmid: str | None
    title: str
    compact: str
    numbers: str
    notice: str
    stock: bool
    recurring: bool
    telling: bool
    authors: tuple[str, ...]
    names: tuple[str, ...]
    year: int | None
    kind: str | None
    journal: tuple[str, ...]
    volume: str | None
    issue: str | None
    prefix: str
    page: str | None
    last_page: str | None
    supplement: bool
    abstract: str


def _family(author: str) -> str:
    name = normalise_title(author.split(",")[0])
    words = [word for word in name.split() if len(word) > 1] or name.split()
    return "" if name in _NOBODY else " ".join(words)


def _volume(value: str) -> str | None:
    """Return the number of a volume, such as ``"63"`` for ``"63 (Suppl 1)"``; ``None`` if there is no number."""
    if not value or (")" in value and "(" not in value):
        return None
    match = _VOLUME.match(value.split("(")[0])
    return match[1] if match and not re.fullmatch(r"(?:19|20)\d\d", match[1]) else None


def _journal(value: str) -> tuple[str, ...]:
    """Return the significant words of a journal's name: without subtitle, place and words such as 'of' and 'the'."""
    if value.startswith("http") or normalise_title(value) in _NOTHING:
        return ()
    # Embase appends the names of meetings.
    name = _ELIDED.sub("", _MEETING_IN_JOURNAL.split(_SUBTITLE.split(value)[0])[0] or value)
    words = [word for word in normalise_title(html.unescape(name)).split() if word not in _SMALL_WORDS]
    return tuple(word for word in words if not word.startswith("suppl")) or tuple(words)


def _kind(record: Record) -> str | None:
    place = record.journal or record.url or ""
    if _PREPRINT_DOI.match(record.doi or "") or _KINDS["preprint"].search(place):
        return "preprint"
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(record.type or "")), None)


def _notice(title: str, record: Record) -> str:
    if _CORRECTION_TYPE.search(record.type or ""):
        return "correction"
    place = f"{record.journal or record.url or ''} {record.type or ''}"[:_JOURNAL]
    number = registration_number(place, title, *record.authors[:3])
    if number is not None:
        return f"registration {number}".strip()
    return next((notice for notice, pattern in _NOTICES.items() if pattern.search(title)), "")


def _last_page(first: str, last: str | None) -> str | None:
    """Return the last page of a range in full, such as ``"129"`` for the pages 123-9."""
    return first[: -len(last)] + last if last and len(last) < len(first) else last


def comparable_fields(record: Record) -> ComparableFields:
    """Normalise the fields of a record so that they can be compared with records from different databases."""
    text = record.title[:_TITLE]
    if "&" in text:
        text = html.unescape(text).replace("&", " and ")
    if "<" in text:
        text = _MARKUP.sub("", text)
    notice = _notice(text, record)
    text = _BRACKETED.sub("", _ANNOTATION.sub("", _SECTIONS.sub("", text)))
    lower = text.lower()
    title = normalise_title(lower if lower.isascii() else lower.translate(_GREEK))
    title = re.sub(r"^(?:the|an?) ", "", title)
    words = title.count(" ") + 1
    stock = words <= _RECURRING_WORDS and bool(_RECURRING.search(title))
    volume, issue, pages = ((value or "")[:_PLACE] for value in (record.volume, record.issue, record.pages))
    # Ovid writes 'Suppl-29' for pages S17 to S29.
    supplement = bool(_SUPPLEMENT.search(f"{volume} {issue} {pages}"))
    page = None if _SUPPLEMENT.search(pages) else _PAGE.search(pages)
    prefix = page[1] if page else ""
    meeting = bool(_MEETING_IN_JOURNAL.search((record.journal or "")[:_JOURNAL]))
    meeting = meeting or bool(_MEETING_ABSTRACT.search(record.type or ""))
    supplement = supplement or meeting or prefix in ("S", "s", "A", "P")
    kind = _kind(record)
    named = [(family, name) for name in record.authors[:_AUTHORS] if (family := _family(name))]
    issue = normalise_title(issue)
    return ComparableFields(
        doi=record.doi,
        pmid=record.pmid,
        title=title,
        compact=title.replace(" ", ""),
        numbers="".join(re.findall(r"\d", title)) + " ".join(_ROMAN.findall(title)),
        notice=notice,
        stock=stock,
        recurring=words < 4 or stock,
        telling=words >= _TELLING_WORDS,
        authors=tuple(family for family, _ in named),
        names=tuple(name for _, name in named),
        year=record.year,
        # Most databases label meeting abstracts as articles.
        kind=None if kind == "article" and supplement else kind,
        journal=_journal((record.journal or "")[:_JOURNAL]),
        volume=_volume(volume),
        issue=None if issue in _NOTHING else issue or None,
        prefix=prefix,
        page=page[2] if page else None,
        last_page=_last_page(page[2], page[3]) if page else None,
        supplement=supplement,
        abstract=record.abstract,
    )
