"""Complete records: ask web services in turn for missing abstracts and identifiers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from mechtag.core.records import Record
from mechtag.pipeline.fetch import crossref, europepmc, match, openalex, pubmed, semantic_scholar, unpaywall
from mechtag.pipeline.fetch.found import Found, Pair
from mechtag.pipeline.fetch.match import Candidate
from mechtag.pipeline.fetch.merge import Fetched, may_be_cut, merge, provenance
from mechtag.pipeline.fetch.requests import Service
from mechtag.pipeline.fetch.transport import Transport


class Source(Protocol):
    """Interface of the modules that look up papers in a web service, by DOI or another identifier."""

    SERVICE: Service
    BATCH: int

    def look_up(self, records: Sequence[Record], transport: Transport) -> Iterable[Pair]:
        """Yield each record that the service knows, together with the service's description of the paper."""


# Services that look up papers by identifiers, in the order in which they are asked.
_SOURCES: tuple[Source, ...] = (pubmed, europepmc, openalex, crossref, semantic_scholar)
# Services that also search for papers by title.
_SEARCHES: dict[str, Callable[[Record, Transport], Iterator[Found]]] = {
    module.SERVICE.name: module.search for module in (europepmc, openalex, crossref)
}
#: All services by name, in the order in which they are asked.
SERVICES = {service.name: service for service in (*(source.SERVICE for source in _SOURCES), unpaywall.SERVICE)}
#: Names of the services that are asked by default.
USUAL = tuple(name for name in SERVICES if name != semantic_scholar.SERVICE.name)
#: What can be fetched.
WHAT = ("abstract", "identifiers", "full-text")

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class Wanted(NamedTuple):
    """The user's choice of what to fetch, and from which services.

    Attributes
    ----------
    what
        Kinds of data to fetch: ``abstract``, ``identifiers``, ``full-text``.
    sources
        Names of the services to ask.
    replace_shorter
        Whether an abstract that may have been cut off is replaced by a longer abstract with the same beginning.
    limit
        Maximum number of records about which services are asked; ``None`` for no limit.
    """

    what: tuple[str, ...] = WHAT[:2]
    sources: tuple[str, ...] = USUAL
    replace_shorter: bool = False
    limit: int | None = None

    def lacks(self, record: Record) -> bool:
        """Return whether an abstract or a DOI must be fetched for a record.

        What the user did not choose to fetch is ignored. If ``replace_shorter`` is set, an abstract that may have been
        cut off counts as missing.
        """
        abstract = not record.abstract or (self.replace_shorter and may_be_cut(record.abstract))
        return ("abstract" in self.what and abstract) or ("identifiers" in self.what and not record.doi)


@dataclass
class Result:
    """The completed records, and the data that services returned for them.

    Attributes
    ----------
    records
        All records in their original order, with the fetched fields filled in.
    asked
        Ids of the records about which services were asked.
    fetched
        The fields that were fetched, in the order of the records.
    candidates
        Uncertain matches: papers that a service found for a record. A person has to decide whether the record describes
        the paper.
    found
        What the services returned about the paper of each record, keyed by record id.
    """

    records: list[Record]
    asked: list[str]
    fetched: list[Fetched] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    found: dict[str, list[Found]] = field(default_factory=lambda: defaultdict(list))


def fill(records: Sequence[Record], wanted: Wanted, transport: Transport, progress: Progress) -> Result:
    """Ask web services for data that records lack.

    Records are looked up by DOI or PubMed id. If a record has neither, its title is searched for. If this search finds
    an identifier, the record is then looked up by the identifier.

    Parameters
    ----------
    wanted
        Data to ask for (abstracts, identifiers or full texts), and services to ask.
    transport
        Sends the requests.
    progress
        Function that shows the progress of a step; see `workflows.reporter.Reporter.progress`.

    Returns
    -------
    Result
        The completed records, and the data that the services returned.
    """
    return _Filling(records, wanted, transport, progress).run()


class _Filling:
    def __init__(self, records: Sequence[Record], wanted: Wanted, transport: Transport, progress: Progress) -> None:
        self._wanted, self._transport, self._progress = wanted, transport, progress
        self._now = {record.record_id: record for record in records}
        asked = [record.record_id for record in records if self._with_text or wanted.lacks(record)]
        self._result = Result([], asked[: wanted.limit])
        self._retracted: set[str] = set()
        self._sources = [source for source in _SOURCES if source.SERVICE.name in wanted.sources]

    @property
    def _with_text(self) -> bool:
        return "full-text" in self._wanted.what

    def run(self) -> Result:
        asked = self._result.asked
        unknown = [name for name in asked if not (self._now[name].doi or self._now[name].pmid)]
        for source in self._sources:
            self._look_up(source, [name for name in asked if name not in set(unknown)])
        for source in self._sources:
            if search := _SEARCHES.get(source.SERVICE.name):
                self._search(source.SERVICE, search, unknown)
        for source in self._sources:
            self._look_up(source, [name for name in unknown if self._now[name].doi or self._now[name].pmid])
        self._result.records = list(self._now.values())
        places = {name: place for place, name in enumerate(self._now)}
        self._result.fetched.sort(key=lambda row: places[row.record_id])
        self._result.candidates.sort(key=lambda one: places[one.record.record_id])
        return self._result

    def _look_up(self, source: Source, names: Sequence[str]) -> None:
        # Only Europe PMC says which texts it has, so it is asked about all records.
        needs_text = self._with_text and source.SERVICE is europepmc.SERVICE
        needy = [self._now[name] for name in names if needs_text or self._wanted.lacks(self._now[name])]
        if not needy:
            return
        with self._progress(f"looking up in {source.SERVICE.label}", len(needy)) as advance:
            for start in range(0, len(needy), source.BATCH):
                batch = needy[start : start + source.BATCH]
                for record, found in source.look_up(batch, self._transport):
                    self._add(Candidate(record, found, match.by_identifier(record, found)))
                advance(len(batch))

    def _search(
        self, service: Service, search: Callable[[Record, Transport], Iterator[Found]], names: Sequence[str]
    ) -> None:
        needy = [self._now[name] for name in names if not (self._now[name].doi or self._now[name].pmid)]
        if not needy:
            return
        with self._progress(f"searching {service.label} by title", len(needy)) as advance:
            for record in needy:
                for one in match.by_title(record, list(search(record, self._transport))):
                    self._add(one)
                advance(1)

    def _add(self, one: Candidate) -> None:
        """Fill missing fields of a record from a found paper; an uncertain match is only listed as a candidate."""
        name, found, verdict = one.record.record_id, one.found, one.verdict
        if verdict.doubt:
            self._result.candidates.append(one)
            return
        self._result.found[name].append(found)
        self._now[name], rows = merge(self._now[name], found, verdict, self._wanted.replace_shorter)
        self._result.fetched += rows
        if found.retracted and name not in self._retracted:
            self._retracted.add(name)
            self._result.fetched.append(provenance(name, "retraction", found, verdict.likeness))
