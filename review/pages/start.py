"""Handle the start address, with which people on this computer sign in.

mechtag prints this address in the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mechtag.review import access
from mechtag.review.acts import Stamp
from mechtag.review.pages.sign_in import with_session
from mechtag.review.passwords import is_right
from mechtag.review.render import render
from mechtag.review.store import schema
from mechtag.review.store.accounts import LOST, add_account
from mechtag.review.workspace import Workspace


async def enter(request: Request) -> Response:
    """Sign in a person who opened the start address, and start a session.

    The start address must contain the key that mechtag created when it was started. If the review has no owner yet, the
    person is asked for a name and becomes the owner. If several people work on this computer, the person chooses an
    account and enters the PIN of this account.
    """
    form = await request.form() if request.method == "POST" else {}
    key = str(form.get("key") or request.query_params.get("key", ""))
    expected = request.app.state.start_key
    access.check_key(key, expected)
    return await run_in_threadpool(_enter, request, key, {name: str(value) for name, value in form.items()})


def _enter(request: Request, key: str, form: Mapping[str, str]) -> Response:
    workspace: Workspace = request.app.state.workspace
    table = schema.account
    with workspace.store.read() as connection:
        people = connection.execute(select(table).where(table.c.state == "active").order_by(table.c.name)).all()
    owned = any(row.role == "owner" for row in people)
    shown = {"key": key, "name": workspace.name, "message": "", "lost": LOST}
    if not owned and not form.get("name"):
        return HTMLResponse(render("name.html", title="Who are you?", **shown))
    chosen = None
    if owned and (len(people) > 1 or people[0].password is not None):
        chosen = next((row for row in people if str(row.id) == form.get("account")), None)
        if chosen is None:
            return HTMLResponse(render("who.html", title="Who are you?", people=people, **shown))
        request.app.state.limits.account.count(f"pin {chosen.id}")
        if chosen.password is not None and not is_right(form.get("pin", ""), chosen.password):
            shown["message"] = f"This is not the PIN of {chosen.name}."
            return HTMLResponse(render("who.html", title="Who are you?", people=people, **shown), 403)
        request.app.state.limits.account.forget(f"pin {chosen.id}")
    with workspace.store.write() as connection:
        if chosen is not None:
            account = int(chosen.id)
        else:
            account = int(people[0].id) if owned else add_account(connection, form["name"], "owner")
        token = access.open_session(connection, account, request.headers.get("user-agent", ""))
        empty = connection.execute(select(schema.record.c.id).limit(1)).first() is None
    if owned:
        workspace.acts.log(Stamp(account), "sign_in", {})
    return with_session(request, RedirectResponse("/import" if empty else "/", 303), token)
