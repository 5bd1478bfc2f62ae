"""Search the records of a review by words, and filter them by state, decision, label and tag."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    table,
    text,
)

from mechtag.review.numbers import whole_number
from mechtag.review.plan import STAGES
from mechtag.review.store import schema
from mechtag.review.store.exercises import hidden_records

#: Number of records on one page of results.
PAGE = 50
_PREFIX = re.compile(r'(author|doi|pmid|year|journal):("[^"]*"|\S+)', re.IGNORECASE)
_WORD = re.compile(r'"([^"]+)"|(\S+)')
_FTS = table("record_fts")


@dataclass(frozen=True)
class Query:
    """Search terms and filters. A filter with an empty text is not used.

    Attributes
    ----------
    words
        Words, phrases in quotation marks, and conditions such as ``author:smith``, ``doi:10.1/2`` or
        ``year:2019-2021``.
    screen
        State of the record at screening, such as ``conflict``; see `mechtag.review.store.state.Need`.
    code
        State of the coding from the abstract.
    full_text
        State of the coding from the full text.
    decision
        Final decision at screening: ``include`` or ``exclude``.
    mine
        Screening decision of the person who searches: ``include``, ``exclude``, ``refer`` or ``none`` (not decided
        yet).
    label
        Key of a label. A record matches if its final code for this label is ``1`` (yes); see `final_labels`.
    tag
        A free-text tag. A record matches if it has this tag.
    """

    words: str = ""
    screen: str = ""
    code: str = ""
    full_text: str = ""
    decision: str = ""
    mine: str = ""
    label: str = ""
    tag: str = ""


def find_records(
    connection: Connection,
    query: Query,
    coder: int,
    relevance: str,
    *,
    tags: ColumnElement[bool] | None = None,
    after: int = 0,
    limit: int = PAGE,
) -> tuple[list[int], int]:
    """Return the numbers of the matching records on one page of results, and the total number of matches.

    Parameters
    ----------
    coder
        Account number of the person who searches.
    relevance
        Key of the relevance rule in the codebook.
    tags
        SQL condition on rows of table ``tag``: the person may see the tag. Tags that the person may not see match
        nothing. By default, no tag matches.
    after
        Number of the last record on the previous page; ``0`` for the first page.
    """
    record = schema.record
    hidden = {stage: hidden_records(connection, stage) for stage in STAGES}
    chosen = select(record.c.id).where(*_conditions(query, coder, relevance, hidden, false() if tags is None else tags))
    count = connection.execute(select(func.count()).select_from(chosen.subquery())).scalar_one()
    page = connection.execute(chosen.where(record.c.id > after).order_by(record.c.id).limit(limit)).scalars()
    return list(page), count


def _conditions(
    query: Query,
    coder: int,
    relevance: str,
    hidden: Mapping[str, Sequence[int]],
    tags: ColumnElement[bool],
) -> list[ColumnElement[bool]]:
    record, current, final = schema.record, schema.current, schema.final
    found: list[ColumnElement[bool]] = [~exists().where(schema.joined.c.record == record.c.id)]
    words = _PREFIX.sub(" ", query.words)
    if terms := [first or second for first, second in _WORD.findall(words)]:
        # Each term is quoted, so that the search engine does not interpret its characters as operators.
        match = " ".join('"' + term.replace('"', " ") + '"' for term in terms)
        rows: ColumnElement[int] = literal_column("rowid")
        inner = select(rows).select_from(_FTS).where(text("record_fts MATCH :m").bindparams(m=match))
        found.append(record.c.id.in_(inner))
    found += [_condition(name.casefold(), value.strip('"')) for name, value in _PREFIX.findall(query.words)]
    for stage, state in (("screen", query.screen), ("code", query.code), ("full-text", query.full_text)):
        if state:
            need = schema.need
            # A judged record of a running exercise is shown as waiting, even if its coders differ.
            shown = case((need.c.record.in_(hidden[stage]) & (need.c.state != "open"), "waiting"), else_=need.c.state)
            own = and_(need.c.record == record.c.id, need.c.stage == stage, shown == state)
            if stage != "screen":
                # That a record is to be coded would tell that others have included it.
                own = and_(own, record.c.id.not_in(hidden["screen"]))
            found.append(exists().where(own))
    if query.decision in ("include", "exclude"):
        value = int(query.decision == "include")
        found.append(
            exists().where(
                final.c.record == record.c.id,
                final.c.stage == "screen",
                final.c.label == relevance,
                final.c.value == value,
                final.c.record.not_in(hidden["screen"]),
            )
        )
    own = and_(
        current.c.record == record.c.id,
        current.c.stage == "screen",
        current.c.coder == coder,
        current.c.committed == 1,
    )
    mine = {"include": current.c.value == 1, "exclude": current.c.value == 0, "refer": current.c.refer == 1}
    if query.mine in mine:
        found.append(exists().where(own, mine[query.mine]))
    elif query.mine == "none":
        found.append(~exists().where(own))
    if query.label:
        found.append(exists().where(final.c.record == record.c.id, final.c.label == query.label, final_labels(hidden)))
    if query.tag:
        found.append(exists().where(schema.tag.c.record == record.c.id, schema.tag.c.tag == query.tag, tags))
    return found


def final_labels(hidden: Mapping[str, Sequence[int]]) -> ColumnElement[bool]:
    """Return an SQL condition that selects the rows of table ``final`` that assign a label to a record.

    A row must have the value ``1`` (yes). If a record has final codes from its full text, those from its abstract are
    not selected.

    Parameters
    ----------
    hidden
        Numbers of the records in a running calibration exercise, keyed by stage, such as ``code``. Their final codes
        are not selected, because nobody may see them yet.
    """
    final, other = schema.final, schema.final.alias()
    by_text = exists().where(
        other.c.record == final.c.record, other.c.stage == "full-text", other.c.record.not_in(hidden["full-text"])
    )
    shown = {
        stage: and_(final.c.stage == stage, final.c.record.not_in(hidden[stage])) for stage in ("code", "full-text")
    }
    return and_(final.c.value == 1, or_(shown["full-text"], and_(shown["code"], ~by_text)))


def _condition(name: str, value: str) -> ColumnElement[bool]:
    record = schema.record
    if name == "year":
        first, _, last = value.partition("-")
        low = whole_number(first, digits=5) or 0
        high = whole_number(last, digits=5)
        return record.c.year.between(low, high if high is not None else 9999 if "-" in value else low)
    columns = {"author": record.c.authors, "doi": record.c.doi, "pmid": record.c.pmid, "journal": record.c.journal}
    return columns[name].contains(value, autoescape=True)
