"""Define the actions of people in a review; events are written only through these actions.

Each function checks that the action is possible, writes it as one or more events, and returns the number of the first
event. If an action is sent again with the same ``client_id``, nothing changes, and the same number is returned.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from sqlalchemy import Connection, Select, bindparam, exists, func, select

import mechtag
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.review.plan import BASES, STAGES, Plan
from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.store.events import (
    Act,
    Draft,
    any_stale,
    append,
    family_of,
    is_stopped,
    is_unblinded,
    is_undone,
    read_plan,
)
from mechtag.review.store.exercises import END as EXERCISE_END
from mechtag.review.store.exercises import START as EXERCISE
from mechtag.review.store.exercises import running_exercise
from mechtag.review.store.families import any_apart, record_of_copy
from mechtag.review.store.new_labels import owed_labels
from mechtag.review.store.readings import Reading, read_reading
from mechtag.review.store.records import Entry, read_entry

#: Roles, from most to fewest rights, and those among them whose people screen and code.
ROLES = ("owner", "adjudicator", "coder", "observer")
CODING_ROLES = ("owner", "adjudicator", "coder")
#: Kind of the event with which a person takes a mention off the own list; see `mechtag.review.mentions`.
MENTION_READ = "mention_read"
# What an undone or redone act must not be: these have effects outside the database, or their own way back.
_NOT_UNDONE = frozenset(
    (
        "undo",
        "redo",
        "account",
        "codebook",
        "import",
        "train",
        "promote",
        "rollback",
        "export",
        "sign_in",
        "sample_drawn",
        "exercise_end",
        "unblind",
        "codings",
        "merge",
        MENTION_READ,
        "attach",
        "detach",
        "cancel",
    )
)
# Kinds on which the state of a record rests.
_JUDGING = ("code", "evidence", "commit", "reopen", "settle")


class Refused(MechtagError):
    """Raised when an action is not possible; ``status`` is the HTTP status of the answer, such as 403 or 404."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class Outdated(Refused):
    """Raised when an action is based on an outdated page, for example in a second browser tab."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 409)


def utc_now() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Stamp:
    """Describes how an action was sent: by whom, with which id, and what the person saw.

    Attributes
    ----------
    coder
        Number of the person's account.
    client_id
        Id of the action, created by the browser; by default, a new id. An action is written only once per id.
    sight
        Number of the row of table ``sight``; see `mechtag.review.sight`.
    seconds
        Time that the person spent on the record.
    based_on
        Number of the last event about the person's codes for this record at the time the form was created; ``None`` if
        the form does not contain this number.
    """

    coder: int
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    sight: int | None = None
    seconds: float | None = None
    based_on: int | None = None


@dataclass(frozen=True)
class Settlement:
    """The final code that an adjudicator gives for one label of a record; see `Acts.settle`."""

    record: int
    stage: str
    label: str
    value: int
    reason: str | None = None
    sentences: tuple[int, ...] = ()
    sight: int | None = None


_Given = ParamSpec("_Given")


def _once(
    act: Callable[Concatenate[Acts, Connection, Stamp, _Given], list[Draft]],
) -> Callable[Concatenate[Acts, Stamp, _Given], int]:
    """Make a method that returns events write these events, once per id of the action.

    The decorated method returns the number of the first event.
    """

    @wraps(act)
    def write(acts: Acts, stamp: Stamp, /, *args: _Given.args, **named: _Given.kwargs) -> int:
        with acts._transaction() as connection:
            if sent := acts._sent(connection, stamp):
                return sent
            return acts._write(connection, stamp, act(acts, connection, stamp, *args, **named))

    return write


@dataclass(frozen=True)
class Acts:
    """The actions of a review. Each method takes a `Stamp` first, and returns the number of the first event written.

    Parameters
    ----------
    store
    codebook
        The codebook in use.
    now
        Function that returns the time.
    within
        Open transaction in which the actions are written; by default, each action is a transaction of its own.
    """

    store: Store
    codebook: Codebook
    now: Callable[[], str] = utc_now
    within: Connection | None = None

    def in_transaction(self, connection: Connection) -> Acts:
        """Return the same actions, written in a transaction that the caller opened and commits.

        After an action that changes the state of many records, such as `change_plan`, the caller must also call
        `Store.catch_up`.
        """
        return replace(self, within=connection)

    # Screening and coding --------------------------------------------------------------------------------------------

    @_once
    def decide(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        value: int | None,
        *,
        refer: bool = False,
        reason: str | None = None,
    ) -> list[Draft]:
        """Include a record (``value`` 1), exclude it (0), or refer it to the adjudicator (``None``).

        Raises
        ------
        Refused
            If the record does not exist, was settled by an adjudicator, or needs a reason.
        Outdated
            If the person has decided on the record since the form was made.
        """
        self._require_record(connection, record)
        self._check(connection, stamp, record, "screen")
        plan = read_plan(connection)
        self._check_answer(value, refer)
        if value == 0 and plan.reasons == "required" and not reason:
            raise Refused("choose a reason for the exclusion; the plan of this review requires one")
        self._check_reason(connection, reason)
        label = self.codebook.relevance.key
        content = {"v": value, "refer": refer, "reason": reason if value == 0 else None}
        return [Draft("code", record, "screen", label, content)]

    @_once
    def code(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        label: str,
        value: int | None,
        *,
        refer: bool = False,
        stage: str = "code",
    ) -> list[Draft]:
        """Record a person's answer for one label of a record: yes (1), no (0), needs review or not judged.

        Parameters
        ----------
        stage
            A stage of `plan.BASES`, which says whether the person read the abstract or the full text.

        Raises
        ------
        Refused
            If the record or the label does not exist, or an adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the form was made.
        """
        self._require_text(connection, record, stage)
        self._require_label(label)
        self._check(connection, stamp, record, stage, (label,))
        self._check_answer(value, refer, judged=False)
        content = {"v": value, "refer": refer, "reason": None}
        return [Draft("code", record, stage, label, content)]

    @_once
    def mark(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        label: str,
        sentences: Sequence[int],
        *,
        complete: bool = False,
        stage: str = "code",
    ) -> list[Draft]:
        """Set the sentences that support a label; if there are any and the label has no answer yet, also answer yes.

        Parameters
        ----------
        sentences
            Numbers of sentences of the text, counted from 0.
        complete
            Whether the person has read all sentences, so that unmarked sentences do not support the label.
        stage
            See `code`.

        Raises
        ------
        Refused
            If the record, the label or a sentence does not exist, or an adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the form was made.
        """
        text = self._require_text(connection, record, stage)
        self._require_label(label)
        self._check(connection, stamp, record, stage, (label,))
        numbers = self._check_sentences(text, sentences)
        drafts = [Draft("evidence", record, stage, label, {"sentences": numbers, "complete": complete})]
        if numbers and label not in self._answered(connection, stamp.coder, record, stage):
            drafts.insert(0, Draft("code", record, stage, label, {"v": 1, "refer": False, "reason": None}))
        return drafts

    @_once
    def rest_no(
        self, connection: Connection, stamp: Stamp, record: int, labels: Sequence[str], *, stage: str = "code"
    ) -> list[Draft]:
        """Record the answer no for each of the labels that has no answer yet; the person has read all sentences.

        Parameters
        ----------
        stage
            See `code`.

        Raises
        ------
        Refused
            If all these labels have an answer, or for the same reasons as `mark`.
        Outdated
            If the person has changed the codes of the record since the form was made.
        """
        self._require_text(connection, record, stage)
        self._check(connection, stamp, record, stage, labels)
        drafts = list[Draft]()
        answered = self._answered(connection, stamp.coder, record, stage)
        for label in dict.fromkeys(labels):
            self._require_label(label)
            if label in answered:
                continue
            drafts.append(Draft("code", record, stage, label, {"v": 0, "refer": False, "reason": None}))
            drafts.append(Draft("evidence", record, stage, label, {"sentences": [], "complete": True}))
        if not drafts:
            raise Refused("every label has an answer already")
        return drafts

    @_once
    def answer(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        label: str,
        answer: str,
        sentences: Sequence[int] = (),
        *,
        stage: str = "code",
    ) -> list[Draft]:
        """Accept, reject or refer the model's suggestion for a label.

        Parameters
        ----------
        answer
            ``accept`` (the code becomes what the model suggests), ``reject`` (the opposite) or ``refer`` (needs
            review).
        sentences
            Sentences that support the label if the code becomes yes.
        stage
            See `code`.

        Raises
        ------
        Refused
            If the person has not been shown a suggestion for this label, if a suggestion that is neither yes nor no is
            accepted or rejected, or for the same reasons as `mark`.
        """
        if answer not in ("accept", "reject", "refer"):
            raise Refused(f"'{answer}' is not an answer to a suggestion; use accept, reject or refer")
        text = self._require_text(connection, record, stage)
        self._require_label(label)
        self._check(connection, stamp, record, stage, (label,))
        seen = self._sight(connection, stamp, record, stage)
        shown = {} if seen is None or seen.suggested is None else json.loads(seen.suggested)
        if label not in shown:
            raise Refused("no suggestion was shown for this label", 409)
        decision, probability, _ = shown[label]
        if decision == "refer" and answer != "refer":
            raise Refused("mechtag suggests neither yes nor no for this label; answer yes or no yourself")
        numbers = self._check_sentences(text, sentences)
        value = None if answer == "refer" else int((decision == "yes") == (answer == "accept"))
        content = {"label": label, "answer": answer, "model_id": seen.model_id}
        content |= {"decision": decision, "probability": probability}
        drafts = [
            Draft("answer", record, stage, label, content),
            Draft("code", record, stage, label, {"v": value, "refer": value is None, "reason": None}),
        ]
        if value == 1:
            marked = {"sentences": numbers, "complete": False}
            drafts.append(Draft("evidence", record, stage, label, marked))
        return drafts

    @_once
    def commit(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        *,
        open_labels: bool = False,
        all_sentences: bool = False,
        stage: str = "code",
    ) -> list[Draft]:
        """Mark the coding of a record as finished by this person.

        Parameters
        ----------
        open_labels
            Whether labels without an answer are allowed; they count as not judged.
        all_sentences
            Whether the person has read all sentences, so that unmarked sentences do not support the labels. If the
            person finished the record before labels were added to the codebook, this applies only to the new labels.
        stage
            See `code`.

        Raises
        ------
        Refused
            If labels have no answer and ``open_labels`` is false, or if no label has an answer.
        """
        self._require_text(connection, record, stage)
        new = owed_labels(connection, stamp.coder, record, stage)
        self._check(connection, stamp, record, stage, new)
        answered = self._answered(connection, stamp.coder, record, stage)
        missing = [key for key in self.codebook.keys if key not in answered]
        if len(missing) == len(self.codebook.keys):
            raise Refused("no label has an answer yet; answer at least one before you finish the record")
        if missing and not open_labels:
            names = ", ".join(self.codebook.names[key] for key in missing)
            many = "labels have" if len(missing) > 1 else "label has"
            raise Refused(f"{len(missing)} {many} no answer yet: {names}")
        drafts = [Draft("commit", record, stage)]
        if all_sentences:
            table = schema.current
            marks = connection.execute(
                select(table.c.label, table.c.sentences).where(
                    table.c.record == record,
                    table.c.stage == stage,
                    table.c.coder == stamp.coder,
                    table.c.label.in_(answered & new if new else answered),
                )
            )
            drafts[:0] = [
                Draft("evidence", record, stage, row.label, {"sentences": json.loads(row.sentences), "complete": True})
                for row in marks
            ]
        return drafts

    @_once
    def skip(self, connection: Connection, stamp: Stamp, record: int, stage: str) -> list[Draft]:
        """Postpone a record for this person.

        Raises
        ------
        Refused
            If the random sample is being read, which would be useless if records were left out.
        """
        self._require_record(connection, record)
        self._require_stage(stage)
        table = schema.ranking
        strategy = connection.execute(
            select(table.c.strategy).where(table.c.stage == stage, table.c.active == 1)
        ).scalar()
        if stage == "screen" and strategy == "sample":
            raise Refused(
                "a record of the random sample cannot be put aside, because the sample would no longer be random; "
                "decide, or refer the record",
                409,
            )
        return [Draft("skip", record, stage)]

    # Adjudication ----------------------------------------------------------------------------------------------------

    @_once
    def settle(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        stage: str,
        label: str,
        value: int,
        *,
        why: str = "",
        reason: str | None = None,
        sentences: Sequence[int] = (),
    ) -> list[Draft]:
        """Record the final code that an adjudicator gives for a label; the codes of the coders do not change.

        Parameters
        ----------
        value
            1 (yes) or 0 (no).
        why
            Explanation of the final code.
        reason
            Reason for exclusion, one of those in the plan.
        sentences
            Numbers of the sentences that support the label.

        Raises
        ------
        Refused
            If there is nothing to settle, because nobody has judged the record, if the record belongs to a running
            calibration exercise, or if the code, the reason or a sentence is not possible.
        """
        decision = Settlement(record, stage, label, value, reason, tuple(sentences))
        return [self._settled(connection, decision, {"why": why})]

    def settle_together(self, stamp: Stamp, decisions: Sequence[Settlement], why: str) -> int:
        """Settle several records for the same reason; all are undone and redone together.

        Raises
        ------
        Refused
            If there are no decisions or no reason, or if one of the decisions is refused by `settle`. In this case,
            nothing is settled.
        """
        if not decisions:
            raise Refused("no record was chosen, so there is nothing to settle")
        if not why.strip():
            raise Refused("enter a reason of one line; the reason is saved with each final code")
        more = {"why": why, "group": stamp.client_id}
        return self._write_together(
            stamp, lambda connection: ((self._settled(connection, each, more), each.sight) for each in decisions)
        )

    def _write_together(self, stamp: Stamp, make: Callable[[Connection], Iterable[tuple[Draft, int | None]]]) -> int:
        """Write several acts, each with its sight, in one transaction, and return the number of the first.

        They are undone and redone together, because their events contain the same ``group``, the id of the first act.
        """
        with self._transaction() as connection:
            if sent := self._sent(connection, stamp):
                return sent
            acts = list[int]()
            for draft, sight in make(connection):
                name = f"{stamp.client_id}/{len(acts)}" if acts else stamp.client_id
                acts.append(self._write(connection, Stamp(stamp.coder, name, sight), [draft]))
            return acts[0]

    def _settled(self, connection: Connection, decision: Settlement, more: dict[str, Any]) -> Draft:
        """Return the event that settles a label of a record, after checking that this is possible."""
        record, stage, label = decision.record, decision.stage, decision.label
        self._require_stage(stage)
        if stage in BASES:
            self._require_label(label)
        elif label != self.codebook.relevance.key:
            raise Refused(f"screening has only the label {self.codebook.relevance.key}")
        if decision.value not in (0, 1):
            raise Refused("an adjudicator settles a label with yes or no")
        self._check_reason(connection, decision.reason)
        self._require_record(connection, record)
        head, _ = family_of(connection, record)
        text = read_reading(connection, self._require_record(connection, head), stage)
        numbers = self._check_sentences(text, decision.sentences)
        exercise = running_exercise(connection, stage)
        if exercise is not None and head in exercise.records:
            raise Refused(
                "this record belongs to the calibration exercise; end the exercise before you settle the record", 409
            )
        state = self._state(connection, head, stage)
        if state is None:
            raise Refused("this record is not included, so there is nothing to settle", 409)
        if state == "open":
            raise Refused("nobody has judged this record yet, so there is nothing to settle", 409)
        content = {"v": decision.value, "reason": decision.reason, "sentences": numbers, **more}
        return Draft("settle", head, stage, label, content)

    @_once
    def reopen(
        self, connection: Connection, stamp: Stamp, record: int, stage: str, coder: int, message: str = ""
    ) -> list[Draft]:
        """Send a record back to one of its coders, with a message; this coder's codes become a draft.

        Raises
        ------
        Refused
            If that coder has not judged the record at this stage.
        """
        self._require_record(connection, record)
        table = schema.current
        _, members = family_of(connection, record)
        done = connection.execute(
            select(table.c.record).where(
                table.c.record.in_(members), table.c.stage == stage, table.c.coder == coder, table.c.committed == 1
            )
        ).first()
        if done is None:
            raise Refused(
                "this person has not judged the record, so the record cannot be sent back to this person", 409
            )
        content = {"coder": coder, "message": message}
        return [Draft("reopen", record, stage, None, content)]

    @_once
    def unblind(self, connection: Connection, stamp: Stamp, record: int, stage: str) -> list[Draft]:
        """Show everyone's codes of a settled record to everyone. This cannot be undone.

        Raises
        ------
        Refused
            If the record is not settled at this stage, or its codes are shown already.
        """
        self._require_record(connection, record)
        self._require_stage(stage)
        head, members = family_of(connection, record)
        if self._state(connection, head, stage) != "settled":
            raise Refused("this record is not settled yet; its codes can be shown once every label is settled", 409)
        if read_plan(connection).unblinded or is_unblinded(connection, head, stage):
            raise Refused("everyone sees the codes of this record already", 409)
        return [Draft("unblind", member, stage) for member in members]

    @_once
    def comment(self, connection: Connection, stamp: Stamp, record: int, text: str) -> list[Draft]:
        """Add a comment to the discussion of a record; adjudicators and the coders of the record can read it."""
        if not text.strip():
            raise Refused("the comment is empty; write a sentence or two")
        self._require_record(connection, record)
        return [Draft("comment", record, value={"text": text.strip()})]

    @_once
    def read_mention(self, connection: Connection, stamp: Stamp, mention: int) -> list[Draft]:
        """Take a comment or note that mentions the person off this person's list.

        Parameters
        ----------
        mention
            Number of the event of the comment or note.
        """
        table = schema.event
        record = connection.execute(
            select(table.c.record).where(table.c.seq == mention, table.c.kind.in_(("comment", "note")))
        ).scalar()
        if record is None:
            raise Refused("there is no such comment or note", 404)
        return [Draft(MENTION_READ, record, value={"mention": mention})]

    # Around a record -------------------------------------------------------------------------------------------------

    @_once
    def note(self, connection: Connection, stamp: Stamp, record: int, text: str, audience: str = "team") -> list[Draft]:
        """Save a person's note about a record, which replaces the person's earlier note for the same audience.

        Parameters
        ----------
        text
            Text of the note; an empty text deletes the note.
        audience
            Who can read the note: ``me`` (only the person), ``team`` or ``adjudicator``.
        """
        if audience not in ("me", "team", "adjudicator"):
            raise Refused(f"a note can be for me, team or adjudicator, not for '{audience}'")
        self._require_record(connection, record)
        return [Draft("note", record, value={"text": text, "for": audience})]

    @_once
    def tag(self, connection: Connection, stamp: Stamp, record: int, tag: str, *, on: bool = True) -> list[Draft]:
        """Add a free tag to a record, or remove the tag."""
        return [self._tagged(connection, record, tag, {"on": on})]

    def tag_together(self, stamp: Stamp, records: Sequence[int], tag: str) -> int:
        """Add a free tag to several records; all are undone and redone together.

        Raises
        ------
        Refused
            If there are no records, a record does not exist, or the tag is empty.
        """
        if not records:
            raise Refused("no record was chosen; tick records, or choose all")
        more = {"on": True, "group": stamp.client_id}
        return self._write_together(
            stamp, lambda connection: ((self._tagged(connection, record, tag, more), None) for record in records)
        )

    def _tagged(self, connection: Connection, record: int, tag: str, more: Mapping[str, Any]) -> Draft:
        """Return the event that adds a tag to a record or removes the tag."""
        name = " ".join(tag.split())
        if not name:
            raise Refused("the tag is empty; enter a word or two")
        self._require_record(connection, record)
        return Draft("tag", record, value={"tag": name, **more})

    @_once
    def edit_record(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        name: str,
        text: str,
        *,
        source: str = "",
        group: str = "",
    ) -> list[Draft]:
        """Change the title or the abstract of a record.

        Parameters
        ----------
        source
            Service from which the text was fetched; empty if a person entered the text.
        group
            Name that acts share which are undone and redone together; empty if this act is undone alone.

        Raises
        ------
        Refused
            If ``name`` is neither ``title`` nor ``abstract``, or if the abstract is changed although somebody has
            marked its sentences; the numbers of these sentences would no longer be right.
        """
        if name not in ("title", "abstract"):
            raise Refused(f"the field '{name}' cannot be corrected; only the title and the abstract can")
        entry = self._require_record(connection, record)
        table = schema.current
        marked = connection.execute(
            select(table.c.record).where(
                table.c.record == record, table.c.stage != "full-text", table.c.sentences != "[]"
            )
        ).first()
        if name == "abstract" and marked:
            raise Refused("sentences of this abstract have been marked; remove the marks before you change it", 409)
        content = {"field": name, "old": getattr(entry, name), "new": text.strip()}
        content |= {key: value for key, value in (("source", source), ("group", group)) if value}
        return [Draft("edit_record", record, value=content)]

    @_once
    def attach(self, connection: Connection, stamp: Stamp, record: int, file: int, found_by: str) -> list[Draft]:
        """Attach a file to a record as its full text, in place of any other file.

        Parameters
        ----------
        file
            Number of the row of table ``full_text``.
        found_by
            What the record was found by, such as ``DOI``; ``person`` if a person chose it.

        Raises
        ------
        Refused
            If there is no such file, the file could not be read or belongs to a different record, or somebody has coded
            the record by a different file.
        """
        self._require_record(connection, record)
        table, attachment = schema.full_text, schema.attachment
        row = connection.execute(select(table).where(table.c.id == file)).one_or_none()
        if row is None or row.state != "read":
            raise Refused("there is no such file, or it could not be read", 404)
        holder = connection.execute(select(attachment.c.record).where(attachment.c.sha256 == row.sha256)).scalar()
        if holder is not None:
            raise Refused("this file is attached to a record already; detach it there first", 409)
        self._refuse_if_coded_by_full_text(connection, record)
        return [Draft("attach", record, value={"sha256": row.sha256, "name": row.name, "by": found_by})]

    @_once
    def detach(self, connection: Connection, stamp: Stamp, record: int) -> list[Draft]:
        """Detach the full text of a record.

        Raises
        ------
        Refused
            If no file is attached to the record, or somebody has coded the record by its full text.
        """
        self._require_record(connection, record)
        table = schema.attachment
        sha256 = connection.execute(select(table.c.sha256).where(table.c.record == record)).scalar()
        if sha256 is None:
            raise Refused("no file is attached to this record", 409)
        self._refuse_if_coded_by_full_text(connection, record)
        return [Draft("detach", record, value={"sha256": sha256})]

    @staticmethod
    def _refuse_if_coded_by_full_text(connection: Connection, record: int) -> None:
        """Refuse to change a full text by which people have coded, because their codes refer to its sentences."""
        table = schema.current
        _, members = family_of(connection, record)
        coded = connection.execute(
            select(table.c.record).where(table.c.record.in_(members), table.c.stage == "full-text")
        ).first()
        if coded is not None:
            raise Refused(
                "this record has been coded from its full text, and these codes refer to sentences of the file, so the "
                "file cannot be replaced or detached",
                409,
            )

    @_once
    def join(self, connection: Connection, stamp: Stamp, record: int, into: int) -> list[Draft]:
        """Join a record to a different record as its duplicate; decisions on either record count for both.

        Raises
        ------
        Refused
            If both are the same record, are already joined, or were marked as different papers.
        """
        self._require_record(connection, record)
        self._require_record(connection, into)
        head, other = family_of(connection, into)[0], family_of(connection, record)[0]
        if head == other:
            raise Refused("these records are joined already", 409)
        if any_apart(connection, head, other):
            raise Refused("someone has marked these records as different papers; undo that decision first", 409)
        return [Draft("join", other, value={"into": head})]

    @_once
    def split(self, connection: Connection, stamp: Stamp, record: int) -> list[Draft]:
        """Separate a record from the record to which it was joined, because the two are different papers.

        Raises
        ------
        Refused
            If the record is not joined to another record.
        """
        self._require_record(connection, record)
        return self._split(connection, record)

    @_once
    def split_copy(self, connection: Connection, stamp: Stamp, copy: int) -> list[Draft]:
        """Turn a duplicate found during an import into a separate record.

        Parameters
        ----------
        copy
            Number of the row of table ``copy``.

        Raises
        ------
        Refused
            If there is no such duplicate, or it is already a separate record.
        """
        record = record_of_copy(connection, copy)
        if record is None:
            raise Refused("there is no such duplicate in this review", 404)
        return self._split(connection, record)

    @staticmethod
    def _split(connection: Connection, record: int) -> list[Draft]:
        head, _ = family_of(connection, record)
        if head == record:
            raise Refused("this record is not joined to another record, so it cannot be separated", 409)
        return [Draft("split", record), Draft("differ", record, value={"other": head})]

    @_once
    def differ(self, connection: Connection, stamp: Stamp, record: int, other: int) -> list[Draft]:
        """Record that two records are different papers.

        Raises
        ------
        Refused
            If both are the same record, or are joined.
        """
        self._require_record(connection, record)
        self._require_record(connection, other)
        if family_of(connection, record)[0] == family_of(connection, other)[0]:
            raise Refused("these records are joined; separate them first", 409)
        return [Draft("differ", record, value={"other": other})]

    # The review ------------------------------------------------------------------------------------------------------

    @_once
    def change_plan(self, connection: Connection, stamp: Stamp, key: str, value: Any, *, why: str = "") -> list[Draft]:
        """Change a setting of the plan; see `mechtag.review.plan.Plan`.

        Raises
        ------
        Refused
            If there is no such setting, the value is not allowed, or the setting ``unblinded`` is already true.
        """
        before = read_plan(connection).model_dump(mode="json")
        if key not in before:
            raise Refused(f"the plan has no setting '{key}'")
        try:
            after = Plan.model_validate({**before, key: value}).model_dump(mode="json")
        except ValueError:
            raise Refused(f"{value!r} is not a value that the setting '{key}' can have") from None
        if key == "unblinded" and before[key]:
            raise Refused("blinding has ended; what people have seen cannot be hidden again", 409)
        content = {"key": key, "value": after[key], "old": before[key], "why": why}
        return [Draft("setting", value=content)]

    @_once
    def change_account(
        self,
        connection: Connection,
        stamp: Stamp,
        account: int,
        *,
        role: str | None = None,
        state: str | None = None,
    ) -> list[Draft]:
        """Change the role or the state of a person in the review.

        Parameters
        ----------
        state
            ``active``; ``left`` (codes count, but the person cannot sign in); or ``withdrawn`` (codes do not count).

        Raises
        ------
        Refused
            If the person, the role or the state does not exist, or the review would have no owner.
        """
        if role is not None and role not in ROLES:
            raise Refused(f"'{role}' is not a role; use one of {', '.join(ROLES)}")
        if state not in (None, "active", "left", "withdrawn"):
            raise Refused(f"a person can be active, left or withdrawn, not '{state}'")
        table = schema.account
        if connection.execute(select(table.c.id).where(table.c.id == account)).first() is None:
            raise Refused(f"there is no person {account} in this review", 404)
        owners = connection.execute(
            select(table.c.id).where(table.c.role == "owner", table.c.state == "active")
        ).scalars()
        stays = role in (None, "owner") and state in (None, "active")
        if not stays and set(owners) <= {account}:
            raise Refused("a review needs an owner; make somebody else an owner first", 409)
        changes = {name: value for name, value in (("role", role), ("state", state)) if value is not None}
        return [Draft("team", value={"account": account, **changes})]

    @_once
    def start_exercise(
        self, connection: Connection, stamp: Stamp, stage: str, records: Sequence[int], coders: Sequence[int]
    ) -> list[Draft]:
        """Start a calibration exercise, in which several people judge the same records before the real work.

        Parameters
        ----------
        records
            Numbers of the records, in random order; nobody has judged them at this stage.
        coders
            Numbers of the accounts of the people who judge all these records.

        Raises
        ------
        Refused
            If an exercise is running, blinding is lifted, somebody cannot code, or there are fewer than two records or
            two people.
        """
        self._require_stage(stage)
        if running_exercise(connection) is not None:
            raise Refused("an exercise is running already; end it before you start the next one", 409)
        if read_plan(connection).unblinded:
            raise Refused("blinding has ended, so people can no longer judge the records independently", 409)
        people = sorted(set(coders))
        table = schema.account
        active = set(
            connection.execute(
                select(table.c.id).where(table.c.state == "active", table.c.role.in_(CODING_ROLES))
            ).scalars()
        )
        if not active.issuperset(people):
            raise Refused("some of the chosen people cannot code in this review; choose only people who can")
        if len(people) < 2:
            raise Refused("an exercise needs at least two people; choose more people")
        if len(records) < 2:
            raise Refused("an exercise needs at least two records that nobody has judged yet")
        names = [self._require_record(connection, record).record_id for record in records]
        return [Draft(EXERCISE, value={"stage": stage, "records": names, "coders": people})]

    @_once
    def end_exercise(self, connection: Connection, stamp: Stamp, *, keep: bool) -> list[Draft]:
        """End the calibration exercise.

        Parameters
        ----------
        keep
            Whether the codes count like any others. If not, they become drafts of their coders, and the records return
            to the queue.

        Raises
        ------
        Refused
            If no exercise is running.
        """
        exercise = running_exercise(connection)
        if exercise is None:
            raise Refused("no exercise is running", 409)
        drafts = [Draft(EXERCISE_END, value={"exercise": exercise.id, "kept": keep})]
        if not keep:
            table = schema.current
            judged = connection.execute(
                select(table.c.record, table.c.coder)
                .where(table.c.stage == exercise.stage, table.c.record.in_(exercise.records), table.c.committed == 1)
                .distinct()
                .order_by(table.c.record, table.c.coder)
            )
            drafts += [
                Draft("reopen", row.record, exercise.stage, None, {"coder": row.coder, "message": "", "exercise": True})
                for row in judged
            ]
        return drafts

    @_once
    def stop_screening(
        self, connection: Connection, stamp: Stamp, verdict: dict[str, Any], why: str = ""
    ) -> list[Draft]:
        """Record the decision to stop screening; see also `resume_screening`.

        Parameters
        ----------
        verdict
            Result of the stopping rule at that time.
        """
        if is_stopped(connection):
            raise Refused("screening has been stopped already", 409)
        return [Draft("stop", value={"verdict": verdict, "why": why})]

    @_once
    def resume_screening(self, connection: Connection, stamp: Stamp) -> list[Draft]:
        """Resume screening after it has been stopped."""
        if not is_stopped(connection):
            raise Refused("screening has not been stopped", 409)
        return [Draft("resume")]

    @_once
    def import_codes(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        codes: Sequence[Mapping[str, Any]],
        more: Mapping[str, Any],
    ) -> list[Draft]:
        """Add the codes that one person gave to one record outside the review page; these codes count as committed.

        Parameters
        ----------
        codes
            ``label``, ``stage``, ``value`` (1 or 0), ``sentences`` and ``date`` of each code.
        more
            Further content of the events: ``group`` (name shared by all codes of an import) and ``by`` (account number
            of the person who imports the codes).

        Raises
        ------
        Refused
            If an adjudicator has settled the record, the person has already judged one of the labels, or no full text
            is attached to a record that was coded by its full text.
        """
        self._require_record(connection, record)
        table = schema.current
        drafts = list[Draft]()
        for code in codes:
            label, stage = code["label"], code["stage"]
            if stage in BASES:
                self._require_label(label)
            self._check_answer(code["value"], refer=False)
            self._check(connection, stamp, record, stage)
            known = connection.execute(
                select(table.c.record).where(
                    table.c.record == record,
                    table.c.stage == stage,
                    table.c.coder == stamp.coder,
                    table.c.label == label,
                )
            ).first()
            if known is not None:
                raise Refused("this person has already judged the record in this review", 409)
            content = {"v": code["value"], "refer": False, "reason": None, "how": "imported", **more}
            drafts.append(Draft("code", record, stage, label, content | {"date": code["date"]}))
            text = self._require_text(connection, record, stage) if stage in BASES else None
            if text is not None and code["value"] == 1 and code["sentences"]:
                numbers = self._check_sentences(text, code["sentences"])
                marked = {"sentences": numbers, "complete": False, "how": "imported"}
                drafts.append(Draft("evidence", record, stage, label, marked))
        return drafts

    @_once
    def undo_import(self, connection: Connection, stamp: Stamp, acts: Sequence[int]) -> list[Draft]:
        """Undo actions that `import_codes` wrote, including actions in the name of other people."""
        return [Draft("undo", undoes=act) for act in acts]

    @_once
    def log(self, connection: Connection, stamp: Stamp, kind: str, content: dict[str, Any]) -> list[Draft]:
        """Record an event that concerns the whole review, such as an import or a training run."""
        return [Draft(kind, value=content)]

    # Undo ------------------------------------------------------------------------------------------------------------

    def undo(self, stamp: Stamp) -> tuple[int, int | None]:
        """Undo the last action of the person that is not undone yet.

        Returns
        -------
        act, record
            Number of the action that was undone, and number of its record, or ``None`` if the action has no record.

        Raises
        ------
        Refused
            If there is nothing to undo, or somebody else's later work depends on the action.
        """
        with self._transaction() as connection:
            if (known := self._undone(connection, stamp)) is not None:
                return known
            act = self._last_done(connection, stamp.coder)
            if act is None:
                raise Refused("there is nothing to undo", 409)
            if act.kind == "setting" and json.loads(act.value)["key"] == "unblinded":
                raise Refused("the end of blinding cannot be undone; what people have seen cannot be hidden again", 409)
            return self._reverse(connection, stamp, "undo", act)

    def redo(self, stamp: Stamp) -> tuple[int, int | None]:
        """Redo the action that the person undid last; see `undo`.

        Raises
        ------
        Refused
            If the person has done something else since the last undo, or if somebody else's later work on the record
            depends on the action.
        """
        with self._transaction() as connection:
            if (known := self._undone(connection, stamp)) is not None:
                return known
            act = self._last_undone(connection, stamp.coder)
            if act is None:
                raise Refused("there is nothing to redo", 409)
            return self._reverse(connection, stamp, "redo", act)

    def _reverse(self, connection: Connection, stamp: Stamp, kind: str, act: Any) -> tuple[int, int | None]:
        """Undo or redo an action, with the actions that were done together with it; return its number and record."""
        table = schema.event
        group = json.loads(act.value).get("group")
        acts = [act]
        if group is not None:
            same = (table.c.coder == act.coder, func.json_extract(table.c.value, "$.group") == group)
            acts = list(connection.execute(select(table).where(*same, table.c.kind == act.kind).order_by(table.c.seq)))
        for each in acts:
            self._refuse_if_rested_on(connection, each, stamp.coder)
        self._write(connection, stamp, [Draft(kind, undoes=each.seq) for each in acts])
        return acts[0].seq, acts[0].record

    @staticmethod
    def _last_done(connection: Connection, coder: int) -> Any:
        """Return the person's last action that can be undone, or ``None`` if there is none."""
        table = schema.event
        return connection.execute(
            select(table)
            .where(
                table.c.coder == coder,
                table.c.part == 0,
                table.c.kind.not_in(_NOT_UNDONE),
                # Imported codes are taken out on the page on which they were imported.
                func.coalesce(func.json_extract(table.c.value, "$.how"), "") != "imported",
                ~is_undone(table.c.act),
            )
            .order_by(table.c.seq.desc())
            .limit(1)
        ).one_or_none()

    @staticmethod
    def _last_undone(connection: Connection, coder: int) -> Any:
        """Return the action that the person can redo, or ``None`` if there is none or the person has acted since."""
        table, later = schema.event, schema.event.alias()
        done_since = exists().where(
            later.c.coder == coder, later.c.seq > table.c.seq, later.c.part == 0, later.c.kind.not_in(_NOT_UNDONE)
        )
        changed_since = exists().where(later.c.undoes == table.c.undoes, later.c.seq > table.c.seq)
        act = connection.execute(
            select(table.c.undoes)
            .where(table.c.coder == coder, table.c.kind == "undo", ~done_since, ~changed_since)
            .order_by(table.c.seq.desc())
            .limit(1)
        ).scalar()
        return connection.execute(select(table).where(table.c.seq == act)).one_or_none()

    @staticmethod
    def _refuse_if_rested_on(connection: Connection, act: Any, coder: int) -> None:
        """Refuse to undo or redo an action if somebody else's later work on the record depends on this action."""
        if act.record is None:
            return
        table = schema.event
        if act.kind in ("join", "split"):
            rests = table.c.kind.in_(("join", "split", "settle", "reopen"))
        elif act.kind in (*_JUDGING, "answer"):
            # What is settled at a stage, or sent back, was judged before; what is coded, was included before.
            rests = table.c.kind.in_(("settle", "reopen")) & (table.c.stage == act.stage)
            if act.stage == "screen":
                rests = rests | (table.c.stage.in_(BASES) & table.c.kind.in_(_JUDGING))
            if act.kind == "reopen":
                reopened = json.loads(act.value)["coder"]
                judged = table.c.kind.in_(_JUDGING) & (table.c.stage == act.stage)
                rests = rests | ((table.c.coder == reopened) & judged)
        else:
            return
        _, members = family_of(connection, act.record)
        later = connection.execute(
            select(schema.account.c.name)
            .join(table, table.c.coder == schema.account.c.id)
            .where(
                table.c.record.in_(members),
                table.c.seq > act.seq,
                table.c.coder != coder,
                rests,
                ~is_undone(table.c.act),
            )
            .limit(1)
        ).scalar()
        if later is not None:
            raise Refused(
                f"{later} has worked on this record since, on the basis of what you did; ask {later} first", 409
            )

    # Checks ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self.within is not None:
            yield self.within
        else:
            with self.store.write() as connection:
                yield connection
                stale = any_stale(connection)
            if stale:
                self.store.catch_up()

    def _write(self, connection: Connection, stamp: Stamp, drafts: Sequence[Draft]) -> int:
        act = Act(
            coder=stamp.coder,
            client_id=stamp.client_id,
            at=self.now(),
            events=drafts,
            sight=stamp.sight,
            seconds=stamp.seconds,
            codebook=f"{self.codebook.name}@{self.codebook.sha256[:12]}",
            app=mechtag.__version__,
        )
        return append(connection, act)

    @staticmethod
    def _sent(connection: Connection, stamp: Stamp) -> int | None:
        """Return the number of an action that is sent again, or ``None`` if it is sent for the first time."""
        table = schema.event
        row = connection.execute(
            select(table.c.act, table.c.coder).where(table.c.client_id == stamp.client_id, table.c.part == 0)
        ).one_or_none()
        if row is None:
            return None
        if row.coder != stamp.coder:
            raise Refused("this form was already sent by a different person; load the page again", 409)
        return int(row.act)

    def _undone(self, connection: Connection, stamp: Stamp) -> tuple[int, int | None] | None:
        """Return the result of an undo or redo that was sent before, or ``None`` if it is sent for the first time."""
        table = schema.event
        sent = self._sent(connection, stamp)
        if sent is None:
            return None
        row = connection.execute(select(table.c.undoes, table.c.record).where(table.c.seq == sent)).one()
        if row.undoes is None:
            raise Refused("this form was already sent for a different action; load the page again", 409)
        return int(row.undoes), row.record

    @staticmethod
    def _answered(connection: Connection, coder: int, record: int, stage: str) -> set[str]:
        """Return the labels that a person has answered for a record at a stage."""
        table = schema.current
        answered = table.c.value.is_not(None) | (table.c.refer == 1)
        return set(
            connection.execute(
                select(table.c.label).where(
                    table.c.record == record, table.c.stage == stage, table.c.coder == coder, answered
                )
            ).scalars()
        )

    def _require_record(self, connection: Connection, record: int) -> Entry:
        entry = read_entry(connection, record)
        if entry is None:
            raise Refused(f"there is no record {record} in this review", 404)
        return entry

    def _require_text(self, connection: Connection, record: int, stage: str) -> Reading:
        """Return the text of a record at a stage of `plan.BASES`."""
        if stage not in BASES:
            raise Refused(f"records are not coded at the stage '{stage}'")
        text = read_reading(connection, self._require_record(connection, record), stage)
        if stage == "full-text" and not text.sha256:
            raise Refused("no full text is attached to this record; attach its file on the page Full texts", 409)
        return text

    def _require_label(self, label: str) -> None:
        if label not in self.codebook.keys:
            raise Refused(f"the codebook has no label '{label}'")

    @staticmethod
    def _check_answer(value: int | None, refer: bool, judged: bool = True) -> None:
        if value not in (0, 1, None) or (refer and value is not None) or (judged and value is None and not refer):
            raise Refused("an answer is yes, no or needs review")

    @staticmethod
    def _require_stage(stage: str) -> None:
        if stage not in STAGES:
            raise Refused(f"a review has no stage '{stage}'")

    @staticmethod
    def _check_sentences(text: Reading, sentences: Sequence[int]) -> list[int]:
        numbers = sorted(set(sentences))
        if numbers and not 0 <= numbers[0] <= numbers[-1] < len(text.sentences):
            what = "full text" if text.sha256 else "abstract"
            raise Refused(f"the {what} has {len(text.sentences)} sentences; choose one of them")
        return numbers

    @staticmethod
    def _check_reason(connection: Connection, reason: str | None) -> None:
        if reason and reason not in read_plan(connection).exclusion_reasons:
            raise Refused(f"the reason '{reason}' is not in the plan of this review; choose one of its reasons")

    @staticmethod
    def _sight(connection: Connection, stamp: Stamp, record: int, stage: str) -> Any:
        table = schema.sight
        return connection.execute(
            select(table).where(
                table.c.id == stamp.sight,
                table.c.coder == stamp.coder,
                table.c.record == record,
                table.c.stage == stage,
            )
        ).one_or_none()

    @staticmethod
    def _state(connection: Connection, record: int, stage: str) -> str | None:
        table = schema.need
        return connection.execute(
            select(table.c.state).where(table.c.record == record, table.c.stage == stage)
        ).scalar_one_or_none()

    def _check(
        self, connection: Connection, stamp: Stamp, record: int, stage: str, labels: Collection[str] = ()
    ) -> None:
        """Refuse codes for a settled record, and forms that are outdated or belong to a different record or person.

        A record that was settled before a label was added can be coded for this label.
        """
        if stamp.sight is not None and self._sight(connection, stamp, record, stage) is None:
            raise Refused("this form belongs to a different record or person; load the page again", 409)
        head, _ = family_of(connection, record)
        table = schema.final
        settled = connection.execute(
            select(table.c.record).where(table.c.record == head, table.c.stage == stage, table.c.how == "adjudicated")
        ).first()
        new = owed_labels(connection, stamp.coder, record, stage) if settled is not None else set[str]()
        if settled is not None and not (labels and new.issuperset(labels)):
            raise Refused("an adjudicator has settled this record; ask the adjudicator to send it back to you", 409)
        if stamp.based_on is not None:
            last = last_judged(connection, stamp.coder, record, stage)
            if last > stamp.based_on:
                raise Outdated(
                    "you changed your codes of this record in a different window after this page was loaded; load the "
                    "page again to see them"
                )


def _last_judged() -> Select[int]:
    table, act = schema.event, schema.event.alias()
    judged = table.c.kind.in_(_JUDGING) & (table.c.stage == bindparam("stage"))
    # An act that judges begins with an event that judges or answers a suggestion.
    undid = exists().where(
        act.c.seq == table.c.undoes, act.c.stage == bindparam("stage"), act.c.kind.in_((*_JUDGING, "answer"))
    )
    # The sum keeps SQLite from walking through all events of the person instead of those of the record.
    coder = table.c.coder + 0 == bindparam("coder")
    return select(func.max(table.c.seq)).where(table.c.record == bindparam("record"), coder, judged | undid)


# Built once, because building the query takes longer than running it.
_LAST_JUDGED = _last_judged()


def last_judged(connection: Connection, coder: int, record: int, stage: str) -> int:
    """Return the number of the last event in which a person judged a record or undid a judgement; 0 without events."""
    found = connection.execute(_LAST_JUDGED, {"coder": coder, "record": record, "stage": stage}).scalar_one()
    return int(found or 0)
