"""Ask Crossref about papers, by DOI or title (https://api.crossref.org/swagger-ui/index.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mechtag.core.records import Record
from mechtag.pipeline.fetch.found import Found, Pair, objects, pairs, record_of, time_of
from mechtag.pipeline.fetch.requests import Answer, Request, Service, ask_for_all, readable_json
from mechtag.pipeline.fetch.transport import Transport
from mechtag.pipeline.reading.formats.csl_json import FORMAT
from mechtag.pipeline.reading.formats.json_items import many, text

SERVICE = Service("crossref", "Crossref", "https://api.crossref.org", rate=5, email_parameter="mailto")
#: Maximum number of records of one call of `look_up`.
BATCH = 50
_CANDIDATES = 5


def look_up(records: Sequence[Record], transport: Transport) -> Iterator[Pair]:
    """Look up records in Crossref by DOI.

    Yield each record that is found, together with Crossref's description of the paper.
    """
    dois = list(dict.fromkeys(record.doi for record in records if record.doi))
    # A comma separates the values of a filter.
    listed = [doi for doi in dois if "," not in doi]
    if listed:
        for answer in ask_for_all(listed, _request, transport.ask):
            yield from pairs(records, _read(objects(answer.json(), "message", "items"), answer))
    for doi in dois:
        if "," in doi:
            found = transport.ask(Request(SERVICE, f"/works/{quote(doi, safe='/:')}", check=_check))
            if found and found.found:
                yield from pairs(records, _read(objects(found.json(), "message"), found))


def _request(dois: Sequence[str]) -> Request:
    parameters = (("filter", ",".join(f"doi:{doi}" for doi in dois)), ("rows", str(2 * BATCH)))
    return Request(SERVICE, "/works", parameters, check=_check)


def _check(body: bytes) -> None:
    if "message" not in readable_json(body):
        raise ValueError("Crossref's answer contains no list of papers; try again later")


def search(record: Record, transport: Transport) -> Iterator[Found]:
    """Search Crossref for the title and first author of a record; yield a description of each paper that is found."""
    family = record.authors[0].split(",")[0] if record.authors else ""
    query = " ".join(f"{record.title} {family}".split())
    parameters = (("query.bibliographic", query), ("rows", str(_CANDIDATES)))
    answer = transport.ask(Request(SERVICE, "/works", parameters, check=_check))
    if answer and answer.found:
        yield from _read(objects(answer.json(), "message", "items"), answer)


def _read(items: Sequence[Mapping[str, Any]], answer: Answer) -> Iterator[Found]:
    for item in items:
        if record := record_of(FORMAT, list(item.items()), SERVICE):
            licences = [text(licence, "URL") for licence in many(item, "license")]
            updates = [text(update, "type") for update in many(item, "updated-by")]
            yield Found(
                record,
                SERVICE,
                f"{SERVICE.address}/works/{quote(record.doi or '', safe='/:')}",
                time_of(answer),
                licence=next((url for url in licences if "creativecommons.org" in url), ""),
                retracted="retraction" in updates,
            )
