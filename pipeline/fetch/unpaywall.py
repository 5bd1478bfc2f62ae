"""Ask Unpaywall for the URLs of free PDFs of papers (https://unpaywall.org/products/api)."""

from __future__ import annotations

from urllib.parse import quote

from mechtag.core.records import Record
from mechtag.pipeline.fetch.found import Link
from mechtag.pipeline.fetch.requests import Request, Service, readable_json
from mechtag.pipeline.fetch.transport import Transport
from mechtag.pipeline.reading.formats.json_items import at, many, text

SERVICE = Service("unpaywall", "Unpaywall", "https://api.unpaywall.org/v2", rate=5, email_parameter="email")


def links(record: Record, transport: Transport) -> list[Link]:
    """Return the URLs and licences of free PDFs of a record's paper, the best PDF first.

    If the record has no DOI, or if Unpaywall lists no PDF, the list is empty.
    """
    if not record.doi:
        return []
    answer = transport.ask(Request(SERVICE, f"/{quote(record.doi, safe='/:')}", check=_check))
    if not (answer and answer.found):
        return []
    content = answer.json()
    places = [at(content, "best_oa_location"), *many(content, "oa_locations")]
    found = [Link(url, text(place, "license")) for place in places if (url := text(place, "url_for_pdf"))]
    return list(dict.fromkeys(found))


def _check(body: bytes) -> None:
    if "doi" not in readable_json(body):
        raise ValueError("Unpaywall's answer does not describe a paper; try again later")
