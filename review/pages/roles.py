"""Show the *Configurations* page: a table of the sentences to which people gave roles of evidence.

A configuration consists of sentences that together explain a label.
"""

from __future__ import annotations

from starlette.responses import Response

from mechtag.pipeline.export.evidence_roles.role_table import arrange_roles
from mechtag.review.numbers import whole_number
from mechtag.review.pages.records import sees_results
from mechtag.review.roles import PlacedPassage, read_role_passages
from mechtag.review.store.records import read_entries
from mechtag.review.visit import Visit, route

# Number of rows of the table on one page.
_PAGE = 100


def roles(visit: Visit) -> Response:
    """Show a table with one row per configuration and one column per role, grouped by label.

    A configuration consists of sentences that together explain a label. The sentences in the cells are links. Until
    blinding ends, coders see only their own sentences. Owners and adjudicators do not see sentences of others on
    records that they can still judge.
    """
    book, person = visit.workspace.codebook, visit.person
    with visit.workspace.store.read() as connection:
        sees = sees_results(visit, connection)
        viewer, coder = (person.id, None) if sees else (None, person.id)
        found = read_role_passages(connection, book, coder=coder, viewer=viewer)
        titles = {entry.id: entry.title for entry in read_entries(connection, sorted({row.record for row in found}))}
    groups: list[tuple[str, list[tuple[str, str, list[list[PlacedPassage]]]]]] = []
    start = min(whole_number(visit.query.get("after", "")) or 0, len(found))
    rows = 0
    if found:
        placed = {row.passage: row for row in found}
        for label, own in arrange_roles([row.passage for row in found], book).groups:
            shown = []
            for row in own:
                rows += 1
                if start < rows <= start + _PAGE:
                    cells = [[placed[quote.passage] for quote in cell] for cell in row.cells]
                    name = row.config_id.rpartition(" / ")[2]
                    shown.append((name, row.coder, cells))
            if shown:
                groups.append((label, shown))
    return visit.page(
        "roles.html",
        groups=groups,
        roles=list(book.role_names.values()),
        titles=titles,
        own_only=not sees,
        start=start,
        before=max(0, start - _PAGE),
        after=start + _PAGE if start + _PAGE < rows else 0,
    )


ROUTES = [route("/roles", "roles", roles)]
