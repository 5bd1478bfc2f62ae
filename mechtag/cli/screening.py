"""Reading in the order of relevance."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechtag.cli.options import PARAMS, Params, load, progress, say

if TYPE_CHECKING:
    from mechtag.core.records import Record
    from mechtag.pipeline.screening.decisions import Judgements


class StoppingRule(StrEnum):
    """Rules by which `rank` says that reading may stop."""

    sample = "sample"
    ranked = "ranked"


def rank(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Records without duplicates: parquet, or an export.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Table to write (CSV), what to read next on top.")],
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Decisions so far: the table filled in, or other CSV or JSON lines."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Model folder that ranks until a relevant record is known.")
    ] = None,
    recall: Annotated[float, typer.Option("--recall", help="Share of the relevant records to find.")] = 0.95,
    confidence: Annotated[float, typer.Option("--confidence", help="How sure to be of it.")] = 0.95,
    rule: Annotated[StoppingRule, typer.Option("--rule", help="When to stop; docs/ranking.md.")] = StoppingRule.sample,
    params: Params = PARAMS,
) -> None:
    """Rank records by relevance, learn from decisions, and say whether reading may stop.

    Read from the top of the table, write 1 or 0 into the column `decision`, and call again with the table as
    `--labels`. Fix recall, confidence and rule before you begin: docs/ranking.md.

    Example: `mechtag rank unique.parquet -o ranking.csv --labels ranking.csv`
    """
    from mechtag.pipeline.screening.decisions import read_judgements
    from mechtag.pipeline.screening.ranking import Target, course_path, read_course, refuse_loss, tell, write_ranking
    from mechtag.pipeline.screening.ranking import rank as rank_records
    from mechtag.pipeline.screening.search import cold_scores, load_search, read_sources

    settings, codebook = load(params)
    target = Target(rule=rule.value, recall=recall, confidence=confidence)
    judgements = read_judgements(labels, codebook.relevance.key) if labels else None
    course = read_course(course_path(output))
    if course.target not in (None, target):
        say(f"note: this review began with {course.target}; a target that changes midway is no guarantee")
    records = read_sources(source, say)
    refuse_loss(output, records, judgements, codebook.relevance.key)
    cache = output.with_suffix(".vectors.npz")
    with progress("encoding", len(records)) as advance:
        search = load_search(records, codebook.relevance.definition, settings.encoder, cache, advance)
    cold = cold_scores(model, search, settings, codebook) if model else None
    if judgements and labels:
        _say_unknown(judgements, records, labels)
    ranking = rank_records(search, judgements, course, target, cold=cold, seed=settings.seed)
    write_ranking(output, ranking)
    for line in tell(ranking):
        typer.echo(line)
    say(f"{output}: written; decisions go into its column 'decision'")


def simulate(
    source: Annotated[Path, typer.Argument(metavar="RECORDS", help="A finished review: parquet, or an export.")],
    labels: Annotated[Path, typer.Option("--labels", help="Decision on each record, as CSV or JSON lines.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    runs: Annotated[int, typer.Option("--runs", min=1, help="Replays, each from two other known records.")] = 5,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Records read between two rankings.")] = 10,
    recall: Annotated[float, typer.Option("--recall", help="Share of the relevant records to find.")] = 0.95,
    confidence: Annotated[float, typer.Option("--confidence", help="How sure to be of it.")] = 0.95,
    params: Params = PARAMS,
) -> None:
    """Replay a finished review: when would `rank` have found what was included, and when would it have stopped.

    Writes simulation.json, and reading.csv with the recall after each record, to be plotted.

    Example: `mechtag simulate review.csv --labels review.csv -o simulation/`
    """
    from mechtag.pipeline.screening.decisions import read_judgements
    from mechtag.pipeline.screening.metrics import summary
    from mechtag.pipeline.screening.replay import judged_records, summarise_stops, tell, write_replays
    from mechtag.pipeline.screening.search import load_search, read_sources
    from mechtag.pipeline.screening.simulation import replay

    settings, codebook = load(params)
    judgements = read_judgements(labels, codebook.relevance.key)
    given = read_sources(source, say)
    records, decided = judged_records(given, judgements)
    _say_unknown(judgements, given, labels)
    cache = output / "vectors.npz"
    with progress("encoding", len(records)) as advance:
        search = load_search(records, codebook.relevance.definition, settings.encoder, cache, advance)
    with progress("relevant records found", runs * (int(decided.sum()) - 1)) as advance:
        replays = replay(
            search.ranker,
            decided,
            runs=runs,
            batch=batch,
            recall=recall,
            confidence=confidence,
            seed=settings.seed,
            on_progress=advance,
        )
    content = {
        **{"records": len(records), "relevant": int(decided.sum()), "replays": runs, "batch": batch},
        **{"recall": recall, "confidence": confidence, "seed": settings.seed},
        "figures": summary([decided[run.order[run.priors :]] for run in replays]),
        "stopping": summarise_stops(replays, recall),
    }
    write_replays(output, records, decided, replays, content)
    for line in tell(content):
        typer.echo(line)
    say(f"{output}: simulation.json and reading.csv written")


def _say_unknown(judgements: Judgements, records: Sequence[Record], labels: Path) -> None:
    for name in judgements.unknown(records):
        say(f"note: {labels}: {name} is none of the records; its decision is left out")
