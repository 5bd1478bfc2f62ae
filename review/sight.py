"""Determine which suggestions and which codes of others a person may see, and store what the person was shown.

Pages receive suggestions and codes of others only from this module. Hidden data are not sent to the browser at all.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Text,
    and_,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
)

from mechtag.core.records import Sign
from mechtag.review.plan import BASES, STAGES, Mode, Plan
from mechtag.review.store import schema
from mechtag.review.store.events import family_of, is_unblinded, read_plan
from mechtag.review.store.exercises import hidden_records, hides_suggestions, read_exercises, running_exercise
from mechtag.review.store.new_labels import owed_labels
from mechtag.review.store.readings import hash_of_text, read_reading, sentences_in, signs_of
from mechtag.review.store.records import Entry
from mechtag.review.store.tags import own_tags


@dataclass(frozen=True)
class Suggestion:
    """The suggestion of the model for one label of a record.

    Attributes
    ----------
    decision
        ``yes``, ``no`` or ``refer`` (needs review).
    probability
        Probability of yes, or ``None`` if the model computed none.
    sentences
        Numbers of the sentences that support the suggestion, counted from 0.
    """

    label: str
    decision: str
    probability: float | None
    sentences: tuple[int, ...]
    model_id: str


@dataclass(frozen=True)
class Vote:
    """The code of one person for one label of a record that the person has finished.

    Attributes
    ----------
    letter
        Letter that identifies the person on the page of this record, such as ``A``.
    record
        Number of the record that the person coded: the record on the page, or a joined duplicate.
    value
        ``1`` for yes, ``0`` for no, ``None`` if the person answered neither yes nor no.
    sentences
        Numbers of the sentences that the person marked in the text on the page. Sentences of a different text, such as
        the abstract of a duplicate, are left out.
    signs
        Signs of the marked sentences (``present``, ``absent`` or ``unclear``), keyed by number of the sentence.
        Sentences without a sign are left out.
    """

    letter: str
    coder: int
    name: str
    record: int
    label: str
    value: int | None
    refer: bool
    reason: str | None
    sentences: tuple[int, ...]
    signs: Mapping[int, Sign]


@dataclass(frozen=True)
class Sight:
    """What a person sees of a record.

    Attributes
    ----------
    id
        Number of the row of table ``sight``; forms send this number back with the person's action.
    mode
        Mode in which the record is shown: ``reconcile`` for an adjudicator; for a coder, usually the mode of the plan.
        A coder has the mode ``blind`` in two further cases:

        - the record is in the audit sample, and the coder has not finished the record;
        - a calibration exercise hides the suggestions for the record; see `hides_suggestions`.
    audited
        Whether the record is in the audit sample of the mode ``assisted``, which coders judge without suggestions.
    suggestions
        Suggestions, keyed by label; empty if suggestions are hidden or do not exist.
    others
        Codes of others; empty if these codes are hidden or do not exist.
    committed
        Whether the person has finished the record, including labels that were added to the codebook later.
    """

    id: int
    mode: Mode | Literal["reconcile"]
    audited: bool = False
    suggestions: Mapping[str, Suggestion] = field(default_factory=dict)
    others: tuple[Vote, ...] = ()
    committed: bool = False


def show(
    connection: Connection,
    entry: Entry,
    coder: int,
    stage: str,
    *,
    labels: Collection[str],
    at: str,
    model_id: str | None,
    seed: int = 0,
    highlights: bool = False,
    plan: Plan | None = None,
) -> Sight:
    """Return what a coder may see of a record, and store it in table ``sight``.

    If the content has not changed since the person last saw the record, no new row is stored.

    Parameters
    ----------
    labels
        Keys of the labels on the page; suggestions for other labels are not shown.
    at
        Current time in UTC (ISO 8601), which is stored in the row.
    model_id
        Id of the model in use, whose suggestions are shown if the plan allows it; ``None`` if there is no model yet.
    seed
        Seed of the review, used to choose the audited records.
    highlights
        Whether words are highlighted in the text.
    plan
        Plan of the review; by default, the plan is read from the database.
    """
    plan = plan or read_plan(connection)
    committed = has_committed(connection, entry.id, coder, stage)
    mode = plan.mode(stage)
    audited = mode == "assisted" and is_audited(entry.record_id, plan, seed)
    if (audited and not committed) or hides_suggestions(connection, entry.id, stage):
        mode = "blind"
    visible = mode == "assisted" or (mode == "after" and committed)
    known = read_suggestions(connection, entry.id, stage, model_id) if visible and model_id else {}
    suggestions = {label: row for label, row in known.items() if label in labels}
    before = _rows_before(connection, entry.id, coder)
    at_stage = [row for row in before if row.stage == stage]
    is_open = plan.unblinded or is_unblinded(connection, entry.id, stage)
    votes = read_votes(connection, entry.id, stage) if is_open else ()
    others = tuple(vote for vote in votes if vote.coder != coder)
    shown = {label: (row.decision, row.probability, row.sentences) for label, row in suggestions.items()}
    values = {
        "record": entry.id,
        "coder": coder,
        "stage": stage,
        "mode": mode,
        "model_id": model_id if suggestions else None,
        # After a person has seen a suggestion, all later codes count as given with the suggestion in view, even codes
        # by a different text of the same paper.
        "suggestions_shown": int(bool(suggestions) or _has_seen(before, labels)),
        "others_shown": int(bool(others)),
        "highlights": int(highlights),
        "text_sha256": text_digest(connection, entry, stage),
        "suggested": json.dumps(shown) if shown else None,
    }
    if at_stage and all(at_stage[-1]._mapping[name] == value for name, value in values.items()):
        number = int(at_stage[-1].id)
    else:
        table = schema.sight
        number = int(connection.execute(insert(table).values(**values, at=at).returning(table.c.id)).scalar_one())
    return Sight(number, mode, audited, suggestions, others, committed)


def _rows_before(connection: Connection, record: int, coder: int) -> Sequence[Any]:
    """Return the rows of table ``sight`` about a record and a person, the oldest first."""
    table = schema.sight
    return connection.execute(
        select(table).where(table.c.record == record, table.c.coder == coder).order_by(table.c.id)
    ).all()


def show_to_adjudicator(
    connection: Connection,
    entry: Entry,
    coder: int,
    stage: str,
    *,
    at: str,
    votes_shown: bool,
) -> Sight:
    """Return what an adjudicator sees of a record, and store it in table ``sight``.

    Parameters
    ----------
    votes_shown
        Whether the adjudicator has asked to see the codes of the coders, which are hidden at first.
    """
    number = note_adjudicator(connection, entry, coder, stage, at=at, votes_shown=votes_shown)
    return Sight(number, "reconcile", others=read_votes(connection, entry.id, stage) if votes_shown else ())


def note_adjudicator(
    connection: Connection, entry: Entry, coder: int, stage: str, *, at: str, votes_shown: bool
) -> int:
    """Store in table ``sight`` what an adjudicator sees of a record, and return the number of the new row."""
    values = {
        "record": entry.id,
        "coder": coder,
        "at": at,
        "stage": stage,
        "mode": "reconcile",
        "suggestions_shown": 0,
        "others_shown": int(votes_shown),
        "text_sha256": text_digest(connection, entry, stage),
    }
    return int(connection.execute(insert(schema.sight).values(values).returning(schema.sight.c.id)).scalar_one())


def is_to_judge(connection: Connection, record: int, stage: str, coder: int) -> bool:
    """Return whether a person can still judge a record at a stage, such as ``screen``.

    If so, the codes of others must be hidden from this person. A member of a running calibration exercise can judge
    each record of the exercise once, even if enough others have judged the record.
    """
    head, _ = family_of(connection, record)
    need = schema.need
    own = select(need.c.record).where(need.c.record == head, need.c.stage == stage, _to_judge(connection, coder))
    return connection.execute(own).first() is not None


def is_hidden(connection: Connection, record: int, stage: str, coder: int) -> bool:
    """Return whether the codes that others gave for a record at a stage are still hidden from an owner or adjudicator.

    The codes are hidden in three cases: the owner or adjudicator can still judge the record at this stage (such as
    ``screen``); the record is in a running calibration exercise; or the record was coded, but its screening is no
    longer settled, so that the owner or adjudicator may have to code it later.
    """
    hidden = hidden_from(connection, coder, literal(record), literal(stage))
    return bool(connection.execute(select(hidden)).scalar_one())


def hidden_places(connection: Connection, coder: int) -> set[tuple[int, str]]:
    """Return the places where the codes of others are still hidden from an owner or adjudicator.

    A place is a tuple of record number and stage, such as ``screen``. See `is_hidden` for the cases in which codes are
    hidden. If a record is hidden at a stage, so are the duplicates that were joined to it.

    Parameters
    ----------
    coder
        Account number of the owner or adjudicator.
    """
    need, joined = schema.need, schema.joined
    rows = connection.execute(select(need.c.record, need.c.stage).where(_to_judge(connection, coder)))
    heads = {(row.record, row.stage) for row in rows}
    for stage in BASES:
        interrupted = connection.execute(select(need.c.record).where(_is_interrupted(coder, stage))).scalars()
        heads |= {(record, stage) for record in interrupted}
    heads |= {(record, stage) for stage in STAGES for record in hidden_records(connection, stage)}
    into = connection.execute(select(joined.c.record, joined.c.into)).all()
    return heads | {(row.record, stage) for row in into for stage in STAGES if (row.into, stage) in heads}


def hidden_from(
    connection: Connection, coder: int, record: ColumnElement[int], stage: ColumnElement[str]
) -> ColumnElement[bool]:
    """Return an SQL condition that holds if judgements of others must be hidden from an owner or adjudicator.

    Judgements on a record must be hidden in three cases: the owner or adjudicator can still judge the paper of the
    record; the paper is in a running calibration exercise; or the paper was coded, but its screening is no longer
    settled, so that the owner or adjudicator may have to code it later.

    Parameters
    ----------
    coder
        Account number of the owner or adjudicator.
    record
        SQL column with the numbers of the records; joined records are allowed.
    stage
        SQL column with the stages, such as ``screen``. If the stage is NULL, the condition holds if judgements must be
        hidden at any stage.
    """
    need = schema.need
    of_paper = (need.c.record == _head(record), or_(stage.is_(None), need.c.stage == stage))
    to_judge = exists().where(*of_paper, _to_judge(connection, coder))
    later = (
        and_(or_(stage.is_(None), stage == one), exists().where(of_paper[0], _is_interrupted(coder, one)))
        for one in BASES
    )
    return or_(to_judge, *later, in_exercise(connection, record, stage))


def in_exercise(connection: Connection, record: ColumnElement[int], stage: ColumnElement[str]) -> ColumnElement[bool]:
    """Return an SQL condition that holds if the paper of a record belongs to a running calibration exercise.

    In a calibration exercise, several people judge the same records before the real work.
    """
    head = _head(record)
    running = (one for one in read_exercises(connection) if one.state == "running")
    return or_(false(), *(and_(head.in_(one.records), or_(stage.is_(None), stage == one.stage)) for one in running))


def visible_to(connection: Connection, viewer: int, *, blinded: bool) -> ColumnElement[bool]:
    """Return an SQL condition on rows of table ``event``: a person may see this event about another person's code.

    The condition does not consider whether blinding has ended for the whole review.

    Parameters
    ----------
    viewer
        Account number of the person.
    blinded
        ``False`` for owners and adjudicators. ``True`` for everybody else; the condition then selects only events about
        records whose codes were shown to everyone.
    """
    table, other = schema.event, schema.event.alias()
    shown = exists().where(other.c.kind == "unblind", other.c.record == table.c.record, other.c.stage == table.c.stage)
    open_to_all = and_(shown, ~in_exercise(connection, table.c.record, table.c.stage))
    return open_to_all if blinded else open_to_all | ~hidden_from(connection, viewer, table.c.record, table.c.stage)


def visible_tags(connection: Connection, viewer: int, *, unblinded: bool) -> ColumnElement[bool]:
    """Return an SQL condition on rows of table ``tag``: a person may see the tag.

    People see their own tags. They see the tags of others on records that they cannot judge any more, and on all
    records once blinding has ended (``unblinded``).
    """
    if unblinded:
        return true()
    tags = schema.tag
    return own_tags(viewer) | ~hidden_from(connection, viewer, tags.c.record, literal(None, Text))


def _head(record: ColumnElement[int]) -> ColumnElement[int]:
    """Return an SQL expression for the main record of the paper to which ``record`` belongs."""
    joined = schema.joined.alias()
    into = select(joined.c.into).where(joined.c.record == record).scalar_subquery()
    # 0 if ``record`` is NULL.
    return func.coalesce(into, record, 0)


def _to_judge(connection: Connection, coder: int) -> ColumnElement[bool]:
    """Return an SQL condition on rows of table ``need``: the person can still judge the record of the row."""
    need, current, joined, owed = schema.need, schema.current, schema.joined, schema.owed
    copies = select(joined.c.record).where(joined.c.into == need.c.record).correlate(need)
    new_labels = (
        exists()
        .where(owed.c.coder == coder, owed.c.record == current.c.record, owed.c.stage == current.c.stage)
        .correlate(current)
    )
    judged = (
        exists()
        .where(
            or_(current.c.record == need.c.record, current.c.record.in_(copies)),
            current.c.stage == need.c.stage,
            current.c.coder == coder,
            current.c.committed == 1,
            ~new_labels,
        )
        .correlate(need)
    )
    wanted: ColumnElement[bool] = need.c.state.in_(("open", "waiting"))
    exercise = running_exercise(connection)
    if exercise is not None and coder in exercise.coders:
        wanted |= and_(need.c.stage == exercise.stage, need.c.record.in_(exercise.records))
    return and_(wanted, ~judged)


def _is_interrupted(coder: int, stage: str) -> ColumnElement[bool]:
    """Return an SQL condition on rows of table ``need``: the coding of the paper is interrupted, and concerns a person.

    Coding is interrupted if others have coded the paper, but its screening is no longer settled, for example because
    the codes of a person were withdrawn. Once the paper is included again, the person may have to code it.

    Parameters
    ----------
    coder
        Account number of the person, who has not finished coding the paper.
    stage
        Stage of the coding: ``code`` or ``full-text``.
    """
    need, joined, theirs, own = schema.need, schema.joined, schema.current.alias(), schema.current.alias()
    coding = need.alias()
    copies = select(joined.c.record).where(joined.c.into == need.c.record).correlate(need)

    def of_paper(table: FromClause) -> ColumnElement[bool]:
        return and_(or_(table.c.record == need.c.record, table.c.record.in_(copies)), table.c.stage == stage)

    coded = exists().where(of_paper(theirs), theirs.c.coder != coder).correlate(need)
    finished = exists().where(of_paper(own), own.c.coder == coder, own.c.committed == 1).correlate(need)
    goes_on = exists().where(coding.c.record == need.c.record, coding.c.stage == stage).correlate(need)
    return and_(need.c.stage == "screen", need.c.state != "settled", ~goes_on, coded, ~finished)


def read_votes(connection: Connection, record: int, stage: str) -> tuple[Vote, ...]:
    """Return the codes of people for a record and for the records joined to it.

    Only codes for finished records are returned. Codes of withdrawn people are left out. Marked sentences are returned
    only if they belong to the text of ``record``.

    The page shows letters (A, B and so on) instead of the names of people, in the order of the names. A person who
    judged several joined records has one letter for each of these records.
    """
    table, account = schema.current, schema.account
    _, members = family_of(connection, record)
    rows = connection.execute(
        select(table, account.c.name)
        .join(account, account.c.id == table.c.coder)
        .where(
            table.c.record.in_(members),
            table.c.stage == stage,
            table.c.committed == 1,
            account.c.state != "withdrawn",
        )
        .order_by(account.c.name, table.c.record, table.c.label)
    ).all()
    shown = hash_of_text(connection, record, stage)

    def marked(row: Any) -> tuple[int, ...]:
        if row.text and shown:
            return sentences_in(row, shown)
        return tuple(json.loads(row.sentences)) if row.record == record else ()

    people = list(dict.fromkeys((row.coder, row.record) for row in rows))
    return tuple(
        Vote(
            letter=chr(ord("A") + people.index((row.coder, row.record)) % 26),
            coder=row.coder,
            name=row.name,
            record=row.record,
            label=row.label,
            value=row.value,
            refer=bool(row.refer),
            reason=row.reason,
            sentences=marked(row),
            signs=signs_of(row, marked(row)),
        )
        for row in rows
    )


def text_digest(connection: Connection, entry: Entry, stage: str) -> str:
    """Return 16 hexadecimal digits of a hash of the title and the text that a record has at a stage.

    The text is the full text at the stage ``full-text``, and the abstract at all other stages.
    """
    text = read_reading(connection, entry, stage).text
    return hashlib.sha256(f"{entry.title}\n{text}".encode()).hexdigest()[:16]


def is_audited(record_id: str, plan: Plan, seed: int) -> bool:
    """Return whether a record belongs to the audit sample, which coders judge without suggestions.

    The result depends only on the id of the record, the seed, and the size of the sample (``plan.audit_share``).
    """
    return random.Random(f"audit/{seed}/{record_id}").random() < plan.audit_share


def has_committed(connection: Connection, record: int, coder: int, stage: str) -> bool:
    """Return whether a person has finished a record at a stage, such as ``screen``.

    A record is not finished if the person must still code labels that were added to the codebook later.
    """
    table = schema.current
    committed = connection.execute(
        select(table.c.record).where(
            table.c.record == record, table.c.stage == stage, table.c.coder == coder, table.c.committed == 1
        )
    ).first()
    return committed is not None and not (stage in BASES and owed_labels(connection, coder, record, stage))


def _has_seen(before: Sequence[Any], labels: Collection[str]) -> bool:
    """Return whether a person saw a suggestion for one of the labels, according to rows of table ``sight``."""
    shown = (json.loads(row.suggested) for row in before if row.suggested is not None)
    return any(not suggested.keys().isdisjoint(labels) for suggested in shown)


def read_suggestions(connection: Connection, record: int, stage: str, model_id: str) -> dict[str, Suggestion]:
    """Return the suggestions of a model for a record at a stage, keyed by label.

    At the stage ``full-text``, the suggestions are based on the full text. At the other stages, they are based on the
    abstract.
    """
    table = schema.suggestion
    text = "full-text" if stage == "full-text" else "code"
    own = (table.c.model_id == model_id, table.c.record == record, table.c.stage == text)
    rows = connection.execute(select(table).where(*own))
    return {
        row.label: Suggestion(row.label, row.decision, row.probability, tuple(json.loads(row.sentences)), model_id)
        for row in rows
    }
