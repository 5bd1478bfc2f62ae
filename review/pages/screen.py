"""Show the *Screen* page, on which people include or exclude records one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, select
from starlette.responses import Response

from mechtag.review import order
from mechtag.review.acts import Acts, Outdated, last_judged, utc_now
from mechtag.review.history import name_decision
from mechtag.review.jobs.ranking import ask_after_decisions
from mechtag.review.numbers import whole_number
from mechtag.review.pages.records import sees_results
from mechtag.review.pages.two_versions import two_versions
from mechtag.review.sight import show
from mechtag.review.store import schema
from mechtag.review.store.events import is_stopped, read_plan
from mechtag.review.store.queue import count_judged, count_waiting
from mechtag.review.store.records import read_entry
from mechtag.review.store.sent_back import sent_back
from mechtag.review.store.tags import frequent_tags, own_tags, tags_of
from mechtag.review.visit import Visit, route
from mechtag.review.words import read_words
from mechtag.review.workspace import read_fact

STAGE = "screen"
# Answers that the buttons send, with the value, and whether the record is referred.
_ANSWERS: dict[str, tuple[int | None, bool]] = {"include": (1, False), "exclude": (0, False), "refer": (None, True)}


def screen(visit: Visit) -> Response:
    """Show the record whose number is in the address; without a number, show the next record to screen."""
    with visit.workspace.store.write() as connection:
        shown = _see(connection, visit, whole_number(visit.query.get("record", "")))
    return _page(visit, shown)


def decide(visit: Visit) -> Response:
    """Save the person's decision on a record, and show the next record.

    If the form is outdated, the page shows the saved decision next to the decision in the form.
    """
    record = visit.number("record") or 0
    value, refer = _ANSWERS.get(visit.text("answer"), (None, False))

    def write(acts: Acts) -> None:
        acts.decide(visit.stamp(), record, value, refer=refer, reason=visit.text("reason") or None)

    try:
        return _answer(visit, record, write, name_decision(value, refer).capitalize())
    except Outdated:
        return _conflict(visit, record)


def skip(visit: Visit) -> Response:
    """Put a record aside for later, and show the next record."""
    record = visit.number("record") or 0
    return _answer(visit, record, lambda acts: acts.skip(visit.stamp(), record, STAGE), "Put aside for later")


def _answer(visit: Visit, record: int, write: Callable[[Acts], object], said: str) -> Response:
    """Save an action on a record, and show the next record.

    ``write`` saves the action, and ``said`` is a message about the action.
    """
    with visit.workspace.store.write() as connection:
        write(visit.workspace.acts.in_transaction(connection))
        order.release(connection, record, visit.person.id, STAGE)
        ask_after_decisions(connection, visit.person.id, [record])
        # In the same transaction, because each transaction waits for the disk.
        shown = _see(connection, visit, None) if visit.by_script else None
    if shown is None:
        return visit.go("/screen")
    response = _page(visit, shown, said)
    response.headers["HX-Push-Url"] = "/screen"
    return response


def _conflict(visit: Visit, record: int) -> Response:
    """Return a page that shows the decision saved in a different window and the decision in the form."""
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


def _see(connection: Connection, visit: Visit, number: int | None) -> dict[str, Any]:
    """Return the values for the template of the *Screen* page, and store in table ``sight`` what the page shows."""
    workspace, coder = visit.workspace, visit.person.id
    plan = read_plan(connection)
    if number is None:
        number = order.next_record(connection, coder, STAGE)
    entry = read_entry(connection, number) if number is not None else None
    ranking = connection.execute(
        select(schema.ranking).where(schema.ranking.c.stage == STAGE, schema.ranking.c.active == 1)
    ).one_or_none()
    found = {
        "ranking": ranking,
        "judged": count_judged(connection, coder, STAGE),
        "left": count_waiting(connection, coder, STAGE),
    }
    if entry is None:
        skipped = connection.execute(
            select(schema.skip.c.record).where(schema.skip.c.coder == coder, schema.skip.c.stage == STAGE)
        ).scalars()
        return found | {"skipped": list(skipped), "stopped": is_stopped(connection)}
    words = read_words(connection, plan, coder)
    sight = show(
        connection,
        entry,
        coder,
        STAGE,
        labels=(),  # the page shows no suggestion on relevance
        at=utc_now(),
        model_id=read_fact(connection, "model_id"),
        seed=workspace.seed,
        highlights=words.on,
        plan=plan,
    )
    notes = connection.execute(
        select(schema.note.c.audience, schema.note.c.text).where(
            schema.note.c.record == entry.id, schema.note.c.coder == coder
        )
    )
    mine = _mine(connection, entry.id, coder)
    begun = mine is not None and not mine.committed
    return found | {
        "entry": entry,
        "words": words,
        "sight": sight,
        "based_on": last_judged(connection, coder, entry.id, STAGE),
        "mine": mine,
        "came_back": sent_back(connection, coder, stage=STAGE, record=entry.id) if begun else [],
        "plan": plan,
        # The number of decisions from which the order was learned would tell a blinded coder how many are in conflict.
        "open_to": sees_results(visit, connection),
        "relevance": workspace.codebook.relevance,
        "notes": {audience: text for audience, text in notes},
        "tags": tags_of(connection, entry.id, own_tags(coder)),
        "proposed": frequent_tags(connection),
    }


def _page(visit: Visit, shown: dict[str, Any], said: str = "") -> Response:
    return visit.page("screen.html" if "entry" in shown else "screen_done.html", said=said, **shown)


ROUTES = [
    route("/screen", "screen", screen),
    route("/screen/decide", "screen_decide", decide, ("POST",)),
    route("/screen/skip", "screen_skip", skip, ("POST",)),
]
