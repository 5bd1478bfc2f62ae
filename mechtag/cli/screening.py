"""Reading in the order of relevance."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, Terminal, open_project, say


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
    project: ProjectFolder = None,
) -> None:
    """Rank records by relevance, learn from decisions, and say whether reading may stop.

    Read from the top of the table, write 1 or 0 into the column `decision`, and call again with the table as
    `--labels`. Fix recall, confidence and rule before you begin: docs/ranking.md.

    Example: `mechtag rank unique.parquet -o ranking.csv --labels ranking.csv`
    """
    from mechtag.workflows.screen import rank as rank_records

    lines = rank_records(
        open_project(project),
        source,
        output,
        labels,
        model=model,
        recall=recall,
        confidence=confidence,
        rule=rule.value,
        reporter=Terminal(),
    )
    for line in lines:
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
    project: ProjectFolder = None,
) -> None:
    """Replay a finished review: when would `rank` have found what was included, and when would it have stopped.

    Writes simulation.json, and reading.csv with the recall after each record, to be plotted.

    Example: `mechtag simulate review.csv --labels review.csv -o simulation/`
    """
    from mechtag.workflows.screen import simulate as replay

    lines = replay(
        open_project(project),
        source,
        labels,
        output,
        runs=runs,
        batch=batch,
        recall=recall,
        confidence=confidence,
        reporter=Terminal(),
    )
    for line in lines:
        typer.echo(line)
    say(f"{output}: simulation.json and reading.csv written")
