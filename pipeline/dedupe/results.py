"""Classes for the results of deduplication, and for people's decisions on whether records are duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mechtag.core.records import Record, normalise_title


class Reference(NamedTuple):
    """The fields that identify a record in ``groups.csv`` and ``uncertain.csv``.

    Attributes
    ----------
    file, number
        Name of the export that contains the record, and number of the record in this export.
    title
        Normalised title of the record, which shows whether ``number`` still belongs to the same record.
    """

    file: str
    number: str
    title: str


@dataclass(frozen=True)
class Decision:
    """A person's decision on whether two records describe the same paper; ``place`` is its file and row."""

    left: Reference
    right: Reference
    same: bool
    place: str


def refer(record: Record) -> Reference:
    """Return the source file, number and title by which ``groups.csv`` and ``uncertain.csv`` identify a record."""
    return Reference(record.source_file.strip(), str(record.source_index), normalise_title(record.title))


class Filled(NamedTuple):
    """A field that was missing in the kept record, and the record from which its value was taken."""

    field: str
    giver: Record


@dataclass(frozen=True)
class Group:
    """Two or more records that describe the same paper.

    Attributes
    ----------
    kept
        The record kept for the paper, with missing fields filled from the other members. If an earlier run kept a
        record for this paper, it is kept again; otherwise, the most complete record is kept.
    members
        All records as they were read: first the record that is kept, then the others in order of decreasing
        completeness.
    filled
        Fields of ``kept`` that were filled from other members.
    confidence
        Lowest confidence of all comparisons by which the records were merged; see `rules.Comparison`.
    reason
        Reasons of these comparisons, the most confident comparison first.
    """

    kept: Record
    members: tuple[Record, ...]
    filled: tuple[Filled, ...]
    confidence: float
    reason: str


@dataclass(frozen=True)
class Uncertain:
    """Two similar records that were not merged and that a person should check.

    If one of the records was merged with other records, it has the id of the record that was kept for them.
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
        One record per paper: first the papers of an earlier run in their order, then new papers in input order.
    new
        Records of ``unique`` whose papers were not in the earlier run.
    uncertain
        Pairs of records that a person should check, the most likely duplicates first.
    read
        Number of input records, including papers of the earlier run whose records were not read again.
    ignored
        Places (file and row) of decisions about records that are not in the input.
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
