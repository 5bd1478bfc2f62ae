"""Decide what a person may see of a record, and write down what was shown.

All codes of others and all suggestions reach the pages through this module. What is hidden from a person is not in the
page at all.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select

from mechtag.review.plan import Mode, Plan
from mechtag.review.store import schema
from mechtag.review.store.events import family_of, read_plan
from mechtag.review.store.records import Entry


@dataclass(frozen=True)
class Suggestion:
    """What the model suggests for one label of a record."""

    label: str
    decision: str
    probability: float | None
    sentences: tuple[int, ...]
    model_id: str


@dataclass(frozen=True)
class OthersCode:
    """A committed code of somebody else."""

    coder: int
    name: str
    label: str
    value: int | None
    refer: bool
    reason: str | None
    sentences: tuple[int, ...]


@dataclass(frozen=True)
class Sight:
    """What a person sees of a record.

    Attributes
    ----------
    id
        Number of the row of table ``sight``, which comes back with the person's act.
    mode
        The mode that applies to this record; in an audited record, ``blind`` although the plan says ``assisted``.
    audited
        Whether the record is shown without suggestions to estimate their effect.
    suggestions
        Suggestions by label; empty if they are hidden or there are none.
    others
        Codes of others; empty if they are hidden or there are none.
    """

    id: int
    mode: Mode
    audited: bool = False
    suggestions: Mapping[str, Suggestion] = field(default_factory=dict)
    others: tuple[OthersCode, ...] = ()


def show(
    connection: Connection,
    entry: Entry,
    coder: int,
    stage: str,
    *,
    at: str,
    model_id: str | None,
    seed: int = 0,
    highlights: bool = False,
) -> Sight:
    """Return what a person may see of a record now, and write it into table ``sight``.

    Parameters
    ----------
    model_id
        The model in use, whose suggestions are shown if the mode allows it.
    seed
        Seed of the review, which chooses the audited records.
    """
    plan = read_plan(connection)
    committed = has_committed(connection, entry.id, coder, stage)
    mode = plan.mode(stage)
    audited = mode == "assisted" and is_audited(entry.record_id, plan, seed)
    if audited and not committed:
        mode = "blind"
    visible = mode == "assisted" or (mode == "after" and committed)
    suggestions = read_suggestions(connection, entry.id, model_id) if visible and model_id else {}
    others = read_others(connection, entry.id, coder, stage) if plan.unblinded else ()
    shown = {label: (row.decision, row.probability, row.sentences) for label, row in suggestions.items()}
    values = {
        "record": entry.id,
        "coder": coder,
        "at": at,
        "stage": stage,
        "mode": mode,
        "model_id": model_id if suggestions else None,
        "suggestions_shown": int(bool(suggestions)),
        "others_shown": int(bool(others)),
        "highlights": int(highlights),
        "text_sha256": hashlib.sha256(f"{entry.title}\n{entry.abstract}".encode()).hexdigest()[:16],
        "suggested": json.dumps(shown) if shown else None,
    }
    number = connection.execute(insert(schema.sight).values(values).returning(schema.sight.c.id)).scalar_one()
    return Sight(number, mode, audited, suggestions, others)


def is_audited(record_id: str, plan: Plan, seed: int) -> bool:
    """Return whether a record is in the blind audit sample, which depends on its id and the seed alone."""
    return random.Random(f"audit/{seed}/{record_id}").random() < plan.audit_share


def has_committed(connection: Connection, record: int, coder: int, stage: str) -> bool:
    """Return whether a person has committed codes of a record at a stage."""
    table = schema.current
    return (
        connection.execute(
            select(table.c.record).where(
                table.c.record == record, table.c.stage == stage, table.c.coder == coder, table.c.committed == 1
            )
        ).first()
        is not None
    )


def read_suggestions(connection: Connection, record: int, model_id: str) -> dict[str, Suggestion]:
    """Return the suggestions of a model for a record, by label."""
    table = schema.suggestion
    rows = connection.execute(select(table).where(table.c.model_id == model_id, table.c.record == record))
    return {
        row.label: Suggestion(row.label, row.decision, row.probability, tuple(json.loads(row.sentences)), model_id)
        for row in rows
    }


def read_others(connection: Connection, record: int, coder: int, stage: str) -> tuple[OthersCode, ...]:
    """Return the committed codes of others for a record and those joined to it."""
    table, account = schema.current, schema.account
    _, members = family_of(connection, record)
    rows = connection.execute(
        select(table, account.c.name)
        .join(account, account.c.id == table.c.coder)
        .where(
            table.c.record.in_(members),
            table.c.stage == stage,
            table.c.coder != coder,
            table.c.committed == 1,
            account.c.state != "withdrawn",
        )
        .order_by(account.c.name, table.c.label)
    )
    return tuple(
        OthersCode(
            coder=row.coder,
            name=row.name,
            label=row.label,
            value=row.value,
            refer=bool(row.refer),
            reason=row.reason,
            sentences=tuple(json.loads(row.sentences)),
        )
        for row in rows
    )
