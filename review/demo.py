"""Create a demonstration review from the search export that comes with mechtag."""

from __future__ import annotations

from pathlib import Path

from mechtag.project import SHIPPED, create_project
from mechtag.review.acts import Stamp
from mechtag.review.imports import ADD, File, ask, take_files
from mechtag.review.jobs.importing import JOBS
from mechtag.review.jobs.worker import do_next
from mechtag.review.store.accounts import add_account
from mechtag.review.workspace import Workspace, write_fact

#: Folder in which the review is created if the user does not name one.
FOLDER = Path("mechtag-demo")
_EXPORT = SHIPPED / "demo.ris"
_PERSON = "Demo reviewer"


def create_demo(root: Path) -> None:
    """Create a review with one person in a new folder, and import the search export that comes with mechtag.

    Raises
    ------
    MechtagError
        If the folder is already a project.
    """
    workspace = Workspace.open(create_project(root))
    try:
        with workspace.store.write() as connection:
            owner = add_account(connection, _PERSON, "owner")
            write_fact(connection, "name", "Demo: leadership in integrated care")
        for key in ("coders_screen", "coders_code"):
            workspace.acts.change_plan(Stamp(owner), key, 1)
        with _EXPORT.open("rb") as content:
            batch = take_files(workspace, owner, [File("search.ris", content)])
        do_next(workspace, JOBS)
        ask(workspace, owner, batch, ADD)
        do_next(workspace, JOBS)
    finally:
        workspace.store.close()
