"""Commands for roles of evidence: context, resource, reasoning and outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import Commands, ProjectFolder, Terminal, open_project, say

roles = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Read and show roles of evidence, such as context and outcome.",
)


@roles.command("from-text")
def from_text(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Text file (UTF-8) with a marker such as (C) or (O+) after each passage."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV file to write the table of configurations to.")],
    label: Annotated[
        str, typer.Option("--label", help="Key of the label to use for each paragraph whose heading names no label.")
    ] = "",
    coder: Annotated[str, typer.Option("--coder", help="Name of the person who marked the passages.")] = "",
    record: Annotated[str, typer.Option("--record", help="Identifier of the record that the text is about.")] = "",
    project: ProjectFolder = None,
) -> None:
    """Read configurations from a text in which markers name the roles of passages, as in realist reviews.

    Each paragraph with markers is one configuration: passages that together explain a label. The paragraph above it
    names the label. Each passage is followed by a marker, such as (C), (M+, Resource), (M-, Reasoning), (M-Rea) or
    (O-). The sign + means present, and - means absent. Markers may also name the roles that your codebook defines.
    Unreadable parts of the text are listed in `rejected.jsonl` next to the output.

    Example: `mechtag roles from-text boxes.txt -o configurations.csv --coder us`
    """
    from mechtag.workflows.roles import roles_from_text

    say(
        roles_from_text(
            open_project(project),
            source,
            output,
            label=label.strip(),
            coder=coder.strip(),
            record=record.strip(),
            reporter=Terminal(),
        )
    )


@roles.command("table")
def table(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Table of configurations, or of codings with the column 'role'."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="File to write the table to. Its name must end in .xlsx, .html, .md or .csv."
        ),
    ],
    records: Annotated[
        Path | None,
        typer.Option(
            "--records",
            help="Records of the papers, with the authors and years for the citations in the table.",
            show_default=False,
        ),
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Sentence to add below the table.")] = "",
    project: ProjectFolder = None,
) -> None:
    """Write a table of context, mechanism and outcome, grouped by label, in which each cell links to its quotation.

    Example: `mechtag roles table configurations.csv -o configurations.xlsx --records unique.parquet`
    """
    from mechtag.workflows.roles import role_table

    say(role_table(open_project(project), source, output, records=records, note=note, reporter=Terminal()))


@roles.command("suggest")
def suggest(
    source: Annotated[Path, typer.Argument(metavar="CODINGS", help="Table of codings with the column 'evidence'.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="CSV file to write the passages and their suggested roles to.")
    ],
    records: Annotated[
        Path | None,
        typer.Option(
            "--records", help="Table of the coded papers' records, for looking up record ids.", show_default=False
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Suggest a role of evidence for each passage in a table of codings.

    Suggestions are based on cue phrases, and on the similarity of passages to the definitions of the roles. They are
    experimental; see docs/roles.md. To switch them on, set `roles.suggest` to true in params.yaml. A passage without a
    clear role gets no suggestion. Passages are not linked to configurations.

    Example: `mechtag roles suggest codings.csv --records unique.parquet -o suggested.csv`
    """
    from mechtag.workflows.roles import suggest_for_codings

    say(suggest_for_codings(open_project(project), source, output, records=records, reporter=Terminal()))
