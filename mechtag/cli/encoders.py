"""Commands that fetch encoders, which turn texts into vectors."""

from __future__ import annotations

from typing import Annotated

import typer

from mechtag.cli.options import say, show

encoder = typer.Typer(no_args_is_help=True, help="Download an encoder, which turns texts into vectors.")


@encoder.callback()
def _group() -> None:
    """Keep `get` a subcommand although it is the only one."""


@encoder.command()
def get(
    name: Annotated[str, typer.Argument(metavar="ID", help="Id of the model on the Hugging Face hub: owner/model.")],
    revision: Annotated[str, typer.Option("--revision", help="Branch, tag or commit of the model.")] = "main",
) -> None:
    """Download an encoder from the Hugging Face hub, and print the settings that use it.

    Only weights (safetensors), configuration and tokenizer are downloaded; nothing that can run code. An encoder that
    is on this machine already is not downloaded again, so the command also works without a network. No other command
    downloads anything.

    Example: `mechtag encoder get sentence-transformers/all-mpnet-base-v2`
    """
    from mechtag.models import hub
    from mechtag.models.encoder import locate_encoder

    folder = hub.find_cached(name, revision)
    if folder is None:
        plan = hub.plan_download(name, revision)
        size = f"{plan.size / 1e6:,.1f} MB" if plan.size else "size unknown"
        say(f"{name}: downloading {len(plan.files)} files ({size}) from {plan.source} to {plan.target}")
        folder = hub.download(name, revision)
    say(f"{name}: on this machine, in {folder}; settings to use it, in params.yaml:")
    source = locate_encoder(name, revision=revision)
    # The name of the folder is the commit.
    show(f"encoder:\n  name: {name}\n  revision: {folder.name}\n  sha256: {source.sha256}")
