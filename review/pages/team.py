"""Show the *Team* page: the people of the review, their roles, and invitations."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from starlette.responses import Response

from mechtag.review import access
from mechtag.review.acts import Refused, Stamp
from mechtag.review.jobs.ranking import KIND as RANK
from mechtag.review.pages.sign_in import with_session
from mechtag.review.passwords import hash_password, is_right, require_strong
from mechtag.review.store import schema
from mechtag.review.store.accounts import (
    LOST,
    add_account,
    invite,
    list_accounts,
    open_invitations,
    revoke_invitation,
    set_password,
)
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import add_job

# Smallest number of characters of a PIN. A PIN prevents mistakes between people on one computer, not attacks.
_SHORTEST_PIN = 4


def team(visit: Visit, link: str = "", status: int = 200) -> Response:
    """Show the people of the review, the open invitations, and the sessions of the person who is signed in.

    Parameters
    ----------
    link
        New invitation link or password link, which the page shows once; ``""`` if there is no new link.
    """
    current = schema.current
    with visit.workspace.store.read() as connection:
        people = list_accounts(connection)
        counted = connection.execute(
            select(current.c.coder, current.c.stage, func.count(func.distinct(current.c.record)))
            .where(current.c.committed == 1)
            .group_by(current.c.coder, current.c.stage)
        ).all()
        invitations = open_invitations(connection)
        sessions = connection.execute(
            select(schema.session).where(schema.session.c.account == visit.person.id).order_by(schema.session.c.seen)
        ).all()
    counts = {(coder, stage): number for coder, stage, number in counted}
    return visit.page(
        "team.html",
        status=status,
        people=people,
        counts=counts,
        invitations=invitations,
        sessions=sessions,
        link=link,
        alone=_is_alone(visit),
        lost=LOST,
    )


def _is_alone(visit: Visit) -> bool:
    return visit.request.app.state.start_key is not None


def make_invitation(visit: Visit) -> Response:
    """Create a link with which a new person can join the review, and show this link once."""
    with visit.workspace.store.write() as connection:
        token = invite(connection, visit.text("role"), visit.person.id)
    return team(visit, _link(visit, token))


def reset(visit: Visit) -> Response:
    """Create a link with which a person can choose a new password or PIN, and show this link once."""
    account = visit.number("account")
    with visit.workspace.store.write() as connection:
        row = _account(connection, account)
        token = invite(connection, row.role, visit.person.id, resets=row.id)
    return team(visit, _link(visit, token))


def _link(visit: Visit, token: str) -> str:
    return f"{visit.request.base_url}join?token={token}"


def _account(connection: Any, number: int | None) -> Any:
    row = connection.execute(select(schema.account).where(schema.account.c.id == number)).one_or_none()
    if row is None:
        raise Refused("this person does not exist in this review; reload the Team page", 404)
    return row


def revoke(visit: Visit) -> Response:
    """Withdraw a link that nobody has used yet: an invitation, or a link for a new password."""
    with visit.workspace.store.write() as connection:
        revoke_invitation(connection, visit.text("invitation"))
    return visit.go("/team")


def change(visit: Visit) -> Response:
    """Change a person's role or state."""
    account = visit.number("account")
    with visit.workspace.store.read() as connection:
        before = _account(connection, account)
    role, state = visit.text("role") or None, visit.text("state") or None
    visit.workspace.acts.change_account(visit.stamp(), account or 0, role=role, state=state)
    if state not in (None, before.state):
        # Other decisions can be final now. After the ranking, newly included records get suggestions.
        with visit.workspace.store.write() as connection:
            add_job(connection, RANK, visit.person.id)
    return visit.go("/team")


def add_here(visit: Visit) -> Response:
    """Add a person who works on this computer and signs in with a PIN.

    This is not possible if the page is served to a team.
    """
    if not _is_alone(visit):
        raise Refused(
            "people with a PIN cannot be added, because this review page is served to a team; invite the person with a "
            "link",
            409,
        )
    pin = visit.text("pin")
    _require_pin(pin)
    hashed = hash_password(pin)
    with visit.workspace.store.write() as connection:
        add_account(connection, visit.text("name"), visit.text("role", "coder"), hashed)
    return visit.go("/team")


def _require_pin(pin: str) -> None:
    if len(pin) < _SHORTEST_PIN:
        raise Refused(f"the PIN is too short ({len(pin)} characters); use {_SHORTEST_PIN} characters or more")


def switch(visit: Visit) -> Response:
    """Sign in as a different person who works on this computer, with the PIN of that person."""
    if not _is_alone(visit):
        raise Refused(
            "you cannot switch to another person here, because this page is served to a team; sign out, and let the "
            "other person sign in",
            409,
        )
    visit.request.app.state.limits.account.count(f"pin {visit.number('account')}")
    with visit.workspace.store.read() as connection:
        row = _account(connection, visit.number("account"))
    if row.state != "active" or (row.password is not None and not is_right(visit.text("pin"), row.password)):
        raise Refused(f"this is not the PIN of {row.name}; try again", 403)
    visit.request.app.state.limits.account.forget(f"pin {row.id}")
    with visit.workspace.store.write() as connection:
        token = access.open_session(connection, row.id, visit.request.headers.get("user-agent", ""))
    visit.workspace.acts.log(Stamp(row.id), "sign_in", {})
    access.end_session(visit.workspace.store, visit.request.cookies[visit.request.app.state.cookie])
    return with_session(visit.request, visit.go("/"), token)


def password(visit: Visit) -> Response:
    """Change the password of the person who is signed in, and end all other sessions of this person.

    If the page is served only to this computer, and not to a team, a PIN is set instead of a password.
    """
    new = visit.text("password")
    if not _is_alone(visit):
        require_strong(new, visit.person.name, visit.workspace.name)
    else:
        _require_pin(new)
    with visit.workspace.store.read() as connection:
        row = _account(connection, visit.person.id)
    if row.password is not None and not is_right(visit.text("old"), row.password):
        raise Refused("the current password or PIN is wrong; try again", 403)
    hashed = hash_password(new)
    with visit.workspace.store.write() as connection:
        set_password(connection, visit.person.id, hashed)
        token = access.open_session(connection, visit.person.id, visit.request.headers.get("user-agent", ""))
    return with_session(visit.request, visit.go("/team"), token)


ROUTES = [
    route("/team", "team", team),
    route("/team/invite", "invite", make_invitation, ("POST",)),
    route("/team/reset", "reset", reset, ("POST",)),
    route("/team/revoke", "revoke", revoke, ("POST",)),
    route("/team/change", "change_person", change, ("POST",)),
    route("/team/add", "add_person", add_here, ("POST",)),
    route("/team/switch", "switch_person", switch, ("POST",)),
    route("/team/password", "password", password, ("POST",)),
]
