"""Search citations: find the papers that the included papers cite, and the papers that cite the included papers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

from mechtag.core.records import Record
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.fetch import europepmc, match, openalex
from mechtag.pipeline.fetch.found import Found, Pair
from mechtag.pipeline.fetch.gaps import Progress
from mechtag.pipeline.fetch.transport import Transport

Direction = Literal["backward", "forward"]
#: Directions: from a seed to the papers that it cites, and to the papers that cite it.
DIRECTIONS: tuple[Direction, ...] = ("backward", "forward")
#: Services that list the citations of a paper.
SOURCES = (openalex.SERVICE.name, europepmc.SERVICE.name)
_LISTS = {"backward": "references", "forward": "citations"}
#: Maximum number of papers that may be found in one run, counting a paper once per seed and service.
MOST = 20_000


class Step(NamedTuple):
    """How citation searching found a paper.

    Attributes
    ----------
    seed
        Id of the paper whose citations were followed.
    direction
        ``backward`` if that paper cites the found paper; ``forward`` if the found paper cites that paper.
    source
        Name of the service.
    """

    seed: str
    direction: Direction
    source: str

    def __str__(self) -> str:
        relation = "cited by" if self.direction == "backward" else "cites"
        return f"{relation} {self.seed} ({self.source})"


class SeedCount(NamedTuple):
    """How many papers a service lists for one seed; a seed is a paper whose citations are followed.

    A number is ``None`` if it was not requested, or if the service could not state it.

    Attributes
    ----------
    backward
        Number of papers that the seed cites.
    forward
        Number of papers that cite the seed.
    """

    record: Record
    source: str
    backward: int | None
    forward: int | None


class Chased(NamedTuple):
    """A new paper that citation searching found, and the steps that led to the paper."""

    record: Record
    steps: tuple[Step, ...]

    @property
    def seeds(self) -> int:
        """Return the number of seeds that led to this paper; a seed is a paper whose citations were followed."""
        return len({step.seed for step in self.steps})


@dataclass
class Chase:
    """The result of citation searching.

    In this result, a seed is a paper whose citations were followed.

    Attributes
    ----------
    papers
        New papers. Papers to which more seeds led come first.
    identified
        Number of different papers that were found, including papers that were known before.
    seeds
        For each seed and service, the numbers of papers that the service lists.
    complete
        Whether all citations were followed. The value is ``False`` if the search stopped after it had found `MOST`
        papers.
    """

    papers: list[Chased]
    identified: int
    seeds: list[SeedCount] = field(default_factory=list)
    complete: bool = True

    @property
    def known(self) -> int:
        """Return how many of the found papers are not new, because they are included papers or known papers."""
        return self.identified - len(self.papers)


class _Enough(Exception):
    """Raised to stop citation searching when `MOST` papers were found."""


class Chaser:
    """Finds papers by following the citations of included papers.

    Parameters
    ----------
    directions
        ``backward`` to find the papers that a paper cites; ``forward`` to find the papers that cite a paper.
    sources
        Names of the services to ask, such as ``openalex``.
    settings
        Settings by which duplicates are recognised.
    """

    def __init__(
        self,
        directions: Sequence[Direction],
        sources: Sequence[str],
        transport: Transport,
        settings: DedupeSettings,
        progress: Progress,
    ) -> None:
        self._directions, self._sources = directions, sources
        self._transport, self._settings, self._progress = transport, settings, progress
        self._found: list[Record] = []
        self._steps: list[Step] = []
        self._seeds: list[SeedCount] = []

    def chase(self, included: Sequence[Record], known: Sequence[Record], rounds: int) -> Chase:
        """Find new papers that the included papers cite, or that cite the included papers.

        Parameters
        ----------
        included
            Records of the included papers, without duplicates.
        known
            Records that were found before, for example by searching databases. Their papers do not count as new.
        rounds
            ``1`` to follow the citations of the included papers. ``2`` to also follow the citations of the papers that
            the first round found.
        """
        existing = list({record.record_id: record for record in (*included, *known)}.values())
        seeds, complete = included, True
        papers: list[Chased] = []
        identified = 0
        for _ in range(rounds):
            try:
                for source in self._sources:
                    self._follow(source, seeds)
            except _Enough:
                complete = False
            papers, identified = self._merged(existing)
            seeds = [paper.record for paper in papers]
            if not complete:
                break
        return Chase(papers, identified, self._seeds, complete)

    def _follow(self, source: str, seeds: Sequence[Record]) -> None:
        """Ask a service for the papers that cite the seeds or are cited by them, and store these papers."""
        module = openalex if source == openalex.SERVICE.name else europepmc
        label = module.SERVICE.label
        with self._progress(f"following citations in {label}", len(seeds)) as advance:
            for start in range(0, len(seeds), module.BATCH):
                batch = seeds[start : start + module.BATCH]
                known = _believed(module.look_up(batch, self._transport))
                for seed in batch:
                    counts: dict[Direction, int | None] = {"backward": None, "forward": None}
                    if found := known.get(seed.record_id):
                        for direction in filter(partial(self._can_list, source), self._directions):
                            before = len(self._found)
                            for other in self._others(source, found, direction):
                                self._add(other.record, Step(seed.record_id, direction, source))
                            counts[direction] = len(self._found) - before
                    self._seeds.append(SeedCount(seed, source, **counts))
                    advance(1)

    def _can_list(self, source: str, direction: Direction) -> bool:
        """Return whether a service can list cited papers (``backward``) or citing papers (``forward``)."""
        # OpenAlex lists citing papers only for users with a key.
        return source != openalex.SERVICE.name or direction == "backward" or self._transport.has_key(openalex.SERVICE)

    def _others(self, source: str, seed: Found, direction: Direction) -> Iterator[Found]:
        """Yield the papers that ``seed`` cites (``backward``), or the papers that cite it (``forward``)."""
        if source == openalex.SERVICE.name:
            if direction == "backward":
                yield from openalex.works(seed.references, self._transport)
            else:
                yield from openalex.citing(seed.work, self._transport)
        else:
            yield from europepmc.cited(seed.work, _LISTS[direction], self._transport)

    def _add(self, record: Record, step: Step) -> None:
        if len(self._found) >= MOST:
            raise _Enough
        # The number identifies the record among those that are merged with it.
        self._found.append(record.model_copy(update={"source_index": len(self._found) + 1}))
        self._steps.append(step)

    def _merged(self, existing: Sequence[Record]) -> tuple[list[Chased], int]:
        """Merge duplicates among the found papers, and count the papers that remain.

        Return the remaining papers that are not in ``existing``, and the number of all remaining papers.
        """
        result = dedupe(self._found, self._settings, existing=existing)
        numbers = {(record.source_file, record.source_index): place for place, record in enumerate(self._found)}
        steps: dict[str, list[Step]] = defaultdict(list)
        members = {group.kept.record_id: group.members for group in result.groups}
        papers, met = [], 0
        new = {record.record_id for record in result.new}
        for record in result.unique:
            for member in members.get(record.record_id, (record,)):
                place = numbers.get((member.source_file, member.source_index))
                if place is not None:
                    steps[record.record_id].append(self._steps[place])
            met += bool(steps[record.record_id])
            if record.record_id in new:
                papers.append(Chased(record, tuple(dict.fromkeys(sorted(steps[record.record_id])))))
        papers.sort(key=lambda paper: (-paper.seeds, -(paper.record.year or 0), paper.record.record_id))
        return papers, met


def _believed(found: Iterator[Pair]) -> Mapping[str, Found]:
    """Return the paper that was found for each record, keyed by record id.

    A paper is left out if its title differs clearly from the title of the record.
    """
    believed: dict[str, Found] = {}
    for record, paper in found:
        if not match.by_identifier(record, paper).doubt:
            believed.setdefault(record.record_id, paper)
    return believed
