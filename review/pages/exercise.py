"""Show the *Calibration exercise* page, on which people start and end an exercise, and see its progress and results.

In a calibration exercise, several people judge the same records before the real work.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select
from starlette.responses import Response

from mechtag.review import order
from mechtag.review.acts import CODING_ROLES, Refused
from mechtag.review.charts import draw_agreement
from mechtag.review.jobs.calibration import KIND
from mechtag.review.jobs.ranking import ask_after_decisions
from mechtag.review.pages.accuracy import COEFFICIENTS, OF_ALL
from mechtag.review.pages.records import sees_results
from mechtag.review.plan import STAGE_NAMES, STAGES
from mechtag.review.store import schema
from mechtag.review.store.accounts import names_of, withdrawn
from mechtag.review.store.exercises import (
    Exercise,
    count_done,
    read_exercises,
    records_to_draw,
    running_exercise,
)
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import add_job

#: Number of records that the form proposes, and largest number of records.
USUAL, LARGEST = 20, 200
# What is judged at each stage: a noun, and words that follow it.
_KINDS = {
    "screen": ("record", ""),
    "code": ("included record", ""),
    "full-text": ("included record", " with a full text"),
}


def exercise(visit: Visit) -> Response:
    """Show the running exercise or the form for a new exercise, and the results of past exercises.

    In a calibration exercise, several people judge the same records before the real work. Results that the person may
    not see yet are left out.
    """
    return _show(visit)


def _show(visit: Visit, fault: str = "", status: int = 200) -> Response:
    names = visit.workspace.codebook.names
    table = schema.account
    with visit.workspace.store.read() as connection:
        exercises = read_exercises(connection)
        running = next((one for one in exercises if one.state == "running"), None)
        people = names_of(connection)
        done, left = dict[int, int](), dict[int, int]()
        if running is not None:
            gone = set(connection.execute(withdrawn()).scalars())
            done = {coder: number for coder, number in count_done(connection, running).items() if coder not in gone}
            active = set(connection.execute(select(table.c.id).where(table.c.state == "active")).scalars())
            left = {
                coder: len(order.left_in_exercise(connection, coder, running)) if coder in active else 0
                for coder in done
            }
        coders = connection.execute(
            select(table.c.id, table.c.name)
            .where(table.c.state == "active", table.c.role.in_(CODING_ROLES))
            .order_by(table.c.name)
        ).all()
        open_records = {stage: len(records_to_draw(connection, stage)) for stage in STAGES}
        sees_all = sees_results(visit, connection)
        ended = [
            _result(connection, one, names)
            for one in exercises
            if one is not running and (visit.person.id in one.coders or sees_all)
        ]
    chosen = visit.numbers("coder") if visit.form else tuple(row.id for row in coders)
    return visit.page(
        "exercise.html",
        status=status,
        fault=fault,
        running=running,
        progress=[(people[coder], number, left[coder]) for coder, number in done.items()],
        missing=sum(left.values()),
        lost=0
        if running is None
        else max((len(running.records) - done[coder] - left[coder] for coder in done), default=0),
        mine=running is not None and visit.person.id in running.coders,
        people=people,
        coders=[(row.id, row.name, row.id in chosen) for row in coders],
        open_records=open_records,
        usual=visit.text("number") or str(USUAL),
        stage=visit.text("stage") or next((one for one in STAGES if open_records[one] > 1), STAGES[0]),
        stages=STAGE_NAMES,
        kinds=_KINDS,
        largest=LARGEST,
        ended=ended,
        names=names,
        coefficients=COEFFICIENTS,
        of_all=OF_ALL,
    )


def _result(connection: Connection, one: Exercise, names: dict[str, str]) -> dict[str, Any]:
    """Return an ended calibration exercise with its results; the results are ``None`` until they have been computed."""
    job = schema.job
    row = connection.execute(
        select(job)
        .where(job.c.kind == KIND, job.c.arguments == json.dumps({"exercise": one.id}))
        .order_by(job.c.id.desc())
        .limit(1)
    ).one_or_none()
    found = json.loads(row.result) if row is not None and row.state == "done" else None
    picture = draw_agreement(found["agreement"], names) if found is not None and found["agreement"] else None
    return {"exercise": one, "job": row, "found": found, "picture": picture}


def start(visit: Visit) -> Response:
    """Draw a random sample of records that nobody has judged, and start a calibration exercise with these records.

    In a calibration exercise, several people judge the same records before the real work.
    """
    stage, number = visit.text("stage"), visit.number("number") or 0
    try:
        if not 2 <= number <= LARGEST:
            raise Refused(f"the number of records must be from 2 to {LARGEST}; enter a different number")
        with visit.workspace.store.read() as connection:
            known = records_to_draw(connection, stage)
            before = len(read_exercises(connection))
        if len(known) < number:
            kind, without = _KINDS.get(stage, _KINDS["screen"])
            raise Refused(
                f"the exercise needs {number} new {kind}s{without}, but only {len(known)} were neither judged nor in "
                "an earlier exercise; enter a lower number"
            )
        # Each exercise of a review draws different records, but the same seed always leads to the same draws.
        drawn = order.random_order(known, visit.workspace.seed + before)[:number]
        visit.workspace.acts.start_exercise(visit.stamp(), stage, drawn, visit.numbers("coder"))
    except Refused as error:
        return _show(visit, str(error), error.status)
    return visit.go("/exercise")


def end(visit: Visit) -> Response:
    """End the running calibration exercise, and add a job that computes its results.

    In a calibration exercise, several people judge the same records before the real work.
    """
    with visit.workspace.store.read() as connection:
        running = running_exercise(connection)
    choice = visit.text("codes")
    if choice not in ("keep", "set aside"):
        raise Refused("choose whether to keep the codes of the exercise or to set them aside")
    visit.workspace.acts.end_exercise(visit.stamp(), keep=choice == "keep")
    if running is not None:
        with visit.workspace.store.write() as connection:
            add_job(connection, KIND, visit.person.id, exercise=running.id)
            if running.stage == "screen":
                ask_after_decisions(connection, visit.person.id, running.records)
    return visit.go("/exercise")


ROUTES = [
    route("/exercise", "exercise", exercise),
    route("/exercise", "start_exercise", start, ("POST",)),
    route("/exercise/end", "end_exercise", end, ("POST",)),
]
