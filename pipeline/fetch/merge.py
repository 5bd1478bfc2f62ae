"""Fill the fields that a record lacks with what services say about its paper.

What a record contains is not replaced; the only exception is an abstract that was cut off, if the user asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from mechtag.core.records import Record, normalise_title
from mechtag.pipeline.fetch.found import Found
from mechtag.pipeline.fetch.match import Verdict
from mechtag.pipeline.fetch.placeholders import is_placeholder
from mechtag.pipeline.text.sections import is_cut

# An abstract with fewer characters may have been cut off by a database.
_SHORT = 250
# Number of characters at the beginning that a shortened abstract has in common with the whole one.
_BEGINNING = 60


class Fetched(NamedTuple):
    """A field that was fetched: a row of ``fetched.csv``.

    Attributes
    ----------
    field
        ``abstract``, ``doi``, ``pmid``, ``full-text``, or ``retraction`` if a service says that the paper was
        retracted.
    source, url, time
        Name of the service, page of the paper or address of the file there, and time of the answer.
    licence
        Licence as the service names it, or ``unknown``.
    likeness
        Likeness of the titles; see `match.Verdict`.
    sha256
        SHA-256 of the value in UTF-8, or of the file; empty for a retraction.
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
    """Return the row of ``fetched.csv`` for a field whose value a service returned."""
    return Fetched(
        *(record_id, field, found.service.name, found.url, found.time, found.licence or "unknown", likeness),
        hashlib.sha256(value.encode()).hexdigest() if value else "",
    )


def usable_abstract(record: Record, found: Found, replace_shorter: bool) -> bool:
    """Return whether a service returned a real abstract, and not a placeholder, and the record lacks an abstract.

    Parameters
    ----------
    replace_shorter
        Whether an abstract that was cut off counts as lacking, if the service returned a longer one that begins alike.
    """
    new = found.record.abstract
    if not new or is_placeholder(new):
        return False
    return not record.abstract or (replace_shorter and _is_longer(record.abstract, new))


def may_be_cut(abstract: str) -> bool:
    """Return whether an abstract may have been cut off: it is short, or ends in mid-sentence."""
    return bool(abstract) and (len(abstract) < _SHORT or is_cut(abstract))


def _is_longer(old: str, new: str) -> bool:
    if not may_be_cut(old) or len(new) <= len(old):
        return False
    begins = normalise_title(old.rstrip(" .…"))[:_BEGINNING]
    return normalise_title(new).startswith(begins)


def merge(record: Record, found: Found, verdict: Verdict, replace_shorter: bool) -> tuple[Record, list[Fetched]]:
    """Fill the fields that a record lacks; return the completed record, and a row for each field that was filled."""
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
