"""The project page: what is next, and how far the review has got."""

from __future__ import annotations

from sqlalchemy import func, select
from starlette.responses import Response

from mechtag.review.store import schema
from mechtag.review.store.queue import count_states, count_waiting
from mechtag.review.visit import Visit, route


def home(visit: Visit) -> Response:
    """Show the project page."""
    with visit.workspace.store.read() as connection:
        records = connection.execute(select(func.count()).select_from(schema.record)).scalar_one()
        stages = {stage: count_states(connection, stage) for stage in ("screen", "code")}
        mine = {stage: count_waiting(connection, visit.person.id, stage) for stage in ("screen", "code")}
    return visit.page("home.html", records=records, stages=stages, mine=mine)


ROUTES = [route("/", "home", home)]
