"""Show the page *Keys*: all keyboard shortcuts of the pages, and the choice of a set of shortcuts."""

from __future__ import annotations

from starlette.responses import Response

from mechtag.review.acts import Refused
from mechtag.review.keys import SET_NAMES, TABLE, key_set_of, names_of, spoken
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import read_fact, write_fact


def keys(visit: Visit) -> Response:
    """Show the current keyboard shortcuts of the person, and the sets of shortcuts to choose from."""
    with visit.workspace.store.read() as connection:
        chosen = read_fact(connection, key_set_of(visit.person.id)) or "default"
    rows = [
        (" or ".join(map(spoken, names)), key.meaning, ", ".join(map(str.capitalize, key.screens)) or "all pages")
        for key in TABLE
        if (names := names_of(key.action, chosen))
    ]
    return visit.page("keys.html", rows=rows, sets=SET_NAMES, chosen=chosen)


def choose(visit: Visit) -> Response:
    """Change the set of keyboard shortcuts that the person uses."""
    name = visit.text("set")
    if name not in SET_NAMES:
        raise Refused("choose one of the key sets on the page")
    with visit.workspace.store.write() as connection:
        write_fact(connection, key_set_of(visit.person.id), name)
    return visit.go("/keys")


ROUTES = [route("/keys", "keys", keys), route("/keys/choose", "keys_choose", choose, ("POST",))]
