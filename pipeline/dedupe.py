"""From records to unique records: groups of records that describe one paper."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.matching import Verdict, compare
from pipeline.records import Record, normalise_title
from pipeline.settings import DedupeSettings
from pipeline.store import write_csv
from pipeline.traits import Traits, traits

# How many members speak for a cluster when it meets another.
_SPOKESMEN = 8
_IDENTICAL = Verdict(True, 1.0, "identical records")
# Attributes that say where a record was read, or repeat what the others say.
_NOT_CONTENT = frozenset(("record_id", "source_file", "source_index", "raw"))


@dataclass(frozen=True)
class Group:
    """Records of one paper.

    Attributes
    ----------
    members
        The kept record first, the others from the fullest to the barest.
    confidence
        Of the weakest link that holds the group together; see `pipeline.matching.Verdict`.
    reason
        What the links rest on, the surest first.
    """

    members: tuple[Record, ...]
    confidence: float
    reason: str

    @property
    def kept(self) -> Record:
        """The fullest record of the group."""
        return self.members[0]


@dataclass(frozen=True)
class Deduped:
    """Groups of two and more, and one record a paper in the order of the input."""

    groups: tuple[Group, ...]
    unique: tuple[Record, ...]
    read: int

    @property
    def duplicates(self) -> int:
        """How many records were set aside."""
        return self.read - len(self.unique)


def _content(record: Record) -> tuple[object, ...]:
    """List what a record says, wherever it was read, so that like titles sort together."""
    fields = (record.journal, record.volume, record.issue, record.pages, record.doi, record.pmid, record.type)
    return (
        normalise_title(record.title),
        record.title,
        record.authors,
        record.year or 0,
        *(value or "" for value in fields),
        record.abstract,
    )


def _order(record: Record) -> tuple[object, ...]:
    return (*_content(record), record.source_file, record.source_index)


def _fullness(record: Record) -> tuple[int, int, int]:
    filled = sum(bool(value) for name, value in record if name not in _NOT_CONTENT)
    return filled, len(record.abstract), len(record.authors)


def _block_keys(item: Traits) -> Iterator[tuple[object, ...]]:
    """Name what a record must share with another to be compared with it."""
    if item.doi:
        yield "doi", item.doi
    if item.pmid:
        yield "pmid", item.pmid
    author = item.authors[0].split()[-1] if item.authors else ""
    if item.recurring:
        yield "recurring", item.compact, item.volume, item.year
    else:
        yield "title", item.compact
        yield "start", item.compact[:24], author
        yield "end", item.compact[-24:], author
        yield "year", item.year, author, item.compact[:6]
    if item.page:
        yield "page", item.volume, item.page, item.compact[:3]
        yield "author", item.page, author, item.year


def _candidates(items: Sequence[Traits], positions: Iterable[int], window: int) -> Iterator[tuple[int, int]]:
    """Pairs of positions worth comparing, each once; at most ``window`` for a record and key."""
    blocks: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for position in positions:
        for key in _block_keys(items[position]):
            blocks[key].append(position)
    seen: set[int] = set()
    for block in blocks.values():
        for index, left in enumerate(block):
            for right in block[index + 1 : index + 1 + window]:
                pair = left * len(items) + right
                if pair not in seen:
                    seen.add(pair)
                    yield left, right


class _Clusters:
    """Union-find that refuses to join clusters with members known to differ.

    Without the refusal a bare record, which agrees with two papers of one title, would
    join them.
    """

    def __init__(self, items: Sequence[Traits], settings: DedupeSettings) -> None:
        self._items = items
        self._settings = settings
        self._parent = list(range(len(items)))
        self._spokesmen = {position: [position] for position in range(len(items))}
        self.links: dict[int, list[Verdict]] = defaultdict(list)

    def find(self, position: int) -> int:
        while self._parent[position] != position:
            self._parent[position] = self._parent[self._parent[position]]
            position = self._parent[position]
        return position

    def join(self, left: int, right: int, verdict: Verdict) -> None:
        left, right = sorted((self.find(left), self.find(right)))
        if left == right or self._differ(left, right):
            return
        self._parent[right] = left
        self._spokesmen[left] = (self._spokesmen[left] + self._spokesmen.pop(right))[:_SPOKESMEN]
        self.links[left] += [*self.links.pop(right, ()), verdict]

    def _differ(self, left: int, right: int) -> bool:
        return any(
            compare(self._items[one], self._items[other], self._settings).same is False
            for one in self._spokesmen[left]
            for other in self._spokesmen[right]
        )


def _cluster(records: Sequence[Record], settings: DedupeSettings) -> list[tuple[list[int], list[Verdict]]]:
    """Find indices into ``records`` of one paper each, and what links them, whatever their order."""
    order = sorted(range(len(records)), key=lambda index: _order(records[index]))
    items = [traits(records[index]) for index in order]
    clusters = _Clusters(items, settings)
    # Comparing each of a thousand copies with the others would tell nothing new.
    first_of_kind = [0] if order else []
    for position in range(1, len(order)):
        previous = first_of_kind[-1]
        identical = _content(records[order[position]]) == _content(records[order[previous]])
        if identical and compare(items[position], items[previous], settings).same:
            clusters.join(previous, position, _IDENTICAL)
        else:
            first_of_kind.append(position)
    links = [
        (verdict, left, right)
        for left, right in _candidates(items, first_of_kind, settings.window)
        if (verdict := compare(items[left], items[right], settings)).same
    ]
    # The surest links first: where two clusters claim a record, the better claim wins.
    links.sort(key=lambda link: (-link[0].confidence, link[1], link[2]))
    for verdict, left, right in links:
        clusters.join(left, right, verdict)

    members: dict[int, list[int]] = defaultdict(list)
    for position, index in enumerate(order):
        members[clusters.find(position)].append(index)
    return [(found, clusters.links[root]) for root, found in members.items()]


def _distinct_ids(records: Mapping[int, Record]) -> dict[int, Record]:
    """Different papers may share an identifier, as abstracts of one meeting do.

    Each such record gets a suffix made from what it says, whatever the order of the input.
    """
    sharing = Counter(record.record_id for record in records.values())
    taken: Counter[str] = Counter()
    distinct = dict(records)
    for index, record in sorted(records.items(), key=lambda pair: _order(pair[1])):
        if sharing[record.record_id] > 1:
            digest = hashlib.sha256(repr(_content(record)).encode()).hexdigest()[:8]
            record_id = f"{record.record_id}#{digest}"
            taken[record_id] += 1
            if taken[record_id] > 1:
                record_id += f"-{taken[record_id]}"
            distinct[index] = record.model_copy(update={"record_id": record_id})
    return distinct


def dedupe(records: Sequence[Record], settings: DedupeSettings) -> Deduped:
    """Find the records that describe one paper, and keep the fullest of them as it is.

    Nothing is deleted: every record is in ``unique`` or a member of a group. The groups
    do not depend on the order of ``records``. No two unique records share a ``record_id``.

    Parameters
    ----------
    records
        Of any number of sources; what ``ingest`` returns.
    settings
        See `pipeline.settings.DedupeSettings`.
    """
    clusters = _cluster(records, settings)
    for members, _ in clusters:
        members.sort(key=lambda index: _fullness(records[index]), reverse=True)
    unique = _distinct_ids({members[0]: records[members[0]] for members, _ in clusters})
    groups = []
    for members, links in clusters:
        if len(members) > 1:
            reasons = sorted(set(links), key=lambda link: (-link.confidence, link.reason))
            groups.append(
                Group(
                    members=(unique[members[0]], *(records[index] for index in members[1:])),
                    confidence=reasons[-1].confidence,
                    reason="; ".join(link.reason for link in reasons),
                )
            )
    return Deduped(tuple(groups), tuple(unique[index] for index in sorted(unique)), len(records))


def write_groups(path: str | Path, deduped: Deduped) -> None:
    """Write one row a member of each group (CSV); the kept record comes first."""
    header = ("group", "record_id", "source_file", "source_index", "kept", "confidence", "reason", "title")
    rows = [
        (
            number,
            record.record_id,
            record.source_file,
            record.source_index,
            "yes" if record is group.kept else "no",
            group.confidence,
            group.reason,
            record.title,
        )
        for number, group in enumerate(deduped.groups, start=1)
        for record in group.members
    ]
    write_csv(path, header, rows, bom=True)
