"""Show the *Duplicates* page: pairs of records that may be the same paper, and groups of records that were joined."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from sqlalchemy import Connection, func, or_, select
from starlette.responses import Response

from mechtag.review.acts import Refused
from mechtag.review.imports import FILES, read_batches
from mechtag.review.jobs.ranking import KIND as RANK
from mechtag.review.numbers import whole_number
from mechtag.review.store import schema
from mechtag.review.store.families import count_papers, undecided
from mechtag.review.visit import Visit, route
from mechtag.review.workspace import add_job

#: Names of the fields of a pair, in the order in which they are shown.
_FIELDS = {
    "title": "Title",
    "authors": "Authors",
    "year": "Year",
    "journal": "Journal",
    "volume": "Volume",
    "issue": "Issue",
    "pages": "Pages",
    "doi": "DOI",
    "pmid": "PubMed",
    "type": "Type",
    "abstract": "Abstract",
    "source_file": "File",
}
# Not compared, because the records of a pair usually come from different files.
_NOT_COMPARED = frozenset(("source_file",))
# Largest number of words of two texts that are compared word by word.
_MOST_WORDS = 1500
_PAGE = 20


@dataclass(frozen=True)
class Line:
    """One field of a pair of records.

    Attributes
    ----------
    name
        Name of the field.
    left, right
        Values of the field in the two records, with marks on the words that differ.
    differs
        Whether the two values differ.
    """

    name: str
    left: Markup
    right: Markup
    differs: bool


@dataclass(frozen=True)
class Member:
    """One record of a group of duplicates, as the page shows it.

    The whole group is represented by one of its records (the representative).

    Attributes
    ----------
    source
        Name of the file that contained the record, and number of the record in this file.
    reason
        Reason why the record was joined to the group; ``""`` for the representative.
    gave
        Names of the fields of the representative that were empty and got their value from this record.
    copy
        Number of the record's row in table ``copy``, which contains duplicates found during imports; ``None`` if the
        record is in table ``record``.
    record
        Number of the record in table ``record``; ``None`` if it is not in this table, or if it is the representative.
    """

    title: str
    authors: tuple[str, ...]
    year: int | None
    journal: str | None
    doi: str | None
    source: str
    reason: str = ""
    gave: str = ""
    copy: int | None = None
    record: int | None = None


def duplicates(visit: Visit) -> Response:
    """Show the first pair of possible duplicates on which nobody has decided yet.

    Pairs that the person has put aside are left out.
    """
    after = visit.query.get("after", "")
    with visit.workspace.store.read() as connection:
        rows = connection.execute(undecided()).all()
        numbers = _counts(connection)
    later = {number for part in after.split(".") if (number := whole_number(part)) is not None}
    waiting = [row for row in rows if row.id not in later]
    pair = waiting[0] if waiting else None
    lines = _lines(*json.loads(pair.fields)) if pair is not None else []
    return visit.page(
        "duplicates.html",
        pair=pair,
        lines=lines,
        left_to_do=len(rows),
        put_off=len(rows) - len(waiting),
        after=".".join(map(str, [*sorted(later), pair.id])) if pair is not None else "",
        later=".".join(map(str, sorted(later))),
        numbers=numbers,
        said={"same": "Joined", "different": "Kept apart"}.get(visit.query.get("said", ""), ""),
    )


def decide(visit: Visit) -> Response:
    """Save a person's decision on whether two records are the same paper."""
    number, answer = visit.number("pair") or 0, visit.text("answer")
    with visit.workspace.store.read() as connection:
        pair = connection.execute(select(schema.pair).where(schema.pair.c.id == number)).one_or_none()
    if pair is None:
        raise Refused("this pair of records does not exist any more; reload the page", 404)
    if answer == "same":
        visit.workspace.acts.join(visit.stamp(), pair.right, pair.left)
    elif answer == "different":
        visit.workspace.acts.differ(visit.stamp(), pair.left, pair.right)
    else:
        raise Refused("choose whether the two records are the same paper")
    follow(visit)
    later = re.sub(r"[^\d.]", "", visit.text("later"))
    return visit.go(f"/duplicates?said={answer}" + (f"&after={later}" if later else ""))


def groups(visit: Visit) -> Response:
    """Show the groups of records that were joined as duplicates, with the least certain groups first."""
    words, start = visit.query.get("q", "").strip()[:200], visit.query.get("from", "")
    first = whole_number(start, digits=8) or 0
    with visit.workspace.store.read() as connection:
        heads = _heads(connection, words)
        shown = [(head, _members(connection, head)) for head in heads[first : first + _PAGE]]
        numbers = _counts(connection)
        left_to_do = len(connection.execute(undecided()).all())
    return visit.page(
        "groups.html",
        groups=shown,
        total=len(heads),
        first=first,
        step=_PAGE,
        q=words,
        numbers=numbers,
        left_to_do=left_to_do,
    )


def split(visit: Visit) -> Response:
    """Separate a record from its group of duplicates."""
    copy, record = visit.number("copy"), visit.number("member")
    if copy is not None:
        visit.workspace.acts.split_copy(visit.stamp(), copy)
    elif record is not None:
        visit.workspace.acts.split(visit.stamp(), record)
    else:
        raise Refused("choose the record to separate from the group")
    follow(visit)
    return visit.go("/duplicates/groups")


def follow(visit: Visit) -> None:
    """Add the jobs that follow a decision on duplicates: writing the tables of records, and ranking the records."""
    with visit.workspace.store.write() as connection:
        add_job(connection, FILES, visit.person.id)
        add_job(connection, RANK, None)


def _counts(connection: Connection) -> dict[str, int]:
    papers, found = count_papers(connection)
    rejected = sum(batch.found.get("rejected", 0) for batch in read_batches(connection) if batch.result)
    return {"read": papers + found + rejected, "unique": papers, "duplicates": found, "rejected": rejected}


def _lines(left: dict[str, Any], right: dict[str, Any]) -> list[Line]:
    lines = []
    for key, name in _FIELDS.items():
        one, other = (_text(key, fields) for fields in (left, right))
        if not one and not other:
            continue
        differs = key not in _NOT_COMPARED and one.split() != other.split()
        before, after = _mark_differences(one, other) if differs else (escape(one), escape(other))
        lines.append(Line(name, before, after, differs))
    return lines


def _text(key: str, fields: dict[str, Any]) -> str:
    value = fields.get(key)
    if key == "authors":
        return "; ".join(value or ())
    if key == "source_file":
        return f"{value}, record {fields.get('source_index')}"
    return "" if value is None else str(value)


def _mark_differences(left: str, right: str) -> tuple[Markup, Markup]:
    """Return both texts as HTML, with marks around the words that differ."""
    one, other = re.findall(r"\S+\s*", left), re.findall(r"\S+\s*", right)
    # The comparison of very long texts would take too long.
    if len(one) + len(other) > _MOST_WORDS:
        return escape(left), escape(right)
    plain, compared = ([word.strip() for word in words] for words in (one, other))
    before, after = list[Markup](), list[Markup]()
    for what, a, b, c, d in difflib.SequenceMatcher(None, plain, compared, autojunk=False).get_opcodes():
        gone, new = "".join(one[a:b]), "".join(other[c:d])
        if what == "equal":
            before.append(escape(gone))
            after.append(escape(new))
            continue
        if gone:
            before.append(Markup("<del>{}</del>{}").format(gone.rstrip(), " " if gone[-1:].isspace() else ""))
        if new:
            after.append(Markup("<ins>{}</ins>{}").format(new.rstrip(), " " if new[-1:].isspace() else ""))
    return Markup("").join(before), Markup("").join(after)


def _heads(connection: Connection, words: str) -> list[int]:
    """Return the record number of the representative of each group of duplicates, the least certain group first.

    If ``words`` is not empty, only representatives whose titles contain all these words are returned.
    """
    copy, joined, record = schema.copy, schema.joined, schema.record
    into = joined.alias()
    together = or_(copy.c.record.is_(None), copy.c.record.in_(select(joined.c.record)))
    head = func.coalesce(into.c.into, copy.c.head)
    least = dict[int, float]()
    rows = connection.execute(
        select(head, copy.c.confidence).outerjoin(into, into.c.record == copy.c.head).where(together)
    )
    for number, confidence in rows:
        least[number] = min(confidence, least.get(number, 1.0))
    for number in connection.execute(select(joined.c.into).where(joined.c.event > 0)).scalars():
        least.setdefault(number, 1.0)
    if words:
        found = select(record.c.id)
        for word in words.split():
            found = found.where(record.c.title.contains(word, autoescape=True))
        titled = set(connection.execute(found).scalars())
        least = {number: sure for number, sure in least.items() if number in titled}
    return sorted(least, key=lambda number: (least[number], number))


def _members(connection: Connection, head: int) -> list[Member]:
    """Return the records of a group of duplicates, beginning with the representative ``head``."""
    copy, joined, record = schema.copy, schema.joined, schema.record
    family = [head, *connection.execute(select(joined.c.record).where(joined.c.into == head)).scalars()]
    rows = connection.execute(select(record).where(record.c.id.in_(family))).all()
    copies = connection.execute(select(copy).where(copy.c.head.in_(family)).order_by(copy.c.id)).all()
    as_records = {row.record: row for row in copies if row.record is not None}
    members = []
    for row in sorted(rows, key=lambda row: (row.id != head, row.id)):
        known = as_records.get(row.id)
        reason = "" if row.id == head else known.reason if known else "a person found that they are the same paper"
        members.append(_member(row._mapping, reason, record=None if row.id == head else row.id))
    for row in copies:
        if row.record is None:
            gave = ", ".join(_FIELDS.get(name, name).lower() for name in json.loads(row.gave) if name != "sentences")
            members.append(_member(json.loads(row.row), row.reason, gave=gave, copy=row.id))
    return members


def _member(row: Any, reason: str, **more: Any) -> Member:
    source = f"{row['source_file']}, record {row['source_index']}"
    shown = {name: row[name] for name in ("title", "year", "journal", "doi")}
    return Member(**shown, authors=tuple(json.loads(row["authors"])), source=source, reason=reason, **more)


ROUTES = [
    route("/duplicates", "duplicates", duplicates),
    route("/duplicates", "duplicates_decide", decide, ("POST",)),
    route("/duplicates/groups", "groups", groups),
    route("/duplicates/split", "groups_split", split, ("POST",)),
]
