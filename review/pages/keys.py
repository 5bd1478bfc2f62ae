"""Show the *Keys* page, where people see their keyboard shortcuts, choose a key set, and change single keys."""

from __future__ import annotations

from sqlalchemy import Connection
from starlette.responses import Response

from mechtag.core.errors import MechtagError
from mechtag.review.acts import Refused
from mechtag.review.keys import SET_NAMES, TABLE, Choice, key_set_of, spoken
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import read_fact, write_fact


def keys(visit: Visit) -> Response:
    """Show the person's keyboard shortcuts, and the form for changing them."""
    return _keys(visit)


def _keys(visit: Visit, fault: str = "", status: int = 200) -> Response:
    with visit.workspace.store.read() as connection:
        chosen = _chosen(connection, visit)
    rows = [
        {
            "action": key.action,
            "keys": " or ".join(map(spoken, chosen.names(key.action))) or "off",
            "meaning": key.meaning,
            "where": ", ".join(map(str.capitalize, key.screens)) or "all pages",
            "changed": key.action in chosen.own,
        }
        for key in TABLE
    ]
    given = {name: visit.text(name) for name in ("action", "key")}
    return visit.page("keys.html", rows=rows, sets=SET_NAMES, chosen=chosen, fault=fault, given=given, status=status)


def _chosen(connection: Connection, visit: Visit) -> Choice:
    return Choice.load(read_fact(connection, key_set_of(visit.person.id)))


def choose(visit: Visit) -> Response:
    """Change the person's set of keyboard shortcuts.

    Single shortcuts that the person changed before are reset.
    """
    name = visit.text("set")
    if name not in SET_NAMES:
        raise Refused("this set of keys does not exist; choose one of the sets on the Keys page")
    with visit.workspace.store.write() as connection:
        write_fact(connection, key_set_of(visit.person.id), Choice(name).dump())
    return visit.go("/keys")


def change(visit: Visit) -> Response:
    """Change one of the person's keyboard shortcuts."""
    try:
        with visit.workspace.store.write() as connection:
            chosen = _chosen(connection, visit).change(visit.text("action"), visit.text("key"))
            write_fact(connection, key_set_of(visit.person.id), chosen.dump())
    except MechtagError as error:
        return _keys(visit, str(error), 422)
    return visit.go("/keys")


ROUTES = [
    route("/keys", "keys", keys),
    route("/keys/choose", "keys_choose", choose, ("POST",)),
    route("/keys/change", "keys_change", change, ("POST",)),
]
