"""Show the *Activity* page, which describes the events of the log in words."""

from __future__ import annotations

import csv
import io
from urllib.parse import urlencode

from sqlalchemy import select
from starlette.responses import Response

from mechtag.core.files import neutralise
from mechtag.review.history import last_happenings
from mechtag.review.numbers import whole_number
from mechtag.review.pages.records import sees_results
from mechtag.review.store import schema
from mechtag.review.store.accounts import names_of
from mechtag.review.visit import Visit, route

_SHOWN = 100
_MOST = 1_000_000


def activity(visit: Visit) -> Response:
    """Show the latest events in words.

    Blinded coders do not see the judgements of others.
    """
    before, coder = visit.query.get("before", ""), visit.query.get("coder", "")
    chosen = {"coder": coder, "kind": visit.query.get("kind", "")}
    with visit.workspace.store.read() as connection:
        rows = last_happenings(
            connection,
            visit.workspace.codebook,
            visit.person.id,
            blinded=not sees_results(visit, connection),
            coder=whole_number(coder),
            kind=chosen["kind"],
            before=whole_number(before),
            limit=_SHOWN,
        )
        people = names_of(connection)
        kinds = connection.execute(select(schema.event.c.kind).distinct().order_by(schema.event.c.kind)).scalars().all()
    older = {name: value for name, value in chosen.items() if value} | {"before": rows[-1].seq if rows else 0}
    return visit.page(
        "activity.html",
        rows=rows,
        people=people,
        kinds=kinds,
        chosen=chosen,
        older=f"/activity?{urlencode(older)}" if len(rows) == _SHOWN else "",
    )


def download(visit: Visit) -> Response:
    """Send all events that the person may see, described in words, as a CSV file."""
    with visit.workspace.store.read() as connection:
        blinded = not sees_results(visit, connection)
        codebook, viewer = visit.workspace.codebook, visit.person.id
        rows = last_happenings(connection, codebook, viewer, blinded=blinded, limit=_MOST)
        record = schema.record
        names = {row.id: row.record_id for row in connection.execute(select(record.c.id, record.c.record_id))}
    target = io.StringIO(newline="")
    table = csv.writer(target)
    table.writerow(("number", "time", "person", "record_id", "what", "undone"))
    for row in reversed(rows):
        cells = (row.who, names.get(row.record or 0, ""), row.what)
        table.writerow((row.seq, row.at, *map(neutralise, cells), "undone" if row.undone else ""))
    headers = {"Content-Disposition": 'attachment; filename="activity.csv"'}
    return Response("\ufeff" + target.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


ROUTES = [route("/activity", "activity", activity), route("/activity.csv", "activity_csv", download)]
