"""Commands that send requests about papers to web services."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechtag.cli.options import ProjectFolder, Terminal, open_project, show

if TYPE_CHECKING:
    from mechtag.workflows.web_access import Access

Email = Annotated[
    str,
    typer.Option(
        "--email",
        help="Your e-mail address, which the services ask for. Nothing is sent without it.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Send nothing: list hosts, numbers of requests, costs and the first URLs."),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Send nothing: use only answers that were received in earlier runs.")
]
Refresh = Annotated[
    bool, typer.Option("--refresh", help="Send all requests again, even if they were answered in an earlier run.")
]


def _access(email: str, offline: bool, refresh: bool) -> Access:
    from mechtag.workflows.web_access import Access

    if offline and refresh:
        raise typer.BadParameter("--offline and --refresh exclude each other; choose one of the two")
    return Access(email, offline=offline, refresh=refresh)


def _listed(option: str, value: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Split the comma-separated value of an option; only the words in ``allowed`` are accepted."""
    words = tuple(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))
    if wrong := [word for word in words if word not in allowed]:
        raise typer.BadParameter(f"{option}: {wrong[0]!r} is not known; choose from {', '.join(allowed)}")
    if not words:
        raise typer.BadParameter(f"{option}: the list is empty; enter one or more of: {', '.join(allowed)}")
    return words


def fetch(
    records: Annotated[
        Path,
        typer.Argument(metavar="RECORDS", help="Records without duplicates, as a parquet table or a search export."),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder to write the completed records and the list of fetched fields to."),
    ],
    email: Email = "",
    what: Annotated[
        str,
        typer.Option(
            "--what", help="What to fetch, separated by commas: abstract, identifiers (DOI and PubMed id), full-text."
        ),
    ] = "abstract,identifiers",
    sources: Annotated[
        str,
        typer.Option(
            "--sources",
            help="Services to ask, separated by commas: pubmed, europepmc, openalex, crossref, unpaywall (only for "
            "full texts) and semantic_scholar. Default: all except semantic_scholar.",
            show_default=False,
        ),
    ] = "",
    dry_run: DryRun = False,
    offline: Offline = False,
    refresh: Refresh = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Maximum number of records to ask the services about.", show_default=False),
    ] = None,
    replace_shorter: Annotated[
        bool,
        typer.Option(
            "--replace-shorter",
            help="Replace truncated and very short abstracts with longer abstracts that begin in the same way.",
        ),
    ] = False,
    discard_abstracts: Annotated[
        bool,
        typer.Option(
            "--discard-abstracts",
            help="Discard the abstracts in the records, for example if they are only synopses, and fetch every "
            "abstract again.",
        ),
    ] = False,
    any_licence: Annotated[
        bool,
        typer.Option("--any-licence", help="Also download free PDFs that have no Creative Commons licence."),
    ] = False,
) -> None:
    """Fetch missing abstracts, identifiers and free full texts of your records from web services.

    Only identifiers and titles of records, your e-mail address, and your keys for the services (if you have any) are
    sent. Every answer is kept in fetch.sqlite in the output folder. After an interruption, run the same command again:
    it continues where it stopped. fetched.csv lists the source of each fetched field. candidates.csv lists papers that
    may match a record, for you to check.

    Example: `mechtag fetch unique.parquet -o fetched/ --email you@example.org`
    """
    from mechtag.pipeline.fetch.gaps import SERVICES, USUAL, WHAT, Wanted
    from mechtag.workflows.fetch import fetch as fetch_fields

    wanted = Wanted(
        _listed("--what", what, WHAT),
        _listed("--sources", sources or ",".join(USUAL), tuple(SERVICES)),
        replace_shorter,
        limit,
    )
    access = _access(email, offline, refresh)
    for line in fetch_fields(
        records,
        output,
        wanted,
        access,
        dry_run=dry_run,
        discard_abstracts=discard_abstracts,
        any_licence=any_licence,
        reporter=Terminal(),
    ):
        show(line)


def chase(
    included: Annotated[
        Path,
        typer.Argument(
            metavar="INCLUDED", help="Records of the included papers, as a parquet table or a search export."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="RIS file to write the papers to. The tables and the cache of answers are written to the same folder.",
        ),
    ],
    email: Email = "",
    direction: Annotated[
        str,
        typer.Option(
            "--direction",
            help="Papers to find: 'backward' (cited by the included papers), 'forward' (citing them), or "
            "'backward,forward' (both).",
        ),
    ] = "backward,forward",
    sources: Annotated[str, typer.Option("--sources", help="Services to ask.")] = "openalex,europepmc",
    known: Annotated[
        list[Path] | None,
        typer.Option(
            "--known",
            help="Records that you already have, such as the results of your database searches; they are left out of "
            "the output.",
        ),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(
            "--rounds",
            min=1,
            max=2,
            help="Number of rounds. The first round follows the citations of the included papers. The second round "
            "follows the citations of the papers found in the first round.",
        ),
    ] = 1,
    dry_run: DryRun = False,
    offline: Offline = False,
    refresh: Refresh = False,
    project: ProjectFolder = None,
) -> None:
    """Find papers that cite the included papers, or that the included papers cite.

    Included and known papers are left out. The papers with the most citations to or from included papers come first. A
    note in each record states the citations by which the paper was found. A YAML file next to the output contains the
    counts for the box 'Citation searching' of the PRISMA diagram.

    Example: `mechtag chase included.ris -o chased/chased.ris --known unique.parquet --email you@example.org`
    """
    from mechtag.pipeline.fetch.citations import DIRECTIONS, SOURCES
    from mechtag.workflows.chase import chase as follow

    chosen = _listed("--direction", direction, DIRECTIONS)
    for line in follow(
        included,
        output,
        _access(email, offline, refresh),
        known=known or (),
        directions=[one for one in DIRECTIONS if one in chosen],
        sources=_listed("--sources", sources, SOURCES),
        rounds=rounds,
        settings=open_project(project).settings.dedupe,
        dry_run=dry_run,
        reporter=Terminal(),
    ):
        show(line)
