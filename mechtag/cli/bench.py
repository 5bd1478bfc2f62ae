"""Measuring this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import MODEL, PARAMS, Params, Runtime, Threads, load, say


def bench(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SRC...]", help="Search exports to measure with; the coded records if none."),
    ] = None,
    count: Annotated[int, typer.Option("--records", min=1, help="How many records to tag.")] = 500,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="How often; the median is given.")] = 3,
    model: Annotated[Path, typer.Option("--model", help="Model folder.")] = MODEL,
    runtime: Runtime = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    params: Params = PARAMS,
) -> None:
    """Measure how fast this machine tags, and how near its limit that is.

    Example: `mechtag bench --runtime auto`
    """
    import json

    import numpy as np

    from benchmarks.bench import bench as measure
    from benchmarks.bench import varied
    from mechtag.models.model_folder import load_model
    from mechtag.pipeline.annotations.coded_records import read_coded
    from mechtag.pipeline.reading.ingest import ingest

    settings, codebook = load(params)
    tagging = settings.tag.chosen(runtime, threads)
    loaded = load_model(model, codebook, runtime=tagging.runtime, threads=tagging.threads)
    say(f"runtime {loaded.choice.reason}")
    if sources:
        found = list(ingest(sources).records)[:count]
    else:
        coded = [item.record for item in read_coded(settings.train.records, codebook.keys)]
        found = list(varied(coded, count, np.random.default_rng(settings.seed)))
    speed = measure(loaded, found, settings.sentences, tagging, repeats=repeats)
    if as_json:
        typer.echo(json.dumps(asdict(speed), indent=2))
        return
    typer.echo(
        f"{speed.records:,} records, {speed.sentences:,} different sentences and titles, {speed.tokens:,} tokens"
    )
    typer.echo(f"  records a second:   {speed.records_per_second:10,.1f}   from records to predictions")
    typer.echo(f"  tokens a second:    {speed.tokens_per_second:10,.0f}   the encoder alone")
    typer.echo(
        f"  of the matrix peak: {speed.share:10.0%}   which is {speed.peak / 1e9:,.0f} billion operations a second"
    )
    typer.echo(f"  cutting sentences:  {speed.splitting:10.1%}   of the time")
    typer.echo(f"  peak memory:        {speed.megabytes:10,.0f}   MB")
