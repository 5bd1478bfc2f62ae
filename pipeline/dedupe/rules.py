"""Rules that decide whether two records describe the same paper."""

from __future__ import annotations

import re
from typing import NamedTuple

from rapidfuzz import fuzz

from mechtag.core.records import normalise_title
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.comparable import ComparableFields
from mechtag.pipeline.dedupe.field_agreement import (
    SHORT_ABSTRACT,
    FieldAgreement,
    agree,
    compare_fields,
    compare_titles,
    continues_abstract,
    same_abstract,
    same_extent,
    same_pages,
    spelt_alike,
)

# Suffixes that distinguish the DOIs of versions of one work: .pub2 for Cochrane reviews, v2 for preprints, .2 for
# F1000Research.
_VERSION = re.compile(r"(?:\.pub\d+|/?v\d+|(?<=\d{4})\.\d)$")


class Comparison(NamedTuple):
    """The result of comparing a pair of records.

    ``same`` is ``None`` if the rules cannot decide; such a pair is not merged. ``confidence``
    is higher for rules that require more fields to agree; it is not a probability. Pairs that are not merged
    have a ``reason`` if a person should check them.
    """

    same: bool | None
    confidence: float = 0.0
    reason: str = ""


DIFFERENT = Comparison(False)
UNSURE = Comparison(None)


def _printed_twice(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> bool:
    """Return whether a journal printed a paper twice, in two volumes, with the same text and number of pages.

    Within one volume, the second record could be a reply that repeats the abstract. Supplements are excluded,
    because research groups present the same abstract year after year.
    """
    return bool(
        (found.title, found.journal, found.volume) == ("same", True, False)
        and left.telling
        and not left.notice
        and not (left.supplement or right.supplement)
        and len(left.authors) > 1
        and left.authors == right.authors
        and same_extent(left, right)
        and len(left.abstract) >= SHORT_ABSTRACT
        and normalise_title(left.abstract) == normalise_title(right.abstract)
    )


def _other_version(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> bool:
    """Return whether two records are different versions of one work, which reviewers treat as separate works."""
    if left.doi and right.doi:
        return left.doi != right.doi and _VERSION.sub("", left.doi) == _VERSION.sub("", right.doi)
    # Cochrane reviews keep their number and title in all updates.
    cochrane = left.prefix == right.prefix == "CD" or ("cochrane" in left.journal and "cochrane" in right.journal)
    return cochrane and bool(found.years or found.issue is False)


def compare_records(left: ComparableFields, right: ComparableFields, settings: DedupeSettings) -> Comparison:
    """Decide whether two records describe the same paper.

    Doubtful pairs are not merged, because a wrong merge costs the reviewer a paper, but a missed
    duplicate costs only a minute.
    """
    identifiers = agree(left.doi, right.doi), agree(left.pmid, right.pmid)
    name = "DOI" if identifiers[0] else "PubMed id"
    title = compare_titles(left, right, settings.title_similarity)
    if left.notice != right.notice:
        # The type of a paper is often in its subtitle, which databases omit.
        subtitled = title in ("shorter", "cut") and {left.notice, right.notice} <= {"", "protocol", "reply"}
        if not (identifiers[0] and subtitled):
            kind = left.notice or right.notice
            return Comparison(False, 0.5, f"same {name}, but one is a {kind}") if True in identifiers else DIFFERENT
    if not title and True not in identifiers and (left.page is None or left.page != right.page):
        return DIFFERENT
    found = compare_fields(left, right, title)
    near_years = (found.years or 0) <= settings.year_gap
    recurring = left.recurring or right.recurring
    if True in identifiers and title:
        # Abstracts of one meeting may share a DOI.
        other_part = title == "near" and left.numbers != right.numbers and not found.page
        if other_part or (found.page is False and (title != "same" or recurring)):
            return Comparison(None, 0.7, f"same {name}; {found.describe()}")
        return Comparison(True, 0.99, f"same {name} and title")
    if not title:
        return _other_title(left, right, found, name if True in identifiers else "", settings)
    # A pair with the same title that is not merged may still be worth checking.
    listed = title == "same" and left.telling and found.authors and near_years
    differ = Comparison(False, 0.5, found.describe()) if listed and not recurring else DIFFERENT
    if _other_version(left, right, found):
        return Comparison(False, 0.3, f"versions of one work; {found.describe()}")
    if near_years and _printed_twice(left, right, found):
        return Comparison(True, 0.8, "same title, authors, journal, abstract and number of pages in two volumes")
    if False in identifiers:
        # If nothing else differs, one of the identifiers is wrong.
        agreed = found.authors and found.journal and found.page and not found.years
        agreed = agreed and (not found.contradicted or _distinctive(left, right))
        if title == "same" and agreed and not recurring:
            return Comparison(
                True, 0.85, "same title, authors, journal, year and first page, though identifiers differ"
            )
        return differ
    moved = found.volume is False or (found.volume is None and found.years) or left.supplement != right.supplement
    if found.page is False and moved:
        return differ
    if found.authors is False or not near_years:
        elsewhere = found.authors is False and (not found.journal or left.page == "1")
        if title == "same" and found.placed and not elsewhere and not recurring:
            return Comparison(True, 0.85, "same title, volume and first page")
        return DIFFERENT
    if recurring:
        return _recurring_title(left, found)
    return _same_title(left, right, found) if title == "same" else _near_title(left, right, found)


def _distinctive(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether title and authors identify a single paper, and not a regular column by one author."""
    return left.telling and min(len(left.authors), len(right.authors)) > 1


def _other_title(
    left: ComparableFields, right: ComparableFields, found: FieldAgreement, identifier: str, settings: DedupeSettings
) -> Comparison:
    """Decide by all fields except the title, because a translated title differs entirely from the original."""
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
    return Comparison(None if found.authors is not False else False, 0.6, f"same {identifier}, other title")


def _recurring_title(left: ComparableFields, found: FieldAgreement) -> Comparison:
    if found.title == "same" and found.placed:
        return Comparison(True, 0.95, "same title, volume and first page")
    if found.contradicted:
        return DIFFERENT
    if found.title == "same" and found.journal and found.volume and found.issue and left.title.count(" ") > 1:
        return Comparison(True, 0.85, "same title, journal, volume and issue")
    return UNSURE


def _presented(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> bool:
    """Return whether one may be a meeting abstract and the other the article that followed."""
    if left.supplement == right.supplement or found.volume or found.page:
        return False
    return bool(found.years or left.volume or right.volume or left.page or right.page)


def _same_title(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> Comparison:
    journal, volume, issue = found.journal, found.volume, found.issue
    # An equal page number in another year's volume is chance.
    page = found.page and not (volume is False and found.years)
    distinctive = _distinctive(left, right)
    unsure = Comparison(None, 0.6 if found.authors else 0.4, found.describe())
    if found.placed:
        return Comparison(True, 0.98, "same title, volume and first page")
    if found.authors is None:
        unclear = left.authors and right.authors and not found.years
        if journal and not found.contradicted and (page or (left.telling and (volume or unclear))):
            return Comparison(True, 0.85, "same title and journal, authors unclear")
        return unsure
    if page and (volume or (journal and issue is not False)) and (distinctive or False not in (volume, issue)):
        return Comparison(True, 0.95, "same title, authors and first page")
    if not found.contradicted:
        # Organisations, and groups at meetings, report under the same title every year.
        yearly = max(len(left.authors), len(right.authors)) == 1 or (left.supplement and not volume)
        if _presented(left, right, found) or (found.years and yearly):
            return unsure
        if journal or volume or page:
            return Comparison(True, 0.95, "same title, authors and place of publication")
        if not found.years or same_abstract(left, right):
            return Comparison(True, 0.85, "same title and authors, place of publication missing")
        return unsure
    if left.notice or not left.telling:
        return unsure
    if journal and volume and issue is not False and distinctive:
        return Comparison(True, 0.9, "same title, authors, journal and volume")
    if found.contradicted == 1 and ((page and distinctive) or (volume and issue)):
        return Comparison(True, 0.85, "same title, authors, and volume or first page")
    if journal and volume is not False and same_abstract(left, right):
        return Comparison(True, 0.85, "same title, authors, journal and abstract")
    return unsure


def _near_title(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> Comparison:
    alike = spelt_alike(left.title, right.title)
    if found.title == "near" and left.numbers != right.numbers:
        # A footnote mark or a typing error if all else agrees; otherwise a different part or year.
        short, long = sorted((left.compact, right.compact), key=len)
        marked = long[:-1] == short and long[-1].isdigit()
        agreed = found.authors and found.journal and found.placed and not (left.supplement or right.supplement)
        if not (agreed and (marked or same_pages(left, right))):
            return DIFFERENT
    elif found.title == "near" and left.supplement and right.supplement and not alike:
        return UNSURE
    ranged = same_pages(left, right) and not found.years
    other_place = found.volume is False or (found.issue is False and not alike)
    if found.authors and found.page and not other_place and (found.volume or found.journal or ranged):
        return Comparison(True, 0.9, "nearly the same title, same authors and first page")
    supplement = left.supplement or right.supplement
    if found.authors is None and found.placed and ranged and not supplement:
        return Comparison(True, 0.85, "nearly the same title, same volume and pages, authors missing")
    if found.authors and not found.contradicted:
        if _presented(left, right, found):
            return Comparison(None, 0.5, found.describe())
        # Two papers, such as one on men and one on women, may have abstracts that start alike.
        worded = found.title == "near" and not alike
        if same_abstract(left, right) and (not worded or continues_abstract(left, right)):
            return Comparison(True, 0.85, "nearly the same title, same authors and abstract")
        if found.journal and not found.years and (found.title in ("led", "cut") or alike):
            return Comparison(True, 0.85, "nearly the same title, same authors, journal and year")
        return Comparison(None, 0.5, found.describe())
    # A different title in a different place means different papers; no third record may join the two.
    return DIFFERENT if found.contradicted else UNSURE
