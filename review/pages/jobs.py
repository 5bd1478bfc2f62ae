"""Show the work of the worker process: a line in the header, the progress of one job, and the latest jobs."""

from __future__ import annotations

from sqlalchemy import select
from starlette.responses import HTMLResponse, Response

from mechtag.review.render import render
from mechtag.review.store import schema
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import now_working, working

_SHOWN = 20
#: Name of each kind of job.
NAMES = {
    "rank": "Compute the reading order",
    "read": "Read files",
    "add": "Add records",
    "remove": "Take records out",
    "files": "Write the tables of records",
    "tag": "Compute suggestions",
    "export": "Export",
    "read_full_texts": "Read full texts",
    "learn": "Train",
    "calibrate": "Compare the codes of an exercise",
    "curve": "Compute the learning curve",
    "roll_back": "Restore the previous model",
    "accuracy": "Measure the accuracy",
    "read_codings": "Read files with codes",
    "add_codings": "Add imported codes",
    "remove_codings": "Take imported codes out",
}


def jobs(visit: Visit) -> Response:
    """Show the latest jobs."""
    table = schema.job
    with visit.workspace.store.read() as connection:
        rows = connection.execute(select(table).order_by(table.c.id.desc()).limit(_SHOWN)).all()
    return visit.page("jobs.html", rows=rows, names=NAMES)


def now(visit: Visit) -> Response:
    """Return the line in the header that says what the worker does."""
    with visit.workspace.store.read() as connection:
        current = now_working(connection)
    return HTMLResponse(render("working.html", working=current))


def progress(visit: Visit) -> Response:
    """Return the progress of a job; once the job has ended, reload the page from which it was started."""
    number, table = int(visit.path["job"]), schema.job
    with visit.workspace.store.read() as connection:
        row = connection.execute(select(table).where(table.c.id == number)).one_or_none()
    if row is None or row.state in ("done", "failed"):
        return HTMLResponse("", headers={"HX-Refresh": "true"})
    return HTMLResponse(render("progress.html", job=working(row)))


ROUTES = [
    route("/jobs", "jobs", jobs),
    route("/jobs/now", "jobs", now),
    route("/jobs/{job:int}", "jobs", progress),
]
