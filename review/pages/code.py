"""Show the page *Code*, on which people answer the labels of included records and mark supporting sentences.

Records are coded by their abstracts under ``/code``, and by their full texts under ``/full-text``. The codes of both
are kept apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, or_, select
from starlette.responses import Response

from mechtag.core.codebook import Label
from mechtag.pipeline.text.sign import sign_of
from mechtag.review import order
from mechtag.review.acts import Acts, Outdated, Refused, Stamp, last_judged, utc_now
from mechtag.review.numbers import whole_number
from mechtag.review.pages.two_versions import two_versions
from mechtag.review.sight import Suggestion, Vote, read_suggestions, show
from mechtag.review.store import schema
from mechtag.review.store.events import family_of, read_events, read_plan
from mechtag.review.store.exercises import hidden_records, running_exercise
from mechtag.review.store.new_labels import count_owed, next_owed, owed_labels
from mechtag.review.store.queue import count_judged, count_waiting, has_full_texts
from mechtag.review.store.readings import Reading, read_reading
from mechtag.review.store.records import Entry, read_entry
from mechtag.review.store.sent_back import sent_back
from mechtag.review.store.state import alive
from mechtag.review.store.tags import frequent_tags, tags_of
from mechtag.review.visit import Handler, Visit, route
from mechtag.review.words import read_words
from mechtag.review.workspace import read_fact, write_fact

# Addresses of the page, with the stage and the names of the routes.
_PLACES = {"/code": "code", "/full-text": "full-text"}
# What the radio buttons send: value, and whether the label needs review.
_ANSWERS: dict[str, tuple[int | None, bool]] = {"yes": (1, False), "no": (0, False), "refer": (None, True)}
_BASIS_NAMES = {"code": "Abstract", "full-text": "Full text"}
# What the pages call an answer.
ANSWER_NAMES = {"yes": "yes", "no": "no", "refer": "needs review", "": "no answer"}
# What the pages call an answer to a suggestion.
_REPLIES = {"accept": "accept the suggestion", "reject": "reject the suggestion", "refer": "needs review"}


@dataclass(frozen=True)
class Card:
    """What the page *Code* shows for one label of a record.

    Attributes
    ----------
    letter
        Letter that, pressed after the key ``;``, chooses the label; empty if all letters are taken.
    answer
        ``yes``, ``no`` or ``refer``; empty if the person has not answered.
    sentences
        Numbers of the sentences that the person marked.
    complete
        Whether the person has read all sentences for this label.
    replied
        Whether the person has answered the suggestion for this label.
    """

    label: Label
    letter: str
    answer: str = ""
    sentences: tuple[int, ...] = ()
    complete: bool = False
    suggestion: Suggestion | None = None
    replied: bool = False
    others: tuple[Vote, ...] = ()

    @property
    def agrees(self) -> bool:
        """Return whether the person's answer is the same as the model's suggestion."""
        return self.suggestion is not None and self.suggestion.decision == self.answer


@dataclass(frozen=True)
class Line:
    """One sentence of the text, with the labels for which the person marked it or the model suggests it.

    ``heading`` and ``page`` are the heading of the section and the number of the page that begin with the sentence;
    they are empty if none begins with it.
    """

    number: int
    text: str
    heading: str
    page: str
    marked: tuple[Card, ...]
    suggested: tuple[Card, ...]

    @property
    def says_absent(self) -> bool:
        """Return whether the sentence says, by its words, that something is lacking or weak."""
        return sign_of(self.text) == "absent"


def basis_of(person: int) -> str:
    """Return the key of the fact that says at which stage a person coded last: by the abstract or the full text."""
    return f"basis of {person}"


def _stage(visit: Visit) -> str:
    """Return the stage at which the record of a request is coded."""
    return _PLACES["/" + visit.request.url.path.split("/")[1]]


def _place(stage: str) -> str:
    """Return the address of the page for a stage."""
    return next(place for place, name in _PLACES.items() if name == stage)


def code(visit: Visit) -> Response:
    """Show the record whose number is in the URL, or else the next record.

    If the URL of the page for abstracts contains neither a record nor ``basis``, a person who last coded from full
    texts is redirected to ``/full-text``, as long as records are waiting there for this person.
    """
    record, new = whole_number(visit.query.get("record", "")), "new" in visit.query
    stage = _stage(visit)
    with visit.workspace.store.write() as connection:
        chosen = read_fact(connection, basis_of(visit.person.id))
        if (stage, chosen) == ("code", "full-text") and record is None and "basis" not in visit.query:
            if count_waiting(connection, visit.person.id, "full-text"):
                return visit.go("/full-text")
        elif (record is None or stage == "full-text" or "basis" in visit.query) and chosen != stage:
            write_fact(connection, basis_of(visit.person.id), stage)
        shown = _see(connection, visit, record, visit.query.get("label", ""), new=new)
    return _page(visit, shown)


def new_labels(visit: Visit) -> Response:
    """Show the next record that the person must code for labels added since the person finished the record."""
    with visit.workspace.store.write() as connection:
        shown = _see(connection, visit, None, "", new=True)
    return _page(visit, shown)


def answer(visit: Visit) -> Response:
    """Save the answer for a label and, if the form was sent without JavaScript, the marked sentences."""
    label, record = visit.text("label"), visit.number("record") or 0
    value, refer = _ANSWERS.get(visit.text("answer"), (None, False))

    def write(connection: Connection, acts: Acts, stamp: Stamp) -> None:
        mine = _card(connection, visit, record, label)
        given = visit.text("answer")
        if "answer" in visit.form and (mine.answer != given or "sentences_too" not in visit.form):
            acts.code(stamp, record, label, value, refer=refer, stage=_stage(visit))
            stamp = replace(stamp, client_id=str(uuid5(NAMESPACE_URL, stamp.client_id)), based_on=None)
        if "sentences_too" in visit.form:
            marked = visit.numbers("sentence")
            if marked != mine.sentences:
                acts.mark(stamp, record, label, marked, complete=mine.complete, stage=_stage(visit))

    return _write(visit, write, f"{ANSWER_NAMES.get(visit.text('answer'), 'no answer')}")


def mark(visit: Visit) -> Response:
    """Mark a sentence for a label, or remove the mark."""
    label, record, sentence = visit.text("label"), visit.number("record") or 0, visit.number("sentence")
    said = []

    def write(connection: Connection, acts: Acts, stamp: Stamp) -> None:
        if sentence is None:
            raise Refused("choose a sentence")
        mine = _card(connection, visit, record, label)
        marked = set(mine.sentences) ^ {sentence}
        acts.mark(stamp, record, label, sorted(marked), complete=mine.complete, stage=_stage(visit))
        said.append(f"sentence {sentence + 1} {'marked' if sentence in marked else 'not marked any more'}")

    return _write(visit, write, said)


def rest(visit: Visit) -> Response:
    """Save the answer no for the labels that the form lists."""
    record = visit.number("record") or 0
    labels = [value for value in visit.form.getlist("rest") if isinstance(value, str)]
    stage = _stage(visit)
    return _write(
        visit, lambda _, acts, stamp: acts.rest_no(stamp, record, labels, stage=stage), "remaining labels answered no"
    )


def suggestion(visit: Visit) -> Response:
    """Save the answer to a suggestion."""
    label, record = visit.text("label"), visit.number("record") or 0

    def write(connection: Connection, acts: Acts, stamp: Stamp) -> None:
        mine = _card(connection, visit, record, label)
        taken = visit.numbers("sentence") if visit.text("answer") == "accept" else ()
        sentences = sorted({*mine.sentences, *taken})
        acts.answer(stamp, record, label, visit.text("answer"), sentences, stage=_stage(visit))

    return _write(visit, write, "answer to the suggestion saved")


def done(visit: Visit) -> Response:
    """Finish the record; then go to the next record or, in the mode ``after``, show the suggestions."""
    record, new, stage = visit.number("record") or 0, bool(visit.text("new")), _stage(visit)
    address = f"{_place(stage)}?record={record}"
    missing, said = list[Card](), "Coded"
    shown: dict[str, Any] | None = None
    saved: tuple[list[Card], int] | None = None
    with visit.workspace.store.write() as connection:
        if "open_labels" not in visit.form:
            missing = [card for card in _cards(connection, visit, record) if not card.answer]
        if missing:
            shown, said = _see(connection, visit, record, missing[0].label.key), ""
        else:
            every = visit.text("all_sentences") == "1"
            acts = visit.workspace.acts.in_transaction(connection)
            try:
                acts.commit(visit.stamp(), record, open_labels=True, all_sentences=every, stage=stage)
            except Outdated:
                saved = _saved(connection, visit, record)
            else:
                order.release(connection, record, visit.person.id, stage)
                again = _shows_suggestions_after(connection, visit, record)
                address = (f"{address}&new=1" if new else address) if again else _following(stage, new)
                shown = _see(connection, visit, record if again else None, "", new=new) if visit.by_script else None
    if saved is not None:
        return _conflict(visit, record, *saved)
    if shown is None:
        return visit.go(address)
    return visit.show_again(_page(visit, shown, said, missing), address)


def _following(stage: str, new: bool) -> str:
    """Return the address that shows the next record to code; if ``new``, the next record to code for new labels."""
    return f"{_place(stage)}/new" if new else _place(stage)


def skip(visit: Visit) -> Response:
    """Put a record aside, and show the next record."""
    record, stage = visit.number("record") or 0, _stage(visit)
    with visit.workspace.store.write() as connection:
        visit.workspace.acts.in_transaction(connection).skip(visit.stamp(), record, stage)
        order.release(connection, record, visit.person.id, stage)
        new = bool(visit.text("new"))
        shown = _see(connection, visit, None, "", new=new) if visit.by_script else None
    if shown is None:
        return visit.go(_following(stage, new))
    return visit.show_again(_page(visit, shown, "Put aside for later"), _following(stage, new))


def _write(visit: Visit, write: Callable[[Connection, Acts, Stamp], object], said: str | Sequence[str]) -> Response:
    """Save the content of a form, and show the record again; if the form is outdated, show both versions."""
    record, label = visit.number("record") or 0, visit.text("label")
    shown: dict[str, Any] | None = None
    saved: tuple[list[Card], int] | None = None
    with visit.workspace.store.write() as connection:
        try:
            write(connection, visit.workspace.acts.in_transaction(connection), visit.stamp())
        except Outdated:
            saved = _saved(connection, visit, record)
        else:
            shown = _see(connection, visit, record, label) if visit.by_script else None
    if saved is not None:
        return _conflict(visit, record, *saved)
    address = f"{_place(_stage(visit))}?record={record}"
    if label in visit.workspace.codebook.keys:
        address += f"&label={label}"
    if shown is None:
        sentence = visit.number("sentence") if visit.request.url.path.endswith("/mark") else None
        place = f"#label-{label}" if sentence is None else f"#s-{sentence}"
        return visit.go(f"{address}{place}" if label else address)
    names = visit.workspace.codebook.names
    text = said if isinstance(said, str) else "; ".join(said)
    return visit.show_again(_page(visit, shown, f"{names[label]}: {text}" if label in names else text), address)


def _saved(connection: Connection, visit: Visit, record: int) -> tuple[list[Card], int]:
    """Return the person's codes of a record as they are saved, and the number of the last event about these codes."""
    return _cards(connection, visit, record), last_judged(connection, visit.person.id, record, _stage(visit))


def _conflict(visit: Visit, record: int, cards: Sequence[Card], based_on: int) -> Response:
    """Show the codes that were saved in a different window, and what this form contains."""
    stage = _stage(visit)
    saved = [(card.label.name, _in_words(card.answer, card.sentences)) for card in cards]
    mine = next((card for card in cards if card.label.key == visit.text("label")), None)
    name = mine.label.name if mine is not None else ""
    given = ANSWER_NAMES.get(visit.text("answer"), visit.text("answer"))
    match visit.request.url.path.rpartition("/")[2]:
        case "mark" if mine is not None:
            number = visit.number("sentence") or 0
            wanted = f"{name}: {'remove the mark of' if number in mine.sentences else 'mark'} sentence {number + 1}"
        case "rest":
            wanted = "no for every label that had no answer"
        case "done":
            wanted = "finish the record"
        case "suggestion":
            wanted = f"{name}: {_REPLIES.get(visit.text('answer'), given)}"
        case _:
            wanted = f"{name}: {given}"
    return visit.show_again(
        two_versions(visit, saved=saved, wanted=wanted, based_on=based_on, back=f"{_place(stage)}?record={record}"),
        f"{_place(stage)}?record={record}",
    )


def _in_words(answer: str, sentences: Sequence[int]) -> str:
    numbers = ", ".join(str(number + 1) for number in sentences)
    marked = f"; sentence{'s' if len(sentences) > 1 else ''} {numbers}" if sentences else ""
    return ANSWER_NAMES[answer] + marked


def _letters(labels: Sequence[Label]) -> list[str]:
    """Return a letter for each label: the first free letter of its name, else of the alphabet, else ``""``."""
    found = list[str]()
    for label in labels:
        letters = [letter for letter in label.name.lower() if "a" <= letter <= "z"]
        free = (letter for letter in [*letters, *"abcdefghijklmnopqrstuvwxyz"] if letter not in found)
        found.append(next(free, ""))
    return found


def _card(connection: Connection, visit: Visit, record: int, label: str) -> Card:
    cards = {card.label.key: card for card in _cards(connection, visit, record)}
    if label not in cards:
        raise Refused(f"the codebook has no label '{label}'; load the page again")
    return cards[label]


def _asked_anew(connection: Connection, visit: Visit, record: int) -> set[str]:
    """Return the labels in the codebook that were added after the person finished a record."""
    return owed_labels(connection, visit.person.id, record, _stage(visit)) & set(visit.workspace.codebook.keys)


def _cards(connection: Connection, visit: Visit, record: int) -> list[Card]:
    """Return what the page shows for each label of a record, in codebook order.

    If the person finished the record before labels were added to the codebook, only the new labels are returned.
    """
    return _cards_of(connection, visit, record, _asked_anew(connection, visit, record))


def _cards_of(connection: Connection, visit: Visit, record: int, new: Collection[str]) -> list[Card]:
    """Return what the page shows for each label of a record; see `_cards`.

    Parameters
    ----------
    new
        Labels that were added after the person finished the record; if there are none, all labels are returned.
    """
    table = schema.current
    rows = connection.execute(
        select(table).where(table.c.record == record, table.c.stage == _stage(visit), table.c.coder == visit.person.id)
    )
    mine: dict[str, Any] = {row.label: row for row in rows}
    labels = visit.workspace.codebook.labels
    cards = []
    for label, letter in zip(labels, _letters(labels), strict=True):
        if new and label.key not in new:
            continue
        card = Card(label, letter)
        if (row := mine.get(label.key)) is not None:
            given = "refer" if row.refer else {1: "yes", 0: "no", None: ""}[row.value]
            card = replace(card, answer=given, sentences=tuple(json.loads(row.sentences)), complete=bool(row.complete))
        cards.append(card)
    return cards


def _replied(connection: Connection, record: int, stage: str, coder: int) -> set[str]:
    """Return the labels for which a person has answered the suggestion at a stage."""
    table = schema.event
    events = alive(read_events(connection, table.c.record == record))
    mine = (event for event in events if (event.kind, event.stage, event.coder) == ("answer", stage, coder))
    return {event.label or "" for event in mine}


def _shows_suggestions_after(connection: Connection, visit: Visit, record: int) -> bool:
    model_id = read_fact(connection, "model_id")
    stage = _stage(visit)
    exercise = running_exercise(connection, stage)
    if exercise is not None and record in exercise.records:
        return False
    after = read_plan(connection).mode(stage) == "after"
    known = read_suggestions(connection, record, stage, model_id) if after and model_id else {}
    return any(key in known for key in visit.workspace.codebook.keys)


def _see(connection: Connection, visit: Visit, number: int | None, label: str, *, new: bool = False) -> dict[str, Any]:
    """Return the values of the template that shows a record, and store in table ``sight`` what is shown.

    Parameters
    ----------
    number
        Number of the record; ``None`` for the next record. If there is no next record, the key ``entry`` is missing.
    label
        Key of the label to choose; if empty, the first label without an answer is chosen.
    new
        Whether the next record is one that the person must code for new labels.
    """
    workspace, coder, stage = visit.workspace, visit.person.id, _stage(visit)
    if number is None and new:
        number = next_owed(connection, coder, stage)
    if number is None:
        number = order.next_record(connection, coder, stage)
    entry = read_entry(connection, number) if number is not None else None
    counts = {
        "stage": stage,
        "place": _place(stage),
        "bases": _bases(connection, visit, entry),
        "judged": count_judged(connection, coder, stage),
        "left": count_waiting(connection, coder, stage),
        "owed": count_owed(connection, coder, stage),
    }
    if entry is None:
        skipped = connection.execute(
            select(schema.record.c.id, schema.record.c.title)
            .join(schema.skip, schema.skip.c.record == schema.record.c.id)
            .where(schema.skip.c.coder == coder, schema.skip.c.stage == stage)
        ).all()
        return counts | {"skipped": skipped}
    added = _asked_anew(connection, visit, entry.id)
    asks_new = bool(added)
    cards = _cards_of(connection, visit, entry.id, added)
    keys = [card.label.key for card in cards]
    _require_wanted(connection, entry, stage, cards)
    words = read_words(connection, read_plan(connection), coder)
    sight = show(
        connection,
        entry,
        coder,
        stage,
        labels=keys,
        at=utc_now(),
        model_id=read_fact(connection, "model_id"),
        seed=workspace.seed,
        highlights=words.on,
    )
    committed = sight.committed
    if not committed and not asks_new:
        order.renew_lease(connection, entry.id, coder, stage)
    replied = _replied(connection, entry.id, stage, coder)
    reading = read_reading(connection, entry, stage)
    note = schema.note
    notes = connection.execute(
        select(note.c.audience, note.c.text).where(note.c.record == entry.id, note.c.coder == coder)
    )
    cards = [
        replace(
            card,
            suggestion=sight.suggestions.get(card.label.key),
            replied=card.label.key in replied,
            others=tuple(code for code in sight.others if code.label == card.label.key),
        )
        for card in cards
    ]
    chosen = label if label in keys else next((card.label.key for card in cards if not card.answer), keys[0])
    begun = any(card.answer for card in cards) and not committed
    return counts | {
        "came_back": sent_back(connection, coder, stage=stage, record=entry.id) if begun else [],
        "entry": entry,
        "cards": cards,
        "lines": _lines(reading, cards),
        "reading": reading,
        "chosen": chosen,
        "words": words,
        "open_cards": [card for card in cards if not card.answer],
        "sight": sight,
        "model": read_fact(connection, "model"),
        "committed": committed,
        "asks_new": asks_new,
        "new": new or asks_new,
        "following": _following(stage, new),
        "based_on": last_judged(connection, coder, entry.id, stage),
        "notes": {audience: text for audience, text in notes},
        "tags": tags_of(connection, entry.id, coder=coder),
        "proposed": frequent_tags(connection),
    }


def _page(visit: Visit, shown: dict[str, Any], said: str = "", missing: Sequence[Card] = ()) -> Response:
    if "entry" not in shown:
        return visit.page("code_done.html", said=said, **shown)
    return visit.page("code.html", said=said, missing=missing, answers=ANSWER_NAMES, **shown)


def _bases(connection: Connection, visit: Visit, entry: Entry | None) -> list[tuple[str, str, int]]:
    """Return the address, the name and the number of records left for each text by which this person can code.

    The address of the text that is not shown leads to the same record if the person can code the record by this text
    or has begun to, and otherwise to the next record. Returns an empty list if no full text is attached to a record to
    code.

    Parameters
    ----------
    entry
        The record that is shown, if there is one.
    """
    coder, addresses = visit.person.id, {"code": "/code?basis=abstract", "full-text": "/full-text?basis=full-text"}
    if not has_full_texts(connection):
        return []
    other = next(stage for stage in _BASIS_NAMES if stage != _stage(visit))
    if entry is not None and _can_code(connection, coder, entry.id, other):
        addresses[other] += f"&record={entry.id}"
    return [(addresses[stage], name, count_waiting(connection, coder, stage)) for stage, name in _BASIS_NAMES.items()]


def _can_code(connection: Connection, coder: int, record: int, stage: str) -> bool:
    """Return whether a record is available to a person at a stage, or the person has answered a label of it there."""
    table = schema.current
    own = select(table.c.record).where(
        table.c.record == record,
        table.c.stage == stage,
        table.c.coder == coder,
        or_(table.c.value.is_not(None), table.c.refer == 1),
    )
    return order.is_available(connection, record, coder, stage) or connection.execute(own).first() is not None


def _require_wanted(connection: Connection, entry: Entry, stage: str, cards: Sequence[Card]) -> None:
    """Refuse a record that does not need coding, unless the person has begun to code the record."""
    head, _ = family_of(connection, entry.id)
    need = schema.need
    wanted = connection.execute(select(need.c.record).where(need.c.record == head, need.c.stage == stage)).first()
    screened = head not in hidden_records(connection, "screen")
    if not (wanted and screened) and not any(card.answer for card in cards):
        if stage == "full-text":
            raise Refused("this record has not been included, or no full text is attached to it", 409)
        raise Refused("this record has not been included, so there is nothing to code", 409)


def _lines(reading: Reading, cards: Sequence[Card]) -> list[Line]:
    lines, heading, page = [], "", ""
    for number, (start, end, section, begun) in enumerate(reading.sentences):
        marked = tuple(card for card in cards if number in card.sentences)
        suggested = tuple(card for card in cards if card.suggestion and number in card.suggestion.sentences)
        text = reading.text[start:end]
        begins = section if section != heading else "", begun if begun != page else ""
        lines.append(Line(number, text, *begins, marked, suggested))
        heading, page = section, begun
    return lines


_PATHS: tuple[tuple[str, str, Handler, tuple[str, ...]], ...] = (
    ("", "code", code, ("GET",)),
    ("/new", "code_new", new_labels, ("GET",)),
    ("/answer", "code_answer", answer, ("POST",)),
    ("/mark", "code_mark", mark, ("POST",)),
    ("/rest", "code_rest", rest, ("POST",)),
    ("/suggestion", "code_suggestion", suggestion, ("POST",)),
    ("/done", "code_done", done, ("POST",)),
    ("/skip", "code_skip", skip, ("POST",)),
)
ROUTES = [route(place + path, name, handler, methods) for place in _PLACES for path, name, handler, methods in _PATHS]
