"""Find the records of papers that are named in a table of codings, a gold standard or a file of decisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from rapidfuzz import fuzz, process

from mechtag.core.records import Record, keys_of, normalise_doi, normalise_pmid, normalise_title
from mechtag.core.settings import DedupeSettings
from mechtag.core.tables import TableRow
from mechtag.pipeline.annotations.cited_papers import NAMES, CitedPaper, fold, paper_of
from mechtag.pipeline.dedupe.comparable import ComparableFields, comparable_fields
from mechtag.pipeline.dedupe.rules import compare_records
from mechtag.pipeline.reading.columns import attributes

# Two databases' titles of one paper are more similar than this; the titles of different papers hardly ever are.
_ALIKE = 80.0
_NEAR, _CANDIDATES = 60.0, 3
_LONG_NAME, _TITLE = 5, 300
# A shorter number is a number in a list, and hardly ever a PubMed id.
_PMID_DIGITS = 6
#: Columns of tables that identify a paper, most reliable first.
IDENTIFIERS = ("record_id", "key", "id", "doi", "pmid", "title")
_DESCRIBING = frozenset(("authors", "year", "journal", "abstract"))


class Found(NamedTuple):
    """The result of a search for a record.

    Attributes
    ----------
    record
        The record; ``None`` unless exactly one record was found.
    by
        Kind of identifier by which the record was found; ``""`` if it was not found.
    tried
        If the record was not found: identifiers that were looked up, each with its result.
    candidates
        If the record was not found: the most similar records, the best match first.
    several
        Whether the search failed because several records fit one identifier; ``candidates`` then contains these
        records.
    """

    record: Record | None
    by: str = ""
    tried: tuple[str, ...] = ()
    candidates: tuple[Record, ...] = ()
    several: bool = False


def cited_in(row: TableRow) -> CitedPaper:
    """Return the details, such as DOI and title, by which a table row identifies its paper."""
    return paper_of(list(row.cells.items()))


def name_of(row: TableRow) -> str:
    """Return the first identifier of the paper in a table row; ``""`` if the row does not identify a paper."""
    cells = {fold(name): cell for name, cell in row.cells.items()}
    paper = cited_in(row)
    found = (*map(cells.get, IDENTIFIERS[:3]), paper.doi, paper.pmid, paper.title, *paper.names)
    return next(filter(None, found), "")


def identifying(names: Sequence[str]) -> set[str]:
    """Return the names of the columns that identify papers, such as the DOI or a key."""
    known = {name for name, (attribute, _) in attributes(names).items() if attribute in IDENTIFIERS}
    return known | {name for name in names if fold(name) in NAMES}


def describing(names: Sequence[str]) -> set[str]:
    """Return the names of the columns that identify or describe papers, and therefore contain no codes."""
    known = {name for name, (attribute, _) in attributes(names).items() if attribute in _DESCRIBING}
    return known | identifying(names)


class Finder:
    """Finds the record of a paper.

    A record can be found by record id, DOI, PubMed id, key (see `keys_of`) or title, or by the text that was shown to
    coders.

    Parameters
    ----------
    records
        Records without duplicates.
    settings
        Limits on how much the titles and years of one paper may differ. By default, the limits of `DedupeSettings`.
    given
        Record ids that the user assigned to papers. Each is keyed by an identifier of the paper: DOI, PubMed id, title,
        or the name in the user's table.
    """

    def __init__(
        self,
        records: Sequence[Record],
        settings: DedupeSettings | None = None,
        given: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._records = records
        self._settings = settings or DedupeSettings()
        self._given = {normalise_title(name): record_id for name, record_id in given.items()}
        self._cache: dict[CitedPaper, Found] = {}
        self._compared: dict[str, ComparableFields] = {}

    @cached_property
    def _ids(self) -> dict[Hashable, list[Record]]:
        return _index((record.record_id, record) for record in self._records)

    @cached_property
    def _dois(self) -> dict[Hashable, list[Record]]:
        return _index((record.doi, record) for record in self._records)

    @cached_property
    def _pmids(self) -> dict[Hashable, list[Record]]:
        return _index((record.pmid, record) for record in self._records)

    @cached_property
    def _keys(self) -> dict[Hashable, list[Record]]:
        return _index((key, record) for record in self._records for key in keys_of(record))

    @cached_property
    def _titles(self) -> dict[Hashable, list[Record]]:
        return _index((self._fields(record).compact or None, record) for record in self._records)

    @cached_property
    def _texts(self) -> dict[Hashable, list[Record]]:
        return _index((text, record) for record in self._records for text in _texts(record))

    def _fields(self, record: Record) -> ComparableFields:
        if record.record_id not in self._compared:
            self._compared[record.record_id] = comparable_fields(record)
        return self._compared[record.record_id]

    def find(self, paper: CitedPaper) -> Found:
        """Find the record of a paper by its identifiers.

        A record with the identifier is ignored if it contradicts other details of the paper.
        """
        if paper not in self._cache:
            self._cache[paper] = self._find(paper)
        return self._cache[paper]

    def _find(self, paper: CitedPaper) -> Found:
        for name in filter(None, (*paper.names, paper.doi, paper.pmid, paper.title)):
            if record_id := self._given.get(normalise_title(name)):
                record = next(iter(self._ids.get(record_id, ())), None)
                return Found(record, "map file", () if record else (f"map file: there is no record {record_id}",))
        seen = _seen(paper)
        # Some lists identify papers by title, and some tasks show only the title.
        long = [name for name in (*paper.names, paper.text) if name.count(" ") >= _LONG_NAME and len(name) <= _TITLE]
        titled = seen if paper.title or not long else _seen(paper._replace(title=long[0]))
        tried = []
        for way, value, records in self._ways(paper, titled):
            if not value:
                continue
            # A table may list a record twice.
            fitting = list({record.record_id: record for record in records if not self._differs(seen, record)}.values())
            if len(fitting) == 1:
                return Found(fitting[0], way)
            if fitting:
                tried.append(f"{way} {value!r}: {len(fitting)} records")
                return Found(None, "", tuple(tried), tuple(fitting[:_CANDIDATES]), several=True)
            differ = f"belongs to {records[0].record_id}, a different paper" if records else "no record"
            tried.append(f"{way} {value!r}: {differ}")
        return Found(None, "", tuple(tried) or ("the entry does not identify a paper",), self._candidates(titled))

    def _ways(self, paper: CitedPaper, titled: ComparableFields) -> Iterator[tuple[str, str | None, Sequence[Record]]]:
        """Try each identifier of a paper, the most reliable first; yield its kind, its value and the records found."""
        for name in paper.names:
            yield "record id", name, self._ids.get(name, ())
        for doi in filter(None, (paper.doi, *map(normalise_doi, paper.names))):
            yield "DOI", doi, self._dois.get(doi, ())
        if paper.pmid:
            yield "PubMed id", paper.pmid, self._pmids.get(paper.pmid, ())
        for name in paper.names:
            yield "key", name, self._keys.get(name, ())
        for pmid in filter(None, map(normalise_pmid, paper.names)):
            if len(pmid) >= _PMID_DIGITS:
                yield "PubMed id", pmid, self._pmids.get(pmid, ())
        yield "title", titled.title, self._by_title(titled)
        yield "text", paper.text[:40], self._texts.get(normalise_title(paper.text), [])

    def _by_title(self, seen: ComparableFields) -> list[Record]:
        """Return the records that have the title of a paper and do not contradict its authors and year.

        If there are none, return records with a similar title that deduplication would count as the same paper.
        """
        agreeing = [record for record in self._titles.get(seen.compact, []) if self._agrees(seen, record)]
        same = [record for record in agreeing if self._fields(record).notice == seen.notice]
        same = same or [record for record in agreeing if self._may_be_registration(seen, record)]
        if same or not seen.telling:
            return same
        return [
            record
            for record in self._near(seen, fuzz.ratio, 100 * self._settings.title_similarity)
            if compare_records(seen, self._fields(record), self._settings).same
        ]

    def _agrees(self, seen: ComparableFields, record: Record) -> bool:
        """Return whether the authors and the year of a paper agree with those of a record that has the same title."""
        other = self._fields(record)
        years = None if None in (seen.year, other.year) else abs((seen.year or 0) - (other.year or 0))
        if years is not None and years > self._settings.year_gap:
            return False
        authors = _share_author(seen, other)
        # If neither can be compared, the title must identify a work on its own.
        if authors is None and years is None:
            return seen.telling and not seen.recurring
        return authors is not False

    def _may_be_registration(self, seen: ComparableFields, record: Record) -> bool:
        """Return whether a paper with the title of a record may be the trial registration that the record describes.

        A registration is recognised by the name or address of the registry, which a cited paper lacks.
        """
        other = self._fields(record)
        authors = not seen.authors or bool(_share_author(seen, other))
        return authors and not seen.notice and other.notice.startswith("registration")

    def _differs(self, seen: ComparableFields, record: Record) -> bool:
        """Return whether a record describes a different paper than the cited paper ``seen``."""
        other = self._fields(record)
        titles = seen.title and other.title and fuzz.token_set_ratio(seen.title, other.title) < _ALIKE
        identifiers = (seen.doi, other.doi), (seen.pmid, other.pmid)
        clash = any(left and right and left != right for left, right in identifiers)
        shared = any(left and left == right for left, right in identifiers)
        if not seen.title and seen.year and other.year and _share_author(seen, other) is False:
            # The name of the paper is a citation, and the number next to it belongs to a different list.
            return abs(seen.year - other.year) > self._settings.year_gap
        return bool(titles) or (clash and not shared and seen.compact != other.compact)

    def _near(self, seen: ComparableFields, scorer: Callable[..., float], cutoff: float) -> list[Record]:
        titles = {record.record_id: self._fields(record).title for record in self._records}
        found = process.extract(seen.title, titles, scorer=scorer, limit=_CANDIDATES, score_cutoff=cutoff)
        return [self._ids[name][-1] for _, _, name in found]

    def _candidates(self, seen: ComparableFields) -> tuple[Record, ...]:
        # Subtitles do not count against a candidate, because databases omit them.
        near = self._near(seen, fuzz.token_set_ratio, _NEAR) if seen.title else []
        if not near and seen.authors and seen.year:
            near = [
                record
                for record in self._records
                if (other := self._fields(record)).year == seen.year and other.authors[:1] == seen.authors[:1]
            ]
        return tuple(near[:_CANDIDATES])


def _seen(paper: CitedPaper) -> ComparableFields:
    """Convert a cited paper to fields that can be compared with the fields of records."""
    return comparable_fields(
        Record(
            record_id="",
            title=paper.title,
            authors=paper.authors,
            year=paper.year,
            doi=paper.doi,
            pmid=paper.pmid,
        )
    )


def _share_author(left: ComparableFields, right: ComparableFields) -> bool | None:
    if not left.authors or not right.authors:
        return None
    return left.authors[0] in right.authors or right.authors[0] in left.authors


def _index(pairs: Iterable[tuple[Hashable | None, Record]]) -> dict[Hashable, list[Record]]:
    found: dict[Hashable, list[Record]] = defaultdict(list)
    for name, record in pairs:
        if name is not None:
            found[name].append(record)
    return dict(found)


def _texts(record: Record) -> set[str]:
    """Return the texts by which a record is found: its abstract alone, and its title followed by its abstract.

    The set is empty if the record has no abstract.
    """
    if not record.abstract:
        return set()
    return {normalise_title(record.abstract), normalise_title(f"{record.title} {record.abstract}")}


def shows_part(text: str, record: Record) -> bool | None:
    """Return whether ``text``, which a coder was shown, is only a part of the title and abstract of a record.

    If so, a label that the coder did not find may still apply to the record. If ``text`` does not occur in the title
    and abstract, the result is ``None``.
    """
    shown = normalise_title(text)
    if not shown or shown in (*_texts(record), normalise_title(record.title) if not record.abstract else ""):
        return False
    return True if shown in normalise_title(f"{record.title} {record.abstract}") else None
