"""Fill the missing fields of a record with values that services returned for its paper.

Existing values are not replaced. There is one exception: if the user asks for it, an abstract that may have been cut
off is replaced by a longer one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from mechtag.core.records import Record, normalise_title
from mechtag.pipeline.fetch.found import Found
from mechtag.pipeline.fetch.match import Verdict
from mechtag.pipeline.fetch.placeholders import is_placeholder
from mechtag.pipeline.reading.text.sections import is_cut

# An abstract with fewer characters may have been cut off by a database.
_SHORT = 250
# Number of characters at the beginning that a shortened abstract has in common with the whole one.
_BEGINNING = 60


class Fetched(NamedTuple):
    """A fetched field of a record and its origin; one row of ``fetched.csv``.

    Attributes
    ----------
    field
        ``abstract``, ``doi``, ``pmid``, ``full-text``, or ``retraction`` if a service states that the paper was
        retracted.
    source
        Name of the service.
    url
        URL of the paper or of the downloaded file.
    time
        Time of the answer, such as ``2026-11-29T20:00:00Z``.
    licence
        Licence as the service names it, or ``unknown``.
    likeness
        Similarity of the titles of the record and the paper, from 0 to 1; ``None`` for full texts and for records
        without a title.
    sha256
        SHA-256 of the value (in UTF-8) or of the file; ``""`` for a retraction.
    """

    record_id: str
    field: str
    source: str
    url: str
    time: str
    licence: str
    likeness: float | None
    sha256: str


def provenance(record_id: str, field: str, found: Found, likeness: float | None, value: str = "") -> Fetched:
    """Return the row of ``fetched.csv`` that states from where a value in a record was fetched.

    Parameters
    ----------
    found
        Description of the paper that the service returned.
    likeness
        Similarity of the titles of the record and the paper, from 0 to 1; ``None`` if the record has no title.
    value
        Value of the field; ``""`` for a retraction.
    """
    return Fetched(
        *(record_id, field, found.service.name, found.url, found.time, found.licence or "unknown", likeness),
        hashlib.sha256(value.encode()).hexdigest() if value else "",
    )


def usable_abstract(record: Record, found: Found, replace_shorter: bool) -> bool:
    """Return whether the abstract that a service returned should be used for the record.

    A placeholder for a missing abstract is never used. Any other abstract is used if the record has no abstract.

    Parameters
    ----------
    replace_shorter
        Whether an abstract that may have been cut off is replaced by a longer abstract with the same beginning.
    """
    new = found.record.abstract
    if not new or is_placeholder(new):
        return False
    return not record.abstract or (replace_shorter and _is_longer(record.abstract, new))


def may_be_cut(abstract: str) -> bool:
    """Return whether an abstract may have been cut off, because it is short or ends in mid-sentence."""
    return bool(abstract) and (len(abstract) < _SHORT or is_cut(abstract))


def _is_longer(old: str, new: str) -> bool:
    if not may_be_cut(old) or len(new) <= len(old):
        return False
    begins = normalise_title(old.rstrip(" .…"))[:_BEGINNING]
    return normalise_title(new).startswith(begins)


def merge(record: Record, found: Found, verdict: Verdict, replace_shorter: bool) -> tuple[Record, list[Fetched]]:
    """Fill the missing fields of a record from a paper that a service found.

    Parameters
    ----------
    verdict
        Result of checking whether the record describes this paper.
    replace_shorter
        Whether an abstract that may have been cut off is replaced by a longer abstract with the same beginning.

    Returns
    -------
    record : Record
        The completed record.
    rows : list of Fetched
        One row of ``fetched.csv`` for each field that was filled.
    """
    values = dict(_lacking(record, found, replace_shorter))
    rows = [provenance(record.record_id, field, found, verdict.likeness, value) for field, value in values.items()]
    return (record.model_copy(update=values) if values else record), rows


def _lacking(record: Record, found: Found, replace_shorter: bool) -> Iterator[tuple[str, str]]:
    if usable_abstract(record, found, replace_shorter):
        yield "abstract", found.record.abstract
    if not record.doi and found.record.doi:
        yield "doi", found.record.doi
    if not record.pmid and found.record.pmid:
        yield "pmid", found.record.pmid
