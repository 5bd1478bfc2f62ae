"""Show the *Full texts* page, on which people attach files to records, and the page with the full text of a record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select
from starlette.responses import FileResponse, Response

from mechtag.review import full_texts
from mechtag.review.acts import Refused
from mechtag.review.jobs.tagging import KIND as TAG
from mechtag.review.pages.records import sees_results
from mechtag.review.store import schema
from mechtag.review.store.events import family_of
from mechtag.review.store.exercises import hidden_records
from mechtag.review.store.queue import count_states
from mechtag.review.store.readings import Reading, attached_file, read_reading, sentences_in
from mechtag.review.store.records import read_entries, read_entry
from mechtag.review.store.search import Query, find_records
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import ACTIVE, add_job, last_job

_NO_TEXT = "no full text is attached to this record; attach one on the Full texts page"
# Number of records that a search returns, and number of characters of the beginning of a file that are shown.
_FOUND, _SHOWN = 20, 600


def overview(visit: Visit) -> Response:
    """Show the form for uploading full texts, and the list of uploaded files."""
    return _overview(visit)


def _overview(visit: Visit, fault: str = "", left_out: list[str] | None = None, status: int = 200) -> Response:
    with visit.workspace.store.read() as connection:
        files = full_texts.list_files(connection)
        job = last_job(connection, full_texts.READ)
        is_reading = job is not None and job.state in ACTIVE
        included, with_text = (sum(count_states(connection, stage).values()) for stage in ("code", "full-text"))
    # Files that have been read are attached together, at the end of the job.
    unread = [
        file
        for file in files
        if file.state == "reading" or (is_reading and file.record and not file.attached and not file.reason)
    ]
    return visit.page(
        "full_texts.html",
        files=files,
        to_settle=[file for file in files if file.state == "read" and not file.attached and file not in unread],
        rejected=[file for file in files if file.state == "rejected"],
        attached=[file for file in files if file.attached],
        reading=unread,
        job=job,
        is_reading=is_reading,
        included=included,
        with_text=with_text,
        fault=fault,
        left_out=left_out or [],
        status=status,
        largest=full_texts.LARGEST // 1_000_000,
    )


def upload(visit: Visit) -> Response:
    """Save the uploaded full texts, and add a job that reads them."""
    try:
        left_out = full_texts.take_files(visit.workspace, visit.person.id, visit.files("files"))
    except Refused as error:
        return _overview(visit, str(error), status=error.status)
    return _overview(visit, left_out=left_out) if left_out else visit.go("/full-texts")


def one(visit: Visit) -> Response:
    """Show the beginning of an uploaded file, with a form to search for the record to which the file belongs."""
    number, words = int(visit.path["file"]), visit.query.get("words", "").strip()[:500]
    table = schema.full_text
    with visit.workspace.store.read() as connection:
        file = connection.execute(select(table).where(table.c.id == number)).one_or_none()
        if file is None or file.state != "read":
            raise Refused("this file does not exist or could not be read; choose a file on the Full texts page", 404)
        numbers, count = [file.record] if file.record else [], 0
        if words:
            relevance = visit.workspace.codebook.relevance.key
            numbers, count = find_records(connection, Query(words=words), visit.person.id, relevance, limit=_FOUND)
        entries = read_entries(connection, numbers)
        held = set(connection.execute(select(schema.attachment.c.record)).scalars())
    begins = " ".join(file.text[: 2 * _SHOWN].split())[:_SHOWN]
    return visit.page(
        "full_text_file.html", file=file, begins=begins, words=words, count=count, entries=entries, held=held
    )


def attach(visit: Visit) -> Response:
    """Attach an uploaded file to the record that the person chose, and add a job that computes suggestions."""
    record = visit.number("record")
    if record is None:
        raise Refused("choose the record to which the file belongs")
    with visit.workspace.store.write() as connection:
        acts = visit.workspace.acts.in_transaction(connection)
        acts.attach(visit.stamp(), record, int(visit.path["file"]), full_texts.PERSON)
        add_job(connection, TAG, visit.person.id)
    return visit.go("/full-texts")


def detach(visit: Visit) -> Response:
    """Detach the full text of a record."""
    visit.workspace.acts.detach(visit.stamp(), int(visit.path["record"]))
    return visit.go("/full-texts")


def ask_to_delete(visit: Visit) -> Response:
    """Ask whether to delete an uploaded full text that is not attached to a record."""
    with visit.workspace.store.read() as connection:
        file = full_texts.find_file(connection, int(visit.path["file"]))
    if file.attached:
        raise Refused("this file is attached to a record; detach the file from the record before you delete it", 409)
    return visit.page("full_text_delete.html", file=file)


def delete(visit: Visit) -> Response:
    """Delete an uploaded full text that is not attached to a record."""
    full_texts.delete_file(visit.workspace, visit.stamp(), int(visit.path["file"]))
    return visit.go("/full-texts")


def download(visit: Visit) -> Response:
    """Send the file of the full text of a record."""
    with visit.workspace.store.read() as connection:
        row = _file_of(connection, int(visit.path["record"]))
    path = full_texts.folder_of(visit.workspace, row.id) / row.name
    if not path.is_file():
        raise Refused(
            "the file of this full text is missing from the folder of the review; restore the folder from a backup", 404
        )
    # Files from elsewhere are never opened as a page of this site.
    return FileResponse(path, media_type="application/octet-stream", filename=row.name)


class Paragraph(NamedTuple):
    """Consecutive sentences of a full text that are in the same section and on the same page.

    Attributes
    ----------
    heading
        Heading of the section; ``""`` if it is the same as in the previous paragraph.
    page
        Label of the page; ``""`` if it is the same as in the previous paragraph.
    sentences
        For each sentence, a tuple of the text and the names of the labels that the sentence supports.
    """

    heading: str
    page: str
    sentences: list[tuple[str, tuple[str, ...]]]


def read(visit: Visit) -> Response:
    """Show the full text of a record by section and page, with marks on the sentences that support labels."""
    number = int(visit.path["record"])
    with visit.workspace.store.read() as connection:
        entry = read_entry(connection, number)
        if entry is None:
            raise Refused(f"there is no record {number} in this review; search for the record on the Records page", 404)
        reading = read_reading(connection, entry, "full-text")
        if not reading.sha256:
            raise Refused(_NO_TEXT, 404)
        evidence = _evidence(connection, visit, number, reading.sha256)
    return visit.page("full_text.html", entry=entry, reading=reading, paragraphs=list(_paragraphs(reading, evidence)))


def _file_of(connection: Connection, record: int) -> Any:
    row = attached_file(connection, record)
    if row is None:
        raise Refused(_NO_TEXT, 404)
    return row


def _evidence(connection: Connection, visit: Visit, record: int, sha256: str) -> dict[int, list[str]]:
    """Return the names of the labels for which each sentence of a full text is evidence, keyed by sentence number."""
    current, final = schema.current, schema.final
    head, members = family_of(connection, record)
    mine = select(current).where(
        current.c.record.in_(members), current.c.stage == "full-text", current.c.coder == visit.person.id
    )
    rows = [(row.label, sentences_in(row, sha256)) for row in connection.execute(mine)]
    # The evidence for final codes is shown only to people who may see the decisions of others.
    if sees_results(visit, connection):
        of_all = select(final.c.label, final.c.sentences).where(
            final.c.record == head,
            final.c.stage == "full-text",
            final.c.value == 1,
            final.c.record.not_in(hidden_records(connection, "full-text")),
        )
        rows += [(row.label, json.loads(row.sentences)) for row in connection.execute(of_all)]
    names = visit.workspace.codebook.names
    found: dict[int, list[str]] = {}
    for label, sentences in rows:
        for number in sentences:
            if (name := names.get(label, label)) not in found.setdefault(number, []):
                found[number].append(name)
    return found


def _paragraphs(reading: Reading, evidence: Mapping[int, Sequence[str]]) -> Iterator[Paragraph]:
    place: tuple[str, str] | None = None
    sentences: list[tuple[str, tuple[str, ...]]] = []
    begun = Paragraph("", "", sentences)
    for number, line in enumerate(reading.sentences):
        if (line.section, line.page) != place:
            if sentences:
                yield begun
            before = place or ("", "")
            sentences = []
            begun = Paragraph(
                line.section if line.section != before[0] else "",
                line.page if line.page != before[1] else "",
                sentences,
            )
            place = line.section, line.page
        sentences.append((reading.sentence(number), tuple(evidence.get(number, ()))))
    if sentences:
        yield begun


ROUTES = [
    route("/full-texts", "full_texts", overview),
    route("/full-texts", "full_texts_upload", upload, ("POST",)),
    route("/full-texts/{file:int}", "full_texts_file", one),
    route("/full-texts/{file:int}", "full_texts_attach", attach, ("POST",)),
    route("/full-texts/{file:int}/delete", "full_texts_delete", ask_to_delete),
    route("/full-texts/{file:int}/delete", "delete_full_text", delete, ("POST",)),
    route("/full-texts/of/{record:int}", "full_texts_download", download),
    route("/full-texts/of/{record:int}/detach", "full_texts_detach", detach, ("POST",)),
    route("/records/{record:int}/text", "full_texts_read", read),
]
