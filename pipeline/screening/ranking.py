"""Ranks the records of a review that is under way, and says whether reading may stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from mechtag.core.arrays import Array, Index
from mechtag.core.codebook import describe_validation
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_csv, write_json
from mechtag.core.records import Record, Row
from mechtag.pipeline.export.csv_table import excel_cell
from mechtag.pipeline.screening.decisions import Judgements, read_judgements
from mechtag.pipeline.screening.search import Search
from mechtag.pipeline.screening.simulation import rank_unread
from mechtag.pipeline.screening.stopping import Sample, Verdict, check_shares, judge, judge_ranked, sample_due

Rule = Literal["sample", "ranked"]
RULES: tuple[Rule, ...] = ("sample", "ranked")

_HEADER = ("rank", "record_id", "decision", "title", "abstract", "authors", "year", "journal", "doi", "pmid", "score")


class Target(Row):
    """What was fixed before the review began; a review that changes it later has no guarantee.

    Attributes
    ----------
    rule
        ``sample`` for the rule of `screening.stopping`, ``ranked`` for the test on ranked reading alone.
    """

    rule: Rule = "sample"
    recall: float = 0.95
    confidence: float = 0.95

    def __str__(self) -> str:
        return f"rule {self.rule}, recall {self.recall:g}, confidence {self.confidence:g}"


class Course(Row):
    """What must be known of a review under way beside its decisions.

    Attributes
    ----------
    target
        Of the call that wrote it.
    read
        Ids of the judged records, in the order of reading.
    sample
        Ids of the records that were unread when the random sample was drawn, in the order
        drawn; ``None`` before.
    """

    target: Target | None = None
    read: tuple[str, ...] = ()
    sample: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Ranking:
    """What to read next, and what the stopping rule says.

    Attributes
    ----------
    unread
        Rows of the records to read, in order.
    labels, scores
        Of every record: 1, 0 or NaN for not judged; and how likely relevant, higher is likelier.
    verdict
        ``None`` until the rule has something to judge by.
    sampling
        Whether ``unread`` runs in the order of the random sample.
    """

    records: Sequence[Record]
    unread: Index
    labels: Array
    scores: Array
    course: Course
    verdict: Verdict | None
    sampling: bool


def course_path(output: Path) -> Path:
    """Give the file beside a table in which its course stands; raises `MechtagError` where that is no CSV's name."""
    if output.suffix != ".csv":
        raise MechtagError(f"{output}: the table is a CSV file; give a name that ends in .csv")
    return output.with_suffix(".json")


def read_course(path: Path) -> Course:
    """Read what an earlier ranking wrote beside its table; an empty course where there is none.

    Raises
    ------
    MechtagError
        The file is not what `write_ranking` writes.
    """
    if not path.exists():
        return Course()
    try:
        return Course.model_validate(read_json(path).get("course"))
    except ValidationError as error:
        raise MechtagError(describe_validation(path, error)) from None


def refuse_loss(output: Path, records: Sequence[Record], judgements: Judgements | None, relevance_key: str) -> None:
    """Raise `MechtagError` where writing the table would lose decisions, or a file that is no such table."""
    if not output.exists():
        return
    held = read_judgements(output, relevance_key).labels(records)
    known = np.full(len(records), np.nan) if judgements is None else judgements.labels(records)
    lost = np.flatnonzero(~np.isnan(held) & np.isnan(known))
    if len(lost):
        raise MechtagError(
            f"{output}: holds {len(lost)} decisions that would be lost, the first on "
            f"{records[int(lost[0])].record_id}; give this file as --labels, or write to another one"
        )


def rank(
    search: Search,
    judgements: Judgements | None,
    course: Course,
    target: Target,
    *,
    cold: Callable[[], Array] | None = None,
    seed: int,
) -> Ranking:
    """Rank unread records and judge by the stopping rule.

    Parameters
    ----------
    judgements
        ``None`` where nothing is decided yet.
    course
        Of the call before, or an empty one.
    cold
        See `mechtag.pipeline.screening.search.Search.scores`.
    seed
        Of the random sample.

    Raises
    ------
    MechtagError
        As `Judgements.labels` and `stopping.judge`; or the unread records are no
        longer those of which the sample was drawn.
    """
    check_shares(target.recall, target.confidence)
    records = search.records
    labels = np.full(len(records), np.nan) if judgements is None else judgements.labels(records)
    order = _reading_order(records, judgements, course)
    read = labels[order].astype(np.int64)
    sample = course.sample
    if target.rule == "sample" and sample is None and sample_due(read, len(records)) is not None:
        drawn = np.random.default_rng(seed).permutation(np.flatnonzero(np.isnan(labels)))
        sample = tuple(records[row].record_id for row in drawn)
    verdict = None
    sampled = np.array([], dtype=np.int64)
    if target.rule == "ranked":
        verdict = judge_ranked(read, len(records), recall=target.recall, confidence=target.confidence)
    elif sample is not None:
        sampled = _sampled_rows(records, labels, sample)
        verdict = _judge_sample(labels, sampled, target)
    scores = search.scores(labels, cold)
    sampling = len(sampled) > 0 and verdict is not None and not verdict.stop
    unread = sampled[np.isnan(labels[sampled])] if sampling else rank_unread(scores, labels)
    known = Course(target=target, read=tuple(records[row].record_id for row in order), sample=sample)
    return Ranking(records, unread, labels, scores, known, verdict, sampling)


def _reading_order(records: Sequence[Record], judgements: Judgements | None, course: Course) -> Index:
    """Rows of the judged records: those read before in their order, then the new ones in the order of the file."""
    if judgements is None:
        return np.array([], dtype=np.int64)
    judged = {records[row].record_id: int(row) for row in judgements.order(records)}
    earlier = [judged[name] for name in course.read if name in judged]
    known = set(earlier)
    return np.array([*earlier, *(row for row in judged.values() if row not in known)], dtype=np.int64)


def _sampled_rows(records: Sequence[Record], labels: Array, sample: Sequence[str]) -> Index:
    rows = {record.record_id: row for row, record in enumerate(records)}
    members = set(sample)
    gone = sum(name not in rows for name in sample)
    new = [name for name, row in rows.items() if np.isnan(labels[row]) and name not in members]
    if gone or new or len(members) < len(sample):
        first = f" (the first is {new[0]}; a decision that was taken out makes a record unread again)" if new else ""
        raise MechtagError(
            f"since the random sample was drawn, {gone} of its records have gone and {len(new)} unread records have "
            f"come that it was not drawn from{first}, so its verdict would not hold; rank the same records as before, "
            "judge again what was judged, or write to another file (-o) to begin a new course"
        )
    return np.array([rows[name] for name in sample], dtype=np.int64)


def _judge_sample(labels: Array, drawn: Index, target: Target) -> Verdict:
    """Count as drawn only what was read without a gap: who picks from the sample has no random sample."""
    in_sample = labels[drawn]
    gaps = np.flatnonzero(np.isnan(in_sample))
    prefix = int(gaps[0]) if len(gaps) else len(drawn)
    since = int(np.nansum(in_sample))
    sample = Sample(len(drawn), prefix, int(in_sample[:prefix].sum()))
    before = int(np.nansum(labels)) - since
    return judge(sample, before, since, recall=target.recall, confidence=target.confidence)


def write_ranking(path: Path, ranking: Ranking) -> None:
    """Write the table (CSV), and beside it, ending in ``.json``, the course and the verdict.

    Unread records come first, in the order to read; judged ones follow, in the order they were read.
    The table can be filled in and handed back.
    """
    rows = {record.record_id: row for row, record in enumerate(ranking.records)}
    read = [rows[name] for name in ranking.course.read]

    def cells(place: int | None, row: int) -> tuple[object, ...]:
        record, label = ranking.records[row], ranking.labels[row]
        texts = (record.title, record.abstract, "; ".join(record.authors))
        decision = None if np.isnan(label) else int(label)
        ids = (excel_cell(record.journal or ""), record.doi, record.pmid)
        score = round(float(ranking.scores[row]), 4)
        return (place, record.record_id, decision, *map(excel_cell, texts), record.year, *ids, score)

    table = [cells(place, int(row)) for place, row in enumerate(ranking.unread, start=1)]
    write_csv(path, _HEADER, [*table, *(cells(None, row) for row in read)], bom=True)
    verdict = None if ranking.verdict is None else asdict(ranking.verdict)
    content = {"verdict": verdict, "course": ranking.course.model_dump(mode="json")}
    write_json(course_path(path), content)


def tell(ranking: Ranking) -> list[str]:
    """Say in words how far the reading is."""
    judged = len(ranking.course.read)
    lines = [
        f"{judged} of {len(ranking.records)} records judged, {int(np.nansum(ranking.labels))} of them relevant; "
        f"{len(ranking.unread)} to read"
    ]
    verdict = ranking.verdict
    if not len(ranking.unread):
        lines.append("Every record has been read.")
    elif verdict is None:
        lines.append(f"Stopping ({ranking.course.target}): too early to say; go on reading from the top.")
    elif verdict.stop:
        lines.append(f"Stopping ({ranking.course.target}): you may stop. {_bound(verdict)}")
    else:
        where = "of the random sample, which is now at the top of the table," if ranking.sampling else "by rank"
        lines.append(
            f"Stopping ({ranking.course.target}): not yet. {_bound(verdict)} "
            f"If none of the next {verdict.still_to_read} {where} is relevant, you may stop then."
        )
    return lines


def _bound(verdict: Verdict) -> str:
    if verdict.recall_at_least is None:
        return f"At most {verdict.missed_at_most} relevant records are unread."
    return (
        f"At most {verdict.missed_at_most} relevant records are unread: recall {verdict.recall_at_least:.3f} or more."
    )
