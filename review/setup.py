"""Serve the form for creating a new review, which is the only page until the project exists."""

from __future__ import annotations

import re
import secrets
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mechtag.core.codebook import Codebook, Label, Relevance
from mechtag.core.errors import MechtagError
from mechtag.project import Project, create_project
from mechtag.review import access
from mechtag.review.acts import Refused, Stamp
from mechtag.review.app import application
from mechtag.review.codebooks import to_yaml
from mechtag.review.numbers import whole_number
from mechtag.review.render import as_sentence, render
from mechtag.review.store.accounts import add_account, clean_name
from mechtag.review.workspace import Workspace, write_fact

# Largest size of the form, in bytes; a codebook is a text of a few pages.
_LARGEST = 2_000_000
_LONGEST_TITLE = 200
CODEBOOK = "codebook.yaml"


class Faults(MechtagError):
    """Raised if fields of the form for a new review are not valid.

    ``faults`` contains one sentence for each field that is not valid, keyed by the id of the field.
    """

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__("; ".join(faults.values()))
        self.faults = faults


@dataclass
class Switch:
    """Passes requests to the form for a new review until the review exists, and then to the pages of the review.

    Attributes
    ----------
    setup
        Application with the form; ``None`` if the review existed from the beginning.
    pages
        Application with the pages of the review; ``None`` until the review exists.
    """

    setup: ASGIApp | None = None
    pages: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the form for a new review, or to the pages of the review if the review exists."""
        # If the form is sent twice, the second request arrives after the review has been created.
        app = self.setup if self.pages is None or scope.get("path") == "/new" else self.pages
        app = app or self.pages
        if app is not None:
            await app(scope, receive, send)


@dataclass
class _Setup:
    root: Path
    start_key: str
    cookie: str
    open_project: Callable[[Project], Workspace]
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False

    def go_on(self) -> Response:
        """Return a redirect to the start page of the new review.

        The address contains the key that signs the person in.
        """
        return RedirectResponse(f"/start?key={self.start_key}", 303)


def create_setup(
    root: Path,
    *,
    hosts: frozenset[str],
    start_key: str,
    port: int,
    open_project: Callable[[Project], Workspace],
) -> Starlette:
    """Create the application that serves the form for a new review.

    Parameters
    ----------
    root
        Folder of the review, which need not exist yet.
    hosts
        Host names, with port, under which the page is served.
    start_key
        Key in the start address. A browser that opens this address is signed in.
    port
        Port under which the page is served. It is part of the name of the page's cookie.
    open_project
        Function that opens the new project and starts to serve its pages.
    """
    app = application([Route("/start", _start), Route("/new", _new, methods=["GET", "POST"])], hosts)
    app.state.setup = _Setup(root, start_key, f"mechtag-new-{port}", open_project)
    return app


async def _start(request: Request) -> Response:
    setup: _Setup = request.app.state.setup
    access.check_key(request.query_params.get("key", ""), setup.start_key)
    response = RedirectResponse("/new", 303)
    response.set_cookie(setup.cookie, setup.token, httponly=True, samesite="strict", path="/")
    return response


async def _new(request: Request) -> Response:
    setup: _Setup = request.app.state.setup
    if not access.same(request.cookies.get(setup.cookie, ""), setup.token):
        return HTMLResponse(render("locked.html", title="Not signed in"), 403)
    if setup.done:
        return setup.go_on()
    if request.method == "GET":
        return _page(setup, {})
    length = whole_number(request.headers.get("content-length", ""))
    if length is None or length > _LARGEST:
        raise Refused(
            f"the chosen file is too large for a codebook; choose a YAML file of at most {_LARGEST // 1_000_000} MB",
            413,
        )
    form = await request.form()
    try:
        if not access.same(str(form.get("csrf", "")), setup.csrf):
            raise Refused(
                "this form was opened before mechtag was restarted, so the review was not created; reload the page",
                403,
            )
        return await run_in_threadpool(_create, setup, form)
    finally:
        await form.close()


def _page(setup: _Setup, given: dict[str, str], faults: dict[str, str] | None = None) -> Response:
    own = (setup.root / CODEBOOK).is_file()
    page = render(
        "new.html",
        title="New review",
        csrf=setup.csrf,
        folder=str(setup.root.resolve()),
        own_codebook=own,
        given={"name": setup.root.resolve().name, "codebook": "folder" if own else "shipped", "coders": "2"} | given,
        faults=faults or {},
    )
    return HTMLResponse(page, 422 if faults else 200)


def _create(setup: _Setup, form: FormData) -> Response:
    given = {key: value for key, value in form.items() if isinstance(value, str)}
    with setup.lock:
        return setup.go_on() if setup.done else _create_once(setup, given, form.get("file"))


def _create_once(setup: _Setup, given: dict[str, str], file: Any) -> Response:
    try:
        person = _check(given)
        workspace = setup.open_project(_make_project(setup.root, given, file))
    except Faults as error:
        return _page(setup, given, error.faults)
    except MechtagError as error:
        return _page(setup, given, {"codebook": str(error)})
    except OSError as error:
        fault = (
            f"mechtag cannot write to {setup.root} ({error.strerror}); choose a folder to which you may write, or free "
            "some disk space"
        )
        return _page(setup, given, {"name": fault})
    with workspace.store.write() as connection:
        owner = add_account(connection, person, "owner")
        write_fact(connection, "name", _line(given["name"]))
    for key in ("coders_screen", "coders_code"):
        workspace.acts.change_plan(Stamp(owner), key, int(given["coders"]))
    setup.done = True
    return setup.go_on()


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _check(given: dict[str, str]) -> str:
    """Check the form for a new review, and return the name of the person who creates the review."""
    faults = dict[str, str]()
    name = _line(given.get("name", ""))
    if not name or len(name) > _LONGEST_TITLE:
        faults["name"] = f"Enter a name for the review, with at most {_LONGEST_TITLE} characters."
    if given.get("codebook") not in ("shipped", "folder", "file", "empty"):
        faults["codebook"] = "Choose a codebook."
    if given.get("codebook") == "empty":
        for key, what in (
            ("definition", "what makes a record relevant"),
            ("label", "a name for the first label"),
            ("label_definition", "what the first label means"),
        ):
            if not given.get(key, "").strip():
                faults[key] = f"Enter {what}."
    if given.get("coders") not in ("1", "2"):
        faults["coders"] = "Choose how many people judge each record."
    person = ""
    try:
        person = clean_name(given.get("person", ""))
    except Refused as error:
        faults["person"] = as_sentence(error)
    if faults:
        raise Faults(faults)
    return person


def _make_project(root: Path, given: dict[str, str], file: Any) -> Project:
    choice = given["codebook"]
    if choice in ("shipped", "folder"):
        return create_project(root, root / CODEBOOK if choice == "folder" else None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CODEBOOK
        if choice == "empty":
            path.write_text(to_yaml(_first_codebook(given)), encoding="utf-8")
        else:
            if not isinstance(file, UploadFile) or not file.filename:
                raise Faults({"file": "Choose the file of the codebook (YAML)."})
            path.write_bytes(file.file.read())
        try:
            return create_project(root, path)
        except MechtagError as error:
            # The path of the temporary file would not help the person.
            fault = as_sentence(str(error).replace(f"{path}: ", ""))
            raise Faults({"file" if choice == "file" else "codebook": fault}) from None


def _first_codebook(given: dict[str, str]) -> Codebook:
    label = _line(given["label"])
    key = re.sub(r"[^a-z0-9]+", "_", label.casefold()).strip("_")
    key = key if re.match(r"[a-z]", key) else "label_1"
    try:
        return Codebook(
            name=_line(given["name"]),
            relevance=Relevance(definition=given["definition"].strip()),
            labels=(Label(key=key, name=label, definition=given["label_definition"].strip()),),
        )
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise Faults({"label": as_sentence(reason)}) from None
