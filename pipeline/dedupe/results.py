"""Classes for the results of deduplication, and for people's decisions on whether records are duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mechtag.core.records import Record, normalise_title


class Reference(NamedTuple):
    """The fields by which ``groups.csv`` and ``uncertain.csv`` identify a record.

    Attributes
    ----------
    file
        Name of the export that contains the record.
    number
        Number of the record in the export.
    title
        Normalised title of the record. It shows whether ``number`` still refers to the same record.
    """

    file: str
    number: str
    title: str


@dataclass(frozen=True)
class Decision:
    """A person's decision on whether two records describe the same paper.

    Attributes
    ----------
    same
        Whether the records describe the same paper.
    place
        File and row that contain the decision.
    """

    left: Reference
    right: Reference
    same: bool
    place: str


def refer(record: Record) -> Reference:
    """Return the details by which ``groups.csv`` and ``uncertain.csv`` identify a record: file, number and title."""
    return Reference(record.source_file.strip(), str(record.source_index), normalise_title(record.title))


class Filled(NamedTuple):
    """A field that was missing in the kept record, and the record that supplied the value."""

    field: str
    giver: Record


@dataclass(frozen=True)
class Group:
    """Two or more records that describe the same paper.

    Attributes
    ----------
    kept
        The record that is kept for the paper. Its missing fields are filled from the other members. If an earlier run
        kept a record for this paper, this record is kept again. Otherwise, the most complete record is kept.
    members
        All records as they were read. The kept record is the first; the others are in order of decreasing completeness.
    filled
        Fields of ``kept`` that were filled from other members.
    confidence
        Lowest confidence of the comparisons by which the records were merged; see `rules.Comparison`.
    reason
        Why the records were merged. The reasons of the most confident comparison come first.
    """

    kept: Record
    members: tuple[Record, ...]
    filled: tuple[Filled, ...]
    confidence: float
    reason: str


@dataclass(frozen=True)
class Uncertain:
    """Two similar records that were not merged and that a person should check.

    A record that was merged with others appears here with the id of the kept record.
    """

    left: Record
    right: Record
    confidence: float
    reason: str


@dataclass(frozen=True)
class Deduped:
    """The result of deduplication.

    Attributes
    ----------
    groups
        Groups of two or more records.
    unique
        One record per paper. The papers of an earlier run come first, in their earlier order. New papers follow in
        input order.
    new
        Records in ``unique`` whose papers were not in the earlier run.
    uncertain
        Pairs of records that a person should check, the most likely duplicates first.
    read
        Number of input records, plus the number of papers of the earlier run that are not among the input records.
    ignored
        File and row of each decision about a record that is not in the input.
    """

    groups: tuple[Group, ...]
    unique: tuple[Record, ...]
    new: tuple[Record, ...]
    uncertain: tuple[Uncertain, ...]
    read: int
    ignored: tuple[str, ...] = ()

    @property
    def duplicates(self) -> int:
        """Return the number of records that were removed as duplicates."""
        return self.read - len(self.unique)
