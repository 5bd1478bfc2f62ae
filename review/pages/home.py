"""Show the project page: the next task, the progress of the review, and whether screening may stop."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, select
from starlette.responses import Response

from mechtag.review.acts import Refused
from mechtag.review.jobs.ranking import FACT
from mechtag.review.mentions import mentions_of
from mechtag.review.order import left_in_exercise
from mechtag.review.pages.records import sees_results
from mechtag.review.plan import STAGE_NAMES, STAGES
from mechtag.review.store import schema
from mechtag.review.store.events import is_stopped, read_plan
from mechtag.review.store.exercises import running_exercise
from mechtag.review.store.new_labels import count_owed
from mechtag.review.store.queue import count_shown, count_waiting, count_work
from mechtag.review.store.sent_back import sent_back
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import read_fact

# Address of the page on which people code, by stage.
_CODING = {"code": "/code", "full-text": "/full-text"}


def home(visit: Visit) -> Response:
    """Show the project page: the person's next task, the progress of the review, and whether screening may stop."""
    with visit.workspace.store.read() as connection:
        records = connection.execute(select(func.count()).select_from(schema.record)).scalar_one()
        stages = {stage: count_shown(connection, stage) for stage in STAGES}
        mine = {stage: count_waiting(connection, visit.person.id, stage) for stage in STAGES}
        owed = {place: count_owed(connection, visit.person.id, stage) for stage, place in _CODING.items()}
        back = sent_back(connection, visit.person.id)
        mentions = mentions_of(connection, visit.person.id, visit.person.name)
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
        work = count_work(connection, midnight.isoformat(timespec="milliseconds"))
        exercise = running_exercise(connection)
        exercise_left = 0 if exercise is None else len(left_in_exercise(connection, visit.person.id, exercise))
        stopping = {"stop": False, "open_again": 0} | (read_fact(connection, FACT) or {})
        plan, stopped = read_plan(connection), is_stopped(connection)
        model = read_fact(connection, "model")
        open_to = sees_results(visit, connection)
    return visit.page(
        "home.html",
        records=records,
        stages=stages,
        stage_names=STAGE_NAMES,
        mine=mine,
        owed=owed,
        back=back,
        mentions=mentions,
        work=work,
        exercise_left=exercise_left,
        stopping=stopping,
        plan=plan,
        stopped=stopped,
        open_to=open_to,
        model=model,
    )


def read_mention(visit: Visit) -> Response:
    """Remove a mention from the person's list of mentions."""
    visit.workspace.acts.read_mention(visit.stamp(), visit.number("mention") or 0)
    return visit.go("/")


def stop(visit: Visit) -> Response:
    """Stop screening, although some records have no decision yet.

    If the target for stopping has not been reached, the person must enter a reason.
    """
    with visit.workspace.store.read() as connection:
        found = read_fact(connection, FACT) or {}
    verdict = {name: value for name, value in found.items() if name != "sample"}
    why = visit.text("why").strip()
    if not found.get("stop") and not why:
        raise Refused(
            "the target for stopping has not been reached; enter a reason for stopping, which will appear in the report"
        )
    visit.workspace.acts.stop_screening(visit.stamp(), verdict, why)
    return visit.go("/")


def resume(visit: Visit) -> Response:
    """Resume screening after it was stopped."""
    visit.workspace.acts.resume_screening(visit.stamp())
    return visit.go("/")


ROUTES = [
    route("/", "home", home),
    route("/mentions", "read_mention", read_mention, ("POST",)),
    route("/stop", "stop", stop, ("POST",)),
    route("/resume", "resume", resume, ("POST",)),
]
