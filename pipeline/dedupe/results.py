"""What deduplication finds, and what people decide about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mechtag.core.files import neutralise
from mechtag.core.records import Record, normalise_title


class Reference(NamedTuple):
    """How a file of decisions names a record: by its place, and by its title, for a place can change."""

    file: str
    number: str
    title: str


@dataclass(frozen=True)
class Decision:
    """Whether two records are of one paper, as a person said; ``place`` is the file and row of it."""

    left: Reference
    right: Reference
    same: bool
    place: str


def refer(record: Record) -> Reference:
    """Name a record as files of decisions do."""
    return Reference(neutralise(record.source_file), str(record.source_index), normalise_title(record.title))


class Filled(NamedTuple):
    """A field that the kept record lacked, and the record that it was taken from."""

    field: str
    giver: Record


@dataclass(frozen=True)
class Group:
    """Records of one paper.

    Attributes
    ----------
    kept
        The record that stands for the paper: its fullest, what it lacked taken from others.
    members
        All records as they were read: the one that was kept, then the others from the
        fullest to the barest.
    filled
        Which fields of ``kept`` come from which other member.
    confidence
        Of the weakest link that holds the group together; see `rules.Verdict`.
    reason
        What the links rest on, the surest first.
    """

    kept: Record
    members: tuple[Record, ...]
    filled: tuple[Filled, ...]
    confidence: float
    reason: str


@dataclass(frozen=True)
class Uncertain:
    """Two records left apart that a person should look at; each bears the id of its paper."""

    left: Record
    right: Record
    confidence: float
    reason: str


@dataclass(frozen=True)
class Deduped:
    """What became of the records.

    Attributes
    ----------
    groups
        Those of two and more records.
    unique
        One record a paper: those of the existing set in its order, then those found new in
        the order of the input.
    new
        Those of ``unique`` that the existing set did not have; all, where there is none.
    uncertain
        The most likely first.
    read
        How many records there were, those of the existing set included.
    ignored
        Decisions on records that are not here, by file and row.
    """

    groups: tuple[Group, ...]
    unique: tuple[Record, ...]
    new: tuple[Record, ...]
    uncertain: tuple[Uncertain, ...]
    read: int
    ignored: tuple[str, ...] = ()

    @property
    def duplicates(self) -> int:
        """How many records were set aside."""
        return self.read - len(self.unique)
