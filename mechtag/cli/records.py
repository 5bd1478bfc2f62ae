"""Commands that read search exports and full texts, remove duplicates, split sentences and draw the PRISMA diagram."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, Sources, Terminal, open_project, progress, say, show
from mechtag.core.words import counted


def ingest(
    sources: Sources,
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet file to write the records to.")],
) -> None:
    """Read search exports into one table of records.

    Entries that cannot be converted to a record are listed, with the reason, in `rejected.jsonl` next to the table.
    Counts and notes are in `ingest.json`. If a file in a folder or archive cannot be read, it is reported and skipped.
    If a file that you named cannot be read, the run stops. Results of an earlier run in a source folder are not read.

    Example: `mechtag ingest ovid.ris scopus.csv -o records.parquet`
    """
    from mechtag.core.files import write_json, write_jsonl
    from mechtag.core.outputs import check_outputs
    from mechtag.core.parquet import write_records
    from mechtag.pipeline.reading.ingest import Reading, cut_note

    rejected, counts = output.with_name("rejected.jsonl"), output.with_name("ingest.json")
    reading = Reading(sources)
    # Results of an earlier run are not read, so they may be replaced.
    check_outputs((output, rejected, counts), reading.paths)
    with progress("reading", reading.size, of_bytes=True) as advance:
        write_records(output, reading.records(advance))
    write_jsonl(rejected, reading.rejected)
    summary = reading.summary()
    write_json(counts, summary)
    for note in (*reading.notes, *reading.unread):
        say(f"note: {note}")
    if cut := cut_note(summary["abstracts_cut"]):
        say(f"note: {cut}")
    say(f"{output}: {counted(summary['kept'], 'record')} kept, {summary['rejected']} rejected")


def dedupe(
    records: Annotated[Path, typer.Argument(metavar="IN", help="Parquet table of records to deduplicate.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet file to write the unique records to.")],
    groups: Annotated[
        Path | None,
        typer.Option(
            "--groups",
            help="CSV file to write the list of merged records to. Default: groups.csv in the folder of the output.",
        ),
    ] = None,
    existing: Annotated[
        Path | None,
        typer.Option(
            "--existing",
            help="Parquet table of unique records from an earlier run. These records keep their ids.",
            show_default=False,
        ),
    ] = None,
    decisions: Annotated[
        list[Path] | None,
        typer.Option(
            "--decisions",
            help="A copy of groups.csv or uncertain.csv with your decisions filled in.",
            show_default=False,
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Find records of the same paper and merge them into one.

    No record is lost: groups.csv lists every merged record with the reason. uncertain.csv lists pairs of records that
    were not merged, but that a person should check. With `--existing`, papers that are not among the existing records
    are also written to new.parquet.

    Example: `mechtag dedupe records.parquet -o unique.parquet`

    Example: `mechtag dedupe update.parquet -o all.parquet --existing unique.parquet --decisions decided.csv`
    """
    from mechtag.core.outputs import check_outputs, same_file
    from mechtag.core.parquet import read_records, write_records
    from mechtag.pipeline.dedupe.dedupe import dedupe as find_duplicates
    from mechtag.pipeline.dedupe.review_tables import read_decisions, write_groups, write_uncertain

    settings = open_project(project).settings
    groups = groups or output.with_name("groups.csv")
    uncertain, new_papers = output.with_name("uncertain.csv"), output.with_name("new.parquet")
    outputs = (groups, uncertain, *([new_papers] if existing else ()), output)
    # The output holds all of the existing records, so it may replace them.
    kept = existing if existing and not same_file(existing, output) else None
    check_outputs(outputs, (records, kept, *(decisions or ())))
    result = find_duplicates(
        read_records(records),
        settings.dedupe,
        existing=read_records(existing) if existing else (),
        decisions=read_decisions(decisions or ()),
    )
    for place in result.ignored:
        say(f"note: {place}: the decision is ignored, because it is about records that are not in the input")
    write_groups(groups, result)
    write_uncertain(uncertain, result)
    if existing:
        write_records(new_papers, result.new)
    write_records(output, result.unique)
    new = f", {len(result.new)} of them new" if existing else ""
    counts = f"{counted(result.read, 'record')}, {len(result.unique):,} unique{new}"
    say(f"{output}: {counts}, {counted(result.duplicates, 'duplicate')}")
    if result.uncertain:
        say(f"{uncertain}: {counted(len(result.uncertain), 'pair')} to check")


def sentences(
    records: Annotated[Path, typer.Argument(metavar="IN", help="Parquet table of records to split into sentences.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet file to write the sentences to.")],
    project: ProjectFolder = None,
) -> None:
    """Clean records as 'mechtag tag' does, and split their abstracts into sentences with section names.

    Example: `mechtag sentences unique.parquet -o sentences.parquet`
    """
    from mechtag.core.outputs import check_outputs
    from mechtag.core.parquet import read_records, write_sentences
    from mechtag.pipeline.reading.text.cleaning import clean_record
    from mechtag.pipeline.reading.text.sentences import split

    settings = open_project(project).settings
    check_outputs([output], [records])
    found = list(split(map(clean_record, read_records(records)), settings.sentences))
    write_sentences(output, found)
    say(f"{output}: {counted(len(found), 'sentence')} written")


def attach(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SRC...", help="Files of full texts, or folders of such files.", show_default=False),
    ],
    records: Annotated[
        Path, typer.Option("--records", help="Records without duplicates, as a parquet table or a search export.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Parquet file to write the full texts to, or a folder for this file. The lists of files are written "
            "to the same folder.",
        ),
    ],
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map",
            help="Your own table of files and their records, such as a completed copy of unmatched.csv. Its columns "
            "are 'file' and 'record_id'.",
            show_default=False,
        ),
    ] = None,
    groups: Annotated[
        list[Path] | None,
        typer.Option(
            "--groups",
            help="Table of merged records that 'mechtag dedupe' wrote, by which ids and files of duplicates are "
            "recognised. May be repeated. Default: groups.csv next to the parquet table of records.",
            show_default=False,
        ),
    ] = None,
    ocr: Annotated[
        str | None,
        typer.Option(
            "--ocr", help="Program that recognises the text of scanned pages; must be tesseract.", show_default=False
        ),
    ] = None,
    grobid: Annotated[
        str | None,
        typer.Option("--grobid", help="Address of a GROBID server that reads the PDFs.", show_default=False),
    ] = None,
    send_files: Annotated[
        bool,
        typer.Option(
            "--send-files-to-grobid", help="Allow files to be sent to a GROBID server that is not on this machine."
        ),
    ] = False,
) -> None:
    """Read full texts (PDF, JATS or TEI XML, DOCX, HTML, EPUB, text), and attach each to its record.

    mechtag finds the record of a file by your entry in `--map`, by a field of the record that names the file, or by the
    DOI, PMC id, PubMed id or title on the first page. unmatched.csv lists files without a certain match. rejected.jsonl
    lists files that cannot be read, each with the reason.

    Example: `mechtag attach pdfs/ --records unique.parquet -o fulltexts/`
    """
    from mechtag.workflows.attach import attach as attach_files

    lines = attach_files(
        sources,
        records,
        output,
        map_file,
        groups=groups or (),
        ocr=ocr,
        grobid=grobid,
        send_files=send_files,
        reporter=Terminal(),
    )
    for line in lines:
        say(line)


def prisma(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="SVG file to write the diagram to. A table of the counts is written to the same folder.",
        ),
    ],
    summary: Annotated[
        Path | None, typer.Argument(metavar="[SUMMARY]", help="File summary.json that 'mechtag tag' wrote.")
    ] = None,
    elsewhere: Annotated[
        Path | None,
        typer.Option("--elsewhere", help="YAML file of counts that mechtag does not know; see docs/prisma.md."),
    ] = None,
    narrow: Annotated[
        bool, typer.Option("--narrow", help="Stack the panels of the diagram vertically, for a narrow page.")
    ] = False,
) -> None:
    """Draw the PRISMA 2020 flow diagram of a review.

    Counts may come from a tagging run, from a file of other counts, or from both. Contradictory counts are refused.

    Example: `mechtag prisma out/summary.json --elsewhere counts.yaml -o flow.svg`
    """
    from mechtag.core.outputs import check_outputs
    from mechtag.pipeline.export.prisma.diagram import counts_path, write
    from mechtag.pipeline.export.prisma.flow import plain_text, read_flow

    if summary is None and elsewhere is None:
        raise typer.BadParameter(
            "there are no counts to draw; pass the file summary.json that 'mechtag tag' wrote, a file of counts "
            "(--elsewhere), or both"
        )
    check_outputs((output, counts_path(output)), (summary, elsewhere))
    flow = read_flow(summary, elsewhere)
    table = write(flow, output, narrow)
    show("\n".join(plain_text(flow)))
    say(f"{output}: diagram written; {table} contains the same counts as a table")
