"""Enter with the start address that the terminal shows, and say one's name once."""

from __future__ import annotations

from sqlalchemy import insert, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mechtag.review import access
from mechtag.review.acts import Refused, utc_now
from mechtag.review.render import render
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace


async def enter(request: Request) -> Response:
    """Turn the key of the start address into a session; ask for a name if nobody has worked on the project yet."""
    form = await request.form() if request.method == "POST" else {}
    key = str(form.get("key") or request.query_params.get("key", ""))
    expected = request.app.state.start_key
    if expected is None or not access.same(key, expected):
        raise Refused(
            "open the address that mechtag printed in the terminal; this key is not, or no longer, valid", 403
        )
    name = " ".join(str(form.get("name", "")).split())[:80]
    return await run_in_threadpool(_enter, request, key, name)


def _enter(request: Request, key: str, name: str) -> Response:
    workspace: Workspace = request.app.state.workspace
    table = schema.account
    with workspace.store.write() as connection:
        owner = connection.execute(select(table.c.id).where(table.c.role == "owner").order_by(table.c.id)).scalar()
        if owner is None and not name:
            return HTMLResponse(render("name.html", title="Who are you?", key=key, name=workspace.name))
        if owner is None:
            values = {"name": name, "role": "owner", "created": utc_now()}
            owner = connection.execute(insert(table).values(values).returning(table.c.id)).scalar_one()
        token = access.open_session(connection, owner, request.headers.get("user-agent", ""))
    response = RedirectResponse("/", 303)
    state = request.app.state
    response.set_cookie(
        state.cookie, token, httponly=True, samesite="strict", path="/", secure=state.secure, max_age=30 * 86_400
    )
    return response
