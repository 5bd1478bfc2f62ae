"""Decide whether a record describes the paper that a service found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz import fuzz

from mechtag.core.records import Record, normalise_title
from mechtag.pipeline.dedupe.comparable import comparable_fields
from mechtag.pipeline.fetch.found import Found

# Lowest likeness of the titles of one paper: if the services share its identifier, and if they share only the title.
_IDENTIFIED, _TITLED = 0.85, 0.95
# Several papers may have the same shorter title.
_SHORTEST_TITLE = 30


class Verdict(NamedTuple):
    """The decision on whether a record describes the paper that a service found.

    Attributes
    ----------
    likeness
        Similarity of the two titles, from 0 to 1; ``None`` if the record has no title.
    doubt
        Sentence that states why the record may describe a different paper; ``""`` if there is no doubt.
    """

    likeness: float | None
    doubt: str = ""


class Candidate(NamedTuple):
    """A record, a paper that a service found, and whether the record describes this paper."""

    record: Record
    found: Found
    verdict: Verdict


def likeness(left: str, right: str) -> float:
    """Return the similarity of two titles, from 0 to 1; the order of the words does not matter."""
    return float(round(fuzz.token_sort_ratio(normalise_title(left), normalise_title(right)) / 100, 4))


def by_identifier(record: Record, found: Found) -> Verdict:
    """Compare titles to judge whether a record describes the paper that was found by the record's DOI or PubMed id."""
    if not record.title:
        return Verdict(None)
    alike = likeness(record.title, found.record.title)
    if alike >= _IDENTIFIED:
        return Verdict(alike)
    return Verdict(alike, "The identifier of the record belongs to a paper with a different title.")


def by_title(record: Record, founds: Sequence[Found]) -> list[Candidate]:
    """Return the papers that a record may describe, each with a verdict.

    ``founds`` are the papers that a search for the title of the record found. Papers with clearly different titles are
    left out. At most one paper is free of doubt (``doubt`` of its verdict is empty).
    """
    # A service may list one paper twice.
    papers: dict[str, Found] = {}
    for found in founds:
        papers.setdefault(found.record.record_id, found)
    alike = [(found, likeness(record.title, found.record.title)) for found in papers.values()]
    close = [(found, each) for found, each in alike if each >= _IDENTIFIED]
    doubts = [_doubt(record, found, each) for found, each in close]
    if doubts.count("") > 1:
        doubts = [doubt or "Several papers have this title, year and first author." for doubt in doubts]
    return [Candidate(record, found, Verdict(each, doubt)) for (found, each), doubt in zip(close, doubts, strict=True)]


def _doubt(record: Record, found: Found, alike: float) -> str:
    other = found.record
    if len(normalise_title(record.title)) < _SHORTEST_TITLE:
        return f"The title has fewer than {_SHORTEST_TITLE} letters, so several papers may have it."
    if alike < _TITLED:
        return "The titles differ."
    if comparable_fields(record).numbers != comparable_fields(other).numbers:
        return "The numbers in the titles differ, as in part 1 and part 2."
    if record.year is None or other.year is None or abs(record.year - other.year) > 1:
        return "The years differ, or one of them is unknown."
    if not _family(record) or _family(record) != _family(other):
        return "The first authors differ, or one of them is unknown."
    return ""


def _family(record: Record) -> str:
    return normalise_title(record.authors[0].split(",")[0]) if record.authors else ""
