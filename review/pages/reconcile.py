"""Show the page *Reconcile*, on which adjudicators settle labels that are in conflict or were referred."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select
from starlette.responses import Response

from mechtag.review.acts import Refused, utc_now
from mechtag.review.numbers import whole_number
from mechtag.review.plan import STAGES
from mechtag.review.sight import show_to_adjudicator
from mechtag.review.store import schema
from mechtag.review.store.accounts import names_of
from mechtag.review.store.conflicts import LISTS, count_lists, in_list, open_labels
from mechtag.review.store.events import alive_comments, family_of, read_plan
from mechtag.review.store.records import read_entries, read_entry
from mechtag.review.visit import Visit, route

_TITLES = {
    "screening": "Screening conflicts",
    "coding": "Coding conflicts",
    "referred-screening": "Referred at screening",
    "referred-coding": "Referred at coding",
    "settled": "Settled",
}
_STAGE_OF = {name: stage for name, (stage, _) in LISTS.items()}


def reconcile(visit: Visit) -> Response:
    """Show one of the lists of records to settle."""
    name = str(visit.path.get("list", "")) or "screening"
    if name not in _TITLES:
        raise Refused("this list does not exist; choose one of the lists on the page Reconcile", 404)
    label = visit.query.get("label") or None
    coder = visit.query.get("coder", "")
    with visit.workspace.store.read() as connection:
        entries = read_entries(connection, in_list(connection, name, label=label, coder=whole_number(coder)))
        counts = count_lists(connection)
        people = names_of(connection)
    return visit.page(
        "reconcile.html",
        title=_TITLES[name],
        titles=_TITLES,
        list_name=name,
        stage=_STAGE_OF.get(name, ""),
        counts=counts,
        entries=entries,
        people=people,
        labels=visit.workspace.codebook.names,
        chosen={"label": label or "", "coder": coder},
    )


def conflict(visit: Visit) -> Response:
    """Show one record to settle; the codes of each coder are shown on request."""
    stage, number = str(visit.path["stage"]), int(visit.path["record"])
    if stage not in STAGES:
        raise Refused("there is no such stage", 404)
    workspace = visit.workspace
    codebook = workspace.codebook
    with workspace.store.write() as connection:
        entry = read_entry(connection, number)
        if entry is None:
            raise Refused(f"there is no record {number} in this review", 404)
        votes_shown = "votes" in visit.query
        sight = show_to_adjudicator(connection, entry, visit.person.id, stage, at=utc_now(), votes_shown=votes_shown)
        context = _around(connection, number, stage)
        plan = read_plan(connection)
    return visit.page(
        "conflict.html",
        entry=entry,
        stage=stage,
        sight=sight,
        votes_shown=votes_shown,
        labels=(codebook.relevance,) if stage == "screen" else codebook.labels,
        plan=plan,
        here_address=f"/reconcile/{stage}/{number}",
        **context,
    )


def _around(connection: Connection, record: int, stage: str) -> dict[str, Any]:
    """Return the open labels, the final codes, the notes, the discussion and the coders of a record and its copies."""
    final, current, note = schema.final, schema.current, schema.note
    head, members = family_of(connection, record)
    finals = connection.execute(select(final).where(final.c.record == head, final.c.stage == stage)).all()
    judged = connection.execute(
        select(current.c.coder).where(current.c.record.in_(members), current.c.stage == stage, current.c.committed == 1)
    ).scalars()
    coders = set(judged)
    notes = connection.execute(
        select(note.c.text, note.c.coder)
        .where(note.c.record.in_(members), note.c.audience.in_(("team", "adjudicator")))
        .order_by(note.c.event)
    ).all()
    names = names_of(connection)
    comments = [
        {"name": names[row.coder], "at": row.at, "text": row.value["text"]}
        for row in alive_comments(connection, record)
    ]
    return {
        "open_labels": open_labels(connection, record, stage),
        "finals": {row.label: row for row in finals},
        "coders": {number: name for number, name in names.items() if number in coders},
        "notes": [{"name": names[row.coder], "text": row.text} for row in notes],
        "comments": comments,
    }


def settle(visit: Visit) -> Response:
    """Record the final code of one label, and continue with the next label or record."""
    stage, number = str(visit.path["stage"]), int(visit.path["record"])
    answer, why = visit.text("answer"), visit.text("why").strip()
    if answer not in ("yes", "no"):
        raise Refused("choose yes or no")
    if stage == "code" and not why:
        raise Refused("enter a reason of one line; the reason is saved with the final code")
    workspace = visit.workspace
    workspace.acts.settle(
        visit.stamp(),
        number,
        stage,
        visit.text("label"),
        int(answer == "yes"),
        why=why,
        reason=visit.text("reason") or None,
        sentences=visit.numbers("sentence") if answer == "yes" else (),
    )
    with workspace.store.read() as connection:
        more = open_labels(connection, number, stage)
        name = "screening" if stage == "screen" else "coding"
        waiting = in_list(connection, name, limit=1) or in_list(connection, f"referred-{name}", limit=1)
    if more:
        return visit.go(f"/reconcile/{stage}/{number}{'?votes=1' if visit.text('votes') else ''}")
    return visit.go(f"/reconcile/{stage}/{waiting[0]}" if waiting else "/reconcile")


def reopen(visit: Visit) -> Response:
    """Send a record back to one of its coders."""
    stage, number = str(visit.path["stage"]), int(visit.path["record"])
    coder = visit.number("coder")
    if coder is None:
        raise Refused("choose the person to send the record back to")
    visit.workspace.acts.reopen(visit.stamp(), number, stage, coder, visit.text("message").strip())
    return visit.go("/reconcile")


def comment(visit: Visit) -> Response:
    """Add a comment to the discussion of a record."""
    stage, number = str(visit.path["stage"]), int(visit.path["record"])
    visit.workspace.acts.comment(visit.stamp(), number, visit.text("text"))
    return visit.go(f"/reconcile/{stage}/{number}{'?votes=1' if visit.text('votes') else ''}#discussion")


ROUTES = [
    route("/reconcile", "reconcile", reconcile),
    route("/reconcile/{list}", "reconcile_list", reconcile),
    route("/reconcile/{stage}/{record:int}", "conflict", conflict),
    route("/reconcile/{stage}/{record:int}/settle", "settle", settle, ("POST",)),
    route("/reconcile/{stage}/{record:int}/reopen", "reopen", reopen, ("POST",)),
    route("/reconcile/{stage}/{record:int}/comment", "comment", comment, ("POST",)),
]
