"""Define requests of signed-in people, and create the routes of pages that only signed-in people can open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mechtag.review import access
from mechtag.review.acts import Refused, Stamp
from mechtag.review.history import describe_reversed
from mechtag.review.imports import LARGEST_BATCH, TOO_LARGE_TOGETHER, File
from mechtag.review.keys import Choice, PageKeys, key_set_of
from mechtag.review.numbers import MOST_DIGITS, whole_number
from mechtag.review.render import render
from mechtag.review.workspace import ACTIVE, Workspace, now_working, read_fact

#: Largest size of a form without files, and of a form with files, in bytes.
LARGEST_FORM = 2_000_000
LARGEST_WITH_FILES = LARGEST_BATCH + LARGEST_FORM


@dataclass(frozen=True)
class Visit:
    """One request of a signed-in person.

    Attributes
    ----------
    path
        Values in the path of the address, such as the number of a record.
    query
        Values in the query string; empty if there are none.
    form
        Values in the submitted form; empty if no form was submitted.
    by_script
        Whether JavaScript sent the request. If so, the response replaces the content of the page.
    """

    workspace: Workspace
    person: access.Person
    path: Mapping[str, Any]
    query: Mapping[str, str]
    form: FormData
    by_script: bool
    request: Request

    def files(self, name: str) -> list[File]:
        """Return the files that were uploaded in the field ``name`` of the form."""
        sent = (file for file in self.form.getlist(name) if isinstance(file, UploadFile))
        return [File(file.filename, file.file) for file in sent if file.filename]

    def page(self, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """Render a template with ``context`` and the values that all pages need, and return the page."""
        with self.workspace.store.read() as connection:
            shared = {
                # What happened before this page was opened.
                "said": context.pop("said", ""),
                "person": self.person,
                "name": self.workspace.name_in(connection),
                "here": self.request.url.path,
                "working": now_working(connection),
                # States of jobs that have not ended yet.
                "active": ACTIVE,
                "keys": PageKeys(Choice.load(read_fact(connection, key_set_of(self.person.id)))),
                # The browser stores decisions that it could not send under this name.
                "owner": access.hashed(f"{self.workspace.store.path}/{self.person.id}")[:16],
            }
            act = whole_number(self.query.get("act", ""))
            if act is not None and not shared["said"]:
                shared["said"] = describe_reversed(connection, self.workspace.codebook, self.person.id, act)
        return HTMLResponse(render(template, **shared, **context), status)

    def show_again(self, response: Response, address: str) -> Response:
        """Return ``response`` after adding a header that makes the browser show ``address`` in its address bar."""
        response.headers["HX-Replace-Url"] = address
        return response

    def go(self, address: str) -> RedirectResponse:
        """Return a redirect to another address, as the answer to a submitted form."""
        return RedirectResponse(address, 303)

    def go_back(self, otherwise: str) -> RedirectResponse:
        """Return a redirect to the address in the field ``back`` of the submitted form.

        If the field is missing or is not an address on this server, the redirect is to ``otherwise``.
        """
        back = self.text("back")
        # A second slash would make the rest the name of a host; browsers read a backslash as a slash.
        return self.go(back if back.startswith("/") and back[1:2] not in ("/", "\\") else otherwise)

    def stamp(self) -> Stamp:
        """Return a `Stamp` for the log: who submitted the form, and what this person had seen of the record."""
        return Stamp(
            self.person.id,
            client_id=self.text("client_id"),
            sight=self.number("sight"),
            seconds=self.decimal("seconds"),
            based_on=self.number("based_on"),
        )

    def text(self, name: str, default: str = "") -> str:
        """Return a field of the submitted form as text, or ``default`` if the field is missing or is a file."""
        value = self.form.get(name, default)
        return value if isinstance(value, str) else default

    def number(self, name: str) -> int | None:
        """Return a field of the submitted form as a whole number, or ``None`` if the field does not contain one."""
        return whole_number(self.text(name))

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return the distinct whole numbers among the values of a field of the submitted form, in ascending order."""
        texts = (value for value in self.form.getlist(name) if isinstance(value, str))
        return tuple(sorted({number for text in texts if (number := whole_number(text)) is not None}))

    def decimal(self, name: str) -> float | None:
        """Return the number of seconds in a field of the submitted form.

        The result is ``None`` if the field does not contain a number from 0 to 86,400.
        """
        try:
            value = float(self.text(name))
        except ValueError:
            return None
        return value if 0 <= value <= 86_400 else None


Handler = Callable[[Visit], Response]


def route(path: str, name: str, handler: Handler, methods: tuple[str, ...] = ("GET",)) -> Route:
    """Create a route that is open only to signed-in people whose role allows it, according to `access.MATRIX`.

    Parameters
    ----------
    name
        Name of the route, which is a key of `access.MATRIX`.
    handler
        Function that answers the requests.

    Raises
    ------
    ValueError
        If the name is not in `access.MATRIX`.
    """
    if name not in access.MATRIX:
        raise ValueError(f"the route '{name}' has no entry in access.MATRIX; add the roles that may use it")

    async def endpoint(request: Request) -> Response:
        workspace: Workspace = request.app.state.workspace
        token = request.cookies.get(request.app.state.cookie)
        person = await run_in_threadpool(access.person_of, workspace.store, token)
        if person is None:
            return sign_in_page(request)
        if not person.may(name):
            raise Refused(
                f"your role ({person.role}) does not allow this action; ask the owner of the review for a different "
                "role",
                403,
            )
        if any(isinstance(value, int) and value >= 10**MOST_DIGITS for value in request.path_params.values()):
            raise HTTPException(404)
        form = FormData()
        if request.method == "POST":
            _refuse_large(request)
            form = await request.form(max_fields=5000)
        try:
            if request.method == "POST":
                access.check_form(person, form, request.headers)
                request.app.state.limits.decisions.count(str(token))
            visit = Visit(
                workspace=workspace,
                person=person,
                path=request.path_params,
                query=request.query_params,
                form=form,
                by_script="hx-request" in request.headers,
                request=request,
            )
            return await run_in_threadpool(handler, visit)
        finally:
            await form.close()

    return Route(path, endpoint, methods=list(methods), name=name)


def sign_in_page(request: Request) -> Response:
    """Return the response to a request without a session.

    If the review page is served to a team, the response is a redirect to the sign-in page. Otherwise, the response is a
    page that explains how to sign in. If JavaScript sent a form, the status is 401, and the browser keeps what the form
    contained; a redirect would look to the browser as if the form had been saved.
    """
    if request.method == "POST" and "hx-request" in request.headers:
        return HTMLResponse(render("locked.html", title="Not signed in"), 401)
    if request.app.state.start_key is None:
        return RedirectResponse("/sign-in", 303)
    return HTMLResponse(render("locked.html", title="Not signed in"), 403)


def _refuse_large(request: Request) -> None:
    length = request.headers.get("content-length", "")
    files = request.headers.get("content-type", "").startswith("multipart/")
    size = whole_number(length)
    if size is None or size > (LARGEST_WITH_FILES if files else LARGEST_FORM):
        raise Refused("this form is too large; shorten the texts in it" if not files else TOO_LARGE_TOGETHER, 413)
