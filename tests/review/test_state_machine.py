"""Test random acts of three people on a few records: after each act, the tables must agree with a simple model.

The model is a list of the acts. It is written from the specification, uses no SQL, and computes the state of the whole
review from the list each time.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Connection, Table, select

from mechtag.core.records import Sign
from mechtag.review.acts import Refused
from mechtag.review.store import schema
from tests.support.reviews import ANN, BOB, CAT, CODEBOOK, SENTENCES, check_replay, open_review, stamp

RECORDS = 4
RELEVANCE, LABELS = CODEBOOK.relevance.key, CODEBOOK.keys
# Acts of judging a record; a later one by somebody else can prevent the undo of an earlier one.
JUDGING = ("decide", "code", "mark", "sign", "role", "link", "rest_no", "commit", "settle", "reopen")

Answer = tuple[int | None, bool]


@dataclass(eq=False)
class Done:
    """One act that was accepted."""

    coder: int
    kind: str
    record: int | None = None
    stage: str | None = None
    what: dict[str, Any] = field(default_factory=dict)
    undone: bool = False


@dataclass
class Vote:
    """What one person says about one record at one stage."""

    answers: dict[str, Answer] = field(default_factory=dict)
    first: dict[str, Answer] = field(default_factory=dict)
    marks: dict[str, tuple[tuple[int, ...], bool]] = field(default_factory=dict)
    signs: dict[str, dict[int, str]] = field(default_factory=dict)
    # For each label and sentence, the configurations by role.
    roles: dict[str, dict[int, dict[str, set[int]]]] = field(default_factory=dict)
    committed: bool = False
    # Whether the person ever finished coding; the first code of labels left open then is not judged.
    finished: bool = False

    def finish(self) -> None:
        self.committed = True
        for label in self.labels():
            self.first.setdefault(label, self.answers.get(label, (None, False)))

    def labels(self) -> set[str]:
        return {*self.answers, *self.marks}


@dataclass
class World:
    """The state of the review, as the model computes it."""

    head: dict[int, int]
    votes: dict[tuple[int, str, int], Vote] = field(default_factory=dict)
    settled: dict[tuple[int, str], dict[str, int]] = field(default_factory=dict)
    final: dict[tuple[int, str, str], tuple[int | None, str]] = field(default_factory=dict)
    need: dict[tuple[int, str], tuple[int, str, list[str]]] = field(default_factory=dict)
    notes: dict[tuple[int, int, str], str] = field(default_factory=dict)
    tags: set[tuple[int, str]] = field(default_factory=set)
    skips: set[tuple[int, str, int]] = field(default_factory=set)
    apart: list[set[int]] = field(default_factory=list)
    plan: dict[str, int] = field(default_factory=lambda: {"screen": 2, "code": 2})
    people: dict[int, str] = field(default_factory=lambda: dict.fromkeys((ANN, BOB, CAT), "active"))

    def family(self, record: int) -> list[int]:
        return [other for other, head in self.head.items() if head == self.head[record]]

    def state(self, record: int, stage: str) -> str | None:
        _, state, _ = self.need.get((self.head[record], stage), (0, None, []))
        return state

    def vote(self, record: int, stage: str, coder: int) -> Vote:
        return self.votes.setdefault((record, stage, coder), Vote())


def heads(done: list[Done]) -> dict[int, int]:
    """Return, for each record, the record that represents its paper."""
    into = dict[int, int]()

    def top(record: int) -> int:
        return top(into[record]) if record in into else record

    for act in done:
        if act.kind == "join" and top(act.what["into"]) != act.record:
            into[act.record or 0] = act.what["into"]
        elif act.kind == "split":
            into.pop(act.record or 0, None)
    return {record: top(record) for record in range(1, RECORDS + 1)}


def world_after(everything: list[Done]) -> World:
    """Return the state of the review after all acts that have not been undone."""
    done = [act for act in everything if not act.undone]
    world = World(heads(done))
    for act in done:
        if act.kind == "change_plan":
            world.plan[act.what["stage"]] = act.what["wanted"]
        elif act.kind == "team":
            world.people[act.what["account"]] = act.what["state"]
        elif act.kind == "note":
            spot = (act.record or 0, act.coder, act.what["audience"])
            world.notes.pop(spot, None)
            if act.what["text"]:
                world.notes[spot] = act.what["text"]
        elif act.kind == "tag":
            (world.tags.add if act.what["on"] else world.tags.discard)((act.record or 0, act.what["tag"]))
        elif act.kind == "split":
            world.apart.append({act.record or 0, act.what["from"]})
        elif act.kind == "skip":
            world.skips.add((act.record or 0, act.stage or "", act.coder))
        elif act.kind in JUDGING:
            judge(world, act)
    for record in set(world.head.values()):
        resolve(world, record, "screen")
        resolve(world, record, "code")
    return world


def judge(world: World, act: Done) -> None:
    record, stage = act.record or 0, act.stage or ""
    family = world.family(record)
    if act.kind == "settle":
        world.settled.setdefault((world.head[record], stage), {})[act.what["label"]] = act.what["value"]
        return
    if act.kind == "reopen":
        for (other, name, coder), vote in world.votes.items():
            if other in family and name == stage and coder == act.what["coder"]:
                vote.committed = False
        world.settled.pop((world.head[record], stage), None)
        return
    vote = world.vote(record, stage, act.coder)
    world.skips.discard((record, stage, act.coder))
    if vote.finished:
        for label in {act.what.get("label"), *act.what.get("labels", ())} - {None} - vote.labels():
            vote.first[label] = None, False
    if act.kind in ("decide", "code"):
        vote.answers[act.what["label"]] = act.what["value"], act.what["refer"]
    elif act.kind == "sign":
        label, number, sign = act.what["label"], act.what["sentence"], act.what["sign"]
        marked, complete = vote.marks.get(label, ((), False))
        if number not in marked and vote.answers.get(label, (None, False)) == (None, False):
            vote.answers[label] = 1, False
        vote.marks[label] = tuple(sorted({*marked, number})), complete
        others = {other: given for other, given in vote.signs.get(label, {}).items() if other != number}
        vote.signs[label] = others | ({number: sign} if sign else {})
    elif act.kind == "role":
        label, number, on = act.what["label"], act.what["sentence"], act.what["on"]
        marked, complete = vote.marks.get(label, ((), False))
        if number not in marked and vote.answers.get(label, (None, False)) == (None, False):
            vote.answers[label] = 1, False
        vote.marks[label] = tuple(sorted({*marked, number})), complete
        own = vote.roles.setdefault(label, {}).setdefault(number, {})
        if on:
            own.setdefault(act.what["role"], set())
        else:
            own.pop(act.what["role"], None)
            if not own:
                del vote.roles[label][number]
    elif act.kind == "link":
        linked = vote.roles.get(act.what["label"], {}).get(act.what["sentence"], {}).get(act.what["role"])
        if linked is not None:
            (linked.add if act.what["on"] else linked.discard)(act.what["number"])
    elif act.kind == "mark":
        kept = vote.roles.get(act.what["label"], {})
        vote.roles[act.what["label"]] = {n: own for n, own in kept.items() if n in act.what["sentences"]}
        given = vote.signs.get(act.what["label"], {})
        vote.signs[act.what["label"]] = {n: sign for n, sign in given.items() if n in act.what["sentences"]}
        vote.marks[act.what["label"]] = act.what["sentences"], act.what["complete"]
        if act.what["sentences"] and vote.answers.get(act.what["label"], (None, False)) == (None, False):
            vote.answers[act.what["label"]] = 1, False
    elif act.kind == "rest_no":
        for label in act.what["labels"]:
            vote.answers[label], vote.marks[label], vote.signs[label] = (0, False), ((), True), {}
            vote.roles[label] = {}
    elif act.kind == "commit":
        vote.finished = True
        vote.finish()
    if act.kind == "decide" or vote.committed:
        vote.finish()


def resolve(world: World, head: int, stage: str) -> None:
    """Compute a paper's final codes and state at a stage from the votes on its records."""
    votes = {
        (record, coder): vote
        for (record, name, coder), vote in world.votes.items()
        if world.head[record] == head and name == stage and vote.committed and world.people[coder] != "withdrawn"
    }
    settled = world.settled.get((head, stage), {})
    wanted, have = world.plan[stage], len({coder for _, coder in votes})
    included = world.final.get((head, "screen", RELEVANCE), (0, ""))[0] == 1
    screened = any(
        vote.answers
        for (record, name, _), vote in world.votes.items()
        if world.head[record] == head and name == "screen"
    )
    # Only included records need coding, and those that somebody began to code before anybody screened them.
    asked = stage == "screen" or included or (not screened and bool(votes or settled))
    agreed, differs, refers = dict[str, int | None](), set[str](), set[str]()
    for label in {label for vote in votes.values() for label in vote.labels()} - set(settled):
        answers = {vote.answers.get(label, (None, False)) for vote in votes.values()}
        if any(refer for _, refer in answers):
            refers.add(label)
        elif len(answers) > 1:
            differs.add(label)
        else:
            agreed[label] = answers.pop()[0]
    done = have >= wanted or (bool(settled) and not differs and not refers)
    if not votes and not settled:
        state = "open"
    elif refers:
        state = "referred"
    elif differs:
        state = "conflict"
    else:
        state = "settled" if done else "waiting"
    if asked:
        world.need[head, stage] = have, state, sorted(differs | refers)
    for label, value in settled.items():
        world.final[head, stage, label] = value, "adjudicated"
    for label, agreement in agreed.items():
        if done:
            voters = {coder for (_, coder), vote in votes.items() if label in vote.labels()}
            world.final[head, stage, label] = agreement, "agreed" if len(voters) > 1 else "single"


records = st.integers(1, RECORDS)
coders = st.sampled_from((ANN, BOB, CAT))
stages = st.sampled_from(("screen", "code"))
labels = st.sampled_from(LABELS)
roles = st.sampled_from(("context", "outcome"))
answers = st.sampled_from(((1, False), (1, False), (0, False), (None, True)))
sentences = st.lists(st.integers(0, SENTENCES - 1), unique=True, max_size=2).map(lambda found: tuple(sorted(found)))


class ReviewMachine(RuleBasedStateMachine):
    """Random acts of three people on one review, compared with the model."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.acts = open_review(self.folder / "review.sqlite3", RECORDS)
        self.done = list[Done]()
        # The acts that each person can undo, and those that each can redo.
        self.doable: dict[int, tuple[list[Done], list[Done]]] = {coder: ([], []) for coder in (ANN, BOB, CAT)}
        self.last: tuple[Callable[[], object], object] | None = None
        self.tables = check_replay(self.acts.store)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.acts.store.close()
            shutil.rmtree(self.folder)

    # Acts ------------------------------------------------------------------------------------------------------------

    def send(self, act: Done, call: Callable[..., object], possible: bool, *args: Any, **named: Any) -> None:
        """Send an act; it must be accepted if, and only if, the model says that it is possible."""
        mark = stamp(act.coder)
        if not possible:
            with pytest.raises(Refused, match=r"\w"):
                call(mark, *args, **named)
            return
        number = call(mark, *args, **named)
        self.done.append(act)
        mine, undone = self.doable[act.coder]
        mine.append(act)
        undone.clear()
        self.last = (lambda: call(mark, *args, **named)), number

    @property
    def world(self) -> World:
        return world_after(self.done)

    def is_open(self, record: int, stage: str) -> bool:
        """Return whether coders may still judge a record: no adjudicator has settled it."""
        world = self.world
        return not world.settled.get((world.head[record], stage))

    @rule(coder=coders, record=records, answer=answers)
    def decide(self, coder: int, record: int, answer: Answer) -> None:
        value, refer = answer
        act = Done(coder, "decide", record, "screen", {"label": RELEVANCE, "value": value, "refer": refer})
        self.send(act, self.acts.decide, self.is_open(record, "screen"), record, value, refer=refer)

    @rule(record=records, value=st.sampled_from((1, 1, 0)))
    def both_decide(self, record: int, value: int) -> None:
        for coder in (ANN, BOB):
            self.decide(coder, record, (1 if coder == ANN else value, False))

    @rule(coder=coders, record=records, label=labels, answer=answers | st.just((None, False)))
    def code(self, coder: int, record: int, label: str, answer: Answer) -> None:
        value, refer = answer
        act = Done(coder, "code", record, "code", {"label": label, "value": value, "refer": refer})
        self.send(act, self.acts.code, self.is_open(record, "code"), record, label, value, refer=refer)

    @rule(coder=coders, record=records, label=labels, numbers=sentences, complete=st.booleans())
    def mark(self, coder: int, record: int, label: str, numbers: tuple[int, ...], complete: bool) -> None:
        act = Done(coder, "mark", record, "code", {"label": label, "sentences": numbers, "complete": complete})
        self.send(act, self.acts.mark, self.is_open(record, "code"), record, label, numbers, complete=complete)

    @rule(
        coder=coders,
        record=records,
        label=labels,
        number=st.integers(0, SENTENCES - 1),
        sign=st.sampled_from(("present", "absent", "unclear", None)),
    )
    def sign(self, coder: int, record: int, label: str, number: int, sign: Sign | None) -> None:
        marked, _ = self.world.vote(record, "code", coder).marks.get(label, ((), False))
        act = Done(coder, "sign", record, "code", {"label": label, "sentence": number, "sign": sign})
        possible = self.is_open(record, "code") and (sign is not None or number in marked)
        self.send(act, self.acts.sign, possible, record, label, number, sign)

    @rule(
        coder=coders,
        record=records,
        label=labels,
        number=st.integers(0, SENTENCES - 1),
        role=roles,
        on=st.booleans(),
    )
    def role(self, coder: int, record: int, label: str, number: int, role: str, on: bool) -> None:
        known = self.world.vote(record, "code", coder).roles.get(label, {}).get(number, {})
        act = Done(coder, "role", record, "code", {"label": label, "sentence": number, "role": role, "on": on})
        possible = self.is_open(record, "code") and (on or role in known)
        self.send(act, self.acts.role, possible, record, label, number, role, on=on)

    @rule(coder=coders, record=records, label=labels, data=st.data(), on=st.booleans(), number=st.integers(0, 3))
    def link(self, coder: int, record: int, label: str, data: st.DataObject, on: bool, number: int) -> None:
        found = self.world.vote(record, "code", coder).roles.get(label, {})
        pairs = [(sentence, role) for sentence, own in found.items() for role in own]
        sentence, role = data.draw(st.sampled_from([*pairs, (0, "context")]))
        what = {"label": label, "sentence": sentence, "role": role, "number": number, "on": on}
        used = {one for own in found.values() for numbers in own.values() for one in numbers}
        possible = (sentence, role) in pairs and 1 <= number <= max(used, default=0) + 1
        possible = possible and (on or number in found[sentence][role]) and self.is_open(record, "code")
        act = Done(coder, "link", record, "code", what)
        self.send(act, self.acts.link, possible, record, label, sentence, role, number, on=on)

    @rule(coder=coders, record=records)
    def rest_no(self, coder: int, record: int) -> None:
        given = self.world.vote(record, "code", coder).answers
        rest = [label for label in LABELS if given.get(label, (None, False)) == (None, False)]
        act = Done(coder, "rest_no", record, "code", {"labels": rest})
        possible = bool(rest) and self.is_open(record, "code")
        self.send(act, self.acts.rest_no, possible, record, LABELS)

    @rule(coder=coders, record=records, open_labels=st.booleans())
    def commit(self, coder: int, record: int, open_labels: bool) -> None:
        given = self.world.vote(record, "code", coder).answers
        answered = [given.get(label, (None, False)) != (None, False) for label in LABELS]
        act = Done(coder, "commit", record, "code")
        possible = (all(answered) or (open_labels and any(answered))) and self.is_open(record, "code")
        self.send(act, self.acts.commit, possible, record, open_labels=open_labels)

    @rule(record=records, first=answers, second=answers)
    def both_code(self, record: int, first: Answer, second: Answer) -> None:
        for coder, answer in ((ANN, first), (BOB, second)):
            self.code(coder, record, LABELS[0], answer)
            self.rest_no(coder, record)
            self.commit(coder, record, False)

    @rule(coder=st.sampled_from((CAT, CAT, ANN)), record=records, stage=stages, label=labels, value=st.integers(0, 1))
    def settle(self, coder: int, record: int, stage: str, label: str, value: int) -> None:
        label = RELEVANCE if stage == "screen" else label
        world = self.world
        act = Done(coder, "settle", world.head[record], stage, {"label": label, "value": value})
        possible = world.state(record, stage) not in (None, "open")
        self.send(act, self.acts.settle, possible, record, stage, label, value)

    @rule(record=records, stage=stages, coder=coders)
    def reopen(self, record: int, stage: str, coder: int) -> None:
        world = self.world
        act = Done(CAT, "reopen", record, stage, {"coder": coder})
        possible = any(world.vote(other, stage, coder).committed for other in world.family(record))
        self.send(act, self.acts.reopen, possible, record, stage, coder)

    @rule(coder=coders, record=records, stage=stages)
    def skip(self, coder: int, record: int, stage: str) -> None:
        self.send(Done(coder, "skip", record, stage), self.acts.skip, True, record, stage)

    @rule(
        coder=coders, record=records, text=st.sampled_from(("", "one", "two")), audience=st.sampled_from(("me", "team"))
    )
    def note(self, coder: int, record: int, text: str, audience: str) -> None:
        act = Done(coder, "note", record, None, {"text": text, "audience": audience})
        self.send(act, self.acts.note, True, record, text, audience)

    @rule(coder=coders, record=records, tag=st.sampled_from(("red", "blue")), on=st.booleans())
    def tag(self, coder: int, record: int, tag: str, on: bool) -> None:
        act = Done(coder, "tag", record, None, {"tag": tag, "on": on})
        self.send(act, self.acts.tag, True, record, tag, on=on)

    @rule(coder=coders, record=records, other=records)
    def join(self, coder: int, record: int, other: int) -> None:
        head = self.world.head
        act = Done(coder, "join", head[record], None, {"into": head[other]})
        families = self.world.family(record), self.world.family(other)
        apart = any({one, two} in self.world.apart for one in families[0] for two in families[1])
        self.send(act, self.acts.join, head[record] != head[other] and not apart, record, other)

    @rule(coder=coders, record=records)
    def split(self, coder: int, record: int) -> None:
        head = self.world.head[record]
        self.send(Done(coder, "split", record, None, {"from": head}), self.acts.split, head != record, record)

    @rule(stage=stages, wanted=st.integers(1, 2))
    def change_plan(self, stage: str, wanted: int) -> None:
        act = Done(CAT, "change_plan", None, None, {"stage": stage, "wanted": wanted})
        self.send(act, self.acts.change_plan, True, f"coders_{stage}", wanted)

    @rule(account=st.sampled_from((ANN, BOB)), state=st.sampled_from(("active", "left", "withdrawn")))
    def change_account(self, account: int, state: str) -> None:
        act = Done(CAT, "team", None, None, {"account": account, "state": state})
        self.send(act, self.acts.change_account, True, account, state=state)

    # Sending again, undo and redo ------------------------------------------------------------------------------------

    @rule()
    def send_again(self) -> None:
        if self.last is not None:
            again, number = self.last
            assert again() == number

    def rested_on(self, act: Done) -> bool:
        """Return whether later work of another person depends on an act, which can then not be undone."""
        world = self.world
        for later in self.done[self.done.index(act) + 1 :]:
            if later.undone or later.coder == act.coder or later.record not in world.family(act.record or 1):
                continue
            if act.kind in ("join", "split"):
                if later.kind in ("join", "split", "settle", "reopen"):
                    return True
            elif act.kind in JUDGING and later.kind in JUDGING:
                if later.kind in ("settle", "reopen") and (later.stage == act.stage or act.stage == "screen"):
                    return True
                if act.stage == "screen" and later.stage == "code":
                    return True
                if act.kind == "reopen" and later.coder == act.what["coder"] and later.stage == act.stage:
                    return True
        return False

    def take(self, coder: int, call: Callable[..., object], *, undo: bool) -> None:
        mine, undone = self.doable[coder]
        source, target = (mine, undone) if undo else (undone, mine)
        mark = stamp(coder)
        if not source or (source[-1].record is not None and self.rested_on(source[-1])):
            with pytest.raises(Refused, match=r"\w"):
                call(mark)
            return
        answer = call(mark)
        source[-1].undone = undo
        target.append(source.pop())
        assert isinstance(answer, tuple)
        assert answer[1] == target[-1].record
        self.last = (lambda: call(mark)), answer

    @rule(coder=coders)
    def undo(self, coder: int) -> None:
        self.take(coder, self.acts.undo, undo=True)

    @rule(coder=coders)
    def redo(self, coder: int) -> None:
        self.take(coder, self.acts.redo, undo=False)

    @rule(coder=coders, data=st.data())
    def do_and_undo(self, coder: int, data: st.DataObject) -> None:
        """Undo restores the state before an act, and redo restores the state after it."""
        before, number = self.tables, len(self.done)
        record, other = data.draw(records), data.draw(records)
        does: dict[str, Callable[[], None]] = {
            "decide": lambda: self.decide(coder, record, data.draw(answers)),
            "code": lambda: self.code(coder, record, LABELS[0], data.draw(answers)),
            "mark": lambda: self.mark(coder, record, LABELS[1], data.draw(sentences), True),
            "sign": lambda: self.sign(coder, record, LABELS[1], data.draw(st.integers(0, SENTENCES - 1)), "absent"),
            "role": lambda: self.role(
                coder, record, LABELS[1], data.draw(st.integers(0, SENTENCES - 1)), "context", True
            ),
            "link": lambda: self.link(coder, record, LABELS[1], data, True, 1),
            "commit": lambda: self.commit(coder, record, True),
            "settle": lambda: self.settle(coder, record, data.draw(stages), LABELS[0], 1),
            "skip": lambda: self.skip(coder, record, "screen"),
            "note": lambda: self.note(coder, record, "three", "me"),
            "tag": lambda: self.tag(coder, record, "green", True),
            "join": lambda: self.join(coder, record, other),
            "split": lambda: self.split(coder, record),
        }
        does[data.draw(st.sampled_from(sorted(does)))]()
        if len(self.done) > number:
            after = check_replay(self.acts.store)
            self.undo(coder)
            assert check_replay(self.acts.store) == before
            self.redo(coder)
            assert check_replay(self.acts.store) == after

    # Checks ----------------------------------------------------------------------------------------------------------

    @invariant()
    def tables_are_right(self) -> None:
        if not hasattr(self, "acts"):
            return
        self.tables = check_replay(self.acts.store)
        with self.acts.store.read() as connection:
            compare(connection, self.world)


def compare(connection: Connection, world: World) -> None:
    """Check that the tables agree with the model."""

    def rows(table: Table) -> list[Any]:
        return list(connection.execute(select(table)))

    need, final, current = rows(schema.need), rows(schema.final), rows(schema.current)
    states = {(row.record, row.stage): (row.have, row.state, json.loads(row.labels)) for row in need}
    assert states == world.need
    assert {(row.record, row.stage, row.label): (row.value, row.how) for row in final} == world.final
    codes = {
        (row.record, row.stage, row.coder, row.label): (
            (row.value, bool(row.refer)),
            None if row.first_refer is None else (row.first_value, bool(row.first_refer)),
            (tuple(json.loads(row.sentences)), bool(row.complete)),
            {int(number): sign for number, sign in json.loads(row.signs).items()},
            {
                int(number): {role: set(linked) for role, linked in own.items()}
                for number, own in json.loads(row.roles).items()
            },
            bool(row.committed),
        )
        for row in current
    }
    assert codes == {
        (*spot, label): (
            vote.answers.get(label, (None, False)),
            vote.first.get(label),
            vote.marks.get(label, ((), False)),
            vote.signs.get(label, {}),
            vote.roles.get(label, {}),
            vote.committed,
        )
        for spot, vote in world.votes.items()
        for label in vote.labels()
    }
    assert {(row.record, row.coder, row.audience): row.text for row in rows(schema.note)} == world.notes
    assert {(row.record, row.tag) for row in rows(schema.tag)} == world.tags
    assert {(row.record, row.stage, row.coder) for row in rows(schema.skip)} == world.skips
    joined = {record: head for record, head in world.head.items() if record != head}
    assert {row.record: row.into for row in rows(schema.joined)} == joined
    assert {row.id: row.state for row in rows(schema.account)} == world.people


ReviewMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TestAgainstTheModel = pytest.mark.slow(ReviewMachine.TestCase)
