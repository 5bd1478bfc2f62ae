"""Append events to the log, and update the tables that are derived from the log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, delete, func, insert, or_, select, update

from mechtag.review.plan import BASES, Plan
from mechtag.review.store import schema
from mechtag.review.store.state import Code, Event, Final, Need, Rules, State, alive, derive

# Columns of tables ``current`` and ``final`` that contain JSON.
_NESTED = ("sentences", "signs", "roles")
# Number of records whose state is computed at a time.
_CHUNK = 500
# Number of stale records whose state is computed in one transaction, during which nobody else can write.
_PART = 50
# Largest number of records whose state is computed in the transaction that changes it.
_AT_ONCE = 200


@dataclass(frozen=True)
class Draft:
    """An event that has not yet been written to the log.

    Attributes
    ----------
    kind
        What happened, for example ``code``, ``commit``, ``settle`` or ``undo``.
    record
        Number of the record that the event is about, or ``None``. Ignored if the event undoes or redoes an action,
        because `append` then writes the record of that action.
    stage
        Stage that the event is about (``screen``, ``code`` or ``full-text``), or ``None``.
    label
        Key of the label that the event is about, or ``None``.
    value
        Content of the event, as a JSON object whose keys depend on ``kind``.
    undoes
        If ``kind`` is ``undo`` or ``redo``: number of the action to undo or redo. Otherwise, ``None``.
    """

    kind: str
    record: int | None = None
    stage: str | None = None
    label: str | None = None
    value: Mapping[str, Any] = field(default_factory=dict)
    undoes: int | None = None


@dataclass(frozen=True)
class Act:
    """One action of a person, which consists of one or more events.

    The events of an action are written, undone and redone together.

    Attributes
    ----------
    coder
        Account number of the person.
    client_id
        Id of the action, created by the browser. An action with the same id cannot be written again.
    at
        Time in UTC (ISO 8601, milliseconds).
    sight
        Number of the row of table ``sight`` that describes what the person saw.
    seconds
        Time that the person spent on the record.
    codebook
        Version of the codebook.
    app
        Version of mechtag.
    """

    coder: int
    client_id: str
    at: str
    events: Sequence[Draft]
    sight: int | None = None
    seconds: float | None = None
    codebook: str = ""
    app: str = ""


def append(connection: Connection, act: Act) -> int:
    """Write the events of an action and update the derived tables, in the transaction of ``connection``.

    If the action changes the state of many records, their update is postponed: the records are added to table
    ``stale``, and `derive_stale` updates the derived tables later.

    Returns
    -------
    int
        Number of the first event.

    Raises
    ------
    IntegrityError
        If an action with the same ``client_id`` was written before.
    """
    table = schema.event
    seen = None
    if act.sight is not None:
        seen = connection.execute(select(schema.sight).where(schema.sight.c.id == act.sight)).one()
    first = 1 + (connection.execute(select(func.max(table.c.seq))).scalar_one() or 0)
    drafts = [_with_record(connection, draft) for draft in act.events]
    rows = [
        {
            "seq": first + part,
            "client_id": act.client_id,
            "part": part,
            "act": first,
            "at": act.at,
            "coder": act.coder,
            "kind": draft.kind,
            "record": draft.record,
            "stage": draft.stage,
            "label": draft.label,
            "value": json.dumps(draft.value, ensure_ascii=False, sort_keys=True),
            "undoes": draft.undoes,
            "sight": act.sight,
            "assisted": None if seen is None else seen.suggestions_shown,
            "seconds": act.seconds,
            "codebook": act.codebook,
            "app": act.app,
        }
        for part, draft in enumerate(drafts)
    ]
    connection.execute(insert(table), rows)
    _update_derived(connection, drafts)
    return first


_REVERSING = schema.event.alias()


def is_undone(act: ColumnElement[int]) -> ColumnElement[bool]:
    """Return an SQL condition that holds if an action has been undone and not redone.

    Parameters
    ----------
    act
        Column that contains the number of the action.
    """
    table = _REVERSING
    last = select(table.c.kind).where(table.c.undoes == act).order_by(table.c.seq.desc()).limit(1).scalar_subquery()
    return func.coalesce(last, "") == "undo"


def _with_record(connection: Connection, draft: Draft) -> Draft:
    """Fill in the record of a draft that undoes or redoes an action: it is the record of that action.

    Other drafts are returned unchanged.
    """
    if draft.undoes is None:
        return draft
    table = schema.event
    record = connection.execute(select(table.c.record).where(table.c.seq == draft.undoes)).scalar_one()
    return replace(draft, record=record)


def _update_derived(connection: Connection, drafts: Sequence[Draft]) -> None:
    table = schema.event
    undone = [draft.undoes for draft in drafts if draft.undoes is not None]
    kinds = {draft.kind for draft in drafts}
    if undone:
        # The events of an act share its ``client_id``, which has an index.
        for start in range(0, len(undone), _CHUNK):
            acts = select(table.c.client_id).where(table.c.seq.in_(undone[start : start + _CHUNK]))
            kinds |= set(connection.execute(select(table.c.kind).where(table.c.client_id.in_(acts))).scalars())
    records = {draft.record for draft in drafts if draft.record is not None}
    if "setting" in kinds:
        before = read_plan(connection).wanted
        _derive_settings(connection)
        for stage, wanted in read_plan(connection).wanted.items():
            if wanted != before[stage]:
                _mark_stale(connection, _judged_by(stage, *sorted((wanted, before[stage]))))
    if kinds & {"join", "split"}:
        records |= _heads(connection, records)
        _derive_joins(connection)
    if "differ" in kinds:
        _derive_apart(connection)
    if kinds & {"attach", "detach", "join", "split"}:
        # These suggestions refer to sentences of a text that may no longer be the text of the record.
        suggestion = schema.suggestion
        families = records | _heads(connection, records)
        old = (suggestion.c.record.in_(families), suggestion.c.stage == "full-text")
        connection.execute(delete(suggestion).where(*old))
    if "team" in kinds:
        before_change = _states(connection)
        _derive_accounts(connection)
        changed_people = [coder for coder, state in _states(connection).items() if state != before_change[coder]]
        _mark_stale(connection, _with_events(table.c.coder.in_(changed_people)))
    if any(draft.value.get("removed") or draft.value.get("added") for draft in drafts if draft.kind == "codebook"):
        _mark_stale(connection, _with_events(table.c.stage.in_(BASES)))
    if len(records) > _AT_ONCE:
        rows = [{"record": record} for record in sorted(records)]
        connection.execute(insert(schema.stale).prefix_with("OR IGNORE"), rows)
    else:
        derive_records(connection, records)


def read_plan(connection: Connection) -> Plan:
    """Return the current plan of the review.

    Settings that nobody has changed have their default values.
    """
    rows = connection.execute(select(schema.setting.c.key, schema.setting.c.value))
    return Plan.model_validate({row.key: json.loads(row.value) for row in rows if row.key in Plan.model_fields})


def is_stopped(connection: Connection) -> bool:
    """Return whether screening is stopped.

    Once somebody has stopped screening, it stays stopped until somebody resumes it, or until an import is added or
    undone.
    """
    last = project_events(connection, "stop", "resume", "import")
    return bool(last) and last[-1].kind == "stop"


def is_unblinded(connection: Connection, record: int, stage: str) -> bool:
    """Return whether the codes of a record at a stage (such as ``code``) have been made visible to everyone.

    See `mechtag.review.acts.Acts.unblind`.
    """
    table = schema.event
    shown = (table.c.record == record, table.c.kind == "unblind", table.c.stage == stage)
    return connection.execute(select(table.c.seq).where(*shown)).first() is not None


def read_events(connection: Connection, *where: Any) -> list[Event]:
    """Return the events that meet the given SQL conditions, in the order of their numbers."""
    table, seen = schema.event, schema.sight
    rows = connection.execute(
        select(table, seen.c.others_shown, seen.c.model_id)
        .select_from(table.outerjoin(seen, table.c.sight == seen.c.id))
        .where(*where)
        .order_by(table.c.seq)
    )
    return [
        Event(
            seq=row.seq,
            act=row.act,
            at=row.at,
            coder=row.coder,
            kind=row.kind,
            record=row.record,
            stage=row.stage,
            label=row.label,
            value=json.loads(row.value),
            undoes=row.undoes,
            assisted=None if row.assisted is None else bool(row.assisted),
            others_shown=bool(row.others_shown),
            model_id=row.model_id,
            codebook=row.codebook,
        )
        for row in rows
    ]


def alive_comments(connection: Connection, record: int) -> list[Event]:
    """Return the comments on a record and on the records joined with it as one paper, the oldest first.

    Undone comments are left out.
    """
    table = schema.event
    _, members = family_of(connection, record)
    kinds = ("comment", "undo", "redo")
    rows = read_events(connection, table.c.record.in_(members), table.c.kind.in_(kinds))
    return [row for row in alive(rows) if row.kind == "comment"]


def family_of(connection: Connection, record: int) -> tuple[int, list[int]]:
    """Return the head of the family of a record, and all members of the family, beginning with the head.

    The records that are joined as one paper are a family. The head is the record that represents the paper. A record
    that is not joined with any other is a family of its own.
    """
    ((head, members),) = _records_of_papers(connection, [record]).items()
    return head, members


_OWN = schema.joined.alias()
_HEADS = select(_OWN.c.into).where(_OWN.c.record.in_(bindparam("records", expanding=True)))
# Built once, because building the query takes longer than running it.
_FAMILY_ROWS = (
    select(schema.joined.c.record, schema.joined.c.into)
    .where(or_(schema.joined.c.into.in_(bindparam("records", expanding=True)), schema.joined.c.into.in_(_HEADS)))
    .order_by(schema.joined.c.record)
)


def _records_of_papers(connection: Connection, records: Sequence[int]) -> dict[int, list[int]]:
    """Return all records of each paper that ``records`` belong to, keyed by the number of the paper's main record."""
    rows = connection.execute(_FAMILY_ROWS, {"records": records}).all()
    into = {row.record: row.into for row in rows}
    found = {into.get(record, record): [into.get(record, record)] for record in records}
    for row in rows:
        found[row.into].append(row.record)
    return found


def _with_events(*where: ColumnElement[bool]) -> Select[int]:
    table = schema.event
    return select(table.c.record).where(table.c.record.is_not(None), *where).distinct()


def _judged_by(stage: str, least: int, less_than: int) -> Select[int]:
    """Return a query for records that at least ``least`` but fewer than ``less_than`` people have judged at a stage."""
    current, need, joined = schema.current, schema.need, schema.joined
    head = func.coalesce(joined.c.into, current.c.record)
    have = select(need.c.have).where(need.c.record == head, need.c.stage == stage).scalar_subquery()
    # If a record is no longer to be coded, its codes have no row in ``need``. The query returns these records too.
    return (
        select(current.c.record)
        .outerjoin(joined, joined.c.record == current.c.record)
        .where(current.c.stage == stage, func.coalesce(have, least).between(least, less_than - 1))
        .distinct()
    )


def _mark_stale(connection: Connection, records: Select[int]) -> None:
    connection.execute(insert(schema.stale).prefix_with("OR IGNORE").from_select(["record"], records))


def derive_stale(connection: Connection) -> bool:
    """Perform some of the updates that `append` postponed, and return whether more updates remain.

    Table ``stale`` contains the records whose rows in the derived tables must be updated.
    """
    table = schema.stale
    records = connection.execute(select(table.c.record).limit(_PART)).scalars().all()
    if records:
        derive_records(connection, records)
        connection.execute(delete(table).where(table.c.record.in_(records)))
    return any_stale(connection)


def any_stale(connection: Connection) -> bool:
    """Return whether table ``stale`` contains records; for these, the derived tables must still be updated."""
    return connection.execute(select(schema.stale.c.record).limit(1)).first() is not None


def derive_records(connection: Connection, records: Iterable[int]) -> None:
    """Update the derived tables for some papers.

    Parameters
    ----------
    records
        Numbers of records. All records that are joined with them as one paper are updated, too.
    """
    rules = _read_rules(connection)
    numbers = sorted(records)
    done = set[int]()
    for start in range(0, len(numbers), _CHUNK):
        families = _records_of_papers(connection, numbers[start : start + _CHUNK])
        families = {head: members for head, members in families.items() if head not in done}
        done |= set(families)
        every = [record for members in families.values() for record in members]
        head_of = {record: head for head, members in families.items() for record in members}
        events = dict[int, list[Event]]()
        for event in read_events(connection, schema.event.c.record.in_(every)):
            events.setdefault(head_of[event.record or 0], []).append(event)
        states = [derive(events.get(head, []), head, rules) for head in families]
        _replace(connection, every, states)


def derive_new(connection: Connection, records: Sequence[int]) -> None:
    """Add rows to table ``need`` for new records that have no events yet.

    The table states how far each record has been judged at each stage.
    """
    rules = _read_rules(connection)
    _insert(connection, schema.need, [_need(row) for record in records for row in derive([], record, rules).needs])


def _read_rules(connection: Connection) -> Rules:
    retired, added = set[str](), dict[str, int]()
    for row in project_events(connection, "codebook"):
        retired = retired.union(row.value["removed"]).difference(row.value["added"])
        added = {label: seq for label, seq in added.items() if label not in retired}
        added |= dict.fromkeys(row.value["added"], row.seq)
    states = _states(connection)
    return Rules(
        wanted=read_plan(connection).wanted,
        withdrawn={coder for coder, state in states.items() if state == "withdrawn"},
        retired=retired,
        added=added,
        away={coder for coder, state in states.items() if state != "active"},
    )


def derive_everything(connection: Connection) -> None:
    """Empty all derived tables, and compute their rows again from the log."""
    # ``tally`` counts the rows of ``need``, so it is emptied after them.
    for table in (*schema.DERIVED, schema.stale, schema.tally):
        connection.execute(delete(table))
    _derive_settings(connection)
    _derive_accounts(connection)
    _derive_joins(connection)
    _derive_apart(connection)
    derive_records(connection, connection.execute(select(schema.record.c.id)).scalars().all())


def _replace(connection: Connection, members: Sequence[int], states: Sequence[State]) -> None:
    for table in (
        *(schema.current, schema.final, schema.need, schema.owed),
        *(schema.attachment, schema.note, schema.tag, schema.skip),
    ):
        connection.execute(delete(table).where(table.c.record.in_(members)))
    codes = [_row(code) for state in states for code in state.codes]
    finals = [_row(row) for state in states for row in state.finals]
    _insert(connection, schema.current, codes)
    _insert(connection, schema.final, finals)
    _insert(connection, schema.need, [_need(row) for state in states for row in state.needs])
    owed = [
        {"coder": coder, "record": record, "stage": stage, "label": label}
        for state in states
        for record, coder, stage, label in sorted(state.owed)
    ]
    _insert(connection, schema.owed, owed)
    attachments = [
        {
            **{"record": record, "sha256": sha256, "found_by": found_by, "event": seq},
            "is_read": state.reading is not None and state.reading[0] == record,
        }
        for state in states
        for record, (sha256, found_by, seq) in state.attached.items()
    ]
    _insert(connection, schema.attachment, attachments)
    notes = [
        {"record": record, "coder": coder, "audience": audience, "text": text, "event": seq}
        for state in states
        for (record, coder, audience), (text, seq) in state.notes.items()
    ]
    _insert(connection, schema.note, notes)
    tags = [
        {"record": record, "tag": tag, "event": seq} for state in states for (record, tag), seq in state.tags.items()
    ]
    _insert(connection, schema.tag, tags)
    skips = [
        {"record": record, "stage": stage, "coder": coder, "event": seq}
        for state in states
        for (record, stage, coder), seq in state.skips.items()
    ]
    _insert(connection, schema.skip, skips)
    for state in states:
        for (record, name), text in state.texts.items():
            values = {name: text}
            if name == "abstract":
                values["sentences"] = "[]"  # The worker splits the new text.
            changed = (schema.record.c.id == record, schema.record.c[name] != text)
            connection.execute(update(schema.record).where(*changed).values(values))


def _row(found: Code | Final) -> dict[str, Any]:
    nested = {name: json.dumps(value, sort_keys=True) for name, value in vars(found).items() if name in _NESTED}
    return vars(found) | nested


def _need(found: Need) -> dict[str, Any]:
    return vars(found) | {"labels": json.dumps(found.labels)}


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), list(rows))


def project_events(connection: Connection, *kinds: str) -> list[Event]:
    """Return the events of the given kinds that are not undone, in the order of their numbers."""
    table = schema.event
    rows = read_events(connection, table.c.kind.in_(kinds))
    # Only those undo and redo events are read that are about these events, because most others are about records.
    reversing = read_events(connection, table.c.undoes.in_({row.act for row in rows})) if rows else []
    return [row for row in alive([*rows, *reversing]) if row.kind in kinds]


def _derive_settings(connection: Connection) -> None:
    connection.execute(delete(schema.setting))
    last = {row.value["key"]: row for row in project_events(connection, "setting")}
    rows = [
        {"key": key, "value": json.dumps(row.value["value"], ensure_ascii=False), "event": row.seq}
        for key, row in last.items()
    ]
    _insert(connection, schema.setting, rows)


def _derive_joins(connection: Connection) -> None:
    connection.execute(delete(schema.joined))
    # A duplicate that was found during an import belongs to its head until somebody separates it.
    copies = connection.execute(select(schema.copy).where(schema.copy.c.record.is_not(None))).all()
    into = dict[int, tuple[int, int]]({row.record: (row.head, 0) for row in copies})

    def top(record: int) -> int:
        while record in into:
            record = into[record][0]
        return record

    for row in project_events(connection, "join", "split"):
        record = row.record or 0
        if row.kind == "split":
            into.pop(record, None)
        elif top(int(row.value["into"])) != record:  # Otherwise, the record would be joined to itself.
            into[record] = int(row.value["into"]), row.seq
    rows = [{"record": record, "into": top(record), "event": seq} for record, (_, seq) in into.items()]
    _insert(connection, schema.joined, rows)
    for copy in copies:
        apply_copy(connection, copy.id, together=copy.record in into)


def apply_copy(connection: Connection, copy: int, *, together: bool) -> None:
    """Fill empty fields of a record with the values of a duplicate, or remove these values again.

    Parameters
    ----------
    copy
        Number of the row of table ``copy`` that describes the duplicate.
    together
        ``True`` to fill the fields; ``False`` to empty them again. Values that have changed since are kept.
    """
    table, record = schema.copy, schema.record
    row = connection.execute(select(table).where(table.c.id == copy)).one()
    given = {name: value for name, value in json.loads(row.gave).items() if name in record.c}
    for name, value in given.items():
        empty = {"abstract": "", "sentences": "[]", "authors": "[]", "keywords": "[]"}.get(name)
        old, new = (empty, value) if together else (value, empty)
        column = record.c[name]
        present = column.is_(None) if old is None else column == old
        connection.execute(update(record).where(record.c.id == row.head, present).values({name: new}))
    count_copies(connection, row.head)


def count_copies(connection: Connection, head: int) -> None:
    """Store how often a paper was found: once as the record ``head``, and once for each of its duplicates."""
    table, record = schema.copy, schema.record
    others = (
        select(func.count())
        .where(
            table.c.head == head,
            or_(table.c.record.is_(None), table.c.record.in_(select(schema.joined.c.record))),
        )
        .scalar_subquery()
    )
    connection.execute(update(record).where(record.c.id == head).values(copies=1 + others))


def _derive_apart(connection: Connection) -> None:
    connection.execute(delete(schema.apart))
    found = dict[tuple[int, int], int]()
    for row in project_events(connection, "differ"):
        low, high = sorted((row.record or 0, int(row.value["other"])))
        found[low, high] = row.seq
    rows = [{"record": low, "other": high, "event": seq} for (low, high), seq in found.items()]
    _insert(connection, schema.apart, rows)


def _heads(connection: Connection, records: Iterable[int]) -> set[int]:
    return {member for record in records for member in family_of(connection, record)[1]}


def _derive_accounts(connection: Connection) -> None:
    """Set the role and the state of each account from the events of the kinds ``account`` and ``team``."""
    table = schema.account
    connection.execute(update(table).values(state="active"))
    for row in project_events(connection, "account", "team"):
        changes = {name: str(row.value[name]) for name in ("role", "state") if name in row.value}
        connection.execute(update(table).where(table.c.id == int(row.value["account"])).values(changes))


def _states(connection: Connection) -> dict[int, str]:
    rows = connection.execute(select(schema.account.c.id, schema.account.c.state))
    return {row.id: row.state for row in rows}
