"""Enter with the start address that the terminal shows, and say one's name once."""

from __future__ import annotations

from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mechtag.review import access
from mechtag.review.pages.sign_in import with_session
from mechtag.review.render import render
from mechtag.review.store import schema
from mechtag.review.store.accounts import add_account
from mechtag.review.workspace import Workspace


async def enter(request: Request) -> Response:
    """Turn the key of the start address into a session; ask for a name if nobody has worked on the project yet."""
    form = await request.form() if request.method == "POST" else {}
    key = str(form.get("key") or request.query_params.get("key", ""))
    expected = request.app.state.start_key
    access.check_key(key, expected)
    name = str(form.get("name", ""))
    return await run_in_threadpool(_enter, request, key, name)


def _enter(request: Request, key: str, name: str) -> Response:
    workspace: Workspace = request.app.state.workspace
    table = schema.account
    with workspace.store.write() as connection:
        owner = connection.execute(
            select(table.c.id).where(table.c.role == "owner", table.c.state == "active").order_by(table.c.id)
        ).scalar()
        if owner is None and not name:
            return HTMLResponse(render("name.html", title="Who are you?", key=key, name=workspace.name))
        if owner is None:
            owner = add_account(connection, name, "owner")
        token = access.open_session(connection, owner, request.headers.get("user-agent", ""))
        empty = connection.execute(select(schema.record.c.id).limit(1)).first() is None
    return with_session(request, RedirectResponse("/import" if empty else "/", 303), token)
