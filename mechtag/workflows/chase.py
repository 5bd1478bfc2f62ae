"""Search for papers by citations: papers that included papers cite, and papers that cite included papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mechtag.core.files import write_csv, write_text
from mechtag.core.outputs import check_outputs
from mechtag.core.records import Record
from mechtag.core.settings import DedupeSettings
from mechtag.core.words import counted
from mechtag.pipeline.export.ris import writing_records
from mechtag.pipeline.fetch import openalex
from mechtag.pipeline.fetch.cache import NAME, Cache
from mechtag.pipeline.fetch.citations import MOST, Chase, Chased, Chaser, Direction
from mechtag.pipeline.reading.ingest import read_sources, read_unique
from mechtag.workflows.reporter import SILENT, Reporter
from mechtag.workflows.web_access import Access, plan, refuse_unfinished, unanswered

_PAPERS = ("record_id", "title", "year", "doi", "pmid", "seeds", "found_via")
_SEEDS = ("record_id", "title", "source", "backward", "forward")
_SHOWN = 5
_TOO_LOW = "the counts may be too low, because requests were not answered; run the command again before you use them"


def chase(
    source: Path,
    output: Path,
    access: Access,
    *,
    known: Sequence[Path] = (),
    directions: Sequence[Direction],
    sources: Sequence[str],
    rounds: int = 1,
    settings: DedupeSettings,
    dry_run: bool = False,
    reporter: Reporter = SILENT,
) -> Iterator[str]:
    """Find papers by citations, write new papers to a RIS file, and yield messages that describe the results.

    Parameters
    ----------
    source
        Records of the included papers, without duplicates.
    output
        RIS file to which the papers are written. Tables and the cache of answers are written to the same folder.
    known
        Files of records that were found before. These records are left out of the output.
    directions
        Directions in which to follow citations: ``backward``, ``forward``, or both.
    sources
        Names of the services to ask.
    rounds
        ``1`` to follow the citations of the included papers. ``2`` to also follow the citations of the papers that the
        first round finds.
    settings
        Settings for recognising duplicates.
    dry_run
        Whether only to list the requests of the first step. If true, nothing is sent or written.

    Raises
    ------
    MechtagError
        If requests have to be sent, but no e-mail address was passed; if the records cannot be read; if a result would
        overwrite an input file; or if a service asks for a pause of more than ten minutes. The error about a pause is
        raised after all results are written.
    """
    if not dry_run:
        access.check()
    tables = [output.with_name(f"{output.stem}{end}") for end in (".csv", "_seeds.csv", "_counts.yaml")]
    check_outputs((output, *tables), (source, *known))
    included = read_unique(source, reporter.note)
    before = read_sources(known, reporter.note) if known else []
    if not dry_run:
        output.parent.mkdir(parents=True, exist_ok=True)
    quiet = SILENT if dry_run else reporter
    with (
        Cache(output.with_name(NAME), read_only=dry_run or access.offline) as cache,
        access.connect(cache, quiet, dry=dry_run) as transport,
    ):
        found = Chaser(directions, sources, transport, settings, quiet.progress).chase(included, before, rounds)
        if dry_run:
            yield from plan(transport)
            return
        complete = not (transport.unsent or transport.failures or transport.paused)
        _write(output, tables, found, complete)
        yield from _describe(found, included, output, tables, complete)
        if "forward" in directions and openalex.SERVICE.name in sources and not transport.has_key(openalex.SERVICE):
            yield (
                f"{openalex.SERVICE.label} was not asked for citing papers, which it lists only for users with a key "
                f"(environment variable {openalex.SERVICE.key_variable})"
            )
        yield from unanswered(transport)
        refuse_unfinished(transport)


def _write(output: Path, tables: Sequence[Path], found: Chase, complete: bool) -> None:
    papers, seeds, counts = tables
    warning = "" if complete else f"# {_TOO_LOW[0].upper()}{_TOO_LOW[1:]}.\n"
    with writing_records(output) as write:
        for paper in found.papers:
            notes = [("N1", f"mechtag citation searching: {step}") for step in paper.steps]
            write(paper.record, notes, lambda tag, value: False)
    write_csv(papers, _PAPERS, map(_row, found.papers), bom=True)
    rows = ((one.record.record_id, one.record.title, one.source, one.backward, one.forward) for one in found.seeds)
    write_csv(seeds, _SEEDS, rows, bom=True)
    write_text(
        counts,
        "# For the file of counts of 'mechtag prisma' (docs/prisma.md). Records that you exclude by title or abstract\n"
        "# have to be added to records_excluded, which holds the papers that were known already.\n"
        f"{warning}"
        "other_methods:\n"
        "  sources:\n"
        f"    Citation searching: {found.identified}\n"
        f"  records_excluded: {found.known}\n",
    )


def _row(paper: Chased) -> Sequence[object]:
    record = paper.record
    via = "; ".join(map(str, paper.steps))
    return record.record_id, record.title, record.year, record.doi, record.pmid, paper.seeds, via


def _describe(
    found: Chase, included: Sequence[Record], output: Path, tables: Sequence[Path], complete: bool
) -> Iterator[str]:
    yield (
        f"{output}: {counted(len(found.papers), 'new paper')}; citation searching found {found.identified}, of which "
        f"{found.known} were known"
    )
    if not found.complete:
        yield f"the search ended after {MOST:,} papers; choose fewer included papers, or one direction or round"
    reached = {one.record.record_id for one in found.seeds if (one.backward, one.forward) != (None, None)}
    missed = [record for record in included if record.record_id not in reached]
    if missed:
        titles = "; ".join(record.title for record in missed[:_SHOWN])
        more = f"; and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
        papers = counted(len(missed), "included paper")
        about = f"no service knows {papers}" if complete else f"no answer describes {papers}"
        yield f"{tables[1]}: {about}: {titles}{more}"
    yield f"{tables[2]}: counts for 'mechtag prisma --elsewhere'" + ("" if complete else f"; {_TOO_LOW}")
