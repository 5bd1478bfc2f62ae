"""Read the calibration exercises of a review: records that several people judge independently before the real work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select

from mechtag.review.store import schema
from mechtag.review.store.events import project_events

#: Kinds of the events with which an exercise starts and ends.
START, END = "exercise", "exercise_end"


@dataclass(frozen=True)
class Exercise:
    """A calibration exercise.

    Attributes
    ----------
    id
        Number of the event with which the exercise started.
    at
        Time of this event.
    stage
        Stage at which the records are judged: ``screen`` or ``code``.
    records
        Numbers of the records, in the order in which they were drawn.
    coders
        Numbers of the accounts of the people who judge all these records.
    state
        ``running``; ``kept`` (the codes count like any others); or ``set aside`` (the records are judged again).
    """

    id: int
    at: str
    stage: str
    records: tuple[int, ...]
    coders: tuple[int, ...]
    state: Literal["running", "kept", "set aside"]


def read_exercises(connection: Connection) -> list[Exercise]:
    """Return all exercises of the review, the latest first."""
    rows = project_events(connection, START, END)
    if not rows:
        return []  # This is asked for each record that is shown.
    names = {name for row in rows if row.kind == START for name in row.value["records"]}
    table = schema.record
    found = connection.execute(select(table.c.record_id, table.c.id).where(table.c.record_id.in_(names)))
    numbers = {row.record_id: row.id for row in found}
    ended = {row.value["exercise"]: row.value["kept"] for row in rows if row.kind == END}
    return [
        Exercise(
            id=row.seq,
            at=row.at,
            stage=row.value["stage"],
            records=tuple(numbers[name] for name in row.value["records"] if name in numbers),
            coders=tuple(row.value["coders"]),
            state="running" if row.seq not in ended else "kept" if ended[row.seq] else "set aside",
        )
        for row in reversed(rows)
        if row.kind == START
    ]


def running_exercise(connection: Connection, stage: str | None = None) -> Exercise | None:
    """Return the running exercise, or ``None`` if no exercise is running (at the given stage, if one is given)."""
    running = (one for one in read_exercises(connection) if one.state == "running" and stage in (None, one.stage))
    return next(running, None)


def hidden_records(connection: Connection, stage: str) -> tuple[int, ...]:
    """Return the records whose state and codes at a stage nobody may see yet: those of an exercise that is running.

    Its coders have not all judged these records, and nothing can be settled before the exercise ends.
    """
    exercise = running_exercise(connection, stage)
    return () if exercise is None else exercise.records


def count_done(connection: Connection, exercise: Exercise) -> dict[int, int]:
    """Return the number of records of an exercise that each of its coders has judged."""
    table = schema.current
    rows = connection.execute(
        select(table.c.coder, func.count(func.distinct(table.c.record)))
        .where(
            table.c.stage == exercise.stage,
            table.c.record.in_(exercise.records),
            table.c.coder.in_(exercise.coders),
            table.c.first_refer.is_not(None),
        )
        .group_by(table.c.coder)
    )
    return dict.fromkeys(exercise.coders, 0) | {coder: number for coder, number in rows}


def count_left(connection: Connection, coder: int) -> int:
    """Return the number of records that a person still has to judge in the exercise that is running."""
    exercise = running_exercise(connection)
    if exercise is None or coder not in exercise.coders:
        return 0
    return len(exercise.records) - count_done(connection, exercise)[coder]


def records_to_draw(connection: Connection, stage: str) -> list[int]:
    """Return the records that nobody has judged at a stage, from which the records of an exercise can be drawn."""
    need, joined = schema.need, schema.joined
    return list(
        connection.execute(
            select(need.c.record)
            .where(
                need.c.stage == stage,
                need.c.state == "open",
                need.c.have == 0,
                need.c.record.not_in(select(joined.c.record)),
            )
            .order_by(need.c.record)
        ).scalars()
    )
