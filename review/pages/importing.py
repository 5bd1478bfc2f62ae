"""Show the *Import* page, on which people upload search exports and add their records to the review."""

from __future__ import annotations

from sqlalchemy import func, select
from starlette.responses import Response

from mechtag.review import imports
from mechtag.review.acts import Refused
from mechtag.review.jobs.fetching import MISSING
from mechtag.review.store import schema
from mechtag.review.store.families import count_papers
from mechtag.review.store.queue import count_states
from mechtag.review.visit import Visit, route

# Largest number of rejected entries that the page lists.
_SHOWN = 100
_ACTS = {"read": imports.READ, "add": imports.ADD, "undo": imports.REMOVE}


def overview(visit: Visit) -> Response:
    """Show the form for uploading search exports, and the list of earlier imports."""
    return _overview(visit)


def _overview(visit: Visit, fault: str = "", status: int = 200) -> Response:
    with visit.workspace.store.read() as connection:
        batches = imports.read_batches(connection)
        without_abstract = connection.execute(select(func.count()).select_from(schema.record).where(*MISSING)).scalar()
    return visit.page(
        "import.html",
        without_abstract=without_abstract,
        batches=batches,
        fault=fault,
        status=status,
        largest=imports.LARGEST_FILE // 1_000_000,
        together=imports.LARGEST_BATCH // 1_000_000_000,
    )


def upload(visit: Visit) -> Response:
    """Save the uploaded search exports, and add a job that reads them."""
    try:
        number = imports.take_files(visit.workspace, visit.person.id, visit.files("files"))
    except Refused as error:
        return _overview(visit, str(error), error.status)
    return visit.go(f"/import/{number}")


def one(visit: Visit) -> Response:
    """Show one import: its progress and, when a step has ended, the number of records that were read or added."""
    number = int(visit.path["batch"])
    with visit.workspace.store.read() as connection:
        batch = imports.read_batch(connection, number)
        states = count_states(connection, "screen")
        papers, _ = count_papers(connection)
        batches = imports.read_batches(connection)
    if batch is None or batch.state == "discarded":
        raise Refused(
            "this import does not exist, or its files were discarded; choose one of the imports on the Import page", 404
        )
    return visit.page(
        "import_one.html",
        batch=batch,
        shown=_SHOWN,
        begun=sum(states.values()) - states["open"],
        papers=papers,
        last=max((one.id for one in batches if one.state == "added"), default=0),
    )


def act(visit: Visit) -> Response:
    """Handle the buttons of an import: read the files again, add the records, undo the import, or discard the files.

    Files are discarded immediately. Each of the other buttons adds a job for the worker process.
    """
    number, wanted = int(visit.path["batch"]), visit.text("act")
    if wanted == "discard":
        imports.discard(visit.workspace, number)
        return visit.go("/import")
    if wanted not in _ACTS:
        raise Refused("the form does not say what to do with the import; reload the page, and press one of the buttons")
    imports.ask(visit.workspace, visit.person.id, number, _ACTS[wanted])
    return visit.go(f"/import/{number}")


ROUTES = [
    route("/import", "import", overview),
    route("/import", "import_upload", upload, ("POST",)),
    route("/import/{batch:int}", "import_one", one),
    route("/import/{batch:int}", "import_act", act, ("POST",)),
]
