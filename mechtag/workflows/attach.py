"""Attach full texts to records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from mechtag.core.outputs import check_outputs
from mechtag.core.words import counted
from mechtag.pipeline.dedupe.merged import MergedRecords, groups_beside, read_merged, read_merged_beside
from mechtag.pipeline.fulltext.attached_tables import output_paths, refuse_filled, write_tables
from mechtag.pipeline.fulltext.attaching import Attached, Matcher, find_files, read_map
from mechtag.pipeline.fulltext.attaching import attach as attach_files
from mechtag.pipeline.fulltext.grobid import GrobidReader, check_address
from mechtag.pipeline.fulltext.isolated import IsolatedReader
from mechtag.pipeline.fulltext.ocr import find_program
from mechtag.pipeline.reading.ingest import read_unique
from mechtag.workflows.reporter import SILENT, Reporter

_SHOWN = 5


def attach(
    sources: Sequence[Path],
    source: Path,
    output: Path,
    map_file: Path | None = None,
    *,
    groups: Sequence[Path] = (),
    ocr: str | None = None,
    grobid: str | None = None,
    send_files: bool = False,
    reporter: Reporter = SILENT,
) -> list[str]:
    """Read full texts, find the record of each full text, and write the full texts to a table.

    Parameters
    ----------
    sources
        Full-text files, and folders that contain full-text files.
    source
        Records without duplicates, as a parquet table or a search export.
    output
        Parquet file to write the full texts to; if a folder is passed, this is ``fulltexts.parquet`` in the folder.
        The lists of attached, unmatched and rejected files are written to the same folder.
    map_file
        Table in which a person assigned files to records.
    groups
        Tables of merged records (``groups.csv``). By default, if ``source`` is a parquet table, the ``groups.csv`` next
        to it is read.
    ocr
        Program that recognises the text of scanned pages: ``tesseract``. By default, scans are rejected.
    grobid
        Address of a GROBID server that reads PDFs.
    send_files
        Whether files may be sent to a GROBID server on a different machine.

    Returns
    -------
    list of str
        Sentences that state the numbers of files, and what to do about the files that were not attached.
    """
    program = find_program(ocr) if ocr else None
    address = check_address(grobid, may_send=send_files) if grobid else None
    paths = output_paths(output)
    beside = None if groups else groups_beside(source)
    given = [path for path in (source, map_file, beside, *groups) if path]
    check_outputs(paths, (*given, *(path for path in sources if not path.is_dir())))
    refuse_filled(paths.unmatched)
    records = read_unique(source, reporter.note)
    found = find_files(sources, (*given, *paths))
    if found.ignored:
        kinds = ", ".join(f"{count} {ending}" for ending, count in found.ignored.items())
        reporter.note(f"note: some files in the folders are not full texts and were not read: {kinds}")
    rows = read_merged_beside(beside, reporter.note) if beside else read_merged(groups)
    merged = MergedRecords(rows, frozenset(record.record_id for record in records))
    assigned = read_map(map_file, records, found.files, merged) if map_file else {}
    matcher = Matcher(records, found.files, assigned, merged)
    with ExitStack() as stack:
        isolated = stack.enter_context(IsolatedReader(program=program))
        reader = stack.enter_context(GrobidReader(address, found.files, isolated)) if address else isolated
        advance = stack.enter_context(reporter.progress("reading full texts", len(found.files)))
        result = attach_files(found.files, matcher, reader.read, paths.full_texts, advance)
    write_tables(paths, result)
    return list(_describe(result, len(records), *paths))


def _describe(
    result: Attached, records: int, full_texts: Path, attached: Path, unmatched: Path, rejected: Path
) -> list[str]:
    said = [
        f"{full_texts}: {len(result.attached)} of {counted(records, 'record')} have a full text",
        f"{counted(result.files, 'file')} read: {len(result.attached)} attached, {len(result.duplicates)} duplicates "
        f"of an attached file, {len(result.unmatched)} unmatched, {len(result.rejected)} rejected",
    ]
    said += _describe_merged(result, attached)
    if warned := sum(bool(row.warnings) for row in result.attached):
        said.append(f"{attached}: {counted(warned, 'full text')} may not have been read well; see the column warnings")
    if result.unmatched:
        uncertain = f", {len(result.uncertain)} of them with a suggestion" if result.uncertain else ""
        said.append(
            f"{unmatched}: {counted(len(result.unmatched), 'file')} unmatched{uncertain}; enter the record_id of each "
            "file that belongs to a record, save the table as map.csv, and attach the files again with 'mechtag attach "
            "... --map map.csv'"
        )
    if result.rejected:
        said += [f"rejected: {one.reason}" for one in result.rejected[:_SHOWN]]
        if len(result.rejected) > _SHOWN:
            said.append(f"and {len(result.rejected) - _SHOWN} more, which are listed in {rejected}")
    return said


def _describe_merged(result: Attached, attached: Path) -> Iterator[str]:
    """Yield messages about files whose record was merged into another record."""
    found = [(row.file, row.match) for row in (*result.attached, *result.duplicates) if row.match.duplicate]
    for file, match in found[:_SHOWN]:
        if match.record:
            how = "you entered" if match.by == "map" else "the file is named in"
            yield f"{file}: {how} {match.duplicate}, a duplicate that was merged into {match.record.record_id}"
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more; see the column merged_record in {attached}"
