"""Change which words are highlighted for a person on the *Screen* and *Code* pages."""

from __future__ import annotations

from starlette.responses import Response

from mechtag.review.visit import Visit, route
from mechtag.review.words import save_own_words, switch_words


def switch(visit: Visit) -> Response:
    """Switch the highlighting of words on or off for the person."""
    with visit.workspace.store.write() as connection:
        switch_words(connection, visit.person.id, on=visit.text("words") != "off")
    return visit.go_back("/screen")


def change(visit: Visit) -> Response:
    """Save the words that the person wants to have highlighted."""
    with visit.workspace.store.write() as connection:
        save_own_words(connection, visit.person.id, visit.text("own").splitlines())
    return visit.go_back("/screen")


ROUTES = [
    route("/words", "words", switch, ("POST",)),
    route("/words/own", "own_words", change, ("POST",)),
]
