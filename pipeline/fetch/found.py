"""Define how web services describe papers, and build such descriptions from the answers of the services."""

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

# Some services begin abstracts with this word; longer headings such as 'Abstract views' are not removed.
_HEADING = re.compile(r"(?:abstract|summary)(?:\s?[:.–—]\s+|\s?\n\s*)", re.I)


class Link(NamedTuple):
    """The URL of a full text, and its licence.

    Attributes
    ----------
    licence
        Licence as the service names it; ``""`` if it is not known.
    """

    url: str
    licence: str


@dataclass(frozen=True)
class Found:
    """A web service's description of a paper.

    Attributes
    ----------
    record
        Title, authors, abstract and identifiers of the paper, cleaned like a record of a search export.
    service
        Service that returned the description.
    url
        URL of the paper at the service.
    time
        Time of the answer, such as ``2026-11-29T20:00:00Z``.
    licence
        Licence of the paper; ``""`` if it is not known.
    retracted
        Whether the service states that the paper was retracted.
    links
        URLs and licences of free PDFs.
    open_pmcid
        PMC id of the paper if the open-access subset of Europe PMC contains its full text; otherwise ``""``.
    work
        Identifier of the paper at the service; ``""`` if there is none.
    references
        Identifiers, at the service, of the papers that this paper cites.
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


#: A record, and a service's description of its paper.
Pair = tuple[Record, Found]


def objects(content: Any, *path: str) -> list[dict[str, Any]]:
    """Return the JSON objects in a list of an answer.

    ``path`` contains the names that lead to the list, such as ``"message", "items"``. If there is no such list, the
    result is empty.
    """
    return [item for item in many(content, *path) if isinstance(item, dict)]


def record_of(form: Format, fields: Sequence[tuple[str, Any]], service: Service) -> Record | None:
    """Build a record from the fields that a service returned; return ``None`` if the fields do not suffice.

    Parameters
    ----------
    form
        Format of search exports that uses the same field names as the service. It determines which field becomes which
        attribute of the record.
    fields
        Pairs of field name and value.
    """
    built = build(form, Entry(1, 1, fields), service.label)
    if not isinstance(built, Record):
        return None
    heading = _HEADING.match(built.abstract)
    abstract = built.abstract[heading.end() :] if heading else built.abstract
    # Services return far more than the attributes of a record.
    return built.model_copy(update={"abstract": abstract, "raw": ()})


def time_of(answer: Answer) -> str:
    """Return the time of an answer in ISO 8601, such as ``2026-11-29T20:00:00Z``."""
    return datetime.fromtimestamp(answer.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pairs(records: Sequence[Record], founds: Iterable[Found]) -> Iterator[Pair]:
    """Yield each pair of a record and a paper with the same DOI or PubMed id.

    ``founds`` are the papers that a service found.
    """
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
