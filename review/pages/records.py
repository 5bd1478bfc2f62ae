"""Show the *Records* page, which has a search and filters, and a page about each record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Connection, select
from starlette.responses import Response

from mechtag.review.acts import Refused
from mechtag.review.history import name_decision, sentences_about
from mechtag.review.jobs import tagging
from mechtag.review.numbers import whole_number
from mechtag.review.plan import STAGES
from mechtag.review.sight import visible_tags
from mechtag.review.store import schema
from mechtag.review.store.events import family_of, read_plan
from mechtag.review.store.exercises import hidden_records
from mechtag.review.store.queue import has_full_texts
from mechtag.review.store.readings import attached_file
from mechtag.review.store.records import read_entries, read_entry
from mechtag.review.store.search import PAGE, Query, final_labels, find_records
from mechtag.review.store.tags import count_tags, frequent_tags, tags_of, tags_of_several
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import add_job

_FIELDS = tuple(Query.__dataclass_fields__)
# Filters that would show a blinded coder how others decided.
_HIDDEN = ("screen", "code", "full_text", "decision", "label")
# Largest number of records that are tagged at once, because nobody else can save decisions in the meantime.
_MOST_TAGGED = 200


def records(visit: Visit) -> Response:
    """Show the records that match the search terms and filters in the address."""
    workspace, coder = visit.workspace, visit.person.id
    relevance = workspace.codebook.relevance.key
    given = {name: visit.query.get(name, "").strip()[:500] for name in _FIELDS}
    with workspace.store.read() as connection:
        open_to = sees_results(visit, connection)
        query = _query(given, open_to)
        start = whole_number(visit.query.get("after", "")) or 0
        shown = shown_tags(visit, connection)
        numbers, count = find_records(connection, query, coder, relevance, tags=shown, after=start)
        entries = read_entries(connection, numbers)
        states = _states(connection, numbers) if open_to else {}
        mine = _own(connection, numbers, coder)
        finals = _labels(connection, numbers, workspace.codebook.names) if open_to else {}
        by_text = open_to and has_full_texts(connection)
        tags, own_tags = count_tags(connection, shown), tags_of_several(connection, numbers, shown)
    chosen = {name: value for name, value in given.items() if value}
    more = chosen | {"after": numbers[-1] if numbers else 0}
    return visit.page(
        "records.html",
        entries=entries,
        count=count,
        query=query,
        states=states,
        mine=mine,
        finals=finals,
        tags_shown=[(name, f"{name} ({number:,})") for name, number in tags],
        known=[name for name, _ in tags],
        tags=own_tags,
        chosen=chosen,
        back=f"/records?{urlencode(chosen | ({'after': start} if start else {}))}",
        most=_MOST_TAGGED,
        labels=[(label.key, label.name) for label in workspace.codebook.labels],
        open_to=open_to,
        by_text=by_text,
        more=f"/records?{urlencode(more)}" if len(numbers) == PAGE else "",
        first=start == 0,
    )


def _query(given: Mapping[str, str], open_to: bool) -> Query:
    """Return the search terms and filters of a request.

    If ``open_to`` is false, leave out the filters that would reveal the decisions of other people.
    """
    return Query(**{name: value for name, value in given.items() if open_to or name not in _HIDDEN})


def tag_several(visit: Visit) -> Response:
    """Add a free-text tag to the ticked records, or to all records that match the search."""
    records = list(visit.numbers("record"))
    if visit.text("all"):
        given = {name: visit.text(name).strip()[:500] for name in _FIELDS}
        relevance = visit.workspace.codebook.relevance.key
        with visit.workspace.store.read() as connection:
            query = _query(given, sees_results(visit, connection))
            shown = shown_tags(visit, connection)
            records, count = find_records(connection, query, visit.person.id, relevance, tags=shown, limit=_MOST_TAGGED)
        if count > _MOST_TAGGED:
            raise Refused(
                f"the search finds {count:,} records, but only {_MOST_TAGGED} can be tagged in one step; narrow the "
                "search"
            )
    visit.workspace.acts.tag_together(visit.stamp(), records[:_MOST_TAGGED], visit.text("new_tag"))
    return visit.go_back("/records")


def sees_results(visit: Visit, connection: Connection) -> bool:
    """Return whether a person may see the decisions of others.

    Owners and adjudicators may always see them. All others may see them only after blinding has ended.
    """
    return visit.person.may("conflict") or read_plan(connection).unblinded


def shown_tags(visit: Visit, connection: Connection) -> ColumnElement[bool]:
    """Return an SQL condition on rows of table ``tag``: the person who opens the page may see the tag."""
    return visible_tags(connection, visit.person.id, unblinded=read_plan(connection).unblinded)


def _states(connection: Connection, numbers: list[int]) -> dict[tuple[int, str], str]:
    need = schema.need
    rows = connection.execute(select(need.c.record, need.c.stage, need.c.state).where(need.c.record.in_(numbers)))
    hidden = {stage: hidden_records(connection, stage) for stage in STAGES}
    return {
        (record, stage): "waiting" if state != "open" and record in hidden[stage] else state
        for record, stage, state in rows
        # That a record is to be coded would tell that others have included it.
        if stage == "screen" or record not in hidden["screen"]
    }


def _own(connection: Connection, numbers: list[int], coder: int) -> dict[int, str]:
    """Return a person's screening decisions as words, keyed by record number."""
    current = schema.current
    rows = connection.execute(
        select(current.c.record, current.c.value, current.c.refer).where(
            current.c.record.in_(numbers), current.c.coder == coder, current.c.stage == "screen"
        )
    )
    return {row.record: name_decision(row.value, row.refer) for row in rows}


def _labels(connection: Connection, numbers: list[int], names: Mapping[str, str]) -> dict[int, list[str]]:
    """Return the names of the labels that the final codes assign to each record, keyed by record number."""
    final = schema.final
    hidden = {stage: hidden_records(connection, stage) for stage in STAGES}
    rows = connection.execute(
        select(final.c.record, final.c.label).where(final.c.record.in_(numbers), final_labels(hidden))
    )
    found: dict[int, list[str]] = {}
    for record, label in rows:
        found.setdefault(record, []).append(names.get(label, label))
    return found


def record(visit: Visit) -> Response:
    """Show one record with its history, tags and notes.

    What the person may not see is left out.
    """
    number = int(visit.path["record"])
    with visit.workspace.store.read() as connection:
        entry = read_entry(connection, number)
        if entry is None:
            raise Refused(f"there is no record {number} in this review; search for the record on the Records page", 404)
        open_to = sees_results(visit, connection)
        head, members = family_of(connection, number)
        history = sentences_about(connection, members, visit.workspace.codebook, visit.person.id, blinded=not open_to)
        others = read_entries(connection, [member for member in members if member != number])
        tags, proposed = tags_of(connection, number, shown_tags(visit, connection)), frequent_tags(connection)
        file = attached_file(connection, number)
        note = connection.execute(
            select(schema.note.c.text).where(
                schema.note.c.record == number,
                schema.note.c.coder == visit.person.id,
                schema.note.c.audience == "team",
            )
        ).scalar()
    context: dict[str, Any] = {
        **{"others": others, "file": file, "head": head},
        **{"tags": tags, "proposed": proposed, "note": note or ""},
    }
    return visit.page("record.html", entry=entry, history=history, open_to=open_to, **context)


def tag(visit: Visit) -> Response:
    """Add a free-text tag to a record, or remove the tag."""
    number = int(visit.path["record"])
    visit.workspace.acts.tag(visit.stamp(), number, visit.text("tag"), on=visit.text("off") != "1")
    return visit.go_back(f"/records/{number}")


def edit(visit: Visit) -> Response:
    """Save a title or an abstract that a person has corrected or added."""
    number = int(visit.path["record"])
    visit.workspace.acts.edit_record(visit.stamp(), number, visit.text("field"), visit.text("text"))
    ask_to_tag(visit)
    return visit.go(f"/records/{number}")


def ask_to_tag(visit: Visit) -> None:
    """Add a job that splits new abstracts into sentences and computes missing suggestions."""
    with visit.workspace.store.write() as connection:
        add_job(connection, tagging.KIND, visit.person.id)


ROUTES = [
    route("/records", "records", records),
    route("/records/tag", "tag_several", tag_several, ("POST",)),
    route("/records/{record:int}", "record", record),
    route("/records/{record:int}/tag", "tag", tag, ("POST",)),
    route("/records/{record:int}/edit", "edit_record", edit, ("POST",)),
]
