"""Find out what a copy of a review contains that the review itself lacks."""

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
from mechtag.review.plan import BASES, Mode, Stage
from mechtag.review.store import schema
from mechtag.review.store.readings import Reading, read_reading
from mechtag.review.store.records import read_entry

#: Numbers of accounts in the review, keyed by the number of the same person in the copy; ``None`` for a person outside
#: the review.
People = Mapping[int, int | None]

_Text = Field(max_length=100_000)


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
    tag: str = Field(min_length=1, max_length=80)
    on: bool


class _Edit(_Value):
    field: Literal["title", "abstract"]
    old: str = _Text
    new: str = _Text


class _Nothing(_Value):
    pass


class _Row(BaseModel):
    """The columns of table ``event`` that are added as they are."""

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
_JUDGING = frozenset(("code", "evidence", "sign", "answer", "commit", "skip", "settle", "reopen"))
_REVERSING = ("undo", "redo")
_DIFFERENT_TEXT = "the text of the record is not the same in both copies"
_WHOLE = "concerns the whole review, which is managed here"
_SEPARATE = "each copy has its own full texts, duplicates and blinding"
_MIXED = "was judged in one copy and settled in the other, before the adjudicator could know all codes"


class _Seen(BaseModel):
    """A row of table ``sight`` in a copy, as far as it must be checked."""

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
    """An act of a copy that the review lacks.

    Attributes
    ----------
    client_id
        Id under which the act is added.
    rows
        Events of the act: rows of table ``event`` of the copy, with their values as objects.
    undoes
        For each event, the id of the act that it undoes or redoes, or ``None``.
    places
        What the act is about; see `_places`.
    """

    client_id: str
    rows: tuple[Any, ...]
    undoes: tuple[str | None, ...]
    places: frozenset[tuple[object, ...]]


@dataclass
class Difference:
    """What a copy contains that the review lacks.

    Attributes
    ----------
    acts
        Acts that can be added, in their order.
    left_out
        Record, person and reason of each act that cannot be added.
    shared
        Ids that the acts of the copy have in the review once they are added.
    last
        Number of the last event of the review that was compared.
    """

    acts: list[NewAct] = field(default_factory=list)
    left_out: list[tuple[str, int, str]] = field(default_factory=list)
    shared: frozenset[str] = frozenset()
    last: int = 0


def origin(connection: Connection) -> str | None:
    """Return the id of the first event of a review; all copies of one review have the same."""
    table = schema.event
    return connection.execute(select(table.c.client_id).order_by(table.c.seq).limit(1)).scalar()


def last_event(connection: Connection) -> int:
    """Return the number of the last event of a review, or 0 if it has none."""
    return connection.execute(select(func.max(schema.event.c.seq))).scalar() or 0


def compare(ours: Connection, theirs: Connection, codebook: Codebook, people: People) -> Difference:
    """Compare a copy of a review to the review.

    Acts with the same id are the same act. If a person worked on a record both in the review and in the copy, the
    person's acts on this record in the copy are left out, so that nothing in the review is overwritten.

    Parameters
    ----------
    ours, theirs
        The review, and the copy.
    people
        The people of the copy.

    Raises
    ------
    MechtagError
        If the events of an act of the copy do not follow each other.
    """
    event = schema.event
    known, names, acts = _ids(ours), dict[int, str](), dict[int, tuple[Any, ...]]()
    for act, group in groupby(theirs.execute(select(event).order_by(event.c.seq)), key=lambda row: row.act):
        rows = tuple(group)
        if [(row.seq, row.part) for row in rows] != [(act + part, part) for part in range(len(rows))]:
            raise MechtagError("the log in this zip is damaged: events are in the wrong order; ask for the zip again")
        names[act] = _id_in(known, rows[0])
        acts[act] = rows
    found = Difference(shared=frozenset(names.values()), last=last_event(ours))
    own_places = changed_places(ours, found.shared)
    records = _Records(ours, theirs, codebook)
    taken, by_act = set(known), dict[int, frozenset[tuple[object, ...]]]()
    for rows in acts.values():
        first, name = rows[0], names[rows[0].act]
        by_act[first.act] = _places(records.theirs, rows, by_act, people)
        if name in known:
            continue
        fault = _fault(rows, acts, records, people)
        targets = tuple(None if row.undoes is None else names.get(row.undoes, "") for row in rows)
        if not fault and not taken.issuperset({target for target in targets if target is not None}):
            fault = "takes back something that is not here"
        if not fault and (both := own_places & by_act[first.act]):
            fault = "the same person, or another adjudicator, has worked on this here since the copy was made"
            if all(place[0] in ("judged here", "settled here") for place in both):
                fault = _MIXED
        if fault:
            found.left_out.append((records.theirs.get(first.record, ""), first.coder, fault))
            continue
        taken.add(name)
        records.edited |= {row.record for row in rows if row.kind == "edit_record"}
        found.acts.append(NewAct(name, rows, targets, by_act[first.act]))
    return found


def _ids(connection: Connection) -> dict[str, tuple[str, str]]:
    """Return the time and the kind of the first event of each act, keyed by the id of the act."""
    event = schema.event
    rows = connection.execute(select(event.c.client_id, event.c.at, event.c.kind).where(event.c.part == 0))
    return {row.client_id: (row.at, row.kind) for row in rows}


def _id_in(known: Mapping[str, tuple[str, str]], row: Any) -> str:
    """Return the id of an act of a copy in the review.

    Jobs number their acts in each copy, so that different acts can have the same id; these get a different one.
    """
    if known.get(row.client_id, (row.at, row.kind)) == (row.at, row.kind):
        return str(row.client_id)
    digest = hashlib.sha256(f"{row.client_id}\0{row.at}\0{row.kind}".encode()).hexdigest()[:12]
    return f"{row.client_id}@{digest}"


def changed_places(ours: Connection, shared: Set[str], *, after: int = 0) -> set[tuple[object, ...]]:
    """Return what the acts are about that only the review contains; see `_places`.

    Parameters
    ----------
    shared
        Ids of the acts that the copy contains too.
    after
        Number of an event; only later events are looked at.
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
            by_act[act] = _places(names, tuple(group), by_act, None)
    found = set[tuple[object, ...]]()
    for _, group in groupby(own, key=lambda row: row.act):
        found |= _places(names, tuple(group), by_act, None)
    return found


def _places(
    names: Mapping[int, str],
    rows: Sequence[Any],
    by_act: Mapping[int, frozenset[tuple[object, ...]]],
    people: People | None,
) -> frozenset[tuple[object, ...]]:
    """Return what the events of an act are about, so that two acts that would overwrite each other share a value.

    Parameters
    ----------
    names
        Record ids, keyed by number.
    by_act
        What earlier acts are about, which may be undone or redone.
    people
        Accounts of the people of a copy; ``None`` if the numbers are those of the review.
    """

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
        elif row.kind == "note":
            found.add(("note", record, account(row.coder), str(value.get("for"))))
        elif row.kind == "edit_record":
            found.add(("edit", record, str(value.get("field"))))
    return frozenset(found)


class _Records:
    """The records of the review and of a copy."""

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
        account = schema.account
        leads = select(account.c.id).where(account.c.role.in_(MATRIX["settle"]))
        #: Accounts of the people who settle conflicts in the review.
        self.leads: Set[int] = set(ours.execute(leads).scalars())
        #: Records of the copy whose texts are changed by the acts that are added.
        self.edited: set[int] = set()
        self._sights: dict[int, Any] = {}
        self._readings: dict[tuple[int, int, str], Reading] = {}

    def here(self, number: int | None) -> int | None:
        """Return the number in the review of a record of the copy, or ``None`` if the review has no such record."""
        return self._ours.get(self.theirs.get(number or 0, ""))

    def sight(self, number: int) -> Any:
        """Return a row of table ``sight`` of the copy.

        Raises
        ------
        ValueError
            If a value of the row is not possible.
        """
        if number not in self._sights:
            table = schema.sight
            row = self._connections[1].execute(select(table).where(table.c.id == number)).one()
            if self.here(row.record) is None:
                raise ValueError("this review lacks the record that was shown")
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
        """Return the number of sentences of a text; ``None`` if the text is not the same in the review."""
        here = self.here(number)
        assert here is not None
        own, other = self._reading(0, here, stage), self._reading(1, number, stage)
        same = own.text == other.text or (stage == "code" and number in self.edited)
        if not same or (stage == "full-text" and (not own.sha256 or own.sha256 != other.sha256)):
            return None
        return len(other.sentences)


def _fault(rows: Sequence[Any], acts: Mapping[int, Sequence[Any]], records: _Records, people: People) -> str:
    """Return why an act of a copy cannot be added, or "" if it can.

    Parameters
    ----------
    rows
        Events of the act.
    acts
        Events of all acts of the copy, keyed by the number of the act.
    """
    for row in rows:
        reversed_rows = acts.get(row.undoes, ())
        for each in (row, *reversed_rows):
            if each.kind not in _VALUES:
                return _WHOLE if each.record is None else _SEPARATE
        if records.here(row.record) is None:
            if row.record is None:
                return _WHOLE
            return "this review lacks the record; import its export, then import the zip again"
        if (row.kind in _REVERSING) != (row.undoes is not None):
            return "damaged"
        # Imported codes are taken back by the person who imported them.
        if any(each.coder != row.coder and json.loads(each.value).get("how") != "imported" for each in reversed_rows):
            return "takes back what somebody else did"
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
            return "damaged"
    except (ValidationError, ValueError):
        return "damaged"
    if row.kind == "reopen" and (value.get("exercise") or value["coder"] not in people):
        return "belongs to a calibration exercise of the copy"
    if row.kind in ("settle", "reopen") and people.get(row.coder) not in records.leads:
        return "owners and adjudicators alone settle conflicts and send records back, and this person is neither here"
    if row.kind not in _JUDGING:
        return ""
    if row.stage is None:
        return "damaged"
    if row.kind in ("code", "evidence", "sign", "answer", "settle") and row.label not in records.labels[row.stage]:
        return f"the codebook of this review has no label '{str(row.label)[:40]}'"
    if row.stage in BASES:
        number = records.sentences(row.record, row.stage)
        if number is None:
            return _DIFFERENT_TEXT
        named = [*value.get("sentences", ()), *([value["sentence"]] if row.kind == "sign" else [])]
        if not all(0 <= sentence < number for sentence in named):
            return "damaged"
    return ""


def sight_values(row: Any) -> dict[str, Any]:
    """Return the checked columns of a row of table ``sight`` of a copy, without its id, record and person.

    Raises
    ------
    ValueError
        If a value is not possible.
    """
    values = _Seen.model_validate(row._mapping).model_dump()
    if values["suggested"] is not None:
        _SUGGESTED.validate_json(values["suggested"])
    return values
