"""Show the *Missing abstracts* page, on which people can have missing abstracts fetched from web services."""

from __future__ import annotations

import json

from sqlalchemy import func, or_, select
from starlette.responses import Response

from mechtag.review.jobs import fetching
from mechtag.review.store import schema
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import add_job, last_job


def abstracts(visit: Visit) -> Response:
    """Show the number of records without an abstract, and the result of the last request to fetch abstracts."""
    record = schema.record
    with visit.workspace.store.read() as connection:
        missing = connection.execute(select(func.count()).select_from(record).where(*fetching.MISSING)).scalar_one()
        known = connection.execute(
            select(func.count())
            .select_from(record)
            .where(*fetching.MISSING, or_(record.c.doi.is_not(None), record.c.pmid.is_not(None)))
        ).scalar_one()
        job = last_job(connection, fetching.KIND)
    return visit.page(
        "abstracts.html",
        missing=missing,
        known=known,
        job=job,
        found=json.loads(job.result) if job is not None and job.state == "done" else None,
    )


def fetch(visit: Visit) -> Response:
    """Check the e-mail address in the form, and add a job that fetches the missing abstracts."""
    email = visit.text("email").strip()
    fetching.check_address(email)
    with visit.workspace.store.write() as connection:
        add_job(connection, fetching.KIND, visit.person.id, coder=visit.person.id, email=email)
    return visit.go("/abstracts")


ROUTES = [
    route("/abstracts", "abstracts", abstracts),
    route("/abstracts", "fetch_abstracts", fetch, ("POST",)),
]
