"""Ask PubMed about papers, by PubMed id (https://www.ncbi.nlm.nih.gov/books/NBK25499/)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from mechtag.core.records import Record
from mechtag.core.source import Source
from mechtag.pipeline.fetch.found import Found, Pair, pairs, record_of, time_of
from mechtag.pipeline.fetch.requests import Answer, Request, Service, ask_for_all
from mechtag.pipeline.fetch.transport import Transport
from mechtag.pipeline.reading.formats.pubmed_xml import FORMAT
from mechtag.pipeline.reading.markup import every

SERVICE = Service(
    *("pubmed", "PubMed", "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"),
    rate=2.5,
    keyed_rate=9,
    key_variable="NCBI_API_KEY",
    key_parameter="api_key",
    email_parameter="email",
)
#: Maximum number of records of one call of `look_up`.
BATCH = 200
_ENDS = (b"</PubmedArticleSet>", b"<PubmedArticleSet/>", b"<PubmedArticleSet></PubmedArticleSet>")


def look_up(records: Sequence[Record], transport: Transport) -> Iterator[Pair]:
    """Look up records in PubMed by PubMed id.

    Yield each record that is found, together with PubMed's description of the paper.
    """
    pmids = list(dict.fromkeys(record.pmid for record in records if record.pmid))
    if pmids:
        for answer in ask_for_all(pmids, _request, transport.ask):
            yield from pairs(records, _read(answer))


def _request(pmids: Sequence[str]) -> Request:
    parameters = (("db", "pubmed"), ("id", ",".join(pmids)), ("retmode", "xml"), ("tool", "mechtag"))
    return Request(SERVICE, "/efetch.fcgi", parameters, check=_check)


def _check(body: bytes) -> None:
    if not body.rstrip().endswith(_ENDS) or b"<!ENTITY" in body:
        raise ValueError("PubMed's answer is not a set of articles, or is cut off; try again later")


def _read(answer: Answer) -> Iterator[Found]:
    source = Source(Path(SERVICE.label), opener=lambda: io.BytesIO(answer.body))
    for entry in FORMAT.read(source):
        record = None if entry.fault else record_of(FORMAT, entry.fields, SERVICE)
        if record:
            comments = every(entry.fields, "MedlineCitation", "CommentsCorrectionsList", "CommentsCorrections")
            notices = [one.get("@RefType", "") for one in comments if isinstance(one, dict)]
            retracted = "RetractionIn" in notices or "retracted publication" in (record.type or "").casefold()
            url = f"https://pubmed.ncbi.nlm.nih.gov/{record.pmid}/"
            yield Found(record, SERVICE, url, time_of(answer), retracted=retracted)
