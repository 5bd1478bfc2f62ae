"""Resolve several codes for the same label of the same record: duplicates, contradictions and disagreements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from mechtag.core.codebook import Codebook
from mechtag.core.records import BETWEEN_QUOTES, Coding, Record, Sign, keys_of, passages_of
from mechtag.pipeline.annotations.coded_records import Basis
from mechtag.pipeline.export.review_rows import excel_cell


class Judgement(NamedTuple):
    """A code from a reviewer's file, matched to its record and label, with its place in the file.

    ``text`` is the text shown to the coder, or ``""`` if the coder saw the whole abstract. For ``details`` and
    ``role``, see `formats.base.Code`.
    """

    record: Record
    coder: str
    label: str
    value: Literal[0, 1] | None
    basis: Basis
    evidence: str
    date: str
    codebook_version: str
    place: str
    text: str
    details: Mapping[str, Any] = MappingProxyType({})
    role: str | None = None


class Conflict(NamedTuple):
    """Codes by one coder for one record that cannot all be kept.

    A code that only repeats an earlier code is not a conflict.

    Attributes
    ----------
    kind
        ``contradicting`` if a label is coded as yes and as no; ``not relevant, yet coded`` if the paper is coded as not
        relevant, but has labels.
    rows
        The codes, none of which is kept.
    """

    kind: Literal["contradicting", "not relevant, yet coded"]
    rows: tuple[Judgement, ...]


class Disagreement(NamedTuple):
    """A label of one record on which coders disagree, although they read the same basis (abstract or full text).

    The codes of all coders are kept. ``yes`` and ``no`` contain the names of the coders.
    """

    record: Record
    label: str
    basis: Basis
    yes: tuple[str, ...]
    no: tuple[str, ...]


class Settled(NamedTuple):
    """The codings that `settle` kept, and the conflicts and disagreements that it found.

    A conflict is between codes of one coder. A disagreement is between coders, whose codes are all kept.

    Two numbers count the codes that were left out: ``doubled`` because they repeat other codes, ``contradicting``
    because they contradict other codes.
    """

    codings: tuple[Coding, ...]
    conflicts: tuple[Conflict, ...]
    disagreements: tuple[Disagreement, ...]
    doubled: int
    contradicting: int


def settle(judgements: Sequence[Judgement], records: Sequence[Record], codebook: Codebook) -> Settled:
    """Keep at most one code for each combination of record, coder, basis, label and role, and report the conflicts.

    Disagreements between coders are also reported. If a coder coded several passages of a record, these codes are
    combined: a yes for one passage is a yes for the record, but a no for one passage is not a no for the record.
    """
    groups = defaultdict(list)
    for judgement in _of_texts(judgements):
        groups[judgement.record.record_id, judgement.coder, judgement.basis, judgement.label].append(judgement)
    conflicts: list[Conflict] = []
    kept: dict[tuple[str, str, Basis], dict[tuple[str, str | None], Judgement]] = defaultdict(dict)
    contradicting = 0
    for (record_id, coder, basis, label), rows in groups.items():
        judged = [row for row in rows if row.value is not None]
        if len({row.value for row in judged}) > 1:
            conflicts.append(Conflict("contradicting", tuple(rows)))
            contradicting += len(rows)
            continue
        for role in dict.fromkeys(row.role for row in rows):
            own = [row for row in judged or rows if row.role == role]
            if own:
                kept[record_id, coder, basis][label, role] = _joined(own)
    for codes in kept.values():
        contradicting += _refuse_irrelevant(codes, codebook, conflicts)
    place = {record.record_id: number for number, record in enumerate(records)}
    order = {key: number for number, key in enumerate(codebook.all_keys)}
    roles = {None: 0} | {key: number for number, key in enumerate(codebook.role_names, start=1)}
    rows = [row for codes in kept.values() for row in codes.values()]
    rows.sort(key=lambda row: (place[row.record.record_id], row.coder, row.basis, order[row.label], roles[row.role]))
    written = tuple(map(_coding, rows))
    doubled = len(judgements) - contradicting - len(written)
    return Settled(written, tuple(conflicts), _disagreements(rows), doubled, contradicting)


def _of_texts(judgements: Sequence[Judgement]) -> list[Judgement]:
    """If a coder coded several passages of a record, replace each no for a passage by ``None`` (not judged)."""
    texts = defaultdict(set)
    for row in judgements:
        texts[row.record.record_id, row.coder, row.basis].add(row.text)
    several = {name for name, seen in texts.items() if len(seen - {""}) > 1}
    return [
        row._replace(value=None, evidence="", details={})
        if row.value == 0 and row.text and (row.record.record_id, row.coder, row.basis) in several
        else row
        for row in judgements
    ]


def _joined(rows: Sequence[Judgement]) -> Judgement:
    """Merge judgements that have the same code into one judgement with all their evidence."""
    evidence = dict.fromkeys(row.evidence for row in rows if row.evidence)
    dates = max(row.date for row in rows)
    details = {name: value for row in reversed(rows) for name, value in row.details.items()}
    if any("sentences" in row.details for row in rows):
        details["sentences"] = tuple(sorted({number for row in rows for number in row.details.get("sentences", ())}))
    joined = excel_cell(BETWEEN_QUOTES.join(evidence))
    if "signs" in details:
        details["signs"] = _signs(rows, joined, details.get("sentences"))
    return rows[0]._replace(evidence=joined, date=dates, details=details)


def _signs(rows: Sequence[Judgement], evidence: str, sentences: tuple[int, ...] | None) -> tuple[Sign | None, ...]:
    """Return the sign of each passage of a merged judgement; ``None`` for a passage without a sign.

    The passages are the sentences with the numbers in ``sentences``. If ``sentences`` is ``None``, the passages are the
    quotations in ``evidence``.
    """
    found: dict[int | str, Sign] = {}
    for row in rows:
        own = passages_of(row.evidence) if sentences is None else row.details.get("sentences", ())
        # A passage that was cut off, because a cell holds only so many characters, is the last one.
        found |= {place: sign for place, sign in zip(own, row.details.get("signs", ()), strict=False) if sign}
    return tuple(map(found.get, passages_of(evidence) if sentences is None else sentences))


def _refuse_irrelevant(
    own: dict[tuple[str, str | None], Judgement], codebook: Codebook, conflicts: list[Conflict]
) -> int:
    """If a coder coded a paper as not relevant but gave it labels, move these codes from ``own`` to ``conflicts``.

    ``own`` contains one coder's codes for one paper and basis. Return the number of codes that were moved.
    """
    decision = own.get((codebook.relevance.key, None))
    ticked = [row for key in codebook.keys for (label, _), row in own.items() if label == key and row.value == 1]
    if decision is None or decision.value != 0 or not ticked:
        return 0
    conflicts.append(Conflict("not relevant, yet coded", (decision, *ticked)))
    for row in (decision, *ticked):
        del own[row.label, row.role]
    return 1 + len(ticked)


def _coding(row: Judgement) -> Coding:
    return Coding(
        record_id=row.record.record_id,
        key=next(iter(keys_of(row.record)), None),
        coder=row.coder,
        label=row.label,
        value=row.value,
        basis=row.basis,
        evidence=row.evidence or None,
        date=row.date or None,
        codebook_version=row.codebook_version or None,
        **row.details,
        role=row.role,
    )


def _disagreements(rows: Sequence[Judgement]) -> tuple[Disagreement, ...]:
    groups = defaultdict(list)
    for row in rows:
        groups[row.record.record_id, row.label, row.basis].append(row)
    found = []
    for own in groups.values():
        yes, no = (tuple(dict.fromkeys(row.coder for row in own if row.value == value)) for value in (1, 0))
        if yes and no:
            found.append(Disagreement(own[0].record, own[0].label, own[0].basis, yes, no))
    return tuple(found)
