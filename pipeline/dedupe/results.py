"""Results of deduplication, and people's decisions about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mechtag.core.files import restore
from mechtag.core.records import Record, normalise_title


class Reference(NamedTuple):
    """How a file of decisions identifies a record: by its source file and number, and by its title as a check."""

    file: str
    number: str
    title: str


@dataclass(frozen=True)
class Decision:
    """A person's decision on whether two records are of one paper; ``place`` is its file and row."""

    left: Reference
    right: Reference
    same: bool
    place: str


def refer(record: Record) -> Reference:
    """Return the reference by which files of decisions identify a record."""
    return Reference(restore(record.source_file.strip()), str(record.source_index), normalise_title(record.title))


class Filled(NamedTuple):
    """A field that the kept record lacked, and the record from which it was filled."""

    field: str
    giver: Record


@dataclass(frozen=True)
class Group:
    """Records of one paper.

    Attributes
    ----------
    kept
        The record kept for the paper: the most complete one, with missing fields filled from others.
    members
        All records as read: the kept one first, then the others in order of decreasing
        completeness.
    filled
        Fields of ``kept`` filled from other members.
    confidence
        Confidence of the weakest link in the group; see `rules.Comparison`.
    reason
        Reasons for the links, the most confident first.
    """

    kept: Record
    members: tuple[Record, ...]
    filled: tuple[Filled, ...]
    confidence: float
    reason: str


@dataclass(frozen=True)
class Uncertain:
    """Two records that were not merged but should be checked by a person; each has the id of its paper."""

    left: Record
    right: Record
    confidence: float
    reason: str


@dataclass(frozen=True)
class Deduped:
    """Result of deduplication.

    Attributes
    ----------
    groups
        Groups of two or more records.
    unique
        One record per paper: existing papers in their order, then new ones in input order.
    new
        Records of ``unique`` that are not in the existing set; all if there is no existing set.
    uncertain
        Uncertain pairs, the most likely duplicates first.
    read
        Number of input records, including the existing set.
    ignored
        Decisions on records that are not in the input, by file and row.
    """

    groups: tuple[Group, ...]
    unique: tuple[Record, ...]
    new: tuple[Record, ...]
    uncertain: tuple[Uncertain, ...]
    read: int
    ignored: tuple[str, ...] = ()

    @property
    def duplicates(self) -> int:
        """Return how many records were removed as duplicates."""
        return self.read - len(self.unique)
