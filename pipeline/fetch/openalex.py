"""Ask OpenAlex about papers and their citations (https://docs.openalex.org/api-entities/works).

Without a key, only requests for single papers are sent, because these are free. Searches and lists need a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mechtag.core.records import Record, normalise_title
from mechtag.pipeline.fetch.found import Found, Link, Pair, objects, pairs, record_of, time_of
from mechtag.pipeline.fetch.requests import Answer, Request, Service, ask_for_all, readable_json
from mechtag.pipeline.fetch.transport import Transport
from mechtag.pipeline.reading.formats.json_items import at, many, text
from mechtag.pipeline.reading.formats.openalex import FORMAT

SERVICE = Service(
    *("openalex", "OpenAlex", "https://api.openalex.org"),
    rate=5,
    key_variable="OPENALEX_API_KEY",
    key_parameter="api_key",
    email_parameter="mailto",
)
#: Maximum number of records of one call of `look_up`.
BATCH = 100
# Prices in US dollars of a list and of a search.
_LIST, _SEARCH = 0.0001, 0.001
_CANDIDATES = 5
# The largest proportion of words that may be missing in an abstract.
_MOST_GAPS, _GAP = 0.2, "…"
_FIELDS = (
    "id,doi,ids,title,authorships,publication_year,primary_location,biblio,type,language,abstract_inverted_index,"
    "is_retracted,best_oa_location,referenced_works"
)


def look_up(records: Sequence[Record], transport: Transport) -> Iterator[Pair]:
    """Look up records in OpenAlex by DOI or PubMed id.

    Yield each record that is found, together with OpenAlex's description of the paper.
    """
    if not transport.has_key(SERVICE):
        for record in records:
            if record.doi or record.pmid:
                yield from ((record, found) for found in _one(_name(record), transport))
        return
    dois = [record.doi for record in records if record.doi and not set("|,").intersection(record.doi)]
    pmids = [record.pmid for record in records if record.pmid and not record.doi]
    for name, values in (("doi", dois), ("pmid", pmids)):
        yield from pairs(records, _listed(name, list(dict.fromkeys(filter(None, values))), transport))


def _name(record: Record) -> str:
    return f"doi:{quote(record.doi, safe='/:')}" if record.doi else f"pmid:{record.pmid}"


def _one(name: str, transport: Transport) -> Iterator[Found]:
    """Yield the paper with an identifier such as ``W123`` or ``doi:10.1000/1``, if OpenAlex knows the paper."""
    answer = transport.ask(Request(SERVICE, f"/works/{name}", (("select", _FIELDS),)))
    if answer and answer.found:
        yield from _read(answer)


def _listed(name: str, values: Sequence[str], transport: Transport) -> Iterator[Found]:
    def request(some: Sequence[str]) -> Request:
        parameters = (("filter", f"{name}:{'|'.join(some)}"), ("per-page", str(BATCH)), ("select", _FIELDS))
        return Request(SERVICE, "/works", parameters, check=_check, cost=_LIST)

    for start in range(0, len(values), BATCH):
        for answer in ask_for_all(values[start : start + BATCH], request, transport.ask):
            yield from _read(answer)


def _check(body: bytes) -> None:
    if "results" not in readable_json(body):
        raise ValueError("OpenAlex's answer contains no list of papers; try again later")


def search(record: Record, transport: Transport) -> Iterator[Found]:
    """Search OpenAlex for the title of a record; yield a description of each paper that is found.

    Without an OpenAlex key, nothing is searched.
    """
    if transport.has_key(SERVICE):
        words = normalise_title(record.title)
        parameters = (("filter", f"title.search:{words}"), ("per-page", str(_CANDIDATES)), ("select", _FIELDS))
        answer = transport.ask(Request(SERVICE, "/works", parameters, check=_check, cost=_SEARCH))
        if answer and answer.found:
            yield from _read(answer)


def works(identifiers: Sequence[str], transport: Transport) -> Iterator[Found]:
    """Look up papers by their OpenAlex identifiers, such as ``W123``; yield a description of each paper found."""
    if transport.has_key(SERVICE):
        yield from _listed("openalex", identifiers, transport)
        return
    for identifier in identifiers:
        yield from _one(identifier, transport)


def citing(work: str, transport: Transport) -> Iterator[Found]:
    """Yield the papers that cite a paper; ``work`` is the OpenAlex identifier of the cited paper.

    OpenAlex lists these papers only for users with a key. Without a key, nothing is yielded.
    """
    cursor = "*" if transport.has_key(SERVICE) else ""
    while cursor:
        parameters = (
            *(("filter", f"cites:{work}"), ("per-page", str(BATCH))),
            *(("cursor", cursor), ("select", _FIELDS)),
        )
        answer = transport.ask(Request(SERVICE, "/works", parameters, check=_check, cost=_LIST))
        if not (answer and answer.found):
            return
        yield from _read(answer)
        cursor = text(answer.json(), "meta", "next_cursor") if many(answer.json(), "results") else ""


def _read(answer: Answer) -> Iterator[Found]:
    content = answer.json()
    for item in objects(content, "results") if "results" in content else objects(content):
        if found := _described(item, answer):
            yield found


def _described(item: Mapping[str, Any], answer: Answer) -> Found | None:
    index = mark_gaps(item.get("abstract_inverted_index"))
    record = record_of(FORMAT, list({**item, "abstract_inverted_index": index}.items()), SERVICE)
    if not record:
        return None
    location = at(item, "best_oa_location")
    licence = text(location, "license")
    link = text(location, "pdf_url")
    return Found(
        record,
        SERVICE,
        text(item, "id"),
        time_of(answer),
        licence=text(item, "primary_location", "license"),
        retracted=item.get("is_retracted") is True,
        links=(Link(link, licence),) if link else (),
        work=_identifier(text(item, "id")),
        references=tuple(map(_identifier, map(text, many(item, "referenced_works")))),
    )


def _identifier(url: str) -> str:
    return url.rpartition("/")[2]


def mark_gaps(index: Any) -> dict[str, list[int]] | None:
    """Return the inverted index of an abstract, with an ellipsis at each position that has no word.

    An inverted index is a dict of positions, keyed by word. If the index is not valid, or if too many positions have
    no word, the result is ``None``.
    """
    if not isinstance(index, dict):
        return None
    words = {
        str(word): [place for place in places if type(place) is int and place >= 0]
        for word, places in index.items()
        if isinstance(places, list)
    }
    taken = {place for places in words.values() for place in places}
    if not taken:
        return None
    # A single wrong position must not make the list of gaps longer than the text.
    missing = max(taken) + 1 - len(taken)
    if missing > _MOST_GAPS * (max(taken) + 1):
        return None
    gaps = [place for place in range(max(taken)) if place not in taken]
    return {**words, _GAP: [*words.get(_GAP, []), *gaps]} if gaps else words
