"""Handle signing in with a password, accepting an invitation, and signing out."""

from __future__ import annotations

from sqlalchemy import delete
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mechtag.review import access
from mechtag.review.acts import Refused, Stamp
from mechtag.review.passwords import hash_password, is_right, require_strong
from mechtag.review.render import as_sentence, render
from mechtag.review.store import schema
from mechtag.review.store.accounts import find_account, find_invitation, use_invitation
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import Workspace


async def sign_in(request: Request) -> Response:
    """Show the form for signing in. If the form was sent, check the name and the password, and start a session."""
    if request.method == "GET":
        return _form(request)
    form = await request.form()
    return await run_in_threadpool(_check, request, str(form.get("name", "")), str(form.get("password", "")))


def _form(request: Request, name: str = "", message: str = "", status: int = 200) -> Response:
    workspace: Workspace = request.app.state.workspace
    page = render("sign_in.html", title="Sign in", name=workspace.name, given=name, message=message)
    return HTMLResponse(page, status)


def _check(request: Request, name: str, password: str) -> Response:
    workspace: Workspace = request.app.state.workspace
    limits = request.app.state.limits
    folded = " ".join(name.split()).casefold()[:100]
    try:
        limits.address.count(address_of(request))
        limits.account.count(folded)
    except Refused as error:
        return _form(request, name, as_sentence(error), error.status)
    with workspace.store.read() as connection:
        account = find_account(connection, name)
    right = is_right(password[:1000], account.password if account is not None else None)
    if account is None or not right or account.state != "active":
        return _form(request, name, "The name or the password is wrong. Passwords are case-sensitive.", 403)
    limits.account.forget(folded)
    with workspace.store.write() as connection:
        token = access.open_session(connection, account.id, request.headers.get("user-agent", ""))
    workspace.acts.log(Stamp(account.id), "sign_in", {})
    return with_session(request, RedirectResponse("/", 303), token)


async def join(request: Request) -> Response:
    """Show the form behind an invitation link.

    If the form was sent, create the account or set the new password, and start a session.
    """
    form = await request.form() if request.method == "POST" else {}
    token = str(form.get("token") or request.query_params.get("token", ""))
    return await run_in_threadpool(_join, request, token, str(form.get("name", "")), str(form.get("password", "")))


def _join(request: Request, token: str, name: str, password: str) -> Response:
    workspace: Workspace = request.app.state.workspace
    request.app.state.limits.invitation.count(address_of(request))
    with workspace.store.read() as connection:
        invitation = find_invitation(connection, token)
    shown = {"title": "Join the review", "name": workspace.name, "token": token, "invitation": invitation}
    if request.method == "GET":
        return HTMLResponse(render("join.html", given="", message="", **shown))
    try:
        require_strong(password, name, workspace.name)
        # Hashing takes long, so it is done before the transaction begins.
        password = hash_password(password)
        with workspace.store.write() as connection:
            account = use_invitation(connection, token, name, password)
            session = access.open_session(connection, account, request.headers.get("user-agent", ""))
    except Refused as error:
        return HTMLResponse(render("join.html", given=name, message=as_sentence(error), **shown), error.status)
    return with_session(request, RedirectResponse("/", 303), session)


def with_session(request: Request, response: Response, token: str) -> Response:
    """Add a cookie with the token of a session to a response, and return the response."""
    state = request.app.state
    response.set_cookie(
        state.cookie,
        token,
        max_age=30 * 86_400,
        path="/",
        secure=state.secure,
        httponly=True,
        # Links in e-mails to the members of a team must work. Nothing links to a page that is served to one computer.
        samesite="strict" if state.start_key is not None else "lax",
    )
    return response


def address_of(request: Request) -> str:
    """Return the network address from which a request comes; ``""`` if it is not known."""
    return request.client.host if request.client else ""


def sign_out(visit: Visit) -> Response:
    """End the session from which the request comes.

    If the person chose to sign out everywhere, all other sessions of the person are ended, too.
    """
    workspace = visit.workspace
    cookie = visit.request.app.state.cookie
    if visit.text("everywhere"):
        with workspace.store.write() as connection:
            connection.execute(delete(schema.session).where(schema.session.c.account == visit.person.id))
    else:
        access.end_session(workspace.store, visit.request.cookies[cookie])
    response = RedirectResponse("/sign-in" if visit.request.app.state.start_key is None else "/", 303)
    response.delete_cookie(cookie, path="/", secure=visit.request.app.state.secure, httponly=True)
    return response


#: Routes without a session.
OPEN_ROUTES = [
    Route("/sign-in", sign_in, methods=["GET", "POST"], name="sign_in"),
    Route("/join", join, methods=["GET", "POST"], name="join"),
]
ROUTES = [route("/sign-out", "sign_out", sign_out, ("POST",))]
