"""Rank the records of a review in progress, and decide whether reading may stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from mechtag.core.arrays import Array, Index
from mechtag.core.codebook import describe_validation
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_csv, write_json
from mechtag.core.records import Record, Row
from mechtag.core.tables import DECISION, NOTES, read_table
from mechtag.core.words import counted
from mechtag.pipeline.annotations.record_finder import Finder, cited_in, name_of
from mechtag.pipeline.export.review_rows import excel_cell
from mechtag.pipeline.screening.decisions import Judgements, read_judgements
from mechtag.pipeline.screening.search import Search
from mechtag.pipeline.screening.simulation import rank_unread
from mechtag.pipeline.screening.stopping import (
    Sample,
    StoppingVerdict,
    check_shares,
    judge_ranked,
    judge_sample,
    sample_due,
)

Rule = Literal["sample", "ranked"]
RULES: tuple[Rule, ...] = ("sample", "ranked")

_HEADER = ("rank", "record_id", "decision", "title", "abstract", "authors", "year", "journal", "doi", "pmid", "score")


class Target(Row):
    """The target for stopping: rule, recall and confidence.

    The target must be fixed before the review begins. If it is changed later, the recall is no longer guaranteed.

    Attributes
    ----------
    rule
        ``sample`` for the rule `stopping.judge_sample`, which needs a random sample. ``ranked`` for the rule
        `stopping.judge_ranked`, which needs only ranked reading.
    recall
        Proportion of the relevant records that should be found.
    confidence
        Probability with which this proportion should be reached.
    """

    rule: Rule = "sample"
    recall: float = 0.95
    confidence: float = 0.95

    def __str__(self) -> str:
        return f"rule {self.rule}, recall {self.recall:g}, confidence {self.confidence:g}"


class Course(Row):
    """Stored state of a review in progress, which cannot be computed from the decisions alone.

    Attributes
    ----------
    target
        Recall, confidence and stopping rule of the last ranking. ``None`` before the first ranking.
    read
        Ids of the judged records, in the order of reading.
    sample
        Ids of all records that were unread when the random sample was drawn, in the order of the sample. ``None`` if no
        sample has been drawn yet.
    """

    target: Target | None = None
    read: tuple[str, ...] = ()
    sample: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Ranking:
    """Result of a ranking: the reading order of unread records, and the verdict of the stopping rule.

    Attributes
    ----------
    unread
        Indices of the records to read, in reading order.
    labels
        Decision on each record: 1 for relevant, 0 for irrelevant, NaN if not judged.
    scores
        Score of each record. A higher score means that the record is more likely relevant.
    course
        State of the review after this ranking.
    verdict
        Verdict of the stopping rule. ``None`` until the rule has enough data.
    sampling
        Whether ``unread`` is in the order of the random sample, and not in the order of the ranking.
    notes
        Reviewers' notes, keyed by record id.
    """

    records: Sequence[Record]
    unread: Index
    labels: Array
    scores: Array
    course: Course
    verdict: StoppingVerdict | None
    sampling: bool
    notes: Mapping[str, str] = field(default_factory=dict)


def course_path(output: Path) -> Path:
    """Return the path of the JSON file that stores the state of the review; it is in the folder of the ranking table.

    Raises
    ------
    MechtagError
        If the name of the table does not end in ``.csv``.
    """
    if output.suffix != ".csv":
        raise MechtagError(f"{output}: the table is written as CSV, so its name must end in .csv")
    return output.with_suffix(".json")


def read_course(path: Path) -> Course:
    """Read the state of a review that `write_ranking` stored, or return an empty state if there is no file at ``path``.

    Raises
    ------
    MechtagError
        If the file was not written by `write_ranking`.
    """
    if not path.exists():
        return Course()
    try:
        return Course.model_validate(read_json(path).get("course"))
    except ValidationError as error:
        raise MechtagError(describe_validation(path, error)) from None


def refuse_loss(output: Path, records: Sequence[Record], judgements: Judgements | None, relevance_key: str) -> None:
    """Raise `MechtagError` if overwriting ``output`` would delete decisions or notes that are not in ``judgements``.

    The error is also raised if ``output`` exists but is not a table of decisions.
    """
    if not output.exists():
        return
    found = read_judgements(output, relevance_key)
    held = found.labels(records)
    known = np.full(len(records), np.nan) if judgements is None else judgements.labels(records)
    lost = np.flatnonzero(~np.isnan(held) & np.isnan(known))
    # Decisions on records that are not ranked now are not written either; those in the labels are reported.
    others = set(found.unknown(records)) - set(judgements.unknown(records) if judgements else ())
    kept = {} if judgements is None else judgements.notes_on(records)
    unread = [name for name, note in found.notes_on(records).items() if note != kept.get(name)]
    if names := list(dict.fromkeys([*(records[int(row)].record_id for row in lost), *sorted(others), *unread])):
        raise MechtagError(
            f"overwriting {output} would delete decisions or notes on {counted(len(names), 'record')} "
            f"(the first is {names[0]}). To keep them, read the decisions from {output}, or choose a different "
            "output file",
            options="--labels or -o",
        )


def read_own_cells(output: Path, records: Sequence[Record]) -> dict[str, dict[str, str]]:
    """Read the cells of an earlier ranking table that people filled in and that `rank` does not use.

    These are the cells of columns that people added, such as reasons for exclusion, and the column ``decision``, which
    may contain words such as ``maybe``.

    Returns
    -------
    dict
        Text of each filled cell, keyed by column name and then by record id. Columns that people added are included
        even if they are empty. If there is no file ``output``, the result is empty.

    Raises
    ------
    MechtagError
        If a column with filled cells has no name, or if a row with such a cell matches none of the records.
    """
    if not output.exists():
        return {}
    table, finder = read_table(output, "a table of decisions", needed=()), Finder(records)
    if "" in table.names:
        raise MechtagError(
            f"{output}: column {table.names.index('') + 1} has no name, so overwriting the table would delete its "
            "cells; enter a name in the header"
        )
    own = [name for name in table.names if name == DECISION or name not in (*_HEADER, NOTES)]
    found: dict[str, dict[str, str]] = {name: {} for name in own}
    for row in table.rows:
        filled = {name: row.cells[name] for name in own if row.cells[name]}
        if not filled:
            continue
        if (record := finder.find(cited_in(row)).record) is None:
            if not filled.keys() - {DECISION}:  # `refuse_loss` decides on these rows.
                continue
            raise MechtagError(
                f"{row.place}: {name_of(row)!r} matches none of the records, so overwriting the table would delete "
                f"what was entered there ({', '.join(filled)}); choose a different output file",
                options="-o",
            )
        for name, text in filled.items():
            known = found[name].setdefault(record.record_id, text)
            if known != text:
                found[name][record.record_id] = f"{known}; {text}"
    return found


def rank(
    search: Search,
    judgements: Judgements | None,
    course: Course,
    target: Target,
    *,
    cold: Callable[[], Array] | None = None,
    seed: int,
) -> Ranking:
    """Rank unread records and apply the stopping rule.

    Parameters
    ----------
    judgements
        Decisions so far, or ``None`` if nothing has been decided yet.
    course
        State of the review after the previous ranking, or an empty state.
    cold
        Function that returns the scores of the records before the first relevant record is found. By default, the
        scores are the similarities of the records to the definition of relevance.
    seed
        Seed of the random sample.

    Raises
    ------
    MechtagError
        If a record of the sample is missing now; if an unread record is not in the sample; or for the same reasons as
        in `Judgements.labels` and `stopping.judge_sample`.
    """
    check_shares(target.recall, target.confidence)
    records = search.records
    labels = np.full(len(records), np.nan) if judgements is None else judgements.labels(records)
    order = _reading_order(records, judgements, course)
    needs_sample = target.rule == "sample" and course.sample is not None
    drawn = _sampled_rows(records, labels, course.sample or ()) if needs_sample else None
    sampled, verdict = judge_course(labels, order, drawn, target, seed)
    scores = search.scores(labels, cold)
    sampling = sampled is not None and len(sampled) > 0 and verdict is not None and not verdict.stop
    unread = sampled[np.isnan(labels[sampled])] if sampling and sampled is not None else rank_unread(scores, labels)
    sample = course.sample if sampled is None else tuple(records[row].record_id for row in sampled)
    known = Course(target=target, read=tuple(records[row].record_id for row in order), sample=sample)
    notes = {} if judgements is None else judgements.notes_on(records)
    return Ranking(records, unread, labels, scores, known, verdict, sampling, notes)


def judge_course(
    labels: Array, order: Index, sampled: Index | None, target: Target, seed: int, *, earlier: int = 0
) -> tuple[Index | None, StoppingVerdict | None]:
    """Apply the stopping rule to a review in progress.

    If the rule needs a random sample and the sample is due, the sample is drawn.

    Parameters
    ----------
    labels
        Decision on each record: 1 for relevant, 0 for irrelevant, NaN if not judged.
    order
        Indices of the judged records, in the order of reading.
    sampled
        Indices of the records in the sample, in the order of the sample. ``None`` if no sample has been drawn yet.
    target
        The stopping rule, with the recall and the confidence to reach.
    seed
        Seed of the sample.
    earlier
        Number of records that were read before new records were added to the review. These are the first records in
        ``order``. The rule estimates the number of unread relevant records without them.

    Returns
    -------
    sampled
        The argument ``sampled``, or the sample that was drawn now. ``None`` if there is no sample.
    verdict
        Verdict of the stopping rule. ``None`` if the rule still waits for the sample.
    """
    read = labels[order].astype(np.int64)
    if target.rule == "ranked":
        verdict = judge_ranked(
            read[earlier:],
            len(labels) - earlier,
            recall=target.recall,
            confidence=target.confidence,
            found_before=int(read[:earlier].sum()),
        )
        return sampled, verdict
    if sampled is None and sample_due(read[earlier:], len(labels)) is not None:
        sampled = np.random.default_rng(seed).permutation(np.flatnonzero(np.isnan(labels)))
    return sampled, None if sampled is None else _sample_verdict(labels, sampled, target)


def _reading_order(records: Sequence[Record], judgements: Judgements | None, course: Course) -> Index:
    """Return the indices of judged records in the order in which they were read."""
    if judgements is None:
        return np.array([], dtype=np.int64)
    judged = {records[row].record_id: int(row) for row in judgements.order(records)}
    earlier = [judged[name] for name in course.read if name in judged]
    # Records whose reading order is not stored follow in the order of judgement.
    known = set(earlier)
    return np.array([*earlier, *(row for row in judged.values() if row not in known)], dtype=np.int64)


def _sampled_rows(records: Sequence[Record], labels: Array, sample: Sequence[str]) -> Index:
    rows = {record.record_id: row for row, record in enumerate(records)}
    members = set(sample)
    gone = sum(name not in rows for name in sample)
    new = [name for name, row in rows.items() if np.isnan(labels[row]) and name not in members]
    if gone or new or len(members) < len(sample):
        first = f" (the first is {new[0]}; removing a decision makes a record unread again)" if new else ""
        raise MechtagError(
            "the random sample can no longer show when to stop, because the records have changed since it was drawn. "
            f"Sampled records that are missing now: {gone}. Records that are unread now, but were not when the sample "
            f"was drawn: {len(new)}{first}. Rank the original records with all earlier decisions, or start again with "
            "a new output file",
            options="-o",
        )
    return np.array([rows[name] for name in sample], dtype=np.int64)


def _sample_verdict(labels: Array, drawn: Index, target: Target) -> StoppingVerdict:
    """Apply the stopping rule to the random sample, and return the verdict."""
    in_sample = labels[drawn]
    # Only records before the first unread record count as the sample: later ones may have been read out of order.
    gaps = np.flatnonzero(np.isnan(in_sample))
    prefix = int(gaps[0]) if len(gaps) else len(drawn)
    since = int(np.nansum(in_sample))
    sample = Sample(len(drawn), prefix, int(in_sample[:prefix].sum()))
    before = int(np.nansum(labels)) - since
    return judge_sample(sample, before, since, recall=target.recall, confidence=target.confidence)


def write_ranking(path: Path, ranking: Ranking, own: Mapping[str, Mapping[str, str]] | None = None) -> None:
    """Write the ranking as a CSV table, and the state and the verdict as a ``.json`` file in the same folder.

    Unread records come first, in reading order. The judged records follow, in the order in which they were judged. The
    table has a column for notes only if reviewers have written notes.

    Parameters
    ----------
    own
        Cells that people filled in, as returned by `read_own_cells`. Each column is added to the table. In the column
        ``decision``, the cells of records without a decision are kept.
    """
    added = dict(own or {})
    undecided = added.pop(DECISION, {})
    rows = {record.record_id: row for row, record in enumerate(ranking.records)}
    read = [rows[name] for name in ranking.course.read]

    def cells(place: int | None, row: int) -> tuple[object, ...]:
        record, label = ranking.records[row], ranking.labels[row]
        texts = (record.title, record.abstract, "; ".join(record.authors))
        decision = excel_cell(undecided.get(record.record_id, "")) if np.isnan(label) else int(label)
        ids = (excel_cell(record.journal or ""), record.doi, record.pmid)
        score = round(float(ranking.scores[row]), 4)
        note = [excel_cell(ranking.notes.get(record.record_id, ""))] if ranking.notes else []
        others = [excel_cell(column.get(record.record_id, "")) for column in added.values()]
        return (place, record.record_id, decision, *note, *map(excel_cell, texts), record.year, *ids, score, *others)

    table = [cells(place, int(row)) for place, row in enumerate(ranking.unread, start=1)]
    header = (*_HEADER[:3], NOTES, *_HEADER[3:]) if ranking.notes else _HEADER
    write_csv(path, (*header, *map(excel_cell, added)), [*table, *(cells(None, row) for row in read)], bom=True)
    verdict = None if ranking.verdict is None else asdict(ranking.verdict)
    content = {"verdict": verdict, "course": ranking.course.model_dump(mode="json")}
    write_json(course_path(path), content)


def describe_ranking(ranking: Ranking) -> list[str]:
    """Return sentences that state how many records have been screened and whether screening may stop."""
    judged = len(ranking.course.read)
    lines = [
        f"{judged} of {len(ranking.records)} records have been judged, "
        f"{int(np.nansum(ranking.labels))} of them as relevant; left to read: {len(ranking.unread)}"
    ]
    verdict = ranking.verdict
    if not len(ranking.unread):
        lines.append("Every record has been read.")
    elif verdict is None:
        lines.append(f"Stopping ({ranking.course.target}): it is too early to decide; continue reading from the top.")
    elif verdict.stop:
        lines.append(f"Stopping ({ranking.course.target}): you may stop. {_bound(verdict)}")
    else:
        where = "of the random sample (now at the top of the table)" if ranking.sampling else "of the ranking"
        lines.append(
            f"Stopping ({ranking.course.target}): not yet. {_bound(verdict)} "
            f"If none of the next {verdict.still_to_read} records {where} is relevant, you may stop then."
        )
    return lines


def _bound(verdict: StoppingVerdict) -> str:
    verb = "is" if verdict.missed_at_most == 1 else "are"
    missed = f"At most {counted(verdict.missed_at_most, 'relevant record')} {verb} unread"
    if verdict.recall_at_least is None:
        return f"{missed}."
    # Rounded down, because recall may be lower than a bound that is rounded up.
    return f"{missed}, and recall is at least {math.floor(1000 * verdict.recall_at_least + 1e-9) / 1000:.3f}."
