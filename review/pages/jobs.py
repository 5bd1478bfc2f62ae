"""Show the *Work in the background* page, where people see and cancel the jobs of the worker process."""

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
from mechtag.review.workspace import ENDED, JOB_NAMES, STOPPING, now_working, working

_SHOWN = 20
#: Route with which people start jobs of each kind. Jobs of other kinds cannot be cancelled, because mechtag itself
#: starts them, or because people could not start them again in the same way.
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
    """Show the latest jobs of the worker process.

    If the person may cancel a job, the job has a button for this.
    """
    table = schema.job
    with visit.workspace.store.read() as connection:
        rows = connection.execute(select(table).order_by(table.c.id.desc()).limit(_SHOWN)).all()
    mine = {row.id for row in rows if row.state in ("waiting", "running") and _may_cancel(visit, row)}
    return visit.page("jobs.html", rows=rows, names=JOB_NAMES, can_be_cancelled=mine)


def _may_cancel(visit: Visit, row: Any) -> bool:
    start = STARTED_ON.get(row.kind)
    # An export can be cancelled only by the person who started it.
    own = row.kind != "export" or row.asked_by == visit.person.id
    return start is not None and visit.person.may(start) and own


def cancel(visit: Visit) -> Response:
    """Cancel a job.

    A job that has not started ends immediately. A running job ends at its next step.
    """
    number, table, stamp = int(visit.path["job"]), schema.job, visit.stamp()
    with visit.workspace.store.write() as connection:
        row = connection.execute(select(table).where(table.c.id == number)).one_or_none()
        if row is None:
            raise Refused("this job does not exist; reload the Work in the background page", 404)
        if not _may_cancel(visit, row):
            raise Refused(
                "you cannot cancel this job; cancel only jobs that have a Cancel button on the Work in the background "
                "page",
                409,
            )
        if row.state in ENDED:
            raise Refused(
                "this job has already ended, so it can no longer be cancelled; reload the page to see the result",
                409,
            )
        if row.state != STOPPING:
            values: dict[str, str] = {"state": STOPPING}
            if row.state == "waiting" and row.started is None:
                message = "this work was cancelled before it began; you can start it again"
                arguments = json.loads(row.arguments)
                arguments.pop("email", None)  # The log must not contain the address.
                text = json.dumps(arguments, ensure_ascii=False, sort_keys=True)
                values = {"state": "cancelled", "ended": utc_now(), "message": message, "arguments": text}
            connection.execute(update(table).where(table.c.id == number).values(values))
            content = {"job": number, "kind": row.kind, "name": JOB_NAMES[row.kind]}
            visit.workspace.acts.in_transaction(connection).log(Stamp(stamp.coder, stamp.client_id), "cancel", content)
    return visit.go("/jobs")


def now(visit: Visit) -> Response:
    """Return the HTML that shows the current or next job of the worker process in the header of all pages."""
    with visit.workspace.store.read() as connection:
        current = now_working(connection)
    return HTMLResponse(render("working.html", working=current))


def progress(visit: Visit) -> Response:
    """Return the HTML that shows the progress of a job.

    Once the job has ended, the response makes the browser reload the page.
    """
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
