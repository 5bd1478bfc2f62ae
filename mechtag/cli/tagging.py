"""Tagging search exports, and giving the tags on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import MODEL, PARAMS, Params, Runtime, Threads, load, progress, say


class Engine(StrEnum):
    """Where records are scored."""

    LOCAL = "local"
    RAY = "ray"


def tag(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SRC...",
            help="Search exports, or folders or zip files of them; or one parquet table of records, or its URI.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Folder to write to; for a table of records also a URI.")
    ],
    model: Annotated[Path, typer.Option("--model", help="Model folder.")] = MODEL,
    sentence_table: Annotated[
        Path | None, typer.Option("--sentences", help="Sentences that were cut before; only with one parquet table.")
    ] = None,
    runtime: Runtime = None,
    threads: Threads = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted, if there is one.")
    ] = False,
    score_all: Annotated[
        bool, typer.Option("--score-all", help="Score the labels even of records that are clearly not relevant.")
    ] = False,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Score here, or with Ray, on the cluster that RAY_ADDRESS names.")
    ] = Engine.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Ray processes that score; as many as the cluster has cores by default."),
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Tag search exports: read, remove duplicates, score, write tables to review.

    Writes tagged.csv, tagged.ris, predictions.parquet, groups.csv, uncertain.csv, rejected.jsonl and summary.json.
    A run that was interrupted goes on with the same command and `--resume`.

    Example: `mechtag tag search_update.ris -o out/`
    """
    from contextlib import ExitStack
    from functools import partial

    from mechtag.core.errors import MechtagError
    from mechtag.pipeline.tagging.prefetch import ahead, directly

    if engine is Engine.LOCAL and workers:
        raise MechtagError("--workers is for --engine ray; on one machine the encoder uses all cores by itself")
    settings, codebook = load(params)
    tagging = settings.tag.chosen(runtime, threads, score_all)
    settings = settings.model_copy(update={"tag": tagging})
    with ExitStack() as stack:
        run = directly
        if engine is Engine.LOCAL and not sentence_table:
            # It gets ready while the model is loaded here.
            from mechtag.pipeline.text.sentences import prepare

            run = stack.enter_context(ahead("cuts sentences", prepare, settings.sentences))
        from mechtag.models.model_folder import load_model
        from mechtag.pipeline.reading.ingest import cut_note
        from mechtag.pipeline.tagging.run import finish, run_local
        from mechtag.pipeline.tagging.start import Request, opened

        loaded = load_model(
            model, codebook, runtime=tagging.runtime, threads=tagging.threads, score_all=tagging.score_all
        )
        chosen = loaded.choice.runtime
        if tagging.runtime != "torch":
            say(f"runtime {loaded.choice.reason}")
        request = Request(sources, output, settings, loaded.config, sentence_table, runtime=chosen)
        job = stack.enter_context(opened(request, resume=resume))
        intake = job.intake
        for note in (*intake.notes, *intake.unread, *filter(None, [cut_note(intake.abstracts_cut)])):
            say(f"note: {note}")
        if job.finished:
            say(f"going on: {len(job.finished)} of {job.manifest.parts} parts are there")
        with progress("tagging", job.manifest.records, done=job.done) as advance:
            if engine is Engine.RAY:
                from mechtag.pipeline.tagging.ray_engine import run_ray

                # Each worker has one core.
                load_one = partial(
                    load_model, model.absolute(), codebook, runtime=chosen, threads=1, score_all=tagging.score_all
                )
                run_ray(job, load_one, settings, workers, advance)
            else:
                run_local(job, loaded, settings, advance, run)
        with progress("writing tables", job.manifest.records) as advance:
            summary = finish(job, codebook, advance)
    for line in intake.identification.lines():
        typer.echo(line)
    for note in summary["notes"][len(intake.notes) :]:
        say(f"note: {note}")
    for entry in codebook.entries:
        counts = summary["decisions"][entry.key]
        unscored = f" ({counts['not_scored']} of these not scored)" if counts["not_scored"] else ""
        typer.echo(f"  {entry.name}: {counts['yes']} yes, {counts['refer']} need review, {counts['no']} no{unscored}")
    if job.output.local:
        typer.echo(f"Table to review: {job.output / 'tagged.csv'}; for reference managers: {job.output / 'tagged.ris'}")
    else:
        typer.echo(f"Predictions: the parquet files in {job.parts.folder}")


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
    from mechtag.core.parquet import read_predictions, read_records
    from mechtag.pipeline.export import export as write_export

    _, codebook = load(params)
    tagged = read_records(records or predictions.with_name("records.parquet"))
    labels = [(entry.key, entry.name) for entry in codebook.entries]
    write_export(to, output, tagged, read_predictions(predictions), labels)
    say(f"{output}: {len(tagged)} records")
