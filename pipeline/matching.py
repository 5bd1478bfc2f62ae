"""Rules that say whether two records describe one paper."""

from __future__ import annotations

import re
from typing import NamedTuple

from rapidfuzz import fuzz

from pipeline.settings import DedupeSettings
from pipeline.traits import Traits

_PART = re.compile(r"(?:part|phase|study|volume|chapter|section|paper|no|number|[ivx]+|\d+)\b")
_MEETING = frozenset("conference conferences congress symposium workshop meeting".split())
_MEETING_WORDS = frozenset(
    "annual proceedings proc vol vols acm ieee international"
    " first second third fourth fifth sixth seventh eighth ninth tenth".split()
)
# A title with a part left out must still be this long to be anything but chance.
_SHORT_TITLE = 20
_SHORT_ABSTRACT = 150


class Verdict(NamedTuple):
    """What the rules say of a pair.

    ``same`` is ``None`` where they cannot tell; such a pair is left apart. ``confidence``
    orders the rules by how much must agree; it is no probability.
    """

    same: bool | None
    confidence: float = 0.0
    reason: str = ""


DIFFERENT = Verdict(False)
UNSURE = Verdict(None)


class _Evidence(NamedTuple):
    """Agreement of each field: ``True``, ``False``, or ``None`` where it is unknown."""

    title: str
    authors: bool | None
    journal: bool | None
    volume: bool | None
    issue: bool | None
    page: bool | None
    years: int

    @property
    def contradicted(self) -> int:
        return (self.journal, self.volume, self.issue, self.page).count(False)

    @property
    def placed(self) -> bool:
        """Whether both stand on the same page of the same volume."""
        return bool(self.page and self.volume) and self.journal is not False and self.issue is not False


def _agree(left: str | None, right: str | None) -> bool | None:
    return None if left is None or right is None else left == right


def _titles(left: Traits, right: Traits, similarity: float) -> str:
    """Return ``same``, ``near`` (spelling), ``shorter`` (no subtitle), ``led`` (by a running title) or ``""``."""
    if left.compact == right.compact:
        return "same"
    if fuzz.ratio(left.compact, right.compact) >= 100 * similarity:
        return "near"
    short, long = sorted((left.title, right.title), key=len)
    if short.count(" ") >= 3 and len(short) >= _SHORT_TITLE:
        if long.startswith(short + " ") and not _PART.match(long[len(short) + 1 :]):
            return "shorter"
        if long.endswith(" " + short):
            return "led"
    return ""


def _spelt_alike(left: str, right: str) -> bool:
    """'labour' and 'labor', but neither 'men' and 'women' nor 'hypertension' and 'hypotension'."""
    return left.count(" ") == right.count(" ") and all(
        one == other or (one[:4] == other[:4] and min(len(one), len(other)) > 4 and fuzz.ratio(one, other) >= 80)
        for one, other in zip(left.split(), right.split(), strict=True)
    )


def _authors(left: Traits, right: Traits) -> bool | None:
    """First authors share a family name, or half of the shorter list stands in the other."""
    if not left.authors or not right.authors:
        return None
    first, other = left.authors[0], right.authors[0]
    if set(first.split()) & set(other.split()) or fuzz.ratio(first, other) >= 80:
        return True
    fewer = min(len(left.authors), len(right.authors))
    # Family and given names change places in some exports.
    shared = len(left.names & right.names)
    if 2 * len(set(left.authors) & set(right.authors)) >= fewer or shared >= max(2, fewer):
        return True
    return None if shared else False


def _abbreviates(short: str, long: str) -> bool:
    """'natl' for 'national': the same first letter, the others in the same order."""
    if len(short) > len(long):
        short, long = long, short
    letters = iter(long)
    return short[0] == long[0] and all(letter in letters for letter in short)


def _journals(left: tuple[str, ...], right: tuple[str, ...]) -> bool | None:
    if not left or not right:
        return None
    if len(left) > len(right):
        left, right = right, left
    if len(left) == 1 and left[0] == "".join(word[0] for word in right):
        return True
    if (len(left) == len(right) or len(left) >= 4) and all(map(_abbreviates, left, right)):
        return True
    if _MEETING & set(left) & set(right):
        one, other = ({word for word in words if not word[0].isdigit()} - _MEETING_WORDS for words in (left, right))
        return one <= other or other <= one
    return fuzz.ratio(" ".join(left), " ".join(right)) >= 90


def _issues(left: str | None, right: str | None) -> bool | None:
    """Supplements are named in too many ways to tell that two differ."""
    if left is None or right is None or left == right:
        return _agree(left, right)
    return False if left.isdigit() and right.isdigit() else None


def _pages(left: Traits, right: Traits) -> bool | None:
    """First pages; unlike numberings, as 969 in print and a1754 online, cannot be compared."""
    if left.page is None or right.page is None:
        return None
    if left.page == right.page:
        return True
    if bool(left.prefix) != bool(right.prefix) and not (left.supplement or right.supplement):
        return None
    # An article published online starts on page 1 until it gets its pages; others are often one off.
    return None if "1" in (left.page, right.page) or abs(int(left.page) - int(right.page)) == 1 else False


def _same_range(left: Traits, right: Traits) -> bool:
    """Whether both fill the same pages, more than one, which two papers cannot."""
    pages = left.page, left.last_page
    return None not in pages and pages == (right.page, right.last_page) and left.page != left.last_page


def _abstracts(left: Traits, right: Traits) -> bool:
    shorter = min(len(left.abstract), len(right.abstract))
    return shorter >= _SHORT_ABSTRACT and fuzz.ratio(left.abstract, right.abstract) >= 90


def _gather(left: Traits, right: Traits, similarity: float) -> _Evidence:
    page = _pages(left, right)
    # Another kind of publication is another place, unless it stands on the same page.
    other_kind = left.kind and right.kind and left.kind != right.kind and not page
    return _Evidence(
        title=_titles(left, right, similarity),
        authors=_authors(left, right),
        journal=False if other_kind else _journals(left.journal, right.journal),
        volume=_agree(left.volume, right.volume),
        issue=_issues(left.issue, right.issue),
        page=page,
        years=abs(left.year - right.year) if left.year and right.year else 0,
    )


def compare(left: Traits, right: Traits, settings: DedupeSettings) -> Verdict:
    """Say whether two records describe one paper.

    A wrong removal costs a reviewer a paper, a miss costs a minute: whatever the rules
    do not know well stays apart.
    """
    if left.notice != right.notice:
        return DIFFERENT
    found = _gather(left, right, settings.title_similarity)
    recurring = left.recurring or right.recurring
    identifiers = _agree(left.doi, right.doi), _agree(left.pmid, right.pmid)
    if True in identifiers and found.title:
        # Abstracts of one meeting may share a DOI.
        other_part = found.title == "near" and left.numbers != right.numbers and not found.page
        if other_part or (found.page is False and (found.title != "same" or recurring)):
            return UNSURE
        return Verdict(True, 0.99, f"same {'DOI' if identifiers[0] else 'PubMed id'} and title")
    if not found.title:
        return _other_title(left, right, found, True in identifiers, settings)
    if False in identifiers:
        # One of the identifiers is wrong where nothing else differs.
        agreed = found.authors and found.journal and found.page and not found.years
        if found.title == "same" and agreed and not recurring:
            return Verdict(True, 0.85, "same title, authors, journal, year and first page, though identifiers differ")
        return DIFFERENT
    if found.page is False and (found.volume is False or left.supplement != right.supplement):
        return DIFFERENT
    if found.authors is False or found.years > settings.year_gap:
        if found.title == "same" and found.placed and not recurring:
            return Verdict(True, 0.85, "same title, volume and first page")
        return DIFFERENT
    if recurring:
        return _recurring_title(left, found)
    return _same_title(left, right, found) if found.title == "same" else _near_title(left, right, found)


def _other_title(left: Traits, right: Traits, found: _Evidence, identified: bool, settings: DedupeSettings) -> Verdict:
    """Judge by all but the title: a translated one has nothing in common with the original."""
    if not found.authors or False in (found.volume, found.issue, found.page):
        return DIFFERENT
    similar = fuzz.ratio(left.compact, right.compact) >= 75
    if left.supplement or right.supplement:
        # One group often has several abstracts on a page.
        return DIFFERENT
    if found.journal and _same_range(left, right) and not found.years and (found.volume or similar):
        return Verdict(True, 0.9, "same authors, journal, year and pages")
    if identified and found.years <= settings.year_gap and (found.page or similar):
        return Verdict(True, 0.9, "same DOI or PubMed id, and authors")
    return DIFFERENT


def _recurring_title(left: Traits, found: _Evidence) -> Verdict:
    if found.title == "same" and found.placed:
        return Verdict(True, 0.95, "same title, volume and first page")
    if found.contradicted:
        return DIFFERENT
    if found.title == "same" and found.journal and found.volume and found.issue and left.title.count(" ") > 1:
        return Verdict(True, 0.85, "same title, journal, volume and issue")
    return UNSURE


def _same_title(left: Traits, right: Traits, found: _Evidence) -> Verdict:
    journal, volume, issue, page = found.journal, found.volume, found.issue, found.page
    if found.placed:
        return Verdict(True, 0.98, "same title, volume and first page")
    if found.authors is None:
        unclear = left.authors and right.authors and not found.years
        if journal and not found.contradicted and (volume or page or unclear):
            return Verdict(True, 0.85, "same title and journal, authors unclear")
        return UNSURE
    if page and (volume or (journal and issue is not False)):
        return Verdict(True, 0.95, "same title, authors and first page")
    if not found.contradicted:
        if journal or volume or page:
            return Verdict(True, 0.95, "same title, authors and place of publication")
        if not found.years or _abstracts(left, right):
            return Verdict(True, 0.85, "same title and authors, place of publication missing")
        return UNSURE
    if journal and volume and issue is not False:
        return Verdict(True, 0.9, "same title, authors, journal and volume")
    if found.contradicted == 1 and (page or (volume and issue)):
        return Verdict(True, 0.85, "same title, authors, and volume or first page")
    if journal and volume is not False and _abstracts(left, right):
        return Verdict(True, 0.85, "same title, authors, journal and abstract")
    return UNSURE


def _near_title(left: Traits, right: Traits, found: _Evidence) -> Verdict:
    alike = _spelt_alike(left.title, right.title)
    if found.title == "near" and left.numbers != right.numbers:
        # A footnote mark or a slip, if all else agrees; otherwise another part or year.
        short, long = sorted((left.compact, right.compact), key=len)
        marked = long[:-1] == short and long[-1].isdigit()
        agreed = found.authors and found.journal and found.placed and not (left.supplement or right.supplement)
        if not (agreed and (marked or _same_range(left, right))):
            return DIFFERENT
    elif found.title == "near" and left.supplement and right.supplement and not alike:
        return UNSURE
    if found.authors and found.page and found.volume is not False and (found.volume or found.journal):
        return Verdict(True, 0.9, "nearly the same title, same authors and first page")
    if found.authors and not found.contradicted:
        if _abstracts(left, right):
            return Verdict(True, 0.85, "nearly the same title, same authors and abstract")
        if found.journal and not found.years and (found.title == "led" or alike):
            return Verdict(True, 0.85, "nearly the same title, same authors, journal and year")
    return UNSURE
