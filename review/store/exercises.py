"""Read the calibration exercises, in which several people judge the same records before the real work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select

from mechtag.review.plan import BASES
from mechtag.review.store import schema
from mechtag.review.store.events import project_events
from mechtag.review.store.readings import is_readable

#: Kinds of the events with which an exercise starts and ends.
START, END = "exercise", "exercise_end"


@dataclass(frozen=True)
class Exercise:
    """A calibration exercise, in which several people judge the same records before the real work.

    Attributes
    ----------
    id
        Number of the event with which the exercise started.
    at
        Time at which the exercise started, in UTC (ISO 8601).
    stage
        Stage at which the records are judged: ``screen``, ``code`` or ``full-text``.
    records
        Numbers of the records, in the order in which they were drawn.
    coders
        Account numbers of the people who judge all these records.
    state
        ``running``, ``kept`` or ``set aside``. An exercise in the state ``kept`` has ended, and its codes count like
        all other codes. An exercise in the state ``set aside`` has ended, and its records must be judged again.
    """

    id: int
    at: str
    stage: str
    records: tuple[int, ...]
    coders: tuple[int, ...]
    state: Literal["running", "kept", "set aside"]


def read_exercises(connection: Connection) -> list[Exercise]:
    """Return all calibration exercises of the review, the latest first.

    In a calibration exercise, several people judge the same records before the real work.
    """
    rows = project_events(connection, START, END)
    if not rows:
        return []  # This is faster, and the function is called for each record that a page shows.
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
    """Return the running calibration exercise, or ``None`` if none is running.

    In a calibration exercise, several people judge the same records. If ``stage`` (such as ``screen``) is given, only
    an exercise at this stage counts.
    """
    running = (one for one in read_exercises(connection) if one.state == "running" and stage in (None, one.stage))
    return next(running, None)


def hidden_records(connection: Connection, stage: str) -> tuple[int, ...]:
    """Return the records of the calibration exercise that is running at a stage, such as ``screen``.

    In a calibration exercise, several people judge the same records. Until the exercise ends, nobody may see the state
    of these records (such as ``settled``) or the codes that other people gave. If no exercise is running at the stage,
    the result is empty.
    """
    exercise = running_exercise(connection, stage)
    return () if exercise is None else exercise.records


def hides_suggestions(connection: Connection, record: int, stage: str) -> bool:
    """Return whether the running calibration exercise hides the model's suggestions for a record at a stage.

    In a calibration exercise, several people judge the same records. An exercise at one of the stages ``code`` and
    ``full-text`` hides the suggestions for its records at both of these stages. An exercise at another stage hides them
    only at its own stage.
    """
    exercise = running_exercise(connection)
    if exercise is None or record not in exercise.records:
        return False
    return stage == exercise.stage or {stage, exercise.stage} <= BASES.keys()


def count_done(connection: Connection, exercise: Exercise) -> dict[int, int]:
    """Return the number of records that each coder of a calibration exercise has judged, keyed by account number.

    In a calibration exercise, several people judge the same records before the real work.
    """
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


def records_to_draw(connection: Connection, stage: str) -> list[int]:
    """Return the records from which a calibration exercise at a stage can be drawn.

    In a calibration exercise, several people judge the same records. A record can be drawn if nobody has judged it at
    this stage, and if it was in no earlier exercise at this stage. For the stage ``full-text``, its full text must also
    contain a sentence to code.
    """
    need, joined = schema.need, schema.joined
    # Their codes may have been set aside, but people have seen and discussed each other's codes.
    earlier = {record for one in read_exercises(connection) if one.stage == stage for record in one.records}
    query = select(need.c.record).where(
        need.c.stage == stage,
        need.c.state == "open",
        need.c.have == 0,
        need.c.record.not_in(earlier),
        need.c.record.not_in(select(joined.c.record)),
    )
    if stage == "full-text":
        query = query.where(is_readable(need.c.record))
    return list(connection.execute(query.order_by(need.c.record)).scalars())
