"""Undo or redo the import of a colleague's project, unless people have since done work that relies on the import."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from mechtag.review.acts import MERGE_UNDONE, Refused
from mechtag.review.plan import BASES
from mechtag.review.store import schema
from mechtag.review.store.events import Draft, is_undone

#: Key in the value of an imported event with the name of its import.
GROUP = "merge"
_REVERSING = ("undo", "redo")
_JUDGING = ("code", "evidence", "sign", "answer", "commit", "settle", "reopen")


def group_of(job: int) -> str:
    """Return the name that marks the actions of one import in the log, such as ``merge-12`` for job 12."""
    return f"merge-{job}"


def count_added(connection: Connection, job: int) -> tuple[int, int]:
    """Return how many actions the import of a colleague's project added, and how many people took these actions.

    Actions that were undone after the import are counted, too.

    Parameters
    ----------
    job
        Number of the job that imported the project.
    """
    event = schema.event
    counts = select(func.count(event.c.act.distinct()), func.count(event.c.coder.distinct()))
    acts, people = connection.execute(counts.where(_is_of(job))).one()
    return int(acts), int(people)


def plan_undo(connection: Connection, job: int, *, again: bool) -> list[Draft]:
    """Return the events that undo the import of a colleague's project, or that redo an undone import.

    The first event states which import is undone or redone. Each further event undoes or redoes one action of the
    import.

    Parameters
    ----------
    job
        Number of the job that imported the project.
    again
        ``True`` to redo the import, ``False`` to undo it.

    Raises
    ------
    Refused
        In two cases: there is nothing to undo or redo; or people's later work forbids it (see `_refuse_if_relied_on`).
        The error has status 409.
    """
    event = schema.event
    imported = connection.execute(select(event).where(_is_of(job)).order_by(event.c.seq)).all()
    if not imported:
        raise Refused("this import has added nothing to the review, so there is nothing to undo", 409)
    last = _last_reversal(connection, job)
    if again == (last is None or json.loads(last.value)["again"]):
        raise Refused("this import has not been undone" if again else "this import has already been undone", 409)
    _refuse_if_relied_on(connection, job, imported, imported[0].seq if last is None else last.seq)
    if last is not None:
        undone = connection.execute(select(event).where(event.c.act == last.seq, event.c.undoes.is_not(None))).all()
        drafts = [Draft("redo" if row.kind == "undo" else "undo", undoes=row.undoes) for row in undone]
    else:
        drafts = _reversed(connection, job, imported)
    return [Draft(MERGE_UNDONE, value={"of": job, "again": again, "acts": len(drafts)}), *drafts]


def _is_of(job: int) -> ColumnElement[bool]:
    """Return an SQL condition that is true for the events that the import with the number ``job`` added."""
    return func.coalesce(func.json_extract(schema.event.c.value, f"$.{GROUP}"), "") == group_of(job)


def _last_reversal(connection: Connection, job: int) -> Any:
    """Return the last event that undid or redid the import of a project; ``None`` if there is no such event."""
    event = schema.event
    same = func.json_extract(event.c.value, "$.of") == job
    query = select(event).where(event.c.kind == MERGE_UNDONE, same).order_by(event.c.seq.desc()).limit(1)
    return connection.execute(query).one_or_none()


def _reversed(connection: Connection, job: int, imported: Sequence[Any]) -> list[Draft]:
    """Return the undo and redo events that bring the review back to its state before an import."""
    event = schema.event
    own = {row.seq for row in imported}
    done = select(event.c.seq).where(_is_of(job), event.c.part == 0, event.c.kind.not_in(_REVERSING))
    counting = done.where(~is_undone(event.c.act)).order_by(event.c.seq.desc())
    drafts = [Draft("undo", undoes=seq) for seq in connection.execute(counting).scalars()]
    # Imported actions may themselves have undone or redone actions of the review, which get their earlier state again.
    acts = {row.act for row in imported}
    for target in {row.undoes for row in imported if row.undoes is not None and row.undoes not in acts}:
        rows = connection.execute(select(event).where(event.c.undoes == target).order_by(event.c.seq)).all()
        before = next((row.kind for row in reversed(rows) if row.seq not in own), "redo")
        if rows[-1].seq in own and rows[-1].kind != before:
            drafts.append(Draft(before, undoes=target))
    return drafts


def _refuse_if_relied_on(connection: Connection, job: int, imported: Sequence[Any], after: int) -> None:
    """Raise `Refused` if people's later work relies on the import.

    Work is later if the number of its event is greater than ``after``.
    """
    event, joined, record = schema.event, schema.joined, schema.record
    heads = {row.record: row.into for row in connection.execute(select(joined.c.record, joined.c.into))}
    target = schema.event.alias()
    targets = select(event.c.undoes).where(_is_of(job), event.c.undoes.is_not(None))
    restored = connection.execute(select(target).where(target.c.act.in_(targets))).all()
    people = dict[tuple[int, str], set[int]]()
    edited = set[int]()
    for row in (*imported, *restored):
        head = heads.get(row.record, row.record)
        if row.kind in _JUDGING:
            own = people.setdefault((head, row.stage), set())
            own |= {row.coder, json.loads(row.value).get("coder", row.coder)}
        elif row.kind == "edit_record":
            edited.add(head)
    others = select(event, record.c.title).join(record, record.c.id == event.c.record)
    later = others.where(
        event.c.seq > after,
        event.c.kind.in_(_JUDGING),
        ~_is_of(job),
        ~is_undone(event.c.act),
    )
    relying = dict[int, str]()
    for row in connection.execute(later.order_by(event.c.seq)):
        head = heads.get(row.record, row.record)
        known = people.get((head, row.stage))
        # Independent judgements of other people do not rely on the import. This work does: settling or sending back a
        # record that the import judged at the same stage; a further judgement by the same person at the same stage;
        # judging a record whose title or abstract the import changed; coding a record that the import screened.
        relies = known is not None and (row.kind in ("settle", "reopen") or row.coder in known)
        if relies or head in edited or (row.stage in BASES and (head, "screen") in people):
            relying.setdefault(head, row.title)
    if relying:
        number, title = len(relying), next(iter(relying.values()))
        what = f"{number:,} records of this import, such as '{title}'" if number > 1 else f"the record '{title}'"
        raise Refused(
            f"people have since worked on {what}; before you undo this import or add it again, undo that later work, "
            "or leave the import as it is",
            409,
        )
