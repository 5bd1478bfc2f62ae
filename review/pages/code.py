"""Show the *Code* page, on which people answer yes or no for each label of a record and mark supporting sentences.

At the address ``/code``, people code the abstract of a record. At the address ``/full-text``, they code its full text.
The codes of these two stages are stored separately.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, or_, select
from starlette.responses import Response

from mechtag.core.codebook import Label
from mechtag.core.records import SIGNS, Sign
from mechtag.pipeline.reading.text.sign import sign_of
from mechtag.review import order
from mechtag.review.acts import Acts, Outdated, Refused, Stamp, last_judged, utc_now
from mechtag.review.examples import Example, visible_examples
from mechtag.review.numbers import whole_number
from mechtag.review.pages.records import sees_results
from mechtag.review.pages.two_versions import two_versions
from mechtag.review.sight import Suggestion, Vote, read_suggestions, show
from mechtag.review.store import schema
from mechtag.review.store.events import family_of, read_events, read_plan
from mechtag.review.store.exercises import hidden_records, hides_suggestions
from mechtag.review.store.new_labels import count_owed, next_owed, owed_labels
from mechtag.review.store.queue import count_judged, count_waiting, has_full_texts
from mechtag.review.store.readings import Reading, hash_of_text, read_reading, roles_of, sentences_in, signs_of
from mechtag.review.store.records import Entry, read_entry
from mechtag.review.store.sent_back import sent_back
from mechtag.review.store.state import alive
from mechtag.review.store.tags import frequent_tags, own_tags, tags_of
from mechtag.review.visit import Handler, Visit, route
from mechtag.review.words import read_words
from mechtag.review.workspace import read_fact, write_fact

# Addresses of the page, with the stage.
_PLACES = {"/code": "code", "/full-text": "full-text"}
# Answers that the radio buttons send, with the value, and whether the label needs review.
_ANSWERS: dict[str, tuple[int | None, bool]] = {"yes": (1, False), "no": (0, False), "refer": (None, True)}
_BASIS_NAMES = {"code": "Abstract", "full-text": "Full text"}
# Names of the answers on the pages.
ANSWER_NAMES = {"yes": "yes", "no": "no", "refer": "needs review", "": "no answer"}
# Characters that stand for the signs of a marked sentence.
_SIGN_MARKS: dict[Sign, str] = {"present": "+", "absent": "−", "unclear": "?"}
# Largest number of examples of a label that the page shows.
_EXAMPLES = 5
# Names of the answers to a suggestion on the pages.
_REPLIES = {"accept": "accept the suggestion", "reject": "reject the suggestion", "refer": "needs review"}


@dataclass(frozen=True)
class Card:
    """The part of the *Code* page for one label of a record.

    Attributes
    ----------
    letter
        Letter on the keyboard that selects the label after ``;`` was pressed; ``""`` if no letter was left.
    answer
        ``yes``, ``no`` or ``refer``; ``""`` if the person has not answered.
    sentences
        Numbers of the sentences that the person marked, counted from 0.
    signs
        Signs that the person gave to marked sentences, keyed by number of the sentence. A sign states whether what the
        label describes is ``present``, ``absent`` or ``unclear`` in the sentence.
    roles
        Roles of evidence of the marked sentences, keyed first by number of the sentence, then by role. Each value lists
        the numbers of the configurations (groups of linked sentences) in which the sentence has this role.
    complete
        Whether the person has read all sentences for this label.
    suggestion
        Suggestion of the model; ``None`` if there is no suggestion or it is hidden.
    replied
        Whether the person has answered the suggestion.
    others
        Codes of others for this label; empty if these codes are hidden.
    examples
        Numbers of the marked sentences that the person chose as examples of the label in the codebook.
    """

    label: Label
    letter: str
    answer: str = ""
    sentences: tuple[int, ...] = ()
    signs: Mapping[int, Sign] = field(default_factory=dict)
    roles: Mapping[int, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    complete: bool = False
    suggestion: Suggestion | None = None
    replied: bool = False
    others: tuple[Vote, ...] = ()
    examples: tuple[int, ...] = ()

    @property
    def configurations(self) -> dict[int, list[tuple[str, int]]]:
        """Return the marked sentences of each configuration, keyed by the number of the configuration.

        A configuration consists of sentences that together explain a label. Each sentence is given as a tuple of its
        role and its number.
        """
        found: dict[int, list[tuple[str, int]]] = {}
        for sentence, own in self.roles.items():
            for role, numbers in own.items():
                for number in numbers:
                    found.setdefault(number, []).append((role, sentence))
        return dict(sorted(found.items()))

    @property
    def agrees(self) -> bool:
        """Return whether the person's answer is the same as the suggestion of the model."""
        return self.suggestion is not None and self.suggestion.decision == self.answer


@dataclass(frozen=True)
class Line:
    """One sentence of the text on the *Code* page.

    Attributes
    ----------
    number
        Number of the sentence, counted from 0.
    heading
        Heading of the section that begins with this sentence; ``""`` if no section begins here.
    page
        Label of the page that begins with this sentence; ``""`` if no page begins here.
    marked
        Cards of the labels for which the person marked the sentence.
    suggested
        Cards of the labels for which the model suggests the sentence.
    """

    number: int
    text: str
    heading: str
    page: str
    marked: tuple[Card, ...]
    suggested: tuple[Card, ...]

    @property
    def says_absent(self) -> bool:
        """Return whether the wording of the sentence suggests that something is lacking or weak."""
        return sign_of(self.text) == "absent"


def basis_of(person: int) -> str:
    """Return the key in table ``fact`` under which the stage at which a person last used the page is stored.

    The value under this key is ``code`` (abstracts) or ``full-text``.
    """
    return f"basis of {person}"


def _stage(visit: Visit) -> str:
    """Return the stage to which the address of a request belongs: ``code`` or ``full-text``."""
    return _PLACES["/" + visit.request.url.path.split("/")[1]]


def _place(stage: str) -> str:
    """Return the address of the *Code* page for a stage: ``/code`` or ``/full-text``."""
    return next(place for place, name in _PLACES.items() if name == stage)


def code(visit: Visit) -> Response:
    """Show the record whose number is in the address; without a number, show the next record to code.

    If the person last used the page for full texts and has full texts left to code, ``/code`` redirects to
    ``/full-text``. An address with ``record`` or ``basis`` is never redirected.
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
    """Show the next record that the person must code for new labels.

    New labels are labels that were added to the codebook after the person had finished the record.
    """
    with visit.workspace.store.write() as connection:
        shown = _see(connection, visit, None, "", new=True)
    return _page(visit, shown)


def answer(visit: Visit) -> Response:
    """Save the person's answer for a label.

    If the form was sent without JavaScript, the marked sentences are saved, too.
    """
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
    """Mark a sentence as support for a label; if the sentence is already marked, remove the mark."""
    label, record, sentence = visit.text("label"), visit.number("record") or 0, visit.number("sentence")
    said = []

    def write(connection: Connection, acts: Acts, stamp: Stamp) -> None:
        if sentence is None:
            raise Refused("no sentence was chosen; choose a sentence")
        mine = _card(connection, visit, record, label)
        marked = set(mine.sentences) ^ {sentence}
        acts.mark(stamp, record, label, sorted(marked), complete=mine.complete, stage=_stage(visit))
        said.append(f"sentence {sentence + 1} {'marked' if sentence in marked else 'not marked any more'}")

    return _write(visit, write, said)


def sign(visit: Visit) -> Response:
    """Save the sign that a person gave to a sentence for a label.

    The sign states whether what the label describes is ``present`` or ``absent``. It is ``unclear`` if the sentence
    says both or neither. A sentence that gets a sign is also marked as support for the label. If no sign was chosen in
    the form, the earlier sign of the sentence is removed.
    """
    label, record, sentence = visit.text("label"), visit.number("record") or 0, visit.number("sentence")
    given = visit.text("sign")
    chosen = next((one for one in SIGNS if one == given), None)

    def write(_: Connection, acts: Acts, stamp: Stamp) -> None:
        if sentence is None or (given and chosen is None):
            raise Refused("choose both a sentence and a sign")
        acts.sign(stamp, record, label, sentence, chosen, stage=_stage(visit))

    place = f"sentence {(sentence or 0) + 1}"
    return _write(visit, write, f"{place} marked as {given}" if given else f"{place} has no sign any more")


def example(visit: Visit) -> Response:
    """Choose a marked sentence as an example of its label in the codebook, or undo this choice."""
    label, record, sentence = visit.text("label"), visit.number("record") or 0, visit.number("sentence")
    on = visit.text("on") == "1"

    def write(_: Connection, acts: Acts, stamp: Stamp) -> None:
        if sentence is None:
            raise Refused("no sentence was chosen; choose a sentence")
        acts.exemplify(stamp, record, label, sentence, on=on, stage=_stage(visit))

    said = f"sentence {(sentence or 0) + 1} is {'now' if on else 'no longer'} an example in the codebook"
    return _write(visit, write, said)


def role(visit: Visit) -> Response:
    """Give a sentence a role of evidence for a label, or remove a role.

    The form has the field ``role`` with a role to give, or the field ``remove`` with a role to remove.
    """
    label, record, sentence = visit.text("label"), visit.number("record") or 0, visit.number("sentence")
    on = "remove" not in visit.form
    chosen = visit.text("role" if on else "remove")

    def write(_: Connection, acts: Acts, stamp: Stamp) -> None:
        if sentence is None:
            raise Refused("no sentence was chosen; choose a sentence and its role")
        acts.role(stamp, record, label, sentence, chosen, on=on, stage=_stage(visit))

    name = visit.workspace.codebook.role_names.get(chosen, chosen)
    place = f"sentence {(sentence or 0) + 1}"
    return _write(visit, write, f"{place} has the role {name}" if on else f"{place} does not have the role {name} now")


def link(visit: Visit) -> Response:
    """Add a sentence to a configuration, or remove it, as submitted in a form.

    A configuration consists of sentences that together explain a label. The form has the field ``link`` to add the
    sentence, or the field ``unlink`` to remove it. The value of this field is the number of the configuration. The
    field ``role`` contains the role of the sentence in this configuration.
    """
    label, record, sentence = visit.text("label"), visit.number("record") or 0, visit.number("sentence")
    on = "unlink" not in visit.form
    number = visit.number("link" if on else "unlink")

    def write(_: Connection, acts: Acts, stamp: Stamp) -> None:
        if sentence is None or number is None:
            raise Refused("choose both a sentence and a configuration")
        acts.link(stamp, record, label, sentence, visit.text("role"), number, on=on, stage=_stage(visit))

    place = f"sentence {(sentence or 0) + 1}"
    return _write(visit, write, f"{place} {'linked to' if on else 'removed from'} configuration {number}")


def rest(visit: Visit) -> Response:
    """Answer ``no`` for all labels in the form; labels that already have an answer keep it."""
    record = visit.number("record") or 0
    labels = [value for value in visit.form.getlist("rest") if isinstance(value, str)]
    stage = _stage(visit)
    return _write(
        visit, lambda _, acts, stamp: acts.rest_no(stamp, record, labels, stage=stage), "remaining labels answered no"
    )


def suggestion(visit: Visit) -> Response:
    """Save the person's answer to a suggestion of the model: ``accept``, ``reject`` or ``refer``."""
    label, record = visit.text("label"), visit.number("record") or 0

    def write(connection: Connection, acts: Acts, stamp: Stamp) -> None:
        mine = _card(connection, visit, record, label)
        taken = visit.numbers("sentence") if visit.text("answer") == "accept" else ()
        sentences = sorted({*mine.sentences, *taken})
        acts.answer(stamp, record, label, visit.text("answer"), sentences, stage=_stage(visit))

    return _write(visit, write, "answer to the suggestion saved")


def done(visit: Visit) -> Response:
    """Finish a record, and show the next record.

    If labels have no answer, the page first asks the person to confirm. If the review shows suggestions only after
    coding, the page shows the suggestions for the finished record before the next record.
    """
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
    """Return the address of the next record to code or, if ``new`` is true, of the next record with new labels."""
    return f"{_place(stage)}/new" if new else _place(stage)


def skip(visit: Visit) -> Response:
    """Put a record aside for later, and show the next record."""
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
    """Save the actions of a submitted form, and show the record again.

    If the saved codes have changed since the form was opened, nothing is saved. Instead, the page shows the saved codes
    and the content of the form.
    """
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
        sentence = visit.number("sentence") if visit.request.url.path.endswith(("/mark", "/sign")) else None
        place = f"#label-{label}" if sentence is None else f"#s-{sentence}"
        return visit.go(f"{address}{place}" if label else address)
    names = visit.workspace.codebook.names
    text = said if isinstance(said, str) else "; ".join(said)
    return visit.show_again(_page(visit, shown, f"{names[label]}: {text}" if label in names else text), address)


def _saved(connection: Connection, visit: Visit, record: int) -> tuple[list[Card], int]:
    """Return a person's saved codes for a record, and the number of the last event about these codes."""
    return _cards(connection, visit, record), last_judged(connection, visit.person.id, record, _stage(visit))


def _conflict(visit: Visit, record: int, cards: Sequence[Card], based_on: int) -> Response:
    """Show the saved codes and the content of the form, because the saved codes changed after the form was opened."""
    stage = _stage(visit)
    saved = [(card.label.name, _in_words(card)) for card in cards]
    mine = next((card for card in cards if card.label.key == visit.text("label")), None)
    name = mine.label.name if mine is not None else ""
    given = ANSWER_NAMES.get(visit.text("answer"), visit.text("answer"))
    match visit.request.url.path.rpartition("/")[2]:
        case "mark" if mine is not None:
            number = visit.number("sentence") or 0
            wanted = f"{name}: {'remove the mark of' if number in mine.sentences else 'mark'} sentence {number + 1}"
        case "sign":
            wanted = f"{name}: sentence {(visit.number('sentence') or 0) + 1} {visit.text('sign') or 'without a sign'}"
        case "role":
            place = f"{name}: sentence {(visit.number('sentence') or 0) + 1}"
            wanted = f"{place} with{'out' if 'remove' in visit.form else ''} the role "
            wanted += visit.text("role") or visit.text("remove")
        case "link":
            place = f"{name}: sentence {(visit.number('sentence') or 0) + 1}"
            wanted = f"{place} {'in' if visit.text('link') else 'not in'} configuration "
            wanted += visit.text("link") or visit.text("unlink")
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


def _in_words(card: Card) -> str:
    signs = {number: f" ({sign})" for number, sign in card.signs.items()}
    numbers = ", ".join(f"{number + 1}{signs.get(number, '')}" for number in card.sentences)
    marked = f"; sentence{'s' if len(card.sentences) > 1 else ''} {numbers}" if numbers else ""
    return ANSWER_NAMES[card.answer] + marked


def _letters(labels: Sequence[Label]) -> list[str]:
    """Return a different letter for each label, if possible a letter of its name; ``""`` if all letters are taken."""
    found = list[str]()
    for label in labels:
        letters = [letter for letter in label.name.lower() if "a" <= letter <= "z"]
        free = (letter for letter in [*letters, *"abcdefghijklmnopqrstuvwxyz"] if letter not in found)
        found.append(next(free, ""))
    return found


def _card(connection: Connection, visit: Visit, record: int, label: str) -> Card:
    cards = {card.label.key: card for card in _cards(connection, visit, record)}
    if label not in cards:
        raise Refused(f"the codebook has no label '{label}'; reload the page")
    return cards[label]


def _added_since(connection: Connection, visit: Visit, record: int) -> set[str]:
    """Return the keys of the labels that were added to the codebook after the person finished a record."""
    return owed_labels(connection, visit.person.id, record, _stage(visit)) & set(visit.workspace.codebook.keys)


def _cards(connection: Connection, visit: Visit, record: int) -> list[Card]:
    """Return a `Card` for each label of a record, in the order of the codebook.

    If labels were added after the person had finished the record, only the cards for these labels are returned.
    """
    return _cards_of(connection, visit, record, _added_since(connection, visit, record))


def _cards_of(connection: Connection, visit: Visit, record: int, new: Collection[str]) -> list[Card]:
    """Return a `Card` for each label whose key is in ``new``, or for all labels if ``new`` is empty."""
    table = schema.current
    rows = connection.execute(
        select(table).where(table.c.record == record, table.c.stage == _stage(visit), table.c.coder == visit.person.id)
    )
    mine: dict[str, Any] = {row.label: row for row in rows}
    labels = visit.workspace.codebook.labels
    text = hash_of_text(connection, record, _stage(visit))
    cards = []
    for label, letter in zip(labels, _letters(labels), strict=True):
        if new and label.key not in new:
            continue
        card = Card(label, letter)
        if (row := mine.get(label.key)) is not None:
            given = "refer" if row.refer else {1: "yes", 0: "no", None: ""}[row.value]
            marked = sentences_in(row, text)
            card = replace(card, answer=given, sentences=marked, signs=signs_of(row, marked))
            card = replace(card, roles=roles_of(row, marked))
            card = replace(card, complete=bool(row.complete))
        cards.append(card)
    return cards


def _marked_elsewhere(connection: Connection, record: int, coder: int, sha256: str) -> str:
    """Return the name of an earlier full-text file in which a person marked sentences; ``""`` if there is none."""
    if not sha256:
        return ""
    table, file = schema.current, schema.full_text
    marked = (table.c.record == record, table.c.coder == coder, table.c.sentences != "[]", table.c.text != sha256)
    others = select(file.c.name).join(table, table.c.text == file.c.sha256).where(*marked).limit(1)
    return connection.execute(others).scalar() or ""


def _replied(connection: Connection, record: int, stage: str, coder: int) -> set[str]:
    """Return the keys of the labels whose suggestions a person has answered at a stage, such as ``code``."""
    table = schema.event
    events = alive(read_events(connection, table.c.record == record))
    mine = (event for event in events if (event.kind, event.stage, event.coder) == ("answer", stage, coder))
    return {event.label or "" for event in mine}


def _shows_suggestions_after(connection: Connection, visit: Visit, record: int) -> bool:
    model_id = read_fact(connection, "model_id")
    stage = _stage(visit)
    if hides_suggestions(connection, record, stage):
        return False
    after = read_plan(connection).mode(stage) == "after"
    known = read_suggestions(connection, record, stage, model_id) if after and model_id else {}
    return any(key in known for key in visit.workspace.codebook.keys)


def _see(connection: Connection, visit: Visit, number: int | None, label: str, *, new: bool = False) -> dict[str, Any]:
    """Return the values for the template of the *Code* page, and store in table ``sight`` what the person sees.

    If ``number`` is ``None``, the page shows the next record. If ``new`` is also true, it shows the next record with
    new labels.
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
        "bases": _basis_links(connection, visit, entry),
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
    added = _added_since(connection, visit, entry.id)
    asks_new = bool(added)
    cards = _cards_of(connection, visit, entry.id, added)
    keys = [card.label.key for card in cards]
    _require_wanted(connection, entry, stage, cards)
    plan = read_plan(connection)
    words = read_words(connection, plan, coder)
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
        plan=plan,
    )
    committed = sight.committed
    if not committed and not asks_new:
        order.renew_lease(connection, entry.id, coder, stage)
    replied = _replied(connection, entry.id, stage, coder)
    reading = read_reading(connection, entry, stage)
    seen = visible_examples(connection, coder, blinded=not sees_results(visit, connection))
    own = {(one.label, one.number) for one in seen if (one.entry.id, one.stage, one.coder) == (entry.id, stage, coder)}
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
            examples=tuple(number for number in card.sentences if (card.label.key, number) in own),
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
        "marked_elsewhere": _marked_elsewhere(connection, entry.id, coder, reading.sha256),
        "chosen": chosen,
        "examples": _examples_elsewhere(seen, entry.id, keys),
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
        "tags": tags_of(connection, entry.id, own_tags(coder)),
        "codes_roles": plan.roles or any(card.roles for card in cards),
        "proposed": frequent_tags(connection),
    }


def _page(visit: Visit, shown: dict[str, Any], said: str = "", missing: Sequence[Card] = ()) -> Response:
    if "entry" not in shown:
        return visit.page("code_done.html", said=said, **shown)
    roles = visit.workspace.codebook.role_names
    shown |= {"answers": ANSWER_NAMES, "signs": _SIGN_MARKS, "roles": roles}
    return visit.page("code.html", said=said, missing=missing, **shown)


def _basis_links(connection: Connection, visit: Visit, entry: Entry | None) -> list[tuple[str, str, int]]:
    """Return the links to the pages for coding abstracts and for coding full texts.

    Each link is a tuple of three items: the address, the name, and the number of records that the person must still
    code. The list is empty if no record to code has a full text.
    """
    coder, addresses = visit.person.id, {"code": "/code?basis=abstract", "full-text": "/full-text?basis=full-text"}
    if not has_full_texts(connection):
        return []
    # The link to the other text leads to the same record if the person can code it, otherwise to the next record.
    other = next(stage for stage in _BASIS_NAMES if stage != _stage(visit))
    if entry is not None and _can_code(connection, coder, entry.id, other):
        addresses[other] += f"&record={entry.id}"
    return [(addresses[stage], name, count_waiting(connection, coder, stage)) for stage, name in _BASIS_NAMES.items()]


def _can_code(connection: Connection, coder: int, record: int, stage: str) -> bool:
    """Return whether a person can code a record at a stage, or has already begun to code it."""
    table = schema.current
    own = select(table.c.record).where(
        table.c.record == record,
        table.c.stage == stage,
        table.c.coder == coder,
        or_(table.c.value.is_not(None), table.c.refer == 1),
    )
    return order.is_available(connection, record, coder, stage) or connection.execute(own).first() is not None


def _examples_elsewhere(examples: Sequence[Example], record: int, labels: Collection[str]) -> dict[str, list[Example]]:
    """Return the latest examples of each label in other records, keyed by label."""
    found: dict[str, list[Example]] = {label: [] for label in labels}
    for one in examples:
        if one.entry.id != record and one.label in found:
            found[one.label].append(one)
    return {label: shown[-_EXAMPLES:] for label, shown in found.items()}


def _require_wanted(connection: Connection, entry: Entry, stage: str, cards: Sequence[Card]) -> None:
    """Raise `Refused` if a record must not be coded at a stage.

    A record that the person has begun to code is never refused. ``cards`` contains the person's answers for the record.
    """
    head, _ = family_of(connection, entry.id)
    need = schema.need
    wanted = connection.execute(select(need.c.record).where(need.c.record == head, need.c.stage == stage)).first()
    screened = head not in hidden_records(connection, "screen")
    if not (wanted and screened) and not any(card.answer for card in cards):
        if stage == "full-text":
            raise Refused(
                "this record cannot be coded from its full text. If the record is not included, include it; if it has "
                "no full text, attach one",
                409,
            )
        raise Refused("this record cannot be coded, because it has not been included; screen the record first", 409)


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
    ("/sign", "code_sign", sign, ("POST",)),
    ("/example", "code_example", example, ("POST",)),
    ("/role", "code_role", role, ("POST",)),
    ("/link", "code_link", link, ("POST",)),
    ("/rest", "code_rest", rest, ("POST",)),
    ("/suggestion", "code_suggestion", suggestion, ("POST",)),
    ("/done", "code_done", done, ("POST",)),
    ("/skip", "code_skip", skip, ("POST",)),
)
ROUTES = [route(place + path, name, handler, methods) for place in _PLACES for path, name, handler, methods in _PATHS]
