"""Texts to go out with a review, and with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import MODEL, say


def methods(
    metrics: Annotated[Path, typer.Argument(metavar="METRICS", help="What 'evaluate' wrote.")] = Path(
        "reports/metrics.json"
    ),
    model: Annotated[Path, typer.Option("--model", help="Model folder; its README.md is written.")] = MODEL,
    tagged: Annotated[
        Path | None,
        typer.Option("--tagged", help="summary.json that 'tag' wrote for the search.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Text for the paper to write.")] = Path(
        "reports/methods.md"
    ),
) -> None:
    """Write methods and results for the paper, and the model card, from the figures of a run.

    What only the authors can tell stands in square brackets.

    Example: `mechtag methods reports/metrics.json --tagged out/summary.json -o methods.md`
    """
    from mechtag.core.files import read_json, write_text
    from mechtag.evaluation.report.paper import paper_texts

    texts = paper_texts(read_json(metrics), read_json(model / "config.json"), read_json(tagged) if tagged else None)
    write_text(output, texts["methods"])
    write_text(model / "README.md", texts["model_card"])
    say(f"{output} and {model / 'README.md'}: written")
