"""Tagging search exports, and giving the tags on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.shared import MODEL, PARAMS, Params, Runtime, Sources, Threads, load, progress, say


def tag(
    sources: Sources,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    model: Annotated[Path, typer.Option("--model", help="Model folder.")] = MODEL,
    sentence_table: Annotated[
        Path | None, typer.Option("--sentences", help="Sentences that were cut before; only with one parquet table.")
    ] = None,
    runtime: Runtime = None,
    threads: Threads = None,
    params: Params = PARAMS,
) -> None:
    """Tag search exports: read, remove duplicates, score, write tables to review.

    Writes tagged.csv, tagged.ris, predictions.parquet, groups.csv, uncertain.csv, rejected.jsonl and summary.json.

    Example: `mechtag tag search_update.ris -o out/`
    """
    from models.artifact import load_model
    from pipeline.batch import gather, tag_records, write_tagged

    settings, codebook = load(params)
    tagging = settings.tag.chosen(runtime, threads)
    loaded = load_model(model, codebook, runtime=tagging.runtime, threads=tagging.threads)
    if tagging.runtime != "torch":
        say(f"runtime {loaded.choice.reason}")
    batch = gather(sources, settings, sentence_table)
    for note in (*batch.ingested.notes, *batch.ingested.unread):
        say(f"note: {note}")
    with progress("tagging", len(batch.records)) as advance:
        tagged = tag_records(loaded, batch, tagging, advance)
    write_tagged(output, tagged)
    for line in batch.identification.lines():
        typer.echo(line)
    summary = tagged.summary()
    for entry in codebook.entries:
        counts = summary["decisions"][entry.key]
        typer.echo(f"  {entry.name}: {counts['yes']} yes, {counts['refer']} to refer, {counts['no']} no")
    typer.echo(f"Table to review: {output / 'tagged.csv'}; for reference managers: {output / 'tagged.ris'}")


def export(
    predictions: Annotated[Path, typer.Argument(metavar="IN", help="predictions.parquet that 'tag' wrote.")],
    to: Annotated[str, typer.Option("--to", help="Format: csv or ris.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    records: Annotated[
        Path | None, typer.Option("--records", help="Records; records.parquet beside the predictions by default.")
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Write tagged records in a format that other programs read.

    Example: `mechtag export out/predictions.parquet --to ris -o tagged.ris`
    """
    from pipeline.exporters import export as write_export
    from pipeline.store import read_predictions, read_records

    _, codebook = load(params)
    tagged = read_records(records or predictions.with_name("records.parquet"))
    labels = [(entry.key, entry.name) for entry in codebook.entries]
    write_export(to, output, tagged, read_predictions(predictions), labels)
    say(f"{output}: {len(tagged)} records")
