"""From search exports to unique records and their sentences, and the counts of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, Sources, open_project, progress, say


def ingest(
    sources: Sources,
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet table of records to write.")],
) -> None:
    """Read search exports into one table of records.

    What cannot become a record goes to `rejected.jsonl` beside the table, with the reason; counts and
    notes go to `ingest.json`. A file that cannot be read stops the run, unless it is one among others in
    a folder or a zip file: then it is named, and the others are read.

    Example: `mechtag ingest ovid.ris scopus.csv -o records.parquet`
    """
    from mechtag.core.files import write_json, write_jsonl
    from mechtag.core.parquet import write_records
    from mechtag.pipeline.reading.ingest import Reading, cut_note

    reading = Reading(sources)
    with progress("reading", reading.size, of_bytes=True) as advance:
        write_records(output, reading.records(advance))
    write_jsonl(output.with_name("rejected.jsonl"), reading.rejected)
    summary = reading.summary()
    write_json(output.with_name("ingest.json"), summary)
    for note in (*reading.notes, *reading.unread):
        say(f"note: {note}")
    if cut := cut_note(summary["abstracts_cut"]):
        say(f"note: {cut}")
    say(f"{output}: {summary['kept']} records kept, {summary['rejected']} rejected")


def dedupe(
    records: Annotated[Path, typer.Argument(metavar="IN", help="Parquet table of records.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet table of unique records to write.")],
    groups: Annotated[
        Path | None, typer.Option("--groups", help="CSV of the groups; groups.csv beside the output by default.")
    ] = None,
    existing: Annotated[
        Path | None,
        typer.Option("--existing", help="Unique records of an earlier run; they keep their ids.", show_default=False),
    ] = None,
    decisions: Annotated[
        list[Path] | None,
        typer.Option("--decisions", help="groups.csv or uncertain.csv with decisions filled in.", show_default=False),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Group records of the same paper and make one record of each group.

    Nothing is lost: groups.csv lists every record that was set aside, and why; uncertain.csv lists pairs
    that were left apart and that a person should look at. With `--existing`, new.parquet holds the papers
    that are new since then.

    Example: `mechtag dedupe records.parquet -o unique.parquet`

    Example: `mechtag dedupe update.parquet -o all.parquet --existing unique.parquet --decisions decided.csv`
    """
    from mechtag.core.errors import MechtagError
    from mechtag.core.parquet import read_records, write_records
    from mechtag.pipeline.dedupe.dedupe import dedupe as find_duplicates
    from mechtag.pipeline.dedupe.review_tables import read_decisions, write_groups, write_uncertain

    settings = open_project(project).settings
    groups = groups or output.with_name("groups.csv")
    uncertain, new_papers = output.with_name("uncertain.csv"), output.with_name("new.parquet")
    # What a person wrote, and the records that are set aside, must not be lost under a file of the same name.
    taken = {path.resolve() for path in (records, *(decisions or ()))}
    for path in (groups, uncertain, *([new_papers] if existing else ()), output):
        if path.resolve() in taken:
            raise MechtagError(
                f"{path}: would be written over, and its content lost; save it under another name, or give "
                "-o or --groups another name"
            )
        taken.add(path.resolve())
    result = find_duplicates(
        read_records(records),
        settings.dedupe,
        existing=read_records(existing) if existing else (),
        decisions=read_decisions(decisions or ()),
    )
    for place in result.ignored:
        say(f"note: {place}: the decision is on records that are not here")
    write_groups(groups, result)
    write_uncertain(uncertain, result)
    if existing:
        write_records(new_papers, result.new)
    write_records(output, result.unique)
    new = f", {len(result.new)} of them new" if existing else ""
    say(f"{output}: {result.read} records, {len(result.unique)} unique{new}, {result.duplicates} duplicates")
    if result.uncertain:
        say(f"{uncertain}: {len(result.uncertain)} pairs to look at")


def sentences(
    records: Annotated[Path, typer.Argument(metavar="IN", help="Parquet table of records.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet table of sentences to write.")],
    project: ProjectFolder = None,
) -> None:
    """Cut abstracts into sentences, with the section of each. Records are cleaned first, as 'tag' does.

    Example: `mechtag sentences unique.parquet -o sentences.parquet`
    """
    from mechtag.core.parquet import read_records, write_sentences
    from mechtag.pipeline.text.cleaning import clean_record
    from mechtag.pipeline.text.sentences import split

    settings = open_project(project).settings
    found = list(split(map(clean_record, read_records(records)), settings.sentences))
    write_sentences(output, found)
    say(f"{output}: {len(found)} sentences")


def prisma(
    output: Annotated[Path, typer.Option("-o", "--output", help="SVG file to write; a table of the counts beside it.")],
    summary: Annotated[Path | None, typer.Argument(metavar="[SUMMARY]", help="summary.json that 'tag' wrote.")] = None,
    elsewhere: Annotated[
        Path | None, typer.Option("--elsewhere", help="YAML file of counts that mechtag cannot know; docs/prisma.md.")
    ] = None,
    narrow: Annotated[bool, typer.Option("--narrow", help="Put the panels below one another.")] = False,
) -> None:
    """Draw the PRISMA 2020 flow diagram of a review.

    Counts of a batch, counts from elsewhere, or both; counts that contradict one another are refused.

    Example: `mechtag prisma out/summary.json --elsewhere counts.yaml -o flow.svg`
    """
    from mechtag.pipeline.prisma.diagram import write
    from mechtag.pipeline.prisma.flow import plain_text, read_flow

    if summary is None and elsewhere is None:
        raise typer.BadParameter("give the summary.json of a batch, --elsewhere COUNTS.yaml, or both")
    flow = read_flow(summary, elsewhere)
    table = write(flow, output, narrow)
    typer.echo("\n".join(plain_text(flow)))
    say(f"{output}: drawn; the same counts as a table: {table}")
