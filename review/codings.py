"""Convert the codes of a review to `Coding` objects, which training, evaluation and exports read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from sqlalchemy import Connection, select

from mechtag.core.records import FINAL, Coding, Sign
from mechtag.review.plan import BASES
from mechtag.review.sight import hidden_places, in_exercise
from mechtag.review.store import schema
from mechtag.review.store.accounts import withdrawn
from mechtag.review.store.readings import Reading, read_file, read_reading, signs_of
from mechtag.review.store.records import Entry, read_entries


def coders_codings(
    connection: Connection, *, first: bool = False, coder: int | None = None, viewer: int | None = None
) -> list[Coding]:
    """Return the codes of each coder for the records that this coder has finished.

    The codes are in the order of records, stages (such as ``screen``), coders and labels. Codes of withdrawn people are
    always left out.

    Parameters
    ----------
    first
        Whether to return each code as it was when its coder first finished the record. If so, codes that were given
        while other people's codes were visible are left out.
    coder
        Account number of the person whose codes are returned; by default, the codes of all people are returned.
    viewer
        Account number of the person who will see the result. If this person can still judge a record, other people's
        codes of the record are left out. By default, none are left out.
    """
    current, account = schema.current, schema.account
    query = (
        select(current, account.c.name)
        .join(account, account.c.id == current.c.coder)
        .where(current.c.committed == 1, account.c.state != "withdrawn")
        .order_by(current.c.record, current.c.stage.desc(), account.c.name, current.c.label)
    )
    if coder is not None:
        query = query.where(current.c.coder == coder)
    if first:
        query = query.where(current.c.others_shown == 0)
    rows = connection.execute(query).all()
    if viewer is not None:
        hidden = hidden_places(connection, viewer)
        rows = [row for row in rows if row.coder == viewer or (row.record, row.stage) not in hidden]
    entries = _entries(connection, {row.record for row in rows})
    texts = _texts(connection, rows, entries)
    # A person may have coded a record by a file that is not the full text of the paper any more.
    files = {sha256: read_file(connection, sha256) for sha256 in {row.text for row in rows if row.text}}
    return [
        _coding(row, entries[row.record], files.get(row.text, texts[row.record, row.stage]), row.name, first)
        for row in rows
    ]


def final_codings(connection: Connection, *, learn_from_assisted: bool = True) -> list[Coding]:
    """Return the final codes: at most one for each record, stage (such as ``full-text``) and label.

    A final code was settled by an adjudicator, agreed by all coders, or given by the only required coder. Codes of a
    calibration exercise (several people judge the same records) are left out until the exercise ends.

    Parameters
    ----------
    learn_from_assisted
        Whether to include codes that a coder gave while a suggestion of the model was visible.
    """
    final, current = schema.final, schema.current
    rows = connection.execute(
        select(final)
        .where(~in_exercise(connection, final.c.record, final.c.stage))
        .order_by(final.c.record, final.c.stage.desc(), final.c.label)
    ).all()
    votes = connection.execute(
        select(
            current.c.record,
            current.c.stage,
            current.c.label,
            current.c.assisted,
            current.c.model_id,
            current.c.codebook,
            current.c.at,
        ).where(current.c.committed == 1, current.c.coder.not_in(withdrawn()))
    )
    given = _by_place(connection, votes)
    entries = _entries(connection, {row.record for row in rows})
    texts = _texts(connection, rows, entries)
    found = []
    for row in rows:
        own = given.get((row.record, row.stage, row.label), [])
        assisted = _any_assisted([vote.assisted for vote in own])
        if assisted and not learn_from_assisted:
            continue
        last = max(own, key=lambda vote: vote.at, default=None)
        found.append(
            Coding(
                record_id=entries[row.record].record_id,
                coder=FINAL,
                label=row.label,
                value=row.value,
                basis=BASES.get(row.stage, "abstract"),
                evidence=texts[row.record, row.stage].quote(json.loads(row.sentences)) or None,
                date=last.at[:10] if last is not None else None,
                codebook_version=last.codebook if last is not None else None,
                sentences=_marked(json.loads(row.sentences), bool(row.complete)),
                signs=_signs(row),
                sentences_complete=bool(row.complete),
                reason=row.reason,
                assisted=assisted,
                model_id=next((vote.model_id for vote in own if vote.model_id), None),
            )
        )
    return found


def _any_assisted(values: list[int | None]) -> bool | None:
    """Return whether a suggestion was visible for at least one code, or ``None`` if this is not known.

    ``values`` contains ``1`` (visible), ``0`` (not visible) or ``None`` (not known) for each code.
    """
    if any(values):
        return True
    return None if not values or None in values else False


def _entries(connection: Connection, numbers: set[int]) -> dict[int, Entry]:
    return {entry.id: entry for entry in read_entries(connection, sorted(numbers))}


def _texts(connection: Connection, rows: Iterable[Any], entries: dict[int, Entry]) -> dict[tuple[int, str], Reading]:
    """Return the current abstract or full text for each row, keyed by record number and stage."""
    places = dict.fromkeys((row.record, row.stage) for row in rows)
    return {(record, stage): read_reading(connection, entries[record], stage) for record, stage in places}


def _marked(numbers: list[int], complete: bool) -> tuple[int, ...] | None:
    return tuple(numbers) if numbers or complete else None


def _signs(row: Any) -> tuple[Sign | None, ...]:
    """Return the sign of each marked sentence in a row of table ``current`` or ``final``.

    A sentence without a sign has the value ``None``.
    """
    numbers = json.loads(row.sentences)
    return tuple(map(signs_of(row, numbers).get, numbers))


def _coding(row: Any, entry: Entry, text: Reading, name: str, first: bool) -> Coding:
    value: Literal[0, 1] | None = row.first_value if first else row.value
    assisted = row.first_assisted if first else row.assisted
    numbers = json.loads(row.sentences)
    return Coding(
        record_id=entry.record_id,
        coder=name,
        label=row.label,
        value=value,
        basis=BASES.get(row.stage, "abstract"),
        evidence=text.quote(numbers) or None,
        date=row.at[:10],
        codebook_version=row.codebook or None,
        sentences=_marked(numbers, bool(row.complete)),
        signs=_signs(row),
        sentences_complete=bool(row.complete),
        refer=bool(row.first_refer if first else row.refer),
        reason=row.reason,
        assisted=None if assisted is None else bool(assisted),
        model_id=row.model_id,
    )


def stage_of(coding: Coding, relevance: str) -> str:
    """Return the stage (such as ``screen``) at which a code was given; ``relevance`` is the key of relevance."""
    if coding.label == relevance:
        return "screen"
    return next(stage for stage, basis in BASES.items() if basis == coding.basis)


def unassisted(codings: list[Coding]) -> Iterator[Coding]:
    """Yield the codes whose coder certainly saw no suggestion of the model."""
    return (row for row in codings if row.assisted is False)


def independent_codings(connection: Connection) -> list[Coding]:
    """Return the final codes that no suggestion of the model can have influenced.

    A model can be compared with these codes. There are three cases:

    - No coder saw a suggestion. The final code is returned.
    - A coder may have seen a suggestion before the coder's first answer. The code is left out.
    - A coder may have seen a suggestion, but only after the coder's first answer. If the first answers of all coders
      are yes, or are all no, they replace the final code. Otherwise, the code is left out.

    A final code of a label that no coder has judged is left out, too.
    Codes of a calibration exercise (several people judge the same records) are left out until the exercise ends.
    """
    final, current, account = schema.final, schema.current, schema.account
    votes = connection.execute(
        select(current)
        .join(account, account.c.id == current.c.coder)
        .where(current.c.committed == 1, account.c.state != "withdrawn")
    )
    given = _by_place(connection, votes)
    rows = connection.execute(
        select(final, schema.record.c.record_id)
        .join(schema.record, schema.record.c.id == final.c.record)
        .where(~in_exercise(connection, final.c.record, final.c.stage))
        .order_by(final.c.record, final.c.stage.desc(), final.c.label)
    )
    found = []
    for row in rows:
        own = given.get((row.record, row.stage, row.label), [])
        if not own or any(vote.first_assisted != 0 for vote in own):
            continue
        values = {row.value}
        # Omitting these codes would make the model look better than it is, because people change codes that differ from
        # the suggestion.
        if any(vote.assisted != 0 for vote in own):
            values = {None if vote.first_refer else vote.first_value for vote in own}
        if len(values) == 1 and values != {None}:
            value = values.pop()
            basis = BASES.get(row.stage, "abstract")
            found.append(Coding(record_id=row.record_id, coder=FINAL, label=row.label, value=value, basis=basis))
    return found


def _by_place(connection: Connection, votes: Iterable[Any]) -> dict[tuple[int, str, str], list[Any]]:
    """Group codes by record, stage (such as ``screen``) and label.

    Codes of a duplicate are listed under the record to which the duplicate was joined.
    """
    joined = {row.record: row.into for row in connection.execute(select(schema.joined))}
    given: dict[tuple[int, str, str], list[Any]] = {}
    for vote in votes:
        given.setdefault((joined.get(vote.record, vote.record), vote.stage, vote.label), []).append(vote)
    return given
