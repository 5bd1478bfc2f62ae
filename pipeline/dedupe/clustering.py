"""Group records that describe the same paper: choose the pairs to compare, and join matching records into clusters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mechtag.core.errors import MechtagError
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.comparable import ComparableFields
from mechtag.pipeline.dedupe.rules import Comparison, compare_records

Pair = tuple[int, int]

# Maximum number of members of a cluster that are compared with other clusters.
_REPRESENTATIVES = 8
# Number of letters at the start or end of a title that must agree for a comparison.
_LETTERS = 24
_IDENTICAL = Comparison(True, 1.0, "identical records")
_DECIDED = Comparison(True, 1.0, "decided by a person")


def _author(item: ComparableFields) -> str:
    return item.authors[0].split()[-1] if item.authors else ""


# Blocking keys: two records are compared if they share a key; None means that a record lacks the key.
_BLOCKS: tuple[Callable[[ComparableFields], object], ...] = (
    lambda item: item.doi,
    lambda item: item.pmid,
    lambda item: (item.compact, item.volume, item.year) if item.recurring else item.compact,
    lambda item: None if item.recurring else (item.compact[:_LETTERS], _author(item)),
    lambda item: None if item.recurring else (item.compact[-_LETTERS:], _author(item)),
    lambda item: None if item.recurring else (item.year, _author(item), item.compact[:6]),
    lambda item: (item.volume, item.page, item.compact[:3]) if item.page else None,
    lambda item: (item.page, _author(item), item.year) if item.page else None,
)


def _neighbours(keys: Iterable[object], window: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield pairs of positions at which ``keys`` contains equal keys, as arrays of shape (n_pairs, 2).

    Each position is paired with the next ``window`` positions that have the same key. Keys that are ``None`` are
    skipped.
    """
    known = [(hash(key), position) for position, key in enumerate(keys) if key is not None]
    hashes, positions = np.array(known, dtype=np.int64).reshape(-1, 2).T
    order = np.argsort(hashes, kind="stable")
    hashes, positions = hashes[order], positions[order]
    for step in range(1, window + 1):
        shared = hashes[:-step] == hashes[step:]
        if not shared.any():
            return
        yield np.column_stack((positions[:-step][shared], positions[step:][shared]))


def candidates(items: Sequence[ComparableFields], positions: Sequence[int], window: int) -> Iterator[Pair]:
    """Yield the pairs of records to compare, as pairs of positions, in order and without repetition.

    Only records with the same blocking key, such as the DOI or the title, are paired.

    Parameters
    ----------
    items
        Comparable fields of all records, with similar records next to each other.
    positions
        Positions of the records to pair, in ascending order.
    window
        Each record is paired with the next ``window`` records in ``positions`` that have the same blocking key.
    """
    found = [
        pairs[:, 0] * len(items) + pairs[:, 1]
        for block in _BLOCKS
        for pairs in _neighbours((block(items[position]) for position in positions), window)
    ]
    if found:
        place = np.array(positions)
        for pair in np.unique(np.concatenate(found)):
            left, right = divmod(int(pair), len(items))
            yield int(place[left]), int(place[right])


class Doubt(NamedTuple):
    """Two similar records, which a person should compare if mechtag does not merge them.

    ``left`` and ``right`` are the positions of the two records in the list of records.
    """

    left: int
    right: int
    comparison: Comparison


class Clusters:
    """A union-find structure that does not join two clusters if some of their members describe different papers.

    Without this restriction, an incomplete record that agrees with two different papers would join these papers.

    Parameters
    ----------
    items
        Comparable fields of the records. All positions refer to this sequence.
    known
        Positions of records that an earlier run found to be distinct papers.
    """

    def __init__(self, items: Sequence[ComparableFields], settings: DedupeSettings, known: Iterable[int] = ()) -> None:
        self._items = items
        self._settings = settings
        self._parent = list(range(len(items)))
        self._known = {position: position for position in known}
        # Entries only for clusters that have several members or are kept apart from others.
        self._representatives: dict[int, list[int]] = {}
        self._apart: dict[int, set[int]] = defaultdict(set)
        self.links: dict[int, list[Comparison]] = defaultdict(list)

    def find(self, position: int) -> int:
        """Return the number of the cluster that contains a record.

        The number is the position of one of the cluster's members.
        """
        while self._parent[position] != position:
            self._parent[position] = self._parent[self._parent[position]]
            position = self._parent[position]
        return position

    def decide(self, left: int, right: int, same: bool) -> bool:
        """Join or separate two records as a person decided; return ``False`` if an earlier decision forbids this."""
        one, other = sorted((self.find(left), self.find(right)))
        if same:
            if self.kept_apart(one, other):
                return False
            if one != other:
                self._join(one, other, _DECIDED)
        elif one == other:
            return False
        else:
            self._apart[one].add(other)
            self._apart[other].add(one)
        return True

    def join(self, left: int, right: int, comparison: Comparison) -> bool:
        """Join the clusters of two records, unless some of their members describe different papers.

        Return whether the two records are in one cluster afterwards.
        """
        left, right = sorted((self.find(left), self.find(right)))
        if left != right:
            if self._differ(left, right):
                return False
            self._join(left, right, comparison)
        return True

    def kept_apart(self, left: int, right: int) -> bool:
        """Return whether a person decided that the clusters of two records describe different papers."""
        return self.find(right) in self._apart.get(self.find(left), ())

    def apart_from(self, cluster: int) -> frozenset[int]:
        """Return the clusters that people decided to keep apart from the given cluster."""
        return frozenset(self._apart.get(cluster, ()))

    def known(self, cluster: int) -> int | None:
        """Return the position of the record that an earlier run kept for a cluster, or ``None``."""
        return self._known.get(cluster)

    def _join(self, left: int, right: int, comparison: Comparison) -> None:
        self._parent[right] = left
        self._representatives[left] = (self._representatives_of(left) + self._representatives_of(right))[
            :_REPRESENTATIVES
        ]
        self._representatives.pop(right, None)
        self.links[left] += [*self.links.pop(right, ()), comparison]
        if right in self._known:
            self._known.setdefault(left, self._known[right])
        for other in self._apart.pop(right, ()):
            self._apart[other].remove(right)
            self._apart[other].add(left)
            self._apart[left].add(other)

    def _representatives_of(self, cluster: int) -> list[int]:
        return self._representatives.get(cluster, [cluster])

    def _differ(self, left: int, right: int) -> bool:
        if (left in self._known and right in self._known) or self.kept_apart(left, right):
            return True
        return any(
            compare_records(self._items[one], self._items[other], self._settings).same is False
            for one in self._representatives_of(left)
            for other in self._representatives_of(right)
        )


def cluster(
    items: Sequence[ComparableFields],
    contents: Sequence[object],
    settings: DedupeSettings,
    *,
    known: frozenset[int] = frozenset(),
    decisions: Iterable[tuple[int, int, bool, str]] = (),
) -> tuple[Clusters, list[Doubt]]:
    """Group records into one cluster per paper, and find pairs of records that a person should check.

    Parameters
    ----------
    items
        Comparable fields of the records, sorted by content.
    contents
        Content of the records, in the same order. Records with the same content are identical.
    known
        Positions of records that an earlier run found to be distinct papers.
    decisions
        People's decisions. Each has four items: the positions of two records, whether the records describe the same
        paper, and the place of the decision in its file.

    Returns
    -------
    clusters
        The clusters. ``clusters.links`` contains the comparisons that link the members of each cluster.
    doubts
        Pairs that were not joined, but that a person should check, the most likely duplicates first. There is at most
        one pair for any two clusters.

    Raises
    ------
    MechtagError
        If decisions contradict each other.
    """
    clusters = Clusters(items, settings, known)
    for left, right, same, place in decisions:
        if not clusters.decide(left, right, same):
            raise MechtagError(
                f"{place}: this decision contradicts earlier decisions about these records; change one of the decisions"
            )
    # Link identical records first, because comparing each of many copies with all records is useless.
    first_of_kind = [0] if items else []
    for position in range(1, len(items)):
        previous = first_of_kind[-1]
        if contents[position] == contents[previous] and (
            (position in known) != (previous in known)
            or compare_records(items[position], items[previous], settings).same
        ):
            if clusters.join(previous, position, _IDENTICAL):
                continue
        first_of_kind.append(position)
    links, doubts = [], []
    for left, right in candidates(items, first_of_kind, settings.window):
        comparison = compare_records(items[left], items[right], settings)
        if comparison.same:
            links.append(Doubt(left, right, comparison))
        elif comparison.reason:
            doubts.append(Doubt(left, right, comparison))
    # Most confident links first: if two clusters claim a record, the better claim wins.
    links.sort(key=_by_confidence)
    doubts += [link for link in links if not clusters.join(*link)]
    return clusters, list(_open_doubts(clusters, sorted(doubts, key=_by_confidence)))


def _by_confidence(pair: Doubt) -> tuple[float, int, int]:
    return -pair.comparison.confidence, pair.left, pair.right


def _open_doubts(clusters: Clusters, doubts: Iterable[Doubt]) -> Iterator[Doubt]:
    """Yield the doubtful pairs that a person still has to decide, at most one for any two clusters."""
    seen: set[Pair] = set()
    for doubt in doubts:
        left, right = sorted((clusters.find(doubt.left), clusters.find(doubt.right)))
        if left != right and (left, right) not in seen and not clusters.kept_apart(left, right):
            seen.add((left, right))
            one, other = clusters.known(left), clusters.known(right)
            # If both clusters have known papers, ask about these and not about the new record that resembles both.
            yield doubt if one is None or other is None else Doubt(one, other, doubt.comparison)
