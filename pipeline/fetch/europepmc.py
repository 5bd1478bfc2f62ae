"""Ask Europe PMC about papers, their full texts and citations (https://europepmc.org/RestfulWebService)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.records import Record
from mechtag.pipeline.fetch.found import Found, Pair, objects, pairs, record_of, time_of
from mechtag.pipeline.fetch.requests import Answer, Request, Service, ask_for_all, readable_json
from mechtag.pipeline.fetch.transport import Transport
from mechtag.pipeline.reading.formats.europe_pmc import FORMAT
from mechtag.pipeline.reading.formats.json_items import many, text

SERVICE = Service("europepmc", "Europe PMC", "https://www.ebi.ac.uk/europepmc/webservices/rest", rate=5)
#: Maximum number of records of one call of `look_up`.
BATCH = 50
_PAGE, _CANDIDATES = 1000, 5
_LISTS = {"references": ("referenceList", "reference"), "citations": ("citationList", "citation")}
_OUTSIDE_QUERIES = str.maketrans('"\\', "  ")


def look_up(records: Sequence[Record], transport: Transport) -> Iterator[Pair]:
    """Look up records in Europe PMC by DOI or PubMed id.

    Yield each record that is found, together with Europe PMC's description of the paper.
    """
    terms = list(dict.fromkeys(term for record in records if (term := _term(record))))
    if terms:
        for answer in ask_for_all(terms, _query, transport.ask):
            yield from pairs(records, _read(answer))


def _term(record: Record) -> str:
    if record.doi:
        return f'DOI:"{record.doi.translate(_OUTSIDE_QUERIES)}"'
    return f"(EXT_ID:{record.pmid} AND SRC:MED)" if record.pmid else ""


def _query(terms: Sequence[str], size: int = _PAGE) -> Request:
    parameters = (
        *(("query", " OR ".join(terms)), ("resultType", "core")),
        *(("format", "json"), ("pageSize", str(size))),
    )
    return Request(SERVICE, "/search", parameters, check=_check)


def _check(body: bytes) -> None:
    if "resultList" not in readable_json(body):
        raise ValueError("Europe PMC's answer contains no list of papers; try again later")


def search(record: Record, transport: Transport) -> Iterator[Found]:
    """Search Europe PMC for the title of a record; yield a description of each paper that is found."""
    words = " ".join(record.title.translate(_OUTSIDE_QUERIES).split())
    answer = transport.ask(_query([f'TITLE:"{words}"'], _CANDIDATES))
    if answer and answer.found:
        yield from _read(answer)


def _read(answer: Answer) -> Iterator[Found]:
    for item in objects(answer.json(), "resultList", "result"):
        if record := record_of(FORMAT, list(item.items()), SERVICE):
            kinds = [text(kind).casefold() for kind in many(item, "pubTypeList", "pubType")]
            notices = [text(one, "type") for one in many(item, "commentCorrectionList", "commentCorrection")]
            source, identifier = text(item, "source"), text(item, "id")
            yield Found(
                record,
                SERVICE,
                f"https://europepmc.org/article/{source}/{identifier}",
                time_of(answer),
                licence=text(item, "license"),
                retracted="retracted publication" in kinds or "Retraction in" in notices,
                open_pmcid=text(item, "pmcid") if text(item, "isOpenAccess") == "Y" else "",
                work=f"{source}/{identifier}",
            )


def full_text(pmcid: str) -> Request:
    """Return a request for the full text (JATS XML) of the paper with this PMC id."""
    return Request(SERVICE, f"/{pmcid}/fullTextXML", check=_check_article)


def _check_article(body: bytes) -> None:
    if b"<article" not in body[:4096] or not body.rstrip().endswith(b"</article>"):
        raise ValueError("the full text from Europe PMC is not an article in JATS XML, or is cut off; try again later")


def cited(work: str, direction: str, transport: Transport) -> Iterator[Found]:
    """Yield the papers that a paper cites, or the papers that cite it, according to Europe PMC.

    Parameters
    ----------
    work
        Identifier of the paper in Europe PMC, such as ``MED/12345678``; see `Found.work`.
    direction
        ``references`` to yield the papers that the paper cites; ``citations`` to yield the papers that cite it.
    """
    page, left = 1, 1
    while left > 0:
        parameters = (("page", str(page)), ("pageSize", str(_PAGE)), ("format", "json"))
        answer = transport.ask(Request(SERVICE, f"/{work}/{direction}", parameters))
        if not (answer and answer.found):
            return
        content = answer.json()
        items = objects(content, *_LISTS[direction])
        yield from (found for item in items if (found := _cited(item, answer)))
        page, left = page + 1, _number(content, "hitCount") - page * _PAGE if items else 0


def _number(content: Any, name: str) -> int:
    value = text(content, name)
    return int(value) if value.isdecimal() else 0


def _cited(item: Mapping[str, Any], answer: Answer) -> Found | None:
    source, identifier = text(item, "source"), text(item, "id")
    described = {**item, "pmid": identifier if source == "MED" else "", "journalTitle": item.get("journalAbbreviation")}
    record = record_of(FORMAT, list(described.items()), SERVICE)
    url = f"https://europepmc.org/article/{source}/{identifier}" if identifier else ""
    work = f"{source}/{identifier}" if identifier else ""
    return Found(record, SERVICE, url, time_of(answer), work=work) if record else None
