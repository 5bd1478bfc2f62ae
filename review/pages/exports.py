"""Show the *Export* page, on which people create files with codes, decisions or references and download them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select
from starlette.responses import FileResponse, Response

from mechtag.review.acts import Refused, Stamp
from mechtag.review.jobs.exporting import BY_NAME, EXPORTS, KIND, folder_of
from mechtag.review.pages.records import sees_results
from mechtag.review.sight import hidden_places
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import add_job


def exports(visit: Visit) -> Response:
    """Show the files that the person can export, with links to the files that have been created."""
    with visit.workspace.store.read() as connection:
        open_to, hidden = sees_results(visit, connection), _hides_something(visit, connection)
        table = schema.job
        rows = connection.execute(select(table).where(table.c.kind == KIND).order_by(table.c.id)).all()
    mine, files = {}, {}
    for row in rows:
        arguments = json.loads(row.arguments)
        if _may_download(visit, row, arguments, open_to):
            mine[arguments["name"]] = row
            if (made := BY_NAME.get(arguments["name"])) is not None:
                files[arguments["name"]] = made.file_in(arguments.get("format"))
    chosen = [export for export in EXPORTS if open_to or export.open_to_blinded]
    return visit.page("export.html", exports=chosen, jobs=mine, files=files, open_to=open_to, hidden=hidden)


def _may_download(visit: Visit, row: Any, arguments: Mapping[str, Any], open_to: bool) -> bool:
    """Return whether a person may download the file that a job created.

    ``open_to`` states whether the person may see the decisions of others.
    """
    # A file with the codes of one person is only for this person. All other files are only for people who may see the
    # decisions of others (``open_to``). A file that shows codes by name is only for the person who requested it.
    if arguments["coder"] is not None or not open_to:
        return bool(arguments["coder"] == visit.person.id)
    return not BY_NAME[arguments["name"]].names_people or bool(row.asked_by == visit.person.id)


def _hides_something(visit: Visit, connection: Connection) -> bool:
    """Return whether the person is an owner or adjudicator from whom some codes of others are still hidden."""
    if not visit.person.may("screen") or not visit.person.may("conflict") or read_plan(connection).unblinded:
        return False
    current = schema.current
    judged = select(current.c.record, current.c.stage).where(current.c.coder != visit.person.id).distinct()
    hidden = hidden_places(connection, visit.person.id)
    return any((record, stage) in hidden for record, stage in connection.execute(judged))


def make(visit: Visit) -> Response:
    """Add a job that creates the export file that a person requested, and record the request in the log."""
    export = BY_NAME.get(visit.text("name"))
    if export is None:
        raise Refused("there is no export with this name; choose one of the exports on the Export page", 404)
    given = {"format": visit.text("format")} if export.formats else {}
    with visit.workspace.store.write() as connection:
        open_to = sees_results(visit, connection)
        if not open_to and not export.open_to_blinded:
            raise Refused("this file shows how others decided, so you can create it only after blinding has ended", 403)
        if given and given["format"] not in {one.name for one in export.formats}:
            raise Refused("this export has no such format; choose one of the formats on the Export page", 404)
        coder = None if open_to else visit.person.id
        hidden = open_to and export.names_people and _hides_something(visit, connection)
        everything = hidden and visit.text("everything") == "1"
        if hidden and export.name == "project" and not everything:
            raise Refused(
                "the project contains other people's codes for records that you can still judge. To export the project "
                "for somebody else, tick the box to confirm that you will not look at these codes"
            )
        viewer = visit.person.id if hidden and not everything else None
        add_job(connection, KIND, visit.person.id, name=export.name, coder=coder, viewer=viewer, **given)
    stamp = visit.stamp()
    content = {"name": export.name, "coder": coder, **given, **({"everything": True} if everything else {})}
    visit.workspace.acts.log(Stamp(stamp.coder, stamp.client_id), "export", content)
    return visit.go("/export")


def download(visit: Visit) -> Response:
    """Send the file of a finished export."""
    with visit.workspace.store.read() as connection:
        row = connection.execute(select(schema.job).where(schema.job.c.id == int(visit.path["job"]))).one_or_none()
        open_to = sees_results(visit, connection)
    if row is None or row.kind != KIND or row.state != "done":
        raise Refused("this file does not exist; create it on the Export page", 404)
    arguments = json.loads(row.arguments)
    if not _may_download(visit, row, arguments, open_to):
        raise Refused(
            "you may not download this file, because it shows what others decided; create a file for yourself on the "
            "Export page",
            403,
        )
    path = folder_of(visit.workspace) / json.loads(row.result)["path"]
    if not path.is_file():
        raise Refused("this file was deleted when a newer file was created; create it again on the Export page", 404)
    return FileResponse(path, filename=BY_NAME[arguments["name"]].file_in(arguments.get("format")))


ROUTES = [
    route("/export", "export", exports),
    route("/export", "make_export", make, ("POST",)),
    route("/export/{job:int}", "download", download),
]
