"""Show the *Accuracy* page: the agreement between people, and the agreement between people and the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from mechtag.review import charts
from mechtag.review.acts import Refused
from mechtag.review.jobs.accuracy import KIND, RESULTS
from mechtag.review.methods import methods_text
from mechtag.review.pages.records import sees_results
from mechtag.review.store.events import read_plan
from mechtag.review.store.exercises import read_exercises
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import add_job, last_job

# Coefficients of pairs, in the order of the page.
COEFFICIENTS = {
    "agreement": "Percent agreement",
    "cohen_kappa": "Cohen's kappa",
    "gwet_ac1": "Gwet's AC1",
    "krippendorff_alpha": "Krippendorff's alpha",
    "pabak": "PABAK",
}
OF_ALL = {
    "fleiss_kappa": "Fleiss' kappa",
    "gwet_ac1": "Gwet's AC1",
    "krippendorff_alpha": "Krippendorff's alpha",
}
OF_MODEL = {
    "across_auc": "Across papers: a paper with the label ranks above one without",
    "within_auc": "Within a paper: a label it has ranks above one it lacks",
    "kappa": "Agreement of decisions (kappa)",
}


def accuracy(visit: Visit) -> Response:
    """Show the latest figures of agreement and accuracy, and the text for the methods section."""
    with visit.workspace.store.read() as connection:
        if not sees_results(visit, connection):
            raise Refused(
                "these figures show how others decided, so you can see them only after blinding has ended", 403
            )
        done, last = last_job(connection, KIND, done=True), last_job(connection, KIND)
        plan, exercises = read_plan(connection), read_exercises(connection)
    found = json.loads(done.result) if done is not None else {}
    if not found.keys() >= RESULTS:
        done = found = None  # The figures were computed by an earlier version of mechtag, which computed other figures.
    names = visit.workspace.codebook.names
    return visit.page(
        "accuracy.html",
        job=last,
        made=done.ended if done is not None else "",
        found=found,
        text=methods_text(found, plan, visit.workspace.codebook, exercises) if found is not None else "",
        pictures=_draw(found, names) if found is not None else {},
        names=names,
        coefficients=COEFFICIENTS,
        of_all=OF_ALL,
        of_model=OF_MODEL,
    )


def _draw(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, charts.Picture | None]:
    return {
        "people": charts.draw_agreement(found["people"], names) if found["people"] else None,
        "weeks": charts.draw_weeks(found["weeks"]),
        "reliability": charts.draw_reliability(found["model"]["reliability"]) if found["model"] else None,
        "progress": charts.draw_progress(found["progress"]),
    }


def compute(visit: Visit) -> Response:
    """Add a job that computes the figures of agreement and accuracy again."""
    with visit.workspace.store.write() as connection:
        add_job(connection, KIND, visit.person.id)
    return visit.go("/accuracy")


def download(visit: Visit) -> Response:
    """Send the latest figures of agreement and accuracy as a JSON file."""
    with visit.workspace.store.read() as connection:
        if not sees_results(visit, connection):
            raise Refused(
                "these figures show how others decided, so you can download them only after blinding has ended", 403
            )
        done = last_job(connection, KIND, done=True)
    if done is None:
        raise Refused("no figures have been computed yet; compute them on the Accuracy page", 404)
    headers = {"Content-Disposition": 'attachment; filename="agreement.json"'}
    return JSONResponse(json.loads(done.result), headers=headers)


ROUTES = [
    route("/accuracy", "accuracy", accuracy),
    route("/accuracy", "compute_accuracy", compute, ("POST",)),
    route("/accuracy.json", "accuracy_file", download),
]
