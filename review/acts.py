"""Define the actions that people take in a review, such as excluding a record or settling a label.

Each action first checks whether the action is possible. It then writes one or more events to the log, and returns the
number of the first event. If an action with the same ``client_id`` was written before, nothing is written, and the
number of the first event of that action is returned.
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

from sqlalchemy import Connection, Select, bindparam, delete, exists, func, select

import mechtag
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import SIGNS, Sign
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
from mechtag.review.store.exercises import hidden_records, records_to_draw, running_exercise
from mechtag.review.store.families import any_apart, record_of_copy
from mechtag.review.store.new_labels import owed_labels
from mechtag.review.store.readings import Reading, read_reading, roles_of, sentences_in
from mechtag.review.store.records import Entry, read_entry

#: Roles, from most to fewest rights, and the roles whose people screen and code.
ROLES = ("owner", "adjudicator", "coder", "observer")
CODING_ROLES = ("owner", "adjudicator", "coder")
#: Largest number of characters of a text that a person writes, such as a note, and of a tag.
LONGEST_TEXT, LONGEST_TAG = 100_000, 80
#: Kind of the event that removes a mention from a person's list; see `mechtag.review.mentions`.
MENTION_READ = "mention_read"
#: Kind of the event that chooses a sentence as an example of a label; see `mechtag.review.examples`.
EXAMPLE = "example"
#: Kind of the event that undoes the import of a project, or adds the project again; see `mechtag.review.merge_undo`.
MERGE_UNDONE = "merge_undone"
# Kinds that undo and redo leave out, because they have effects outside the database, or are reversed in another way.
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
        MERGE_UNDONE,
        MENTION_READ,
        "attach",
        "detach",
        "delete_file",
        "cancel",
    )
)
# Kinds of events that determine the state of a record.
_JUDGING = ("code", "evidence", "sign", "role", "link", "commit", "reopen", "settle")


def _named(text: Reading) -> dict[str, str]:
    """Return the field ``{"text": SHA-256}`` of events about a full text, and ``{}`` for an abstract."""
    return {"text": text.sha256} if text.sha256 else {}


class Refused(MechtagError):
    """Raised when an action is not possible; ``status`` is the HTTP status of the response, such as 403 or 404."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def _refuse_long(text: str, what: str, longest: int = LONGEST_TEXT) -> None:
    """Raise `Refused` if a text that a person wrote has more than ``longest`` characters."""
    if len(text) > longest:
        raise Refused(
            f"{what} has {len(text):,} characters, but at most {longest:,} are allowed; shorten the text, then save it "
            "again",
            413,
        )


class Outdated(Refused):
    """Raised when a page is outdated, because the person has changed the same codes in a different window."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 409)


def utc_now() -> str:
    """Return the current time in UTC in ISO 8601 format, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Stamp:
    """Details of an action: its id, the person who took it, and what this person saw.

    Attributes
    ----------
    coder
        Account number of the person.
    client_id
        Id of the action, created by the browser; by default, a new id. If an earlier action has this id, nothing is
        written.
    sight
        Number of the row of table ``sight`` that describes what the person saw; see `mechtag.review.sight`.
    seconds
        Time that the person spent on the record.
    based_on
        Number of the latest event about the person's codes of the record at the time the page was loaded. If there is a
        later event, the page is outdated. ``None`` if the form did not contain this number.
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
    """Decorate a method that returns drafts of events, so that these events are written to the log.

    If an earlier action has the ``client_id`` of the stamp, nothing is written.
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
    """The actions of a review.

    Most methods write events to the log, and return the number of the first event. Callers leave out the argument
    ``connection``, which is filled in automatically, and pass a `Stamp` as the first argument.

    Parameters
    ----------
    store
        The database of the review.
    codebook
        The codebook in use.
    now
        Function that returns the time.
    within
        Open transaction in which the actions are written; by default, each action opens its own transaction.
    """

    store: Store
    codebook: Codebook
    now: Callable[[], str] = utc_now
    within: Connection | None = None

    def in_transaction(self, connection: Connection) -> Acts:
        """Return a copy of this object that writes all actions in the transaction of ``connection``.

        The caller commits the transaction. Some actions, such as `change_plan`, change the state of many records. After
        one of these, the caller must also call `Store.catch_up`.
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
        """Save a person's screening decision on a record.

        Parameters
        ----------
        value
            ``1`` to include the record, ``0`` to exclude it, or ``None`` to refer it to the adjudicator. If ``value``
            is ``None``, ``refer`` must be true.
        reason
            Reason for the exclusion; one of the reasons in the plan of the review.

        Raises
        ------
        Refused
            If the record does not exist; if an adjudicator has settled the record; if the plan requires a reason for an
            exclusion and ``reason`` is missing; or if the reason is not in the plan.
        Outdated
            If the person has decided on the record since the page was loaded.
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
        """Record a person's answer for one label of a record.

        Parameters
        ----------
        value
            ``1`` for yes, ``0`` for no, or ``None``; see ``refer``.
        refer
            If ``True``, ``None`` means needs review. If ``False``, ``None`` means not judged.
        stage
            ``code`` if the person read the abstract, or ``full-text`` if the person read the full text.

        Raises
        ------
        Refused
            If the record or the label does not exist; if ``stage`` is ``full-text`` and the record has no full text; or
            if an adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the page was loaded.
        """
        text = self._require_text(connection, record, stage)
        self._require_label(label)
        self._check(connection, stamp, record, stage, (label,))
        self._check_answer(value, refer, judged=False)
        content = {"v": value, "refer": refer, "reason": None, **_named(text)}
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
        """Set the sentences that support a label.

        If the label has no answer yet and at least one sentence is marked, the answer becomes yes.

        Parameters
        ----------
        sentences
            Numbers of sentences of the text, counted from 0. An empty list removes all marks.
        complete
            Whether the person has read all sentences. If ``True``, unmarked sentences count as not supporting the
            label.
        stage
            ``code`` if the person read the abstract, or ``full-text`` if the person read the full text.

        Raises
        ------
        Refused
            If the record, the label or a sentence does not exist; if ``stage`` is ``full-text`` and the record has no
            full text; or if an adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the page was loaded.
        """
        text = self._require_text(connection, record, stage)
        self._require_label(label)
        self._check(connection, stamp, record, stage, (label,))
        return self._marks(connection, stamp, record, stage, label, text, sentences, complete)

    def _marks(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        stage: str,
        label: str,
        text: Reading,
        sentences: Sequence[int],
        complete: bool,
    ) -> list[Draft]:
        """Return the events that mark sentences for a label.

        If the label has no answer yet, marking a sentence also answers yes.
        """
        numbers = self._check_sentences(text, sentences)
        marked = {"sentences": numbers, "complete": complete, **_named(text)}
        drafts = [Draft("evidence", record, stage, label, marked)]
        if numbers and label not in self._answered(connection, stamp.coder, record, stage):
            content = {"v": 1, "refer": False, "reason": None, **_named(text)}
            drafts.insert(0, Draft("code", record, stage, label, content))
        return drafts

    @_once
    def sign(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        label: str,
        sentence: int,
        sign: Sign | None,
        *,
        stage: str = "code",
    ) -> list[Draft]:
        """Record the sign of a sentence: whether what the label describes is present or absent in the sentence.

        If the sentence is not marked for the label, it is also marked; see `mark`.

        Parameters
        ----------
        sentence
            Number of the sentence, counted from 0.
        sign
            ``present``, ``absent`` or ``unclear``; see `Sign`. ``None`` removes an earlier sign.
        stage
            ``code`` if the person read the abstract, or ``full-text`` if the person read the full text.

        Raises
        ------
        Refused
            In these cases:

            - The record, the label, the sentence or the sign does not exist.
            - ``sign`` is ``None``, and the sentence is not marked for the label.
            - ``stage`` is ``full-text``, and the record has no full text.
            - An adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the page was loaded.
        """
        if sign not in (*SIGNS, None):
            raise Refused(f"a sentence cannot be marked as '{sign}'; choose one of {', '.join(SIGNS)}")
        text = self._require_text(connection, record, stage)
        self._require_label(label)
        self._check(connection, stamp, record, stage, (label,))
        self._check_sentences(text, [sentence])
        row = self._code_of(connection, stamp.coder, record, stage, label)
        marked = () if row is None else sentences_in(row, text.sha256)
        if sentence not in marked and sign is None:
            raise Refused("this sentence is not marked for the label; mark the sentence first")
        drafts = [Draft("sign", record, stage, label, {"sentence": sentence, "sign": sign, **_named(text)})]
        if sentence not in marked:
            complete = row is not None and bool(row.complete)
            drafts[:0] = self._marks(connection, stamp, record, stage, label, text, [*marked, sentence], complete)
        return drafts

    @_once
    def role(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        label: str,
        sentence: int,
        role: str,
        *,
        on: bool = True,
        stage: str = "code",
    ) -> list[Draft]:
        """Record a role, such as context or outcome, that a sentence has as evidence for a label.

        If the sentence is not marked for the label, it is also marked; see `mark`.

        Parameters
        ----------
        sentence
            Number of the sentence, counted from 0.
        role
            Key of one of the roles of evidence in the codebook.
        on
            If ``False``, the sentence loses the role, also in all configurations of the label.
        stage
            ``code`` if the person read the abstract, or ``full-text`` if the person read the full text.

        Raises
        ------
        Refused
            In these cases:

            - The record, the label, the sentence or the role does not exist.
            - ``on`` is ``False``, and the sentence does not have the role.
            - ``stage`` is ``full-text``, and the record has no full text.
            - An adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the page was loaded.
        """
        text = self._require_text(connection, record, stage)
        self._require_label(label)
        self._check(connection, stamp, record, stage, (label,))
        self._check_sentences(text, [sentence])
        row = self._code_of(connection, stamp.coder, record, stage, label)
        marked = () if row is None else sentences_in(row, text.sha256)
        known = {} if row is None else roles_of(row, marked).get(sentence, {})
        if on and role not in self.codebook.role_names:
            raise Refused(f"the codebook has no role '{role}'; reload the page")
        if not on and role not in known:
            raise Refused("the sentence does not have this role; reload the page")
        given = {"sentence": sentence, "role": role, "on": on, **_named(text)}
        drafts = [Draft("role", record, stage, label, given)]
        if sentence not in marked:
            complete = row is not None and bool(row.complete)
            drafts[:0] = self._marks(connection, stamp, record, stage, label, text, [*marked, sentence], complete)
        return drafts

    @_once
    def link(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        label: str,
        sentence: int,
        role: str,
        configuration: int,
        *,
        on: bool = True,
        stage: str = "code",
    ) -> list[Draft]:
        """Add a sentence to a configuration of a label.

        A configuration consists of sentences that together explain the label, each in a role such as context or
        outcome.

        Parameters
        ----------
        sentence
            Number of the sentence, counted from 0.
        role
            Role that the sentence has in the configuration. The sentence must already have this role for the label.
        configuration
            Number of one of the person's configurations for this label and record, counted from 1. The next unused
            number creates a configuration.
        on
            If ``False``, the sentence is removed from the configuration in this role.
        stage
            ``code`` if the person read the abstract, or ``full-text`` if the person read the full text.

        Raises
        ------
        Refused
            In these cases:

            - The record, the label or the configuration does not exist.
            - The sentence does not have the role.
            - ``on`` is ``False``, and the sentence is not in the configuration.
            - ``stage`` is ``full-text``, and the record has no full text.
            - An adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the page was loaded.
        """
        text = self._require_text(connection, record, stage)
        self._require_label(label)
        self._check(connection, stamp, record, stage, (label,))
        row = self._code_of(connection, stamp.coder, record, stage, label)
        roles = {} if row is None else roles_of(row, sentences_in(row, text.sha256))
        if role not in roles.get(sentence, {}):
            raise Refused(
                "the sentence does not have this role; give it the role before you link it to other sentences"
            )
        used = {number for own in roles.values() for numbers in own.values() for number in numbers}
        if not 1 <= configuration <= max(used, default=0) + 1:
            raise Refused(f"label '{label}' has no configuration {configuration} in this record; reload the page")
        if not on and configuration not in roles[sentence][role]:
            raise Refused(f"the sentence is not in configuration {configuration} of label '{label}'; reload the page")
        given = {"sentence": sentence, "role": role, "configuration": configuration, "on": on, **_named(text)}
        return [Draft("link", record, stage, label, given)]

    @_once
    def rest_no(
        self, connection: Connection, stamp: Stamp, record: int, labels: Sequence[str], *, stage: str = "code"
    ) -> list[Draft]:
        """Answer no for each of the given labels that has no answer yet.

        The action also records that the person has read all sentences for these labels.

        Parameters
        ----------
        stage
            ``code`` if the person read the abstract, or ``full-text`` if the person read the full text.

        Raises
        ------
        Refused
            If all given labels have an answer; if the record or a label does not exist; if ``stage`` is ``full-text``
            and the record has no full text; or if an adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the page was loaded.
        """
        named = _named(self._require_text(connection, record, stage))
        self._check(connection, stamp, record, stage, labels)
        drafts = list[Draft]()
        answered = self._answered(connection, stamp.coder, record, stage)
        for label in dict.fromkeys(labels):
            self._require_label(label)
            if label in answered:
                continue
            drafts.append(Draft("code", record, stage, label, {"v": 0, "refer": False, "reason": None, **named}))
            drafts.append(Draft("evidence", record, stage, label, {"sentences": [], "complete": True, **named}))
        if not drafts:
            raise Refused(
                "every label already has an answer, so nothing was changed; to change an answer, choose a different "
                "answer for that label"
            )
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
            ``accept`` (the code becomes what the model suggests), ``reject`` (the code becomes the opposite) or
            ``refer`` (the code becomes needs review).
        sentences
            Numbers of the sentences that support the label, counted from 0. They are used only if the code becomes yes.
        stage
            ``code`` if the person read the abstract, or ``full-text`` if the person read the full text.

        Raises
        ------
        Refused
            In these cases:

            - The record, the label or a sentence does not exist.
            - The page showed no suggestion for the label.
            - A suggestion that is neither yes nor no is accepted or rejected.
            - ``stage`` is ``full-text``, and the record has no full text.
            - An adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the page was loaded.
        """
        if answer not in ("accept", "reject", "refer"):
            raise Refused(f"'{answer}' is not an answer to a suggestion; use accept, reject or refer")
        text = self._require_text(connection, record, stage)
        self._require_label(label)
        self._check(connection, stamp, record, stage, (label,))
        seen = self._sight(connection, stamp, record, stage)
        shown = {} if seen is None or seen.suggested is None else json.loads(seen.suggested)
        if label not in shown:
            raise Refused("this page showed no suggestion for this label; reload the page", 409)
        decision, probability, _ = shown[label]
        if decision == "refer" and answer != "refer":
            raise Refused("mechtag suggests neither yes nor no for this label; answer yes or no yourself")
        numbers = self._check_sentences(text, sentences)
        value = None if answer == "refer" else int((decision == "yes") == (answer == "accept"))
        content = {"label": label, "answer": answer, "model_id": seen.model_id}
        content |= {"decision": decision, "probability": probability}
        drafts = [
            Draft("answer", record, stage, label, content),
            Draft("code", record, stage, label, {"v": value, "refer": value is None, "reason": None, **_named(text)}),
        ]
        if value == 1:
            marked = {"sentences": numbers, "complete": False, **_named(text)}
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
            Whether labels without an answer are allowed. They count as not judged.
        all_sentences
            Whether the person has read all sentences. If ``True``, unmarked sentences count as not supporting the
            labels. If labels were added to the codebook after the person had finished the record, and the person must
            still code them, this applies only to the new labels.
        stage
            ``code`` if the person read the abstract, or ``full-text`` if the person read the full text.

        Raises
        ------
        Refused
            In these cases:

            - The record does not exist.
            - No label has an answer.
            - Some labels have no answer, and ``open_labels`` is ``False``.
            - ``stage`` is ``full-text``, and the record has no full text.
            - An adjudicator has settled the record.
        Outdated
            If the person has changed the codes of the record since the page was loaded.
        """
        text = self._require_text(connection, record, stage)
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
                select(table.c.label, table.c.sentences, table.c.text).where(
                    table.c.record == record,
                    table.c.stage == stage,
                    table.c.coder == stamp.coder,
                    table.c.label.in_(answered & new if new else answered),
                )
            )
            drafts[:0] = [
                Draft(
                    *("evidence", record, stage, row.label),
                    {"sentences": sentences_in(row, text.sha256), "complete": True, **_named(text)},
                )
                for row in marks
            ]
        return drafts

    @_once
    def exemplify(
        self,
        connection: Connection,
        stamp: Stamp,
        record: int,
        label: str,
        sentence: int,
        *,
        on: bool = True,
        stage: str = "code",
    ) -> list[Draft]:
        """Choose a sentence as an example of a label for the codebook.

        Parameters
        ----------
        sentence
            Number of the sentence, counted from 0.
        on
            If ``False``, the sentence is no longer an example.
        stage
            ``code`` if the person read the abstract, or ``full-text`` if the person read the full text.

        Raises
        ------
        Refused
            In these cases:

            - The record or the label does not exist.
            - ``stage`` is ``full-text``, and the record has no full text.
            - ``on`` is ``True``, and the person has not marked the sentence for the label.
        """
        text = self._require_text(connection, record, stage)
        self._require_label(label)
        table = schema.current
        row = connection.execute(
            select(table).where(
                table.c.record == record,
                table.c.stage == stage,
                table.c.coder == stamp.coder,
                table.c.label == label,
                table.c.value == 1,
            )
        ).one_or_none()
        if on and (row is None or sentence not in sentences_in(row, text.sha256)):
            raise Refused(
                "only a sentence that you marked for this label can be an example of it; mark the sentence first"
            )
        return [Draft(EXAMPLE, record, stage, label, {"sentences": [sentence], "on": on, **_named(text)})]

    @_once
    def skip(self, connection: Connection, stamp: Stamp, record: int, stage: str) -> list[Draft]:
        """Put a record aside, so that this person sees it again after all other records.

        Raises
        ------
        Refused
            If people are screening a random sample, in which no record may be left out.
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
                "include the record, exclude it, or refer it to the adjudicator",
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
        """Record the final code that an adjudicator gives for a label of a record.

        The coders' own codes do not change.

        Parameters
        ----------
        value
            ``1`` for yes, or ``0`` for no.
        why
            Explanation of the final code.
        reason
            Reason for the exclusion; one of the reasons in the plan of the review.
        sentences
            Numbers of the sentences that support the label, counted from 0.

        Raises
        ------
        Refused
            In these cases:

            - The record is not included, or nobody has judged it.
            - The record belongs to a running calibration exercise.
            - ``stage`` is ``full-text``, and the record has no full text.
            - ``stage`` is ``screen``, and the label is not relevance.
            - The label, the code, the reason or a sentence does not exist.
        """
        decision = Settlement(record, stage, label, value, reason, tuple(sentences))
        return [self._settled(connection, decision, {"why": why})]

    def settle_together(self, stamp: Stamp, decisions: Sequence[Settlement], why: str) -> int:
        """Settle several records with one explanation.

        Undo and redo treat all these records as one action.

        Raises
        ------
        Refused
            If there are no decisions, if there is no explanation, or if `settle` would refuse one of the decisions.
            Nothing is settled then.
        """
        if not decisions:
            raise Refused("no record was chosen; tick the records to settle")
        if not why.strip():
            raise Refused("enter a reason for the final codes; one line is enough")
        more = {"why": why, "group": stamp.client_id}
        return self._write_together(
            stamp, lambda connection: ((self._settled(connection, each, more), each.sight) for each in decisions)
        )

    def _write_together(self, stamp: Stamp, make: Callable[[Connection], Iterable[tuple[Draft, int | None]]]) -> int:
        """Write several actions in one transaction, and return the number of the first action.

        For each action, ``make`` yields the event and the number of a row of table ``sight``. The row describes what
        the person saw; the number is ``None`` if there is no row.
        """
        with self._transaction() as connection:
            if sent := self._sent(connection, stamp):
                return sent
            acts = list[int]()
            # Undo and redo treat the actions as one, because their events contain the same ``group``.
            for draft, sight in make(connection):
                name = f"{stamp.client_id}/{len(acts)}" if acts else stamp.client_id
                acts.append(self._write(connection, Stamp(stamp.coder, name, sight), [draft]))
            return acts[0]

    def _settled(self, connection: Connection, decision: Settlement, more: dict[str, Any]) -> Draft:
        """Return the event that settles a label of a record, or raise `Refused` if the label cannot be settled."""
        record, stage, label = decision.record, decision.stage, decision.label
        self._require_stage(stage)
        if stage in BASES:
            self._require_label(label)
        elif label != self.codebook.relevance.key:
            raise Refused(f"the label '{label}' cannot be settled at screening; settle it at coding")
        if decision.value not in (0, 1):
            raise Refused("a final code must be yes or no; choose one of them")
        self._check_reason(connection, decision.reason)
        self._require_record(connection, record)
        head, _ = family_of(connection, record)
        text = read_reading(connection, self._require_record(connection, head), stage)
        numbers = self._check_sentences(text, decision.sentences)
        exercise = running_exercise(connection, stage)
        if exercise is not None and head in exercise.records:
            raise Refused(
                "this record belongs to the running calibration exercise; end the exercise, then settle the record",
                409,
            )
        _refuse_long(more["why"], "the explanation")
        state = self._state(connection, head, stage)
        if state is None:
            lacking = " or has no full text" if stage == "full-text" else ""
            raise Refused(
                f"this record is not included{lacking}, so there is nothing to settle; choose a different record", 409
            )
        if state == "open":
            raise Refused(
                "nobody has judged this record yet, so there is nothing to settle; wait until it has been judged", 409
            )
        content = {"v": decision.value, "reason": decision.reason, "sentences": numbers, **_named(text), **more}
        return Draft("settle", head, stage, label, content)

    @_once
    def reopen(
        self, connection: Connection, stamp: Stamp, record: int, stage: str, coder: int, message: str = ""
    ) -> list[Draft]:
        """Send a record back to one of its coders, with a message.

        The codes of this coder become a draft.

        Raises
        ------
        Refused
            If this coder has not judged the record at the stage ``stage``, such as ``code``; or if the message is
            longer than `LONGEST_TEXT`.
        """
        _refuse_long(message, "the message")
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
                "this person has not judged the record, so the record cannot be sent back to this person; choose "
                "somebody who has judged it",
                409,
            )
        content = {"coder": coder, "message": message}
        return [Draft("reopen", record, stage, None, content)]

    @_once
    def unblind(self, connection: Connection, stamp: Stamp, record: int, stage: str) -> list[Draft]:
        """Show all codes of a settled record to everyone. This action cannot be undone.

        Raises
        ------
        Refused
            If the record is not settled at the stage ``stage``, such as ``code``; if the record belongs to a running
            calibration exercise; or if everyone already sees its codes.
        """
        self._require_record(connection, record)
        self._require_stage(stage)
        head, members = family_of(connection, record)
        if head in hidden_records(connection, stage):
            raise Refused(
                "this record belongs to the running calibration exercise; end the exercise before you show its codes",
                409,
            )
        if self._state(connection, head, stage) != "settled":
            raise Refused(
                "this record is not settled yet; settle every label before you show its codes to everyone", 409
            )
        if read_plan(connection).unblinded or is_unblinded(connection, head, stage):
            raise Refused("everyone already sees the codes of this record; reload the page", 409)
        return [Draft("unblind", member, stage) for member in members]

    @_once
    def comment(self, connection: Connection, stamp: Stamp, record: int, text: str) -> list[Draft]:
        """Add a comment to the discussion of a record; adjudicators see the discussion when they settle the record.

        Raises
        ------
        Refused
            If the comment is empty, or longer than `LONGEST_TEXT`.
        """
        if not text.strip():
            raise Refused("the comment is empty; write some text")
        _refuse_long(text, "the comment")
        self._require_record(connection, record)
        return [Draft("comment", record, value={"text": text.strip()})]

    @_once
    def read_mention(self, connection: Connection, stamp: Stamp, mention: int) -> list[Draft]:
        """Remove a comment or note from the list of comments and notes in which the person is mentioned.

        Parameters
        ----------
        mention
            Number of the event of the comment or note.

        Raises
        ------
        Refused
            If there is no such comment or note.
        """
        table = schema.event
        record = connection.execute(
            select(table.c.record).where(table.c.seq == mention, table.c.kind.in_(("comment", "note")))
        ).scalar()
        if record is None:
            raise Refused("this comment or note does not exist; reload the page", 404)
        return [Draft(MENTION_READ, record, value={"mention": mention})]

    # Around a record -------------------------------------------------------------------------------------------------

    @_once
    def note(self, connection: Connection, stamp: Stamp, record: int, text: str, audience: str = "team") -> list[Draft]:
        """Save a person's note about a record.

        The note replaces the person's earlier note for the same audience.

        Parameters
        ----------
        text
            Text of the note; an empty text deletes the note.
        audience
            Who can read the note: ``me`` (only the person), ``team`` or ``adjudicator``.

        Raises
        ------
        Refused
            If there is no such record or audience, or if the note is longer than `LONGEST_TEXT`.
        """
        if audience not in ("me", "team", "adjudicator"):
            raise Refused(f"a note cannot be written for '{audience}'; use 'me', 'team' or 'adjudicator'")
        _refuse_long(text, "the note")
        self._require_record(connection, record)
        return [Draft("note", record, value={"text": text, "for": audience})]

    @_once
    def tag(self, connection: Connection, stamp: Stamp, record: int, tag: str, *, on: bool = True) -> list[Draft]:
        """Add a free-text tag to a record; if ``on`` is ``False``, remove the tag.

        Raises
        ------
        Refused
            If the record does not exist, or if the tag is empty or longer than `LONGEST_TAG`.
        """
        return [self._tagged(connection, record, tag, {"on": on})]

    def tag_together(self, stamp: Stamp, records: Sequence[int], tag: str) -> int:
        """Add a free-text tag to several records.

        Undo and redo treat all these records as one action.

        Raises
        ------
        Refused
            If there are no records, if a record does not exist, or if the tag is empty or longer than `LONGEST_TAG`.
        """
        if not records:
            raise Refused("no record was chosen; tick the records to tag, or choose all")
        more = {"on": True, "group": stamp.client_id}
        return self._write_together(
            stamp, lambda connection: ((self._tagged(connection, record, tag, more), None) for record in records)
        )

    def _tagged(self, connection: Connection, record: int, tag: str, more: Mapping[str, Any]) -> Draft:
        """Return the event that adds a tag to a record, or removes it if ``more["on"]`` is ``False``."""
        name = " ".join(tag.split())
        if not name:
            raise Refused("the tag is empty; enter a word or two")
        _refuse_long(name, "the tag", LONGEST_TAG)
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
        name
            ``title`` or ``abstract``.
        text
            The new text.
        source
            Name of the service from which the text was fetched; ``""`` if a person entered the text.
        group
            Name of a group of actions that are undone and redone together; ``""`` if this action has no group.

        Raises
        ------
        Refused
            If ``name`` is neither ``title`` nor ``abstract``, or if the text is longer than `LONGEST_TEXT`. If somebody
            has marked sentences of the abstract, and ``name`` is ``abstract``: the marks are sentence numbers, which
            could be wrong after the change.
        """
        if name not in ("title", "abstract"):
            raise Refused(f"the field '{name}' cannot be corrected; only the title and the abstract can be corrected")
        _refuse_long(text, f"the {name}")
        entry = self._require_record(connection, record)
        table = schema.current
        marked = connection.execute(
            select(table.c.record).where(
                table.c.record == record, table.c.stage != "full-text", table.c.sentences != "[]"
            )
        ).first()
        if name == "abstract" and marked:
            raise Refused(
                "people have marked sentences of this abstract; ask them to remove their marks before you change the "
                "abstract",
                409,
            )
        content = {"field": name, "old": getattr(entry, name), "new": text.strip()}
        content |= {key: value for key, value in (("source", source), ("group", group)) if value}
        return [Draft("edit_record", record, value=content)]

    @_once
    def attach(self, connection: Connection, stamp: Stamp, record: int, file: int, found_by: str) -> list[Draft]:
        """Attach a file to a record as its full text; the file replaces any other full text of the record.

        Parameters
        ----------
        file
            Number of the row of table ``full_text``.
        found_by
            How the record was identified, such as ``DOI``; ``person`` if a person chose the record.

        Raises
        ------
        Refused
            In these cases:

            - The record does not exist, or somebody has already coded it from its full text.
            - The file does not exist, could not be read, or is already attached to a record.
        """
        self._require_record(connection, record)
        table, attachment = schema.full_text, schema.attachment
        row = connection.execute(select(table).where(table.c.id == file)).one_or_none()
        if row is None or row.state != "read":
            raise Refused(
                "this file does not exist or could not be read, so it cannot be attached; upload it again", 404
            )
        holder = connection.execute(select(attachment.c.record).where(attachment.c.sha256 == row.sha256)).scalar()
        if holder is not None:
            raise Refused("this file is already attached to a record; detach it from that record first", 409)
        self._refuse_if_coded_by_full_text(connection, record)
        return [Draft("attach", record, value={"sha256": row.sha256, "name": row.name, "by": found_by})]

    @_once
    def detach(self, connection: Connection, stamp: Stamp, record: int) -> list[Draft]:
        """Detach the full text of a record.

        Raises
        ------
        Refused
            If no file is attached to the record, or if somebody has coded the record from its full text.
        """
        self._require_record(connection, record)
        table = schema.attachment
        sha256 = connection.execute(select(table.c.sha256).where(table.c.record == record)).scalar()
        if sha256 is None:
            raise Refused(
                "no full text is attached to this record, so there is nothing to detach; reload the page", 409
            )
        self._refuse_if_coded_by_full_text(connection, record)
        return [Draft("detach", record, value={"sha256": sha256})]

    @_once
    def delete_file(self, connection: Connection, stamp: Stamp, file: int) -> list[Draft]:
        """Delete the text that was read from an uploaded file; see `mechtag.review.full_texts.delete_file`.

        Raises
        ------
        Refused
            If there is no such file, or if the file is attached to a record.
        """
        table, attachment = schema.full_text, schema.attachment
        row = connection.execute(select(table).where(table.c.id == file)).one_or_none()
        if row is None:
            raise Refused("this file does not exist; it may have been deleted. Reload the Full texts page", 404)
        if connection.execute(select(attachment.c.record).where(attachment.c.sha256 == row.sha256)).first() is not None:
            raise Refused("this file is attached to a record; detach it from that record first", 409)
        connection.execute(delete(table).where(table.c.id == file))
        return [Draft("delete_file", value={"sha256": row.sha256, "name": row.name})]

    @staticmethod
    def _refuse_if_coded_by_full_text(connection: Connection, record: int) -> None:
        """Raise `Refused` if somebody has coded the record from its full text."""
        table = schema.current
        _, members = family_of(connection, record)
        coded = connection.execute(
            select(table.c.record).where(table.c.record.in_(members), table.c.stage == "full-text")
        ).first()
        if coded is not None:
            raise Refused(
                "the full text of this record cannot be replaced or detached, because the record has been coded from "
                "it; ask the coders to undo these codes first",
                409,
            )

    @_once
    def join(self, connection: Connection, stamp: Stamp, record: int, into: int) -> list[Draft]:
        """Join a record to another record as its duplicate.

        Afterwards, a decision about one of the two records counts for both.

        Raises
        ------
        Refused
            If both numbers belong to the same record; if the records are already joined; or if they were marked as
            different papers.
        """
        self._require_record(connection, record)
        self._require_record(connection, into)
        head, other = family_of(connection, into)[0], family_of(connection, record)[0]
        if head == other:
            raise Refused("these records are already joined; reload the page", 409)
        if any_apart(connection, head, other):
            raise Refused(
                "somebody has marked these records as different papers; the Activity page shows who did. Ask that "
                "person to undo the action, then join the records",
                409,
            )
        return [Draft("join", other, value={"into": head})]

    @_once
    def split(self, connection: Connection, stamp: Stamp, record: int) -> list[Draft]:
        """Separate a record from the record to which it was joined, and mark the two records as different papers.

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
            Number of the row of table ``copy`` that describes the duplicate.

        Raises
        ------
        Refused
            If there is no such duplicate, or if it is already a separate record.
        """
        record = record_of_copy(connection, copy)
        if record is None:
            raise Refused("this duplicate does not exist in this review; reload the page", 404)
        return self._split(connection, record)

    @staticmethod
    def _split(connection: Connection, record: int) -> list[Draft]:
        head, _ = family_of(connection, record)
        if head == record:
            raise Refused(
                "this record is not joined to another record, so it cannot be separated; reload the page", 409
            )
        return [Draft("split", record), Draft("differ", record, value={"other": head})]

    @_once
    def differ(self, connection: Connection, stamp: Stamp, record: int, other: int) -> list[Draft]:
        """Record that two records are different papers.

        Raises
        ------
        Refused
            If both numbers belong to the same record, or if the records are joined.
        """
        self._require_record(connection, record)
        self._require_record(connection, other)
        if family_of(connection, record)[0] == family_of(connection, other)[0]:
            raise Refused("these records are joined as duplicates; separate them first", 409)
        return [Draft("differ", record, value={"other": other})]

    # The review ------------------------------------------------------------------------------------------------------

    @_once
    def change_plan(self, connection: Connection, stamp: Stamp, key: str, value: Any, *, why: str = "") -> list[Draft]:
        """Change a setting of the plan; see `mechtag.review.plan.Plan`.

        Raises
        ------
        Refused
            If the setting does not exist; if the value is not allowed; if ``key`` is ``unblinded`` and blinding has
            already ended; or if blinding would end while a calibration exercise is running.
        """
        before = read_plan(connection).model_dump(mode="json")
        if key not in before:
            raise Refused(f"the plan has no setting '{key}'; reload the page")
        try:
            after = Plan.model_validate({**before, key: value}).model_dump(mode="json")
        except ValueError:
            raise Refused(
                f"the setting '{key}' of the plan cannot have the value {value!r}; choose a different value"
            ) from None
        if key == "unblinded" and before[key]:
            raise Refused(
                "blinding has ended and cannot be restored, because people may already have seen other people's codes",
                409,
            )
        if key == "unblinded" and after[key] and running_exercise(connection) is not None:
            raise Refused("a calibration exercise is running; end the exercise before you end blinding", 409)
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

        If ``role`` is ``None``, the role stays as it is. If ``state`` is ``None``, the state stays as it is.

        Parameters
        ----------
        state
            ``active``: the person can sign in, and the person's codes count. ``left``: the person cannot sign in, but
            the person's codes count. ``withdrawn``: the person cannot sign in, and the person's codes do not count.

        Raises
        ------
        Refused
            If the person, the role or the state does not exist, or if the review would have no active owner.
        """
        if role is not None and role not in ROLES:
            raise Refused(f"'{role}' is not a role; use one of {', '.join(ROLES)}")
        if state not in (None, "active", "left", "withdrawn"):
            raise Refused(f"'{state}' is not a possible state of a person; use 'active', 'left' or 'withdrawn'")
        table = schema.account
        if connection.execute(select(table.c.id).where(table.c.id == account)).first() is None:
            raise Refused(f"there is no person with the number {account} in this review; reload the page", 404)
        owners = connection.execute(
            select(table.c.id).where(table.c.role == "owner", table.c.state == "active")
        ).scalars()
        stays = role in (None, "owner") and state in (None, "active")
        if not stays and set(owners) <= {account}:
            raise Refused("the review would have no owner; give somebody else the role of owner first", 409)
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
            Numbers of records that nobody has judged at the stage ``stage`` (such as ``screen``), in random order.
        coders
            Account numbers of the people who judge all these records.

        Raises
        ------
        Refused
            In these cases:

            - An exercise is already running, or blinding has ended.
            - There are fewer than two records, or fewer than two people.
            - One of the people cannot code.
            - One of the records is not in the result of `mechtag.review.store.exercises.records_to_draw`.
        """
        self._require_stage(stage)
        if running_exercise(connection) is not None:
            raise Refused("a calibration exercise is already running; end it before you start the next one", 409)
        if read_plan(connection).unblinded:
            raise Refused(
                "blinding has ended, so no calibration exercise can be started; people no longer judge independently",
                409,
            )
        people = sorted(set(coders))
        table = schema.account
        active = set(
            connection.execute(
                select(table.c.id).where(table.c.state == "active", table.c.role.in_(CODING_ROLES))
            ).scalars()
        )
        if not active.issuperset(people):
            raise Refused("some of the chosen people cannot code; choose only active owners, adjudicators and coders")
        if len(people) < 2:
            raise Refused("a calibration exercise needs at least two people; choose more people")
        if len(records) < 2:
            raise Refused(
                "a calibration exercise needs at least two records that nobody has judged yet; import more records"
            )
        names = [self._require_record(connection, record).record_id for record in records]
        if not set(records_to_draw(connection, stage)).issuperset(records):
            raise Refused("some of the drawn records have changed since they were drawn; start the exercise again", 409)
        return [Draft(EXERCISE, value={"stage": stage, "records": names, "coders": people})]

    @_once
    def end_exercise(self, connection: Connection, stamp: Stamp, *, keep: bool) -> list[Draft]:
        """End the running calibration exercise.

        In a calibration exercise, several people judge the same records before the real work.

        Parameters
        ----------
        keep
            If ``True``, the codes of the exercise count like all other codes. If ``False``, the codes become drafts,
            and the coders judge the records again.

        Raises
        ------
        Refused
            If no exercise is running.
        """
        exercise = running_exercise(connection)
        if exercise is None:
            raise Refused("no calibration exercise is running, so there is nothing to end; reload the page", 409)
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
        """Record the decision to stop screening; `resume_screening` reverses it.

        Parameters
        ----------
        verdict
            Result of the stopping rule at this time.
        why
            Reason for stopping, which appears in the report.

        Raises
        ------
        Refused
            If screening has already been stopped.
        """
        if is_stopped(connection):
            raise Refused("screening has already been stopped; reload the page", 409)
        return [Draft("stop", value={"verdict": verdict, "why": why})]

    @_once
    def resume_screening(self, connection: Connection, stamp: Stamp) -> list[Draft]:
        """Resume screening after it was stopped.

        Raises
        ------
        Refused
            If screening has not been stopped.
        """
        if not is_stopped(connection):
            raise Refused("screening has not been stopped, so it cannot be resumed; reload the page", 409)
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
        """Add the codes that one person gave to one record outside the review page.

        The codes count immediately, as if the person had finished the record.

        Parameters
        ----------
        codes
            One mapping for each code, with these keys:

            - ``label``, ``stage`` and ``date``
            - ``value``: ``1``, ``0``, or ``None`` for needs review
            - ``sentences``: numbers of the marked sentences
            - ``refer`` (optional): whether the answer is needs review
            - ``reason`` (optional): reason for an exclusion, which need not be in the plan
            - ``signs`` (optional): signs of sentences, keyed by sentence number
            - ``roles`` (optional): pairs of sentence number and role
        more
            Fields to add to each event of kind ``code``:

            - ``group``: name shared by all codes of an import
            - ``by``: account number of the person who imports the codes

        Raises
        ------
        Refused
            If an adjudicator has settled the record; if the person has already judged one of the labels; or if a code
            has the stage ``full-text``, but the record has no full text.
        """
        self._require_record(connection, record)
        drafts = list[Draft]()
        for code in codes:
            label, stage = code["label"], code["stage"]
            if stage in BASES:
                self._require_label(label)
            refer = bool(code.get("refer"))
            self._check_answer(code["value"], refer)
            reason = code.get("reason") if stage == "screen" and code["value"] == 0 else None
            _refuse_long(reason or "", "the reason")
            self._check(connection, stamp, record, stage)
            if self._code_of(connection, stamp.coder, record, stage, label) is not None:
                raise Refused(
                    "this person has already judged this label of the record; the imported answer is not added",
                    409,
                )
            text = self._require_text(connection, record, stage) if stage in BASES else None
            named = {} if text is None else _named(text)
            content = {"v": code["value"], "refer": refer, "reason": reason, "how": "imported", **named, **more}
            drafts.append(Draft("code", record, stage, label, content | {"date": code["date"]}))
            if text is not None and code["value"] == 1 and code["sentences"]:
                numbers = self._check_sentences(text, code["sentences"])
                marked = {"sentences": numbers, "complete": False, "how": "imported", **named}
                drafts.append(Draft("evidence", record, stage, label, marked))
                for number, sign in code.get("signs", {}).items():
                    given = {"sentence": number, "sign": sign, "how": "imported", **named}
                    drafts.append(Draft("sign", record, stage, label, given))
                for number, role in code.get("roles", ()):
                    given = {"sentence": number, "role": role, "on": True, "how": "imported", **named}
                    drafts.append(Draft("role", record, stage, label, given))
        return drafts

    @_once
    def undo_import(self, connection: Connection, stamp: Stamp, acts: Sequence[int]) -> list[Draft]:
        """Undo actions that `import_codes` wrote, even if the actions are recorded under other people's names.

        Parameters
        ----------
        acts
            Numbers of the actions.
        """
        return [Draft("undo", undoes=act) for act in acts]

    @_once
    def reverse_merge(
        self, connection: Connection, stamp: Stamp, plan: Callable[[Connection], list[Draft]]
    ) -> list[Draft]:
        """Undo the import of a copy of this review, or repeat the import after it was undone.

        All events are written as one action.

        Parameters
        ----------
        plan
            Function that returns the events to write, or raises `Refused`; see `mechtag.review.merge_undo.plan_undo`.
        """
        return plan(connection)

    @_once
    def log(self, connection: Connection, stamp: Stamp, kind: str, content: dict[str, Any]) -> list[Draft]:
        """Record an event that concerns the whole review, such as an import, a training or a changed codebook."""
        return [Draft(kind, value=content)]

    # Undo ------------------------------------------------------------------------------------------------------------

    def undo(self, stamp: Stamp) -> tuple[int, int | None]:
        """Undo the person's last action that can be undone.

        Returns
        -------
        act, record
            Number of the undone action, and number of its record; ``None`` if the action was not about a record.

        Raises
        ------
        Refused
            If there is nothing to undo; if the action ended blinding; or if later work of somebody else depends on the
            action.
        """
        with self._transaction() as connection:
            if (known := self._undone(connection, stamp)) is not None:
                return known
            act = self._last_done(connection, stamp.coder)
            if act is None:
                raise Refused("there is nothing to undo", 409)
            if act.kind == "setting" and json.loads(act.value)["key"] == "unblinded":
                raise Refused(
                    "the end of blinding cannot be undone, because people may already have seen other people's codes",
                    409,
                )
            return self._reverse(connection, stamp, "undo", act)

    def redo(self, stamp: Stamp) -> tuple[int, int | None]:
        """Redo the action that the person undid last.

        Returns
        -------
        act, record
            Number of the redone action, and number of its record; ``None`` if the action was not about a record.

        Raises
        ------
        Refused
            If the person has not undone an action, or has taken a new action since. If later work of somebody else
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
        """Undo or redo an action and all other actions of its group.

        Returns the event number and the record of the first action of the group.
        """
        table = schema.event
        group = json.loads(act.value).get("group")
        acts = [act]
        if group is not None:
            same = (table.c.coder == act.coder, func.json_extract(table.c.value, "$.group") == group)
            acts = list(connection.execute(select(table).where(*same, table.c.kind == act.kind).order_by(table.c.seq)))
        for each in acts:
            self._refuse_if_depended_on(connection, each, stamp.coder)
        self._write(connection, stamp, [Draft(kind, undoes=each.seq) for each in acts])
        return acts[0].seq, acts[0].record

    @staticmethod
    def _last_done(connection: Connection, coder: int) -> Any:
        """Return the first event of the action that a person can undo next, or ``None``."""
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
        """Return the first event of the action that a person can redo next, or ``None``."""
        table, later = schema.event, schema.event.alias()
        done_since = exists().where(
            later.c.coder == coder, later.c.seq > table.c.seq, later.c.part == 0, later.c.kind.not_in(_NOT_UNDONE)
        )
        changed_since = exists().where(later.c.undoes == table.c.undoes, later.c.seq > table.c.seq)
        act = connection.execute(
            select(table.c.undoes)
            # The undo of an import is an action of its own, whose first event is of a different kind.
            .where(table.c.coder == coder, table.c.kind == "undo", table.c.part == 0, ~done_since, ~changed_since)
            .order_by(table.c.seq.desc())
            .limit(1)
        ).scalar()
        return connection.execute(select(table).where(table.c.seq == act)).one_or_none()

    @staticmethod
    def _refuse_if_depended_on(connection: Connection, act: Any, coder: int) -> None:
        """Raise `Refused` if an action cannot be undone or redone because later work of somebody else depends on it."""
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
                f"you cannot undo or redo this action yet, because later work of {later} depends on it; ask {later} to "
                "undo that work first",
                409,
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
        """Return the number of the action that was already written with the ``client_id`` of a stamp, or ``None``."""
        table = schema.event
        row = connection.execute(
            select(table.c.act, table.c.coder).where(table.c.client_id == stamp.client_id, table.c.part == 0)
        ).one_or_none()
        if row is None:
            return None
        if row.coder != stamp.coder:
            raise Refused("a different person has already sent this form; reload the page", 409)
        return int(row.act)

    def _undone(self, connection: Connection, stamp: Stamp) -> tuple[int, int | None] | None:
        """Return the event number and the record of the action that an earlier request has undone or redone.

        The earlier request has the same ``client_id``. If there is no such request, the result is ``None``.
        """
        table = schema.event
        sent = self._sent(connection, stamp)
        if sent is None:
            return None
        row = connection.execute(select(table.c.undoes, table.c.record).where(table.c.seq == sent)).one()
        if row.undoes is None:
            raise Refused("this form has already been sent for a different action; reload the page", 409)
        return int(row.undoes), row.record

    @staticmethod
    def _code_of(connection: Connection, coder: int, record: int, stage: str, label: str) -> Any:
        """Return a person's row in table ``current`` for a label of a record, or ``None``."""
        table = schema.current
        own = {"record": record, "stage": stage, "coder": coder, "label": label}
        return connection.execute(select(table).filter_by(**own)).one_or_none()

    @staticmethod
    def _answered(connection: Connection, coder: int, record: int, stage: str) -> set[str]:
        """Return the keys of the labels that a person has answered for a record at a stage."""
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
            raise Refused(f"there is no record {record} in this review; reload the page", 404)
        return entry

    def _require_text(self, connection: Connection, record: int, stage: str) -> Reading:
        """Return the text that is coded at a stage, or raise `Refused` if the record has no such text."""
        if stage not in BASES:
            raise Refused(f"records are not coded at the stage '{stage}'; use one of the stages {', '.join(BASES)}")
        text = read_reading(connection, self._require_record(connection, record), stage)
        if stage == "full-text" and not text.sha256:
            raise Refused("no full text is attached to this record; attach its file on the Full texts page", 409)
        return text

    def _require_label(self, label: str) -> None:
        if label not in self.codebook.keys:
            raise Refused(f"the codebook has no label '{label}'; reload the page")

    @staticmethod
    def _check_answer(value: int | None, refer: bool, judged: bool = True) -> None:
        if value not in (0, 1, None) or (refer and value is not None) or (judged and value is None and not refer):
            raise Refused("this answer is not possible; answer yes, no or needs review")

    @staticmethod
    def _require_stage(stage: str) -> None:
        if stage not in STAGES:
            raise Refused(f"there is no stage '{stage}'; use one of {', '.join(STAGES)}")

    @staticmethod
    def _check_sentences(text: Reading, sentences: Sequence[int]) -> list[int]:
        numbers = sorted(set(sentences))
        if numbers and not 0 <= numbers[0] <= numbers[-1] < len(text.sentences):
            what = "full text" if text.sha256 else "abstract"
            raise Refused(
                f"the {what} has only {len(text.sentences)} sentences; reload the page and choose one of these "
                "sentences"
            )
        return numbers

    @staticmethod
    def _check_reason(connection: Connection, reason: str | None) -> None:
        if reason and reason not in read_plan(connection).exclusion_reasons:
            raise Refused(
                f"the reason '{reason}' is not in the list of reasons for exclusion in the plan; choose a reason from "
                "the list"
            )

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
        """Raise `Refused` if a person may not code a record now, or `Outdated` if the person's page is out of date."""
        if stamp.sight is not None and self._sight(connection, stamp, record, stage) is None:
            raise Refused("this form belongs to a different record or person; reload the page", 409)
        head, _ = family_of(connection, record)
        table = schema.final
        settled = connection.execute(
            select(table.c.record).where(table.c.record == head, table.c.stage == stage, table.c.how == "adjudicated")
        ).first()
        # Labels that were added to the codebook later may be coded even if the record is settled.
        new = owed_labels(connection, stamp.coder, record, stage) if settled is not None else set[str]()
        if settled is not None and not (labels and new.issuperset(labels)):
            raise Refused(
                "an adjudicator has settled this record; to change your codes, ask an adjudicator to send the record "
                "back to you",
                409,
            )
        if stamp.based_on is not None:
            last = last_judged(connection, stamp.coder, record, stage)
            if last > stamp.based_on:
                raise Outdated(
                    "after this page was loaded, you changed your codes of this record in a different window; reload "
                    "the page to see these codes"
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
    """Return the number of the last event in which a person judged a record, or undid or redid a judgement of it.

    If there is no such event, the result is 0.
    """
    found = connection.execute(_LAST_JUDGED, {"coder": coder, "record": record, "stage": stage}).scalar_one()
    return int(found or 0)
