"""Add new codings to the annotations, and refuse papers that are used to measure accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv
from mechtag.core.records import Record, Row
from mechtag.core.settings import Settings
from mechtag.models.encoder import Encoder, Vectors
from mechtag.pipeline.annotations.additions import SetAside, Stale, extend_additions, find_stale, match_codings
from mechtag.pipeline.annotations.coding_table import read_base, read_codings
from mechtag.pipeline.annotations.versions import (
    BASE,
    Additions,
    list_versions,
    read_additions,
    read_history,
    version_in_use,
)
from mechtag.pipeline.dedupe.comparable import comparable_fields
from mechtag.pipeline.dedupe.rules import compare_records
from mechtag.pipeline.reading.ingest import read_sources
from mechtag.pipeline.text.sentences import split
from mechtag.training.train import load_encoder

# A title with one or two sentences is too short to be distinguished from those of other papers.
_MIN_UNITS = 3


@dataclass(frozen=True)
class Leak:
    """A record that may be a test paper or describe the same study as a test paper.

    Attributes
    ----------
    title
        Title of the record.
    reason
        Test paper that the record resembles, and the resemblance found.
    """

    record_id: str
    title: str
    reason: str


def find_leaks(records: Sequence[Record], test: Sequence[Record], encoder: Encoder, settings: Settings) -> list[Leak]:
    """Compare training records with the test papers, and return the records that may be test papers.

    Each pair of records is compared in four ways: by identifier (record id, DOI, PubMed id); by the
    rules for duplicates; by study, if both records have the field ``retrain.group_field``; and by
    wording (see `likeness`). Uncertain duplicates also count, because a false alarm costs only one
    annotation, whereas a miss invalidates the test.

    Returns
    -------
    list of Leak
        At most one per record, in the order of ``records``, with the first reason found.
    """
    wanted = [*records, *test]
    described = [comparable_fields(record) for record in wanted]
    vectors = _unit_vectors(wanted, encoder, settings)
    leaks = []
    for row, record in enumerate(records):
        for column, paper in enumerate(test, start=len(records)):
            comparison = compare_records(described[row], described[column], settings.dedupe)
            reasons = _said(record, paper, settings.retrain.group_field)
            if comparison.same or (comparison.same is None and comparison.reason):
                reasons = [*reasons, comparison.reason]
            alike = likeness(vectors[row], vectors[column])
            if alike >= settings.retrain.paraphrase:
                reasons = [*reasons, f"nearly the same text (similarity {alike:.2f})"]
            if reasons:
                leaks.append(Leak(record.record_id, record.title, f"{reasons[0]} as test paper: {paper.title}"))
                break
    return leaks


def likeness(first: Vectors, second: Vectors) -> float:
    """Return how similar the sentences of two texts are, from 0 to 1, to detect paraphrases.

    Each sentence of one text is compared with the nearest sentence of the other text. The likeness is the mean
    cosine of these pairs, computed in both directions; the higher mean counts. If either text has fewer than three
    sentences, including the title, the likeness is 0.

    Measured with all-MiniLM-L6-v2 on the 25,200 pairs of papers from the coded records, the gold standard and
    the search update: half are below 0.34, 99.9% below 0.57, and two above 0.63. Four paraphrased synopses have
    a likeness of 0.65 to 0.74 to the original.

    Parameters
    ----------
    first, second : ndarray, shape (n_units, size)
        Vectors of the title and the sentences of each text, normalised to unit length.
    """
    if min(len(first), len(second)) < _MIN_UNITS:
        return 0.0
    cosines = first @ second.T
    return float(max(cosines.max(axis=1).mean(), cosines.max(axis=0).mean()))


def _said(record: Record, paper: Record, group_field: str) -> list[str]:
    """Return the reasons, found in their metadata, to believe that two records are about the same paper."""
    pairs = {
        "record id": (record.record_id, paper.record_id),
        "DOI": (record.doi, paper.doi),
        "PubMed id": (record.pmid, paper.pmid),
    }
    found = [f"same {name}" for name, (one, other) in pairs.items() if one and one == other]
    group = _group(record, group_field)
    if group and group == _group(paper, group_field):
        found.append(f"same {group_field} ({group})")
    return found


def _group(record: Record, field: str) -> str:
    return str(dict(record.raw).get(field) or "").strip().casefold() if field else ""


def _unit_vectors(records: Sequence[Record], encoder: Encoder, settings: Settings) -> list[Vectors]:
    """Return the vectors of the title and sentences of each record. Different records may have the same id."""
    units: list[str] = []
    lengths = []
    for record in records:
        own = [record.title, *(sentence.text for sentence in split([record], settings.sentences))]
        units += own
        lengths.append(len(own))
    return list(np.split(encoder.encode(units), np.cumsum(lengths)[:-1]))


_NAMED = 20


@dataclass(frozen=True)
class Addition:
    """Result of adding new codings.

    Attributes
    ----------
    additions
        All added annotations, including the new codings.
    set_aside
        Records whose codings are not used for training.
    stale
        Codes, old or new, that were assigned under an earlier definition of their label.
    counts
        Counts returned by `additions.extend_additions`.
    """

    additions: Additions
    set_aside: list[SetAside]
    stale: list[Stale]
    counts: Counter[str]

    def describe(self) -> str:
        """Return a one-line summary of the new codings."""
        return (
            f"{self.counts['new']} new codes, {self.counts['corrected']} corrected, {self.counts['known']} known, "
            f"{self.counts['set_aside']} set aside"
        )


def add_annotations(
    settings: Settings,
    codebook: Codebook,
    codings: Sequence[Path],
    records: Sequence[Path],
    base_definitions: Mapping[str, str],
    onto: str | None,
    leave_out_leaks: bool,
    on_note: Callable[[str], None],
) -> Addition:
    """Read new codings and combine them with the earlier annotations. Nothing is written.

    Parameters
    ----------
    codings
        Tables in the format of `coding_table.read_codings`.
    records
        Search exports or parquet tables that contain the coded records.
    base_definitions
        Definitions of the labels when the active model was trained. Used only if no annotations have been added yet.
    onto
        Version of the annotations to add to; empty to start from none. By default, the version of the last
        retraining or rollback.
    leave_out_leaks
        Whether to set aside records that may be test papers instead of raising an error.
    on_note
        Called with a message if some of the records cannot be read; see `ingest.read_sources`.

    Raises
    ------
    MechtagError
        A table is invalid or refers to unknown records, or a record may be a test paper.
    """
    base = read_base(settings, codebook.keys, codebook.relevance.key)
    history = read_history(settings.train.added)
    last = str(history[-1]["version"]) if history else version_in_use(settings.train.added)
    before = read_additions(settings.train.added, last if onto is None else onto)
    if first := list_versions(settings.train.added)[:1]:
        base_definitions = read_additions(settings.train.added, first[0]).definitions[BASE]
    rows = [row for path in codings for row in read_codings(path, codebook.all_keys)]
    known = [*(record.record for record in base), *before.records]
    place = ", ".join(str(path) for path in codings)
    incoming = match_codings(rows, read_sources(records, on_note), known, settings.dedupe, place)
    leaks = _leaks([*before.records, *incoming.records], settings, on_note)
    if leaks and not leave_out_leaks:
        named = "\n".join(f"  {leak.record_id} ({leak.title}): {leak.reason}" for leak in leaks[:_NAMED])
        raise MechtagError(
            f"{place or settings.train.added}: {len(leaks)} records may be papers used to measure accuracy "
            f"({settings.retrain.test_records}). Such papers must not be used for training:\n{named}"
            f"{f'{chr(10)}  and {len(leaks) - _NAMED} more' if len(leaks) > _NAMED else ''}\n"
            "Remove the codings of these records, or set them aside with --leave-out-leaks"
        )
    refused = {leak.record_id: leak.reason for leak in leaks}
    additions, set_aside, counts = extend_additions(before, incoming, base, codebook, base_definitions, refused)
    return Addition(additions, set_aside, find_stale(additions, base, codebook), counts)


def _leaks(records: Sequence[Record], settings: Settings, on_note: Callable[[str], None]) -> list[Leak]:
    if not settings.retrain.test_records or not records:
        return []
    test = read_sources([Path(settings.retrain.test_records)], on_note)
    return find_leaks(records, test, load_encoder(settings), settings)


def write_notes(folder: Path, addition: Addition) -> None:
    """Write ``set_aside.csv`` and ``stale.csv`` for an addition. The tables are written even if they have no rows."""
    for name, rows, kind in (("set_aside", addition.set_aside, SetAside), ("stale", addition.stale, Stale)):
        _write(folder / f"{name}.csv", kind, rows)


def _write(path: Path, kind: type[Row], rows: Sequence[Row]) -> None:
    header = list(kind.model_fields)
    write_csv(path, header, [list(row.model_dump().values()) for row in rows], bom=True)
