"""From what reviewers have coded, wherever they did, to one table of codings."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, open_project, say


class ReadBasis(StrEnum):
    """What coders read."""

    full_text = "full-text"
    abstract = "abstract"


class UntickedMeans(StrEnum):
    """What an empty cell, or a label that was not ticked, means."""

    no = "no"
    not_judged = "not-judged"


def codings(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SRC...", help="Files of codings, or folders or zip files of them.", show_default=False),
    ],
    records: Annotated[Path, typer.Option("--records", help="Records that were coded: parquet, or an export.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Table of codings to write (CSV).")],
    coder: Annotated[str, typer.Option("--coder", help="Who coded, where a file does not say.")] = "",
    basis: Annotated[
        ReadBasis | None, typer.Option("--basis", help="What was read, where a file does not say.")
    ] = None,
    unticked: Annotated[
        UntickedMeans | None, typer.Option("--unticked", help="What an empty cell, or a label not ticked, means.")
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="YAML: what names of labels, coders and papers stand for.")
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Read codings of Rayyan, Covidence, ASReview, EPPI-Reviewer, Label Studio, doccano, Prodigy, or a table.

    Writes one row a record, coder and label, to train on or to compare coders with. What found no record
    goes to `unmatched.csv` beside it, what contradicts itself to `conflicts.csv`, where coders differ to
    `disagreements.csv`, what could not be read to `rejected.jsonl`. docs/annotations.md says what to export.

    Example: `mechtag codings articles.csv --records unique.parquet -o codings.csv --basis abstract`

    Example: `mechtag codings matrix.xlsx --records unique.parquet -o codings.csv --coder us --basis full-text
    --unticked no`
    """
    from mechtag.pipeline.annotations.imports.importer import describe_import, read_codings_from, write_imported
    from mechtag.pipeline.annotations.imports.label_names import read_map
    from mechtag.pipeline.reading.ingest import read_unique

    opened = open_project(project)
    imported = read_codings_from(
        sources,
        read_unique(records, say),
        opened.codebook,
        opened.settings.dedupe,
        coder=coder.strip(),
        basis=basis.value if basis else None,
        unticked=unticked.value if unticked else None,
        mapped=read_map(map_file) if map_file else None,
    )
    write_imported(output, imported)
    for note in imported.notes:
        say(f"note: {note}")
    for line in describe_import(imported):
        typer.echo(line)
    for name, rows in (("unmatched.csv", imported.unmatched), ("conflicts.csv", imported.conflicts)):
        if rows:
            say(f"{output.with_name(name)}: {len(rows)} to look at")
    say(f"{output}: {len(imported.codings)} codings")
