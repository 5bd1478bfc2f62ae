"""Register all commands of the command line, and handle errors."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

import mechtag
from mechtag.cli.accuracy import agreement, evaluate, methods, report, track
from mechtag.cli.annotations import codings, next_papers
from mechtag.cli.codebooks import codebook
from mechtag.cli.encoders import encoder
from mechtag.cli.fetching import chase, fetch
from mechtag.cli.llm import llm, llm_vote
from mechtag.cli.options import Commands, printable_warnings, say
from mechtag.cli.project import init, status
from mechtag.cli.records import attach, dedupe, ingest, prisma, sentences
from mechtag.cli.retraining import retrain
from mechtag.cli.review import review
from mechtag.cli.roles import roles
from mechtag.cli.screening import rank, simulate
from mechtag.cli.tagging import export, tag
from mechtag.cli.training import baselines, curve, train, variations

# In the order in which a review uses the commands, which is also their order in the help.
COMMANDS = (
    *(init, status, review, tag, ingest, dedupe, fetch, attach, sentences, export, rank, simulate, chase, prisma),
    *(next_papers, codings, train, retrain, baselines, curve, variations),
    *(llm, llm_vote, evaluate, agreement, report, methods, track),
)

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

for command in COMMANDS:
    app.command({next_papers: "next", llm_vote: "llm-vote"}.get(command))(command)
app.add_typer(codebook, name="codebook")
app.add_typer(encoder, name="encoder")
app.add_typer(roles, name="roles")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mechtag {mechtag.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tag search exports with relevance and the labels of a codebook, and measure how accurate the tags are."""


def main() -> None:
    """Run the command line. If the user can fix an error, print one message and exit with status 1."""
    from mechtag.core.errors import MechtagError

    try:
        with printable_warnings():
            app()
    except MechtagError as error:
        say(f"mechtag: {error.on_command_line}")
        sys.exit(1)
    except shutil.Error as error:
        # Copying a folder collects the errors of all its files; each contains source, target and reason.
        problems = error.args[0]
        say(f"mechtag: {problems[0][2] if isinstance(problems, list) else error}")
        sys.exit(1)
    except OSError as error:
        say(": ".join(("mechtag", *filter(None, [error.filename]), error.strerror or str(error))))
        sys.exit(1)
