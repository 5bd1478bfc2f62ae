"""Collect the passages to which people gave roles of evidence, for the page of configurations and for exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from mechtag.core.codebook import Codebook
from mechtag.pipeline.evidence_roles.configurations import RolePassage
from mechtag.review.plan import BASES
from mechtag.review.sight import hidden_places
from mechtag.review.store import schema
from mechtag.review.store.readings import Reading, hash_of_text, read_reading, roles_of, sentences_in, signs_of
from mechtag.review.store.records import Entry, read_entries


class PlacedPassage(NamedTuple):
    """A passage with its role, and the record, stage and number of the sentence, counted from 0."""

    passage: RolePassage
    record: int
    stage: str
    sentence: int


def read_role_passages(
    connection: Connection, codebook: Codebook, *, coder: int | None = None, viewer: int | None = None
) -> list[PlacedPassage]:
    """Return the passages with roles of committed codes, in the order of records, stages, people and labels.

    A passage that belongs to several configurations is returned once for each of them. Passages of labels that the
    coder answered no, and roles and labels that are no longer in the codebook, are left out.

    Parameters
    ----------
    coder
        Account number of the person whose passages are returned; by default, those of all people. Passages of withdrawn
        people are always left out.
    viewer
        Account number of the owner or adjudicator who will see the result; passages of others on records that this
        person can still judge are left out. By default, nothing is left out for this reason.
    """
    current, account = schema.current, schema.account
    query = (
        select(current, account.c.name)
        .join(account, account.c.id == current.c.coder)
        .where(current.c.committed == 1, current.c.value == 1, current.c.roles != "{}", account.c.state != "withdrawn")
        .order_by(current.c.record, current.c.stage.desc(), account.c.name, current.c.label)
    )
    if coder is not None:
        query = query.where(current.c.coder == coder)
    rows = connection.execute(query).all()
    if viewer is not None:
        hidden = hidden_places(connection, viewer)
        rows = [row for row in rows if row.coder == viewer or (row.record, row.stage) not in hidden]
    entries = {entry.id: entry for entry in read_entries(connection, sorted({row.record for row in rows}))}
    found: list[PlacedPassage] = []
    for row in rows:
        reading = read_reading(connection, entries[row.record], row.stage)
        shown = sentences_in(row, hash_of_text(connection, row.record, row.stage))
        if row.label in codebook.keys:
            found += _passages(row, entries[row.record], reading, shown, codebook)
    return found


def _passages(
    row: Any, entry: Entry, reading: Reading, shown: tuple[int, ...], codebook: Codebook
) -> Iterator[PlacedPassage]:
    signs = signs_of(row, shown)
    members: dict[int, int] = {}
    for sentence, own in sorted(roles_of(row, shown).items()):
        if sentence >= len(reading.sentences):
            continue
        line = reading.sentences[sentence]
        for role in (role for role in codebook.role_names if role in own):
            for number in own[role] or (0,):
                members[number] = members.get(number, 0) + 1
                passage = RolePassage(
                    config_id=_config_id(row, entry, number) if number else "",
                    record_id=entry.record_id,
                    coder=row.name,
                    label=row.label,
                    role=role,
                    sign=signs.get(sentence),
                    start=line.start,
                    end=line.end,
                    text=" ".join(reading.sentence(sentence).split()),
                    order=members[number] if number else None,
                    basis=BASES[row.stage],
                    page=line.page or None,
                )
                yield PlacedPassage(passage, row.record, row.stage, sentence)


def _config_id(row: Any, entry: Entry, number: int) -> str:
    """Return an identifier that no other configuration of the review has.

    ``number`` is the number of the configuration among those of the same coder for the same record, stage and label.
    """
    return f"{entry.record_id} / {BASES[row.stage]} / {row.label} / {row.name} / {number}"
