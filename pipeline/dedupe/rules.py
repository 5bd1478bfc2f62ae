"""Decide whether two records describe the same paper.

Some pairs, such as a paper and its erratum, must not be merged even if most of their fields agree. Rules recognise
these pairs. All other pairs are decided by the sum of the weights of all fields; see `evidence`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz, process

from mechtag.core.records import normalise_title
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.comparable import ComparableFields
from mechtag.pipeline.dedupe.evidence import DOUBTFUL, ENOUGH, weigh
from mechtag.pipeline.dedupe.field_agreement import (
    SHORT_ABSTRACT,
    FieldAgreement,
    agree,
    compare_fields,
    compare_titles,
    continues_abstract,
    other_works,
    same_abstract,
    same_extent,
    same_pages,
)

# Suffixes that distinguish the DOIs of versions of one work: .pub2 for Cochrane reviews, v2 for preprints, .2 for
# F1000Research.
_VERSION = re.compile(r"(?:\.pub\d+|/?v\d+|(?<=\d{4})\.\d)$")


class Comparison(NamedTuple):
    """The result of comparing a pair of records.

    Attributes
    ----------
    same
        ``True`` if the records describe the same paper, ``False`` if not. ``None`` if the evidence is insufficient; the
        records are then not merged.
    confidence
        Number from 0 to 1. It is higher if more fields agree, but it is not a probability.
    reason
        Fields that agree and fields that differ, in words. If the records are not merged and nobody needs to check the
        pair, the value is ``""``.
    """

    same: bool | None
    confidence: float = 0.0
    reason: str = ""


Pairs = npt.NDArray[np.bool_]

# Titles that differ in spelling or a word.
_SPELT = ("alike", "near")
# Length of four words of one letter. `compare_titles` does not recognise a shorter title as a part of another title.
_SHORTEST_PART = 7
DIFFERENT = Comparison(False)
UNSURE = Comparison(None)


def _printed_twice(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> bool:
    """Return whether one of two records is a reprint of the other in a different volume of the same journal."""
    return bool(
        # Within one volume, the second record could be a reply that repeats the abstract.
        (found.title, found.journal, found.volume) == ("same", True, False)
        and left.telling
        and not left.notice
        # Research groups often present the same abstract at meetings every year.
        and not (left.supplement or right.supplement)
        and len(left.authors) > 1
        and left.authors == right.authors
        and same_extent(left, right)
        and len(left.abstract) >= SHORT_ABSTRACT
        and normalise_title(left.abstract) == normalise_title(right.abstract)
    )


def _cochrane(item: ComparableFields) -> bool:
    return item.prefix == "CD" or "cochrane" in item.journal or (item.doi or "").startswith("10.1002/14651858.")


def _other_version(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> bool | None:
    """Return whether two records are different versions of one work; ``None`` if this cannot be decided."""
    if left.doi and right.doi:
        return left.doi != right.doi and _VERSION.sub("", left.doi) == _VERSION.sub("", right.doi)
    if not (_cochrane(left) and _cochrane(right)):
        return False
    # Cochrane reviews keep their number and title in all updates, but no update appears in the same issue.
    if found.years or found.issue is False:
        return True
    return None if found.years is None and not found.issue else False


def compare_records(left: ComparableFields, right: ComparableFields, settings: DedupeSettings) -> Comparison:
    """Decide whether two records describe the same paper.

    Doubtful pairs are not merged, because a wrong merge loses a paper. Checking a missed duplicate takes only a minute.
    """
    # Without a number, the notice of a registration is only 'registration'.
    registered = left.notice == right.notice and left.notice.startswith("registration ")
    identifiers = agree(left.doi, right.doi), agree(left.pmid, right.pmid)
    identified = registered or True in identifiers
    name = "DOI" if identifiers[0] else "PubMed id" if identifiers[1] else "registration number"
    title = compare_titles(left, right, settings.title_similarity)
    if left.notice != right.notice:
        # The type of a paper is often in its subtitle, which databases omit.
        subtitled = title in ("shorter", "cut") and {left.notice, right.notice} <= {"", "protocol", "reply"}
        if not (identifiers[0] and subtitled):
            kind = left.notice or right.notice
            return Comparison(False, 0.5, f"same {name}, but one is a {kind}") if identified else DIFFERENT
    if not title and not identified and (left.page is None or left.page != right.page):
        return DIFFERENT
    found = compare_fields(left, right, title)
    near_years = (found.years or 0) <= settings.year_gap
    recurring = left.recurring or right.recurring
    if identified and title:
        # Abstracts of one meeting may share a DOI.
        other_part = title in _SPELT and left.numbers != right.numbers and not found.page
        if other_part or (found.page is False and (title != "same" or recurring)):
            return Comparison(None, 0.7, f"same {name}; {found.describe()}")
        return Comparison(True, 0.99, f"same {name} and title")
    if not title:
        return _other_title(left, right, found, name if identified else "", settings)
    # A pair with the same title that is not merged may still be worth checking.
    listed = title == "same" and left.telling and found.authors and near_years and not recurring
    differ = Comparison(False, 0.5, found.describe()) if listed else DIFFERENT
    version = _other_version(left, right, found)
    if version:
        return Comparison(False, 0.3, f"versions of one work; {found.describe()}")
    if version is None:
        return Comparison(None, 0.3, f"may be versions of one work; {found.describe()}")
    if near_years and _printed_twice(left, right, found):
        return Comparison(True, 0.8, "same title, authors, journal, abstract and number of pages in two volumes")
    # If nothing else differs, one of the identifiers is wrong.
    if False in identifiers and not (title == "same" and found.authors and found.journal and found.page):
        return differ
    moved = found.volume is False or (found.volume is None and found.years) or left.supplement != right.supplement
    if found.page is False and moved:
        return differ
    if _other_part(left, right, found):
        return DIFFERENT
    identifier = False if False in identifiers else None
    return _weighed(left, right, found, weigh(left, right, found, identifier, settings.year_gap))


def equal_values(left: Iterable[object], right: Iterable[object]) -> Pairs:
    """Compare each value on the left with each value on the right; ``None`` does not equal any value, not even itself.

    The result is a Boolean array with one row per value on the left and one column per value on the right.
    """
    numbers: dict[object, int] = {None: -1}
    rows, columns = (
        np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
        for values in (left, right)
    )
    equal: Pairs = (rows[:, None] == columns) & (columns >= 0)
    return equal


def comparable_pairs(
    left: Sequence[ComparableFields], right: Sequence[ComparableFields], settings: DedupeSettings
) -> Pairs:
    """Return for which pairs of records `compare_records` must be called.

    The result is a Boolean array with one row per record on the left and one column per record on the right. If an
    entry is ``False``, `compare_records` would decide that the two records describe different papers, and that nobody
    needs to check the pair. If it is ``True``, any decision is possible.
    """
    titles = [item.compact for item in right]
    scores = process.cdist(
        [item.compact for item in left], titles, scorer=fuzz.ratio, score_cutoff=100 * settings.title_similarity
    )
    pairs: Pairs = scores > 0
    for field in ("compact", "doi", "pmid", "page"):
        pairs |= equal_values((getattr(item, field) for item in left), (getattr(item, field) for item in right))
    # One title may be the start or the end of the other title.
    for end in (slice(_SHORTEST_PART), slice(-_SHORTEST_PART, None)):
        shared = equal_values(*([item.title[end] for item in items] for items in (left, right)))
        for row, column in np.argwhere(shared & ~pairs):
            short, long = sorted((left[row].title, right[column].title), key=len)
            pairs[row, column] = long.startswith(short) or long.endswith(short)
    return pairs


def _weighed(left: ComparableFields, right: ComparableFields, found: FieldAgreement, total: int) -> Comparison:
    """Decide, from the total weight of the evidence, whether two records describe the same paper."""
    reason = found.describe()
    similar = _similar_work(left, right, found)
    if total >= ENOUGH and not similar:
        return Comparison(True, round(min(0.8 + 0.02 * (total - ENOUGH), 0.98), 2), reason)
    if found.authors is False or (found.title != "same" and found.contradicted):
        # A different title in a different place means different papers; no third record may join the two.
        return Comparison(False, 0.4, reason) if total >= DOUBTFUL and found.authors else DIFFERENT
    if total >= DOUBTFUL and not left.stock:
        return Comparison(None, 0.6 if found.authors else 0.4, f"{reason}; {similar}" if similar else reason)
    return UNSURE


def _similar_work(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> str:
    """Return why two records may describe different works that are similar; ``""`` if nothing suggests this."""
    if other_works(left, right) and not found.page:
        return "one may be a preprint, thesis or data set"
    if left.supplement != right.supplement and not (found.volume or found.page):
        if found.years or left.volume or right.volume or left.page or right.page:
            return "one may be a meeting abstract"
    # Organisations, and groups at meetings, report under the same title every year.
    regular = max(len(left.authors), len(right.authors)) == 1 or left.supplement
    if found.years and regular and not (found.volume or found.page):
        return "may be reports on different years"
    column = left.stock or (left.recurring and max(len(left.authors), len(right.authors)) < 2)
    issue = found.issue and left.title.count(" ") > 1
    if column and not (found.volume and (found.page or issue)):
        return "a title that journals use repeatedly"
    if left.notice and found.contradicted:
        return f"may be two works of the same type ({left.notice})"
    if found.title == "near" and (not found.page or (left.supplement and right.supplement)):
        if not continues_abstract(left, right):
            return "may be two works with similar titles"
    if found.title == "shorter" and not found.page and not same_abstract(left, right):
        return "may be two works, one with a different subtitle"
    return ""


def _other_part(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> bool:
    """Return whether different numbers in two similar titles mean different papers, as in 'Part 1' and 'Part 2'."""
    if found.title not in _SPELT or left.numbers == right.numbers:
        return False
    short, long = sorted((left.compact, right.compact), key=len)
    # If other fields agree, a footnote mark or a typing error may be the only difference.
    marked = long[:-1] == short and long[-1].isdigit()
    agreed = found.authors and found.journal and found.placed and not (left.supplement or right.supplement)
    return not (agreed and (marked or same_pages(left, right)))


def _other_title(
    left: ComparableFields, right: ComparableFields, found: FieldAgreement, identifier: str, settings: DedupeSettings
) -> Comparison:
    """Decide whether two records with different titles describe the same paper."""
    if left.supplement or right.supplement or False in (found.volume, found.issue, found.page):
        # A group often has several abstracts on one page.
        return DIFFERENT
    if not identifier and left.doi and right.doi:
        return DIFFERENT
    similar = left.numbers == right.numbers and fuzz.ratio(left.compact, right.compact) >= 75
    if found.authors and same_pages(left, right) and not found.years:
        if (found.journal and (found.volume or similar)) or (found.journal is None and similar):
            return Comparison(True, 0.9, "same authors, year and pages, and journal or similar title")
    if found.authors and found.placed and fuzz.partial_ratio(left.compact, right.compact) >= 90:
        # A missing subtitle and a typing error are not a reason to keep two clusters apart.
        return UNSURE
    if not identifier:
        return DIFFERENT
    if found.authors and (found.years or 0) <= settings.year_gap and (found.page or similar):
        return Comparison(True, 0.9, "same DOI or PubMed id, and authors")
    return Comparison(None if found.authors is not False else False, 0.6, f"same {identifier}, different title")
