"""Commands that choose the papers to code next, and that import codings from other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, open_project, say, show
from mechtag.core.words import counted


class ReadBasis(StrEnum):
    """Values of ``--basis``: whether coders read abstracts or full texts."""

    full_text = "full-text"
    abstract = "abstract"


class UntickedMeans(StrEnum):
    """Values of ``--unticked``: the meaning of an empty cell, or of a label that a coder did not tick."""

    no = "no"
    not_judged = "not-judged"


def next_papers(
    tagged: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'mechtag tag' wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV file to write the papers to.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Maximum number of papers to choose.")] = 10,
    project: ProjectFolder = None,
) -> None:
    """Choose which papers of a tagged search to code next, so that every label soon has examples.

    Four of every five papers are chosen because they are likely to have the label with the fewest examples so far. The
    fifth paper is drawn at random. The column `why` of the table states the reason for each paper. Fill in `decision`
    and the columns `your code`, and import the table with `mechtag codings`: see docs/annotations.md.

    Example: `mechtag next out/ -n 10 -o next.csv`
    """
    from mechtag.workflows.code_next import code_next

    for line in code_next(open_project(project), tagged, output, count):
        show(line)
    say(
        f"{output}: table written; enter your decisions in the column 'decision', and your codes in the columns "
        "'your code'"
    )


def codings(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SRC...",
            help="Files that contain codings, or folders or zip files of such files.",
            show_default=False,
        ),
    ],
    records: Annotated[
        Path,
        typer.Option("--records", help="Records that the codings are about, as a parquet table or a search export."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV file to write the codings to.")],
    coder: Annotated[
        str, typer.Option("--coder", help="Name of the coder. Needed if the file does not state it.")
    ] = "",
    basis: Annotated[
        ReadBasis | None,
        typer.Option(
            "--basis", help="What the coders read: abstracts or full texts. Needed if the file does not state this."
        ),
    ] = None,
    unticked: Annotated[
        UntickedMeans | None,
        typer.Option("--unticked", help="Meaning of an empty cell or of an unticked label."),
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map",
            help="YAML file that maps names of labels, coders and papers in the files to names in your review.",
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Import codings from Rayyan, Covidence, ASReview, EPPI-Reviewer, Label Studio, doccano, Prodigy, or a table.

    The output has one row per record, coder and label. Use it to train a model or to compare coders. Other files in the
    same folder are `unmatched.csv` (entries without a matching record), `conflicts.csv` (contradictory codes of one
    coder), `disagreements.csv` (disagreements between coders), `rejected.jsonl` (entries that cannot be read) and
    `notes.csv` (notes of coders). docs/annotations.md explains what to export from each tool.

    Example: `mechtag codings articles.csv --records unique.parquet -o codings.csv --basis abstract --unticked no`

    Example: `mechtag codings matrix.xlsx --records unique.parquet -o codings.csv --coder us --basis full-text
    --unticked no`
    """
    from mechtag.core.outputs import check_outputs
    from mechtag.pipeline.annotations.imports.importer import (
        describe_import,
        imported_files,
        read_codings_from,
        records_left_out,
        write_imported,
    )
    from mechtag.pipeline.annotations.imports.label_names import read_map
    from mechtag.pipeline.reading.ingest import read_unique

    opened = open_project(project)
    check_outputs(imported_files(output), (*sources, records, map_file))
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
    left_out = records_left_out(output, imported, opened.codebook)
    write_imported(output, imported)
    for note in imported.notes:
        say(f"note: {note}")
    for line in describe_import(imported):
        show(line)
    for name, rows in (("unmatched.csv", imported.unmatched), ("conflicts.csv", imported.conflicts)):
        if rows:
            say(f"{output.with_name(name)}: {counted(len(rows), 'row')} to check")
    if left_out:
        say(
            f"warning: {output}: the earlier table also had codings of {counted(left_out, 'other record')}, which the "
            "new table does not contain; to keep them, run the command again and name the files with those codings, too"
        )
    say(f"{output}: {counted(len(imported.codings), 'coding')} written")
