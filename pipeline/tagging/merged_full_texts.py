"""Use the full texts of merged duplicates for the records into which the duplicates were merged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mechtag.core.parquet import FullTextSummary, FullTextTable, RecordTable
from mechtag.pipeline.dedupe.merged import MergedRecord, MergedRecords
from mechtag.pipeline.fulltext.preference import preference

_SHOWN = 5


class MergedFullTexts(NamedTuple):
    """Full texts of records that are not tagged, usually because the record was merged into a different one.

    The merged record is a duplicate; the record into which it was merged is the kept record.

    Attributes
    ----------
    used
        Full texts that are used for the kept record: ids of kept records, keyed by id of the merged record.
    replaced
        Full texts that are not used, because the kept record has a different full text: ids of kept records, keyed by
        id of the merged record.
    unknown
        Full texts for which there is no kept record, or more than one: ids of the records to which they belong.
    """

    used: dict[str, str]
    replaced: dict[str, str]
    unknown: tuple[str, ...]

    def notes(self) -> Iterator[str]:
        """Yield notes that list the full texts in ``used``, ``replaced`` and ``unknown``."""
        used = [f"{one} was merged into {kept}" for one, kept in self.used.items()]
        replaced = [f"{one} was merged into {kept}" for one, kept in self.replaced.items()]
        for text, names in (
            ("Full texts of merged duplicates that are used for the kept record", used),
            ("Full texts of merged duplicates that are not used, because the kept record has another one", replaced),
            ("Full texts that are not used, because their record is not among the tagged records", self.unknown),
        ):
            if names:
                rest = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                yield f"{text} ({len(names)}): {'; '.join(names[:_SHOWN])}{rest}"


def merged_full_texts(table: FullTextTable, records: RecordTable, merged: Sequence[MergedRecord]) -> MergedFullTexts:
    """Assign the full texts of merged records to the kept records, into which the records were merged.

    Such a full text is used only if the kept record has no full text of its own. If several merged records have a full
    text, the best is chosen; see `preference`.
    """
    texts = list(table.summaries())
    known = {row["record_id"] for row in records.rows(["record_id"])}
    lookup = MergedRecords(merged, known)
    candidates: dict[str, list[FullTextSummary]] = defaultdict(list)
    unknown = []
    for one in texts:
        if one.record_id in known:
            continue
        kept = lookup.kept(one.record_id)
        if len(kept) == 1:
            candidates[kept[0]].append(one)
        else:
            unknown.append(one.record_id)
    attached = {one.record_id for one in texts} & known
    used: dict[str, str] = {}
    replaced: dict[str, str] = {}
    for kept_id, found in candidates.items():
        best = None if kept_id in attached else max(found, key=lambda one: preference(False, one.format, one.chars))
        for one in found:
            (used if one is best else replaced)[one.record_id] = kept_id
    return MergedFullTexts(used, replaced, tuple(unknown))
