"""Show the page *Screen*, on which people include or exclude one record after the other."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select
from starlette.responses import Response

from mechtag.review import order
from mechtag.review.acts import Outdated, last_judged, utc_now
from mechtag.review.history import name_decision
from mechtag.review.jobs.ranking import ask_if_due
from mechtag.review.jobs.tagging import ask_if_included
from mechtag.review.numbers import whole_number
from mechtag.review.pages.two_versions import two_versions
from mechtag.review.render import highlight
from mechtag.review.sight import show
from mechtag.review.store import schema
from mechtag.review.store.events import is_stopped, read_plan
from mechtag.review.store.queue import count_judged, count_waiting
from mechtag.review.store.records import read_entry
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import read_fact

STAGE = "screen"
# What the buttons send: value, and whether the record is referred.
_ANSWERS: dict[str, tuple[int | None, bool]] = {"include": (1, False), "exclude": (0, False), "refer": (None, True)}


def screen(visit: Visit) -> Response:
    """Show the record in the address, or else the next record."""
    return _show(visit, whole_number(visit.query.get("record", "")))


def decide(visit: Visit) -> Response:
    """Save a decision, and show the next record."""
    record = visit.number("record") or 0
    value, refer = _ANSWERS.get(visit.text("answer"), (None, False))
    try:
        visit.workspace.acts.decide(visit.stamp(), record, value, refer=refer, reason=visit.text("reason") or None)
    except Outdated:
        return _conflict(visit, record)
    _forget(visit, record)
    return _answer(visit, name_decision(value, refer).capitalize())


def skip(visit: Visit) -> Response:
    """Put a record aside, and show the next record."""
    record = visit.number("record") or 0
    visit.workspace.acts.skip(visit.stamp(), record, STAGE)
    _forget(visit, record)
    return _answer(visit, "Put aside for later")


def _answer(visit: Visit, said: str) -> Response:
    """Return the next record if a script sent the form (one request per decision), or else redirect to it."""
    if not visit.by_script:
        return visit.go("/screen")
    response = _show(visit, None, said)
    response.headers["HX-Push-Url"] = "/screen"
    return response


def _conflict(visit: Visit, record: int) -> Response:
    """Show the decision that was saved in a different window, and the decision that this form contains."""
    with visit.workspace.store.read() as connection:
        mine = _mine(connection, record, visit.person.id)
        based_on = last_judged(connection, visit.person.id, record, STAGE)
    saved = "undone" if mine is None else name_decision(mine.value, mine.refer)
    wanted = name_decision(*_ANSWERS.get(visit.text("answer"), (None, False)))
    return two_versions(
        visit, saved=[("Decision", saved)], wanted=wanted, based_on=based_on, back=f"/screen?record={record}"
    )


def _mine(connection: Connection, record: int, coder: int) -> Any:
    table = schema.current
    return connection.execute(
        select(table).where(table.c.record == record, table.c.stage == STAGE, table.c.coder == coder)
    ).one_or_none()


def _forget(visit: Visit, record: int) -> None:
    with visit.workspace.store.write() as connection:
        order.release(connection, record, visit.person.id, STAGE)
        ask_if_due(connection, visit.person.id)
        ask_if_included(connection, record, visit.person.id)


def _show(visit: Visit, number: int | None, said: str = "") -> Response:
    workspace, coder = visit.workspace, visit.person.id
    with workspace.store.write() as connection:
        plan = read_plan(connection)
        if number is None:
            number = order.next_record(connection, coder, STAGE)
        entry = read_entry(connection, number) if number is not None else None
        counts = {"judged": count_judged(connection, coder, STAGE), "left": count_waiting(connection, coder, STAGE)}
        ranking = connection.execute(
            select(schema.ranking).where(schema.ranking.c.stage == STAGE, schema.ranking.c.active == 1)
        ).one_or_none()
        if entry is None:
            skipped = connection.execute(
                select(schema.skip.c.record).where(schema.skip.c.coder == coder, schema.skip.c.stage == STAGE)
            ).scalars()
            return visit.page(
                "screen_done.html",
                ranking=ranking,
                skipped=list(skipped),
                said=said,
                stopped=is_stopped(connection),
                **counts,
            )
        sight = show(
            connection,
            entry,
            coder,
            STAGE,
            labels=(),  # the page shows no suggestion on relevance
            at=utc_now(),
            model_id=read_fact(connection, "model_id"),
            seed=workspace.seed,
            highlights=bool(plan.words_for or plan.words_against),
        )
        based_on = last_judged(connection, coder, entry.id, STAGE)
        mine = _mine(connection, entry.id, coder)
        notes = connection.execute(
            select(schema.note.c.audience, schema.note.c.text).where(
                schema.note.c.record == entry.id, schema.note.c.coder == coder
            )
        ).all()
    marked = highlight(entry.title, plan.words_for, plan.words_against)
    abstract = highlight(entry.abstract, plan.words_for, plan.words_against)
    return visit.page(
        "screen.html",
        entry=entry,
        title=marked,
        abstract=abstract,
        sight=sight,
        based_on=based_on,
        mine=mine,
        plan=plan,
        relevance=workspace.codebook.relevance,
        ranking=ranking,
        notes={audience: text for audience, text in notes},
        said=said,
        **counts,
    )


ROUTES = [
    route("/screen", "screen", screen),
    route("/screen/decide", "screen_decide", decide, ("POST",)),
    route("/screen/skip", "screen_skip", skip, ("POST",)),
]
