"""Show the *Papers by labels* page, a matrix of final codes with one row per coded paper and one column per label."""

from __future__ import annotations

from collections import Counter

from starlette.responses import Response

from mechtag.review.acts import Refused
from mechtag.review.charts import draw_matrix
from mechtag.review.matrix import STATES, read_matrix
from mechtag.review.numbers import whole_number
from mechtag.review.pages.records import sees_results
from mechtag.review.plan import BASES
from mechtag.review.store.queue import has_full_texts
from mechtag.review.visit import Visit, route

# Number of papers in the table on one page.
_PAGE = 50


def matrix(visit: Visit) -> Response:
    """Show the matrix of papers and labels as a picture and as a table.

    For each label, the page also shows the number of papers in each state, such as ``needs review``.
    """
    basis = "full-text" if visit.query.get("basis") == "full-text" else "abstract"
    stage = next(stage for stage, text in BASES.items() if text == basis)
    names = {label.key: label.name for label in visit.workspace.codebook.labels}
    with visit.workspace.store.read() as connection:
        if not sees_results(visit, connection):
            raise Refused("this page shows everybody's codes, so you can see it only after blinding has ended", 403)
        rows = read_matrix(connection, list(names), stage)
        by_text = has_full_texts(connection)
    start = min(whole_number(visit.query.get("after", "")) or 0, len(rows))
    counts = [Counter(row.states[column] for row in rows) for column in range(len(names))]
    return visit.page(
        "matrix.html",
        basis=basis,
        by_text=by_text,
        picture=draw_matrix(rows, list(names.values())) if rows else None,
        states=STATES,
        totals=[(name, [count[state] for state in STATES]) for name, count in zip(names.values(), counts, strict=True)],
        names=list(names.values()),
        rows=rows[start : start + _PAGE],
        papers=len(rows),
        start=start,
        before=max(0, start - _PAGE),
        after=start + _PAGE if start + _PAGE < len(rows) else 0,
    )


ROUTES = [route("/matrix", "matrix", matrix)]
