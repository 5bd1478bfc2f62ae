"""Fetch missing abstracts, identifiers and free full texts of records from web services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mechtag.core.files import write_csv
from mechtag.core.outputs import check_outputs
from mechtag.core.parquet import write_records
from mechtag.core.records import Record
from mechtag.core.words import counted
from mechtag.pipeline.fetch.cache import NAME, Cache
from mechtag.pipeline.fetch.full_texts import fetch_full_texts
from mechtag.pipeline.fetch.gaps import SERVICES, Result, Wanted, fill
from mechtag.pipeline.fetch.merge import Fetched
from mechtag.pipeline.fulltext.attached_tables import output_paths, refuse_filled
from mechtag.pipeline.reading.ingest import read_unique
from mechtag.workflows.attach import attach
from mechtag.workflows.reporter import SILENT, Reporter
from mechtag.workflows.web_access import Access, ignore_in_git, plan, refuse_unfinished, unanswered

_CANDIDATES = (
    *("record_id", "title", "year", "reason", "likeness", "source", "candidate_title", "candidate_year"),
    *("candidate_authors", "candidate_doi", "candidate_pmid", "url"),
)
_FILES = "fulltexts"


def fetch(
    source: Path,
    output: Path,
    wanted: Wanted,
    access: Access,
    *,
    dry_run: bool = False,
    discard_abstracts: bool = False,
    any_licence: bool = False,
    reporter: Reporter = SILENT,
) -> Iterator[str]:
    """Fetch missing fields of records, and yield messages that describe the results.

    The completed records are written to a folder.

    Parameters
    ----------
    source
        Records without duplicates, as a parquet table or a search export.
    output
        Folder to write to, which also contains the cache of answers.
    wanted
        Fields to fetch, and services to ask.
    dry_run
        Whether only to list the requests, without sending or writing anything.
    discard_abstracts
        Whether to discard the abstracts in the records, so that all abstracts are fetched.
    any_licence
        Whether to also download free PDFs that have no Creative Commons licence.

    Raises
    ------
    MechtagError
        If requests have to be sent, but no e-mail address was passed; if the records cannot be read; or if a service
        asks for a pause of more than ten minutes. The error about a pause is raised after all results are written.
    """
    if not dry_run:
        access.check()
    paths = [output / name for name in ("records.parquet", "fetched.csv", "candidates.csv")]
    check_outputs(paths, [source])
    if "full-text" in wanted.what:
        refuse_filled(output_paths(output).unmatched)
    records = read_unique(source, reporter.note)
    if discard_abstracts:
        records = [record.model_copy(update={"abstract": ""}) for record in records]
    if not dry_run:
        ignore_in_git(output)
    quiet = SILENT if dry_run else reporter
    with (
        Cache(output / NAME, read_only=dry_run or access.offline) as cache,
        access.connect(cache, quiet, dry=dry_run) as transport,
    ):
        result = fill(records, wanted, transport, quiet.progress)
        folder, texts = None if dry_run else output / _FILES, []
        if "full-text" in wanted.what:
            texts = fetch_full_texts(result, folder, wanted, transport, quiet.progress, any_licence=any_licence)
        if dry_run:
            yield from plan(transport)
            return
        _write(paths, result, texts)
        yield from _describe(records, result, wanted, *paths)
        if texts:
            yield f"{output / _FILES}: {counted(len(texts), 'full text')} downloaded"
            yield from attach([output / _FILES], paths[0], output, reporter=reporter)
        yield from unanswered(transport)
        refuse_unfinished(transport)


def _write(paths: Sequence[Path], result: Result, texts: Sequence[Fetched]) -> None:
    records, fetched, candidates = paths
    write_records(records, result.records)
    places = {record.record_id: place for place, record in enumerate(result.records)}
    rows = sorted((*result.fetched, *texts), key=lambda row: places[row.record_id])
    write_csv(fetched, Fetched._fields, rows, bom=True)
    write_csv(candidates, _CANDIDATES, (_candidate_row(result, place) for place in range(len(result.candidates))), True)


def _candidate_row(result: Result, place: int) -> Sequence[object]:
    record, found, verdict = result.candidates[place]
    other = found.record
    return (
        *(record.record_id, record.title, record.year, verdict.doubt, verdict.likeness, found.service.name),
        *(other.title, other.year, "; ".join(other.authors), other.doi, other.pmid, found.url),
    )


def _describe(
    before: Sequence[Record], result: Result, wanted: Wanted, records: Path, fetched: Path, candidates: Path
) -> Iterator[str]:
    yield f"{records}: {counted(len(result.records), 'record')} written; services were asked about {len(result.asked)}"
    for name, kind in (("abstract", "abstract"), ("identifiers", "doi")):
        if name in wanted.what:
            lacking = sum(not getattr(record, kind) for record in before)
            found = Counter(SERVICES[row.source].label for row in result.fetched if row.field == kind)
            left = sum(not getattr(record, kind) for record in result.records)
            origin = f" ({', '.join(f'{label} {count}' for label, count in found.items())})" if found else ""
            label = "an abstract" if kind == "abstract" else "a DOI"
            yield f"{counted(lacking, 'record')} lacked {label}: {found.total()} found{origin}, {left} still missing"
    if retracted := [row.record_id for row in result.fetched if row.field == "retraction"]:
        papers = f"{counted(len(retracted), 'paper')} {'was' if len(retracted) == 1 else 'were'}"
        yield f"{fetched}: according to a service, {papers} retracted; see the rows 'retraction'"
    if result.candidates:
        one = {candidate.record.record_id for candidate in result.candidates}
        yield (
            f"{candidates}: possible matches were found for {counted(len(one), 'record')}, but none is certain; if "
            "a paper is the right one, enter its DOI in your records and run the command again"
        )
