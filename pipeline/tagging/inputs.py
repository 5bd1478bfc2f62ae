"""Read the records for a tagging run from search exports or from a table of records."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mechtag.core.codebook import Codebook, Strict, describe_validation
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_jsonl
from mechtag.core.parquet import RecordTable, iterate_records, iterate_sentences, write_records
from mechtag.core.records import DEFINITIONS_ALONE, Record, Sentence
from mechtag.core.settings import Settings
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.dedupe.results import Deduped
from mechtag.pipeline.dedupe.review_tables import write_groups, write_uncertain
from mechtag.pipeline.export.prisma.counts import Identification
from mechtag.pipeline.reading.ingest import Ingested, Note, SourceCounts, ingest
from mechtag.pipeline.reading.text.cleaning import clean_abstract, clean_record
from mechtag.pipeline.reading.text.sections import is_cut
from mechtag.pipeline.tagging.storage import StoragePath, is_remote, locate

_PARQUET = ".parquet"
RECORDS = "records.parquet"
# Above this proportion of unlike records, a search as a whole counts as unlike the training texts.
MOSTLY = 0.5
FROM_DEFINITIONS = (
    "The suggestions come from the definitions of the codebook alone, because no record has been coded yet. The order "
    "of the papers and of the sentences is useful, but the probabilities are rough, and every decision needs review"
)


class Inputs(Strict):
    """Counts that describe the input of a tagging run.

    Attributes
    ----------
    records
        Number of records to tag; there is one per paper.
    without_abstract
        Number of records without an abstract.
    abstracts_cut
        Number of records whose abstract ends in mid-sentence.
    sources
        Counts of records for each source file; ``None`` if not known.
    notes, unread
        Notes on defects in the source files, and notes on files that could not be read.
    """

    records: int
    without_abstract: int
    sources: tuple[SourceCounts, ...] | None
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    abstracts_cut: int = 0

    @property
    def identification(self) -> Identification:
        """Return the counts that PRISMA 2020 requires for the records before screening."""
        if self.sources is None:
            return Identification(screened=self.records, without_abstract=self.without_abstract)
        return Identification(
            identified_by_source={source.file: source.read for source in self.sources},
            duplicates_removed=sum(source.kept for source in self.sources) - self.records,
            removed_for_other_reasons=sum(source.rejected for source in self.sources),
            screened=self.records,
            without_abstract=self.without_abstract,
        )

    def summary(
        self, model_id: str, codebook: Codebook, decisions: Mapping[str, Mapping[str, int]], unlike: int
    ) -> dict[str, Any]:
        """Return the content of ``summary.json``; unknown counts are ``None``.

        Parameters
        ----------
        decisions
            Number of records by label and decision; see `chunks.Chunk`.
        unlike
            Number of records that may be relevant but are unlike the training texts.
        """
        found, sources = self.identification, self.sources
        return {
            "model_id": model_id,
            "codebook": codebook.name,
            "read": found.identified,
            "kept": None if sources is None else sum(source.kept for source in sources),
            "rejected": found.removed_for_other_reasons,
            "duplicates": found.duplicates_removed,
            "unique": found.screened,
            "without_abstract": found.without_abstract,
            "abstracts_cut": self.abstracts_cut,
            "sources": None if sources is None else [asdict(source) | {"read": source.read} for source in sources],
            "notes": [
                *self.notes,
                *([FROM_DEFINITIONS] if model_id.startswith(DEFINITIONS_ALONE) else []),
                *self._unlike_note(decisions.get(codebook.relevance.key, {}), unlike),
            ],
            "unlike": unlike,
            "prisma": found.model_dump(mode="json"),
            "decisions": {
                label: {
                    decision: decisions.get(label, {}).get(decision, 0)
                    for decision in ("yes", "refer", "no", "not_scored")
                }
                for label in codebook.all_keys
            },
        }

    @staticmethod
    def _unlike_note(relevance: Mapping[str, int], unlike: int) -> Iterator[str]:
        likely = relevance.get("yes", 0) + relevance.get("refer", 0)
        if unlike > MOSTLY * likely:
            yield (
                f"{unlike} of the {likely} records that may be relevant are unlike the texts that the model was "
                "trained on. The model's probabilities and decisions may be unreliable for these records; code some of "
                "them, and retrain"
            )


def find_table(sources: Sequence[str], sentences: Path | None) -> StoragePath | None:
    """Return the path of the table of records; ``None`` if the sources are search exports.

    Raises
    ------
    MechtagError
        If a table of records is combined with other sources; if a source with a URI is not a table of records; or if
        search exports are combined with a table of sentences.
    """
    tables = [source for source in sources if source.endswith(_PARQUET)]
    if tables and len(sources) > 1:
        raise MechtagError(
            f"{tables[0]}: a Parquet table cannot be combined with other sources; pass only this table, or only search "
            "exports"
        )
    if sentences and not tables:
        raise MechtagError(
            f"{sentences}: a table of sentences can be used only with a Parquet table of records; pass a table of "
            "records instead of search exports, or omit the table of sentences"
        )
    if not tables and (remote := [source for source in sources if is_remote(source)]):
        raise MechtagError(
            f"{remote[0]}: only a table of records (.parquet) can be read from a URI; create one with 'mechtag ingest' "
            "and 'mechtag dedupe'"
        )
    return locate(tables[0]) if tables else None


def fingerprints(sources: Sequence[str], table: StoragePath | None, *others: Path | None) -> dict[str, str]:
    """Return a fingerprint of each input file, keyed by the name of the file.

    The fingerprint is the SHA-256 of the file. If ``table`` is in an object store, its fingerprint is its size and
    modification time. If a source is a folder, each file in the folder has a fingerprint.

    Parameters
    ----------
    table
        Table of records. If it is not ``None``, ``sources`` are not read.
    others
        Further tables that the run reads; ``None`` is skipped.
    """
    files = [] if table else [path for source in sources for path in _files(Path(source))]
    found = {table.name: table.fingerprint()} if table else {}
    return found | {str(path): locate(path).sha256() for path in [*files, *filter(None, others)]}


def _files(source: Path) -> Iterable[Path]:
    return sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]


def ingest_exports(sources: Sequence[str], settings: Settings, folder: Path) -> Inputs:
    """Read search exports, remove duplicates, and write the resulting tables to a folder.

    `input_files` returns the paths of these tables.

    Raises
    ------
    MechtagError
        For the same reasons as in `ingest.ingest`.
    """
    ingested = ingest(sources)
    deduped = dedupe(ingested.records, settings.dedupe)
    _write(folder, deduped.unique, deduped, ingested)
    return Inputs(
        records=len(deduped.unique),
        without_abstract=sum(not record.abstract for record in deduped.unique),
        abstracts_cut=sum(is_cut(record.abstract) for record in deduped.unique),
        sources=ingested.sources,
        notes=tuple(map(str, ingested.notes)),
        unread=tuple(map(str, ingested.unread)),
    )


def survey(place: StoragePath) -> Inputs:
    """Count the records in a table, the records without an abstract, and the abstracts that end in mid-sentence.

    Abstracts are cleaned before they are counted.

    Raises
    ------
    MechtagError
        For the same reasons as in `parquet.read_records`; if a record is repeated; or if the ``ingest.json`` next to
        the table is invalid.
    """
    without_abstract = abstracts_cut = 0
    files, ids = set(), array("q")
    with RecordTable(place.open(), str(place)) as table:
        for row in table.rows(["record_id", "abstract", "source_file"]):
            ids.append(_number(row["record_id"]))
            abstract, _ = clean_abstract(row["abstract"], wrapped=False)
            without_abstract += not abstract
            abstracts_cut += is_cut(abstract)
            files.add(row["source_file"])
        _check_ids(ids, table, place)
    sources, notes = _sources_beside(place.local, files, len(ids)) if place.local else (None, ())
    return Inputs(
        records=len(ids),
        without_abstract=without_abstract,
        abstracts_cut=abstracts_cut,
        sources=sources,
        notes=tuple(map(str, notes)),
    )


def copy_table(place: StoragePath, folder: Path) -> None:
    """Write a cleaned copy of a table of records to a folder.

    Empty tables of duplicates, uncertain pairs and rejected entries are also written. Offsets of evidence refer to the
    abstracts in the copy. If mechtag wrote the table, cleaning changes nothing.
    """
    assert place.local
    _write(
        folder, map(clean_record, iterate_records(place.local)), Deduped((), (), (), (), 0), Ingested((), (), (), ())
    )


def input_files(folder: Path) -> tuple[Path, ...]:
    """Return the paths of four tables in a folder: records, duplicates, uncertain pairs and rejected entries."""
    return tuple(folder / name for name in (RECORDS, "groups.csv", "uncertain.csv", "rejected.jsonl"))


def _write(folder: Path, records: Iterable[Record], deduped: Deduped, ingested: Ingested) -> None:
    table, groups, uncertain, rejected = input_files(folder)
    write_records(table, records)
    write_groups(groups, deduped)
    write_uncertain(uncertain, deduped)
    write_jsonl(rejected, ingested.rejected)


def _number(record_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(str(record_id).encode(), digest_size=8).digest(), signed=True)


def _check_ids(ids: Sequence[int], table: RecordTable, place: StoragePath) -> None:
    """Raise `MechtagError` if two records in a table have the same id."""
    ordered = np.sort(np.asarray(ids, dtype=np.int64))
    repeated = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not repeated:
        return
    names = (row["record_id"] for row in table.rows(["record_id"]))
    counts = Counter(name for name in names if _number(name) in repeated)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise MechtagError(f"{place}: record {twice[0]} appears more than once; run 'mechtag dedupe' first")


def _sources_beside(
    table: Path, files: set[str], records: int
) -> tuple[tuple[SourceCounts, ...] | None, tuple[Note, ...]]:
    """Return the counts of each source file from the ``ingest.json`` next to a table, and notes on defects.

    The counts are ``None`` if ``ingest.json`` is missing or describes different records.
    """
    path = table.with_name("ingest.json")
    if not path.is_file():
        return None, ()
    try:
        sources = TypeAdapter(tuple[SourceCounts, ...]).validate_python(read_json(path).get("sources"))
    except ValidationError as error:
        raise MechtagError(
            f"{describe_validation(f'{path}: sources', error)}\nRun 'mechtag ingest' again, or delete this file"
        ) from None
    if files - {source.file for source in sources} or sum(source.kept for source in sources) < records:
        text = (
            f"the file does not describe the records in {table.name}, so the number of records identified is not known"
        )
        return None, (Note(str(path), text),)
    return sources, ()


class GivenSentences:
    """Reads a table of sentences that were split earlier.

    The table must list the records in the order in which they are tagged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._groups: Iterator[tuple[str, Iterator[Sentence]]] = groupby(
            iterate_sentences(path), key=lambda sentence: sentence.record_id
        )
        self._next = next(self._groups, None)

    def of(self, records: Iterable[Record]) -> list[Sentence]:
        """Return the sentences of ``records``, which must be passed in the order of the table, also across calls.

        Raises
        ------
        MechtagError
            If a sentence does not occur in the abstract of its record.
        """
        found: list[Sentence] = []
        for record in records:
            if self._next is None or self._next[0] != record.record_id:
                continue
            for sentence in self._next[1]:
                if record.abstract[sentence.start : sentence.end] != sentence.text:
                    raise self._strange(sentence)
                found.append(sentence)
            self._next = next(self._groups, None)
        return found

    def end(self) -> None:
        """Raise `MechtagError` if the table contains sentences that no call of `of` has returned."""
        if self._next is not None:
            raise self._strange(next(self._next[1]))

    def _strange(self, sentence: Sentence) -> MechtagError:
        return MechtagError(
            f"{self._path}: sentence {sentence.sentence} of record {sentence.record_id} is not in the abstract of "
            "that record, or the sentences are not in the order of the records; split these records again with "
            "'mechtag sentences'"
        )
