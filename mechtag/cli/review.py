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
            metavar="[FOLDER]",
            help="Folder of the review. Default: the nearest project in or above the working directory.",
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Open an example review instead of your own. Default folder: mechtag-demo.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port at which the page is served.")] = 8765,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    host: Annotated[
        str | None,
        typer.Option(
            "--serve",
            metavar="ADDRESS",
            help="Address of this computer at which to serve the page to a team (0.0.0.0: all networks). Requires "
            "HTTPS.",
            show_default=False,
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="HOST", help="Host name at which the team opens the page, such as review.example.org."
        ),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Certificate file for HTTPS (PEM).", show_default=False)
    ] = None,
    private_key: Annotated[
        Path | None,
        typer.Option("--private-key", help="File of the certificate's private key (PEM).", show_default=False),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            "--behind-proxy",
            metavar="IP",
            help="Address of the reverse proxy that provides HTTPS.",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve without HTTPS: everybody on the network can read passwords.")
    ] = False,
    owner_link: Annotated[
        bool,
        typer.Option(
            "--new-owner-link",
            help="Print a link with which an owner can join the review, for example after losing a password.",
        ),
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Repair the database by recomputing the state of all records from the log of events, then exit.",
        ),
    ] = False,
) -> None:
    """Screen, code and reconcile the records of a review in a browser.

    If the folder is not a project yet, the page first asks how to create it. Without --serve, only this computer can
    open the page, and no data leave this computer.

    Example: `mechtag review my-review`

    Example: `mechtag review --demo`
    """
    from mechtag.core.errors import MechtagError
    from mechtag.core.settings import PARAMS
    from mechtag.review.demo import FOLDER, create_demo
    from mechtag.review.server import Team, serve
    from mechtag.review.server import rebuild as rebuild_review

    if demo and host is not None:
        raise typer.BadParameter(
            "--demo opens an example for one person, so it does not serve a team; omit --serve or --demo"
        )
    if demo:
        folder = folder or FOLDER
        if not (folder / PARAMS).exists():
            say(f"{folder}: creating the example")
            create_demo(folder)
    if folder is None:
        project = open_project(None)
        try:
            project.require_own()
        except MechtagError as error:
            raise MechtagError(str(error), options="mechtag review FOLDER") from None
        folder = project.root
    if rebuild:
        rebuild_review(folder, say)
        return
    team = None
    if host is not None:
        team = Team(host, tuple(names or ()), certificate, private_key, proxy, insecure, owner_link)
    serve(folder, port=port, browser=browser, team=team, say=say)
