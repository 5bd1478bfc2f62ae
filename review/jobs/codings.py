"""Import codes that people gave outside the review page: read the files, add the codes, or remove the codes again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.records import FINAL, Coding, passages_of
from mechtag.review.acts import Refused, Stamp
from mechtag.review.jobs import ranking, tagging
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.tables import JOINED, as_read_in, in_review
from mechtag.review.plan import BASES
from mechtag.review.store import schema
from mechtag.review.store.accounts import add_account, find_account
from mechtag.review.store.events import is_undone
from mechtag.review.store.readings import Reading, attached_file, read_reading
from mechtag.review.store.records import read_entries
from mechtag.review.workspace import Workspace, add_job

if TYPE_CHECKING:
    from mechtag.pipeline.annotations.imports.importer import Imported

READ, ADD, REMOVE = "read_codings", "add_codings", "remove_codings"
#: Largest number of entries of a list that the page shows.
SHOWN = 200
# Records whose codes are written in one transaction, so that a decision never waits long.
_RECORDS = 25


def folder_of(workspace: Workspace, token: str) -> Path:
    """Return the folder of one import, with the uploaded files and the codes that were read from these files.

    ``token`` identifies the upload.
    """
    return workspace.folder / "uploads" / f"codings-{token}"


def read(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Read the codes in uploaded files, and match them to the records and labels of the review.

    The codes are not yet added to the review; see `add`.

    Returns
    -------
    dict
        - ``codes``: number of codes that can be added.
        - ``records``: number of records for which codes can be added.
        - ``coders``: number of codes that can be added, keyed by the name of the coder.
        - ``labels``: number of codes that can be added, keyed by label.
        - ``left_out``: up to `SHOWN` of the entries and codes that cannot be added, each with its place and the reason.
        - ``all_left_out``: number of all entries and codes that cannot be added.
        - ``counts``: number of entries in the files, keyed by outcome.
        - ``formats``: formats of the files.
        - ``notes``: messages about the files.

    Raises
    ------
    MechtagError
        If the review has no records, or if a file cannot be read.
    """
    from mechtag.pipeline.annotations.coding_table import without_roles
    from mechtag.pipeline.annotations.imports.importer import read_codings_from
    from mechtag.pipeline.annotations.imports.label_names import MapFile

    progress.start(1, "Reading the codes")
    batch = schema.batch
    with workspace.store.read() as connection:
        numbers = connection.execute(select(batch.c.id).where(batch.c.result != "{}").order_by(batch.c.id)).scalars()
        records = in_review(connection, as_read_in(workspace, list(numbers)), schema.record.c.id.not_in(JOINED))
    if not records:
        raise MechtagError("this review has no records to which codes could be added; import the records first")
    folder = folder_of(workspace, arguments["token"])
    try:
        imported = read_codings_from(
            sorted((folder / "files").iterdir()),
            records,
            workspace.codebook,
            workspace.project.settings.dedupe,
            coder=arguments["coder"],
            basis=arguments["basis"],
            unticked=arguments["unticked"],
            mapped=MapFile(labels=arguments["labels"]),
        )
    except MechtagError as error:
        raise MechtagError(_for_the_page(str(error), folder)) from None
    codings = without_roles(imported.codings)
    faults = list(_faults(workspace, codings))
    kept = [row for row, fault in zip(codings, faults, strict=True) if not fault]
    roles = [row for row in imported.codings if row.role]
    content = {"codes": kept, "roles": roles}
    write_json(
        folder / "codes.json", {name: [row.model_dump(mode="json") for row in own] for name, own in content.items()}
    )
    left_out = list(_left_out(imported, codings, faults))
    return {
        "codes": len(kept),
        "records": len({row.record_id for row in kept}),
        "coders": dict(Counter(row.coder for row in kept)),
        "labels": dict(Counter(row.label for row in kept)),
        "left_out": left_out[:SHOWN],
        "all_left_out": len(left_out),
        "counts": dict(imported.entries),
        "formats": [form for _, form in imported.files],
        "notes": [note.replace(str(folder / "files"), "") for note in imported.notes],
    }


def _for_the_page(message: str, folder: Path) -> str:
    """Convert an error message for the command line to a message for the review page."""
    text, found, _ = message.replace(f"{folder / 'files'}/", "").partition("\nMap each name")
    return (
        f"{text}\nEnter the meaning of each of these names under “Names of labels”, and read the file again"
        if found
        else text
    )


def _left_out(imported: Imported, codings: Sequence[Coding], faults: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield a description and a reason for each imported entry or code that cannot be added."""
    for fault in imported.rejected:
        yield f"{fault.file}: entry {fault.record}", fault.reason
    for row in imported.unmatched:
        name = row.item.paper.title or next(iter(row.item.paper.names), "") or row.item.paper.doi or "no title"
        several = "several records match this paper" if row.found.several else "no record matches this paper"
        near = "; ".join(record.title for record in row.found.candidates[:3])
        yield f"{row.place}: {name[:200]}", several + (f" (most similar: {near})" if near else "")
    for conflict in imported.conflicts:
        places = ", ".join(dict.fromkeys(each.place for each in conflict.rows))
        labels = ", ".join(dict.fromkeys(each.label for each in conflict.rows))
        yield f"{places}: {labels}", f"the codes of {conflict.rows[0].coder} are {conflict.kind}"
    for coding, why in zip(codings, faults, strict=True):
        if why:
            yield f"{coding.record_id}: {coding.label}, {coding.coder}", why


def _faults(workspace: Workspace, codings: Sequence[Coding]) -> Iterator[str]:
    """Yield the reason why each code cannot be added to the review, or ``""`` if the code can be added."""
    table = schema.record
    asked = {row.record_id for row in codings if row.basis == "full-text"}
    with workspace.store.read() as connection:
        rows = connection.execute(select(table.c.record_id, table.c.id).where(table.c.record_id.in_(asked))).all()
        with_text = {name for name, number in rows if attached_file(connection, number) is not None}
    by_people = {(row.record_id, row.label, row.basis) for row in codings if row.coder != FINAL}
    for row in codings:
        stage = _stage(row, workspace)
        if row.value is None and not row.refer:
            yield "not judged, so there is nothing to add"
        elif row.coder == FINAL and (row.record_id, row.label, row.basis) in by_people:
            # Otherwise, a record that one person has judged would count as judged by two people.
            yield "this is a final code, not the code of a person; the files also contain the codes of people"
        elif stage is None:
            yield "this decision is based on the full text, but this review screens records by title and abstract"
        elif stage == "full-text" and row.record_id not in with_text:
            yield (
                "this code is based on the full text, but no full text is attached to the record; attach one, then "
                "read the codes again"
            )
        else:
            yield ""


def _stage(row: Coding, workspace: Workspace) -> str | None:
    """Return the stage of a code, or ``None`` for a screening decision that is based on the full text."""
    if row.label == workspace.codebook.relevance.key:
        return "screen" if row.basis == "abstract" else None
    return next(stage for stage, basis in BASES.items() if basis == row.basis)


def add(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Add the codes that an earlier job read from files, under the accounts of the chosen people.

    Parameters
    ----------
    arguments
        A dict with four keys. ``of`` is the number of the job that read the codes. ``token`` identifies the upload.
        ``coder`` is the account number of the person who imports the codes. ``people`` contains an account number for
        each coder, keyed by the coder's name; see `accounts_for`.

    Returns
    -------
    dict
        ``added`` is the number of codes that were added. ``left_out`` lists up to `SHOWN` codes that were not added,
        each with its place and the reason. ``all_left_out`` is the number of all codes that were not added.
    """
    content = read_json(folder_of(workspace, arguments["token"]) / "codes.json")
    codings = [Coding.model_validate(row) for row in content["codes"]]
    roles: dict[tuple[object, ...], list[Coding]] = {}
    # Files that an earlier version of mechtag read have no roles.
    for coding in map(Coding.model_validate, content.get("roles", ())):
        roles.setdefault(_place(coding), []).append(coding)
    accounts = accounts_for(workspace, arguments["people"])
    with workspace.store.read() as connection:
        table = schema.record
        found = connection.execute(select(table.c.record_id, table.c.id).where(table.c.id.not_in(JOINED)))
        numbers = {name: number for name, number in found}
        entries = read_entries(connection, sorted({numbers.get(row.record_id or "", 0) for row in codings}))
    by_number = {entry.id: entry for entry in entries}
    groups: dict[tuple[int, int, str], list[Coding]] = {}
    left_out = list[tuple[str, str]]()
    for row in codings:
        number = numbers.get(row.record_id or "")
        stage = _stage(row, workspace)
        if number is None or stage is None:
            left_out.append((f"{row.record_id}: {row.label}, {row.coder}", "the record is no longer in the review"))
        else:
            groups.setdefault((number, accounts[row.coder], stage), []).append(row)
    progress.start(len(groups), "Adding the codes")
    added, rows = 0, list(groups.items())
    for start in range(0, len(rows), _RECORDS):
        part = rows[start : start + _RECORDS]
        with workspace.store.write() as connection:
            acts = workspace.acts.in_transaction(connection)
            for place, ((number, coder, stage), own) in enumerate(part, start=start):
                stamp = Stamp(coder, client_id=f"codings-job-{progress.job}/{place}")
                more = {"group": group_of(arguments["of"]), "by": arguments["coder"]}
                reading = read_reading(connection, by_number[number], stage)
                codes = [{"stage": stage, **_code(row, reading, roles.get(_place(row), ()))} for row in own]
                try:
                    acts.import_codes(stamp, number, codes, more)
                    added += len(own)
                except Refused as error:
                    left_out += [(f"{row.record_id}: {row.label}, {row.coder}", str(error)) for row in own]
        progress.advance(len(part))
    with workspace.store.write() as connection:
        for kind in (ranking.KIND, tagging.KIND):
            add_job(connection, kind, None)
    stamp = Stamp(arguments["coder"], client_id=f"codings-job-{progress.job}")
    workspace.acts.log(stamp, "codings", {"codes": added, "people": len(accounts)})
    return {"added": added, "left_out": left_out[:SHOWN], "all_left_out": len(left_out)}


def accounts_for(workspace: Workspace, people: Mapping[str, int | None]) -> dict[str, int]:
    """Return the account number of each coder, keyed by the coder's name; create missing accounts.

    If ``people`` contains no account number for a coder, the account with the coder's name is used. If there is no such
    account, one that cannot be used to sign in is created.

    Parameters
    ----------
    people
        Account number of each coder, keyed by the coder's name; ``None`` for a coder outside the review.
    """
    accounts = {}
    with workspace.store.write() as connection:
        for name, account in people.items():
            if account is None:
                known = find_account(connection, name)
                account = None if known is None else known.id
            if account is None:
                account = add_account(connection, name, "coder")
                stamp = Stamp(account)
                workspace.acts.in_transaction(connection).change_account(stamp, account, state="left")
            accounts[name] = account
    return accounts


def _place(row: Coding) -> tuple[object, ...]:
    return row.record_id, row.coder, row.label, row.basis


def _code(row: Coding, reading: Reading, roles: Sequence[Coding] = ()) -> dict[str, Any]:
    """Convert a coding to the mapping that `Acts.import_codes` expects.

    ``roles`` are the codings with a role of evidence, by the coder of ``row`` and for its record and label.
    """
    texts = [" ".join(reading.sentence(number).split()) for number in range(len(reading.sentences))]
    quoted = _quoted(row, texts)
    passages = [" ".join(passage.split()) for passage in passages_of(row.evidence)]
    signed = [] if len(passages) != len(row.signs) else list(zip(passages, row.signs, strict=True))
    signs = {number: sign for number in quoted for passage, sign in signed if sign and texts[number] in passage}
    given = [(number, other.role) for other in roles for number in _quoted(other, texts)]
    reason = " ".join((row.reason or "").split()) or None
    code = {"label": row.label, "value": row.value, "refer": row.refer, "reason": reason, "date": row.date}
    return code | {"sentences": quoted, "signs": signs, "roles": given}


def _quoted(row: Coding, texts: Sequence[str]) -> list[int]:
    """Return the numbers of the sentences that occur in the evidence of a coding."""
    evidence = " ".join((row.evidence or "").split())
    return [number for number, text in enumerate(texts) if text and text in evidence]


def group_of(job: int) -> str:
    """Return the name that identifies the codes of one import in the log, such as ``codings-12`` for job 12."""
    return f"codings-{job}"


def acts_of(connection: Connection, job: int) -> list[Any]:
    """Return the actions that added the codes of one import; undone actions are left out.

    Parameters
    ----------
    job
        Number of the job that read the files of the import.

    Returns
    -------
    list of rows
        ``act`` is the number of the action, and ``record`` is the number of the record.
    """
    table = schema.event
    same = func.json_extract(table.c.value, "$.group") == group_of(job)
    return list(
        connection.execute(
            select(table.c.act, table.c.record)
            .where(table.c.kind == "code", table.c.part == 0, same, ~is_undone(table.c.act))
            .order_by(table.c.act)
        )
    )


def refuse_removal(connection: Connection, job: int) -> None:
    """Raise an error if the codes of one import cannot be removed from the review.

    Parameters
    ----------
    job
        Number of the job that read the files of the import.

    Raises
    ------
    Refused
        In two cases: the codes are not in the review; or a record with one of the codes was settled or sent back after
        the import. The error has status 409.
    """
    table = schema.event
    rows = acts_of(connection, job)
    if not rows:
        raise Refused(
            "these codes are not in the review (they were never added, or have already been removed); reload the page",
            409,
        )
    later = connection.execute(
        select(func.count(func.distinct(table.c.record))).where(
            table.c.kind.in_(("settle", "reopen")),
            table.c.record.in_({row.record for row in rows}),
            table.c.seq > rows[0].act,
            ~is_undone(table.c.act),
        )
    ).scalar_one()
    if later:
        raise Refused(
            f"{later} of the records with these codes {'has' if later == 1 else 'have'} been settled or sent back "
            "since the import; undo the later decisions on these records first",
            409,
        )


def remove(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Remove the codes of one import from the review.

    Parameters
    ----------
    arguments
        ``of`` is the number of the job that read the files of the import. ``coder`` is the account number of the person
        who removes the codes.

    Returns
    -------
    dict
        ``removed`` is the number of actions that were undone.
    """
    name = f"codings-job-{progress.job}"
    with workspace.store.read() as connection:
        before = _undone_by(connection, name)
        acts = [row.act for row in acts_of(connection, arguments["of"])]
        # If this job was interrupted after it had removed everything, there is nothing left to remove.
        if acts or not before:
            refuse_removal(connection, arguments["of"])
    progress.start(len(acts), "Removing the codes")
    for number in _undo(workspace, acts, arguments["coder"], name):
        progress.advance(number)
    with workspace.store.write() as connection:
        add_job(connection, ranking.KIND, None)
    return {"removed": before + len(acts)}


def _undone_by(connection: Connection, name: str) -> int:
    """Return how many actions the earlier runs of a job have undone.

    The ``client_id`` of each undo event of the job begins with ``name``.
    """
    event = schema.event
    own = event.c.client_id.startswith(f"{name}/", autoescape=True)
    return int(connection.execute(select(func.count()).where(event.c.kind == "undo", own)).scalar_one())


def take_back_addition(workspace: Workspace, arguments: Mapping[str, Any], job: int) -> None:
    """Remove the codes that a cancelled job has added so far, unless `refuse_removal` forbids this."""
    try:
        with workspace.store.read() as connection:
            refuse_removal(connection, arguments["of"])
            acts = [row.act for row in acts_of(connection, arguments["of"])]
    except Refused:
        return  # Nothing was added, or the codes stay.
    for _ in _undo(workspace, acts, arguments["coder"], f"codings-job-{job}/back"):
        pass


def _undo(workspace: Workspace, acts: Sequence[int], coder: int, name: str) -> Iterator[int]:
    """Undo actions in several short transactions. After each transaction, yield the number of actions that it undid.

    The ``client_id`` of each transaction begins with ``name``.
    """
    for start in range(0, len(acts), _RECORDS):
        part = acts[start : start + _RECORDS]
        workspace.acts.undo_import(Stamp(coder, client_id=f"{name}/{part[0]}"), part)
        yield len(part)


JOBS = {READ: read, ADD: add, REMOVE: remove}
TAKE_BACK = {ADD: take_back_addition}
