"""Commands that convert codebooks of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import Commands, say
from mechtag.core.words import counted

codebook = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode="markdown", help="Convert codebooks of other programs."
)


@codebook.command("from")
def from_file(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="REFI-QDA codebook (QDC) or project (QDPX), or a table (CSV or XLSX) with the columns 'name' and "
            "'definition'.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="YAML file to write the codebook to.")],
    name: Annotated[str, typer.Option("--name", help="Name of the codebook. Default: the name of the file.")] = "",
    relevance: Annotated[
        str,
        typer.Option(
            "--relevance",
            help="Sentence that says which papers belong in the review; needed if no code is named 'Relevant'.",
        ),
    ] = "",
) -> None:
    """Convert a codebook from NVivo, MAXQDA, ATLAS.ti, QualCoder, Taguette or a spreadsheet to YAML.

    Example: `mechtag codebook from book.qdc -o codebook.yaml --relevance "The text is about joint boards."`
    """
    import yaml

    from mechtag.core.files import write_text
    from mechtag.core.outputs import check_outputs
    from mechtag.pipeline.annotations.imports.codebook_file import read_codebook_file

    check_outputs([output], [source])
    found = read_codebook_file(source, name, relevance)
    content = found.model_dump(mode="json", exclude_defaults=True)
    write_text(output, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))
    say(f"{output}: {counted(len(found.labels), 'label')} written; check the definitions and the relevance rule")
