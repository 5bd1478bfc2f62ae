"""Find the actions of people that a copy of a review contains but the review itself does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import Connection, func, select

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Sign
from mechtag.review.access import MATRIX
from mechtag.review.acts import LONGEST_TAG, LONGEST_TEXT
from mechtag.review.plan import BASES, Mode, Stage
from mechtag.review.store import schema
from mechtag.review.store.readings import Reading, read_reading
from mechtag.review.store.records import read_entry

#: Numbers of accounts in the review, keyed by the number of the same person in the copy; ``None`` for a person outside
#: the review.
People = Mapping[int, int | None]

_Text = Field(max_length=LONGEST_TEXT)


class _Value(BaseModel):
    # Values are added as they are, so that nothing may be accepted because it can be converted.
    model_config = ConfigDict(strict=True)


class _Code(_Value):
    v: Annotated[int, Field(ge=0, le=1)] | None
    refer: bool = False
    reason: str | None = None
    how: str = ""
    group: str = ""
    by: int | None = None


class _Evidence(_Value):
    sentences: list[int]
    complete: bool


class _Sign(_Value):
    sentence: int
    sign: Sign | None


class _Example(_Value):
    sentences: Annotated[list[int], Field(min_length=1, max_length=1)]
    on: bool


class _Role(_Value):
    sentence: int
    role: str = Field(max_length=100)
    on: bool


class _Link(_Role):
    configuration: int = Field(ge=1, le=1000)


class _Answer(_Value):
    answer: Literal["accept", "reject", "refer"]
    model_id: str | None
    decision: str
    probability: float | None


class _Settle(_Value):
    v: Annotated[int, Field(ge=0, le=1)]
    reason: str | None = None
    sentences: list[int] = []
    why: str = _Text


class _Reopen(_Value):
    coder: int
    message: str = _Text


class _Note(_Value):
    text: str = _Text
    for_: Literal["me", "team", "adjudicator"] = Field(alias="for")


class _Comment(_Value):
    text: str = _Text


class _Tag(_Value):
    tag: str = Field(min_length=1, max_length=LONGEST_TAG)
    on: bool


class _Edit(_Value):
    field: Literal["title", "abstract"]
    old: str = _Text
    new: str = _Text


class _Nothing(_Value):
    pass


class _Row(BaseModel):
    """Columns of table ``event`` whose values are checked before an event of a copy of the review is imported."""

    client_id: str = Field(max_length=200)
    at: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00$")
    seconds: float | None = Field(ge=0, le=86_400)
    stage: Stage | None
    codebook: str = Field(max_length=200)
    app: str = Field(max_length=200)


# What the value of an event of each kind must contain. Events of other kinds stay in the copy.
_VALUES: Mapping[str, type[BaseModel]] = {
    "code": _Code,
    "evidence": _Evidence,
    "sign": _Sign,
    "example": _Example,
    "role": _Role,
    "link": _Link,
    "answer": _Answer,
    "commit": _Nothing,
    "skip": _Nothing,
    "settle": _Settle,
    "reopen": _Reopen,
    "note": _Note,
    "comment": _Comment,
    "tag": _Tag,
    "edit_record": _Edit,
    "undo": _Nothing,
    "redo": _Nothing,
}
_JUDGING = frozenset(("code", "evidence", "sign", "role", "link", "answer", "commit", "skip", "settle", "reopen"))
# Kinds of events about one label.
_OF_LABELS = frozenset(("code", "evidence", "sign", "role", "link", "example", "answer", "settle"))
_REVERSING = ("undo", "redo")
_DAMAGED = "the action is damaged in the log of the zip; ask the sender for a new zip"
_DIFFERENT_TEXT = "the record has a different text in the copy"
_WHOLE = "the action concerns the whole review, not one record; only actions on records are imported"
_SEPARATE = "full texts, duplicates and blinding are not imported from a copy"
_MIXED = "the record was judged in one copy and settled in the other, before the adjudicator could see all codes"


class _Seen(BaseModel):
    """Columns of table ``sight`` whose values are checked before a row of a copy of the review is imported."""

    at: str = Field(max_length=40)
    stage: Stage
    mode: Mode | Literal["reconcile"]
    model_id: str | None
    strategy: str
    suggestions_shown: Literal[0, 1]
    others_shown: Literal[0, 1]
    highlights: Literal[0, 1]
    text_sha256: str
    suggested: str | None


_SUGGESTED = TypeAdapter(dict[str, tuple[str, float | None, list[int]]])


@dataclass(frozen=True)
class NewAct:
    """An action of a person that a copy of a review contains but the review itself does not.

    Attributes
    ----------
    client_id
        Id with which the action is added to the review.
    rows
        Events of the action: rows of table ``event`` of the copy.
    undoes
        One entry per event in ``rows``. If the event undoes or redoes an action, the entry is the id of that action.
        Otherwise, the entry is ``None``.
    places
        Everything that the action changes; see `_changes`.
    """

    client_id: str
    rows: tuple[Any, ...]
    undoes: tuple[str | None, ...]
    places: frozenset[tuple[object, ...]]


@dataclass
class Difference:
    """The actions that a copy of a review contains but the review itself does not.

    Attributes
    ----------
    acts
        Actions that can be added, in the order of the log of the copy.
    left_out
        Actions that cannot be added. Each is a tuple of record id, number of the person in the copy, and reason.
    shared
        Ids that the actions of the copy have in the review, or would get if they were added; see `_id_in`.
    last
        Number of the last event of the review at the time of the comparison.
    """

    acts: list[NewAct] = field(default_factory=list)
    left_out: list[tuple[str, int, str]] = field(default_factory=list)
    shared: frozenset[str] = frozenset()
    last: int = 0


def origin(connection: Connection) -> str | None:
    """Return the id of the first event of a review, which is the same in all copies of the review."""
    table = schema.event
    return connection.execute(select(table.c.client_id).order_by(table.c.seq).limit(1)).scalar()


def last_event(connection: Connection) -> int:
    """Return the number of the last event of a review; ``0`` if the review has no events."""
    return connection.execute(select(func.max(schema.event.c.seq))).scalar() or 0


def compare(ours: Connection, theirs: Connection, codebook: Codebook, people: People) -> Difference:
    """Find the actions that a copy of a review contains but the review itself does not.

    Two actions count as one action if they have the same id, time and kind. An action cannot be added if it would
    overwrite work that was done in the review since the copy was made. For example, a person may have judged a record
    in the copy, and then judged it again in the review.

    Parameters
    ----------
    ours
        Database of the review.
    theirs
        Database of the copy.
    people
        Account numbers in the review, keyed by account number in the copy.

    Raises
    ------
    MechtagError
        If the events of an action do not follow each other in the log of the copy, because the log is damaged.
    """
    event = schema.event
    known, names, acts = _first_events(ours), dict[int, str](), dict[int, tuple[Any, ...]]()
    for act, group in groupby(theirs.execute(select(event).order_by(event.c.seq)), key=lambda row: row.act):
        rows = tuple(group)
        if [(row.seq, row.part) for row in rows] != [(act + part, part) for part in range(len(rows))]:
            raise MechtagError(
                "the log in this zip is damaged: events are in the wrong order; ask the sender for a new zip"
            )
        names[act] = _id_in(known, rows[0])
        acts[act] = rows
    found = Difference(shared=frozenset(names.values()), last=last_event(ours))
    own_places = changed_places(ours, found.shared)
    records = _Records(ours, theirs, codebook)
    taken, by_act = set(known), dict[int, frozenset[tuple[object, ...]]]()
    for rows in acts.values():
        first, name = rows[0], names[rows[0].act]
        by_act[first.act] = _changes(records.theirs, rows, by_act, people)
        if name in known:
            continue
        fault = _fault(rows, acts, records, people)
        targets = tuple(None if row.undoes is None else names.get(row.undoes, "") for row in rows)
        if not fault and not taken.issuperset({target for target in targets if target is not None}):
            fault = "the action undoes or redoes an action that was not imported"
        if not fault and (both := own_places & by_act[first.act]):
            fault = "the action would overwrite what was done in this review since the copy was made"
            if all(place[0] in ("judged here", "settled here") for place in both):
                fault = _MIXED
        if fault:
            found.left_out.append((records.theirs.get(first.record, ""), first.coder, fault))
            continue
        taken.add(name)
        records.edited |= {row.record for row in rows if row.kind == "edit_record"}
        found.acts.append(NewAct(name, rows, targets, by_act[first.act]))
    return found


def _first_events(connection: Connection) -> dict[str, tuple[str, str]]:
    """Return the time and the kind of the first event of each action, keyed by the id of the action."""
    event = schema.event
    rows = connection.execute(select(event.c.client_id, event.c.at, event.c.kind).where(event.c.part == 0))
    return {row.client_id: (row.at, row.kind) for row in rows}


def _id_in(known: Mapping[str, tuple[str, str]], row: Any) -> str:
    """Return the id that an action from a copy of the review gets in the review.

    This is the id from the copy. If a different action of the review has this id already, a new id is made.
    """
    if known.get(row.client_id, (row.at, row.kind)) == (row.at, row.kind):
        return str(row.client_id)
    # Background jobs number their actions separately in each copy, so two different actions can have one id.
    digest = hashlib.sha256(f"{row.client_id}\0{row.at}\0{row.kind}".encode()).hexdigest()[:12]
    return f"{row.client_id}@{digest}"


def changed_places(ours: Connection, shared: Set[str], *, after: int = 0) -> set[tuple[object, ...]]:
    """Return everything that people changed in a review, except in the actions that a copy of the review contains.

    The result is a set of hashable values; see `_changes`.

    Parameters
    ----------
    ours
        Database of the review.
    shared
        Ids of all actions of the copy; see `Difference.shared`.
    after
        Number of an event. Only later events are considered.
    """
    event, record = schema.event, schema.record
    query = select(event, record.c.record_id).outerjoin(record, record.c.id == event.c.record)
    rows = ours.execute(query.where(event.c.record.is_not(None), event.c.seq > after).order_by(event.c.seq)).all()
    names = {row.record: row.record_id for row in rows}
    own = [row for row in rows if row.client_id not in shared]
    wanted = {row.undoes for row in own if row.undoes is not None}
    by_act = dict[int, frozenset[tuple[object, ...]]]()
    if wanted:
        targets = ours.execute(query.where(event.c.act.in_(wanted)).order_by(event.c.seq)).all()
        names |= {row.record: row.record_id for row in targets}
        for act, group in groupby(targets, key=lambda row: row.act):
            by_act[act] = _changes(names, tuple(group), by_act, None)
    found = set[tuple[object, ...]]()
    for _, group in groupby(own, key=lambda row: row.act):
        found |= _changes(names, tuple(group), by_act, None)
    return found


def _changes(
    names: Mapping[int, str],
    rows: Sequence[Any],
    by_act: Mapping[int, frozenset[tuple[object, ...]]],
    people: People | None,
) -> frozenset[tuple[object, ...]]:
    """Return everything that an action changes, as a set of hashable values.

    Two actions are in conflict if their sets have a value in common.
    """

    # For actions of the review itself, ``people`` is ``None``.
    def account(number: int) -> object:
        return number if people is None else people.get(number)

    found = set[tuple[object, ...]]()
    for row in rows:
        record = names.get(row.record)
        value = json.loads(row.value)
        if row.kind in _REVERSING:
            found |= by_act.get(row.undoes, frozenset())
        elif row.kind in ("settle", "reopen"):
            found.add(("settle", record, row.stage))
            # An adjudicator settles what people said in the same copy.
            found.add(("settled here" if people is None else "judged here", record, row.stage))
        elif row.kind in _JUDGING:
            found.add(("judge", record, row.stage, account(row.coder)))
            found.add(("judged here" if people is None else "settled here", record, row.stage))
        elif row.kind == "example":
            found.add(("example", record, row.stage, row.label, account(row.coder)))
        elif row.kind == "note":
            found.add(("note", record, account(row.coder), str(value.get("for"))))
        elif row.kind == "edit_record":
            found.add(("edit", record, str(value.get("field"))))
    return frozenset(found)


class _Records:
    """Looks up the records of a copy of the review in the review itself, and compares their texts."""

    def __init__(self, ours: Connection, theirs: Connection, codebook: Codebook) -> None:
        record = schema.record
        query = select(record.c.id, record.c.record_id)
        self._connections = ours, theirs
        self.theirs: dict[int, str] = {row.id: row.record_id for row in theirs.execute(query)}
        self._ours: dict[str, int] = {row.record_id: row.id for row in ours.execute(query)}
        current = schema.current
        # A retired label is no longer in the codebook; its codes are kept.
        known = ours.execute(select(current.c.label).distinct()).scalars()
        self.labels: Mapping[str, set[str]] = {
            "screen": {codebook.relevance.key},
            **dict.fromkeys(BASES, set(codebook.keys) | set(known) - {codebook.relevance.key}),
        }
        self.roles: Set[str] = set(codebook.role_names)
        account = schema.account
        leads = select(account.c.id).where(account.c.role.in_(MATRIX["settle"]))
        #: Accounts of the people who settle conflicts in the review.
        self.leads: Set[int] = set(ours.execute(leads).scalars())
        #: Records of the copy whose texts are changed by the acts that are added.
        self.edited: set[int] = set()
        self._sights: dict[int, Any] = {}
        self._readings: dict[tuple[int, int, str], Reading] = {}

    def here(self, number: int | None) -> int | None:
        """Convert a record number of the imported copy to the number in the review.

        If the review lacks the record, the result is ``None``.
        """
        return self._ours.get(self.theirs.get(number or 0, ""))

    def sight(self, number: int) -> Any:
        """Return a row of table ``sight`` of the copy, which describes what a person saw when judging a record.

        Parameters
        ----------
        number
            Number of the row.

        Raises
        ------
        ValueError
            If the row is not valid, or if the review lacks its record.
        """
        if number not in self._sights:
            table = schema.sight
            row = self._connections[1].execute(select(table).where(table.c.id == number)).one()
            if self.here(row.record) is None:
                raise ValueError("the copy refers to a record that this review does not contain")
            sight_values(row)
            self._sights[number] = row
        return self._sights[number]

    def _reading(self, side: int, number: int, stage: str) -> Reading:
        key = side, number, stage
        if key not in self._readings:
            entry = read_entry(self._connections[side], number)
            assert entry is not None
            self._readings[key] = read_reading(self._connections[side], entry, stage)
        return self._readings[key]

    def sentences(self, number: int, stage: str) -> int | None:
        """Return the number of sentences of a record's abstract or, at stage ``full-text``, of its full text.

        The result is ``None`` if the review and the imported copy have different texts of the record.

        Parameters
        ----------
        number
            Number of the record in the copy.
        """
        here = self.here(number)
        assert here is not None
        own, other = self._reading(0, here, stage), self._reading(1, number, stage)
        same = own.text == other.text or (stage == "code" and number in self.edited)
        if not same or (stage == "full-text" and (not own.sha256 or own.sha256 != other.sha256)):
            return None
        return len(other.sentences)


def _fault(rows: Sequence[Any], acts: Mapping[int, Sequence[Any]], records: _Records, people: People) -> str:
    """Return why an action of a copy of the review cannot be added to the review; ``""`` if it can be added."""
    for row in rows:
        reversed_rows = acts.get(row.undoes, ())
        for each in (row, *reversed_rows):
            if each.kind not in _VALUES:
                return _WHOLE if each.record is None else _SEPARATE
        if records.here(row.record) is None:
            if row.record is None:
                return _WHOLE
            return "this review lacks the record; import the search export that contains it, then import the zip again"
        if (row.kind in _REVERSING) != (row.undoes is not None):
            return _DAMAGED
        # Imported codes are taken back by the person who imported them.
        if any(each.coder != row.coder and json.loads(each.value).get("how") != "imported" for each in reversed_rows):
            return "the action undoes or redoes an action of a different person"
        if fault := _fault_in_value(row, records, people):
            return fault
    return ""


def _fault_in_value(row: Any, records: _Records, people: People) -> str:
    try:
        value = json.loads(row.value)
        _VALUES[row.kind].model_validate(value)
        _Row.model_validate(row._mapping)
        datetime.fromisoformat(row.at)
        if row.sight is not None and records.sight(row.sight).coder != row.coder:
            return _DAMAGED
    except (ValidationError, ValueError):
        return _DAMAGED
    if row.kind == "reopen" and (value.get("exercise") or value["coder"] not in people):
        return "the action belongs to a calibration exercise of the copy"
    if row.kind in ("settle", "reopen") and people.get(row.coder) not in records.leads:
        return "only owners and adjudicators may settle or send back records, and this person is neither in this review"
    if row.kind not in (*_JUDGING, "example"):
        return ""
    if row.stage is None:
        return _DAMAGED
    if row.kind in _OF_LABELS and row.label not in records.labels[row.stage]:
        return f"the codebook of this review has no label '{str(row.label)[:40]}'"
    if row.kind in ("role", "link") and value["role"] not in records.roles:
        return f"the codebook of this review has no role '{value['role'][:40]}'"
    if row.stage in BASES:
        number = records.sentences(row.record, row.stage)
        if number is None:
            return _DIFFERENT_TEXT
        named = [*value.get("sentences", ()), *([value["sentence"]] if "sentence" in value else [])]
        if not all(0 <= sentence < number for sentence in named):
            return _DAMAGED
    return ""


def sight_values(row: Any) -> dict[str, Any]:
    """Check a row of table ``sight`` of a copy of the review, and return the values of its columns.

    The row describes what a person saw when judging a record. Ids of the row, the record and the person are left out.

    Raises
    ------
    ValueError
        If a value is not valid.
    """
    values = _Seen.model_validate(row._mapping).model_dump()
    if values["suggested"] is not None:
        _SUGGESTED.validate_json(values["suggested"])
    return values
