"""Weigh the evidence that two records describe one paper: every field that agrees or differs has a weight.

The weights follow Fellegi and Sunter. The weight of a field that agrees is approximately log2(m / u). Here, m is the
probability that the field agrees in two records of one paper, and u is this probability in two records of similar, but
different papers. If the field differs, m and u are the probabilities that it differs.

`benchmarks.dedupe_weights` measures these logarithms on labelled and generated pairs of records. The weights are
constants, so the result for two records does not depend on other records. They are rounded, so people can check a sum
by hand.
"""

from __future__ import annotations

from mechtag.pipeline.dedupe.comparable import ComparableFields
from mechtag.pipeline.dedupe.field_agreement import FieldAgreement, other_abstract, same_abstract, same_pages

#: Records whose weights add up to at least this are one paper.
ENOUGH = 9
#: A person should check pairs of records whose weights add up to at least this.
DOUBTFUL = 4

# Titles that agree, from long titles, which identify a paper, to stock titles; then titles that agree in part.
_TELLING, _SHORT, _VERY_SHORT, _STOCK = 6, 2, -2, 0
_TITLES = {"cut": 4, "alike": 3, "led": 4, "shorter": 3, "near": -6, "": -7}
# If authors agree in part, the result is `None`; for example, some records have family and given names exchanged.
_ALL_AUTHORS, _AUTHORS, _NO_AUTHORS = 5, {True: 4, None: 0, False: -7}, -2
_JOURNAL = {True: 3, None: 0, False: -5}
_VOLUME = {True: 3, None: 0, False: -4}
# A volume that agrees is weak evidence if the journal differs.
_VOLUME_ELSEWHERE = 1
_ISSUE = {True: 2, None: 0, False: -3}
_RANGE, _PAGE = 5, {True: 3, None: 0, False: -5}
# Many papers begin on one of the first pages of an issue or volume.
_LOW_PAGE, _LOW = 10, 0
_YEAR, _NEXT_YEAR, _OTHER_YEAR = 1, -1, -8
# Another volume, not outweighed by the same year and page, or a page far away in another year: the paper appeared
# elsewhere, or again.
_MOVED, _FAR = -8, 20
_ABSTRACT, _OTHER_ABSTRACT = 4, -7
_IDENTIFIER = {True: 8, None: 0, False: -8}


def distinctive(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether two records have titles and lists of authors that are long enough to identify one paper.

    A single author is not enough, because journals have regular columns by one author.
    """
    return left.telling and right.telling and min(len(left.authors), len(right.authors)) > 1


def everybody(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether two records have at least two authors each, and the same authors in the same order."""
    return len(left.authors) > 1 and left.authors == right.authors


def _title(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> int:
    if found.title != "same":
        return _TITLES[found.title]
    if left.recurring:
        return _STOCK if left.stock else _VERY_SHORT
    return _TELLING if left.telling else _SHORT


def _page(left: ComparableFields, right: ComparableFields, found: FieldAgreement) -> int:
    if found.page is False and not found.volume:
        return 2 * _PAGE[False]
    if found.page and left.page and int(left.page) <= _LOW_PAGE and not left.prefix:
        return _LOW
    return _RANGE if found.page and same_pages(left, right) else _PAGE[found.page]


def _far(left: ComparableFields, right: ComparableFields) -> bool:
    """Return whether the first pages of two records differ by more than a typing error can explain."""
    return left.page is not None and right.page is not None and abs(int(left.page) - int(right.page)) > _FAR


def weigh(
    left: ComparableFields, right: ComparableFields, found: FieldAgreement, identifier: bool | None, year_gap: int
) -> int:
    """Return the total weight, over all fields, of the evidence that two records describe one paper.

    Parameters
    ----------
    found
        Result of `compare_fields`.
    identifier
        Whether the DOIs or PubMed ids agree; ``None`` if this is unknown.
    year_gap
        Number of years by which two records of one paper may differ; see `DedupeSettings`.
    """
    years = found.years or 0
    moved = (found.volume is False and not (found.page and not years)) or (
        found.page is False and years > 0 and _far(left, right)
    )
    place = [
        _VOLUME_ELSEWHERE if found.volume and found.journal is False else _VOLUME[found.volume],
        _ISSUE[found.issue],
        _page(left, right, found),
    ]
    if moved:
        place = [_MOVED, _ISSUE[found.issue] if found.issue is False else 0, min(place[2], 0)]
    if found.title not in ("same", "alike") or not distinctive(left, right):
        # These may be similar papers of one group, or a regular column, so fields that differ count twice.
        place = [2 * weight if weight < 0 else weight for weight in place]
    total = sum(place) + _JOURNAL[found.journal] + _title(left, right, found) + _IDENTIFIER[identifier]
    total += _ALL_AUTHORS if found.authors and everybody(left, right) else _AUTHORS[found.authors]
    if not (left.stock or (left.authors and right.authors)):
        total += _NO_AUTHORS
    if found.years is not None:
        total += _YEAR if not years else _NEXT_YEAR if years <= year_gap else _OTHER_YEAR
    placed = not moved and years <= year_gap and (found.title == "same" or found.page is not False)
    if total < ENOUGH and placed and found.journal is not False and same_abstract(left, right):
        total += _ABSTRACT
    elif total >= ENOUGH and not found.page and other_abstract(left, right):
        total += _OTHER_ABSTRACT
    return total
