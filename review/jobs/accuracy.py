"""Compute the agreement between people, and between people and the model.

The model is measured only on papers that it was not trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from mechtag.core.records import Coding
from mechtag.review.codings import coders_codings, independent_codings, stage_of, unassisted
from mechtag.review.jobs.draws import draw
from mechtag.review.jobs.drift import weekly_agreement
from mechtag.review.jobs.effect import effects
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.timeline import read_timeline
from mechtag.review.store import schema
from mechtag.review.store.accounts import withdrawn
from mechtag.review.store.conflicts import DOUBTED_CODES
from mechtag.review.store.exercises import read_exercises
from mechtag.review.store.records import read_entries
from mechtag.review.workspace import Workspace, read_fact, write_fact

if TYPE_CHECKING:
    from mechtag.core.records import Prediction

KIND = "accuracy"
#: Names of the results; see `run`.
RESULTS = frozenset(
    (
        "people",
        "people_any",
        "people_full_text",
        "weeks",
        "evidence",
        "model",
        "screened",
        "progress",
        "effect",
        "model_described",
        "codes",
    )
)
# Largest number of codes in the list of codes that the model contradicts.
_MOST_DOUBTED = 200


def run(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Compute all figures that the *Accuracy* page shows.

    Returns
    -------
    dict
        The figures, keyed by the names in `RESULTS`. A figure that cannot be computed from the codes so far is
        ``None``.
    """
    progress.start(1, "Counting codes")
    keys = workspace.codebook.all_keys
    with workspace.store.read() as connection:
        # Codes of an exercise are left out, because the coders had not yet agreed on the definitions.
        exercises = _of_exercises(connection)
        first = [
            row
            for row in coders_codings(connection, first=True)
            if row.label in keys and (row.record_id, stage_of(row, keys[0])) not in exercises
        ]
        final = [row for row in independent_codings(connection) if row.label in keys and row.basis == "abstract"]
        current = schema.current
        counted = connection.execute(
            select(current.c.first_assisted, func.count())
            .where(current.c.committed == 1, current.c.coder.not_in(withdrawn()))
            .group_by(current.c.first_assisted)
        )
        seen: dict[int | None, int] = {assisted: number for assisted, number in counted}
        model = read_fact(connection, "model")
        progress_so_far = read_timeline(connection)
    predictions = _out_of_fold(workspace)
    by_full_text = [row for row in unassisted(first) if row.basis == "full-text"]
    first = [row for row in first if row.basis == "abstract"]
    independent = list(unassisted(first))
    model_section = _model(workspace, final, predictions)
    doubted = [] if model_section is None else model_section.pop("doubted")
    screened = 0 if model_section is None else model_section.pop("screened")
    with workspace.store.write() as connection:
        write_fact(connection, DOUBTED_CODES, doubted)
    return {
        "people": _people(workspace, independent),
        "people_any": _people(workspace, first) if len(independent) < len(first) else None,
        "people_full_text": _people(workspace, by_full_text),
        "weeks": weekly_agreement(workspace, [*independent, *by_full_text]),
        "evidence": _evidence(workspace, independent),
        "model": model_section,
        "screened": screened,
        "progress": progress_so_far,
        "effect": effects(workspace, predictions),
        "model_described": model,
        "codes": {"independent": seen.get(0, 0), "assisted": seen.get(1, 0), "unknown": seen.get(None, 0)},
    }


def _of_exercises(connection: Connection) -> set[tuple[str | None, str]]:
    """Return the record id and stage of each record in a calibration exercise."""
    exercises = read_exercises(connection)
    entries = read_entries(connection, sorted({number for one in exercises for number in one.records}))
    names = {entry.id: entry.record_id for entry in entries}
    return {(names[number], one.stage) for one in exercises for number in one.records}


def _people(workspace: Workspace, codings: Sequence[Coding]) -> dict[str, Any] | None:
    """Return the agreement between people on the records that at least two people judged.

    If there are no such records, the result is ``None``.
    """
    import numpy as np

    from mechtag.evaluation.coders import agreement_section, coders_of

    settings, keys = workspace.project.settings, workspace.codebook.all_keys
    judged = [row for row in codings if row.value is not None or row.refer]
    coders = coders_of(judged, keys, "the codes of this review")
    several = (~np.isnan(coders.codes).all(axis=2)).sum(axis=0) >= 2
    if not several.any():
        return None
    both = coders.only(several)
    draws = draw(workspace, len(both.records))
    return agreement_section(both, keys[0], draws, settings.evaluate.min_positives)


def _evidence(workspace: Workspace, codings: Sequence[Coding]) -> dict[str, Any] | None:
    """Return how well people agree on the sentences that they marked, or ``None`` if nothing can be compared."""
    from mechtag.evaluation.shared_evidence import Marks, evidence_agreement

    settings, keys = workspace.project.settings, workspace.codebook.keys
    with workspace.store.read() as connection:
        # Only the latest marks are stored, so codes that were changed after seeing a suggestion are left out.
        now = [
            row
            for row in unassisted(coders_codings(connection))
            if row.value == 1 and row.sentences and row.basis == "abstract"
        ]
        names = {row.record_id or "" for row in now}
        table = schema.record
        rows = connection.execute(select(table.c.record_id, table.c.sentences).where(table.c.record_id.in_(names)))
        lengths = {row.record_id: len(json.loads(row.sentences)) for row in rows}
    given = {(row.record_id, row.coder, row.label) for row in codings if row.value == 1}
    by_place: dict[tuple[str, str], list[set[int]]] = {}
    for row in now:
        if (row.record_id, row.coder, row.label) in given and row.label in keys:
            by_place.setdefault((row.record_id or "", row.label), []).append(set(row.sentences or ()))
    shared = {place: marks for place, marks in by_place.items() if len(marks) > 1}
    if not shared:
        return None
    records = {record: number for number, record in enumerate(dict.fromkeys(record for record, _ in shared))}
    marks = [
        Marks(records[record], keys.index(label), tuple(found), lengths[record])
        for (record, label), found in shared.items()
    ]
    draws = draw(workspace, len(records))
    return evidence_agreement(marks, keys, draws, settings.evaluate.min_positives)


def _model(workspace: Workspace, codings: Sequence[Coding], predictions: Sequence[Prediction]) -> dict[str, Any] | None:
    """Compare out-of-fold predictions with final codes; return ``None`` if no record has both.

    ``codings`` must contain only final codes that were given without visible suggestions.
    """
    from mechtag.evaluation.coders import agreement_section, coders_of, to_adjudicate, with_model
    from mechtag.evaluation.output_tables import reliability_points
    from mechtag.evaluation.predictions import System
    from mechtag.evaluation.sections import pooled_section

    known = {row.record_id for row in predictions}
    rows = [row for row in codings if row.record_id in known]
    if not rows:
        return None
    settings, keys = workspace.project.settings, workspace.codebook.all_keys
    system = System("the model, on papers that it has not learned from", predictions)
    coders = with_model(coders_of(rows, keys, "the final codes of this review"), system)
    draws = draw(workspace, len(coders.records), settings.evaluate.permutations)
    judged = system.judged(coders.records, keys[1:], coders.codes[0][:, 1:])
    pooled = pooled_section(judged, draws)
    section = agreement_section(coders, keys[0], draws, settings.evaluate.min_positives)
    doubted = to_adjudicate(coders, settings.evaluate.min_positives)[:_MOST_DOUBTED]
    return {
        # Papers whose only code is that of relevance are in no figure over the labels.
        "papers": pooled["papers"],
        "screened": len(coders.records),
        "pooled": pooled["pooled"],
        "pair": section["pairs"][0],
        "reliability": reliability_points(judged),
        "doubted": [
            {"record_id": row["record_id"], "label": row["label"], "value": next(iter(row["codes"].values()))}
            for row in doubted
        ],
    }


def _out_of_fold(workspace: Workspace) -> list[Prediction]:
    """Return the saved out-of-fold predictions of the model in use.

    If there are none, or if the model was trained with a different codebook, the list is empty.
    """
    from mechtag.core.parquet import read_predictions
    from mechtag.models.model_folder import read_config
    from mechtag.training.retraining.challenger import DOCUMENTS

    project = workspace.project
    path = project.out_of_fold / DOCUMENTS
    if not path.exists() or not (project.own_model / "config.json").exists():
        return []
    config = read_config(project.own_model)
    if config.codebook_sha256 != workspace.codebook.sha256:
        return []
    return [row for row in read_predictions(path) if row.model_id.split(":")[0] == config.model_id]
