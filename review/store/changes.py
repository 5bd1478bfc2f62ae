"""Store the suggestions that the last training changed, and list the changed suggestions that people may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, or_, select

from mechtag.review.plan import STAGES
from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.store.exercises import hidden_records

if TYPE_CHECKING:
    from mechtag.training.retraining.explain_changes import Change

#: Changes on a page.
PAGE = 50
# Rows that are written in one transaction, so that a decision never waits long.
_ROWS = 100


@dataclass(frozen=True)
class ChangeCounts:
    """Counts of the suggestions that changed when the model was last trained.

    Attributes
    ----------
    changes
        Number of changed suggestions.
    records
        Number of records with a changed suggestion.
    shown
        Number of changed suggestions that people may see.
    """

    changes: int
    records: int
    shown: int


def save_changes(store: Store, job: int, changes: Sequence[Change]) -> None:
    """Store the suggestions that changed when the model was trained, and delete all changes that were stored before.

    Parameters
    ----------
    job
        Number of the job that trained the model.
    """
    table, record = schema.change, schema.record
    with store.write() as connection:
        connection.execute(delete(table))
        known = connection.execute(select(record.c.record_id, record.c.id)).all()
    numbers = {name: number for name, number in known}
    rows = [
        {
            "job": job,
            "number": number,
            "record": numbers[change.record_id],
            "label": change.label,
            "before": change.old,
            "probability_before": change.probabilities[0],
            "after": change.new,
            "probability_after": change.probabilities[-1],
            "why": change.why,
        }
        for number, change in enumerate(changes)
        if change.record_id in numbers
    ]
    for start in range(0, len(rows), _ROWS):
        with store.write() as connection:
            connection.execute(insert(table), rows[start : start + _ROWS])


def count_changes(connection: Connection, job: int) -> ChangeCounts:
    """Count the suggestions that changed when a job trained the model; ``job`` is the number of the job.

    Only the changes of the last training are stored. For an earlier training, all counts are 0.
    """
    table = schema.change
    numbers = select(func.count(), func.count(func.distinct(table.c.record))).where(table.c.job == job)
    changes, records = connection.execute(numbers).one()
    shown = select(func.count()).where(table.c.job == job, _may_be_shown(connection))
    return ChangeCounts(changes, records, connection.execute(shown).scalar_one())


def read_changes(connection: Connection, job: int, *, after: int = -1) -> list[Any]:
    """Return at most `PAGE` suggestions that changed when a job trained the model, with the titles of their records.

    If somebody can still judge a record, its suggestions are left out, because nobody may see them yet.

    Parameters
    ----------
    job
        Number of the job.
    after
        Only changes with a higher number than this are returned.
    """
    # Suggestions are hidden from everybody, because it is not recorded who sees them here before judging.
    table, record = schema.change, schema.record
    return list(
        connection.execute(
            select(table, record.c.title)
            .join(record, record.c.id == table.c.record)
            .where(table.c.job == job, table.c.number > after, _may_be_shown(connection))
            .order_by(table.c.number)
            .limit(PAGE)
        )
    )


def _may_be_shown(connection: Connection) -> ColumnElement[bool]:
    """Return an SQL condition for the rows of table ``change`` that may be shown to people."""
    # A change is hidden while anybody may still judge its record.
    table, need, owed, joined = schema.change, schema.need, schema.owed, schema.joined
    copies = select(joined.c.record).where(joined.c.into == table.c.record).correlate(table)
    hidden = {record for stage in STAGES for record in hidden_records(connection, stage)}
    return and_(
        exists().where(need.c.record == table.c.record),
        ~exists().where(need.c.record == table.c.record, need.c.state != "settled"),
        ~exists().where(or_(owed.c.record == table.c.record, owed.c.record.in_(copies))),
        table.c.record.not_in(hidden),
    )
