"""Import the project zip of a colleague who worked on a copy of this review, and add the colleague's work to it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import SQLAlchemyError

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.temporary import temporary_folder
from mechtag.review import merge
from mechtag.review.acts import Refused, Stamp
from mechtag.review.codings import coders_codings
from mechtag.review.jobs import codings, ranking, tagging
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.splitting import split_abstracts
from mechtag.review.merge import Difference, NewAct, People
from mechtag.review.merge_undo import GROUP, count_added, group_of, plan_undo
from mechtag.review.project_zip import extract_log
from mechtag.review.restoring import restore
from mechtag.review.store import schema
from mechtag.review.store.accounts import clean_name, find_account
from mechtag.review.store.engine import Store
from mechtag.review.store.events import Act, Draft, append
from mechtag.review.store.records import read_entries
from mechtag.review.workspace import DATABASE, Workspace, add_job

READ, ADD, REMOVE = "read_project", "add_project", "remove_project"
#: Name of the uploaded file in its folder.
ZIP = "project.zip"
#: Most entries of the list of acts that are left out which the page shows.
SHOWN = 200
# What a log that nobody has written in this way can lead to.
_FAULTS = (SQLAlchemyError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
# Fields of events whose values are numbers of accounts.
_ACCOUNTS = frozenset(("coder", "by"))
# Acts that are written in one transaction, so that a decision never waits long.
_ACTS = 25


def folder_of(workspace: Workspace, token: str) -> Path:
    """Return the folder of an uploaded project zip.

    ``token`` identifies the upload.
    """
    return workspace.folder / "cache" / f"project-{token}"


def read(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Read a project zip, and find the actions that this review lacks; nothing is added yet.

    Returns
    -------
    dict
        If the zip contains a different review, the dict has only one key, ``codings``: the number of the job that
        imports the codes of that review. If the zip contains a copy of this review, the keys are:

        - ``people``: a dict for each person with new actions, keyed by the number of the person in the copy. It
          contains the name (``name``), the number of new actions (``acts``) and the proposed account (``account``).
        - ``acts``: number of new actions
        - ``records``: number of records with new actions
        - ``left_out``: the first `SHOWN` actions that cannot be added, each with record id, name of the person and
          reason
        - ``reasons``: number of actions that cannot be added, by reason
        - ``all_left_out``: number of actions that cannot be added, in total
    """
    folder = folder_of(workspace, arguments["token"])
    for earlier in set(folder.parent.glob("project-*")) - {folder}:
        shutil.rmtree(earlier, ignore_errors=True)
    with _open_copy(workspace, folder, progress) as copy, copy.read() as theirs, workspace.store.read() as ours:
        if merge.origin(ours) != merge.origin(theirs):
            return {"codings": _read_as_codings(workspace, theirs, arguments)}
        names, accounts = _match_people(ours, theirs)
        found = merge.compare(ours, theirs, workspace.codebook, accounts)
    acts = Counter(act.rows[0].coder for act in found.acts)
    return {
        "people": {
            str(number): {"name": names[number], "acts": count, "account": accounts[number]}
            for number, count in sorted(acts.items())
        },
        "acts": len(found.acts),
        "records": len({act.rows[0].record for act in found.acts}),
        **_left_out(found, names),
    }


def _left_out(found: Difference, names: Mapping[int, str]) -> dict[str, Any]:
    rows = [(record, names.get(coder, ""), reason) for record, coder, reason in found.left_out]
    return {
        "left_out": rows[:SHOWN],
        "reasons": dict(Counter(reason for *_, reason in rows).most_common()),
        "all_left_out": len(rows),
    }


@contextmanager
def _open_copy(workspace: Workspace, folder: Path, progress: Progress) -> Iterator[Store]:
    """Return a context manager that opens the review in an uploaded zip as a temporary database."""
    if not (folder / ZIP).is_file():
        raise MechtagError("the uploaded zip has been deleted; upload it again on the 'Import a project' page")
    with temporary_folder(folder) as place:
        progress.start(0, "Reading the project")
        extract_log(folder / ZIP, place / "log")
        try:
            restore(place / DATABASE, place / "log", workspace.seed)
        except MechtagError as error:
            text = str(error).replace(f"{place / 'log'}/", "").replace(f"{place / 'log'}: ", "").partition(";")[0]
            raise MechtagError(f"the log in this zip is damaged: {text}; ask the sender for a new zip") from None
        except _FAULTS:
            raise MechtagError("the log in this zip is damaged; ask the sender for a new zip") from None
        with closing(Store(place / DATABASE)) as store:
            # Numbers of sentences are compared with the texts as people saw them.
            split_abstracts(Workspace(workspace.project, store), progress)
            yield store


def _match_people(ours: Connection, theirs: Connection) -> tuple[dict[int, str], dict[int, int | None]]:
    """Match the people in a copy of a review with accounts of the review itself.

    Returns two dicts, both keyed by the number of the person in the copy. The first contains the names of the people.
    The second contains their account numbers in the review, or ``None`` for people without an account.
    """
    event = schema.event
    joined = select(event.c.client_id, event.c.coder).where(event.c.kind == "account")
    known = {row.client_id: row.coder for row in ours.execute(joined)}
    # People who joined before the copy was made are recognised by the event with which they joined, others by name.
    same = {row.coder: known[row.client_id] for row in theirs.execute(joined) if row.client_id in known}
    names, accounts = dict[int, str](), dict[int, int | None]()
    for row in theirs.execute(select(schema.account).order_by(schema.account.c.id)).all():
        try:
            names[row.id] = clean_name(row.name)
        except Refused:
            raise MechtagError(
                "the log in this zip is damaged: a person has no name or a very long name; ask the sender for a new zip"
            ) from None
        found = find_account(ours, names[row.id])
        accounts[row.id] = same.get(row.id, None if found is None else found.id)
    return names, accounts


def _read_as_codings(workspace: Workspace, theirs: Connection, arguments: Mapping[str, Any]) -> int:
    """Add a job that reads the codes of a different review, and return the number of the job."""
    from mechtag.pipeline.annotations.coding_table import write_codings

    found = [row for row in coders_codings(theirs) if row.value is not None or row.refer]
    if not found:
        raise MechtagError(
            "this zip contains a different review, which has no codes to import; choose a zip with a copy of this "
            "review"
        )
    # With the token of the upload, so that a repeated job writes the same file and adds no second job.
    token = arguments["token"]
    files = codings.folder_of(workspace, token) / "files"
    files.mkdir(parents=True, exist_ok=True)
    write_codings(files / "codings.csv", found)
    asked: dict[str, Any] = {"token": token, "coder": "unknown", "basis": "abstract", "unticked": None, "labels": {}}
    with workspace.store.write() as connection:
        return add_job(connection, codings.READ, arguments["coder"], **asked)


def add(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Import the actions of people from a colleague's copy of this review.

    The copy was uploaded as a zip file. Each action keeps its id and its time. Therefore, no action is added twice if
    the job is interrupted and repeated, or if the same zip file is imported again.

    Parameters
    ----------
    arguments
        The choices of the person who imports the zip file:

        - ``of``: number of the job that read the zip file
        - ``token``: token of the upload; see `folder_of`
        - ``people``: account number for each person in the copy, keyed by the number of the person in the copy. If the
          account number is ``None``, an account that cannot sign in is created.
        - ``known``: numbers (in the copy) of the people whose names existed in the review when the zip file was read
        - ``coder``: account number of the person who imports the zip file

    Returns
    -------
    dict
        Summary of the import:

        - ``added``: number of actions that were added
        - ``reopened``: the first `SHOWN` records that were settled before the import, but on which people now differ;
          each with record number, stage (such as ``code``) and title
        - ``all_reopened``: number of reopened records, in total
        - ``left_out``, ``reasons``, ``all_left_out``: actions that were not added, as in the result of `read`
    """
    folder = folder_of(workspace, arguments["token"])
    with _open_copy(workspace, folder, progress) as copy, copy.read() as theirs:
        # Saved in a file, so that a job that was interrupted and repeated has the same result.
        settled = _settled_before(workspace, folder / f"settled-{progress.job}.json")
        with workspace.store.read() as ours:
            names, proposed = _match_people(ours, theirs)
        chosen = {int(number): account for number, account in arguments["people"].items()}
        people = {**proposed, **_accounts(workspace, arguments, names, chosen)}
        with workspace.store.read() as ours:
            found = merge.compare(ours, theirs, workspace.codebook, people)
        progress.start(len(found.acts), "Adding the actions")
        progress.can_be_cancelled = False
        changed, last = set[tuple[object, ...]](), found.last
        for start in range(0, len(found.acts), _ACTS):
            part = found.acts[start : start + _ACTS]
            with workspace.store.write() as connection:
                # What people have done here since the comparison is not overwritten either.
                changed |= merge.changed_places(connection, found.shared, after=last)
                for act in part:
                    group = group_of(arguments["of"])
                    if not changed.isdisjoint(act.places) or not _add_act(connection, theirs, act, people, group):
                        reason = "somebody worked on this record in this review during the import; import the zip again"
                        found.left_out.append(("", act.rows[0].coder, reason))
                last = merge.last_event(connection)
            progress.advance(len(part))
    with workspace.store.write() as connection:
        for kind in (ranking.KIND, tagging.KIND):
            add_job(connection, kind, None)
    with workspace.store.read() as ours:
        reopened = _titles(ours, settled & _in_state(ours, "conflict", "referred"))
        added, adders = count_added(ours, arguments["of"])
    content = {"acts": added, "people": adders, "reopened": len(reopened)}
    workspace.acts.log(Stamp(arguments["coder"], client_id=f"merge-job-{progress.job}"), "merge", content)
    return {"added": added, "reopened": reopened[:SHOWN], "all_reopened": len(reopened), **_left_out(found, names)}


def _settled_before(workspace: Workspace, file: Path) -> set[tuple[int, str]]:
    """Return record number and stage of each record that was settled before a job started for the first time."""
    if not file.exists():
        with workspace.store.read() as ours:
            write_json(file, {"settled": sorted(_in_state(ours, "settled"))})
    return {(record, stage) for record, stage in read_json(file)["settled"]}


def _in_state(connection: Connection, *states: str) -> set[tuple[int, str]]:
    """Return record number and stage of each record that is in one of the ``states``, such as ``settled``."""
    need = schema.need
    rows = connection.execute(select(need.c.record, need.c.stage).where(need.c.state.in_(states)))
    return {(row.record, row.stage) for row in rows}


def _titles(connection: Connection, places: Set[tuple[int, str]]) -> list[tuple[int, str, str]]:
    """Look up the titles of records; return sorted tuples of record number, stage and title."""
    entries = {entry.id: entry for entry in read_entries(connection, sorted({record for record, _ in places}))}
    return [(record, stage, entries[record].title) for record, stage in sorted(places)]


def remove(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Undo the import of a project zip, or redo it after it was undone.

    The whole import is undone or redone as one action.

    Parameters
    ----------
    arguments
        - ``of``: number of the job that read the zip
        - ``again``: ``True`` to redo the import; ``False`` to undo it
        - ``coder``: account number of the person who started the job

    Returns
    -------
    dict
        An empty dict.

    Raises
    ------
    Refused
        If there is nothing to undo or redo, or if people have since done work that relies on the import (for an undo)
        or on its absence (for a redo); see `merge_undo.plan_undo`.
    """
    again = bool(arguments["again"])
    progress.start(0, "Adding the actions again" if again else "Undoing the import")
    progress.can_be_cancelled = False
    stamp = Stamp(arguments["coder"], client_id=f"merge-undo-job-{progress.job}")
    workspace.acts.reverse_merge(stamp, lambda connection: plan_undo(connection, arguments["of"], again=again))
    with workspace.store.write() as connection:
        for kind in (ranking.KIND, tagging.KIND):
            add_job(connection, kind, None)
    return {}


def _accounts(
    workspace: Workspace, arguments: Mapping[str, Any], names: Mapping[int, str], chosen: Mapping[int, int | None]
) -> dict[int, int]:
    """Return the account number of each person in a copy of the review; missing accounts are created."""
    known = set(arguments["known"])
    # Somebody who has the same name as a person here, but is somebody else, gets a name of their own.
    called = {
        number: f"{names[number]} (copy)" if account is None and number in known else names[number]
        for number, account in chosen.items()
    }
    made = codings.accounts_for(workspace, {called[number]: account for number, account in chosen.items()})
    return {number: made[called[number]] for number in chosen}


def _add_act(connection: Connection, theirs: Connection, act: NewAct, people: People, group: str) -> bool:
    """Add an action from a colleague's copy to this review, and return whether this was possible.

    It is impossible if the action refers to a person, a record or an earlier action that this review lacks.
    """
    first, drafts = act.rows[0], list[Draft]()
    coder = people.get(first.coder)
    if coder is None:
        return False
    for row, target in zip(act.rows, act.undoes, strict=True):
        undoes = None if target is None else _seq_of(connection, target)
        record = _number_here(connection, theirs, row.record)
        value = json.loads(row.value) | {GROUP: group}
        for name in _ACCOUNTS & value.keys():
            value[name] = people.get(value[name])
        if record is None or (undoes is None and target is not None) or value.get("coder", 0) is None:
            return False
        drafts.append(Draft(row.kind, record, row.stage, row.label, value, undoes))
    append(
        connection,
        Act(
            coder=coder,
            client_id=act.client_id,
            at=first.at,
            events=drafts,
            sight=_add_sight(connection, theirs, first.sight, coder),
            seconds=first.seconds,
            codebook=first.codebook,
            app=first.app,
        ),
    )
    return True


def _seq_of(connection: Connection, client_id: str) -> int | None:
    event = schema.event
    return connection.execute(select(event.c.seq).where(event.c.client_id == client_id, event.c.part == 0)).scalar()


def _number_here(connection: Connection, theirs: Connection, number: int | None) -> int | None:
    """Return the number that a record of the colleague's copy has in this review; ``None`` if this review lacks it."""
    record = schema.record
    name = theirs.execute(select(record.c.record_id).where(record.c.id == number)).scalar()
    return connection.execute(select(record.c.id).where(record.c.record_id == name)).scalar()


def _add_sight(connection: Connection, theirs: Connection, number: int | None, coder: int) -> int | None:
    """Add a row of the copy's table ``sight`` (what a person saw) to this review; return the number of the new row."""
    if number is None:
        return None
    table = schema.sight
    row = theirs.execute(select(table).where(table.c.id == number)).one()
    values = {**merge.sight_values(row), "coder": coder, "record": _number_here(connection, theirs, row.record)}
    return int(connection.execute(insert(table).values(values).returning(table.c.id)).scalar_one())


JOBS = {READ: read, ADD: add, REMOVE: remove}
