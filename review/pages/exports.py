"""Show the page *Export*, on which people create files and download them."""

from __future__ import annotations

import json

from sqlalchemy import select
from starlette.responses import FileResponse, Response

from mechtag.review.acts import Refused, Stamp
from mechtag.review.jobs.exporting import BY_NAME, EXPORTS, KIND, folder_of
from mechtag.review.pages.records import sees_results
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import add_job


def exports(visit: Visit) -> Response:
    """Show the files that can be exported, and which of them are ready."""
    with visit.workspace.store.read() as connection:
        open_to, unblinded = sees_results(visit, connection), read_plan(connection).unblinded
        table = schema.job
        rows = connection.execute(select(table).where(table.c.kind == KIND).order_by(table.c.id)).all()
    mine = {}
    for row in rows:
        arguments = json.loads(row.arguments)
        if arguments["coder"] == (None if open_to else visit.person.id):
            mine[arguments["name"]] = row
    chosen = [export for export in EXPORTS if open_to or export.open_to_blinded]
    return visit.page("export.html", exports=chosen, jobs=mine, open_to=open_to, unblinded=unblinded)


def make(visit: Visit) -> Response:
    """Add a job that writes one of the exports to a file."""
    export = BY_NAME.get(visit.text("name"))
    if export is None:
        raise Refused("there is no such export", 404)
    with visit.workspace.store.write() as connection:
        open_to = sees_results(visit, connection)
        if not open_to and not export.open_to_blinded:
            raise Refused("this file shows how others decided, so it can be created only after blinding is lifted", 403)
        coder = None if open_to else visit.person.id
        add_job(connection, KIND, visit.person.id, name=export.name, coder=coder)
    stamp = visit.stamp()
    visit.workspace.acts.log(Stamp(stamp.coder, stamp.client_id), "export", {"name": export.name, "coder": coder})
    return visit.go("/export")


def download(visit: Visit) -> Response:
    """Send the file of a finished export."""
    with visit.workspace.store.read() as connection:
        row = connection.execute(select(schema.job).where(schema.job.c.id == int(visit.path["job"]))).one_or_none()
        open_to = sees_results(visit, connection)
    if row is None or row.kind != KIND or row.state != "done":
        raise Refused("there is no such file", 404)
    arguments = json.loads(row.arguments)
    if not open_to and arguments["coder"] != visit.person.id:
        raise Refused("this file shows how others decided, so it can be downloaded only after blinding is lifted", 403)
    path = folder_of(visit.workspace) / json.loads(row.result)["path"]
    if not path.is_file():
        raise Refused("this file has been replaced by a newer file; create it again", 404)
    return FileResponse(path, filename=BY_NAME[arguments["name"]].file)


ROUTES = [
    route("/export", "export", exports),
    route("/export", "make_export", make, ("POST",)),
    route("/export/{job:int}", "download", download),
]
