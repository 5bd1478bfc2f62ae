"""Define the class for what a service says about a paper, and build records from answers as from search exports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mechtag.core.records import Record
from mechtag.pipeline.fetch.requests import Answer, Service
from mechtag.pipeline.reading.build_record import build
from mechtag.pipeline.reading.formats.json_items import many
from mechtag.pipeline.reading.tagged import Entry, Format

# The word with which some services begin abstracts; headings such as 'Abstract views' are something else.
_HEADING = re.compile(r"(?:abstract|summary)(?:\s?[:.–—]\s+|\s?\n\s*)", re.I)


class Link(NamedTuple):
    """The address of a full text, with its licence as the service names it (empty if unknown)."""

    url: str
    licence: str


@dataclass(frozen=True)
class Found:
    """What a service says about a paper.

    Attributes
    ----------
    record
        Description of the paper, cleaned like a record of a search export.
    service
        The service.
    url
        Page of the paper at the service.
    time
        Time of the answer, such as ``2026-11-29T20:00:00Z``.
    licence
        Licence of the paper; empty if unknown.
    retracted
        Whether the service says that the paper was retracted.
    links
        Addresses of free PDFs.
    open_pmcid
        PMC id of the paper, if the open-access subset of Europe PMC contains its text; otherwise empty.
    work
        Identifier by which the service refers to the paper.
    references
        Identifiers by which the service refers to the papers that this paper cites.
    """

    record: Record
    service: Service
    url: str
    time: str
    licence: str = ""
    retracted: bool = False
    links: tuple[Link, ...] = ()
    open_pmcid: str = ""
    work: str = ""
    references: tuple[str, ...] = ()


#: A record, and what a service says about its paper.
Pair = tuple[Record, Found]


def objects(content: Any, *path: str) -> list[dict[str, Any]]:
    """Return the JSON objects in the list at a path of names in an answer."""
    return [item for item in many(content, *path) if isinstance(item, dict)]


def record_of(form: Format, fields: Sequence[tuple[str, Any]], service: Service) -> Record | None:
    """Build a record from the fields that a service returned for a paper; return ``None`` if there is no title.

    Parameters
    ----------
    form
        Format of search exports whose entries have these fields.
    fields
        Pairs of name and value.
    """
    built = build(form, Entry(1, 1, fields), service.label)
    if not isinstance(built, Record):
        return None
    heading = _HEADING.match(built.abstract)
    abstract = built.abstract[heading.end() :] if heading else built.abstract
    # Services return far more than the attributes of a record.
    return built.model_copy(update={"abstract": abstract, "raw": ()})


def time_of(answer: Answer) -> str:
    """Return the time of an answer as text."""
    return datetime.fromtimestamp(answer.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pairs(records: Sequence[Record], founds: Iterable[Found]) -> Iterator[Pair]:
    """Yield each record that shares a DOI or PubMed id with a paper that was found, together with the paper."""
    by_doi: dict[str, list[Record]] = {}
    by_pmid: dict[str, list[Record]] = {}
    for record in records:
        if record.doi:
            by_doi.setdefault(record.doi, []).append(record)
        if record.pmid:
            by_pmid.setdefault(record.pmid, []).append(record)
    for found in founds:
        same = [*by_doi.get(found.record.doi or "", ()), *by_pmid.get(found.record.pmid or "", ())]
        yield from ((record, found) for record in {record.record_id: record for record in same}.values())
