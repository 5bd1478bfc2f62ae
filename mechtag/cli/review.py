"""The command that serves the review page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import open_project, say


def review(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]", help="Folder of the review. Default: the nearest project, from here upwards."
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port of the page.")] = 8765,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Screen, code and reconcile the records of a review in a browser.

    The page is served on this computer only, and nothing leaves it.

    Example: `mechtag review my-review`
    """
    from mechtag.project import PARAMS, create_project
    from mechtag.review.server import serve

    if folder is not None and not (folder / PARAMS).exists():
        create_project(folder)
        say(f"{folder}: created, with the codebook that comes with mechtag")
    project = open_project(folder)
    project.require_own()
    serve(project, port=port, browser=browser, say=say)
