"""Match new codings to records, add them to earlier codings, and find codings made under outdated definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding, Record, Row, name_answer
from mechtag.core.settings import DedupeSettings
from mechtag.core.words import counted
from mechtag.pipeline.annotations.cited_papers import CitedPaper
from mechtag.pipeline.annotations.coded_records import CodedRecord, settled
from mechtag.pipeline.annotations.record_finder import Finder
from mechtag.pipeline.annotations.versions import BASE, Additions
from mechtag.pipeline.dedupe.dedupe import dedupe

_CHANGED = "the definition of the label has changed since the record was coded"
_ABSENT = "the label was not in the codebook when the record was coded"


@dataclass(frozen=True)
class Incoming:
    """New codings, matched to the records of the project.

    Attributes
    ----------
    codings
        The codings. Each ``record_id`` is the id of the record in this project.
    records
        Coded records that are new to the project.
    """

    codings: tuple[Coding, ...]
    records: tuple[Record, ...]


class SetAside(Row):
    """A record whose new codings are not used for training, and the reason."""

    record_id: str
    title: str
    reason: str


class Stale(Row):
    """A code that may be outdated, because the definition of its label has changed since the code was assigned."""

    record_id: str
    key: str
    coder: str
    label: str
    value: int | None
    codebook_version: str
    reason: str


def match_codings(
    codings: Sequence[Coding], records: Sequence[Record], known: Sequence[Record], settings: DedupeSettings, place: str
) -> Incoming:
    """Match new codings to their records.

    Parameters
    ----------
    records
        Records supplied with the codings. Records without a coding are ignored.
    known
        Records that have been coded before. Copies of these records in ``records`` are recognised as duplicates.
    place
        Source of the codings, for error messages.

    Raises
    ------
    MechtagError
        If a coding refers to a record that is neither in ``records`` nor in ``known``; or if one coder gave two
        different codes for the same label, record and basis.
    """
    before, new = Finder(known, settings), Finder(records, settings)
    names = [coding.record_id or coding.key or "" for coding in codings]
    cited = {name: CitedPaper(names=(name,)) for name in names}
    given = {name: record for name, paper in cited.items() if (record := new.find(paper).record)}
    known_names = {name: record.record_id for name, paper in cited.items() if (record := before.find(paper).record)}
    unknown = list(dict.fromkeys(name for name in names if name not in given and name not in known_names))
    if unknown:
        raise MechtagError(
            f"{place}: {counted(len(unknown), 'coded record')} cannot be found in the table of records "
            f"({counted(len(records), 'record')}) or among the records that were coded before. "
            f"Add these records to the table: {', '.join(unknown[:20])}{' and more' if len(unknown) > 20 else ''}",
            options="--records",
        )
    coded = list({_content(given[name]): given[name] for name in names if name in given}.values())
    found = dedupe(coded, settings, existing=known)
    ids = {_content(record): record.record_id for record in found.unique}
    ids |= {_content(member): group.kept.record_id for group in found.groups for member in group.members}
    rows: dict[tuple[str, ...], tuple[Coding, str]] = {}
    for coding, name in zip(codings, names, strict=True):
        record_id = ids[_content(given[name])] if name in given else known_names[name]
        spot = (record_id, coding.coder, coding.label, coding.basis)
        if spot in rows and rows[spot][0].value != coding.value:
            raise MechtagError(
                f"{place}: coder {coding.coder} coded label '{coding.label}' of record {record_id} in two different "
                f"ways: {name_answer(rows[spot][0].value)} (in the row of '{rows[spot][1]}') and "
                f"{name_answer(coding.value)} (in the row of '{name}'); correct one of the two rows"
            )
        rows[spot] = coding.model_copy(update={"record_id": record_id}), name
    return Incoming(tuple(coding for coding, _ in rows.values()), found.new)


def _content(record: Record) -> tuple[object, ...]:
    """Return the fields that identify a record even if deduplication changes its record id."""
    return record.source_file, record.source_index, record.title, record.abstract


def extend_additions(
    before: Additions,
    incoming: Incoming,
    base: Sequence[CodedRecord],
    codebook: Codebook,
    base_definitions: Mapping[str, str],
    refused: Mapping[str, str],
) -> tuple[Additions, list[SetAside], Counter[str]]:
    """Combine new codings with the codings that earlier retrainings added to the training data.

    A new code replaces an earlier code by the same coder for the same record, label and basis. A new coding counts as
    made under the current definitions if its ``codebook_version`` is missing, or is only the name of the codebook.

    Parameters
    ----------
    base
        Training data without any added codings.
    base_definitions
        Label definitions under which ``base`` was coded.
    refused
        Records that must not be used for training: the reason for each, keyed by record id.

    Returns
    -------
    additions : Additions
        The earlier and the new codings, with two exceptions. For a record in ``refused``, all codings are left out. For
        a record with contradictory codes, the new codings are left out.
    set_aside : list of SetAside
        Records in ``refused``, and records with contradictory codes on relevance. Codes are contradictory if coders
        disagree on relevance, or if one coder coded a record as not relevant, but assigned a label to it.
    counts : Counter
        Number of new codings by outcome: ``new``, ``corrected``, ``known`` or ``set_aside``.
    """
    stamp = f"{codebook.name}@{codebook.sha256[:12]}"
    rows = {_spot(row): row for row in before.codings}
    earlier = dict(rows)
    by_base = {_spot(row): row for record in base for row in record.codings(codebook.keys, codebook.relevance.key)}
    for coding in incoming.codings:
        version = stamp if coding.codebook_version in (None, codebook.name) else coding.codebook_version
        rows[_spot(coding)] = coding.model_copy(update={"codebook_version": version})
    touched = {coding.record_id or "" for coding in incoming.codings}
    disputed = _disputed({**by_base, **rows}.values(), codebook, touched - refused.keys())
    reasons = {**disputed, **refused}
    settled = {spot: earlier.get(spot) if spot[0] in disputed else row for spot, row in rows.items()}
    codings = tuple(row for spot, row in settled.items() if row is not None and spot[0] not in refused)
    named = {coding.record_id for coding in codings}
    titles = {record.record_id: record.title for record in (*(row.record for row in base), *before.records)}
    titles |= {record.record_id: record.title for record in incoming.records}
    counts: Counter[str] = Counter()
    for coding in incoming.codings:
        spot = _spot(coding)
        counts[_kind(coding, earlier.get(spot, by_base.get(spot)), spot[0] in reasons)] += 1
    return (
        Additions(
            codings,
            tuple(record for record in (*before.records, *incoming.records) if record.record_id in named),
            {**before.definitions, BASE: base_definitions, stamp: codebook.definitions},
        ),
        [SetAside(record_id=name, title=titles[name], reason=reason) for name, reason in reasons.items()],
        counts,
    )


def _spot(row: Coding) -> tuple[str, ...]:
    """Return a key for a coding; a new coding replaces an earlier coding with the same key."""
    return row.record_id or "", row.coder, row.label, row.basis


def _kind(coding: Coding, earlier: Coding | None, aside: bool) -> str:
    if aside:
        return "set_aside"
    if earlier is None:
        return "new"
    return "known" if earlier.value == coding.value else "corrected"


def _disputed(codings: Iterable[Coding], codebook: Codebook, touched: Set[str]) -> dict[str, str]:
    """Find records with contradictory codes on relevance, and return a description of each contradiction.

    The descriptions are keyed by record id. Only the records in ``touched`` are checked.
    """
    said: dict[str, dict[str, int]] = {name: {} for name in touched}
    carried: dict[str, dict[str, str]] = {name: {} for name in touched}
    own: dict[str, list[Coding]] = {name: [] for name in touched}
    for coding in codings:
        if (name := coding.record_id or "") in touched:
            own[name].append(coding)
    for name, rows in own.items():
        for coding in settled(rows, codebook.relevance.key):
            if coding.label == codebook.relevance.key and coding.value is not None:
                said[name][coding.coder] = coding.value
            elif coding.value == 1:
                carried[name][coding.coder] = coding.label
    reasons = {}
    for name in sorted(touched):
        both = [coder for coder, label in carried[name].items() if said[name].get(coder) == 0]
        # Coders who assigned a label without judging relevance count as having coded the record as relevant.
        opinions = {coder: 1 for coder in carried[name]} | said[name]
        if both:
            reasons[name] = f"{both[0]} codes the record as not relevant, but also as {carried[name][both[0]]}"
        elif len(set(opinions.values())) > 1:
            parts = ", ".join(f"{coder}: {name_answer(value)}" for coder, value in opinions.items())
            reasons[name] = f"coders disagree on relevance ({parts})"
    return reasons


def find_stale(additions: Additions, base: Sequence[CodedRecord], codebook: Codebook) -> list[Stale]:
    """Return the codes that may be outdated, because the definition of their label has changed.

    Codes that were assigned under an unknown version of the codebook are included. Codes in ``base`` that a coding in
    ``additions`` replaces are left out.

    Parameters
    ----------
    base
        Training data without any added codings.
    """
    today = codebook.definitions
    replaced = {_spot(row) for row in additions.codings}
    then = additions.definitions.get(BASE, today)
    changed = {key for key in today if then.get(key) != today[key]}
    rows = [
        (row, _CHANGED if row.label in then else _ABSENT)
        for record in base
        for row in record.codings(codebook.keys, codebook.relevance.key)
        if row.label in changed
        and (record.relevant or row.label == codebook.relevance.key)
        and _spot(row) not in replaced
    ]
    for row in additions.codings:
        known = additions.definitions.get(row.codebook_version or "")
        if row.label not in today or row.value is None:
            continue
        if known is None:
            rows.append((row, "coded under an unknown version of the codebook"))
        elif known.get(row.label) != today[row.label]:
            rows.append((row, _CHANGED))
    return [
        Stale(
            record_id=row.record_id or "",
            key=row.key or "",
            coder=row.coder,
            label=row.label,
            value=row.value,
            codebook_version=row.codebook_version or "",
            reason=reason,
        )
        for row, reason in rows
    ]
