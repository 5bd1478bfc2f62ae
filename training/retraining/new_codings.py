"""Add new codings to the annotations, and refuse papers that are used to measure accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv
from mechtag.core.records import Record, Row
from mechtag.core.settings import Settings
from mechtag.core.words import counted
from mechtag.pipeline.annotations.additions import SetAside, Stale, extend_additions, find_stale, match_codings
from mechtag.pipeline.annotations.coding_table import read_base, read_codings
from mechtag.pipeline.annotations.record_finder import Finder
from mechtag.pipeline.annotations.versions import (
    BASE,
    Additions,
    latest_version,
    list_versions,
    read_additions,
)
from mechtag.pipeline.reading.ingest import read_sources
from mechtag.training.leakage import Leak, describe_papers, find_leaks
from mechtag.training.train import load_encoder

_NAMED = 20


@dataclass(frozen=True)
class Addition:
    """Result of adding new codings to the earlier annotations.

    Attributes
    ----------
    additions
        All added annotations, including the new codings.
    set_aside
        Records whose codings are not used for training.
    stale
        Codes that were given under an earlier definition of their label. They can be among the new codings or among the
        earlier annotations.
    counts
        Numbers of codes that are new, corrected, known or set aside; see `additions.extend_additions`.
    """

    additions: Additions
    set_aside: list[SetAside]
    stale: list[Stale]
    counts: Counter[str]

    def describe(self) -> str:
        """Return a one-line summary of the numbers of codes."""
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
    """Read new codings and combine them with the earlier annotations, without writing anything.

    Parameters
    ----------
    codings
        Tables in the format of `coding_table.read_codings`.
    records
        Search exports or parquet tables that contain the coded records.
    base_definitions
        Definitions of the labels when the model in use was trained. They are used only if no annotations were added
        earlier.
    onto
        Version of the added annotations to which the new codings are added. If ``""``, the result contains only the
        new codings. If ``None``, the version of the last retraining or rollback is used.
    leave_out_leaks
        Whether to set aside records that may be test papers, instead of raising an error.
    on_note
        Called with a message if some of the records cannot be read; see `ingest.read_sources`.

    Raises
    ------
    MechtagError
        If a table is invalid or refers to unknown records; if a coding by a language model was not confirmed by a
        person; or if ``leave_out_leaks`` is false and a record may be a test paper.
    """
    base = read_base(settings, codebook.keys, codebook.relevance.key)
    before = read_additions(settings.train.added, latest_version(settings.train.added) if onto is None else onto)
    if first := list_versions(settings.train.added)[:1]:
        base_definitions = read_additions(settings.train.added, first[0]).definitions[BASE]
    # A record that was added earlier may have been imported into the file of coded records since.
    known = list({record.record_id: record for record in (*before.records, *(row.record for row in base))}.values())
    given = read_sources(records, on_note)
    finders = Finder(given, settings.dedupe), Finder(known, settings.dedupe)
    rows = [row for path in codings for row in read_codings(path, codebook.all_keys, *finders, to_train=True)]
    place = ", ".join(str(path) for path in codings)
    incoming = match_codings(rows, given, known, settings.dedupe, place)
    leaks = _leaks([*before.records, *incoming.records], settings, on_note)
    if leaks and not leave_out_leaks:
        named = "\n".join(f"  {leak.record_id} ({leak.title}): {leak.reason}" for leak in leaks[:_NAMED])
        raise MechtagError(
            f"{place or settings.train.added}: {counted(len(leaks), 'record')} must not be used for training, because "
            f"accuracy may be measured on the same papers ({settings.retrain.test_records}):\n{named}"
            f"{f'{chr(10)}  and {len(leaks) - _NAMED} more' if len(leaks) > _NAMED else ''}\n"
            "Remove the codings of these records, or set them aside",
            options="--leave-out-leaks",
        )
    refused = {leak.record_id: leak.reason for leak in leaks}
    additions, set_aside, counts = extend_additions(before, incoming, base, codebook, base_definitions, refused)
    return Addition(additions, set_aside, find_stale(additions, base, codebook), counts)


def _leaks(records: Sequence[Record], settings: Settings, on_note: Callable[[str], None]) -> list[Leak]:
    if not settings.retrain.test_records or not records:
        return []
    test = read_sources([Path(settings.retrain.test_records)], on_note)
    encoder = load_encoder(settings)
    described = [describe_papers(rows, encoder, settings) for rows in (records, test)]
    return find_leaks(described[0], described[1], "test paper", settings)


def write_notes(folder: Path, addition: Addition) -> None:
    """Write the records that were set aside to ``set_aside.csv``, and the outdated codes to ``stale.csv``.

    Both files are written even if there are no rows.
    """
    for name, rows, kind in (("set_aside", addition.set_aside, SetAside), ("stale", addition.stale, Stale)):
        _write(folder / f"{name}.csv", kind, rows)


def _write(path: Path, kind: type[Row], rows: Sequence[Row]) -> None:
    header = list(kind.model_fields)
    write_csv(path, header, [list(row.model_dump().values()) for row in rows], bom=True)
