"""Ask Semantic Scholar about papers by DOI or PubMed id (https://api.semanticscholar.org/api-docs/graph)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mechtag.core.records import Record
from mechtag.pipeline.fetch.found import Found, Pair, pairs, record_of, time_of
from mechtag.pipeline.fetch.requests import Answer, Request, Service, ask_for_all, readable_json
from mechtag.pipeline.fetch.transport import Transport
from mechtag.pipeline.reading.formats.json_items import text
from mechtag.pipeline.reading.formats.semantic_scholar import FORMAT

SERVICE = Service(
    *("semantic_scholar", "Semantic Scholar", "https://api.semanticscholar.org/graph/v1"),
    rate=0.9,
    key_variable="S2_API_KEY",
    key_header="x-api-key",
)
#: Maximum number of records of one call of `look_up`.
BATCH = 500
_FIELDS = "title,abstract,year,authors,externalIds,journal,url"


def look_up(records: Sequence[Record], transport: Transport) -> Iterator[Pair]:
    """Look up records in Semantic Scholar by DOI or PubMed id.

    Yield each record that is found, together with Semantic Scholar's description of the paper.
    """
    names = [
        f"DOI:{record.doi}" if record.doi else f"PMID:{record.pmid}" for record in records if record.doi or record.pmid
    ]
    if names:
        for answer in ask_for_all(list(dict.fromkeys(names)), _request, transport.ask):
            yield from pairs(records, _read(answer))


def _request(names: Sequence[str]) -> Request:
    body = json.dumps({"ids": list(names)})
    return Request(SERVICE, "/paper/batch", (("fields", _FIELDS),), body, _check)


def _check(body: bytes) -> None:
    if not isinstance(readable_json(body), list):
        raise ValueError("Semantic Scholar's answer is not a list of papers; try again later")


def _read(answer: Answer) -> Iterator[Found]:
    for item in answer.json():  # ``None`` for each paper that is not known
        if isinstance(item, dict) and (record := record_of(FORMAT, list(item.items()), SERVICE)):
            yield Found(record, SERVICE, text(item, "url"), time_of(answer))
