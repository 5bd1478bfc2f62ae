"""Fill in the PRISMA 2020 flow diagram from imports, screening decisions, and counts that people entered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, func, select

from mechtag.core.errors import MechtagError
from mechtag.pipeline.export.prisma.counts import Elsewhere, Identification
from mechtag.pipeline.export.prisma.flow import Flow, join
from mechtag.review.acts import Refused
from mechtag.review.imports import read_batches
from mechtag.review.numbers import whole_number
from mechtag.review.store import schema
from mechtag.review.store.events import is_stopped, project_events
from mechtag.review.store.exercises import hidden_records
from mechtag.review.store.families import count_papers
from mechtag.review.store.queue import count_shown


@dataclass(frozen=True)
class Field:
    """A form field in which people enter a count that mechtag cannot know.

    Attributes
    ----------
    path
        Position in the counts file of ``mechtag prisma``, such as ``reports.sought``.
    kind
        ``number`` for one number, or ``counts`` for lines such as ``Wrong population: 12``.
    """

    path: str
    name: str
    kind: str = "number"


#: Fields by group. A group whose fields are all empty is left out of the diagram.
GROUPS: tuple[tuple[str, tuple[Field, ...]], ...] = (
    (
        "Full texts of the included records",
        (
            Field("reports.sought", "Reports sought"),
            Field("reports.not_retrieved", "Reports not retrieved"),
            Field("reports.assessed", "Reports assessed"),
            Field("reports.excluded", "Reports excluded, by reason", "counts"),
        ),
    ),
    (
        "Other methods, such as websites, experts and citations",
        (
            Field("other_methods.sources", "Records found, by source", "counts"),
            Field("other_methods.reports.sought", "Reports sought"),
            Field("other_methods.reports.not_retrieved", "Reports not retrieved"),
            Field("other_methods.reports.assessed", "Reports assessed"),
            Field("other_methods.reports.excluded", "Reports excluded, by reason", "counts"),
        ),
    ),
    (
        "Included",
        (Field("included.studies", "Studies"), Field("included.reports", "Reports")),
    ),
    (
        "An earlier version of the review",
        (Field("previous.studies", "Studies"), Field("previous.reports", "Reports")),
    ),
)
FIELDS = {field.path: field for _, group in GROUPS for field in group}


@dataclass(frozen=True)
class Entry:
    """A value that a person entered in a field of the flow diagram.

    Attributes
    ----------
    value
        A number. If the field has the kind ``counts`` (see `Field`), several numbers, keyed by name.
    coder
        Number of the person's account.
    at
        Time at which the value was entered, in UTC (ISO 8601).
    """

    value: Any
    coder: int
    at: str


def read_entries(connection: Connection) -> dict[str, Entry]:
    """Return the values that people entered in the flow diagram, keyed by `Field.path`; empty fields are left out."""
    found: dict[str, Entry] = {}
    for row in project_events(connection, "flow"):
        found.pop(row.value["field"], None)
        if row.value["value"] not in (None, {}):
            found[row.value["field"]] = Entry(row.value["value"], row.coder, row.at)
    return found


def parse(field: Field, text: str) -> Any:
    """Convert the text that a person entered in a field to the value of the field.

    Returns
    -------
    int, dict or None
        If the text is empty, ``None``. Otherwise, a number if ``field.kind`` is ``number``, and a dict of numbers keyed
        by name if ``field.kind`` is ``counts``.

    Raises
    ------
    Refused
        If the text is not a value that ``field.kind`` allows; see `Field`.
    """
    if not text.strip():
        return None
    if field.kind == "number":
        return _number(text, field.name)
    found: dict[str, int] = {}
    for line in text.splitlines():
        if line.strip():
            name, colon, number = line.rpartition(":")
            name = " ".join(name.split())
            if not colon or not name:
                raise Refused(
                    f"{field.name}: '{line.strip()}' has no name or no number; write each line as a name, a colon and "
                    "a number, such as 'Wrong population: 12'"
                )
            if name in found:
                raise Refused(f"{field.name}: '{name}' appears twice; combine both lines into one line with the sum")
            found[name] = _number(number, f"{field.name}, {name}")
    return found


def _number(text: str, what: str) -> int:
    number = whole_number(text.strip().replace(",", "").replace(" ", ""), digits=9)
    if number is None:
        raise Refused(f"{what}: '{text.strip()}' is not a whole number; enter digits, such as 12")
    return number


def identification(connection: Connection) -> Identification | None:
    """Return the counts of records before screening, or ``None`` if nothing was imported on the review page.

    If some records were not imported on the review page, their files are unknown. The result then contains only the
    counts that do not depend on the files.
    """
    batches = [batch for batch in read_batches(connection) if batch.result]
    if not batches:
        return None
    sources: dict[str, int] = {}
    for batch in batches:
        for source in batch.found["sources"]:
            sources[source["file"]] = sources.get(source["file"], 0) + source["read"]
    papers, duplicates = count_papers(connection)
    record = schema.record
    joined = select(schema.joined.c.record)
    without = connection.execute(
        select(func.count()).select_from(record).where(record.c.abstract == "", record.c.id.not_in(joined))
    ).scalar_one()
    rejected = sum(batch.found.get("rejected", 0) for batch in batches)
    if sum(sources.values()) != papers + duplicates + rejected:
        return Identification(screened=papers, without_abstract=without)
    return Identification(
        identified_by_source=sources,
        duplicates_removed=duplicates,
        removed_for_other_reasons=rejected,
        screened=papers,
        without_abstract=without,
    )


@dataclass(frozen=True)
class Screening:
    """Counts of the final screening decisions so far.

    Attributes
    ----------
    records
        Number of records to screen, without duplicates.
    included, excluded
        Number of included records, and number of excluded records.
    stopped
        Whether screening was stopped. If it was stopped, records without a final decision count as excluded by
        automation.
    with_text
        Number of included records to which a full text is attached.
    reasons
        Number of excluded records, keyed by the reason for exclusion.
    states
        Number of records in each state of screening; see `mechtag.review.store.queue.count_shown`.
    """

    records: int
    included: int
    excluded: int
    stopped: bool
    with_text: int
    reasons: Mapping[str, int]
    states: Mapping[str, int]

    @property
    def unread(self) -> int:
        """Return the number of records without a final decision."""
        return self.records - self.included - self.excluded

    @property
    def is_finished(self) -> bool:
        """Return whether every record has a final decision, or screening was stopped."""
        return self.stopped or not self.unread


def screening(connection: Connection, relevance: str) -> Screening:
    """Count the final decisions at screening.

    ``relevance`` is the key of relevance in the codebook.
    """
    final, need = schema.final, schema.need
    decided = (
        final.c.stage == "screen",
        final.c.label == relevance,
        final.c.record.not_in(hidden_records(connection, "screen")),
    )
    rows = connection.execute(
        select(final.c.value, final.c.reason, func.count()).where(*decided).group_by(final.c.value, final.c.reason)
    ).all()
    with_text = connection.execute(
        select(func.count())
        .select_from(final.join(need, need.c.record == final.c.record))
        .where(*decided, final.c.value == 1, need.c.stage == "full-text")
    ).scalar_one()
    papers, _ = count_papers(connection)
    reasons = {reason: number for value, reason, number in rows if value == 0 and reason}
    counts = {value: sum(number for other, _, number in rows if other == value) for value in (0, 1)}
    stopped, states = is_stopped(connection), count_shown(connection, "screen")
    return Screening(papers, counts[1], counts[0], stopped, with_text, reasons, states)


def fill_in(
    found: Identification | None, decided: Screening, entries: Mapping[str, Entry], title: str
) -> tuple[Flow, Elsewhere]:
    """Combine all counts of the flow diagram.

    Until screening ends, records without a final decision count as not yet screened.

    Parameters
    ----------
    found
        Result of `identification`.
    decided
        Result of `screening`.
    entries
        Result of `read_entries`.
    title
        Title of the diagram.

    Returns
    -------
    flow, elsewhere
        ``flow`` contains all counts of the diagram. ``elsewhere`` contains those that belong in the counts file of
        ``mechtag prisma``.

    Raises
    ------
    MechtagError
        If the counts contradict one another. If people entered counts of other methods, such as citation searching,
        without the number of records found in each source.
    """
    automation, waiting = (decided.unread, 0) if decided.stopped else (0, decided.unread)
    content: dict[str, Any] = {
        "title": title,
        "screening": {
            "kept": decided.included,
            "screened": decided.records - waiting,
            "excluded": decided.excluded + automation,
            "excluded_by_automation": automation,
            "not_yet_screened": waiting,
        },
    }
    for path, entry in entries.items():
        place = content
        *groups, last = path.split(".")
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = entry.value
    if "other_methods" in content and "sources" not in content["other_methods"]:
        raise MechtagError(
            "other methods: enter the number of records found in each source, or clear all fields of this group"
        )
    try:
        elsewhere = Elsewhere.model_validate(content)
    except ValidationError as error:
        raise MechtagError("; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())) from None
    return join(found, elsewhere), elsewhere
