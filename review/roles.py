"""Collect the passages to which people gave roles of evidence, for the *Configurations* page and for exports.

A configuration consists of passages that together explain a label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from mechtag.core.codebook import Codebook
from mechtag.pipeline.export.evidence_roles.configurations import RolePassage
from mechtag.review.plan import BASES
from mechtag.review.sight import hidden_places
from mechtag.review.store import schema
from mechtag.review.store.readings import Reading, abstract_of, read_file, read_reading, roles_of, signs_of
from mechtag.review.store.records import Entry, read_entries


class PlacedPassage(NamedTuple):
    """A passage with its role, and its place in the text that the pages show for the paper.

    Attributes
    ----------
    record
        Number of the record that represents the paper.
    stage
        Stage at which the passage was marked, such as ``full-text``.
    sentence
        Number of the sentence in the text that the pages show, from 0. ``None`` if the sentence was marked in another
        text, such as the abstract of a duplicate or an earlier full text.
    """

    passage: RolePassage
    record: int
    stage: str
    sentence: int | None


def read_role_passages(
    connection: Connection, codebook: Codebook, *, coder: int | None = None, viewer: int | None = None
) -> list[PlacedPassage]:
    """Return the passages with roles of evidence, in the order of records, stages, people and labels.

    The stages are ``code`` (the passage is in the abstract) and ``full-text``. Only passages of finished codes with the
    answer yes are returned. Roles and labels that are no longer in the codebook are left out. A passage that belongs to
    several configurations (groups of linked passages) is returned once for each of them.

    If records are joined as one paper, their passages are returned for the record that represents the paper. The pages
    show the text of this record. A passage that was marked in any other text has no offsets.

    Parameters
    ----------
    coder
        Account number of the person whose passages are returned. By default, the passages of all people are returned.
        Passages of withdrawn people are always left out.
    viewer
        Account number of the owner or adjudicator who will see the result. Passages of other people are left out if
        they must still be hidden from the viewer (see `hidden_places`). By default, no passages are hidden.
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
    heads = {row.record: row.into for row in connection.execute(select(schema.joined))}
    needed = {row.record for row in rows} | {heads.get(row.record, row.record) for row in rows}
    entries = {entry.id: entry for entry in read_entries(connection, sorted(needed))}
    texts: dict[tuple[int, str], Reading] = {}
    # Two records of a paper that one person coded may have the same sentences.
    found: dict[PlacedPassage, None] = {}
    for row in rows:
        if row.label in codebook.keys:
            paper = entries[heads.get(row.record, row.record)]
            if (place := (paper.id, row.stage)) not in texts:
                texts[place] = read_reading(connection, paper, row.stage)
            shown = marked = texts[place]
            if row.stage != "full-text":
                marked = abstract_of(entries[row.record])
            elif row.text not in ("", shown.sha256):
                marked = read_file(connection, row.text)
            found |= dict.fromkeys(_passages(row, entries[row.record], paper, marked, shown, codebook))
    return list(found)


def _passages(
    row: Any, entry: Entry, paper: Entry, reading: Reading, shown: Reading, codebook: Codebook
) -> Iterator[PlacedPassage]:
    """Yield the passages with roles of evidence in a row of table ``current``.

    The passages were marked in the text ``reading`` of the record ``entry``. The record ``paper`` represents the paper,
    and the pages show its text ``shown``.
    """
    numbers = [number for number in json.loads(row.sentences) if number < len(reading.sentences)]
    signs, is_shown = signs_of(row, numbers), reading == shown
    members: dict[int, int] = {}
    for sentence, own in sorted(roles_of(row, numbers).items()):
        line = reading.sentences[sentence] if is_shown else None
        for role in (role for role in codebook.role_names if role in own):
            for number in own[role] or (0,):
                members[number] = members.get(number, 0) + 1
                passage = RolePassage(
                    config_id=_config_id(row, entry, number) if number else "",
                    record_id=paper.record_id,
                    coder=row.name,
                    label=row.label,
                    role=role,
                    sign=signs.get(sentence),
                    start=line.start if line else None,
                    end=line.end if line else None,
                    text=" ".join(reading.sentence(sentence).split()),
                    order=members[number] if number else None,
                    basis=BASES[row.stage],
                    page=(line.page or None) if line else None,
                )
                yield PlacedPassage(passage, paper.id, row.stage, sentence if is_shown else None)


def _config_id(row: Any, entry: Entry, number: int) -> str:
    """Return an identifier that no other configuration of the review has."""
    # The record that was coded, not the main record of its paper: joined records must not get the same ids.
    return f"{entry.record_id} / {BASES[row.stage]} / {row.label} / {row.name} / {number}"
