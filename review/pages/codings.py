"""Show the page *Import codes*, on which people add codes that were given outside the review page."""

from __future__ import annotations

import json
import secrets
from typing import Any

from sqlalchemy import Connection, func, select
from starlette.responses import Response

from mechtag.review.acts import Refused
from mechtag.review.imports import LARGEST_FILE, clean_name, free_name, save_file, saving
from mechtag.review.jobs.codings import ADD, READ, REMOVE, SHOWN, folder_of, refuse_removal
from mechtag.review.store import schema
from mechtag.review.store.accounts import clean_name as clean_person
from mechtag.review.store.accounts import names_of
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import ACTIVE, add_job, working

_BASES = ("abstract", "full-text")
_NEW = "new"


def overview(visit: Visit) -> Response:
    """Show the form for uploading files with codes, and the list of earlier imports."""
    return _overview(visit)


def _overview(visit: Visit, fault: str = "", status: int = 200) -> Response:
    job = schema.job
    with visit.workspace.store.read() as connection:
        rows = connection.execute(select(job).where(job.c.kind == READ).order_by(job.c.id.desc())).all()
        imports = [_import(connection, row) for row in rows]
    given = {name: visit.text(name) for name in ("coder", "basis", "unticked", "labels")}
    return visit.page("codings.html", imports=imports, fault=fault, status=status, given=given, token="")


def _import(connection: Connection, row: Any) -> dict[str, Any]:
    """Return one import of codes for the page.

    Parameters
    ----------
    row
        Row of table ``job`` of the job that read the codes.

    Returns
    -------
    dict
        ``arguments`` (answers in the form), ``found`` (result of reading), ``added`` (result of adding; empty if the
        codes were not added), ``last`` (row of the latest job of the import), ``is_added`` and ``is_removed``, with the
        number (``id``) and the time (``at``) of the import.
    """
    job = schema.job
    of = func.json_extract(job.c.arguments, "$.of") == row.id
    later = connection.execute(select(job).where(job.c.kind.in_((ADD, REMOVE)), of).order_by(job.c.id)).all()
    last = later[-1] if later else row
    added = next((each for each in reversed(later) if each.kind == ADD and each.state == "done"), None)
    is_removed = last.kind == REMOVE and last.state == "done"
    return {
        "id": row.id,
        "at": row.asked,
        "arguments": json.loads(row.arguments),
        "found": json.loads(row.result),
        "added": json.loads(added.result) if added is not None else {},
        "last": last,
        "is_removed": is_removed,
        "is_added": added is not None and not is_removed,
    }


def _read(connection: Connection, number: int) -> dict[str, Any]:
    job = schema.job
    row = connection.execute(select(job).where(job.c.kind == READ, job.c.id == number)).one_or_none()
    if row is None:
        raise Refused("this import of codes does not exist; choose one of the imports on the page Import codes", 404)
    return _import(connection, row)


def upload(visit: Visit) -> Response:
    """Save the uploaded files, and add a job that reads them; for another attempt, the saved files are used again."""
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
    """Check the answers in the form, and return them.

    Returns
    -------
    dict
        ``coder`` (name used for codes whose file does not name a coder), ``basis`` (``abstract`` or ``full-text``),
        ``unticked`` (``no`` or ``not-judged``: meaning of a label that is not ticked in a file; ``None`` if not
        answered) and ``labels`` (key in the codebook of each name in the files, ``None`` if the name has no label).

    Raises
    ------
    Refused
        If an answer is missing or not valid.
    """
    basis = visit.text("basis")
    if basis not in _BASES:
        raise Refused("choose whether the codes were given by abstract or by full text")
    if not visit.text("coder").strip():
        raise Refused("enter the name of the coder; it is used for codes whose file does not name a coder")
    unticked = visit.text("unticked") or None
    if unticked not in (None, "no", "not-judged"):
        raise Refused("the form is incomplete; load the page again and complete it")
    keys = visit.workspace.codebook.all_keys
    labels: dict[str, str | None] = {}
    for line in visit.text("labels").splitlines():
        if not line.strip():
            continue
        name, sign, key = (part.strip() for part in line.rpartition("="))
        if not sign or not name or (key and key.removeprefix("not ") not in keys):
            raise Refused(
                f"the line '{line.strip()}' is not valid; write a name in the file, an equals sign and a key of the "
                f"codebook (the keys are {', '.join(keys)})"
            )
        labels[name] = key or None
    return {"coder": clean_person(visit.text("coder")), "basis": basis, "unticked": unticked, "labels": labels}


def _save(visit: Visit) -> str:
    """Save the uploaded files in a new folder, and return the token of this folder; see `folder_of`."""
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
        accounts = names_of(connection)
    people = {}
    for place, name in enumerate(this["found"].get("coders", ())):
        same = next((str(account) for account, own in accounts.items() if own.casefold() == name.casefold()), _NEW)
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
        accounts=[(str(account), own) for account, own in accounts.items()],
        names=visit.workspace.codebook.names,
        shown=SHOWN,
        token=arguments["token"],
        given={**arguments, "unticked": arguments["unticked"] or "", "labels": labels},
    )


def act(visit: Visit) -> Response:
    """Add a job that adds the codes of an import to the review, or a job that removes them again."""
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
                raise Refused("this import has changed since the page was loaded; load the page again", 409)
    except Refused as error:
        if error.status == 404:
            raise
        return _one(visit, str(error), error.status)
    return visit.go(f"/codings/{number}")


def _people(visit: Visit, connection: Connection, names: list[str]) -> dict[str, int | None]:
    """Return the account number that was chosen for each coder in the files; ``None`` for a person without an account.

    Raises
    ------
    Refused
        If a choice is missing, or if one account was chosen for two coders.
    """
    known = set(map(str, names_of(connection)))
    chosen = [visit.text(f"person-{place}") for place in range(len(names))]
    if not names or not known.issuperset(set(chosen) - {_NEW}):
        raise Refused("choose a person for each coder in the files")
    accounts = [int(text) for text in chosen if text != _NEW]
    if len(set(accounts)) < len(accounts):
        raise Refused(
            "the same person was chosen for two coders in the files; choose different people, or correct the files"
        )
    return {name: None if text == _NEW else int(text) for name, text in zip(names, chosen, strict=True)}


ROUTES = [
    route("/codings", "codings", overview),
    route("/codings", "codings_upload", upload, ("POST",)),
    route("/codings/{job:int}", "codings_one", one),
    route("/codings/{job:int}", "codings_act", act, ("POST",)),
]
