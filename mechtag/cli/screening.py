"""Commands that rank records for screening, and replay a finished screening."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, Terminal, open_project, say, show


class StoppingRule(StrEnum):
    """Values of ``--rule``: the stopping rules of the command `rank`."""

    sample = "sample"
    ranked = "ranked"


_DEFAULT = "Default: the value of the last run; in the first run,"


def rank(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Records without duplicates, as a parquet table or a search export.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="CSV file to write the ranked records to. The records to read next are at the top."
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            help="CSV, XLSX or JSON lines file with your decisions so far, such as the file that 'mechtag rank' wrote "
            "and you filled in.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Folder of the model that ranks the records until you find a relevant one."),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(
            "--recall",
            help=f"Proportion of all relevant records that you want to find. {_DEFAULT} 0.95.",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            help="Required confidence, from 0 to 1, that the target in --recall is reached. You may stop at this "
            f"confidence. {_DEFAULT} 0.95.",
            show_default=False,
        ),
    ] = None,
    rule: Annotated[
        StoppingRule | None,
        typer.Option(
            "--rule",
            help="Stopping rule: 'sample' asks you to read an additional random sample, 'ranked' does not; see "
            "docs/ranking.md. "
            f"{_DEFAULT} sample.",
            show_default=False,
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Rank records by relevance, learn from your decisions, and report when you may stop reading.

    Read from the top of the table, write 1 or 0 into the column `decision`, and run the command again with the table
    as `--labels`. Choose recall, confidence and rule before you begin: see docs/ranking.md.

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
        rule=rule.value if rule else None,
        reporter=Terminal(),
    )
    for line in lines:
        show(line)
    say(f"{output}: table written; enter your decisions in the column 'decision'")


def simulate(
    source: Annotated[
        Path,
        typer.Argument(metavar="RECORDS", help="Records of a finished review, as a parquet table or a search export."),
    ],
    labels: Annotated[
        Path, typer.Option("--labels", help="Decision on each record, as a CSV, XLSX or JSON lines file.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write the results of the replays to.")],
    runs: Annotated[
        int,
        typer.Option(
            "--runs",
            min=1,
            help="Number of replays; each starts from one relevant and one irrelevant record, drawn at random.",
        ),
    ] = 5,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Number of records read between two rankings.")] = 10,
    recall: Annotated[float, typer.Option("--recall", help="Proportion of all relevant records to find.")] = 0.95,
    confidence: Annotated[
        float,
        typer.Option(
            "--confidence",
            help="Required confidence, from 0 to 1, that the target in --recall is reached. A replay stops at this "
            "confidence.",
        ),
    ] = 0.95,
    project: ProjectFolder = None,
) -> None:
    """Replay a finished review, to see when `rank` would have found the relevant records and stopped.

    simulation.json contains the results. reading.csv contains the recall after each record, for plots.

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
        show(line)
    say(f"{output}: simulation.json and reading.csv written")
