"""Find the sentences that coders chose as examples of labels, for the codebook and for training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, or_, select

from mechtag.core.codebook import Codebook
from mechtag.core.records import Coding
from mechtag.review.acts import EXAMPLE
from mechtag.review.plan import BASES
from mechtag.review.sight import visible_to
from mechtag.review.store import schema
from mechtag.review.store.events import family_of, project_events, read_plan
from mechtag.review.store.readings import abstract_of, read_file, sentences_in
from mechtag.review.store.records import Entry, read_entries, read_entry

if TYPE_CHECKING:
    from mechtag.pipeline.annotations.coded_records import Exemplar


@dataclass(frozen=True)
class Example:
    """A sentence that a coder marked for a label and chose as an example of this label.

    Attributes
    ----------
    coder
        Account number of the coder.
    sha256
        SHA-256 of the full text that contains the sentence; ``""`` if the sentence is in the abstract.
    number
        Number of the sentence, counted from 0.
    committed
        Whether the coder has finished the record.
    """

    entry: Entry
    stage: str
    coder: int
    label: str
    sha256: str
    number: int
    text: str
    committed: bool


def visible_examples(connection: Connection, viewer: int, *, blinded: bool) -> list[Example]:
    """Return the examples of labels that a person may see.

    People may see their own examples. They may see an example by somebody else if its coder has finished the record,
    and if they may see the codes of the record.

    Parameters
    ----------
    viewer
        Account number of the person.
    blinded
        ``False`` for owners and adjudicators, ``True`` for everybody else. Until blinding ends, everybody else sees
        other people's examples only in records whose codes are shown to everyone.
    """
    kept = _kept(connection)
    if not kept:
        return []
    event = schema.event
    query = select(event.c.seq).where(event.c.kind == EXAMPLE)
    if not read_plan(connection).unblinded:
        query = query.where(or_(event.c.coder == viewer, visible_to(connection, viewer, blinded=blinded)))
    visible = set(connection.execute(query).scalars())
    return [one for seq, one in kept if seq in visible and (one.committed or one.coder == viewer)]


def teaching_examples(connection: Connection, codings: Iterable[Coding], codebook: Codebook) -> list[Exemplar]:
    """Return the examples from which a model can learn.

    An example is returned if its coder has finished the record, and if the final code of the record for the label is
    yes. The example has the record id of its paper, so that a model that is evaluated on this paper does not learn from
    the example.

    Parameters
    ----------
    codings
        The final codes from which the model learns.
    """
    from mechtag.pipeline.annotations.coded_records import Exemplar

    yes = {(row.record_id, row.basis, row.label) for row in codings if row.value == 1}
    labels, papers = dict[tuple[str, str], set[str]](), dict[str, str]()
    for _, one in _kept(connection):
        head = read_entry(connection, family_of(connection, one.entry.id)[0])
        if head is None or not one.committed or (head.record_id, BASES[one.stage], one.label) not in yes:
            continue
        name = "/".join((one.entry.record_id, one.stage, one.sha256[:12], str(one.number)))
        papers[name] = head.record_id
        labels.setdefault((name, one.text), set()).add(one.label)
    return [
        Exemplar(id=name, text=text, labels=tuple(key for key in codebook.keys if key in own), record_id=papers[name])
        for (name, text), own in labels.items()
        if own.intersection(codebook.keys)
    ]


class _Place(NamedTuple):
    """A sentence that a coder can choose as an example of a label."""

    record: int
    stage: str
    coder: int
    label: str
    sha256: str
    number: int


def _kept(connection: Connection) -> list[tuple[int, Example]]:
    """Return the examples that are still valid, each with the number of the event that chose the example."""
    chosen = dict[_Place, int]()
    for row in project_events(connection, EXAMPLE):
        (number,) = row.value["sentences"]
        place = _Place(
            row.record or 0, row.stage or "", row.coder, row.label or "", str(row.value.get("text", "")), number
        )
        chosen.pop(place, None)  # The latest choice comes last.
        if row.value["on"]:
            chosen[place] = row.seq
    if not chosen:
        return []
    table, account = schema.current, schema.account
    numbers = sorted({place.record for place in chosen})
    rows = connection.execute(
        select(table)
        .join(account, account.c.id == table.c.coder)
        .where(table.c.record.in_(numbers), table.c.value == 1, account.c.state != "withdrawn")
    )
    codes = {(row.record, row.stage, row.coder, row.label): row for row in rows}
    entries = {entry.id: entry for entry in read_entries(connection, numbers)}
    files = {sha256: read_file(connection, sha256) for sha256 in {place.sha256 for place in chosen} - {""}}
    found = []
    for place, seq in chosen.items():
        code = codes.get((place.record, place.stage, place.coder, place.label))
        text = files[place.sha256] if place.sha256 else abstract_of(entries[place.record])
        # An example is valid as long as its coder belongs to the review and marks the sentence for the label.
        if code is not None and place.number in sentences_in(code, place.sha256) and place.number < len(text.sentences):
            sentence = text.sentence(place.number)
            entry = entries[place.record]
            committed = bool(code.committed)
            found.append((seq, Example(entry, *place[1:], text=sentence, committed=committed)))
    return found
