"""From pairs to clusters: which records are compared, and which claims to be one paper hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mechtag.core.errors import MechtagError
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.comparable import Traits
from mechtag.pipeline.dedupe.rules import Verdict, compare

Pair = tuple[int, int]

# How many members speak for a cluster when it meets another.
_SPOKESMEN = 8
# How much of either end of a title must be shared.
_LETTERS = 24
_IDENTICAL = Verdict(True, 1.0, "identical records")
_DECIDED = Verdict(True, 1.0, "decided by a person")


def _author(item: Traits) -> str:
    return item.authors[0].split()[-1] if item.authors else ""


# What a record must share with another to be compared with it; None where it has no such thing.
_BLOCKS: tuple[Callable[[Traits], object], ...] = (
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
    """Pairs of positions with one key that lie at most ``window`` apart among those with it; (n, 2)."""
    known = [(hash(key), position) for position, key in enumerate(keys) if key is not None]
    hashes, positions = np.array(known, dtype=np.int64).reshape(-1, 2).T
    order = np.argsort(hashes, kind="stable")
    hashes, positions = hashes[order], positions[order]
    for step in range(1, window + 1):
        shared = hashes[:-step] == hashes[step:]
        if not shared.any():
            return
        yield np.column_stack((positions[:-step][shared], positions[step:][shared]))


def candidates(items: Sequence[Traits], positions: Sequence[int], window: int) -> Iterator[Pair]:
    """Pairs worth comparing, each once and in order; at most ``window`` for a record and key.

    Parameters
    ----------
    items
        Traits of all records, alike ones near each other.
    positions
        Ascending; which of them to pair.
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
    """A pair that stayed apart, though a person might join it."""

    left: int
    right: int
    verdict: Verdict


class Clusters:
    """Union-find that refuses to join clusters with members known to differ.

    Without the refusal a bare record, which agrees with two papers of one title, would
    join them.

    Parameters
    ----------
    items
        Traits of the records; a record is named by its position here.
    known
        Positions of records that an earlier run found to be papers of their own.
    """

    def __init__(self, items: Sequence[Traits], settings: DedupeSettings, known: Iterable[int] = ()) -> None:
        self._items = items
        self._settings = settings
        self._parent = list(range(len(items)))
        self._known = {position: position for position in known}
        # Only of clusters that have more than one member, or are kept apart from others.
        self._spokesmen: dict[int, list[int]] = {}
        self._apart: dict[int, set[int]] = defaultdict(set)
        self.links: dict[int, list[Verdict]] = defaultdict(list)

    def find(self, position: int) -> int:
        """Name the cluster of a record, by one of its members."""
        while self._parent[position] != position:
            self._parent[position] = self._parent[self._parent[position]]
            position = self._parent[position]
        return position

    def decide(self, left: int, right: int, same: bool) -> bool:
        """Follow a person, whatever the rules say; ``False`` where an earlier decision forbids it."""
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

    def join(self, left: int, right: int, verdict: Verdict) -> bool:
        """Make one cluster of two, unless they are known to differ; whether they are one now."""
        left, right = sorted((self.find(left), self.find(right)))
        if left != right:
            if self._differ(left, right):
                return False
            self._join(left, right, verdict)
        return True

    def kept_apart(self, left: int, right: int) -> bool:
        """Whether a person decided that these clusters are two papers."""
        return self.find(right) in self._apart.get(self.find(left), ())

    def apart_from(self, cluster: int) -> frozenset[int]:
        """Name the clusters that a person decided to be other papers than this one."""
        return frozenset(self._apart.get(cluster, ()))

    def known(self, cluster: int) -> int | None:
        """Give the position of the known record in a cluster."""
        return self._known.get(cluster)

    def _join(self, left: int, right: int, verdict: Verdict) -> None:
        self._parent[right] = left
        self._spokesmen[left] = (self._speak_for(left) + self._speak_for(right))[:_SPOKESMEN]
        self._spokesmen.pop(right, None)
        self.links[left] += [*self.links.pop(right, ()), verdict]
        if right in self._known:
            self._known.setdefault(left, self._known[right])
        for other in self._apart.pop(right, ()):
            self._apart[other].remove(right)
            self._apart[other].add(left)
            self._apart[left].add(other)

    def _speak_for(self, cluster: int) -> list[int]:
        return self._spokesmen.get(cluster, [cluster])

    def _differ(self, left: int, right: int) -> bool:
        if (left in self._known and right in self._known) or self.kept_apart(left, right):
            return True
        return any(
            compare(self._items[one], self._items[other], self._settings).same is False
            for one in self._speak_for(left)
            for other in self._speak_for(right)
        )


def cluster(
    items: Sequence[Traits],
    contents: Sequence[object],
    settings: DedupeSettings,
    *,
    known: frozenset[int] = frozenset(),
    decisions: Iterable[tuple[int, int, bool, str]] = (),
) -> tuple[Clusters, list[Doubt]]:
    """Find the records of one paper each.

    Parameters
    ----------
    items, contents
        Traits of the records and what they say, in an order of the latter.
    known
        Positions of records that an earlier run found to be papers of their own.
    decisions
        Two positions that a person found to be one paper (``True``) or not, and where that stands.

    Returns
    -------
    clusters
        With the verdicts that hold each together.
    doubts
        Pairs left apart that a person should look at, the most likely first; one a pair of
        clusters.

    Raises
    ------
    MechtagError
        Decisions contradict each other.
    """
    clusters = Clusters(items, settings, known)
    for left, right, same, place in decisions:
        if not clusters.decide(left, right, same):
            raise MechtagError(f"{place}: contradicts what was decided above it; change one of the decisions")
    # Comparing each of a thousand copies with the others would tell nothing new.
    first_of_kind = [0] if items else []
    for position in range(1, len(items)):
        previous = first_of_kind[-1]
        if contents[position] == contents[previous] and (
            (position in known) != (previous in known) or compare(items[position], items[previous], settings).same
        ):
            if clusters.join(previous, position, _IDENTICAL):
                continue
        first_of_kind.append(position)
    links, doubts = [], []
    for left, right in candidates(items, first_of_kind, settings.window):
        verdict = compare(items[left], items[right], settings)
        if verdict.same:
            links.append(Doubt(left, right, verdict))
        elif verdict.reason:
            doubts.append(Doubt(left, right, verdict))
    # The surest links first: where two clusters claim a record, the better claim wins.
    links.sort(key=_by_confidence)
    doubts += [link for link in links if not clusters.join(*link)]
    return clusters, list(_open_doubts(clusters, sorted(doubts, key=_by_confidence)))


def _by_confidence(pair: Doubt) -> tuple[float, int, int]:
    return -pair.verdict.confidence, pair.left, pair.right


def _open_doubts(clusters: Clusters, doubts: Iterable[Doubt]) -> Iterator[Doubt]:
    """Doubts that neither another link nor a person has settled, the most likely of each two clusters."""
    seen: set[Pair] = set()
    for doubt in doubts:
        left, right = sorted((clusters.find(doubt.left), clusters.find(doubt.right)))
        if left != right and (left, right) not in seen and not clusters.kept_apart(left, right):
            seen.add((left, right))
            one, other = clusters.known(left), clusters.known(right)
            # Of two known papers, ask whether they are one, and not of the newcomer that is like both.
            yield doubt if one is None or other is None else Doubt(one, other, doubt.verdict)
