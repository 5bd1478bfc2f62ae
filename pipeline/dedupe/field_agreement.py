"""Compare two records field by field."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from mechtag.core.records import normalise_title
from mechtag.pipeline.dedupe.comparable import ComparableFields

_PART = re.compile(
    r"(?:(?:a )?(?:second|third|follow)|part|phase|study(?! protocol)|volume|chapter|section|paper|no|number"
    r"|[ivx]+|\d+)\b"
)
_NUMBER = re.compile(r"[ivx]+|.*\d.*")
# Number of an abstract or a poster, which some databases print in front of its title.
_CODE = re.compile(r"(?:(?:abstract|poster|paper|oral|no|[a-z]{1,4}) ?)?\d{1,5}")
# Words that a database may leave out of a title.
_SMALL_WORDS = frozenset("a an and for in of on the to".split())
_MEETING = frozenset("conference conferences congress symposium workshop meeting".split())
_MEETING_WORDS = frozenset(
    "annual proceedings proc vol vols acm ieee international"
    " first second third fourth fifth sixth seventh eighth ninth tenth".split()
)
# Particles at the start of many family names.
_PARTICLES = frozenset("al bin da de del den der di do dos du el la le san ten ter van von y".split())
# A shortened title must have at least this many characters, so that it does not match by chance.
_SHORT_TITLE = 20
# No database truncates titles shorter than this.
_CUT_TITLE = 40
# A shorter abstract is often a stock phrase.
SHORT_ABSTRACT = 150
# Number of characters compared at the start of an abstract.
_ABSTRACT = 400


class FieldAgreement(NamedTuple):
    """Agreement of two records in each field: ``True``, ``False``, or ``None`` if unknown.

    Two attributes have other values. ``title`` is the kind of agreement that `compare_titles` returns. ``years`` is the
    difference between the years; ``None`` if unknown.
    """

    title: str
    authors: bool | None
    journal: bool | None
    volume: bool | None
    issue: bool | None
    page: bool | None
    years: int | None

    @property
    def contradicted(self) -> int:
        """Return how many of the fields journal, volume, issue and page differ between the records."""
        return (self.journal, self.volume, self.issue, self.page).count(False)

    def describe(self) -> str:
        """Return a text that lists the fields that agree and the fields that differ.

        A person reads the text to decide whether to merge the two records.
        """
        fields = {name: getattr(self, name) for name in ("authors", "journal", "volume", "issue", "page")}
        fields["year"] = None if self.years is None else not self.years
        alike = ", ".join(name for name, agrees in fields.items() if agrees)
        unlike = ", ".join(name for name, agrees in fields.items() if agrees is False)
        title = "same title" if self.title == "same" else "similar title"
        return title + (f"; same {alike}" if alike else "") + (f"; different {unlike}" if unlike else "")

    @property
    def placed(self) -> bool:
        """Return whether two records have the same volume and the same first page.

        The result is ``False`` if the journals or the issues differ; they may be unknown.
        """
        return bool(self.page and self.volume) and self.journal is not False and self.issue is not False


def agree(left: str | None, right: str | None) -> bool | None:
    """Return whether two values are equal; ``None`` if at least one of them is unknown."""
    return None if left is None or right is None else left == right


def compare_titles(left: ComparableFields, right: ComparableFields, similarity: float) -> str:
    """Compare two titles, and return the kind of agreement.

    Returns
    -------
    str
        One of these kinds:

        - ``same``: the titles agree, apart from spaces;
        - ``alike``: the spelling differs;
        - ``near``: the titles are similar, but words differ;
        - ``cut``: one title is cut off within a word;
        - ``shorter``: one title lacks the subtitle;
        - ``led``: one title begins with an addition, such as a running title or the number of an abstract;
        - ``""``: the titles do not agree.
    """
    if left.compact == right.compact:
        return "same"
    short, long = sorted((left.title, right.title), key=len)
    if len(short) >= _CUT_TITLE and long.startswith(short) and long[len(short)] != " ":
        # But 'part i' is not the start of 'part ii'.
        word = long[short.rfind(" ") + 1 :].split(" ", 1)[0]
        if not _NUMBER.fullmatch(word):
            return "cut"
    if long.endswith(" " + short) and short.count(" ") >= 3 and _CODE.fullmatch(long[: -len(short) - 1]):
        return "led"
    if fuzz.ratio(left.compact, right.compact, score_cutoff=100 * similarity):
        return "alike" if spelt_alike(left.title, right.title) else "near"
    if short.count(" ") >= 3 and len(short) >= _SHORT_TITLE:
        if long.startswith(short + " ") and not _PART.match(long[len(short) + 1 :]):
            return "shorter"
        if long.endswith(" " + short):
            return "led"
    return ""


def _slip(one: str, other: str) -> bool:
    """Return whether two words probably differ only by a typing error: a missing letter, or two swapped letters."""
    # A different first letter often changes the meaning, as in 'typical' and 'atypical'.
    if min(len(one), len(other)) < 5 or one[0] != other[0]:
        return False
    return OSA.distance(one, other, score_cutoff=1) == 1 and (len(one) != len(other) or sorted(one) == sorted(other))


def _spelling(one: str, other: str) -> bool:
    """Return whether two words are probably spellings of the same word, such as 'labour' and 'labor'."""
    return min(len(one), len(other)) > 4 and one[:4] == other[:4] and fuzz.ratio(one, other) >= 80


def spelt_alike(left: str, right: str) -> bool:
    """Return whether two titles consist of the same words, possibly in different spellings ('labour', 'labor').

    The result is ``False`` if the titles contain different words ('men', 'women').
    """
    words, others = ([word for word in title.split() if word not in _SMALL_WORDS] for title in (left, right))
    return len(words) == len(others) and all(
        one == other or _slip(one, other) or _spelling(one, other) for one, other in zip(words, others, strict=True)
    )


def _words(names: tuple[str, ...]) -> set[str]:
    return {word for name in names for word in normalise_title(name).split() if len(word) > 2} - _PARTICLES


def _given_names_differ(one: str, other: str) -> bool:
    """Return whether the given names of two people differ, as in 'Wang, Li' and 'Wang, Hong'."""
    words, others = (set(normalise_title(name).split()) for name in (one, other))
    # An initial agrees with each name that begins with it.
    return bool(words - others and others - words) and not (
        {word[0] for word in words - others} & {word[0] for word in others - words}
    )


def _authors(left: ComparableFields, right: ComparableFields) -> bool | None:
    """Return whether the authors of two records agree; ``None`` if this cannot be decided."""
    if not left.authors or not right.authors:
        return None
    first, other = left.authors[0], right.authors[0]
    fewer = min(len(left.authors), len(right.authors))
    if (set(first.split()) & set(other.split())) - _PARTICLES or fuzz.ratio(first, other) >= 80:
        if not _given_names_differ(left.names[0], right.names[0]):
            return True
        # Many people share a family name, or 'Study Group'; shared co-authors show that a given name is wrong.
        return True if 2 * len(set(left.authors[1:]) & set(right.authors[1:])) >= fewer else None
    # Some exports swap family and given names.
    shared = len(_words(left.names) & _words(right.names))
    if 2 * len(set(left.authors) & set(right.authors)) >= fewer or shared >= max(2, fewer):
        return True
    return None if shared else False


def _abbreviates(short: str, long: str) -> bool:
    """Return whether one of two words abbreviates the other, as 'natl' abbreviates 'national'."""
    if len(short) > len(long):
        short, long = long, short
    letters = iter(long)
    return short[0] == long[0] and all(letter in letters for letter in short)


def _initials(words: tuple[str, ...]) -> str:
    return "".join(word[0] for word in words)


def _journals(left: tuple[str, ...], right: tuple[str, ...]) -> bool | None:
    if not left or not right:
        return None
    if len(left) > len(right):
        left, right = right, left
    if len(left) == 1 and left[0] == _initials(right[1:] if right[0] == left[0] else right):
        return True
    if (len(left) == len(right) or len(left) >= 4) and all(map(_abbreviates, left, right)):
        return True
    if _MEETING & set(left) & set(right):
        one, other = ({word for word in words if not word[0].isdigit()} - _MEETING_WORDS for words in (left, right))
        return one <= other or other <= one
    if right[: len(left)] == left and (len(left) > 1 or len(left[0]) > 5):
        return None  # A subtitle or a series: 'Haematologica' and 'Haematologica-the Hematology Journal'.
    return fuzz.ratio(" ".join(left), " ".join(right)) >= 90


def _issues(left: str | None, right: str | None) -> bool | None:
    """Return whether two journal issues agree; ``None`` if this cannot be decided."""
    if left is None or right is None or left == right:
        return agree(left, right)
    # Only numbers can be compared: issue 6 may be 'June' in another export.
    return False if left.isdigit() and right.isdigit() else None


def _pages(left: ComparableFields, right: ComparableFields) -> bool | None:
    """Return whether the first pages of two records agree; ``None`` if this cannot be decided."""
    if left.page is None or right.page is None:
        return None
    if left.page == right.page:
        return True
    # Only one page has a letter, as in 'a1754': it may be the number of an article.
    if bool(left.prefix) != bool(right.prefix) and not (left.supplement or right.supplement):
        return None
    # Articles published online start on page 1 until pages are assigned; other pages are often off by one.
    return None if "1" in (left.page, right.page) or abs(int(left.page) - int(right.page)) == 1 else False


def same_pages(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether two records have the same page range.

    The result is ``False`` for single pages and for ranges that start on page 1, because different papers can share
    these by chance.
    """
    pages = left.page, left.last_page
    return None not in pages and pages == (right.page, right.last_page) and left.page not in ("1", left.last_page)


_folded = lru_cache(maxsize=1024)(normalise_title)


def same_abstract(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether two abstracts begin similarly.

    For short abstracts, which may be stock phrases, the result is ``False``.
    """
    if min(len(left.abstract), len(right.abstract)) < SHORT_ABSTRACT:
        return False
    return fuzz.ratio(_folded(left.abstract[:_ABSTRACT]), _folded(right.abstract[:_ABSTRACT])) >= 90


def other_abstract(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether two abstracts begin so differently that they must belong to different papers.

    For short abstracts, which may be stock phrases, the result is ``False``.
    """
    if min(len(left.abstract), len(right.abstract)) < SHORT_ABSTRACT:
        return False
    one, other = (_folded(item.abstract[:_ABSTRACT]) for item in (left, right))
    return fuzz.token_set_ratio(one, other) < 60


def continues_abstract(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether the longer of two abstracts begins with the whole shorter abstract.

    If the shorter abstract has few characters, it may be a stock phrase, and the result is ``False``.
    """
    short, long = sorted((_folded(left.abstract), _folded(right.abstract)), key=len)
    return len(short) >= SHORT_ABSTRACT and long.startswith(short)


def same_extent(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether two records have the same number of pages, which must be at least three."""
    if None in (left.page, left.last_page, right.page, right.last_page):
        return False
    one, other = (int(item.last_page or 0) - int(item.page or 0) for item in (left, right))
    return one == other >= 2


_OTHER_WORKS = frozenset(("preprint", "thesis", "dataset"))


def other_works(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether the publication types of two records differ, and one is a preprint, thesis or data set."""
    return left.kind != right.kind and not _OTHER_WORKS.isdisjoint((left.kind, right.kind))


def _other_kinds(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether two records have different publication types."""
    # An unknown type differs only from preprint, thesis and data set.
    return (left.kind != right.kind and None not in (left.kind, right.kind)) or other_works(left, right)


def compare_fields(left: ComparableFields, right: ComparableFields, title: str) -> FieldAgreement:
    """Compare two records field by field.

    Parameters
    ----------
    title
        Result of `compare_titles` for the two records.
    """
    page = _pages(left, right)
    if page and left.page == "1" and title != "same":
        # Many journals number each article from page 1.
        page = None
    # Different publication types mean different places of publication, unless the page is the same.
    other_kind = _other_kinds(left, right) and not page
    return FieldAgreement(
        title=title,
        authors=_authors(left, right),
        journal=False if other_kind else _journals(left.journal, right.journal),
        volume=agree(left.volume, right.volume),
        issue=_issues(left.issue, right.issue),
        page=page,
        years=abs(left.year - right.year) if left.year and right.year else None,
    )
