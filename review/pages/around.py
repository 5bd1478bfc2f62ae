"""Handle requests that many pages share (notes, undo and redo), and show the *My decisions* page."""

from __future__ import annotations

import json

from sqlalchemy import func, select
from starlette.responses import Response

from mechtag.review.jobs.ranking import ask_after_decisions
from mechtag.review.pages.duplicates import follow
from mechtag.review.pages.records import ask_to_tag
from mechtag.review.pages.settings import ask_after_change
from mechtag.review.plan import BASES
from mechtag.review.store import schema
from mechtag.review.visit import Visit, route

# Page on which the record of an undone action is shown, by stage.
_SCREENS = {"screen": "/screen", "code": "/code", "full-text": "/full-text"}
_ABOUT_DUPLICATES = ("join", "differ", "split")
_SHOWN = 50


def undo(visit: Visit) -> Response:
    """Undo the last action of the person, and redirect to the page that shows the effect."""
    act, record = visit.workspace.acts.undo(visit.stamp())
    return visit.go(_follow_up(visit, act, record))


def redo(visit: Visit) -> Response:
    """Redo the action that the person undid last, and redirect to the page that shows the effect."""
    act, record = visit.workspace.acts.redo(visit.stamp())
    return visit.go(_follow_up(visit, act, record))


def _follow_up(visit: Visit, act: int, record: int | None) -> str:
    """Add the jobs that an undone or redone action makes necessary, and return the address of the page to show next."""
    table = schema.event
    with visit.workspace.store.write() as connection:
        row = connection.execute(select(table).where(table.c.seq == act)).one()
        if row.stage == "screen":
            changed = select(table.c.record).where(table.c.client_id == visit.stamp().client_id)
            ask_after_decisions(connection, visit.person.id, connection.execute(changed.distinct()).scalars().all())
        elif row.kind == "setting":
            ask_after_change(connection, visit.person.id, json.loads(row.value)["key"])
    if row.kind in _ABOUT_DUPLICATES:
        follow(visit)
        place = "/duplicates"
    elif row.kind in ("settle", "reopen"):
        place = f"/reconcile/{row.stage}/{record}"
    elif row.kind == "edit_record":
        ask_to_tag(visit)
        place = f"/records/{record}"
    elif record is None:
        place = "/"
    elif row.stage in _SCREENS:
        return f"{_SCREENS[row.stage]}?record={record}&act={act}"
    else:
        place = f"/records/{record}"
    return f"{place}?act={act}"


def note(visit: Visit) -> Response:
    """Save a note about a record, and redirect to the page on which the person wrote it."""
    record = visit.number("record") or 0
    visit.workspace.acts.note(visit.stamp(), record, visit.text("text"), visit.text("audience", "team"))
    return visit.go_back("/")


def decisions(visit: Visit) -> Response:
    """Show the *My decisions* page: the person's latest screening decisions, and the records that the person coded."""
    current, record = schema.current, schema.record
    with visit.workspace.store.read() as connection:
        rows = connection.execute(
            select(current, record.c.title, record.c.year)
            .join(record, record.c.id == current.c.record)
            .where(current.c.coder == visit.person.id, current.c.stage == "screen", current.c.committed == 1)
            .order_by(current.c.event.desc())
            .limit(_SHOWN)
        ).all()
        coded = connection.execute(
            select(
                current.c.record,
                current.c.stage,
                record.c.title,
                record.c.year,
                func.min(current.c.committed).label("committed"),
                func.count().label("labels"),
                func.max(current.c.at).label("at"),
            )
            .join(record, record.c.id == current.c.record)
            .where(current.c.coder == visit.person.id, current.c.stage.in_(BASES))
            .group_by(current.c.record, current.c.stage)
            .order_by(func.min(current.c.committed), func.max(current.c.event).desc())
            .limit(_SHOWN)
        ).all()
    labels = len(visit.workspace.codebook.keys)
    return visit.page("decisions.html", rows=rows, coded=coded, labels=labels, screens=_SCREENS, bases=BASES)


ROUTES = [
    route("/undo", "undo", undo, ("POST",)),
    route("/redo", "redo", redo, ("POST",)),
    route("/note", "note", note, ("POST",)),
    route("/decisions", "decisions", decisions),
]
