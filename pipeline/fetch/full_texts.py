"""Download free full texts of papers."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mechtag.core.files import replacing
from mechtag.core.records import Record
from mechtag.pipeline.fetch import europepmc, unpaywall
from mechtag.pipeline.fetch.found import Found, Link, time_of
from mechtag.pipeline.fetch.gaps import Progress, Result, Wanted
from mechtag.pipeline.fetch.merge import Fetched
from mechtag.pipeline.fetch.requests import Answer, Request, Service, UselessAnswer
from mechtag.pipeline.fetch.transport import Transport
from mechtag.pipeline.fetch.unpublishable import is_open

# Sites of publishers and repositories; each host has its own limit.
_SITES = Service("site", "web site", "", rate=1)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 100


def fetch_full_texts(
    result: Result,
    folder: Path | None,
    wanted: Wanted,
    transport: Transport,
    progress: Progress,
    *,
    any_licence: bool = False,
) -> list[Fetched]:
    """Download free full texts, at most one per record; return one row per downloaded file.

    Records about which no service was asked are skipped. JATS XML from the open-access subset of Europe PMC is
    preferred. If there is no such file, the free PDFs that Unpaywall and OpenAlex list are tried in order.

    Parameters
    ----------
    result
        Result of `gaps.fill`, which asked the services.
    folder
        Folder for the files, which are named by record id. If ``None``, files are downloaded, but not saved.
    any_licence
        Whether PDFs without a Creative Commons licence are downloaded, too.
    """
    asked = set(result.asked)
    records = [record for record in result.records if record.record_id in asked]
    fetched = []
    with progress("fetching full texts", len(records)) as advance:
        for record, name in zip(records, file_names(records), strict=True):
            founds = result.found.get(record.record_id, ())
            if (text := _text_of(record, founds, wanted, transport, any_licence)) is not None:
                fetched.append(_save(record, name, folder, *text))
            advance(1)
    return fetched


def _text_of(
    record: Record, founds: Sequence[Found], wanted: Wanted, transport: Transport, any_licence: bool
) -> tuple[str, str, str, Answer] | None:
    """Return extension, service, licence and content of the first available full text; ``None`` if there is none."""
    for found in founds:
        if found.open_pmcid and (answer := transport.ask(europepmc.full_text(found.open_pmcid))) and answer.found:
            return ".xml", found.service.name, found.licence, answer
    for source, link in _links(record, founds, wanted, transport):
        if any_licence or is_open(link.licence):
            answer = transport.ask(Request(_SITES, link.url, check=_check_pdf))
            if answer and answer.found:
                return ".pdf", source, link.licence, answer
    return None


def _links(record: Record, founds: Sequence[Found], wanted: Wanted, transport: Transport) -> Iterator[tuple[str, Link]]:
    known = set()
    if unpaywall.SERVICE.name in wanted.sources:
        for link in unpaywall.links(record, transport):
            known.add(link.url)
            yield unpaywall.SERVICE.name, link
    for found in founds:
        yield from ((found.service.name, link) for link in found.links if link.url not in known)


def _check_pdf(body: bytes) -> None:
    if b"%PDF-" not in body[:1024]:
        raise UselessAnswer("the downloaded file is not a PDF; it may be a web page. Download the paper yourself")


def _save(
    record: Record, name: str, folder: Path | None, ending: str, source: str, licence: str, answer: Answer
) -> Fetched:
    if folder:
        with replacing(folder / f"{name}{ending}") as part:
            part.write_bytes(answer.body)
    sha256 = hashlib.sha256(answer.body).hexdigest()
    return Fetched(
        record.record_id, "full-text", source, answer.url, time_of(answer), licence or "unknown", None, sha256
    )


def file_names(records: Sequence[Record]) -> list[str]:
    """Return one file name per record, without extension; all names are different."""
    names = [_NOT_IN_NAMES.sub("_", record.record_id)[:_LONGEST_NAME] for record in records]
    # Some systems do not distinguish capitals in names.
    shared = Counter(name.casefold() for name in names)
    return [
        name if shared[name.casefold()] == 1 else f"{name}-{hashlib.sha256(record.record_id.encode()).hexdigest()[:8]}"
        for name, record in zip(names, records, strict=True)
    ]
