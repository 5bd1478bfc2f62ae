"""Show the *Import a project* page, on which owners import the work that people did in a copy of the review."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from mechtag.review.acts import Refused
from mechtag.review.imports import LARGEST_BATCH, save_file, saving
from mechtag.review.jobs.merging import ADD, READ, REMOVE, ZIP, folder_of
from mechtag.review.merge_undo import plan_undo
from mechtag.review.pages.imported import NEW, Kinds, choices, chosen_people, find_import, list_imports
from mechtag.review.plan import STAGE_NAMES
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import ACTIVE, add_job, working

_KINDS = Kinds(READ, ADD, REMOVE)
# Title of the page while a job of each kind runs.
_DOING = {
    READ: "Reading the project",
    ADD: "Adding the actions of the copy",
    REMOVE: "Undoing the import, or adding it again",
}


def overview(visit: Visit) -> Response:
    """Show the form for uploading a project zip, and the list of the zips uploaded so far."""
    return _overview(visit)


def _overview(visit: Visit, fault: str = "", status: int = 200) -> Response:
    with visit.workspace.store.read() as connection:
        zips = list_imports(connection, _KINDS)
    return visit.page("merge.html", zips=zips, fault=fault, status=status, largest=LARGEST_BATCH // 1_000_000_000)


def _read(connection: Connection, number: int) -> dict[str, Any]:
    found = find_import(connection, number, _KINDS)
    if found is None:
        raise Refused("this import does not exist; choose one of the imports on the 'Import a project' page", 404)
    return found


def upload(visit: Visit) -> Response:
    """Save the uploaded zip, and add a job that reads it."""
    try:
        sent = visit.files("file")
        if len(sent) != 1:
            raise Refused("choose one file: the zip of a project")
        token = secrets.token_hex(8)
        folder = folder_of(visit.workspace, token)
        with saving(folder):
            folder.mkdir(parents=True)
            save_file(sent[0], folder / ZIP, LARGEST_BATCH, "export the project again without large files")
    except Refused as error:
        return _overview(visit, str(error), error.status)
    with visit.workspace.store.write() as connection:
        number = add_job(connection, READ, visit.person.id, token=token, coder=visit.person.id)
    return visit.go(f"/merge/{number}")


def one(visit: Visit) -> Response:
    """Show one uploaded zip: the progress of its job, what the zip contains, or what was added from the zip."""
    return _one(visit)


def _one(visit: Visit, fault: str = "", status: int = 200) -> Response:
    with visit.workspace.store.read() as connection:
        this = _read(connection, int(visit.path["job"]))
        accounts = choices(connection)
        undone = [each for each in list_imports(connection, _KINDS) if each["is_removed"]]
    people = {}
    for number, person in this["found"].get("people", {}).items():
        proposed = NEW if person["account"] is None else str(person["account"])
        people[number] = person | {"chosen": visit.text(f"person-{number}") or proposed}
    last = this["last"]
    return visit.page(
        "merge_one.html",
        status=status,
        fault=fault,
        this=this,
        job=working(last) if last.state in ACTIVE else None,
        people=people,
        accounts=accounts,
        undone=undone,
        stages=STAGE_NAMES,
        doing=_DOING[last.kind],
    )


def act(visit: Visit) -> Response:
    """Add a job that imports the actions in a copy of the review, or that undoes or redoes such an import."""
    number = int(visit.path["job"])
    try:
        with visit.workspace.store.write() as connection:
            this = _read(connection, number)
            wanted = visit.text("act")
            if this["last"].state not in ACTIVE and wanted in ("undo", "again"):
                plan_undo(connection, number, again=wanted == "again")
                asked = {"of": number, "again": wanted == "again", "coder": visit.person.id}
                add_job(connection, REMOVE, visit.person.id, **asked)
                return visit.go(f"/merge/{number}")
            if this["last"].state in ACTIVE or this["added"]:
                return visit.go(f"/merge/{number}")  # It was asked for already.
            found = this["found"].get("people", {})
            if not found:
                raise Refused(
                    "this zip contains nothing that can be added; choose a different zip on the 'Import a project' "
                    "page",
                    409,
                )
            people = chosen_people(
                visit,
                connection,
                {each: f"person-{each}" for each in found},
                missing="choose a person of this review, or a person outside this review, for each person in the copy",
                twice="two people in the copy cannot be the same person in this review; choose different people",
            )
            add_job(
                connection,
                ADD,
                visit.person.id,
                of=number,
                token=this["arguments"]["token"],
                people=people,
                known=[int(each) for each, person in found.items() if person["account"] is not None],
                coder=visit.person.id,
            )
    except Refused as error:
        if error.status == 404:
            raise
        return _one(visit, str(error), error.status)
    return visit.go(f"/merge/{number}")


ROUTES = [
    route("/merge", "merge", overview),
    route("/merge", "merge_upload", upload, ("POST",)),
    route("/merge/{job:int}", "merge_one", one),
    route("/merge/{job:int}", "merge_act", act, ("POST",)),
]
