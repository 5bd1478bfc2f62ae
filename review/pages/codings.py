"""Show the *Import codes* page, on which people add codes that were given outside the review page."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from mechtag.review.acts import Refused
from mechtag.review.imports import LARGEST_FILE, clean_name, free_name, save_file, saving
from mechtag.review.jobs.codings import ADD, READ, REMOVE, SHOWN, folder_of, refuse_removal
from mechtag.review.pages.imported import NEW, Kinds, choices, chosen_people, find_import, list_imports
from mechtag.review.store.accounts import clean_name as clean_person
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import ACTIVE, add_job, working

_BASES = ("abstract", "full-text")
_KINDS = Kinds(READ, ADD, REMOVE)


def overview(visit: Visit) -> Response:
    """Show the form for uploading files with codes, and the list of earlier imports."""
    return _overview(visit)


def _overview(visit: Visit, fault: str = "", status: int = 200) -> Response:
    with visit.workspace.store.read() as connection:
        imports = list_imports(connection, _KINDS)
    given = {name: visit.text(name) for name in ("coder", "basis", "unticked", "labels")}
    return visit.page("codings.html", imports=imports, fault=fault, status=status, given=given, token="")


def _read(connection: Connection, number: int) -> dict[str, Any]:
    found = find_import(connection, number, _KINDS)
    if found is None:
        raise Refused("this import of codes does not exist; choose one of the imports on the Import codes page", 404)
    return found


def upload(visit: Visit) -> Response:
    """Save the uploaded files, and add a job that reads them.

    If the form contains the token of an earlier upload, the files of that upload are read again.
    """
    try:
        answers = _answers(visit)
        token = visit.text("token")
        if not token:
            token = _save(visit)
        elif not (token.isalnum() and folder_of(visit.workspace, token).is_dir()):
            raise Refused("the uploaded files of this import have been deleted; choose the files again")
    except Refused as error:
        return _overview(visit, str(error), error.status)
    with visit.workspace.store.write() as connection:
        number = add_job(connection, READ, visit.person.id, token=token, **answers)
    return visit.go(f"/codings/{number}")


def _answers(visit: Visit) -> dict[str, Any]:
    """Return the answers in the form for importing codes; raise `Refused` if an answer is missing or not valid."""
    basis = visit.text("basis")
    if basis not in _BASES:
        raise Refused("choose whether the codes are based on the abstract or on the full text")
    if not visit.text("coder").strip():
        raise Refused("enter the name of the coder; it is used if a file does not name the coder")
    unticked = visit.text("unticked") or None
    if unticked not in (None, "no", "not-judged"):
        raise Refused("the form is incomplete; reload the page and complete it")
    keys = visit.workspace.codebook.all_keys
    # A key of the codebook means yes, ``not`` and a key mean no, and ``None`` means that the name is ignored.
    labels: dict[str, str | None] = {}
    for line in visit.text("labels").splitlines():
        if not line.strip():
            continue
        name, sign, key = (part.strip() for part in line.rpartition("="))
        if not sign or not name or (key and key.removeprefix("not ") not in keys):
            raise Refused(
                f"the line '{line.strip()}' is not valid; enter a name that occurs in the file, an equals sign and a "
                f"key of the codebook (the keys are {', '.join(keys)})"
            )
        labels[name] = key or None
    return {"coder": clean_person(visit.text("coder")), "basis": basis, "unticked": unticked, "labels": labels}


def _save(visit: Visit) -> str:
    """Save the uploaded files in a new folder, and return the random token that identifies the folder."""
    sent = visit.files("files")
    if not sent:
        raise Refused("no file was chosen; choose one or more files with codes")
    token = secrets.token_hex(8)
    folder = folder_of(visit.workspace, token)
    names = set[str]()
    with saving(folder):
        (folder / "files").mkdir(parents=True)
        for file in sent:
            place = folder / "files" / free_name(clean_name(file.name), names)
            names.add(place.name.casefold())
            save_file(file, place, LARGEST_FILE, "split the file, and import the parts one by one")
    return token


def one(visit: Visit) -> Response:
    """Show one import of codes: its progress, the codes that were read, or the codes that were added."""
    return _one(visit)


def _one(visit: Visit, fault: str = "", status: int = 200) -> Response:
    number = int(visit.path["job"])
    with visit.workspace.store.read() as connection:
        this = _read(connection, number)
        accounts = choices(connection)
    people = {}
    for place, name in enumerate(this["found"].get("coders", ())):
        same = next((account for account, own in accounts if own.casefold() == name.casefold()), NEW)
        people[name] = visit.text(f"person-{place}") or same
    last, arguments = this["last"], this["arguments"]
    labels = "\n".join(f"{name} = {key or ''}" for name, key in arguments["labels"].items())
    return visit.page(
        "codings_one.html",
        status=status,
        fault=fault,
        this=this,
        job=working(last) if last.state in ACTIVE else None,
        people=people,
        accounts=accounts,
        names=visit.workspace.codebook.names,
        shown=SHOWN,
        token=arguments["token"],
        given={**arguments, "unticked": arguments["unticked"] or "", "labels": labels},
    )


def act(visit: Visit) -> Response:
    """Add the job that the person asked for: to add the codes of an import to the review, or to remove them again."""
    number, wanted = int(visit.path["job"]), visit.text("act")
    try:
        with visit.workspace.store.write() as connection:
            this = _read(connection, number)
            if this["last"].state in ACTIVE:
                return visit.go(f"/codings/{number}")  # A job for this import is already waiting or running.
            asked = {"of": number, "coder": visit.person.id}
            if wanted == "undo":
                refuse_removal(connection, number)
                add_job(connection, REMOVE, visit.person.id, **asked)
            elif wanted == "add" and not this["is_added"]:
                people = _people(visit, connection, list(this["found"].get("coders", ())))
                add_job(connection, ADD, visit.person.id, **asked, token=this["arguments"]["token"], people=people)
            else:
                raise Refused("this import has changed since the page was loaded; reload the page", 409)
    except Refused as error:
        if error.status == 404:
            raise
        return _one(visit, str(error), error.status)
    return visit.go(f"/codings/{number}")


def _people(visit: Visit, connection: Connection, names: list[str]) -> dict[str, int | None]:
    """Return the account numbers that the user chose, keyed by the name of the coder in the uploaded files.

    The number is ``None`` if the coder is not a member of the review.
    """
    missing = "choose a person for each coder in the files"
    if not names:
        raise Refused(missing)
    twice = "the same person was chosen for two coders in the files; choose different people, or correct the files"
    fields = {name: f"person-{place}" for place, name in enumerate(names)}
    return chosen_people(visit, connection, fields, missing=missing, twice=twice)


ROUTES = [
    route("/codings", "codings", overview),
    route("/codings", "codings_upload", upload, ("POST",)),
    route("/codings/{job:int}", "codings_one", one),
    route("/codings/{job:int}", "codings_act", act, ("POST",)),
]
