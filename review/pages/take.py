"""Make the codes of one person the final codes of several records at once.

Before these codes become final, a preview shows the codes of all coders.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select
from starlette.responses import Response

from mechtag.review.acts import Refused, Settlement, utc_now
from mechtag.review.jobs.ranking import ask_after_decisions
from mechtag.review.plan import STAGE_NAMES
from mechtag.review.sight import Vote, note_adjudicator, read_votes
from mechtag.review.store import schema
from mechtag.review.store.accounts import names_of
from mechtag.review.store.conflicts import LISTS, PAGE, Selection, count_selected, select_page, those_selected
from mechtag.review.store.events import read_plan
from mechtag.review.store.records import Entry, read_entries
from mechtag.review.visit import Visit, route


@dataclass(frozen=True)
class Row:
    """A record in the preview, with the codes that people gave for one label.

    Attributes
    ----------
    entry
        The record.
    votes
        Codes of all coders for the label.
    taken
        Code of the chosen person, which will become the final code. ``None`` if this person answered neither yes nor
        no, or answered differently for two joined records.
    """

    entry: Entry
    votes: tuple[Vote, ...]
    taken: Vote | None


def settlement_of(vote: Vote, record: int, stage: str, reasons: Collection[str]) -> Settlement:
    """Convert the code of one person to a final code of a record.

    ``reasons`` are the reasons for exclusion that the review now allows; a different reason is dropped. If the answer
    is no, the marked sentences are dropped.
    """
    return Settlement(
        record,
        stage,
        vote.label,
        int(vote.value or 0),
        reason=vote.reason if vote.reason in reasons else None,
        sentences=vote.sentences if vote.value else (),
    )


def preview(visit: Visit) -> Response:
    """Show a preview before the codes of one person become final: the chosen records with the codes of all coders."""
    chosen, records = _chosen(visit)
    stage, _ = LISTS[chosen.name]
    with visit.workspace.store.write() as connection:
        if visit.text("all"):
            records = [record for record, _ in select_page(connection, chosen)]
        rows = _rows(connection, visit, chosen, records)
        for row in rows:
            note_adjudicator(connection, row.entry, visit.person.id, stage, at=utc_now(), votes_shown=True)
        names = names_of(connection)
        if chosen.coder not in names:
            raise Refused("this person does not exist in this review; reload the page", 404)
        number = count_selected(connection, chosen)
    if not rows:
        raise Refused("none of the chosen records still needs a decision on this label; choose other records", 422)
    return visit.page(
        "take.html",
        chosen=chosen,
        stage=stage,
        stage_name=STAGE_NAMES[stage],
        rows=[row for row in rows if row.taken is not None],
        left_out=[row for row in rows if row.taken is None],
        taken_from=names[chosen.coder],
        label=visit.workspace.codebook.names[chosen.label or visit.workspace.codebook.relevance.key],
        number=number,
        size=PAGE,
    )


def take(visit: Visit) -> Response:
    """Make the codes of one person the final codes of the records that are ticked in the preview."""
    chosen, records = _chosen(visit)
    stage, _ = LISTS[chosen.name]
    workspace = visit.workspace
    with workspace.store.read() as connection:
        rows = _rows(connection, visit, chosen, records)
        reasons = read_plan(connection).exclusion_reasons
        sights = {row.entry.id: _sight(connection, row.entry.id, visit.person.id, stage) for row in rows}
    decisions = [
        replace(settlement_of(row.taken, row.entry.id, stage, reasons), sight=sights[row.entry.id])
        for row in rows
        if row.taken is not None
    ]
    workspace.acts.settle_together(visit.stamp(), decisions, visit.text("why").strip())
    if stage == "screen":
        with workspace.store.write() as connection:
            ask_after_decisions(connection, visit.person.id, [decision.record for decision in decisions])
    return visit.go(f"/reconcile/{chosen.name}")


def _chosen(visit: Visit) -> tuple[Selection, list[int]]:
    """Return the list, coder and label that the form contains, and the numbers of the records that are ticked in it."""
    name = str(visit.path["list"])
    if name not in LISTS:
        raise Refused("this list does not exist; choose one of the lists on the Reconcile page", 404)
    coder = visit.number("coder")
    if coder is None:
        raise Refused("choose the person whose codes become the final codes")
    label = visit.text("label") or None
    if LISTS[name][0] == "screen":
        label = None
    elif label not in visit.workspace.codebook.keys:
        raise Refused("choose the label whose codes are to become final")
    return Selection(name, label, coder), list(visit.numbers("record"))[:PAGE]


def _rows(connection: Connection, visit: Visit, chosen: Selection, records: Sequence[int]) -> list[Row]:
    """Return one row of the preview for each record, with the codes of all coders for one label."""
    stage, _ = LISTS[chosen.name]
    # Lists for screening have no label.
    label = chosen.label or visit.workspace.codebook.relevance.key
    # Other people may have settled some of the records since they were ticked.
    within = those_selected(connection, chosen, records)
    found = []
    for entry in read_entries(connection, [record for record in records if record in within]):
        votes = tuple(vote for vote in read_votes(connection, entry.id, stage) if vote.label == label)
        own = [vote for vote in votes if vote.coder == chosen.coder]
        clear = len({vote.value for vote in own}) == 1 and own[0].value is not None
        own.sort(key=lambda vote: vote.record != entry.id)
        found.append(Row(entry, votes, own[0] if clear else None))
    return found


def _sight(connection: Connection, record: int, coder: int, stage: str) -> int:
    """Return the number of the last row of table ``sight`` in which a person saw others' codes of a record.

    Raises
    ------
    Refused
        If the person has not seen others' codes of the record.
    """
    table = schema.sight
    found = connection.execute(
        select(table.c.id)
        .where(table.c.record == record, table.c.coder == coder, table.c.stage == stage, table.c.others_shown == 1)
        .order_by(table.c.id.desc())
        .limit(1)
    ).scalar()
    if found is None:
        raise Refused(
            "you have not seen the coders' codes for this record; look at them before you settle the record",
            409,
        )
    return int(found)


ROUTES = [
    route("/reconcile/{list}/preview", "preview_codes", preview, ("POST",)),
    route("/reconcile/{list}/take", "take_codes", take, ("POST",)),
]
