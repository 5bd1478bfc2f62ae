"""Show the *Reconcile* page, where adjudicators settle labels that are in conflict or were referred to them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, select
from starlette.responses import Response

from mechtag.review.acts import Refused, Settlement, utc_now
from mechtag.review.jobs.ranking import ask_after_decisions
from mechtag.review.numbers import whole_number
from mechtag.review.pages.take import settlement_of
from mechtag.review.plan import BASES, STAGE_NAMES, STAGES
from mechtag.review.sight import is_hidden, is_to_judge, read_votes, show_to_adjudicator
from mechtag.review.store import schema
from mechtag.review.store.accounts import names_of
from mechtag.review.store.conflicts import (
    DIFFERING,
    DOUBTED,
    LISTS,
    PAGE,
    Place,
    Selection,
    count_lists,
    count_selected,
    labels_to_settle,
    neighbours,
    select_page,
)
from mechtag.review.store.events import alive_comments, family_of, is_unblinded, read_plan
from mechtag.review.store.exercises import hidden_records
from mechtag.review.store.queue import count_states
from mechtag.review.store.readings import read_reading
from mechtag.review.store.records import read_entries, read_entry
from mechtag.review.visit import Visit, route

_TITLES = {
    "screening": "Screening conflicts",
    "coding": "Coding conflicts",
    "full-text": "Full-text conflicts",
    "referred-screening": "Referred at screening",
    "referred-coding": "Referred at coding",
    "referred-full-text": "Referred at full-text coding",
    "reasons": "Differ in reasons",
    "evidence": "Differ in evidence",
    "evidence-full-text": "Differ in evidence of full texts",
    DOUBTED: "Model disagrees",
    "settled": "Settled",
}
_STAGE_OF = {name: stage for name, (stage, _) in LISTS.items()} | dict(DIFFERING)


def reconcile(visit: Visit) -> Response:
    """Show one of the lists of records that an adjudicator can settle, such as the conflicts at screening."""
    name = str(visit.path.get("list", "")) or "screening"
    if name not in _TITLES:
        raise Refused("this list does not exist; choose one of the lists on the Reconcile page", 404)
    chosen = _chosen(visit, name)
    start = whole_number(visit.query.get("start", "")) or 0
    with visit.workspace.store.read() as connection:
        page = select_page(connection, chosen, start=start)
        entries = read_entries(connection, [record for record, _ in page])
        counts = count_lists(connection)
        number = count_selected(connection, chosen)
        people = names_of(connection)
        full_texts = any(count_states(connection, "full-text").values())
    return visit.page(
        "reconcile.html",
        title=_TITLES[name],
        titles=_TITLES,
        chosen=chosen,
        stage=_STAGE_OF.get(name, ""),
        counts=counts,
        full_texts=full_texts,
        may_take=visit.person.may("take_codes") and name in LISTS,
        entries=[(entry, _address(place, chosen)) for entry, place in zip(entries, page, strict=True)],
        number=number,
        start=start,
        size=PAGE,
        people=people,
        labels=visit.workspace.codebook.names,
        query=_query(chosen),
    )


def _chosen(visit: Visit, name: str) -> Selection:
    """Return the list ``name``, filtered by the label and the coder in the address of the request."""
    return Selection(name, visit.query.get("label") or None, whole_number(visit.query.get("coder", "")))


def _query(chosen: Selection) -> str:
    """Return the query string that selects a list of records and its filters."""
    fields = {"list": chosen.name, "label": chosen.label or "", "coder": chosen.coder or ""}
    return urlencode({name: value for name, value in fields.items() if value})


def _address(place: Place | None, chosen: Selection) -> str:
    """Return the address of the page that shows a record of a list; ``""`` if ``place`` is ``None``."""
    return "" if place is None else f"/reconcile/{place[1]}/{place[0]}?{_query(chosen)}"


def _came_from(visit: Visit, stage: str) -> Selection:
    """Return the list from which a person opened a record; by default, the list of conflicts at the given stage."""
    name = visit.query.get("list", "")
    conflicts = next(name for name, place in LISTS.items() if place == (stage, "conflict"))
    return _chosen(visit, name if name in _TITLES else conflicts)


def conflict(visit: Visit) -> Response:
    """Show one record with the labels that an adjudicator has to settle.

    On request, the page also shows which coder gave which code. It does not show this if the codes are still hidden
    from the person; see `mechtag.review.sight.is_hidden`.
    """
    stage, number = str(visit.path["stage"]), int(visit.path["record"])
    if stage not in STAGES:
        raise Refused("this stage does not exist; open the record from the Reconcile page", 404)
    workspace = visit.workspace
    codebook = workspace.codebook
    chosen = _came_from(visit, stage)
    with workspace.store.write() as connection:
        entry = read_entry(connection, number)
        if entry is None:
            raise Refused(f"there is no record {number} in this review; open the record from the Reconcile page", 404)
        reading = read_reading(connection, entry, stage)
        to_judge = is_to_judge(connection, number, stage, visit.person.id)
        hidden = is_hidden(connection, number, stage, visit.person.id)
        in_exercise = family_of(connection, number)[0] in hidden_records(connection, stage)
        votes_shown = "votes" in visit.query and not hidden
        sight = show_to_adjudicator(connection, entry, visit.person.id, stage, at=utc_now(), votes_shown=votes_shown)
        context = _around(connection, chosen, number, stage, hidden=hidden)
        plan = read_plan(connection)
        shown_to_all = plan.unblinded or is_unblinded(connection, number, stage)
        near = [_address(place, chosen) for place in neighbours(connection, chosen, number, stage)]
    return visit.page(
        "conflict.html",
        entry=entry,
        reading=reading,
        stage=stage,
        stage_name=STAGE_NAMES[stage],
        sight=sight,
        votes_shown=votes_shown,
        labels=(codebook.relevance,) if stage == "screen" else codebook.labels,
        plan=plan,
        shown_to_all=shown_to_all,
        to_judge=to_judge,
        hidden=hidden,
        in_exercise=in_exercise,
        here_address=f"/reconcile/{stage}/{number}",
        query=_query(chosen),
        list_title=_TITLES[chosen.name],
        back=f"/reconcile/{chosen.name}?{_query(chosen)}",
        before=near[0],
        after=near[1],
        **context,
    )


def _around(connection: Connection, chosen: Selection, record: int, stage: str, *, hidden: bool) -> dict[str, Any]:
    """Return what the page shows about a record and its joined records, apart from the codes of the coders.

    If ``hidden`` is true, all values are empty.
    """
    if hidden:
        nothing: dict[str, Any] = dict.fromkeys(("open_labels", "notes", "comments"), ())
        return nothing | {"is_settled": False, "finals": {}, "coders": {}}
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
    state = connection.execute(
        select(schema.need.c.state).where(schema.need.c.record == head, schema.need.c.stage == stage)
    ).scalar()
    comments = [
        {"name": names[row.coder], "at": row.at, "text": row.value["text"]}
        for row in alive_comments(connection, record)
    ]
    return {
        "open_labels": labels_to_settle(connection, chosen, record, stage),
        "is_settled": state == "settled",
        "finals": {row.label: row for row in finals},
        "coders": {number: name for number, name in names.items() if number in coders},
        "notes": [{"name": names[row.coder], "text": row.text} for row in notes],
        "comments": comments,
    }


def settle(visit: Visit) -> Response:
    """Save the final code of one label, and show the next open label of the record or the next record."""
    stage, number = str(visit.path["stage"]), int(visit.path["record"])
    decision, why = _decision(visit, number, stage), visit.text("why").strip()
    if stage in BASES and not why:
        raise Refused("enter a reason for the final code; one line is enough, and it is saved with the code")
    workspace = visit.workspace
    chosen = _came_from(visit, stage)
    with workspace.store.write() as connection:
        _, following = neighbours(connection, chosen, number, stage)
        workspace.acts.in_transaction(connection).settle(
            visit.stamp(),
            number,
            stage,
            decision.label,
            decision.value,
            why=why,
            reason=decision.reason,
            sentences=decision.sentences,
        )
        if stage == "screen":
            ask_after_decisions(connection, visit.person.id, [number])
        more = labels_to_settle(connection, chosen, number, stage)
        if not (more or following):
            following = next(iter(select_page(connection, chosen, limit=1)), None)
    if more:
        return visit.go(_same_record(visit, stage, number))
    address = "" if chosen.name == "settled" else _address(following, chosen)
    return visit.go(address or f"/reconcile/{chosen.name}")


def _decision(visit: Visit, record: int, stage: str) -> Settlement:
    """Return the final code that the adjudicator entered, or took over from a coder."""
    label, answer = visit.text("label"), visit.text("answer")
    if visit.text("take"):
        return _taken(visit, record, stage, label)
    if answer not in ("yes", "no"):
        raise Refused("choose yes or no as the final code")
    sentences = visit.numbers("sentence") if answer == "yes" else ()
    return Settlement(record, stage, label, int(answer == "yes"), visit.text("reason") or None, sentences)


def _taken(visit: Visit, record: int, stage: str, label: str) -> Settlement:
    """Return the final code of a label: the code of the coder whom the adjudicator chose."""
    with visit.workspace.store.read() as connection:
        shown = bool(visit.text("votes")) and not is_hidden(connection, record, stage, visit.person.id)
        votes = read_votes(connection, record, stage) if shown else ()
        reasons = read_plan(connection).exclusion_reasons
    for vote in votes:
        if (vote.letter, vote.label) == (visit.text("take"), label) and vote.value is not None:
            return settlement_of(vote, record, stage, reasons)
    raise Refused(
        "this code cannot become final; show the codes of all coders, and choose a coder whose code is yes or no", 409
    )


def _same_record(visit: Visit, stage: str, record: int) -> str:
    """Return the address of the page of a record, so that the page can be shown again.

    If the page already showed which coder gave which code, it continues to do so.
    """
    votes = "&votes=1" if visit.text("votes") else ""
    return f"/reconcile/{stage}/{record}?{_query(_came_from(visit, stage))}{votes}"


def reopen(visit: Visit) -> Response:
    """Send a record back to one of its coders, with a message."""
    stage, number = str(visit.path["stage"]), int(visit.path["record"])
    coder = visit.number("coder")
    if coder is None:
        raise Refused("choose the coder to whom the record is sent back")
    with visit.workspace.store.write() as connection:
        acts = visit.workspace.acts.in_transaction(connection)
        acts.reopen(visit.stamp(), number, stage, coder, visit.text("message").strip())
        if stage == "screen":
            ask_after_decisions(connection, visit.person.id, [number])
    return visit.go(f"/reconcile/{_came_from(visit, stage).name}")


def unblind(visit: Visit) -> Response:
    """Let everybody see all codes of a settled record; this cannot be undone."""
    stage, number = str(visit.path["stage"]), int(visit.path["record"])
    visit.workspace.acts.unblind(visit.stamp(), number, stage)
    return visit.go(_same_record(visit, stage, number))


def comment(visit: Visit) -> Response:
    """Add a comment to the discussion of a record."""
    stage, number = str(visit.path["stage"]), int(visit.path["record"])
    visit.workspace.acts.comment(visit.stamp(), number, visit.text("text"))
    return visit.go(f"{_same_record(visit, stage, number)}#discussion")


ROUTES = [
    route("/reconcile", "reconcile", reconcile),
    route("/reconcile/{list}", "reconcile_list", reconcile),
    route("/reconcile/{stage}/{record:int}", "conflict", conflict),
    route("/reconcile/{stage}/{record:int}/settle", "settle", settle, ("POST",)),
    route("/reconcile/{stage}/{record:int}/reopen", "reopen", reopen, ("POST",)),
    route("/reconcile/{stage}/{record:int}/unblind", "unblind", unblind, ("POST",)),
    route("/reconcile/{stage}/{record:int}/comment", "comment", comment, ("POST",)),
]
