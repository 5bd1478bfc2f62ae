"""Compute the agreement in a calibration exercise, and list the answers that the coders should discuss.

In a calibration exercise, several people judge the same records before the real work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding, name_answer
from mechtag.review.history import name_decision
from mechtag.review.jobs.draws import draw
from mechtag.review.jobs.progress import Progress
from mechtag.review.plan import BASES
from mechtag.review.store import schema
from mechtag.review.store.accounts import withdrawn
from mechtag.review.store.exercises import Exercise, read_exercises
from mechtag.review.workspace import Workspace

KIND = "calibrate"


def run(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Compute the results of a calibration exercise; ``arguments["exercise"]`` is its number.

    In a calibration exercise, several people judge the same records before the real work. People who have been
    withdrawn since do not count.

    Returns
    -------
    dict
        ``records`` is the number of records that all coders judged. ``agreement`` is the result of
        `mechtag.evaluation.coders.agreement_section`, or ``None`` if there are no such records. ``discuss`` has one
        item for each record and label for which the coders gave different answers. An item contains the answer of each
        coder. Items with the most evenly divided answers come first.

    Raises
    ------
    MechtagError
        If the exercise does not exist.
    """
    from mechtag.evaluation.coders import agreement_section, coders_of

    progress.start(1, "Comparing the codes of the exercise")
    with workspace.store.read() as connection:
        exercise = next((one for one in read_exercises(connection) if one.id == arguments["exercise"]), None)
        if exercise is None:
            raise MechtagError(
                "this calibration exercise does not exist any more, because somebody has undone its start; start a "
                "new one"
            )
        rows = _codes(connection, exercise)
        people = set(exercise.coders).difference(connection.execute(withdrawn()).scalars())
    settings, relevance = workspace.project.settings, workspace.codebook.relevance.key
    keys = (relevance,) if exercise.stage == "screen" else workspace.codebook.keys
    rows = [row for row in rows if row.label in keys]
    done = [{row.record for row in rows if row.coder == coder} for coder in people]
    complete = set.intersection(*done) if len(done) > 1 else set[int]()
    rows = [row for row in rows if row.record in complete]
    if not rows:
        return {"records": 0, "agreement": None, "discuss": []}
    codings = [
        Coding(
            record_id=row.record_id,
            coder=row.name,
            label=row.label,
            value=row.first_value,
            basis=BASES.get(exercise.stage, "abstract"),
        )
        for row in rows
    ]
    coders = coders_of(codings, keys, "the calibration exercise")
    draws = draw(workspace, len(coders.records))
    return {
        "records": len(complete),
        "agreement": agreement_section(coders, relevance, draws, settings.evaluate.min_positives),
        "discuss": _differences(rows, exercise, keys),
    }


def _codes(connection: Connection, exercise: Exercise) -> list[Any]:
    """Return the codes of finished records in a calibration exercise, each with coder name, record id and title."""
    current, account, record = schema.current, schema.account, schema.record
    return list(
        connection.execute(
            select(current, account.c.name, record.c.record_id, record.c.title)
            .join(account, account.c.id == current.c.coder)
            .join(record, record.c.id == current.c.record)
            .where(
                current.c.stage == exercise.stage,
                current.c.record.in_(exercise.records),
                current.c.coder.in_(exercise.coders),
                current.c.coder.not_in(withdrawn()),
                current.c.first_refer.is_not(None),
            )
            .order_by(account.c.name, current.c.record, current.c.label)
        )
    )


def _differences(rows: list[Any], exercise: Exercise, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return one dict for each record and label for which the coders gave different answers.

    The dicts with the most evenly divided answers come first.
    """
    name = name_decision if exercise.stage == "screen" else name_answer
    titles = {row.record: row.title for row in rows}
    people = sorted({row.name for row in rows})
    answers: dict[tuple[int, str], dict[str, str]] = {}
    for row in rows:
        given = answers.setdefault((row.record, row.label), dict.fromkeys(people, name(None)))
        given[row.name] = name(row.first_value, row.first_refer)
    found = []
    for (record, label), given in answers.items():
        said = list(given.values())
        largest = max(said.count(answer) for answer in said)
        if largest < len(said):
            place = (largest, exercise.records.index(record), keys.index(label))
            found.append((place, {"record": record, "title": titles[record], "label": label, "answers": given}))
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]
