"""Describe the events of the log in words, for the history of a record and for the *Activity* page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, null, or_, select

from mechtag.core.codebook import Codebook
from mechtag.core.records import name_answer
from mechtag.review.plan import STAGE_NAMES
from mechtag.review.sight import hidden_from, visible_to
from mechtag.review.store import schema
from mechtag.review.store.accounts import names_of
from mechtag.review.store.events import read_plan

#: Kinds of events about a person's own work; a blinded coder sees such events only if they are the coder's own.
JUDGING = frozenset(
    (
        "code",
        "evidence",
        "sign",
        "example",
        "role",
        "link",
        "answer",
        "commit",
        "skip",
        "note",
        "settle",
        "reopen",
        "comment",
        "undo",
        "redo",
        "mention_read",
    )
)

# Largest number of events of one action that a message describes.
_MOST_NAMED = 3


@dataclass(frozen=True)
class Happening:
    """One event of the log, described in words.

    Attributes
    ----------
    seq
        Number of the event.
    at
        Time of the event, in UTC (ISO 8601).
    who, what
        Name of the person, and what the person did, such as ``stopped screening``.
    record
        Number of the record that the event is about, or ``None``.
    undone
        Whether the action was undone later.
    """

    seq: int
    at: str
    who: str
    what: str
    record: int | None
    undone: bool


def name_decision(value: int | None, refer: object = False) -> str:
    """Return a screening decision in words: ``included``, ``excluded``, ``referred`` or ``not judged``."""
    return "referred" if refer else {1: "included", 0: "excluded", None: "not judged"}[value]


def sentences_about(
    connection: Connection, records: Sequence[int], codebook: Codebook, viewer: int, *, blinded: bool
) -> list[Happening]:
    """Describe the events of some records in sentences, the oldest event first.

    Other people's judgements of a record are left out, except in two cases: everyone may see the codes of the record,
    or the reader is an owner or adjudicator who can no longer judge the record.

    Parameters
    ----------
    viewer
        Account number of the reader. Notes that other people wrote for themselves are left out.
    blinded
        Whether the reader is neither owner nor adjudicator.
    """
    return _happenings(connection, codebook, viewer, blinded, schema.event.c.record.in_(records))


def last_happenings(
    connection: Connection,
    codebook: Codebook,
    viewer: int,
    *,
    blinded: bool,
    coder: int | None = None,
    kind: str = "",
    before: int | None = None,
    limit: int = 100,
) -> list[Happening]:
    """Return the latest events of the review in words, the latest event first.

    Parameters
    ----------
    viewer
        Account number of the reader. Notes that other people wrote for themselves are left out.
    blinded
        Whether the reader is neither owner nor adjudicator. Such a reader sees fewer judgements; see `sentences_about`.
    coder
        Account number of a person. If not ``None``, only the events of this person are returned.
    kind
        Kind of event. If not ``""``, only events of this kind are returned.
    before
        Number of an event. If not ``None``, only earlier events are returned.
    limit
        Largest number of events to return.
    """
    table = schema.event
    where = []
    if coder is not None:
        where.append(table.c.coder == coder)
    if kind:
        where.append(table.c.kind == kind)
    if before is not None:
        where.append(table.c.seq < before)
    return _happenings(connection, codebook, viewer, blinded, *where, limit=limit)[::-1]


def describe_reversed(connection: Connection, codebook: Codebook, viewer: int, act: int) -> str:
    """Return a message about an action that was undone or redone, such as ``Undone: put the record aside``.

    The message is empty if the action is not an action of ``viewer``, or if it was never undone. The message does not
    state whether a suggestion was shown.

    Parameters
    ----------
    viewer
        Account number of the person who reads the message.
    act
        Number of the action.
    """
    table = schema.event
    reversing = select(table.c.kind).where(table.c.undoes == act).order_by(table.c.seq.desc()).limit(1)
    state = {"undo": "Undone", "redo": "Redone"}.get(connection.execute(reversing).scalar() or "")
    query = select(table, null().label("suggestions_shown")).where(table.c.act == act, table.c.coder == viewer)
    rows = connection.execute(query.order_by(table.c.seq)).all()
    if state is None or not rows:
        return ""
    names = names_of(connection)
    named = "; ".join(_sentence(row, codebook.names, names) for row in rows[:_MOST_NAMED])
    more = len(rows) - _MOST_NAMED
    return f"{state}: {named}" + (f"; and {more:,} more" if more > 0 else "")


def _happenings(
    connection: Connection, codebook: Codebook, viewer: int, blinded: bool, *where: Any, limit: int | None = None
) -> list[Happening]:
    table, account = schema.event, schema.account
    query = (
        select(table, account.c.name.label("who"), schema.sight.c.suggestions_shown, schema.sight.c.model_id)
        .join(account, account.c.id == table.c.coder)
        .outerjoin(schema.sight, schema.sight.c.id == table.c.sight)
        .where(*where)
        .order_by(table.c.seq.desc())
    )
    private = (table.c.kind == "note") & (func.json_extract(table.c.value, "$.for") == "me")
    query = query.where((table.c.coder == viewer) | ~private)
    if not read_plan(connection).unblinded:
        visible = visible_to(connection, viewer, blinded=blinded)
        tag = (table.c.kind == "tag") & ~hidden_from(connection, viewer, table.c.record, table.c.stage)
        others = table.c.kind.not_in(JUDGING | {"tag"})
        query = query.where(or_(table.c.coder == viewer, others, tag, visible))
    rows = connection.execute(query.limit(limit) if limit else query).all()[::-1]
    undone = set[int]()
    reversing = connection.execute(
        select(table.c.kind, table.c.undoes).where(table.c.kind.in_(("undo", "redo"))).order_by(table.c.seq)
    )
    for kind, act in reversing:
        (undone.add if kind == "undo" else undone.discard)(act)
    names = names_of(connection)
    return [
        Happening(row.seq, row.at, row.who, _sentence(row, codebook.names, names), row.record, row.act in undone)
        for row in rows
    ]


def _sentence(row: Any, labels: Mapping[str, str], people: Mapping[int, str]) -> str:
    value = json.loads(row.value)
    label = labels.get(row.label or "", row.label or "")
    match row.kind:
        case "code":
            return _coded(row, value, label)
        case "evidence":
            numbers = ", ".join(str(number + 1) for number in value["sentences"])
            where = " of the full text" if row.stage == "full-text" else ""
            many = "sentences" if len(value["sentences"]) > 1 else "sentence"
            text = f"marked {f'{many} {numbers}' if numbers else 'no sentence'}{where} for {label}"
            return text + (", after reading all sentences" if value.get("complete") else "")
        case "sign":
            where = f"sentence {value['sentence'] + 1}{' of the full text' if row.stage == 'full-text' else ''}"
            said = f"gave {where} the sign '{value['sign']}'" if value["sign"] else f"removed the sign of {where}"
            return f"{said} for {label}"
        case "example":
            verb = "chose" if value["on"] else "no longer uses"
            return f"{verb} sentence {value['sentences'][0] + 1} as an example of {label}"
        case "role" | "link":
            where = f"sentence {value['sentence'] + 1}{' of the full text' if row.stage == 'full-text' else ''}"
            if row.kind == "role":
                role = f"the role '{value['role']}'"
                said = f"gave {where} {role}" if value["on"] else f"removed {role} of {where}"
                return f"{said} for {label}"
            said = f"linked {where} to" if value["on"] else f"removed {where} from"
            return f"{said} configuration {value['configuration']} for {label}, as {value['role']}"
        case "answer":
            said = {"accept": "accepted", "reject": "rejected", "refer": "referred"}[value["answer"]]
            return f"{said} the suggestion for {label}"
        case "codings":
            return f"imported {value['codes']} codes that were given outside this page"
        case "merge":
            number = value.get("reopened", 0)
            many = "settled records became conflicts" if number > 1 else "settled record became a conflict"
            more = f"; {number:,} {many}" if number else ""
            return f"added {value['acts']:,} actions of a copy of this review{more}"
        case "merge_undone":
            verb = "added the actions of a copy of this review again" if value["again"] else "undid an import of a copy"
            return f"{verb}: {value['acts']:,} actions"
        case "commit":
            return "finished coding the full text" if row.stage == "full-text" else "finished coding"
        case "skip":
            return "put the record aside"
        case "settle":
            return f"settled {label} as {name_answer(value['v'])}" + (f": {value['why']}" if value.get("why") else "")
        case "reopen" if value.get("exercise"):
            return f"set aside what {people.get(value['coder'], 'a coder')} said in the calibration exercise"
        case "exercise":
            stage = STAGE_NAMES[value["stage"]].lower()
            return f"started a calibration exercise for {stage} with {len(value['records'])} records"
        case "exercise_end":
            return f"ended the calibration exercise and {'kept the codes' if value['kept'] else 'set the codes aside'}"
        case "reopen":
            message = f": {value['message']}" if value.get("message") else ""
            return f"sent the record back to {people.get(value['coder'], 'a coder')}{message}"
        case "unblind":
            return f"showed everyone's codes of the record at {STAGE_NAMES.get(row.stage, row.stage).lower()}"
        case "note":
            return f"wrote a note: {value['text']}" if value["text"] else "removed a note"
        case "comment":
            return f"commented: {value['text']}"
        case "mention_read":
            return "read a comment or note"
        case "tag":
            return f"{'added' if value['on'] else 'removed'} the tag {value['tag']}"
        case "edit_record":
            if source := value.get("source"):
                return f"added the {value['field']} from {source}"
            return f"changed the {value['field']}"
        case "attach":
            found = "" if value["by"] == "person" else f", found by {value['by']}"
            return f"attached the full text {value['name']}{found}"
        case "detach":
            return "detached the full text"
        case "delete_file":
            return f"deleted the file {value['name']}"
        case "join":
            return "joined the record to a different record as a duplicate"
        case "split":
            return "separated the record from its duplicate"
        case "setting":
            why = f" ({value['why']})" if value.get("why") else ""
            return f"set {value['key'].replace('_', ' ')} to {value['value']}{why}"
        case "team":
            changes = ", ".join(f"{name} {value[name]}" for name in ("role", "state") if name in value)
            return f"changed {people.get(value['account'], 'a person')}: {changes}"
        case "account":
            return f"joined the review as {value['role']}"
        case "flow":
            return f"entered {value['field'].replace('_', ' ').replace('.', ': ')} in the flow diagram"
        case "sign_in":
            return "signed in"
        case "import":
            return "undid an import" if value.get("undone") else f"added {value.get('unique', 0):,} records"
        case "export":
            more = ", with what others said about records still to judge" if value.get("everything") else ""
            return f"exported {value['name']}{more}"
        case "train":
            return _trained(value)
        case "promote":
            return f"put the new model {value['model_id']} into use, in place of {value['former_id']}"
        case "sample_drawn":
            return f"drew a random sample of {value['records']:,} unread records, after {value['read']:,} had been read"
        case "stop":
            return "stopped screening" + (f": {value['why']}" if value.get("why") else "")
        case "resume":
            return "resumed screening"
        case "differ":
            return "marked two records as different papers"
        case "codebook":
            return f"saved version {value['version']} of the codebook"
        case "cancel":
            return f"cancelled work in the background: {value['name']}"
        case "undo":
            return "undid the last action"
        case "redo":
            return "redid an action"
        case kind:
            # Events of a newer version are shown as they are.
            text = value.get("text")
            return str(text) if text else kind.replace("_", " ")


def _trained(value: Mapping[str, Any]) -> str:
    text = f"trained a model on {value['papers']:,} papers"
    return text + {
        "adopted": "",
        "kept": "; the old model stays, because the new one may be worse",
        "too_few": "; the old model stays, because there are too few independent codes to compare the two",
        "unchanged": "; nothing had changed since the last training",
    }.get(str(value["outcome"]), "")


def _coded(row: Any, value: Mapping[str, Any], label: str) -> str:
    if row.stage == "screen":
        text = name_decision(value["v"], value.get("refer")) + (f" ({value['reason']})" if value.get("reason") else "")
    else:
        by = " from the full text" if row.stage == "full-text" else ""
        text = f"coded {label}{by}: {name_answer(value['v'], bool(value.get('refer')))}"
    if value.get("how") == "imported":
        return f"{text}; imported" + (f", given on {value['date']}" if value.get("date") else "")
    if row.suggestions_shown is None:
        return text
    if not row.suggestions_shown:
        return f"{text}; no suggestion shown"
    # A suggestion that was shown earlier, perhaps for a different text of the paper, counts too.
    return f"{text}; a suggestion {f'of model {row.model_id} was shown' if row.model_id else 'had been shown before'}"
