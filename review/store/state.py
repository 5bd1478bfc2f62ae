"""Compute the state of a record from the events about the record.

The same function, `derive`, is used when an event is added and when the tables are computed again from the log, so the
results cannot differ. Events of undone actions are ignored, so undoing an action restores the previous state exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from mechtag.review.plan import BASES, STAGES

# Number of a record, and account number of a person who judged it. Joined records keep their own judgements.
_Voter = tuple[int, int]


@dataclass(frozen=True)
class Event:
    """One event of the log, and what the person who caused the event had seen before.

    Attributes
    ----------
    seq
        Number of the event.
    act
        Number of the action to which the event belongs.
    kind, record, stage, label, value, undoes
        See `mechtag.review.store.events.Draft`.
    at, coder, codebook
        See `mechtag.review.store.events.Act`.
    assisted
        Whether the person had seen suggestions of a model; ``None`` if this is unknown.
    others_shown
        Whether the person had seen the codes of others.
    model_id
        Id of the model whose suggestions the person had seen.
    """

    seq: int
    act: int
    at: str
    coder: int
    kind: str
    record: int | None
    stage: str | None
    label: str | None
    value: Mapping[str, Any]
    undoes: int | None = None
    assisted: bool | None = None
    others_shown: bool = False
    model_id: str | None = None
    codebook: str = ""


@dataclass(frozen=True)
class Code:
    """A coder's answer for one label of one record, with the columns of table ``current``.

    Attributes
    ----------
    signs
        Signs of the marked sentences (``present``, ``absent`` or ``unclear``), keyed by number of the sentence.
        Sentences without a sign are left out.
    roles
        Roles of evidence of the marked sentences. ``roles[number][role]`` lists the configurations (groups of linked
        sentences) in which sentence ``number`` has the role.
    text
        SHA-256 of the full text in which the sentences were marked; ``""`` for an abstract or an unknown file.
    """

    record: int
    stage: str
    coder: int
    label: str
    value: int | None = None
    refer: bool = False
    reason: str | None = None
    sentences: tuple[int, ...] = ()
    signs: Mapping[int, str] = field(default_factory=dict)
    roles: Mapping[int, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    text: str = ""
    complete: bool = False
    assisted: bool | None = None
    others_shown: bool = False
    committed: bool = False
    first_value: int | None = None
    first_refer: bool | None = None
    first_assisted: bool | None = None
    model_id: str | None = None
    codebook: str = ""
    at: str = ""
    event: int = 0

    @property
    def answer(self) -> tuple[int | None, bool]:
        """Return the value of the code, and whether the coder answered *needs review*.

        Coders agree if their answers are equal.
        """
        return self.value, self.refer


@dataclass(frozen=True)
class Final:
    """The final code of one label of a record: a row of table ``final``.

    Attributes
    ----------
    signs
        Signs on which the coders agree (``present``, ``absent`` or ``unclear``), keyed by number of the marked
        sentence.
    how
        Who gave the final code: ``single`` (one coder), ``agreed`` (all coders, who agree) or ``adjudicated`` (an
        adjudicator).
    """

    record: int
    stage: str
    label: str
    value: int | None
    reason: str | None
    sentences: tuple[int, ...]
    signs: Mapping[int, str]
    complete: bool
    how: str
    event: int


@dataclass(frozen=True)
class Need:
    """The state of a record at a stage (such as ``screen``), with the columns of table ``need``.

    Attributes
    ----------
    have
        Number of people who have judged the record.
    state
        ``open`` (nobody has judged the record), ``waiting`` (another person must judge it), ``conflict`` (people gave
        different codes), ``referred`` (somebody referred a label to the adjudicator) or ``settled`` (no further
        judgement is needed).
    labels
        Labels that an adjudicator has to settle, in alphabetical order.
    event
        Number of the last event that led to the state; 0 if there is none.
    """

    record: int
    stage: str
    have: int
    state: str
    labels: tuple[str, ...]
    event: int


@dataclass(frozen=True)
class Rules:
    """Rules by which the state of a record is computed from the events about the record.

    Attributes
    ----------
    wanted
        Number of people who must judge each record, keyed by stage, such as ``screen``.
    withdrawn
        Account numbers of people whose codes do not count.
    retired
        Keys of labels that were removed from the codebook. Codes for these labels are kept, but nobody has to settle
        disagreements on them.
    added
        Number of the event that added a label during the review, keyed by label key. People who finished a record
        before this event must still code the record for the label.
    away
        Account numbers of people who can no longer code, and who therefore need not code new labels.
    """

    wanted: Mapping[str, int]
    withdrawn: Set[int] = frozenset()
    retired: Set[str] = frozenset()
    added: Mapping[str, int] = field(default_factory=dict)
    away: Set[int] = frozenset()


@dataclass
class State:
    """All codes and states that follow from the events about a record and its joined records."""

    codes: list[Code] = field(default_factory=list)
    finals: list[Final] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)
    notes: dict[tuple[int, int, str], tuple[str, int]] = field(default_factory=dict)
    tags: dict[tuple[int, str], int] = field(default_factory=dict)
    skips: dict[tuple[int, str, int], int] = field(default_factory=dict)
    # Current value of each field of a record that was ever edited, even if the edit was undone.
    texts: dict[tuple[int, str], str] = field(default_factory=dict)
    # Record, person, stage and label, for each new label that a person must still code.
    owed: set[tuple[int, int, str, str]] = field(default_factory=set)
    # Record, with the hash of the file of its full text, how the record was identified, and the number of the event.
    attached: dict[int, tuple[str, str, int]] = field(default_factory=dict)
    # Record whose file is the full text of the paper, and the hash of this file.
    reading: tuple[int, str] | None = None


def alive(events: Iterable[Event]) -> list[Event]:
    """Return the events in the order of their numbers, without undone actions and without undo and redo events."""
    rows = sorted(events, key=lambda each: each.seq)
    dead = set[int | None]()
    for row in rows:
        if row.kind == "undo":
            dead.add(row.undoes)
        elif row.kind == "redo":
            dead.discard(row.undoes)
    return [row for row in rows if row.kind not in ("undo", "redo") and row.act not in dead]


def derive(events: Sequence[Event], head: int, rules: Rules) -> State:
    """Compute the state of a record from its events.

    If several records were joined, compute their common state.

    Parameters
    ----------
    events
        All events about the record and the records joined to it, in the order of their numbers. Undo and redo events
        are included.
    head
        Number of the record. If several records were joined, the number of the record that represents them.
    rules
        Rules of the review; see `Rules`.
    """
    found = State()
    codes = dict[tuple[str, _Voter, str], Code]()
    committed = dict[tuple[str, _Voter], int]()
    finished = set[tuple[str, _Voter]]()
    # Number of the event with which each person last finished the record; later labels are new to the person.
    asked = dict[tuple[str, _Voter], int]()
    settled = dict[tuple[str, str], Event]()
    # Files by which the paper was coded, in the order of the first code.
    coded_by = dict[str, None]()
    for row in events:
        if row.kind == "edit_record":
            found.texts.setdefault((row.record or 0, str(row.value["field"])), str(row.value["old"]))
    for row in alive(events):
        if row.record is None:
            continue
        voter, stage = (row.record, row.coder), row.stage or ""
        text = _text_of(found, row)
        if text and row.kind in ("code", "evidence", "settle"):
            coded_by[text] = None
        match row.kind:
            case "sign" | "role" | "link" if (stage, voter, row.label or "") not in codes:
                pass  # The marked sentence was taken back.
            case "code" | "evidence" | "sign" | "role" | "link":
                code = codes.get((stage, voter, row.label or ""))
                imported = row.value.get("how") == "imported"
                if imported:
                    asked[stage, voter] = row.seq
                new = _new_labels(rules, codes, stage, voter, asked.get((stage, voter)))
                if code is None and (stage, voter) in finished and row.label not in new:
                    # The person first committed the record without an answer for this label.
                    code = Code(row.record, stage, row.coder, row.label or "", first_refer=False)
                codes[stage, voter, row.label or ""] = _code_after(code, row, text)
                if stage == "screen" or imported or (stage, voter) in committed:
                    committed[stage, voter] = row.seq
                    _commit(codes, stage, voter, new)
                found.skips.pop((row.record, stage, row.coder), None)
            case "commit":
                finished.add((stage, voter))
                asked[stage, voter] = committed[stage, voter] = row.seq
                _commit(codes, stage, voter)
                found.skips.pop((row.record, stage, row.coder), None)
            case "reopen":
                # The person's codes become a draft, and decisions of an adjudicator at this stage do not count any
                # more.
                for key in [key for key in committed if key[0] == stage and key[1][1] == row.value["coder"]]:
                    del committed[key]
                codes |= {
                    key: replace(code, committed=False)
                    for key, code in codes.items()
                    if key[0] == stage and code.coder == row.value["coder"]
                }
                settled = {spot: settle for spot, settle in settled.items() if spot[0] != stage}
            case "settle":
                settled[stage, row.label or ""] = row
            case "skip":
                found.skips[row.record, stage, row.coder] = row.seq
            case "note":
                spot3 = (row.record, row.coder, str(row.value["for"]))
                found.notes.pop(spot3, None)
                if row.value["text"]:
                    found.notes[spot3] = str(row.value["text"]), row.seq
            case "tag":
                found.tags.pop((row.record, str(row.value["tag"])), None)
                if row.value["on"]:
                    found.tags[row.record, str(row.value["tag"])] = row.seq
            case "edit_record":
                found.texts[row.record, str(row.value["field"])] = str(row.value["new"])
            case "attach":
                found.attached[row.record] = str(row.value["sha256"]), str(row.value["by"]), row.seq
            case "detach":
                found.attached.pop(row.record, None)
    found.codes = list(codes.values())
    found.reading = _choose_text(found, head, list(coded_by))
    for stage in STAGES:
        voters = {
            voter: seq for (name, voter), seq in committed.items() if name == stage and voter[1] not in rules.withdrawn
        }
        votes = [code for code in found.codes if code.stage == stage and (code.record, code.coder) in voters]
        new_labels = {voter: _new_labels(rules, codes, stage, voter, asked.get((stage, voter))) for voter in voters}
        decisions = {label: row for (name, label), row in settled.items() if name == stage}
        _resolve(found, head, stage, rules, voters, new_labels, votes, decisions)
    return found


def _text_of(found: State, row: Event) -> str:
    """Return the SHA-256 of the full text that an event refers to; ``""`` if the event refers to no full text."""
    if row.stage != "full-text":
        return ""
    if "text" in row.value:
        return str(row.value["text"])
    # Early versions of mechtag did not store the SHA-256 in the event.
    if row.record in found.attached:
        return found.attached[row.record][0]
    return min(found.attached.values(), key=lambda file: file[2], default=("", "", 0))[0]


def _choose_text(found: State, head: int, coded_by: Sequence[str]) -> tuple[int, str] | None:
    """Return the record number and SHA-256 of the full text to show for a paper; ``None`` if it has no full text."""

    # First comes the text that people coded first, so that codes keep their text when records are joined. Then come the
    # text of the main record ``head``, and the text that was attached first.
    def rank(record: int) -> tuple[int, bool, int]:
        sha256, _, seq = found.attached[record]
        return coded_by.index(sha256) if sha256 in coded_by else len(coded_by), record != head, seq

    chosen = min(found.attached, key=rank, default=None)
    return None if chosen is None else (chosen, found.attached[chosen][0])


def _code_after(before: Code | None, row: Event, text: str) -> Code:
    """Return a coder's code after an event that changes the answer, the marked sentences, their signs or their roles.

    ``text`` is the SHA-256 of the full text that the event refers to; ``""`` if it refers to no full text.
    """
    code = before or Code(row.record or 0, row.stage or "", row.coder, row.label or "")
    if row.kind == "evidence":
        sentences = tuple(int(number) for number in row.value["sentences"])
        complete = bool(row.value["complete"])
        kept = set(sentences) if code.text == text else set[int]()
        signs = {number: sign for number, sign in code.signs.items() if number in kept}
        roles = {number: own for number, own in code.roles.items() if number in kept}
        code = replace(code, signs=signs, roles=roles)
        return replace(code, sentences=sentences, text=text, complete=complete, event=row.seq, at=row.at)
    if row.kind == "sign":
        number, sign = int(row.value["sentence"]), row.value["sign"]
        if number not in code.sentences or code.text != text:
            return code
        others = {other: known for other, known in code.signs.items() if other != number}
        signs = others | ({number: str(sign)} if sign else {})
        return replace(code, signs=signs, event=row.seq, at=row.at)
    if row.kind in ("role", "link"):
        if int(row.value["sentence"]) not in code.sentences or code.text != text:
            return code
        return replace(code, roles=_with_role(code.roles, row), event=row.seq, at=row.at)
    return replace(
        code,
        text=code.text if code.sentences or code.complete else text,
        value=row.value["v"],
        refer=bool(row.value.get("refer", False)),
        reason=row.value.get("reason"),
        assisted=row.assisted,
        others_shown=row.others_shown,
        model_id=row.model_id,
        codebook=row.codebook,
        event=row.seq,
        at=row.at,
    )


def _with_role(
    roles: Mapping[int, Mapping[str, tuple[int, ...]]], row: Event
) -> Mapping[int, Mapping[str, tuple[int, ...]]]:
    """Return the roles of a coder's sentences after an event about a role of one sentence.

    The event adds or removes a role of the sentence, or a link between such a role and a configuration.
    """
    number, role, on = int(row.value["sentence"]), str(row.value["role"]), bool(row.value["on"])
    own = dict(roles.get(number, {}))
    if row.kind == "link":
        if role not in own:
            return roles  # The role was removed.
        configuration = int(row.value["configuration"])
        others = set(own[role]) - {configuration}
        own[role] = tuple(sorted(others | ({configuration} if on else set())))
    elif on:
        own.setdefault(role, ())
    else:
        own.pop(role, None)
    rest = {other: given for other, given in roles.items() if other != number}
    return rest | ({number: own} if own else {})


def _new_labels(
    rules: Rules, codes: Mapping[tuple[str, _Voter, str], Code], stage: str, voter: _Voter, last: int | None
) -> frozenset[str]:
    """Return the labels that were added after a person finished a record, and that this person must still code.

    ``last`` is the number of the event with which the person finished the record. If ``last`` is ``None``, the record
    is not finished, and no label is returned.
    """
    if last is None:
        return frozenset()
    # A label can have a committed code if it was removed and added again.
    known = {label for label in rules.added if (code := codes.get((stage, voter, label))) and code.committed}
    return frozenset(label for label, seq in rules.added.items() if seq > last and label not in known)


def _commit(codes: dict[tuple[str, _Voter, str], Code], stage: str, voter: _Voter, new: Set[str] = frozenset()) -> None:
    """Mark a person's codes for a record at a stage as committed: they are no longer drafts.

    Codes for the labels in ``new`` are not marked.
    """
    for key, code in codes.items():
        if key[:2] == (stage, voter) and key[2] not in new and not code.committed:
            code = replace(code, committed=True)
            if code.first_refer is None:  # This is the first answer that the person commits.
                code = replace(code, first_value=code.value, first_refer=code.refer, first_assisted=code.assisted)
            codes[key] = code


def _resolve(
    found: State,
    head: int,
    stage: str,
    rules: Rules,
    voters: Mapping[_Voter, int],
    new_labels: Mapping[_Voter, Set[str]],
    votes: Sequence[Code],
    settled: Mapping[str, Event],
) -> None:
    """Compute the final codes and the state of a record at a stage, and add them to ``found``.

    Also add the labels that each person must still code, because they were added to the codebook later
    (``new_labels``).

    Parameters
    ----------
    head
        Number of the record.
    votes
        Codes of the people who finished the record.
    settled
        Decisions of an adjudicator, keyed by label.
    """
    last = max((*voters.values(), *(row.seq for row in settled.values())), default=0)
    labels = list(dict.fromkeys([*(vote.label for vote in votes), *settled]))
    open_labels, referred = [], False
    finals = []
    for label in labels:
        given = {(vote.record, vote.coder): vote for vote in votes if vote.label == label and vote.committed}
        if label in settled:
            finals.append(_settled(found, head, stage, label, settled[label], list(given.values())))
            continue
        if not given or any(label in new for (_, coder), new in new_labels.items() if coder not in rules.away):
            continue  # The label is not final until everybody who judged the record has coded the new label.
        answers = {given[voter].answer if voter in given else (None, False) for voter in voters}
        if label in rules.retired and len(answers) > 1:
            continue
        if any(refer for _, refer in answers):
            referred = True
            open_labels.append(label)
        elif len(answers) > 1:
            open_labels.append(label)
        else:
            finals.append(_agreed(found, head, stage, label, list(given.values())))
    # A person who judged two records before they were joined is one person.
    have = len({coder for _, coder in voters})
    enough = have >= rules.wanted[stage] or (bool(settled) and not open_labels)
    if not voters and not settled:
        state = "open"
    elif referred:
        state = "referred"
    elif open_labels:
        state = "conflict"
    else:
        state = "settled" if enough else "waiting"
    # A label is final only once enough people have answered, or an adjudicator has.
    found.finals += [row for row in finals if enough or row.how == "adjudicated"]
    begun = bool(voters or settled)
    if stage in BASES and not _is_to_be_coded(found, begun=begun):
        return
    if stage == "full-text" and not found.attached:
        return  # If the file belongs to a record that was separated, the codes are kept, but nobody can read the text.
    found.needs.append(Need(head, stage, have, state, tuple(sorted(open_labels)), last))
    found.owed |= {
        (*voter, stage, label)
        for voter, new in new_labels.items()
        for label in new - settled.keys()
        if voter[1] not in rules.away
    }


def _is_to_be_coded(found: State, *, begun: bool) -> bool:
    """Return whether a record is to be coded: it is included, or was coded without having been screened.

    ``begun`` states whether somebody has coded the record.
    """
    # If a record is excluded after coding has begun, its codes are kept, but people are no longer asked to code it.
    included = any(row.stage == "screen" and row.value == 1 for row in found.finals)
    return included or (begun and not any(code.stage == "screen" for code in found.codes))


def _is_in_shown_text(found: State, head: int, record: int | None, text: str) -> bool:
    """Return whether sentences were marked in the text that the pages show for a paper.

    Parameters
    ----------
    head
        Number of the record that represents the paper.
    record
        Number of the record for which the sentences were marked.
    text
        SHA-256 of the full text in which the sentences were marked; ``""`` for an abstract.
    """
    if text and found.reading:
        return text == found.reading[1]
    return record == head


def _agreed_signs(votes: Sequence[Code], sentences: Iterable[int]) -> dict[int, str]:
    """Return the signs on which coders agree, keyed by sentence number.

    For each sentence, coders who gave no sign are ignored.
    """
    given = {number: {vote.signs[number] for vote in votes if number in vote.signs} for number in sentences}
    return {number: signs.pop() for number, signs in given.items() if len(signs) == 1}


def _settled(found: State, head: int, stage: str, label: str, row: Event, votes: Sequence[Code]) -> Final:
    # The record that was settled may have been joined to another since.
    is_shown = _is_in_shown_text(found, head, row.record, str(row.value.get("text", "")))
    given = row.value.get("sentences", ()) if is_shown else ()
    sentences = tuple(int(number) for number in given)
    own = [vote for vote in votes if _is_in_shown_text(found, head, vote.record, vote.text)]
    return Final(
        record=head,
        stage=stage,
        label=label,
        value=row.value["v"],
        reason=row.value.get("reason"),
        sentences=sentences,
        signs=_agreed_signs(own, sentences),
        complete=False,
        how="adjudicated",
        event=row.seq,
    )


def _agreed(found: State, head: int, stage: str, label: str, votes: Sequence[Code]) -> Final:
    """Return the final code of a label on which all ``votes`` agree.

    The final code contains every sentence that a coder marked in the text that the pages show.
    """
    # The sentences of a joined record are those of a different abstract, but two records may share a full text.
    own = [vote for vote in votes if _is_in_shown_text(found, head, vote.record, vote.text)]
    sentences = tuple(sorted({number for vote in own for number in vote.sentences}))
    reasons = {vote.reason for vote in votes if vote.reason}
    return Final(
        record=head,
        stage=stage,
        label=label,
        value=votes[0].value,
        reason=reasons.pop() if len(reasons) == 1 else None,
        sentences=sentences,
        signs=_agreed_signs(own, sentences),
        complete=bool(own) and all(vote.complete for vote in own),
        how="single" if len({vote.coder for vote in votes}) == 1 else "agreed",
        event=max(vote.event for vote in votes),
    )
