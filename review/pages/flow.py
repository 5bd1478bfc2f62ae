"""Show the *Flow* page: the PRISMA 2020 flow diagram of the review."""

from __future__ import annotations

import csv
import io
from typing import Any

import yaml
from markupsafe import Markup
from sqlalchemy import Connection
from starlette.responses import Response

from mechtag.core.errors import MechtagError
from mechtag.core.files import neutralise
from mechtag.pipeline.export.prisma.diagram import RESPONSIVE, draw_diagram
from mechtag.pipeline.export.prisma.flow import Flow
from mechtag.review import flow as counts
from mechtag.review.acts import Refused, Stamp
from mechtag.review.store.accounts import names_of
from mechtag.review.visit import Visit, route


def flow(visit: Visit, fault: str = "", status: int = 200) -> Response:
    """Show the flow diagram, its counts as a table, and a form for counts that mechtag cannot know."""
    with visit.workspace.store.read() as connection:
        decided = counts.screening(connection, visit.workspace.codebook.relevance.key)
        entries = counts.read_entries(connection)
        people = names_of(connection)
        drawn, problem = _drawn(visit, connection, decided, entries)
    stored = {path: _shown(entries.get(path)) for path in counts.FIELDS}
    # The drawing has no scripts, and its texts are escaped by the drawing itself; pages allow no inline style.
    pictures = [
        Markup(draw_diagram(drawn, narrow).replace(RESPONSIVE, "")) for narrow in (False, True) if drawn is not None
    ]
    return visit.page(
        "flow.html",
        status=status,
        groups=counts.GROUPS,
        entries=entries,
        shown={path: visit.text(path, text) for path, text in stored.items()},
        # What the form showed when it was loaded, by which `enter` finds what the person changed.
        loaded={path: visit.text(f"shown-{path}", text) for path, text in stored.items()},
        people=people,
        decided=decided,
        pictures=pictures,
        rows=list(drawn.counts.items()) if drawn is not None else [],
        problem=fault or problem,
    )


def _drawn(
    visit: Visit, connection: Connection, decided: counts.Screening, entries: dict[str, counts.Entry]
) -> tuple[Flow | None, str]:
    try:
        found = counts.identification(connection)
        return counts.fill_in(found, decided, entries, visit.workspace.name)[0], ""
    except MechtagError as error:
        return None, str(error)


def _shown(entry: counts.Entry | None) -> str:
    if entry is None:
        return ""
    if isinstance(entry.value, dict):
        return "\n".join(f"{name}: {number}" for name, number in entry.value.items())
    return str(entry.value)


def enter(visit: Visit) -> Response:
    """Save the counts that the person entered for the PRISMA diagram.

    Each changed count is logged as a separate event. Counts that the person left as the form showed them are not saved,
    because somebody else may have changed them in the meantime.
    """
    with visit.workspace.store.read() as connection:
        before = counts.read_entries(connection)
    try:
        values = {
            path: value
            for path, field in counts.FIELDS.items()
            if (value := counts.parse(field, visit.text(path))) != _loaded(visit, field)
        }
    except Refused as error:
        return flow(visit, str(error), error.status)
    stamp = visit.stamp()
    for path, value in values.items():
        if value != (before[path].value if path in before else None):
            each = Stamp(stamp.coder, f"{stamp.client_id}/{path}")
            visit.workspace.acts.log(each, "flow", {"field": path, "value": value})
    return visit.go("/flow")


def _loaded(visit: Visit, field: counts.Field) -> Any:
    """Return the value that the form showed when it was loaded, or ``...`` if the form does not say."""
    name = f"shown-{field.path}"
    return counts.parse(field, visit.text(name)) if name in visit.form else ...


def download(visit: Visit) -> Response:
    """Send the flow diagram (SVG), its counts (CSV), or the counts file for ``mechtag prisma`` (YAML)."""
    kind = str(visit.path["kind"])
    with visit.workspace.store.read() as connection:
        decided = counts.screening(connection, visit.workspace.codebook.relevance.key)
        found = counts.identification(connection)
        drawn, elsewhere = counts.fill_in(found, decided, counts.read_entries(connection), visit.workspace.name)
    if kind == "svg":
        return _file(draw_diagram(drawn, "narrow" in visit.query), "image/svg+xml", "flow.svg")
    if kind == "csv":
        target = io.StringIO(newline="")
        table = csv.writer(target)
        table.writerow(("count", "records"))
        table.writerows((neutralise(key), "not known" if n is None else n) for key, n in drawn.counts.items())
        return _file("\ufeff" + target.getvalue(), "text/csv", "flow_counts.csv")
    if kind == "yaml":
        content: dict[str, Any] = elsewhere.model_dump(mode="json", exclude_defaults=True)
        return _file(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "application/yaml", "counts.yaml")
    raise Refused("this file does not exist; choose one of the files on the Flow page", 404)


def _file(text: str, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=f"{media_type}; charset=utf-8", headers=headers)


ROUTES = [
    route("/flow", "flow", flow),
    route("/flow", "enter_flow", enter, ("POST",)),
    route("/flow/{kind}", "flow_file", download),
]
