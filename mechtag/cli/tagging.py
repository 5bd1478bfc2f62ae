"""Commands that tag search exports, and that export decisions and codings for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import Model, ProjectFolder, Runtime, Terminal, Threads, open_project, say, show


class Engine(StrEnum):
    """Values of ``--engine``: the engine that scores records."""

    local = "local"
    ray = "ray"


class Basis(StrEnum):
    """Values of ``--basis``: the abstract or the full text."""

    abstract = "abstract"
    full_text = "full-text"


def tag(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SRC...",
            help="Search exports, folders or zip files that contain search exports, or one parquet table of records "
            "(path or URI).",
            show_default=False,
        ),
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Folder to write to. It may be a URI if SRC is a table of records.")
    ],
    model: Model = None,
    sentence_table: Annotated[
        Path | None,
        typer.Option(
            "--sentences",
            help="Table of sentences that 'mechtag sentences' wrote; allowed only if SRC is one parquet table.",
        ),
    ] = None,
    full_texts: Annotated[
        Path | None,
        typer.Option(
            "--full-texts",
            help="Table of full texts that 'mechtag attach' wrote. Full texts are tagged in addition to the abstracts.",
        ),
    ] = None,
    basis: Annotated[
        Basis | None,
        typer.Option(
            "--basis",
            help="'abstract' tags only abstracts and ignores --full-texts; 'full-text' requires --full-texts.",
            show_default=False,
        ),
    ] = None,
    ranking: Annotated[
        Path | None,
        typer.Option(
            "--ranking", help="Table in reading order (ranking.csv, tagged.csv or review.xlsx), for the option --top."
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            min=1,
            help="Number of records to tag, from the top of --ranking. Records judged relevant come first; records "
            "judged irrelevant are left out.",
        ),
    ] = None,
    runtime: Runtime = None,
    threads: Threads = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run, if there is one in the output folder.")
    ] = False,
    score_all: Annotated[
        bool, typer.Option("--score-all", help="Also score the labels of records that are clearly irrelevant.")
    ] = False,
    engine: Annotated[
        Engine,
        typer.Option(
            "--engine", help="Engine that scores records: this machine, or Ray on the cluster named in RAY_ADDRESS."
        ),
    ] = Engine.local,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Number of Ray processes. Default: one per core of the cluster."),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Tag search exports: read records, remove duplicates, score the records, and write tables for review.

    The command writes review.xlsx, tagged.csv, tagged.ris, predictions.parquet, groups.csv, uncertain.csv,
    rejected.jsonl and summary.json.
    To continue an interrupted run, repeat the command with `--resume`.

    Example: `mechtag tag search_update.ris -o out/`
    """
    if basis is Basis.full_text and full_texts is None:
        raise typer.BadParameter("--basis full-text was passed without --full-texts; also pass the table of full texts")
    if (ranking is None) != (top is None):
        raise typer.BadParameter("--top and --ranking work only together; pass both, or neither")
    from mechtag.workflows.define import usable_model
    from mechtag.workflows.tag import tag as tag_sources

    opened, terminal = open_project(project), Terminal()
    done = tag_sources(
        opened,
        sources,
        output,
        model=model or usable_model(opened, terminal),
        sentences=sentence_table,
        full_texts=None if basis is Basis.abstract else full_texts,
        first=(ranking, top) if ranking and top else None,
        runtime=runtime.value if runtime else None,
        threads=threads,
        score_all=score_all,
        resume=resume,
        engine=engine.value,
        workers=workers,
        reporter=terminal,
    )
    inputs, summary = done.inputs, done.summary
    for line in inputs.identification.lines():
        show(line)
    for note in summary["notes"][len(inputs.notes) :]:
        say(f"note: {note}")
    for entry in opened.codebook.entries:
        counts = summary["decisions"][entry.key]
        unscored = f" ({counts['not_scored']} of these not scored)" if counts["not_scored"] else ""
        show(f"  {entry.name}: {counts['yes']} yes, {counts['refer']} need review, {counts['no']} no{unscored}")
    if done.output.local:
        show(
            f"Workbook for review: {done.output / 'review.xlsx'}; for reference managers: {done.output / 'tagged.ris'}"
        )
    else:
        show(f"Predictions: the parquet files in {done.chunks}")


class ExportFormat(StrEnum):
    """File formats that ``mechtag export --to`` can write."""

    csv = "csv"
    ris = "ris"
    xlsx = "xlsx"
    matrix = "matrix"
    qdpx = "qdpx"
    qdc = "qdc"
    bibtex = "bibtex"
    asreview = "asreview"
    rayyan = "rayyan"
    eppi = "eppi"
    label_studio = "label-studio"


class Exported(StrEnum):
    """Values of ``--what``: the content of an export."""

    decisions = "decisions"
    codings = "codings"
    both = "both"


class CellContent(StrEnum):
    """Values of ``--cells``: content of the cells of a matrix."""

    tick = "tick"
    probability = "probability"
    pages = "pages"
    value = "value"


def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="Folder that 'mechtag tag' wrote, its file predictions.parquet, or a table of codings (CSV or XLSX).",
        ),
    ],
    to: Annotated[ExportFormat, typer.Option("--to", help="Output format.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write the export to.")],
    records: Annotated[
        Path | None,
        typer.Option(
            "--records",
            help="Table of the records, or search export. Default: records.parquet next to the predictions.",
            show_default=False,
        ),
    ] = None,
    codings: Annotated[
        Path | None,
        typer.Option(
            "--codings", help="Table of codings to export together with the model's decisions.", show_default=False
        ),
    ] = None,
    full_texts: Annotated[
        Path | None,
        typer.Option(
            "--full-texts",
            help="Table of full texts, written by 'mechtag attach'; used by formats that include the text of papers.",
            show_default=False,
        ),
    ] = None,
    what: Annotated[
        Exported | None,
        typer.Option("--what", help="Content to export. Default: everything in IN and --codings.", show_default=False),
    ] = None,
    coder: Annotated[str, typer.Option("--coder", help="Export only the codes of this coder.")] = "",
    basis: Annotated[
        Basis | None,
        typer.Option(
            "--basis",
            help="Export only codes based on this text. Default: the full text if it was coded, or else the abstract.",
            show_default=False,
        ),
    ] = None,
    roles: Annotated[
        Path | None,
        typer.Option(
            "--roles",
            help="Table of configurations whose passages are exported, too (only to xlsx and qdpx).",
            show_default=False,
        ),
    ] = None,
    cells: Annotated[
        CellContent,
        typer.Option(
            "--cells",
            help="Content of the cells of a matrix. 'value' writes 1, 0, '?' or nothing, for use in other programs.",
        ),
    ] = CellContent.tick,
    note: Annotated[str, typer.Option("--note", help="Sentence to add below a matrix.")] = "",
    without_fetched: Annotated[
        Path | None,
        typer.Option(
            "--without-fetched",
            help="Table fetched.csv that 'mechtag fetch' wrote. Texts that have no open licence in this table are left "
            "out, and so are quotations from them.",
            show_default=False,
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Export the decisions of a model, or the codings of people, for use in other programs.

    docs/exports.md describes the formats.

    Example: `mechtag export out/ --to ris -o tagged.ris`

    Example: `mechtag export codings.csv --records unique.parquet --to matrix -o table.docx`
    """
    from mechtag.workflows.export import Request
    from mechtag.workflows.export import export as write_export

    request = Request(
        source,
        records=records,
        codings=codings,
        full_texts=full_texts,
        what=what.value if what else None,
        coder=coder,
        basis=basis.value if basis else None,
        roles=roles,
        fetched=without_fetched,
        cells=cells.value,
        note=note,
    )
    say(write_export(open_project(project), request, to.value, output, Terminal()))
