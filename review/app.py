"""Create the web application of the review page: its routes, the checks of every request, and the error pages."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mechtag.core.errors import MechtagError
from mechtag.review import access
from mechtag.review.acts import Refused
from mechtag.review.limits import Limits
from mechtag.review.pages import OPEN_ROUTES, ROUTES, start
from mechtag.review.render import STATIC, as_sentence, render, static_name
from mechtag.review.workspace import Workspace


def create_app(
    workspace: Workspace, *, hosts: frozenset[str], start_key: str | None, secure: bool = False, port: int = 0
) -> Starlette:
    """Create the web application that serves the pages of a review.

    Parameters
    ----------
    hosts
        Host names, with port, under which the page is served.
    start_key
        Secret key in the address that mechtag prints in the terminal. People on this computer sign in with this
        address. ``None`` if the page is served to a team.
    secure
        Whether browsers reach the page over HTTPS.
    port
        Port of the page. The name of the cookie contains the port, so that two reviews on one computer have different
        cookies.
    """
    app = application(
        [Route("/start", start.enter, methods=["GET", "POST"]), *OPEN_ROUTES, *ROUTES], hosts, secure=secure
    )
    app.state.workspace = workspace
    app.state.start_key = start_key
    app.state.secure = secure
    app.state.limits = Limits()
    app.state.cookie = f"__Host-mechtag-{port}" if secure else f"mechtag-{port}"
    return app


def application(routes: Sequence[Route], hosts: frozenset[str], *, secure: bool = False) -> Starlette:
    """Create an application that serves the given routes, the static files and the error pages.

    Parameters
    ----------
    hosts
        Host names, with port, under which the pages are served; requests to other host names are refused.
    secure
        Whether browsers reach the pages over HTTPS.
    """
    return Starlette(
        routes=[Route("/static/{digest}/{name:path}", _static), *routes],
        middleware=[Middleware(_Guard, hosts=hosts, scheme="https" if secure else "http")],
        exception_handlers={Refused: _refused, MechtagError: _refused, HTTPException: _http_error}
        | {OperationalError: _not_written, 500: _failed},
    )


class _Guard:
    """Middleware that refuses forbidden requests and adds security headers to each response."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], scheme: str) -> None:
        self._app, self._hosts, self._scheme = app, hosts, scheme

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                new = [(name.lower().encode(), value.encode()) for name, value in access.HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in new if pair[0] not in present)]
            await send(message)

        try:
            access.check_request(request.method, request.headers, self._hosts, self._scheme)
        except Refused as error:
            response = HTMLResponse(render("locked.html", title="Refused", message=str(error)), error.status)
            await response(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    path = (STATIC / name).resolve()
    if STATIC not in path.parents or not path.is_file() or static_name(name) != request.url.path:
        raise HTTPException(404)
    return FileResponse(path, headers={"Cache-Control": "public, max-age=31536000, immutable"})


def _error_page(status: int, title: str, message: str) -> HTMLResponse:
    return HTMLResponse(render("error.html", title=title, message=message), status)


def _refused(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refused) else 422
    return _error_page(status, "This action was not possible", as_sentence(error))


def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    titles = {404: "Page not found", 405: "This address cannot be used in this way"}
    return _error_page(
        status,
        titles.get(status, "This action was not possible"),
        "Go back to the previous page, or open the project page.",
    )


# Why SQLite could not write, and what to do about it, by the name of SQLite's error.
_NOT_WRITTEN = {
    "SQLITE_FULL": ("the disk of the computer that runs mechtag is full", "Free some space on this disk"),
    "SQLITE_BUSY": (
        "a different program keeps the database locked",
        "Close programs that read or copy the folder of the review",
    ),
    "SQLITE_READONLY": (
        "mechtag may not write to the folder of the review",
        "Allow mechtag to write to this folder",
    ),
}


def _not_written(_: Request, error: Exception) -> Response:
    assert isinstance(error, OperationalError)
    name = str(getattr(error.orig, "sqlite_errorname", ""))
    known = next((text for prefix, text in _NOT_WRITTEN.items() if name.startswith(prefix)), None)
    unknown = f"the database could not be written ({name or error.orig})", "Check the disk that contains the review"
    why, remedy = known or unknown
    return _error_page(
        507 if name == "SQLITE_FULL" else 503,
        "Not saved",
        f"Your last entry was not saved, because {why}. {remedy}, then send the form again. Decisions that you make in "
        "the meantime wait in this browser until they can be saved. Earlier entries are not affected.",
    )


def _failed(_: Request, error: Exception) -> Response:
    return _error_page(
        500,
        "mechtag failed because of an internal error",
        "Your earlier entries are saved. Reload the page. If the error occurs again, look at the terminal in which "
        "mechtag runs; it shows the reason.",
    )
