"""Show and cancel the work of the worker process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update
from starlette.responses import HTMLResponse, Response

from mechtag.review.acts import Refused, Stamp, utc_now
from mechtag.review.render import render
from mechtag.review.store import schema
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import ENDED, STOPPING, now_working, working

_SHOWN = 20
#: Name of each kind of job.
NAMES = {
    "rank": "Compute the reading order",
    "read": "Read files",
    "add": "Add records",
    "remove": "Remove records",
    "files": "Write the tables of records",
    "tag": "Compute suggestions",
    "export": "Export",
    "read_full_texts": "Read full texts",
    "fetch_abstracts": "Fetch abstracts",
    "learn": "Train",
    "calibrate": "Compare the codes of an exercise",
    "curve": "Compute the learning curve",
    "roll_back": "Restore the previous model",
    "accuracy": "Measure the accuracy",
    "read_codings": "Read files with codes",
    "add_codings": "Add imported codes",
    "remove_codings": "Remove imported codes",
    "read_project": "Read a project",
    "add_project": "Add what was done in a copy",
}


#: Route on which people start jobs of each kind. Other jobs cannot be cancelled, because mechtag itself starts them, or
#: because they cannot be started again.
STARTED_ON: Mapping[str, str] = {
    "read": "import_upload",
    "add": "import_act",
    "remove": "import_act",
    "export": "make_export",
    "fetch_abstracts": "fetch_abstracts",
    "read_full_texts": "full_texts_upload",
    "learn": "start_learning",
    "calibrate": "end_exercise",
    "curve": "compute_curve",
    "accuracy": "compute_accuracy",
    "read_codings": "codings_upload",
    "add_codings": "codings_act",
    "remove_codings": "codings_act",
    "read_project": "merge_upload",
}


def jobs(visit: Visit) -> Response:
    """Show the latest jobs of the worker process."""
    table = schema.job
    with visit.workspace.store.read() as connection:
        rows = connection.execute(select(table).order_by(table.c.id.desc()).limit(_SHOWN)).all()
    mine = {row.id for row in rows if row.state in ("waiting", "running") and _may_cancel(visit, row)}
    return visit.page("jobs.html", rows=rows, names=NAMES, can_be_cancelled=mine)


def _may_cancel(visit: Visit, row: Any) -> bool:
    """Return whether a person may cancel a job: whoever may start such a job may, but an export is one's own."""
    start = STARTED_ON.get(row.kind)
    own = row.kind != "export" or row.asked_by == visit.person.id
    return start is not None and visit.person.may(start) and own


def cancel(visit: Visit) -> Response:
    """Cancel a job. A job that has not started ends at once; a running job ends at its next step."""
    number, table, stamp = int(visit.path["job"]), schema.job, visit.stamp()
    with visit.workspace.store.write() as connection:
        row = connection.execute(select(table).where(table.c.id == number)).one_or_none()
        if row is None:
            raise Refused("there is no such job", 404)
        if not _may_cancel(visit, row):
            raise Refused("only people who may start this job can cancel it", 409)
        if row.state in ENDED:
            raise Refused("this job has ended already, so it can no longer be cancelled", 409)
        if row.state != STOPPING:
            values: dict[str, str] = {"state": STOPPING}
            if row.state == "waiting" and row.started is None:
                message = "this was cancelled before it was started; it can be started again"
                arguments = json.loads(row.arguments)
                arguments.pop("email", None)  # as at the end of a job, so that no file keeps the address
                text = json.dumps(arguments, ensure_ascii=False, sort_keys=True)
                values = {"state": "cancelled", "ended": utc_now(), "message": message, "arguments": text}
            connection.execute(update(table).where(table.c.id == number).values(values))
            content = {"job": number, "kind": row.kind, "name": NAMES[row.kind]}
            visit.workspace.acts.in_transaction(connection).log(Stamp(stamp.coder, stamp.client_id), "cancel", content)
    return visit.go("/jobs")


def now(visit: Visit) -> Response:
    """Return the line in the header of all pages that states which job the worker is running."""
    with visit.workspace.store.read() as connection:
        current = now_working(connection)
    return HTMLResponse(render("working.html", working=current))


def progress(visit: Visit) -> Response:
    """Return the progress of a job; once the job has ended, make the browser load its page again."""
    number, table = int(visit.path["job"]), schema.job
    with visit.workspace.store.read() as connection:
        row = connection.execute(select(table).where(table.c.id == number)).one_or_none()
    if row is None or row.state in ENDED:
        return HTMLResponse("", headers={"HX-Refresh": "true"})
    return HTMLResponse(render("progress.html", job=working(row)))


ROUTES = [
    route("/jobs", "jobs", jobs),
    route("/jobs/now", "jobs", now),
    route("/jobs/{job:int}", "jobs", progress),
    route("/jobs/{job:int}/cancel", "cancel_job", cancel, ("POST",)),
]
