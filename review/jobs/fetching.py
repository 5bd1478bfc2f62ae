"""Fetch missing abstracts from web services at the request of a person."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, func, select, update

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.review.acts import Refused, Stamp
from mechtag.review.jobs.progress import JobReporter, Progress
from mechtag.review.jobs.tables import JOINED
from mechtag.review.jobs.tagging import KIND as TAG
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace, add_job

if TYPE_CHECKING:
    from mechtag.workflows.web_access import Access

KIND = "fetch_abstracts"
#: Folder in ``data/review`` with the answers of the services, so that an interrupted job does not ask twice.
_FOLDER = "fetched"
#: SQL conditions for the records whose abstract is missing; duplicates are left out.
MISSING = (schema.record.c.abstract == "", schema.record.c.id.not_in(JOINED))


def fetch(
    workspace: Workspace, arguments: Mapping[str, Any], progress: Progress, access: Access | None = None
) -> dict[str, Any]:
    """Fetch the missing abstracts from web services, and add them in the name of the person who requested them.

    At the end, the e-mail address is deleted from the job, so that the log does not contain the address.

    Parameters
    ----------
    arguments
        - ``coder``: account number of the person
        - ``email``: e-mail address that is sent to the services
    access
        Access to the services. By default, the services are asked with the e-mail address in ``arguments``.

    Returns
    -------
    dict
        - ``asked``: number of records without an abstract
        - ``added``: number of abstracts that were added, by service
        - ``doubtful``: number of records for which only an uncertain match was found
        - ``unanswered``: messages about services that did not answer
    """
    from mechtag.pipeline.fetch.cache import NAME, Cache
    from mechtag.pipeline.fetch.gaps import SERVICES, Wanted, fill
    from mechtag.workflows.web_access import Access, ignore_in_git, unanswered

    access = access or Access(email=str(arguments.get("email", "")))
    folder = workspace.folder / _FOLDER
    ignore_in_git(folder)
    report = JobReporter(progress)
    try:
        with workspace.store.read() as connection:
            rows = connection.execute(select(schema.record).where(*MISSING).order_by(schema.record.c.id)).all()
            # If this job was interrupted, it has added some abstracts already.
            before = _added_by(connection, progress.job)
        with Cache(folder / NAME) as cache, access.connect(cache, report) as transport:
            result = fill([_record(row) for row in rows], Wanted(what=("abstract",)), transport, report.progress)
            left = list(unanswered(transport))
            left += [f"{label}: {pause.reason}" for label, pause in transport.paused.items() if pause.until is not None]
    finally:
        _forget_address(workspace, progress.job)
    numbers = {row.record_id: row.id for row in rows}
    sources = {one.record_id: SERVICES[one.source].label for one in result.fetched if one.field == "abstract"}
    asked = before.keys() | {row.id for row in rows}
    for row in rows:
        before.pop(row.id, None)
    added = Counter(before.values())
    for record in result.records:
        if not record.abstract:
            continue
        source = sources[record.record_id]
        stamp = Stamp(
            int(arguments["coder"]), client_id=str(uuid5(NAMESPACE_URL, f"{progress.job}/{record.record_id}"))
        )
        try:
            workspace.acts.edit_record(
                stamp,
                numbers[record.record_id],
                "abstract",
                record.abstract,
                source=source,
                group=_group_of(progress.job),
            )
        except Refused:
            continue  # Somebody has added an abstract and marked its sentences in the meantime.
        added[source] += 1
    if added:
        with workspace.store.write() as connection:
            add_job(connection, TAG, None)
    return {
        "asked": len(asked),
        "added": dict(added),
        "doubtful": len({one.record.record_id for one in result.candidates}),
        "unanswered": left,
    }


def _group_of(job: int) -> str:
    """Return the name of the group of events that a job logs for its abstracts, such as ``abstracts-12``."""
    return f"abstracts-{job}"


def _added_by(connection: Connection, job: int) -> dict[int, str]:
    """Return the web service that supplied each abstract added by a job, keyed by record number."""
    event = schema.event
    source, group = (func.json_extract(event.c.value, f"$.{name}") for name in ("source", "group"))
    rows = connection.execute(
        select(event.c.record, source).where(event.c.kind == "edit_record", group == _group_of(job))
    )
    return {record: service for record, service in rows}


def _record(row: Any) -> Record:
    return Record(
        record_id=row.record_id,
        title=row.title,
        authors=tuple(json.loads(row.authors)),
        year=row.year,
        journal=row.journal,
        doi=row.doi,
        pmid=row.pmid,
    )


def _forget_address(workspace: Workspace, job: int) -> None:
    table = schema.job
    with workspace.store.write() as connection:
        known = json.loads(connection.execute(select(table.c.arguments).where(table.c.id == job)).scalar_one())
        known.pop("email", None)
        connection.execute(update(table).where(table.c.id == job).values(arguments=json.dumps(known, sort_keys=True)))


def take_back(workspace: Workspace, arguments: Mapping[str, Any], job: int) -> None:
    """Delete the e-mail address from the arguments of a cancelled job."""
    _forget_address(workspace, job)


def check_address(email: str) -> None:
    """Check that a text looks like an e-mail address.

    Raises
    ------
    Refused
        If the text cannot be an e-mail address.
    """
    from mechtag.pipeline.fetch.transport import check_email

    try:
        check_email(email)
    except MechtagError:
        raise Refused(
            "enter a valid e-mail address, such as name@example.org; the services use it to contact you if there is a "
            "problem"
        ) from None
