"""Deduplicate records: group the records that describe one paper, and merge each group."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, normalise_title
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.clustering import cluster
from mechtag.pipeline.dedupe.comparable import comparable_fields
from mechtag.pipeline.dedupe.results import Decision, Deduped, Filled, Group, Reference, Uncertain, refer
from mechtag.pipeline.dedupe.rules import Comparison

# Fields that are filled from other records if the kept record lacks them.
FIELDS = (
    *("abstract", "authors", "year", "journal", "volume", "issue", "pages"),
    *("doi", "pmid", "keywords", "type", "language", "url"),
)


def fullness(record: Record) -> tuple[int, int, int]:
    """Return a sort key that is larger for more complete records.

    The key consists of the number of filled fields, the number of characters of the abstract, and the number of
    authors.
    """
    filled = sum(bool(getattr(record, name)) for name in FIELDS)
    return filled, len(record.abstract), len(record.authors)


def merge(members: Sequence[Record]) -> tuple[Record, tuple[Filled, ...]]:
    """Merge the records of one paper: fill the empty fields of the first record from the other records.

    Return the completed first record, and the fields that were filled. ``raw`` is not filled.

    Parameters
    ----------
    members
        The record to keep, followed by the other records in order of preference.
    """
    kept, *others = members
    values: dict[str, Any] = {}
    filled = []
    for field in FIELDS:
        giver = None if getattr(kept, field) else next((other for other in others if getattr(other, field)), None)
        if giver:
            values[field] = getattr(giver, field)
            filled.append(Filled(field, giver))
    return (kept.model_copy(update=values) if values else kept), tuple(filled)


# Preference of identifiers: DOI (0), then PubMed id, then title.
_RANKS = {"pmid": 1, "text": 2}


def _content(record: Record) -> tuple[object, ...]:
    """Return a sort key that depends only on the content of a record, and places similar titles next to each other."""
    fields = (record.journal, record.volume, record.issue, record.pages, record.doi, record.pmid, record.type)
    return (
        normalise_title(record.title),
        record.title,
        record.authors,
        record.year or 0,
        *(value or "" for value in fields),
        record.abstract,
    )


def _add_existing(records: Sequence[Record], existing: Sequence[Record]) -> tuple[list[Record], dict[int, int]]:
    """Return ``records``, followed by the papers in ``existing`` that are not among them, and a dict.

    The dict contains the position of each existing paper in ``existing``, keyed by its position in the returned list.
    """
    names = Counter(paper.record_id for paper in existing)
    if twice := [name for name, count in names.items() if count > 1]:
        raise MechtagError(
            f"existing records: record {twice[0]} appears more than once; use the table of unique records that "
            "'mechtag dedupe' wrote"
        )
    together, owners = list(records), {}
    read_again = {(record.source_file, record.source_index): index for index, record in enumerate(records)}
    for number, paper in enumerate(existing):
        index = read_again.get((paper.source_file, paper.source_index))
        # A record that was read again lacks the fields that an earlier run filled; `merge` and `_as_before` fill them.
        if index is None or (records[index].title, records[index].raw) != (paper.title, paper.raw):
            index = len(together)
            together.append(paper)
        owners[index] = number
    return together, owners


def _resolve(
    decisions: Iterable[Decision], records: Sequence[Record], order: Sequence[int]
) -> tuple[list[tuple[int, int, bool, str]], tuple[str, ...]]:
    """Return the decisions on pairs of the given records, and the places (file and row) of all other decisions.

    Each returned decision has four items: the positions of the two records in ``order``, whether the two records
    describe the same paper, and the place of the decision.
    """
    decisions = list(decisions)
    spoken_of = {reference for decision in decisions for reference in (decision.left, decision.right)}
    places: dict[Reference, int] = {}
    for position, index in enumerate(order if spoken_of else ()):
        reference = refer(records[index])
        if reference in spoken_of:
            places[reference] = position
    found, ignored = [], []
    for decision in decisions:
        if decision.left in places and decision.right in places:
            found.append((places[decision.left], places[decision.right], decision.same, decision.place))
        else:
            ignored.append(decision.place)
    return found, tuple(ignored)


def _digest(record: Record) -> str:
    return hashlib.sha256(repr(_content(record)).encode()).hexdigest()[:8]


def _best_id(members: Sequence[Record]) -> str:
    """Return the best record id in a group: ids from a DOI come first, then ids from a PubMed id, then from a title."""
    return min((record.record_id for record in members), key=lambda name: _RANKS.get(name.split(":")[0], 0))


def _new_ids(papers: Mapping[int, Sequence[Record]], taken: set[str]) -> dict[int, str]:
    """Return a unique record id for each new paper, with the keys of ``papers``, and add the ids to ``taken``.

    The ids differ from one another and from all ids in ``taken``.
    """
    wanted = {index: _best_id(members) for index, members in papers.items()}
    sharing = Counter(wanted.values())
    names = {}
    for index in sorted(papers, key=lambda index: _order(papers[index][0])):
        name = wanted[index]
        # Different papers may share an identifier, for example abstracts from one meeting. The suffix does not depend
        # on the order of the input.
        if sharing[name] > 1 or name in taken:
            name = suffixed = f"{name}#{_digest(papers[index][0])}"
            number = 1
            while name in taken:
                number += 1
                name = f"{suffixed}-{number}"
        taken.add(name)
        names[index] = name
    return names


def _order(record: Record) -> tuple[object, ...]:
    return (*_content(record), record.source_file, record.source_index)


def dedupe(
    records: Sequence[Record],
    settings: DedupeSettings,
    *,
    existing: Sequence[Record] = (),
    decisions: Iterable[Decision] = (),
) -> Deduped:
    """Group records that describe the same paper, and merge each group into one record.

    In the result, ``unique`` contains one record per paper, each with a different ``record_id``. No record is lost:
    every record is in ``unique`` or is a member of a group. The groups do not depend on the order of ``records``.

    Parameters
    ----------
    records
        Records from any number of sources, as returned by ``ingest``.
    settings
        Limits on the differences between records of one paper.
    existing
        Unique records from an earlier run. These records keep their ids. Two of them are merged only if a decision says
        so.
    decisions
        People's decisions, which override the rules; see `review_tables.read_decisions`.

    Raises
    ------
    MechtagError
        If decisions contradict each other, or if existing records share an id.
    """
    together, owners = _add_existing(records, existing)
    contents = [_content(record) for record in together]
    order = sorted(
        range(len(together)),
        key=lambda index: (contents[index], together[index].source_file, together[index].source_index),
    )
    found, ignored = _resolve(decisions, together, order)
    clusters, doubts = cluster(
        [comparable_fields(together[index]) for index in order],
        [contents[index] for index in order],
        settings,
        known=frozenset(position for position, index in enumerate(order) if index in owners),
        decisions=found,
    )
    indices: dict[int, list[int]] = defaultdict(list)
    for position, index in enumerate(order):
        indices[clusters.find(position)].append(index)
    # The record of an existing paper continues to represent it, because it may have been screened.
    for members in indices.values():
        members.sort(key=lambda index: fullness(together[index]), reverse=True)
        members.sort(key=lambda index: owners.get(index, len(existing)))
    papers = {root: tuple(together[index] for index in members) for root, members in indices.items()}
    owner = {root: owners[members[0]] for root, members in indices.items() if members[0] in owners}
    names = {root: existing[number].record_id for root, number in owner.items()}
    names |= _new_ids({root: papers[root] for root in papers if root not in names}, set(names.values()))

    groups, unique = [], {}
    for root, paper in papers.items():
        kept, filled = merge(paper)
        if root in owner:
            split = [member for other in clusters.apart_from(root) for member in papers[other]]
            kept = _as_before(kept, existing[owner[root]], split)
        if kept.record_id != names[root]:
            kept = kept.model_copy(update={"record_id": names[root]})
        unique[root] = kept
        if len(paper) > 1:
            groups.append(Group(kept, paper, filled, *_confidence(clusters.links[root])))
    ranks = {root: (owner.get(root, len(existing)), indices[root][0]) for root in papers}
    in_order = sorted(papers, key=ranks.__getitem__)
    # One copy per record, because a title shared by many papers occurs in many pairs.
    named = {
        position: together[order[position]].model_copy(update={"record_id": names[clusters.find(position)]})
        for doubt in doubts
        for position in (doubt.left, doubt.right)
    }
    doubtful = [
        Uncertain(named[doubt.left], named[doubt.right], doubt.comparison.confidence, doubt.comparison.reason)
        for doubt in doubts
    ]
    return Deduped(
        groups=tuple(groups),
        unique=tuple(unique[root] for root in in_order),
        new=tuple(unique[root] for root in in_order if root not in owner),
        uncertain=tuple(doubtful),
        read=len(together),
        ignored=ignored,
    )


def _as_before(kept: Record, earlier: Record, split: Sequence[Record]) -> Record:
    """Fill the empty fields of ``kept`` with the values of ``earlier``, the same paper in an earlier run.

    ``split`` contains the records that people have separated from the paper. Values that occur in these records are not
    used.
    """
    lacking = {name: value for name in FIELDS if not getattr(kept, name) and (value := getattr(earlier, name))}
    # Such a value may come from the separated record.
    values = {name: value for name, value in lacking.items() if all(getattr(one, name) != value for one in split)}
    return kept.model_copy(update=values) if values else kept


def _confidence(links: Iterable[Comparison]) -> tuple[float, str]:
    """Return the lowest confidence of the given comparisons, and all their reasons as one text."""
    reasons = sorted(set(links), key=lambda link: (-link.confidence, link.reason))
    return reasons[-1].confidence, "; ".join(dict.fromkeys(link.reason for link in reasons))
