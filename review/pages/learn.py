"""Show the *Learn* page, on which people start training on the codes of the review and see the results."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, exists, func, or_, select, true
from starlette.responses import Response

from mechtag.review.acts import Refused
from mechtag.review.charts import draw_learning
from mechtag.review.jobs.curve import KIND as CURVE
from mechtag.review.jobs.learning import FACT, KIND, ROLL_BACK
from mechtag.review.numbers import whole_number
from mechtag.review.sight import in_exercise
from mechtag.review.store import schema
from mechtag.review.store.accounts import withdrawn
from mechtag.review.store.changes import PAGE, count_changes, read_changes
from mechtag.review.store.events import read_plan
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import ACTIVE, add_job, last_job, read_fact

_LAST = 10
# Names on the page of the metrics that decide whether a new model is used.
_NAMES = {
    "relevance_auc": "Relevant above irrelevant records",
    "across_auc": "Papers with a label above papers without it",
    "kappa": "Agreement of decisions (kappa)",
}


def _count_codes(connection: Connection, labels: Collection[str]) -> list[tuple[str, int, int]]:
    """Return the number of final codes from which the model can learn, for each label and value.

    Models learn from codes based on the abstract, and of the given ``labels``. If the plan says so, codes that somebody
    gave while a suggestion was visible are left out.
    """
    final, current, joined = schema.final, schema.current, schema.joined
    copies = select(joined.c.record).where(joined.c.into == final.c.record).correlate(final)
    assisted = exists().where(
        or_(current.c.record == final.c.record, current.c.record.in_(copies)),
        current.c.stage == final.c.stage,
        current.c.label == final.c.label,
        current.c.committed == 1,
        current.c.assisted == 1,
        current.c.coder.not_in(withdrawn()),
    )
    rows = connection.execute(
        select(final.c.label, final.c.value, func.count())
        .where(
            final.c.value.is_not(None),
            final.c.stage != "full-text",
            final.c.label.in_(labels),
            true() if read_plan(connection).learn_from_assisted else ~assisted,
            ~in_exercise(connection, final.c.record, final.c.stage),
        )
        .group_by(final.c.label, final.c.value)
    )
    return [(label, value, number) for label, value, number in rows]


def learn(visit: Visit) -> Response:
    """Show the number of final codes, the learning curve, and the results of the latest trainings."""
    job = schema.job
    with visit.workspace.store.read() as connection:
        codes = _count_codes(connection, visit.workspace.codebook.all_keys)
        learned = read_fact(connection, FACT) or {}
        curve, last_curve = last_job(connection, CURVE, done=True), last_job(connection, CURVE)
        rows = connection.execute(
            select(job).where(job.c.kind.in_((KIND, ROLL_BACK))).order_by(job.c.id.desc()).limit(_LAST)
        ).all()
        last = last_job(connection, KIND, done=True)
        changes = None if last is None else count_changes(connection, last.id)
    counts: dict[str, dict[int, int]] = {}
    for label, value, number in codes:
        counts.setdefault(label, {})[value] = number
    total = sum(number for *_, number in codes)
    made = None if curve is None else json.loads(curve.result)
    return visit.page(
        "learn.html",
        counts=counts,
        names=visit.workspace.codebook.names,
        total=total,
        new=total - learned.get("codes", 0),
        trained=bool(learned.get("model_id")),
        curve=None if made is None else draw_learning(made["rows"]),
        curve_of=curve,
        curve_papers=0 if made is None else made["papers"],
        curve_job=last_curve,
        trainings=[_training(row) for row in rows],
        last=last,
        changes=changes,
    )


def changes(visit: Visit) -> Response:
    """Show the suggestions that changed in the last training, each with the reason for the change."""
    after = whole_number(visit.query.get("after", ""))
    with visit.workspace.store.read() as connection:
        last = last_job(connection, KIND, done=True)
        if last is None:
            raise Refused("no model has been trained on the codes of this review yet; train one on the Learn page", 404)
        counts = count_changes(connection, last.id)
        rows = read_changes(connection, last.id, after=-1 if after is None else after)
    return visit.page(
        "learn_changes.html",
        training=last,
        result=json.loads(last.result),
        counts=counts,
        rows=rows,
        names=visit.workspace.codebook.names,
        more=f"/learn/changes?after={rows[-1].number}" if len(rows) == PAGE else "",
        first=after is None,
    )


def _training(row: Any) -> dict[str, Any]:
    """Return a training job with its result, and the differences between the new and the old model."""
    result = json.loads(row.result)
    differences = [
        {**each, "name": _NAMES[each["figure"]]}
        for each in result.get("differences", ())
        if each["figure"] in _NAMES and each["difference"] is not None
    ]
    return {"row": row, "result": result, "differences": differences}


def start(visit: Visit) -> Response:
    """Add a job that trains a model, unless a training is already waiting or running."""
    with visit.workspace.store.write() as connection:
        last = last_job(connection, KIND)
        if last is not None and last.state in ACTIVE:
            raise Refused("the model is already being trained; wait until the training has finished", 409)
        add_job(connection, KIND, visit.person.id, coder=visit.person.id)
    return visit.go("/learn")


def compute_curve(visit: Visit) -> Response:
    """Add a job that computes the learning curve."""
    with visit.workspace.store.write() as connection:
        add_job(connection, CURVE, visit.person.id)
    return visit.go("/learn")


def roll_back(visit: Visit) -> Response:
    """Add a job that restores the model that was in use before the current model."""
    with visit.workspace.store.write() as connection:
        add_job(connection, ROLL_BACK, visit.person.id, coder=visit.person.id)
    return visit.go("/learn")


ROUTES = [
    route("/learn", "learn", learn),
    route("/learn/changes", "learn_changes", changes),
    route("/learn", "start_learning", start, ("POST",)),
    route("/learn/curve", "compute_curve", compute_curve, ("POST",)),
    route("/learn/back", "roll_back", roll_back, ("POST",)),
]
